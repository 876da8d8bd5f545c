"""A run: the fold over its facts that decisions are taken from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.facts import (
    Accepted,
    AttemptFact,
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
from orchestrator.identities import AttemptIdentity, AttemptRef, RunId
from orchestrator.pipelines import Pipeline


@dataclass(frozen=True)
class Claim:
    """A numbered right to launch, its age by the storage server's clock, and Vertex's refusal under it, if any."""

    number: int
    at: datetime
    writer: str
    refused: Refused | None = None


@dataclass(frozen=True)
class Attempt:
    """What is known of one launch of one job."""

    ref: AttemptRef
    claims: tuple[Claim, ...] = ()
    launched: Launched | None = None
    launched_at: datetime | None = None
    ended: Ended | None = None
    phases: tuple[str, ...] = ()

    @property
    def first_refusal_at(self) -> datetime | None:
        """When quota was first refused: the start of the wait."""
        return next((claim.at for claim in self.claims if claim.refused and claim.refused.quota), None)

    @property
    def unanswered(self) -> tuple[Claim, ...]:
        """Claims whose handlers recorded no refusal: whoever made all but the newest may have died, or be frozen."""
        return tuple(claim for claim in self.claims if claim.refused is None)


@dataclass(frozen=True)
class Run:
    """The state of a run."""

    id: RunId
    accepted: Accepted
    accepted_at: datetime
    configured: Configured | None = None
    attempts: dict[tuple[str, str], tuple[Attempt, ...]] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    cancel: CancelRequested | None = None
    cancelled_at: datetime | None = None
    finished: Finished | None = None
    finished_at: datetime | None = None
    troubles: tuple[Trouble, ...] = ()
    stamps: dict[str, Stored] = field(default_factory=dict)

    @property
    def last_fact_at(self) -> datetime:
        """When something was last recorded, by the storage server's clock."""
        return max((stored.created for stored in self.stamps.values()), default=self.accepted_at)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline as it was when the run was accepted."""
        return self.accepted.definition

    def attempts_of(self, stage: str, job: str) -> tuple[Attempt, ...]:
        """Attempts of a job, first to last."""
        return self.attempts.get((stage, job), ())

    def identity(self, ref: AttemptRef) -> AttemptIdentity:
        """What an attempt of this run is called outside the ledger."""
        return AttemptIdentity(self.id, self.accepted.run_key, ref)

    def attempt(self, ref: AttemptRef) -> Attempt | None:
        """One attempt, or None if nothing is known of it."""
        return next((item for item in self.attempts_of(ref.stage, ref.job) if item.ref == ref), None)

    def attempt_by_id(self, attempt_id: str) -> Attempt | None:
        """The attempt whose labels and folders carry this id."""
        every = (item for items in self.attempts.values() for item in items)
        return next((item for item in every if self.identity(item.ref).id == attempt_id), None)

    def ended_jobs(self) -> dict[tuple[str, str], Ended]:
        """The usable end of each job that has one, of this run or taken over from an older one."""
        own = {
            key: attempt.ended
            for key, attempts in self.attempts.items()
            for attempt in attempts
            if attempt.ended and attempt.ended.usable
        }
        return {**self.accepted.reused_ends, **own}


def fold(run_id: RunId, stored: Iterable[Stored]) -> Run | None:
    """The run that these facts make, or None while it is not accepted. The order of the facts does not matter."""
    single: dict[type, Stored] = {}
    attempts: dict[AttemptRef, list[Stored]] = defaultdict(list)
    told: dict[str, Told] = {}
    troubles: list[Trouble] = []
    stamps: dict[str, Stored] = {}
    for item in stored:
        fact = item.fact
        stamps[fact.path] = item
        if isinstance(fact, AttemptFact):
            attempts[fact.ref].append(item)
        elif isinstance(fact, Told):
            told[fact.key] = fact
        elif isinstance(fact, Trouble):
            troubles.append(fact)
        else:
            single[type(fact)] = item
    if Accepted not in single:
        return None
    folded: dict[tuple[str, str], tuple[Attempt, ...]] = {}
    for ref in sorted(attempts):
        key = (ref.stage, ref.job)
        folded[key] = (*folded.get(key, ()), _attempt(ref, attempts[ref]))
    accepted, finished, cancel = single[Accepted], single.get(Finished), single.get(CancelRequested)
    configured = single.get(Configured)
    return Run(
        id=run_id,
        accepted=accepted.fact,  # type: ignore[arg-type]  # keyed by its type
        accepted_at=accepted.created,
        configured=configured.fact if configured else None,  # type: ignore[arg-type]
        attempts=folded,
        told=told,
        cancel=cancel.fact if cancel else None,  # type: ignore[arg-type]
        cancelled_at=cancel.created if cancel else None,
        finished=finished.fact if finished else None,  # type: ignore[arg-type]
        finished_at=finished.created if finished else None,
        troubles=tuple(sorted(troubles, key=lambda item: (item.delivery, item.message_id))),
        stamps=stamps,
    )


def extend(run: Run, added: Sequence[Stored]) -> Run:
    """What `fold` makes of the facts of a run and some more; most looks at a run find one or two new facts."""
    stamps, told, attempts = dict(run.stamps), dict(run.told), dict(run.attempts)
    changed: set[AttemptRef] = set()
    for item in added:
        fact = item.fact
        stamps[fact.path] = item
        if isinstance(fact, AttemptFact):
            changed.add(fact.ref)
        elif isinstance(fact, Told):
            told[fact.key] = fact
        else:
            return _folded_anew(run, added)
    for ref in sorted(changed):
        own = [item for item in stamps.values() if isinstance(item.fact, AttemptFact) and item.fact.ref == ref]
        others = (item for item in attempts.get((ref.stage, ref.job), ()) if item.ref != ref)
        found = [*others, _attempt(ref, own)]
        attempts[ref.stage, ref.job] = tuple(sorted(found, key=lambda item: item.ref))
    return replace(run, attempts=attempts, told=told, stamps=stamps)


def _folded_anew(run: Run, added: Sequence[Stored]) -> Run:
    whole = fold(run.id, (run.stamps | {item.fact.path: item for item in added}).values())
    assert whole is not None, "a run that was folded before was accepted"
    return whole


def _attempt(ref: AttemptRef, stored: list[Stored]) -> Attempt:
    claimed: list[Stored] = []
    refusals: dict[int, Refused] = {}
    phases: list[str] = []
    launched: Launched | None = None
    launched_at: datetime | None = None
    ended: Ended | None = None
    for item in stored:
        match item.fact:
            case Claimed():
                claimed.append(item)
            case Launched() as launched:
                launched_at = item.created
            case Ended() as ended:
                pass
            case Refused() as refused:
                refusals[refused.claim] = refused
            case Phase() as phase:
                phases.append(phase.status)
    claims = [
        Claim(item.fact.claim, item.created, item.writer, refusals.get(item.fact.claim))
        for item in claimed
        if isinstance(item.fact, Claimed)
    ]
    claims.sort(key=lambda claim: claim.number)
    return Attempt(ref, tuple(claims), launched, launched_at, ended, tuple(sorted(phases)))
