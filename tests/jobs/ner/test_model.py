"""Tokens, windows, training and the model's file."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadConfiguration, BadData
from jobkit.ner.decoding import tags_of
from jobkit.ner.model import DESCRIPTION_FILE, EntityModel
from jobkit.ner.spans import Entity
from jobkit.ner.tokens import CONTEXT, WINDOW, places, snapped, windows, words_of
from jobkit.ner.training import PENALTIES, Corpus, Examples, evaluate, read_corpus, train
from jobkit.splits import ML_USE, TRAINING, VALIDATION
from jobkit.storage import Storage
from jobkit.transformer.options import Options

CUT = {
    "words and signs": ("Ada's 2 cats, ok?", ["Ada", "'", "s", "2", "cats", ",", "ok", "?"]),
    "letters and digits apart": ("B2B 7up x_1", ["B", "2", "B", "7", "up", "x", "_", "1"]),
    "combining marks stay": ("Zoe\u0308 हिन्दी", ["Zoe\u0308", "हिन्दी"]),
    "one emoji": ("👩\u200d👧 ok", ["👩\u200d", "👧", "ok"]),
    "scripts without spaces": ("東京です", ["東", "京", "で", "す"]),
    "line ends": ("a\r\nb\u2028c", ["a", "b", "c"]),
    "only white space": (" \n\t\u3000", []),
}


@pytest.mark.parametrize(("text", "words"), CUT.values(), ids=CUT)
def test_texts_are_cut_into_tokens_that_lose_nothing_but_white_space(text: str, words: list[str]) -> None:
    spans = places(text)
    assert words_of(text, spans) == words
    assert "".join(text[start:end] for start, end in spans) == "".join(text.split())


@pytest.mark.parametrize("length", [0, 1, WINDOW, WINDOW + 1, 10 * WINDOW + 7])
def test_windows_decide_about_every_token_once_and_see_what_is_around(length: int) -> None:
    parts = list(windows(length))
    assert [index for _, _, first, after in parts for index in range(first, after)] == list(range(length))
    for low, high, first, after in parts:
        assert high - low <= WINDOW
        assert first - low == min(CONTEXT, first) or length <= WINDOW
        assert high - after == min(CONTEXT, length - after) or length <= WINDOW


def test_an_entity_that_ends_within_a_token_takes_the_whole_token() -> None:
    text = "pre-Ada-post and Bo"
    spans = places(text)
    assert snapped(5, 6, spans) == (2, 3)  # the "d" of "Ada"
    assert snapped(12, 13, spans) == (5, 5)  # white space
    assert tags_of(spans, [Entity(4, 7, "x"), Entity(17, 19, "x")], {"x": 3}) == ["O", "O", "B3", "O", "O", "O", "B3"]


NAMES = ("Ada", "Bo", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal")


def corpus(rows: int = 60, classes: tuple[str, ...] = ("Person",)) -> Corpus:
    chance = random.Random(1)
    splits = {TRAINING: Examples(), VALIDATION: Examples()}
    for number in range(rows):
        name = chance.choice(NAMES)
        text = f"yesterday {name} went home" if number % 2 else f"the shop of {name} is closed"
        start = text.index(name)
        part = splits[VALIDATION if number % 6 == 5 else TRAINING]
        part.texts.append(text)
        part.entities.append((Entity(start, start + len(name), classes[0]),))
    return Corpus(classes, splits)


@pytest.fixture(scope="module")
def model() -> EntityModel:
    return train(corpus(), "auto").model


def test_a_name_that_training_never_saw_is_found_by_its_place(model: EntityModel) -> None:
    (found,) = model.find("yesterday Zora went home")
    assert (found.start, found.end, found.name) == (10, 14, "Person")
    assert 0.5 < found.confidence <= 1.0


def test_a_saved_model_finds_the_same_with_the_same_confidence(model: EntityModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.crfsuite", "model.json"]
    again = EntityModel.load(tmp_path)
    for text in ("the shop of Ada is closed", "", " ", "🚀 yesterday Zora went home\r\n", "x" * 100_000):
        assert again.find(text) == model.find(text)
    body = json.loads((tmp_path / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    (tmp_path / DESCRIPTION_FILE).write_text(json.dumps(body | {"features": "of tomorrow"}), encoding="utf-8")
    with pytest.raises(BadConfiguration):
        EntityModel.load(tmp_path)


def test_the_same_rows_give_the_same_model(model: EntityModel, tmp_path: Path) -> None:
    again = train(corpus(), "auto").model
    for number, one in enumerate((model, again)):
        (tmp_path / str(number)).mkdir()
        one.save(tmp_path / str(number))
    for name in ("model.crfsuite", "model.json"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


def test_a_long_text_is_read_to_its_end(model: EntityModel) -> None:
    sentence = "yesterday Zora went home\n"
    found = model.find(sentence * 600)
    assert [(one.start % len(sentence), one.end - one.start) for one in found] == [(10, 4)] * 600


def test_class_names_may_be_anything() -> None:
    hostile = ("O", "B0", "a\tb:c\n", "<script>", "")
    for name in hostile:
        model = train(corpus(classes=(name,)), "words").model
        assert {one.name for one in model.find("yesterday Ada went home")} == {name}


def test_the_choice_is_made_on_validation_rows_and_without_them_the_first_candidate_is_kept() -> None:
    given = corpus()
    best = train(given, "auto")
    assert best.figures == evaluate(best.model, given.splits[VALIDATION])
    alone = train(Corpus(given.classes, {TRAINING: given.splits[TRAINING], VALIDATION: Examples()}), "auto")
    assert alone.figures == {}
    assert alone.model.kind == "clusters"


def test_a_field_that_was_fitted_before_a_machine_was_taken_away_is_not_fitted_again(
    folder: str, tmp_path: Path
) -> None:
    given, checkpoints = corpus(), Checkpoints(Storage(), folder)
    train(given, "words", 3).model.save(tmp_path)
    for c1, c2 in PENALTIES:
        checkpoints.keep(f"crf-words-{c1}-{c2}.crfsuite", tmp_path / "model.crfsuite")
    again = tmp_path / "again"
    again.mkdir()
    train(given, "words", 100, checkpoints=checkpoints).model.save(again)
    assert (again / "model.crfsuite").read_bytes() == (tmp_path / "model.crfsuite").read_bytes()


def test_a_time_budget_leaves_one_candidate(capsys: pytest.CaptureFixture[str]) -> None:
    train(corpus(), "auto", options=Options(budget_s=1e-9))
    said = capsys.readouterr().out
    assert (said.count("Candidate fitted"), said.count("the time budget has ended")) == (1, 5)


def line(split: str, text: str, *annotations: dict[str, object]) -> str:
    body = {"textContent": text, "textSegmentAnnotations": annotations, "dataItemResourceLabels": {ML_USE: split}}
    return json.dumps(body)


def test_the_training_file_is_read_without_its_test_rows_and_bounded() -> None:
    ada = {"startOffset": "0", "endOffset": 3, "displayName": "Person"}
    lines = [line("training", "Ada spoke", ada), line("test", "Ada Ada"), line("validation", "nobody"), ""]
    read = read_corpus(lines)
    assert read.classes == ("Person",)
    assert read.splits[TRAINING].entities == [(Entity(0, 3, "Person"),)]
    assert read.splits[VALIDATION].texts == ["nobody"]
    assert read_corpus([*lines, line("training", "one two three")], max_tokens=4).left_out == 1
    with pytest.raises(BadData):
        train(read_corpus([line("training", "nobody here")]), "auto")
