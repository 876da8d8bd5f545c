"""Signed URLs that expire while a job reads: renewed by a new export, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobkit.errors import Transient
from jobkit.export import ExportRow
from jobkit.fetch import FetchRules
from jobkit.labelbox import client, export_rows
from jobkit.renewal import MAX_USELESS, FreshUrls
from jobkit.storage import Storage
from jobkit.text.contents import TextReader
from tests.jobs import exports
from tests.jobs.conftest import StartLabelbox


def test_a_row_whose_signed_url_expired_is_read_by_the_url_of_a_new_export(
    start_labelbox: StartLabelbox, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobkit.labelbox.LABELS_WAIT_S", 0.0)
    files = tmp_path / "sample" / "files"
    files.mkdir(parents=True)
    (files / "one.txt").write_text("the text", encoding="utf-8")
    rows = [exports.row("one", "files/one.txt"), exports.row("gone", "files/gone.txt")]
    labelbox = start_labelbox(exports.sample(tmp_path / "sample", rows, []))
    labelbox.set(expire_urls_s=0.3)
    one, gone = list(export_rows(client(), exports.RUN_ID))
    storage = Storage()
    plain = TextReader(storage, FetchRules(allow_private=True), frozenset())
    deadline = time.monotonic() + 20
    while plain.read(one).reason != "access_denied":
        assert time.monotonic() < deadline, "the URL never expired"
    labelbox.set(expire_urls_s=600)
    with FreshUrls(lambda: export_rows(client(), exports.RUN_ID)) as fresh:
        reader = TextReader(storage, FetchRules(allow_private=True), frozenset(), fresh)
        assert reader.read(one).text == "the text"
        assert reader.read(gone).reason == "not_found"
        assert reader.read(one).text == "the text"
    storage.close()


def row(url: str) -> ExportRow:
    return ExportRow("one", None, None, url)


class Exports:
    """Gives the row another URL in each export."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Iterator[ExportRow]:
        self.made += 1
        yield row(f"https://host/{self.made}")
        yield ExportRow("inline", None, None, "no address")


def test_a_young_export_is_not_made_again_and_one_that_opens_nothing_not_for_ever() -> None:
    young = Exports()
    with FreshUrls(young) as fresh:
        assert [fresh.of(row("https://host/old")) for _ in range(5)] == ["https://host/1"] * 5
        assert fresh.of(row("https://host/1")) is None  # the same address again
        assert fresh.of(ExportRow("inline", None, None, "no address")) is None
    assert young.made == 1
    useless = Exports()
    with FreshUrls(useless, renew_after_s=-1) as fresh:
        for _ in range(10):
            fresh.of(row("https://host/old"))
    assert useless.made == MAX_USELESS
    useful = Exports()
    with FreshUrls(useful, renew_after_s=-1) as fresh:
        for _ in range(10):
            fresh.of(row("https://host/old"))
            fresh.opened()
    assert useful.made == 10


def test_labelbox_down_leaves_the_row_refused() -> None:
    def down() -> Iterator[Any]:
        raise Transient("Labelbox did not answer.")
        yield

    with FreshUrls(down) as fresh:
        assert fresh.of(row("https://host/old")) is None
