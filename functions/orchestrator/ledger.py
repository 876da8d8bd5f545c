"""The ledger: write-once facts of every run, and the markers of the runs that reconcile must look at."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from orchestrator.facts import Accepted, Fact, Stored, decode, encode, writer_of
from orchestrator.identities import RunId
from orchestrator.run import Run, extend, fold
from orchestrator.storage import Listed, ObjectStore

_REMEMBERED_RUNS = 500


@dataclass(frozen=True)
class Marker:
    """An object under active/: a run under way, and whether its facts must be read even while a job of it runs."""

    run: RunId
    created: datetime
    look: bool = False


class FactMemory:
    """Facts that this instance has read or written, by run. A fact never changes, so none is read twice, and what was
    written here not at all; the runs that were looked at longest ago are forgotten first."""

    def __init__(self, runs: int = _REMEMBERED_RUNS) -> None:
        self._size, self._lock = runs, Lock()
        self._facts = OrderedDict[RunId, dict[str, Stored]]()
        self._written: dict[RunId, dict[str, tuple[Fact, str]]] = {}
        self._runs = OrderedDict[RunId, tuple[list[Listed], Run]]()

    def clear(self) -> None:
        """Forget everything, as an instance that starts anew. Safe at any time: it is all in the bucket."""
        with self._lock:
            self._facts.clear()
            self._written.clear()
            self._runs.clear()

    def facts(self, run: RunId) -> dict[str, Stored]:
        """What was read of a run, by object name; the caller adds to it. Two threads may add the same: equal facts."""
        with self._lock:
            found = self._facts.setdefault(run, {})
            self._facts.move_to_end(run)
            if len(self._facts) > self._size:
                oldest, _ = self._facts.popitem(last=False)
                self._runs.pop(oldest, None)
                self._written.pop(oldest, None)
            return found

    def wrote(self, run: RunId, name: str, fact: Fact, writer: str) -> None:
        """Remember a fact that stands as it was written here. When it was created, a listing will say."""
        with self._lock:
            if run in self._facts:
                self._written.setdefault(run, {})[name] = fact, writer

    def written(self, run: RunId, item: Listed) -> Stored | None:
        """The fact in an object that was written here and not read since."""
        with self._lock:
            fact, writer = self._written.get(run, {}).pop(item.name, (None, ""))
        return Stored(fact, writer, item.created) if fact is not None else None

    def run(self, run: RunId, listed: list[Listed]) -> Run | None:
        """The run that was folded last, if it was of exactly these facts."""
        found = self._runs.get(run)
        return found[1] if found and found[0] == listed else None

    def extended(self, run: RunId, listed: list[Listed], facts: Mapping[str, Stored]) -> Run | None:
        """The run that was folded last and the facts that came since; None if that is not all there is to it."""
        before, known = self._runs.get(run, ([], None))
        if known is None:
            return None
        seen = {item.name: item for item in before}
        added = [item for item in listed if seen.get(item.name) != item]
        return extend(known, [facts[item.name] for item in added]) if len(before) + len(added) == len(listed) else None

    def keep_run(self, run: Run, listed: list[Listed]) -> None:
        """Remember what these facts make."""
        with self._lock:
            if run.id in self._facts:
                self._runs[run.id] = (listed, run)


class Ledger:
    """Facts in a bucket. Every write has one winner, and writing the same fact again is a success for its writer."""

    def __init__(self, store: ObjectStore, writer: str, memory: FactMemory | None = None) -> None:
        self._store = store
        self.writer = writer
        self._memory = memory or FactMemory()

    def record(self, run: RunId, fact: Fact) -> bool:
        """Write a fact. True if it now stands as this writer wrote it; False if another writer's stands there.

        Safe to repeat: the object is created only if it does not exist, and our own earlier write counts as ours.
        """
        name = run.facts + fact.path
        stands = self._store.create(name, encode(fact, self.writer))
        if not stands:
            existing = self._store.read(name)
            stands = existing is not None and writer_of(existing) == self.writer
        if stands:
            self._memory.wrote(run, name, fact, self.writer)
        return stands

    def has(self, run: RunId, path: str) -> bool:
        """Whether a fact stands at a path below the run's folder."""
        return self._store.read(run.facts + path) is not None

    def load(self, run: RunId) -> Run | None:
        """The run as its facts stand now, or None if it was never accepted."""
        listed = list(self._store.list(run.facts))
        if folded := self._memory.run(run, listed):
            return folded
        facts = self._memory.facts(run)
        # By its time of creation too: should someone clear a bucket, nothing of the old one is taken for new.
        unread = []
        for item in listed:
            if (known := facts.get(item.name)) is None or known.created != item.created:
                if written := self._memory.written(run, item):
                    facts[item.name] = written
                else:
                    unread.append(item)
        contents = self._store.read_all([item.name for item in unread]) if unread else []
        vanished = set()
        for item, content in zip(unread, contents, strict=True):
            if content is None:
                vanished.add(item.name)
            else:
                facts[item.name] = decode(content, item.created)
        folded = self._memory.extended(run, listed, facts) if not vanished else None
        if folded is None:
            folded = fold(run, (facts[item.name] for item in listed if item.name not in vanished))
        if folded and not vanished:
            self._memory.keep_run(folded, listed)
        return folded

    def newest_number(self, slug: str) -> int:
        """Number of the newest run of a model run; 0 if there is none."""
        return max((int(name) for name in self._store.folders(f"facts/runs/{slug}/") if name.isdigit()), default=0)

    def mark_active(self, run: RunId) -> None:
        """Make reconcile look at this run from now on. Written before `accepted`. Safe to repeat: write-once."""
        self._store.create(run.marker, json.dumps({"version": 1}).encode())

    def mark_look(self, run: RunId) -> None:
        """Make reconcile read this run's facts even while a job of it runs. Safe to repeat: write-once."""
        self._store.create(run.look_marker, json.dumps({"version": 1}).encode())

    def unmark_look(self, run: RunId) -> None:
        """The run waits for its one job, and Labelbox was told all that was due. Safe to repeat."""
        self._store.delete(run.look_marker)

    def unmark_active(self, run: RunId) -> None:
        """Nothing is left to do for this run. The last thing done for it. Safe to repeat."""
        self._store.delete(run.look_marker)
        self._store.delete(run.marker)

    def active(self) -> list[Marker]:
        """Every marked run, oldest first, in one listing.

        A look marker alone counts too: a handler that was frozen may write one after its run was closed.
        """
        looks: dict[RunId, Listed] = {}
        found: dict[RunId, Listed] = {}
        for item in self._store.list("active/"):
            name, _, kind = item.name.removeprefix("active/").rpartition(".")
            if run := RunId.parse(name):
                (looks if kind == "look" else found)[run] = item
        markers = [Marker(run, item.created, run in looks) for run, item in (looks | found).items()]
        return sorted(markers, key=lambda marker: (marker.created, marker.run))

    def count_on_day(self, run: RunId, day: str) -> int:
        """How many runs were admitted on a UTC day (YYYY-MM-DD) before this one, which is counted in from now on.

        Safe to repeat: the run's own entry is write-once.
        """
        self._store.create(f"facts/days/{day}/{run}", b"{}")
        entries = sorted(self._store.list(f"facts/days/{day}/"), key=lambda item: (item.created, item.name))
        return next((place for place, item in enumerate(entries) if item.name.endswith(f"/{run}")), len(entries))

    def accept(self, run: RunId, accepted: Accepted) -> bool:
        """Create the run: its marker first, then `accepted`. True if this call won; False if another request did."""
        self.mark_active(run)
        return self.record(run, accepted)
