"""All that the pages work with: the cloud as an operator reaches it, Labelbox's stand-in, the data, the results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from local.console.data_sets import DataSet, DataSets
from local.console.results import ResultReader
from local.labelbox_side import LabelboxControl, ModelRunState
from ops.deployment import Deployment
from ops.run_lookup import load_runs, run_ids
from orchestrator.identities import RunId
from orchestrator.run import Run

HISTORY_PAGE = 30


@dataclass(frozen=True)
class Desk:
    """One console's view of one embedded cloud."""

    deployment: Deployment
    labelbox: LabelboxControl
    data_sets: DataSets
    results: ResultReader

    def run(self, name: str) -> Run | None:
        """The run of that exact id, as its facts stand now; None if there is none."""
        run_id = RunId.parse(name)
        return self.deployment.ledger.load(run_id) if run_id else None

    def run_ids(self) -> list[RunId]:
        """Every run, newest first."""
        return run_ids(self.deployment)

    def runs(self, ids: list[RunId]) -> Iterator[Run]:
        """These runs."""
        return load_runs(self.deployment, ids)

    def data_set_of(self, run: Run) -> DataSet | None:
        """The data that a run trains on; None if it stands in no export that is served here."""
        return self.data_sets.get(run.accepted.model_run_id)

    def in_labelbox(self, model_run_id: str) -> ModelRunState | None:
        """The model run as Labelbox shows it; None if Labelbox does not answer or does not know it."""
        try:
            return self.labelbox.model_run(model_run_id)
        except (OSError, KeyError, ValueError):
            return None
