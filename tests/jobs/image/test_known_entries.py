"""Rows whose index entry cannot be there are not asked for, and learning which costs little beside asking."""

from __future__ import annotations

import hashlib
import threading

import pytest

from jobkit.image import known
from jobkit.image.known import READS_A_PAGE, KnownEntries


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


class Index:
    """Entries in the order of their names, listed a few at a time."""

    def __init__(self, count: int, size: int) -> None:
        self.names = sorted(f"{key(number)}.json" for number in range(count))
        self.size, self.listed = size, 0

    def page(self, token: str) -> tuple[list[str], str]:
        self.listed += 1
        start = int(token or 0)
        end = start + self.size
        return self.names[start:end], str(end) if end < len(self.names) else ""


@pytest.mark.parametrize(("count", "size"), [(0, 10), (1, 10), (10, 10), (25, 10), (2_000, 100)])
def test_an_entry_that_is_there_is_never_said_to_be_missing(count: int, size: int) -> None:
    index = Index(count, size)
    entries = KnownEntries(index.page)
    assert not any(entries.lacks(key(number)) for number in range(count))


@pytest.mark.parametrize("rows", [1, 100, 2_000])
def test_an_index_of_one_page_spares_every_read_of_a_new_row(rows: int) -> None:
    index = Index(7, 10)
    entries = KnownEntries(index.page)
    assert all(entries.lacks(key(number)) for number in range(7, 7 + rows))
    assert index.listed == 1


def test_a_large_index_costs_a_page_for_many_reads_and_what_was_listed_spares_the_others() -> None:
    index = Index(5_000, 100)
    entries = KnownEntries(index.page)
    reads = sum(not entries.lacks(key(number)) for number in range(5_000, 7_000))
    assert index.listed <= reads / READS_A_PAGE + 1
    assert reads < 1_000


def test_names_that_are_no_entries_are_passed_over() -> None:
    entries = KnownEntries(lambda _: (["", "note.txt", "0" * 64 + ".json.bak"], ""))
    assert entries.lacks("0" * 64)


def test_an_entry_that_was_made_after_the_list_may_be_there() -> None:
    entries = KnownEntries(Index(0, 10).page)
    assert entries.lacks(key(1))
    entries.add(key(1))
    assert not entries.lacks(key(1))


def test_where_memory_is_full_every_row_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MAX_KNOWN", 5)
    index = Index(0, 10)
    entries = KnownEntries(index.page)
    for number in range(8):
        entries.lacks(key(number))
        entries.add(key(number))
    assert not any(entries.lacks(key(number)) for number in range(100))
    assert index.listed == 1


def test_no_thread_waits_for_anothers_list() -> None:
    started, ended = threading.Event(), threading.Event()

    def page(_: str) -> tuple[list[str], str]:
        started.set()
        ended.wait(20)
        return [], ""

    entries = KnownEntries(page)
    thread = threading.Thread(target=entries.lacks, args=(key(0),))
    thread.start()
    assert started.wait(20)
    assert not entries.lacks(key(1))
    ended.set()
    thread.join()
    assert entries.lacks(key(1))
