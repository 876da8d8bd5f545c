"""All model types one after the other: the table says what each left, and one that failed fails the whole."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from local.__main__ import main
from local.run_all import ended, run_all


def summary(pipeline: str, status: str = "COMPLETE", **metrics: float) -> dict[str, Any]:
    """As `make run` writes it."""
    stages = [{"stage": "etl", "jobs": [{}]}, {"stage": "inference", "jobs": [{}, {}]}]
    sentence = "" if status == "COMPLETE" else "The training split has no box."
    return {
        "pipeline": pipeline, "status": status, "seconds": 61.4, "stages": stages, "metrics": metrics,
        "predictions": 120, "sentence": sentence,
    }  # fmt: skip


def ran(summaries: Mapping[str, dict[str, Any] | None]) -> tuple[int, str]:
    """The exit code, and what was printed."""
    console = Console(file=io.StringIO(), width=200)
    code = run_all(list(summaries), console, summaries.__getitem__)
    return code, console.file.getvalue()  # type: ignore[attr-defined]


def test_every_run_has_a_line_with_its_figure_beside_the_baseline() -> None:
    code, printed = ran(
        {
            "ner": summary("ner", micro_f1=0.91),
            "image_knn_classification": summary("image_knn_classification", accuracy=0.875, majority_baseline=0.25),
        }
    )
    assert code == 0 and "2 of 2 model types COMPLETE" in printed
    (line,) = [line for line in printed.splitlines() if "image_knn_classification" in line and "COMPLETE" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "image_knn_classification", "COMPLETE", "61", "accuracy", "0.875", "0.250", "3", "120",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("metrics", "metric"),
    [
        ({"accuracy": 0.9, "micro_f1": 0.9}, "accuracy"),
        ({"accuracy": 0.5, "micro_f1": 0.9}, "micro_f1"),  # several classes a row: accuracy asks for all at once
        ({"micro_f1": 0.9}, "micro_f1"),
        ({"map_50": 0.9, "f1": 0.8}, "map_50"),
        ({}, ""),
    ],
)
def test_the_figure_is_that_of_the_kind_of_task(metrics: dict[str, float], metric: str) -> None:
    one = ended("a", summary("a", **metrics))
    assert (one.metric, one.value) == (metric, metrics.get(metric))


@pytest.mark.parametrize(
    ("left", "says"),
    [
        pytest.param(summary("ner", "FAILED"), "ner: The training split has no box.", id="failed"),
        pytest.param(summary("ner", "TIMEOUT"), "TIMEOUT", id="given up"),
        pytest.param(None, "NOT STARTED", id="no summary"),
        pytest.param(summary("another"), "NOT STARTED", id="the summary of another run"),
    ],
)
def test_a_run_that_is_not_complete_fails_the_whole_and_the_others_still_run(
    left: dict[str, Any] | None, says: str
) -> None:
    code, printed = ran({"ner": left, "bounding_box": summary("bounding_box", map_50=0.9)})
    assert code == 1 and says in printed and "1 of 2 model types COMPLETE" in printed
    assert any("bounding_box" in line and "0.900" in line for line in printed.splitlines())


def test_of_boxes_the_headline_is_the_average_precision_and_there_is_no_baseline() -> None:
    one = ended("bounding_box", summary("bounding_box", map_50=0.9, precision=0.8))
    assert (one.metric, one.value, one.baseline) == ("map_50", 0.9, None)


def test_a_model_type_that_there_is_not_is_refused_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["run-all", "--pipelines", "ner,nothing"])
    assert refused.value.code == 2 and "no pipeline nothing" in capsys.readouterr().err
