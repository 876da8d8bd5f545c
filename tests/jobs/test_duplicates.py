"""A data row that an export repeats counts once, however many rows there are."""

from __future__ import annotations

from jobkit.choice_dataset import ChoiceDataset, ChoiceRules
from jobkit.duplicates import SeenRows
from jobkit.export import parse_row
from jobkit.fetch import FetchRules
from jobkit.ontology import parse_ontology
from jobkit.storage import Storage
from jobkit.text.contents import MAX_BYTES, TextReader
from jobkit.text.etl import SplitFinder, collect
from tests.jobs import exports


def test_of_a_data_row_that_comes_twice_the_first_counts(folder: str) -> None:
    bodies = [
        exports.row("one", "first", [exports.label(exports.radio("q", "a"))]),
        exports.row("one", "second", [exports.label(exports.radio("q", "b"))]),
        exports.row("two", "first", [exports.label(exports.radio("q", "b"))]),
        {"data_row": {}},
        {"data_row": {}},
    ]
    normalized = {"classifications": [exports.question("q", "radio", exports.options("a", "b"))]}
    question = parse_ontology("o", normalized).questions[0]
    reader = TextReader(Storage(), FetchRules.from_environment(MAX_BYTES), frozenset())
    with ChoiceDataset(question, question.options, ChoiceRules("majority", 1, False, single=True)) as dataset:
        rows = [parse_row(body, exports.RUN_ID) for body in bodies]
        collect(rows, dataset, reader, SplitFinder(dict, make_split=False))
        report = dataset.report
    assert report.rows == 5
    assert report.skipped.to_json() == {
        "repeated_data_row": {"count": 1, "ids": ["one"]},
        "unreadable_row": {"count": 2, "ids": ["?", "?"]},
    }


def test_rows_are_told_apart_while_the_table_grows() -> None:
    seen = SeenRows()
    ids = [f"row {number}" for number in range(5000)]
    assert not any(seen.again(one) for one in ids)
    assert all(seen.again(one) for one in ids)
