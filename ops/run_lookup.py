"""Finding runs: the one that an operator names, and the newest ones."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ops.deployment import Deployment
from ops.errors import Misuse, NotFound
from orchestrator.identities import RunId, slug_of
from orchestrator.run import Run

_READERS = 4
_SUGGESTED = 8
_LIST_HINT = "python -m ops runs lists the runs"


def find_run(deployment: Deployment, name: str) -> Run:
    """The run that `name` means: `<model run>.<number>`, a model run (its newest run), or the beginning of one that
    begins no other. NotFound, or Misuse for a beginning of several."""
    ledger = deployment.ledger
    exact = RunId.parse(name)
    if exact and (run := ledger.load(exact)):
        return run
    slug = slug_of(name) if name else ""
    if slug and (number := ledger.newest_number(slug)) and (run := ledger.load(RunId(slug, number))):
        return run
    beginning, dot, ending = name.partition(".")
    slugs = [slug for slug in deployment.services.store.folders("facts/runs/") if slug.startswith(beginning)]
    if not beginning or not slugs:
        raise NotFound(f"There is no run {name!r}", _LIST_HINT)
    if len(slugs) > 1:
        shown = ", ".join(slugs[:_SUGGESTED])
        raise Misuse(f"{name!r} begins several model runs: {shown}", "write more of it")
    number = int(ending) if ending.isdigit() else 0 if dot else ledger.newest_number(slugs[0])
    if not number or (run := ledger.load(RunId(slugs[0], number))) is None:
        raise NotFound(f"There is no run {name!r}", _LIST_HINT)
    return run


def run_ids(deployment: Deployment) -> list[RunId]:
    """Every accepted run, newest first: one listing of the facts' names, none of which is read."""
    accepted = (
        (item.created, run)
        for item in deployment.services.store.list("facts/runs/")
        if item.name.endswith("/accepted.json") and (run := _run_of(item.name))
    )
    return [run for _, run in sorted(accepted, reverse=True)]


def _run_of(name: str) -> RunId | None:
    parts = name.split("/")
    return RunId.parse(f"{parts[2]}.{parts[3]}") if len(parts) == 5 else None


def load_runs(deployment: Deployment, ids: list[RunId]) -> Iterator[Run]:
    """These runs in their order, a few read at once."""
    with ThreadPoolExecutor(_READERS) as pool:
        for run in pool.map(deployment.ledger.load, ids):
            if run is not None:
                yield run
