"""What a person or a test sees and sets of the stand-in: /_control/state, /_control/predictions, /_control/settings."""

from __future__ import annotations

from local.labelbox.imports import MODEL_RUN, PROJECT
from local.labelbox.operations import Operations
from local.labelbox.switches import SwitchBoard


def state(operations: Operations, board: SwitchBoard) -> dict[str, object]:
    """Every model run with what it was told and given, and every project with its pre-labels."""
    runs = {run_id: _run_state(operations, run_id) for run_id in operations.corpus.runs}
    projects = {
        project: {"imports": operations.imports.summaries(PROJECT, project)}
        for project in sorted(operations.corpus.projects)
    }
    return {"model_runs": runs, "projects": projects, "held_requests": board.held}


def _run_state(operations: Operations, run_id: str) -> dict[str, object]:
    pipelines = operations.pipelines
    current = pipelines.current(run_id)
    run = operations.corpus.runs[run_id]
    return {
        "name": run.name,
        "model_id": run.model_id,
        "data_rows": len(run.row_ids),
        "deleted": pipelines.deleted(run_id),
        "status": current["status"],
        "error_message": current["errorMessage"],
        "statuses": pipelines.history(run_id),
        "metadata": current["metadata"],
        "config": pipelines.config(run_id) or {},
        "imports": operations.imports.summaries(MODEL_RUN, run_id),
        **operations.store.accepted_counts(run_id),
    }
