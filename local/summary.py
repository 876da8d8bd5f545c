"""`.local/summary.json`: what the last `make run` did, for scripts and tests."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local.run_view import RunView

FILE_NAME = "summary.json"


@dataclass(frozen=True)
class Summary:
    """The figures of one run.

    status: COMPLETE or FAILED, or why there is neither (TIMEOUT, UNTOLD, INTERRUPTED, ERROR). seconds: from the
    request to the end. labelbox: the statuses that Labelbox was told, in order. predictions: how many were written to
    the bucket; how many of them Labelbox took is `uploaded`.
    """

    pipeline: str
    status: str
    seconds: float
    stages: list[dict[str, Any]]
    metrics: dict[str, float]
    labelbox: list[str]
    predictions: int
    uploaded: int
    sentence: str
    state_dir: str

    def write(self, local_dir: Path) -> Path:
        """Write the file whole, over that of the run before, and return its path."""
        path = local_dir / FILE_NAME
        local_dir.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{FILE_NAME}.{Path(self.state_dir).name}.tmp")
        unfinished.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")
        unfinished.replace(path)
        return path


def stages_of(view: RunView) -> list[dict[str, Any]]:
    """The stages in order, each with its jobs: name, kind, state, attempts, seconds."""
    stages: dict[str, list[dict[str, Any]]] = {}
    for job in view.jobs:
        seconds = None if job.seconds is None else round(job.seconds, 2)
        shown = {"name": job.name, "kind": job.kind, "state": job.state, "attempts": job.attempts, "seconds": seconds}
        stages.setdefault(job.stage, []).append(shown)
    return [{"stage": stage, "jobs": jobs} for stage, jobs in stages.items()]


def summarise(
    pipeline: str, status: str, seconds: float, view: RunView, labelbox: list[str], state_dir: Path
) -> Summary:
    """The summary of a run at its end."""
    counts = view.counts()
    return Summary(
        pipeline=pipeline,
        status=status,
        seconds=round(seconds, 2),
        stages=stages_of(view),
        metrics=view.metrics(),
        labelbox=labelbox,
        predictions=counts.get("predictions", 0),
        uploaded=counts.get("uploaded", 0),
        sentence=view.sentence,
        state_dir=str(state_dir),
    )
