"""The facts of a run in the order in which they were recorded, each in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestrator.facts import (
    Accepted,
    CancelRequested,
    Claimed,
    Configured,
    Ended,
    Finished,
    Launched,
    Phase,
    Refused,
    Stored,
    Told,
    Trouble,
)
from orchestrator.run import Run


@dataclass(frozen=True)
class Moment:
    """One fact. `at` is the storage server's time."""

    at: datetime
    fact: str
    text: str


def timeline(run: Run) -> Iterator[Moment]:
    """Every fact of the run, oldest first."""
    for stored in sorted(run.stamps.values(), key=lambda item: (item.created, item.fact.path)):
        yield Moment(stored.created, type(stored.fact).__name__, _in_words(stored))


def _in_words(stored: Stored) -> str:
    match stored.fact:
        case Accepted(abandoned=True):
            return "the request was never accepted; closed"
        case Accepted(model_type=model_type, reused=reused):
            kept = f", with what {', '.join(reused)} of the run before ended with" if reused else ""
            return f"accepted as {model_type}{kept}"
        case Configured(problems=problems) if problems:
            return f"cannot run: {'; '.join(problems)}"
        case Configured(parameters=parameters):
            return "parameters settled: " + ", ".join(f"{name}={value}" for name, value in sorted(parameters.items()))
        case CancelRequested(by=by, reason=reason):
            return f"{by} asked to cancel{f': {reason}' if reason else ''}"
        case Told(status=status, refused=refused):
            return f"Labelbox {'refused' if refused else 'was told'} {status}"
        case Trouble(topic=topic, delivery=delivery, sentence=sentence):
            return f"delivery {delivery} of a message to {topic} was refused: {sentence}"
        case Finished(outcome=outcome, sentence=sentence):
            return f"{outcome}{f': {sentence}' if sentence else ''}"
        case _:
            return _of_attempt(stored)


def _of_attempt(stored: Stored) -> str:
    fact = stored.fact
    if not isinstance(fact, Claimed | Refused | Launched | Phase | Ended):
        return type(fact).__name__
    where = str(fact.ref)
    match fact:
        case Claimed(claim=claim):
            return f"{where} claimed ({claim})"
        case Refused(quota=quota, sentence=sentence):
            return f"{where} {'waits for quota' if quota else 'refused'}: {sentence}"
        case Launched(name=name, adopted=adopted):
            return f"{where} {'adopted' if adopted else 'launched'} as job {name.rpartition('/')[2]}"
        case Phase(status=status):
            return f"{where} reached {status}"
        case Ended(state=state, sentence=sentence, retry=retry):
            more = f": {sentence}" if sentence else ""
            return f"{where} ended {state}{more}{', to be tried again' if retry else ''}"
