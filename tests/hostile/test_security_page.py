"""docs/security.md names a test for each guard, and each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
NAMED = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", (DOCS / "security.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("test", "file"), sorted(set(NAMED)))
def test_every_test_that_the_page_names_exists(test: str, file: str) -> None:
    assert f"\ndef {test}(" in (DOCS / file).read_text(encoding="utf-8")


def test_every_row_of_the_page_names_a_test() -> None:
    text = (DOCS / "security.md").read_text(encoding="utf-8")
    # The tables of grants are compared whole, by tests/terraform/test_grants.py.
    guards = re.sub(r"<!-- ([a-z ]+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
    rows = [line for line in guards.splitlines() if line.startswith("| ")]
    assert len(rows) > 25
    assert [row for row in rows if "`test_" not in row and not row.startswith("| who tries")] == []
