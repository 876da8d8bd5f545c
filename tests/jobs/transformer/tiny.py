"""A pretrained model as small as one can be: random weights, a tokenizer trained on some sentences, no hub."""

from __future__ import annotations

from pathlib import Path

SENTENCES = (
    "I want a refund for the broken kettle 😀",
    "The parcel to Zoe\u0308 in Kraków never arrived",
    "Ada met Grace Hopper and the robin, crow, owl, wren and gull",
    "iron copper zinc tin lead apple pear plum cherry banana number 0 1 2 3 4 5 we talked about",
)


def make_model(folder: Path, *, kind: str = "modernbert") -> None:
    """Writes what a hub would have: config.json, model.safetensors, tokenizer.json, tokenizer_config.json."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM

    torch.manual_seed(0)
    tokenizer = _byte_pairs() if kind == "modernbert" else _word_pieces()
    tokenizer.save_pretrained(folder)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    }
    if kind == "modernbert":
        marks = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
        ModernBertForMaskedLM(ModernBertConfig(**shape, **marks)).save_pretrained(folder)
    else:
        BertForMaskedLM(BertConfig(**shape)).save_pretrained(folder)


def _byte_pairs():
    """Pieces of bytes, as ModernBERT has them: one sign may fall into several pieces, and spaces belong to words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=_MARKS, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return _wrapped(tokenizer)


def _word_pieces():
    """Pieces of words in lower case without marks, as BERT's uncased tokenizer has them."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=_MARKS, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return _wrapped(tokenizer)


_MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def _wrapped(tokenizer):
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _MARKS, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)
