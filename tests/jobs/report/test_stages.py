"""The stages of a run in its report: times, hours, and costs at the deployment's prices or none at all."""

from __future__ import annotations

from typing import Any

import pytest

from jobkit.report.stages import stages_table
from jobkit.run_description import RunDescription
from tests.jobs.report.runs import Page

ETL: dict[str, Any] = {
    "stage": "etl",
    "job": "export",
    "attempt": 1,
    "kind": "CustomJob",
    "state": "SUCCEEDED",
    "machine": "n1-standard-4",
    "launched": "2026-11-23T10:00:00Z",
    "ended": "2026-11-23T10:30:00Z",
    "spot": True,
    "resources": [["n1-standard-4/spot", 1], ["NVIDIA_TESLA_T4/spot", 2]],
}
AUTOML: dict[str, Any] = {
    "stage": "train",
    "job": "fit",
    "attempt": 1,
    "kind": "AutoMLImageTraining",
    "state": "SUCCEEDED",
    "launched": "2026-11-23T10:30:00Z",
    "ended": "2026-11-23T12:30:00Z",
    "budget_milli_node_hours": 8000,
    "resources": [["automl_image_training_node", 1]],
}
REFUSED: dict[str, Any] = {
    "stage": "inference",
    "job": "evaluate",
    "attempt": 1,
    "kind": "CustomJob",
    "state": "launching",
    "machine": "m",
    "launched": "",
    "ended": "",
    "resources": [["m", 1]],
}
OWN = {**REFUSED, "attempt": 2}
PRICES = {"n1-standard-4/spot": 0.1, "NVIDIA_TESLA_T4/spot": 0.2, "automl_image_training_node": 3.0, "m": 1.0}


def shown(*jobs: dict[str, Any], prices: dict[str, float]) -> tuple[dict[str, list[str]], str]:
    """The lines by the attempt's name, and the whole text."""
    page = Page(stages_table(RunDescription(run="mr.1", jobs=jobs, prices=prices, reused_jobs=["etl/other"]), 360.0))
    lines: dict[str, list[str]] = {}
    name = ""
    for tag, text in page.texts:
        if tag == "th":
            name = text
        elif tag == "td":
            lines.setdefault(name, []).append(text)
    return lines, page.text


def test_each_attempt_has_its_time_its_machine_its_hours_and_its_cost() -> None:
    lines, text = shown(ETL, AUTOML, REFUSED, OWN, prices=PRICES)
    machine = "n1-standard-4, spot + 2 NVIDIA_TESLA_T4/spot"
    assert lines["etl/export/1"] == ["SUCCEEDED", "1800 s", machine, "0.5000", "0.2500"]
    most = ["at most 8.0000", "at most 24.0000"]
    assert lines["train/fit/1"] == ["SUCCEEDED", "7200 s", "automl_image_training_node", *most]
    assert lines["inference/evaluate/1"] == ["launching", "m"]
    assert lines["inference/evaluate/2"] == ["this job, so far", "360 s", "m", "0.1000", "0.1000"]
    assert lines["all"] == ["at most 8.6000", "at most 24.3500"]
    assert lines["etl/other"] == ["taken over from an earlier run"]
    assert "at the deployment's own prices (HOURLY_PRICES), in their currency: no bill" in text


@pytest.mark.parametrize("missing", PRICES)
def test_a_price_that_nobody_gave_makes_the_cost_unknown_and_is_named(missing: str) -> None:
    lines, text = shown(ETL, AUTOML, OWN, prices={name: price for name, price in PRICES.items() if name != missing})
    assert lines["all"] == ["at most 8.6000", "unknown"]
    assert sum("unknown" in line for line in lines.values()) == 2
    assert f"it has none of {missing} (HOURLY_PRICES)" in text


def test_an_attempt_of_which_nobody_said_what_it_holds_has_no_cost() -> None:
    lines, _ = shown({name: value for name, value in ETL.items() if name != "resources"}, prices=PRICES)
    assert lines["etl/export/1"][-2:] == ["0.5000", "unknown"]


def test_a_job_that_was_told_nothing_has_no_table() -> None:
    assert stages_table(RunDescription()) == ""
