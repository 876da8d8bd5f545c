"""Before a run: what is offered, what it will take, and that no price or time is invented."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.errors import Misuse
from ops.estimate import Point, seconds_for
from ops.published import published
from ops.usage import Prices, Use, uses_of_job
from orchestrator.pipelines import read_pipelines
from orchestrator.spending import AUTOML_NODE
from tests.functions.world import World
from tests.ops.operators import Commands

TEXT, IMAGE = "text_single_classification", "image_single_classification"


def test_pipelines_lists_every_parameter_with_its_default(ops: Commands) -> None:
    listed = {item["pipeline"]: item for item in ops("pipelines", "--json").json}
    assert listed.keys() == read_pipelines().keys()
    for name, pipeline in read_pipelines().items():
        shown = {key: value["default"] for key, value in listed[name]["parameters"].items()}
        assert shown == {key: parameter.default for key, parameter in pipeline.parameters.items()}
    plain = ops("pipelines", TEXT).out
    assert all(name in plain for name in read_pipelines()[TEXT].parameters) and IMAGE not in plain
    assert ops("pipelines", "nope").code == 3


@pytest.mark.parametrize(
    ("points", "rows", "seconds"),
    [
        ([Point(100, 10.0)], 1000, 100.0),
        ([Point(100, 10.0)], 10, 10.0),
        ([Point(100, 10.0), Point(100, 20.0)], 200, 30.0),
        ([Point(100, 20.0), Point(200, 30.0)], 1000, 110.0),
        ([Point(100, 20.0), Point(200, 30.0)], 50, 15.0),
        ([Point(100, 20.0), Point(1000, 10.0)], 10000, 15.0),
        ([Point(100, 1.0), Point(200, 30.0)], 1, 0.0),
    ],
)
def test_a_job_s_time_follows_what_was_measured(points: list[Point], rows: int, seconds: float) -> None:
    found, basis = seconds_for(points, rows)
    assert found == pytest.approx(seconds)
    assert str(len(points)) in basis or "mean" in basis


def test_without_runs_or_figures_a_time_is_unknown_and_so_is_the_cost(ops: Commands, tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("currency: XYZ\nper_hour: {n1-standard-4: 2}\n")
    made = ops("--prices", str(prices), "estimate", TEXT, "--rows", "100", "--json").json
    assert [job["seconds"] for job in made["jobs"]] == [None, None, None]
    assert (made["complete"], made["cost"]["amount"], made["uses"]) == (False, None, [])
    assert [job["limit_s"] for job in made["jobs"]] == [job.timeout_s for _, job in read_pipelines()[TEXT].jobs()]
    assert any("etl/export" in text for text in made["assumptions"])


def test_an_estimate_takes_the_deployment_s_own_runs_the_operator_s_figures_and_prices(
    world: World, ops: Commands, tmp_path: Path
) -> None:
    world.start()
    for outputs, seconds in (
        ({"training_file": "gs://b/t", "manifest": "gs://b/m", "dataset_report": "gs://b/d"}, 36.0),
        ({"model": "gs://b/model/"}, 360.0),
        ({"report": "gs://b/r"}, 72.0),
    ):
        world.clock.advance(seconds)
        world.log_hint(world.end_job(result={"version": 1, "outputs": outputs, "counts": {"rows": 100}}))
        world.pump()
    prices = tmp_path / "prices.yaml"
    prices.write_text("currency: XYZ\nper_hour: {n1-standard-4: 2, n1-standard-8: 4}\nspot_per_hour: {}\n")
    flags = ("--rows", "1000", "--json")
    made = ops("--prices", str(prices), "estimate", TEXT, *flags, "--seconds", "inference/predict=3600").json
    assert [job["seconds"] for job in made["jobs"]] == [360.0, 3600.0, 3600.0]
    assert made["uses"] == [{"resource": "n1-standard-4", "hours": 2.1, "spot": False, "at_most": False}]
    assert made["cost"] == {"amount": 4.2, "currency": "XYZ", "at_most": False, "without_price": []}
    bigger = ops("--prices", str(prices), "estimate", TEXT, *flags, "--set", "machine=n1-standard-8").json
    # The machine is that of training and predicting; the export keeps its own.
    assert bigger["cost"]["amount"] == pytest.approx(4 * (1.0 + 0.2) + 2 * 0.1)
    spot = ops("--prices", str(prices), "estimate", TEXT, *flags, "--set", "spot=true").json
    assert spot["cost"]["amount"] is None and spot["cost"]["without_price"] == ["n1-standard-4 (spot)"]
    public = ops("estimate", TEXT, *flags).json
    assert public["cost"]["currency"] == "USD"
    used = [Use(use["resource"], use["hours"]) for use in public["uses"]]
    assert public["cost"]["amount"] == pytest.approx(published().prices("us-central1").cost(used).amount, abs=1e-4)
    assert "published ones of us-central1" in public["assumptions"][-1]
    unread = ops("estimate", TEXT, *flags, "--set", "spot=true").json
    assert unread["cost"]["amount"] is None, "a price that nobody could read stays unknown"
    row = ops("--prices", str(prices), "runs", "--json").json[0]
    assert row["cost"]["amount"] == pytest.approx(2 * (36 + 360 + 72) / 3600, abs=1e-4)


def test_automl_is_a_budget_and_so_at_most(ops: Commands, tmp_path: Path) -> None:
    job = read_pipelines()[IMAGE].find("train", "automl")[1]
    assert uses_of_job(job, {"automl_budget_milli_node_hours": 12000}, 1.0) == [Use(AUTOML_NODE, 12.0, at_most=True)]
    cost = Prices("XYZ", {AUTOML_NODE: 3.0}).cost([Use(AUTOML_NODE, 12.0, at_most=True)])
    assert str(cost) == "at most 36.00 XYZ"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rows", "0"),
        ("--rows", "10", "--set", "no_such=1"),
        ("--rows", "10", "--set", "seed=many"),
        ("--rows", "10", "--set", "seed"),
        ("--rows", "10", "--seconds", "etl/nope=1"),
        ("--rows", "10", "--seconds", "etl/export=-1"),
        ("--rows", "10", "--seconds", "etl/export=soon"),
        (),
    ],
)
def test_a_wrong_estimate_is_a_usage_error(ops: Commands, arguments: tuple[str, ...]) -> None:
    answer = ops("estimate", TEXT, *arguments)
    assert answer.code == 2 and answer.out == "" and "What to do" in answer.err


@pytest.mark.parametrize(
    "text", ["", "- 1", "per_hour: {a: 1}", "currency: X\nper_hour: {a: cheap}", "currency: X\nother: 1", "{"]
)
def test_a_price_file_that_says_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(Misuse, match="price file"):
        Prices.read(file)
