"""A run beside an earlier one: only rows that neither model was trained on, that both were asked the same about."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from jobkit.classification_output import finish
from jobkit.manifest import ManifestRow
from jobkit.report.comparison import compare, compared, sign_test
from jobkit.report.earlier_runs import KeptRuns, kept_runs
from jobkit.report.outcomes import Outcome, Outcomes
from jobkit.report.run import run_section
from jobkit.run_description import RunDescription
from jobkit.storage import Storage
from tests.jobs.report.runs import Row, output_of, single_rows

NAMES = ["apple", "pear", "plum"]


def row(ident: str, split: str = "test", content: str = "", truth: str = "pear") -> ManifestRow:
    return ManifestRow(ident, None, content or f"content of {ident}", split, (truth,), True)


def outcomes(rows: Iterable[tuple[ManifestRow, bool | None]]) -> Outcomes:
    """Each row right or wrong; None: nobody labelled it."""
    made = Outcomes()
    for one, right in rows:
        if right is None:
            made.add_unlabelled(one)
        else:
            made.add(one, one.labels, int(right), int(not right), int(not right))
    return made


def test_only_rows_of_both_test_splits_and_of_no_training_split_count() -> None:
    before = [
        *((row("both-right"), True), (row("got-worse"), True), (row("got-better"), False)),
        *((row("only-before"), True), (row("was-training", split="training"), True)),
        *((row("became-training"), True), (row("was-unlabelled"), None), (row("relabelled", truth="plum"), True)),
        *((row("seen-before", split="training", content="the same"), True), (row("a", content="later trained"), True)),
        (row("became-unlabelled"), True),
    ]
    now = [
        *((row("both-right"), True), (row("got-worse"), False), (row("got-better"), True)),
        *((row("only-now"), True), (row("was-training"), True), (row("became-training", split="training"), True)),
        *((row("was-unlabelled"), True), (row("relabelled"), True), (row("a", content="later trained"), True)),
        *((row("twin", content="the same"), True), (row("b", split="training", content="later trained"), True)),
        (row("became-unlabelled"), None),
    ]
    found = compare(outcomes(before), outcomes(now)).to_json("run")
    assert found["rows"] == 3
    assert (found["regressed_rows"], found["improved_rows"]) == (["got-worse"], ["got-better"])
    assert found["left_out"] == {"label_changed": 1, "content_trained_on": 1}
    assert found["before"]["row_accuracy"] == found["now"]["row_accuracy"] == pytest.approx(2 / 3, abs=1e-6)


def test_rows_improve_by_their_share_of_right_answers() -> None:
    before, now = Outcomes(), Outcomes()
    for ident, older, newer in (
        ("up", (1, 1, 0), (1, 0, 0)),
        ("down", (2, 0, 0), (1, 0, 1)),
        (
            "same",
            (0, 0, 0),
        )
        * 1
        + ((0, 0, 0),),
    ):
        before.add(row(ident), "label", *older)
        now.add(row(ident), "label", *newer)
    found = compare(before, now)
    assert ([ident for _, ident in found.improved], [ident for _, ident in found.regressed]) == (["up"], ["down"])
    assert (found.before.f1, found.now.f1) == (pytest.approx(6 / 7, abs=1e-6), pytest.approx(4 / 5, abs=1e-6))


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 0), (5, 5), (9, 1), (3, 14), (480, 520), (1, 900)])
def test_the_sign_test_is_scipy_s(one: int, other: int) -> None:
    expected = binomtest(one, one + other).pvalue if one + other else 1.0
    assert sign_test(one, other) == pytest.approx(expected, abs=1e-9)


def test_the_sign_test_of_very_many_rows_is_near_scipy_s() -> None:
    assert sign_test(2400, 2600) == pytest.approx(binomtest(2400, 5000).pvalue, rel=0.02)


@pytest.fixture
def storage(folder: str) -> Storage:
    return Storage()


def described(number: int, day: int, pipeline: str, model_run: str = "mr-1") -> RunDescription:
    return RunDescription(f"{model_run}.{number}", model_run, pipeline, f"2026-11-{day:02d}T10:00:00Z")


def kept(storage: Storage, folder: str, run: RunDescription) -> KeptRuns:
    found = kept_runs(storage, folder, run)
    assert found is not None
    return found


def test_an_earlier_run_of_the_same_pipeline_is_found_by_what_a_person_calls_it(storage: Storage, folder: str) -> None:
    pipeline = folder.rpartition("/")[2]  # a bucket of all tests
    runs = [described(1, 1, pipeline), described(2, 3, pipeline), described(1, 5, pipeline, "mr-2")]
    for run in runs:
        kept(storage, folder, run).keep(outcomes([(row("a"), True)]))
    kept(storage, folder, described(9, 6, f"{pipeline}-other")).keep(Outcomes())
    kept(storage, folder, described(9, 20, pipeline)).keep(Outcomes())  # a later one
    mine = kept(storage, folder, described(3, 10, pipeline))
    wanted = {"previous": "mr-2.1", "none": None, "1": "mr-1.1", "mr-1.2": "mr-1.2", "mr-1": "mr-1.2", "mr-9": None}
    found = {name: mine.find(name) for name in wanted}
    assert {name: one.run if one else None for name, one in found.items()} == wanted
    assert found["1"] is not None and found["1"].day == "2026-11-01 10:00 UTC"
    assert [one.data_row_id for one in mine.outcomes(found["1"])] == ["a"]
    first = kept(storage, folder, described(1, 1, pipeline))
    assert first.find("previous") is None
    assert "first run of this pipeline" in compared(first, "previous", Outcomes()).section
    assert "There is no earlier run mr-9" in compared(mine, "mr-9", Outcomes()).section
    storage.close()


def test_what_an_earlier_version_left_does_not_fail_a_run(storage: Storage, folder: str) -> None:
    pipeline = folder.rpartition("/")[2]
    storage.write_text(f"gs://jobs-test/reports/{pipeline}/20261101T100000Z-mr-1.1.jsonl", '{"another": "form"}\n')
    mine = kept(storage, folder, described(2, 3, pipeline))
    assert "cannot be read by this version" in compared(mine, "previous", Outcomes()).section
    assert kept_runs(storage, folder, RunDescription()) is None
    assert compared(None, "previous", Outcomes()).section == ""
    storage.close()


def finished(storage: Storage, folder: str, rows: list[Row], **parameters: str) -> tuple[dict[str, Any], str]:
    """metrics.json and the page of a run with these rows."""
    storage.write_text(f"{folder}/predictions.ndjson", "")
    report = {"rows": {"seen": len(rows), "labelled": len(rows)}, "classes": []}
    finish(output_of(NAMES, rows), report, {}, storage, folder, "metadata", lambda: None, parameters=parameters)  # type: ignore[arg-type,return-value]
    return json.loads(storage.read_text(f"{folder}/metrics.json")), storage.read_text(f"{folder}/report.html")


def test_a_second_run_is_compared_with_the_first_and_the_figures_are_scikit_learn_s(
    storage: Storage, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = folder.rpartition("/")[2]
    base = single_rows(NAMES, 60)
    now = [
        (one, answers, said)
        for (one, _, _), (_, answers, said) in zip(base, single_rows(NAMES, 60, seed=7), strict=True)
    ]

    def tell(number: int) -> None:
        told = {"run": f"mr.{number}", "pipeline": pipeline, "accepted": f"2026-11-2{number}T00:00:00Z"}
        monkeypatch.setenv("RUN_DESCRIPTION", json.dumps(told))

    tell(1)
    metrics, page = finished(storage, f"{folder}/1", base)
    assert metrics["comparison"] is None and "first run of this pipeline" in page
    tell(2)
    metrics, page = finished(storage, f"{folder}/2", now[:50])
    found = metrics["comparison"]
    assert (found["run"], found["rows"]) == ("mr.1", 50)
    for side, rows in (("before", base[:50]), ("now", now[:50])):
        truth, said = [one.labels[0] for one, _, _ in rows], [names[0] for _, _, names in rows]
        assert found[side]["micro_f1"] == pytest.approx(f1_score(truth, said, average="micro"), abs=1e-6)
    better = [
        one.data_row_id for (one, _, old), (_, _, new) in zip(base, now[:50], strict=False) if new == one.labels != old
    ]
    worse = [
        one.data_row_id for (one, _, old), (_, _, new) in zip(base, now[:50], strict=False) if old == one.labels != new
    ]
    assert (found["improved"], found["regressed"]) == (len(better), len(worse))
    assert set(found["regressed_rows"]) == set(worse)
    assert (
        "Compared with an earlier run (test)" in page
        and f"{len(better)} rows improved and {len(worse)} regressed" in page
    )
    _, page = finished(storage, f"{folder}/3", now, **{"compare-with": "none"})
    assert "Compared with" not in page
    storage.close()


def test_the_models_version_in_the_registry_is_told_where_it_has_one() -> None:
    name = "projects/p/locations/l/models/local-ner@3"
    assert name in run_section({}, {}, {}, RunDescription(model_version=name))
    assert "registry" not in run_section({}, {}, {}, RunDescription())


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}"])
def test_a_job_that_was_told_nothing_goes_on(text: str) -> None:
    assert RunDescription.from_environment({"RUN_DESCRIPTION": text}) == RunDescription()


def test_an_outcome_is_written_and_read_whole() -> None:
    one = Outcome("id", "test", "content", "truth", 1, 2, 3)
    assert Outcome.from_line(one.to_line()) == one
