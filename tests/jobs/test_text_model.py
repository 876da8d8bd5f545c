"""A text model scores the same after it is saved and loaded, and is chosen on validation rows only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadConfiguration
from jobkit.splits import ML_USE
from jobkit.storage import Storage
from jobkit.text import wordpieces
from jobkit.text.embeddings import WINDOW, embed
from jobkit.text.model import TextModel
from jobkit.text.training import BACKBONES, Corpus, read_corpus, train
from jobkit.text.vectors import TimeUp, Vectors
from jobkit.transformer.options import Options

WORDS = {
    "fruit": "apple pear plum cherry banana",
    "metal": "iron copper zinc tin lead",
    "bird": "robin crow owl wren gull",
}


def lines(single: bool = True) -> list[str]:
    found = []
    for name, words in WORDS.items():
        for index, word in enumerate(words.split() * 4):
            body: dict[str, object] = {
                "textContent": f"number {index}: we talked about {word} and {words.split()[index % 3]}",
                "dataItemResourceLabels": {ML_USE: ("training", "training", "validation", "test")[index % 4]},
            }
            if single:
                body["classificationAnnotation"] = {"displayName": name}
            else:
                names = [] if index == 1 else [name, "all"] if index % 2 else [name]
                body["classificationAnnotations"] = [{"displayName": one} for one in names]
            found.append(json.dumps(body))
    return found


def corpus(single: bool = True) -> Corpus:
    return read_corpus(lines(single))


@pytest.mark.parametrize("single", [True, False], ids=["single", "multiple"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_saved_model_scores_the_same_without_being_fitted_again(tmp_path: Path, backbone: str, single: bool) -> None:
    model = train(corpus(single), backbone, seed=3).model
    model.save(tmp_path)
    again = TextModel.load(tmp_path)
    texts = ["iron and tin", "a crow in a plum tree", "", "nothing known: 😀"]
    np.testing.assert_array_equal(again.scores(texts), model.scores(texts))
    assert [again.decide(row) for row in again.scores(texts)] == [model.decide(row) for row in model.scores(texts)]
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        train(corpus(), "none", seed=5).model.save(tmp_path / name)
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()
    assert (tmp_path / "one/model.json").read_bytes() == (tmp_path / "two/model.json").read_bytes()


def test_scores_of_a_single_choice_are_shares_and_the_decision_is_the_best() -> None:
    best = train(corpus(), "auto", seed=0)
    scores = best.model.scores(["copper and zinc"])
    assert scores.sum() == pytest.approx(1.0)
    assert best.model.decide(scores[0]) == ["metal"]
    assert best.figures["macro_f1"] == 1.0


def test_test_rows_are_neither_trained_on_nor_chosen_by() -> None:
    poisoned = [
        line.replace('"displayName": "fruit"', '"displayName": "poison"') for line in lines() if '"test"' in line
    ]
    kept = [line for line in lines() if '"test"' not in line]
    assert "poison" not in read_corpus([*kept, *poisoned]).classes


def test_a_checklist_learns_rows_without_a_tick_and_a_class_that_is_always_there() -> None:
    always = []
    for line in lines(single=False):
        body = json.loads(line)
        body["classificationAnnotations"].append({"displayName": "always"})
        always.append(json.dumps(body))
    model = train(read_corpus(always), "none", seed=0).model
    said = model.decide(model.scores(["we talked about iron and copper"])[0])
    assert {"always", "metal"} <= set(said)
    assert all(0.1 <= threshold <= 0.9 for threshold in model.thresholds)


def test_a_class_that_only_validation_knows_is_never_said() -> None:
    extra = {
        "textContent": "odd",
        "classificationAnnotation": {"displayName": "odd"},
        "dataItemResourceLabels": {ML_USE: "validation"},
    }
    model = train(read_corpus([*lines(), json.dumps(extra)]), "none", seed=0).model
    assert model.decide(model.scores(["odd"])[0]) != ["odd"]


def test_sentences_of_like_meaning_lie_close_and_long_texts_count_to_their_end() -> None:
    refund, money, weather = embed(["I want a refund", "Please give my money back", "The weather is nice"])
    assert refund @ money > 0.5 > refund @ weather
    start = "The weather is nice. " * (WINDOW // 5 + 5)
    plain, with_end = embed([start, start + "I want a refund, give my money back! " * 20])
    assert refund @ with_end > refund @ plain + 0.1


class Reader:
    """Stands for the encoder, and counts what it reads."""

    def __init__(self, dies_after: int = 100) -> None:
        self.read: list[str] = []
        self._dies_after = dies_after

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        if len(self.read) >= self._dies_after:
            raise KeyboardInterrupt
        self.read += texts
        return np.array([[len(text), ord(text[0])] for text in texts], np.float32)


def test_a_text_that_was_read_before_a_machine_was_taken_away_is_not_read_again(folder: str) -> None:
    checkpoints, texts = Checkpoints(Storage(), folder), ["one", "two", "three", "four", "five"]
    first = Reader(dies_after=4)
    with pytest.raises(KeyboardInterrupt):
        Vectors(checkpoints, embed=first, part=2)(texts)
    second = Reader()
    vectors = Vectors(checkpoints, embed=second, part=2)
    found = vectors(texts)
    np.testing.assert_array_equal(found, vectors(texts))
    assert (first.read, second.read) == (["one", "two", "three", "four"], ["five"])
    np.testing.assert_array_equal(found, Reader()(texts))
    Storage().write_text(next(Storage().list(f"{folder}/vectors/")), "damaged")
    np.testing.assert_array_equal(Vectors(checkpoints, embed=Reader(), part=2)(texts), found)
    few = Reader()
    Vectors(checkpoints, embed=few, part=5)(texts)  # what is read in seconds is not kept
    assert few.read == texts


def test_a_time_budget_leaves_out_what_has_not_begun_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    short = Options(budget_s=1e-9)
    assert train(corpus(), "auto", options=short).model.name == "tfidf"
    assert "MiniLM is left out, for the time budget has ended" in capsys.readouterr().out
    with pytest.raises(BadConfiguration, match="time budget"):
        train(corpus(), "minilm", options=short)
    with pytest.raises(TimeUp):
        Vectors(deadline=1e-9)(["a text"])


PIECES = {
    "Hello, World! don't 3.14": [7592, 1010, 2088, 999, 2123, 1005, 1056, 1017, 1012, 2403],
    "Ünïcödé naïve café": [27260, 15743, 7668],
    "日本 text": [1864, 1876, 3793],
    "emoji 😀 ok": [7861, 29147, 2072, 100, 7929],
    "x" * 200 + " y": [100, 1061],
    "a\u200bb\tc": [11113, 1039],
    "": [],
}


@pytest.mark.parametrize(("text", "numbers"), PIECES.items())
def test_word_pieces_are_those_of_the_models_own_tokenizer(text: str, numbers: list[int]) -> None:
    assert wordpieces.encode(text) == numbers
