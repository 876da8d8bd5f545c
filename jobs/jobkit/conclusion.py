"""How inference ends, whatever was predicted: upload, comparison, metrics.json, the report, and the job's result."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import labelbox

from jobkit.ending import Result
from jobkit.json_lines import loads
from jobkit.report.comparison import compared
from jobkit.report.earlier_runs import PREVIOUS, keep, kept_runs
from jobkit.report.outcomes import Outcomes
from jobkit.run_description import RunDescription
from jobkit.sinks import SinkChoice, bring
from jobkit.storage import Storage

VERSION = 1
NOTHING: Mapping[str, str] = MappingProxyType({})
_FILES = {"predictions": "predictions.ndjson", "metrics": "metrics.json", "report": "report.html"}


@dataclass(frozen=True)
class Findings:
    """What was counted while the rows passed.

    splits    metrics.json's part of that name
    headline  the test split's figures, the result's metrics; `shown` names those that Labelbox's metadata tells
    beside    what happened beside, in words, for the report alone
    """

    model_run_id: str
    counts: Mapping[str, int]
    outcomes: Outcomes
    splits: Mapping[str, Any]
    headline: Mapping[str, float]
    shown: tuple[str, ...]
    beside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What every report shows beside its task's own figures; the fields are those of the reports."""

    title: str
    told: Mapping[str, str]
    parameters: Mapping[str, str]
    artifacts: Mapping[str, str]
    comparison: str


# (metrics.json's `statistics`, the report's page)
Page = Callable[[Surroundings], tuple[Mapping[str, Any], str]]


def conclude(
    found: Findings,
    report: Mapping[str, Any],
    notes: Mapping[str, str],
    storage: Storage,
    folder: str,
    sink: str | SinkChoice,
    make_client: Callable[[], labelbox.Client],
    *,
    parameters: Mapping[str, str],
    page: Page,
) -> Result:
    """Uploads predictions.ndjson (already in `folder`), writes metrics.json and report.html, and gives the result.

    `report` is dataset_report.json, `parameters` are the job's arguments.
    Safe to repeat: files are written over by themselves, and an upload of this folder's name is found again.
    """
    rows = (loads(line) for line in storage.read_lines(f"{folder}/{_FILES['predictions']}"))
    outcome = bring(sink, rows, found.model_run_id, folder.rsplit("/", 1)[-1], make_client)
    counts = {**found.counts, "uploaded": outcome.sent, "refused": outcome.refused}
    outputs = {name: f"{folder}/{file}" for name, file in _FILES.items()}
    kept = kept_runs(storage, folder, RunDescription.from_environment())
    comparison = compared(kept, parameters.get("compare-with", PREVIOUS), found.outcomes)
    told = {**notes, **found.beside, "upload": outcome.sentence}
    around = Surroundings(f"Model run {found.model_run_id}", told, parameters, outputs, comparison.section)
    statistics, html = page(around)
    metrics = {
        "version": VERSION,
        "splits": found.splits,
        "statistics": statistics,
        "comparison": comparison.figures,
        "counts": counts,
        "upload": {"state": outcome.state, "sentence": outcome.sentence, "reasons": list(outcome.reasons)},
        "classes": report["classes"],
        "notes": dict(notes),
    }
    storage.write_text(outputs["metrics"], json.dumps(metrics, ensure_ascii=False, indent=1) + "\n")
    storage.write_text(outputs["report"], html, "text/html; charset=utf-8")
    keep(kept, found.outcomes)
    headline = {f"test_{name}": f"{found.headline[name]:.3f}" for name in found.shown if name in found.headline}
    return Result(
        outputs=outputs,
        counts=counts,
        metrics=found.headline,
        metadata={"upload": outcome.sentence, **headline},
    )
