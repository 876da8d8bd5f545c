"""Rows for Labelbox: their names are the standard's uuids, and a class counts as said up to its confidence."""

import uuid

import pytest

from jobkit.evaluation import THRESHOLDS
from jobkit.labelbox_rows import box_row, classification_metric_rows, row_uuid, to_line

NAMESPACE = uuid.UUID("0d9a9bb0-2f0c-5c0e-9f0e-6a8f0f7f5b1a")


@pytest.mark.parametrize("parts", [("run", f"row-{number}", "é\U0001f680") for number in range(40)])
def test_a_row_is_named_by_the_standards_uuid_of_its_parts(parts: tuple[str, ...]) -> None:
    assert row_uuid(*parts) == str(uuid.uuid5(NAMESPACE, "\n".join(parts)))


@pytest.mark.parametrize("confidence", [None, 0.0, 0.05, 0.1, 0.3, 0.55, 0.9, 1.0])
@pytest.mark.parametrize("true", [True, False])
def test_a_class_is_said_at_every_threshold_up_to_its_confidence(true: bool, confidence: float | None) -> None:
    answers = {} if confidence is None else {"a": confidence}
    rows, cut = classification_metric_rows("r", {"a"} if true else (), answers, {})
    assert cut == 0 and len(rows) == (true or (confidence or 0.0) >= THRESHOLDS[0])
    for row in rows:
        for threshold in THRESHOLDS:
            said = confidence is not None and confidence >= threshold
            expected = [int(true and said), int(said and not true), 0, int(true and not said)]
            assert row["metricValue"][str(threshold)] == expected


def test_a_line_keeps_every_letter() -> None:
    assert to_line({"a": "é\n", "b": [1, 0.5]}) == '{"a":"é\\n","b":[1,0.5]}'


@pytest.mark.parametrize(
    "box", [(1.5, 0.001, 759.978, 32.0), (0.0, -0.0, 3, 4000), (1e9 / 3, 0.1 + 0.2, 1e-3, 123456.789)]
)
def test_a_box_is_named_by_its_numbers_as_python_writes_them(box: tuple[float, float, float, float]) -> None:
    top, left, height, width = box
    assert box_row("run", "row", "tool", box, 0.5)["uuid"] == row_uuid(
        "run", "row", "tool", f"{top},{left},{height},{width}"
    )
