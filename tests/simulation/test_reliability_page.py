"""docs/reliability.md names the tests of each row, and each of them exists; every fault of the simulation has a row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulation.faults import Fault

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "reliability.md").read_text(encoding="utf-8")
NAMED = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", TEXT)
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| what fails")]
# A word of the row that tells what the system does about each fault of the simulation.
ROW_OF = {
    Fault.CRASH: "A function dies",
    Fault.STALL: "frozen",
    Fault.REFUSED: "The bucket answers 429",
    Fault.ANSWER_LOST: "its answer is lost",
    Fault.OWN_412: "412 to its own retry",
    Fault.QUOTA: "Vertex answers 429",
    Fault.SURE_NO: "surely refuses",
    Fault.STALE_LIST: "30 s stale",
    Fault.LOST: "loses a hint",
    Fault.DUPLICATED: "delivers twice",
    Fault.REORDERED: "out of order",
    Fault.DELAYED: "past a claim's hold",
    Fault.WRONG_HINT: "made up",
    Fault.TICK: "Two reconciles overlap",
    Fault.REPOST: "The same POST again",
    Fault.CANCEL: "A user cancels",
    Fault.RETRY: "goes on from a stage",
    Fault.DELETED: "is deleted in Labelbox",
    Fault.BAD_CONFIG: "no parameter",
    Fault.LIMITED: "more than the deployment allows",
    Fault.CAPPED: "pass the cap",
    Fault.DEPLOY: "A deploy in the middle",
    Fault.JOB_FAILS: "A job fails",
}


@pytest.mark.parametrize(("test", "file"), sorted(set(NAMED)))
def test_every_test_that_the_page_names_exists(test: str, file: str) -> None:
    assert f"\ndef {test}(" in (DOCS / file).read_text(encoding="utf-8")


def test_every_row_of_the_page_names_a_test() -> None:
    assert len(ROWS) > 25
    assert [row for row in ROWS if "`test_" not in row] == []


def test_every_fault_of_the_simulation_has_its_row() -> None:
    assert ROW_OF.keys() == set(Fault)
    heads = [row.split(" | ")[0] for row in ROWS]
    assert [fault for fault, words in ROW_OF.items() if not any(words in head for head in heads)] == []
