"""A run in an embedded cloud that the test itself holds, so that it can look at every side and break things."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console

from local import deployment
from local.cloud import SERVICE_SECRET, CloudOptions, EmbeddedCloud
from local.job_environments import prepare
from local.labelbox_side import ModelRunState, TrainingRequest
from local.run_view import RunReader, RunView
from local.samples import sample_export
from local.state import StateFolder
from orchestrator.identities import RunId
from orchestrator.pipelines import read_pipelines

TEXT = "text_single_classification"
RUN_DEADLINE_S = 150.0


class CloudRun:
    """One model run of a pipeline's sample in one cloud."""

    def __init__(self, cloud: EmbeddedCloud, model_type: str = TEXT) -> None:
        self.cloud, self.model_type = cloud, model_type
        self.request = TrainingRequest.for_export(sample_export(model_type), model_type)
        self._reader: RunReader | None = None

    def start(self) -> dict[str, Any]:
        """Ask for the training as Labelbox does; the answer."""
        answer = self.request.send(self.cloud.origin, SERVICE_SECRET)
        run = RunId.parse(answer["runId"])
        assert run is not None
        self._reader = RunReader(self.cloud.storage.host, deployment.BUCKET, run, read_pipelines()[self.model_type])
        return answer

    def look(self) -> RunView:
        assert self._reader is not None
        return self._reader.look()

    def finish(self, within_s: float = RUN_DEADLINE_S) -> RunView:
        """Wait for the end, and until Labelbox was told it."""
        give_up_at = time.monotonic() + within_s
        while time.monotonic() < give_up_at:
            view = self.look()
            if view.outcome and self.labelbox().status == view.outcome:
                return view
            time.sleep(0.2)
        raise AssertionError(f"the run did not end: {self.look()}")

    def labelbox(self) -> ModelRunState:
        return self.cloud.labelbox_control.model_run(self.request.model_run_id)

    def sent_rows(self) -> list[dict[str, Any]]:
        return self.cloud.labelbox_control.predictions(self.request.model_run_id)

    def jobs_by_attempt(self) -> dict[str, list[str]]:
        """The states of the Vertex jobs that were ever made, by the attempt that their label names."""
        found: dict[str, list[str]] = {}
        for job in self.cloud.vertex_jobs():
            found.setdefault(job["labels"].get("lb_attempt", "none"), []).append(job["state"])
        return found


@contextmanager
def cloud_run(folder: Path, options: CloudOptions | None = None) -> Iterator[CloudRun]:
    """A cloud of the test's own with what the text pipeline needs; stopped afterwards."""
    options = options or CloudOptions()
    state = StateFolder(folder / "state")
    prepare(read_pipelines()[TEXT], options.environments_dir, state, Console(quiet=True))
    with EmbeddedCloud(state, options) as cloud:
        yield CloudRun(cloud)


def assert_told_in_order(statuses: Iterable[str]) -> None:
    """EXPORTING_DATA first, COMPLETE last, nothing out of order; the same one may come again with more metadata.

    PREPARING_DATA is a hint from within a job: where the job's end overtakes it, it is not told any more.
    """
    in_order = ["EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL", "COMPLETE"]
    told = [status for status, _ in groupby(statuses)]
    assert told == [status for status in in_order if status in told], told
    assert {*in_order} - {*told} <= {"PREPARING_DATA"}, told
