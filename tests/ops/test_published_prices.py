"""Published prices are figures that somebody read on a page on a day, or they are unknown."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from ops.published import FILE, PublishedPrice, published
from ops.usage import Use
from orchestrator.settings import Settings
from orchestrator.spending import AUTOML_NODE, BATCH_NODE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
EVERY = [*published().per_hour.items(), *published().spot_per_hour.items()]


@pytest.mark.parametrize(("resource", "item"), EVERY, ids=[f"{n}-{name}" for n, (name, _) in enumerate(EVERY)])
def test_a_price_has_its_page_and_its_day(resource: str, item: PublishedPrice) -> None:
    assert item.url.startswith("https://cloud.google.com/")
    assert isinstance(item.read_on, date)
    assert item.price is None or item.price > 0


def test_everything_that_a_run_may_use_by_default_is_listed_even_if_unknown() -> None:
    allowed = {*Settings.allowed_machines, *Settings.allowed_accelerators, AUTOML_NODE, BATCH_NODE}
    assert published().per_hour.keys() == allowed


def test_an_unknown_price_and_another_region_make_a_cost_unknown_and_not_nothing() -> None:
    known, unknown = Use("n1-standard-4", 2.0), Use("NVIDIA_L4", 1.0)
    here = published().prices("us-central1")
    assert here.cost([known]).amount == pytest.approx(2 * here.per_hour["n1-standard-4"])  # type: ignore[index]
    assert here.cost([known, unknown]).missing == ("NVIDIA_L4",)
    assert published().prices("europe-west4").cost([known]).amount is None


def test_the_table_of_the_page_is_that_of_the_file() -> None:
    text = PAGE.read_text(encoding="utf-8").split("<!-- prices -->")[1].split("<!-- /prices -->")[0]
    shown = {}
    for row in text.strip().splitlines()[2:]:
        resource, price, day = (cell.strip() for cell in row.strip("|").split("|"))
        shown[resource.strip("`")] = (price, day)
    assert shown == {
        name: (str(item.price) if item.price is not None else "unknown", str(item.read_on))
        for name, item in published().per_hour.items()
    }


def test_the_file_says_what_region_and_currency_it_is_for() -> None:
    assert (published().region, published().currency) == ("us-central1", "USD")
    assert re.search(r"^# .*unknown", FILE.read_text(encoding="utf-8"), re.MULTILINE)
