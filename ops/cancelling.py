"""Cancelling a run as the engine does it, and whose request stands."""

from __future__ import annotations

from dataclasses import dataclass

from ops.deployment import Deployment
from orchestrator import steering
from orchestrator.run import Run


@dataclass(frozen=True)
class Cancelled:
    """The request that stands: ours, or one that was there before (`earlier`)."""

    by: str
    reason: str
    earlier: bool


def cancel(deployment: Deployment, run: Run, by: str, reason: str) -> Cancelled | None:
    """Ask for the end of a run; None if it finished in the meantime.

    Safe to repeat: the fact is write-once, so the first request stands, and the engine is told to look again.
    """
    if not steering.cancel(deployment.services.begin(), run.id, by, reason):
        return None
    standing = deployment.ledger.load(run.id)
    assert standing is not None and standing.cancel is not None, "it was written just now"
    return Cancelled(standing.cancel.by, standing.cancel.reason, earlier=run.cancel is not None)
