"""A pretrained encoder with a head, on whatever the machine has: loading, reading windows, saving. Needs torch."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

# Threads that spin while they wait starve each other on a small machine: eight times the time was measured.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the import: a missing file must fail at once, not ask a hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)
from transformers.utils import logging as transformers_logging

from jobkit.errors import BadConfiguration
from jobkit.progress import say
from jobkit.transformer.windows import Window

TEXTS, WORDS = "texts", "words"  # what gets a class: whole texts, or each word of them
FOLDER = "transformer"  # within a saved model
BATCH = 32  # windows read at once when nothing is learned
_HEADS = {TEXTS: AutoModelForSequenceClassification, WORDS: AutoModelForTokenClassification}

# Its bars and its table of new weights are no log lines.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def chosen_device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Network:
    """An encoder, its tokenizer and its head. `precision` is what a GPU computes in: bfloat16 where it can, else
    float16; weights are kept in float32."""

    def __init__(self, tokenizer: Any, module: Any, max_tokens: int) -> None:
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self.device = chosen_device()
        self.module = module.to(self.device)
        self.precision = torch.float32
        if self.device.type == "cuda":
            real = torch.cuda.is_bf16_supported(including_emulation=False)
            self.precision = torch.bfloat16 if real else torch.float16

    @classmethod
    def begin(
        cls, folder: Path, kind: str, outputs: int, max_tokens: int, seed: int, *, several: bool = False
    ) -> "Network":
        """A pretrained model with a new head of `outputs` numbers."""
        torch.manual_seed(seed)
        tokenizer, config = _tokenizer(folder), _config(folder)
        config.num_labels = outputs
        config.problem_type = "multi_label_classification" if several else None
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = tokenizer.pad_token_id
        module = _loaded(folder, kind, config)
        return cls(tokenizer, module, min(max_tokens, _longest(tokenizer, config)))

    @classmethod
    def load(cls, folder: Path, kind: str, max_tokens: int) -> "Network":
        """A model that `save` wrote."""
        return cls(_tokenizer(folder), _loaded(folder, kind, _config(folder)), max_tokens)

    def save(self, folder: Path, classes: Sequence[str]) -> None:
        """Writes config.json, model.safetensors and the tokenizer's files, as from_pretrained reads them."""
        self.module.config.id2label = dict(enumerate(classes))
        self.module.config.label2id = {name: number for number, name in enumerate(classes)}
        self.module.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @property
    def ignores_case(self) -> bool:
        """Whether the tokenizer makes all letters small."""
        codes = [self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("Anna", "anna")]
        return bool(codes[0] == codes[1])

    def fast(self) -> AbstractContextManager[Any]:
        """Within it, the machine computes in `precision`."""
        if self.precision == torch.float32:
            return nullcontext()
        within: AbstractContextManager[Any] = torch.autocast(self.device.type, self.precision)
        return within

    def logits(self, windows: Sequence[Window]) -> torch.Tensor:
        """What the head says of the windows, in float32; padded to the longest."""
        longest = max(len(window.ids) for window in windows)
        ids = np.full((len(windows), longest), self.tokenizer.pad_token_id, np.int64)
        mask = np.zeros((len(windows), longest), np.int64)
        for row, window in enumerate(windows):
            ids[row, : len(window.ids)] = window.ids
            mask[row, : len(window.ids)] = 1
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        with self.fast():
            found = self.module(**{name: value.to(self.device) for name, value in inputs.items()}).logits
        return found.float()

    def read(self, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
        """What the head says of each window, without its padding, in the windows' order. Learns nothing."""
        self.module.eval()
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(windows)
        order = sorted(range(len(windows)), key=lambda index: len(windows[index].ids))  # little is padded
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                values = self.logits([windows[row] for row in rows]).cpu().numpy()
                for row, value in zip(rows, values, strict=True):
                    found[row] = value if value.ndim == 1 else value[: len(windows[row].ids)]
        return found


def _tokenizer(folder: Path) -> Any:
    tokenizer = _read(AutoTokenizer.from_pretrained, folder)
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise BadConfiguration(f"The tokenizer of {folder.name} gives no offsets, or has no padding mark.")
    return tokenizer


def _config(folder: Path) -> Any:
    return _read(AutoConfig.from_pretrained, folder)


def _loaded(folder: Path, kind: str, config: Any) -> Any:
    """The module in float32, whatever it was saved in: what is learned in steps too small for 16 bits is lost."""
    return _read(_HEADS[kind].from_pretrained, folder, config=config, use_safetensors=True, dtype=torch.float32)


def _read(reader: Any, folder: Path, **more: Any) -> Any:
    try:
        return reader(str(folder), local_files_only=True, trust_remote_code=False, **more)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadConfiguration(
            f"The model {folder.name} cannot be read for this task ({type(error).__name__}).",
            "It must be an encoder that transformers knows, saved with its tokenizer and as safetensors.",
        ) from error


def _longest(tokenizer: Any, config: Any) -> int:
    """The most pieces that the model can read at once."""
    by_positions = getattr(config, "max_position_embeddings", None) or 512
    if getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert"):
        by_positions -= 2  # its positions begin behind the padding's
    longest = min(int(tokenizer.model_max_length), int(by_positions))
    say("The model's window", max_tokens=longest)
    return longest
