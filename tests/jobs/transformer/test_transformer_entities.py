"""Entities that a transformer finds stand where the text has them, whatever its letters are made of."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from jobkit.ner.best_path import best_tags
from jobkit.ner.corpus import Corpus, Examples
from jobkit.ner.finders import load_finder
from jobkit.ner.spans import Entity
from jobkit.ner.tokens import places
from jobkit.ner.training import Candidate, evaluate, train
from jobkit.ner.transformer import NOWHERE, owners
from jobkit.splits import ML_USE, TRAINING, VALIDATION
from jobkit.storage import Storage
from jobkit.transformer.options import Options
from jobkit.transformer.windows import cut
from train.ner.main import main as train_job

NAMES = ("Ada", "Zoe\u0308", "हिन्दी", "Bo", "Grace")
CITIES = ("Kraków", "Paris", "東京")
QUICK = Options(epochs=4, learning_rate=1e-2, batch_size=8, max_tokens=48, seed=1)


def corpus(rows: int = 60) -> Corpus:
    chance, splits = random.Random(7), {TRAINING: Examples(), VALIDATION: Examples()}
    for number in range(rows):
        name, city = chance.choice(NAMES), chance.choice(CITIES)
        before = chance.choice(("🚀 we talked about ", "the crow and ", "👩\u200d👧 number 3 "))
        text = f"{before}{name} in {city} and the owl"
        start, after = len(before), len(before) + len(name)
        split = splits[VALIDATION if number % 4 == 3 else TRAINING]
        split.texts.append(text)
        split.entities.append((Entity(start, after, "Person"), Entity(after + 4, after + 4 + len(city), "City")))
    return Corpus(("City", "Person"), splits)


@pytest.fixture(scope="module")
def best(models: Path) -> Candidate:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELS_DIR", str(models))
        return train(corpus(), "auto", backbone="hf:tiny-modernbert", options=QUICK)


def test_names_are_found_to_the_letter_beside_emoji_and_with_combining_marks(best: Candidate) -> None:
    assert best.figures["micro_f1"] >= 0.9 and best.words == "transformer tiny-modernbert"
    text = "🚀 we talked about Zoe\u0308 in Kraków and the owl"
    found = {text[one.start : one.end]: one for one in best.model.find(text)}
    assert {"Zoe\u0308": "Person", "Kraków": "City"}.items() <= {word: one.name for word, one in found.items()}.items()
    assert all(0.0 < one.confidence <= 1.0 for one in found.values())


def test_a_saved_model_finds_the_same_and_long_texts_are_read_to_their_end(best: Candidate, tmp_path: Path) -> None:
    best.model.save(tmp_path)
    again = load_finder(tmp_path)
    sentence = "🚀 we talked about Ada in Paris and the owl\n"
    texts = ["", " \u3000", "\ud83d Ada", sentence, sentence * 40]
    assert again.find_all(texts) == best.model.find_all(texts) and again.name == best.model.name
    (*_, long) = again.find_all(texts)
    cities = [one.start for one in long if (sentence * 40)[one.start : one.end] == "Paris"]
    assert len(cities) == 40 and cities == sorted(cities)
    labels = json.loads((tmp_path / "transformer" / "config.json").read_text(encoding="utf-8"))["id2label"]
    assert list(labels.values()) == ["O", "B-City", "I-City", "B-Person", "I-Person"]


TEXTS = {
    "plain": "Ada met Bo",
    "emoji in front": "🚀🚀 Ada met Bo 👩\u200d👧!",
    "combining marks": "Zoe\u0308 and हिन्दी",
    "no spaces": "東京です、Ada",
    "line ends": "Ada\r\nBo\u2028owl\u00a0crow",
    "half a pair": "\ud83d Ada",
}


@pytest.mark.parametrize("kind", ["modernbert", "bert"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_word_has_a_first_piece_that_lies_in_it(models: Path, kind: str, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(models / f"tiny-{kind}"), local_files_only=True)
    spans, windows = places(text), cut(tokenizer, [text], 16)
    found = owners(spans, windows)
    for (start, end), (window, piece) in zip(spans, found, strict=True):
        if (window, piece) == NOWHERE:
            assert kind == "bert"  # its tokenizer drops signs that it cannot spell
            continue
        low, high = windows[window].offsets[piece].tolist()
        assert low < end and high > start and windows[window].first <= piece < windows[window].after
        assert text[low:high].lstrip()[:1] in (text[start : start + 1], "", text[low:high][:1])


def test_the_best_path_is_the_best_of_all_paths_in_which_nothing_goes_on_that_did_not_begin() -> None:
    chance = np.random.default_rng(5)
    for _ in range(60):
        chances = chance.dirichlet(np.ones(5) / 2, size=4)

        def allowed(path: tuple[int, ...]) -> bool:
            return all(tag % 2 or not tag or before in (tag, tag - 1) for before, tag in itertools.pairwise((0, *path)))

        paths = (path for path in itertools.product(range(5), repeat=4) if allowed(path))
        most = max(np.log(np.maximum(chances[range(4), list(path)], 1e-12)).sum() for path in paths)
        found = best_tags(chances)
        assert allowed(tuple(found))
        assert np.log(np.maximum(chances[range(4), found], 1e-12)).sum() == pytest.approx(most)
    assert best_tags(np.zeros((0, 5))) == []


def test_a_threshold_is_chosen_on_validation_or_set_and_entities_below_it_are_not_said() -> None:
    given = corpus()
    plain = train(given, "words", 20, threshold=0.0)
    strict = train(given, "words", 20, threshold=0.999)
    text = given.splits[VALIDATION].texts[0]
    assert {one for one in plain.model.find(text) if one.confidence >= 0.999} == set(strict.model.find(text))
    assert strict.figures == evaluate(strict.model, given.splits[VALIDATION])
    noisy = Examples(["Ada met Bo", "nothing here"], [(Entity(0, 3, "Person"),), ()])
    chosen = train(Corpus(given.classes, {TRAINING: given.splits[TRAINING], VALIDATION: noisy}), "words", 20)
    assert chosen.figures["micro_f1"] >= evaluate(replace_threshold(chosen, 0.0).model, noisy)["micro_f1"]


def replace_threshold(candidate: Candidate, threshold: float) -> Candidate:
    candidate.model.threshold = threshold
    return candidate


def test_the_job_takes_the_same_command_line_and_a_bad_backbone_names_what_is_there(folder: str) -> None:
    storage, given = Storage(), corpus(24)
    lines = [
        {
            "textContent": text,
            "textSegmentAnnotations": [
                {"startOffset": one.start, "endOffset": one.end, "displayName": one.name} for one in entities
            ],
            "dataItemResourceLabels": {ML_USE: split},
        }
        for split, examples in given.splits.items()
        for text, entities in zip(examples.texts, examples.entities, strict=True)
    ]
    storage.write_text(f"{folder}/data/training.jsonl", "\n".join(json.dumps(line) for line in lines))
    places = [f"--training-file={folder}/data/training.jsonl", f"--output-uri={folder}/m/", f"--ending-uri={folder}/e/"]
    tuning = ["--epochs=1", "--learning-rate=0.01", "--batch-size=8", "--max-tokens=48", "--seed=3"]
    assert train_job([*places, "--backbone=hf:tiny-bert", *tuning]) == 0
    result = json.loads(storage.read_text(f"{folder}/e/7001/result.json"))
    assert result["metadata"]["model_kind"] == "transformer tiny-bert"
    assert storage.exists(f"{folder}/m/model/transformer/model.safetensors")
    assert train_job([*places, "--backbone=minilm"]) == 1
    error = json.loads(storage.read_text(f"{folder}/e/7001/error.json"))
    assert error["sentence"] == "--backbone must be one of auto, crf, or hf:NAME, not 'minilm'."
