"""A job always leaves its last word where only it writes, and never the text of an unexpected error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobkit.ending import Ending, Result, run_job
from jobkit.errors import BadConfiguration, BadData, JobError, PermissionRefused, Transient
from jobkit.storage import Storage


@pytest.fixture
def storage(folder: str) -> Iterator[Storage]:
    opened = Storage()
    yield opened
    opened.close()


def last_word(storage: Storage, folder: str, name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(storage.read_text(f"{folder}/7001/{name}"))
    return body


def test_a_result_lies_under_the_jobs_own_id(folder: str, storage: Storage) -> None:
    result = Result({"model": "gs://b/m/"}, {"rows": 3}, {"accuracy": 0.5}, {"note": "ünï"})
    assert run_job(f"{folder}/", lambda _: result) == 0
    assert last_word(storage, folder, "result.json") == {
        "version": 1,
        "outputs": {"model": "gs://b/m/"},
        "counts": {"rows": 3},
        "metrics": {"accuracy": 0.5},
        "metadata": {"note": "ünï"},
    }


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadData("bad"), "bad_data"),
        (BadConfiguration("bad"), "configuration"),
        (PermissionRefused("bad"), "permission"),
        (Transient("bad"), "transient"),
        (JobError("bad"), "internal"),
        (KeyError("Grapes"), "internal"),
    ],
)
def test_an_error_is_a_sentence_a_kind_and_a_hint(folder: str, storage: Storage, error: Exception, kind: str) -> None:
    def body(_: Ending) -> Result:
        raise error

    assert run_job(folder, body) == 1
    word = last_word(storage, folder, "error.json")
    assert (word["kind"], word["version"], set(word)) == (kind, 1, {"version", "kind", "sentence", "hint"})
    assert word["sentence"]
    assert not storage.exists(f"{folder}/7001/result.json")


def test_baseline_row_10_the_text_of_an_unexpected_error_stays_in_the_log(folder: str, storage: Storage) -> None:
    def body(_: Ending) -> Result:
        raise RuntimeError("https://signed.example/?token=secret")

    assert run_job(folder, body) == 1
    word = json.dumps(last_word(storage, folder, "error.json"))
    assert "secret" not in word
    assert "RuntimeError" in word


@pytest.mark.parametrize("text", ["x" * 1000, "word " * 300, "two\nlines\tand tabs " * 40])
def test_a_sentence_has_at_most_255_characters_on_one_line(text: str) -> None:
    sentence = BadData(text).sentence
    assert len(sentence) <= 255
    assert sentence.isprintable()


def test_a_phase_hint_is_written_once(folder: str, storage: Storage) -> None:
    def body(ending: Ending) -> Result:
        ending.phase("PREPARING_DATA")
        ending.phase("PREPARING_DATA")
        return Result()

    assert run_job(folder, body) == 0
    assert last_word(storage, folder, "phase-PREPARING_DATA.json") == {"version": 1}


def test_a_result_that_is_no_number_is_an_error_and_not_half_a_file(folder: str, storage: Storage) -> None:
    assert run_job(folder, lambda _: Result(metrics={"accuracy": float("nan")})) == 1
    assert last_word(storage, folder, "error.json")["kind"] == "internal"


def test_lines_are_split_on_line_feeds_only_and_a_failed_writer_writes_nothing(folder: str, storage: Storage) -> None:
    written = ["one\u2028two", "three\rfour\x85five", "", "🙂"]
    with storage.line_writer(f"{folder}/lines") as writer:
        for line in written:
            writer.write(line)
    assert list(storage.read_lines(f"{folder}/lines")) == written

    def interrupted() -> None:
        with storage.line_writer(f"{folder}/half") as writer:
            writer.write("first")
            raise BadData("stop")

    with pytest.raises(BadData):
        interrupted()
    assert not storage.exists(f"{folder}/half")


ACTIONS: dict[str, Callable[[Storage, str], object]] = {
    "read": lambda storage, uri: storage.read_text(uri),
    "lines": lambda storage, uri: list(storage.read_lines(uri)),
    "size": lambda storage, uri: storage.size(uri),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_an_object_that_is_not_there_is_named(
    folder: str, storage: Storage, action: Callable[[Storage, str], object]
) -> None:
    with pytest.raises(BadConfiguration, match="does not exist"):
        action(storage, f"{folder}/nothing")


def test_objects_are_listed_in_the_order_of_their_names(folder: str, storage: Storage) -> None:
    for name in ("b", "a", "c/d"):
        storage.write_text(f"{folder}/list/{name}", name)
    assert list(storage.list(f"{folder}/list/")) == [f"{folder}/list/{name}" for name in ("a", "b", "c/d")]
