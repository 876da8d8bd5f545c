"""The life of a job: QUEUED, PENDING, RUNNING, its process, and its end; each job has a thread that tells its story.

What must survive a restart is written down as it happens: the process in the job's folder, the ending in its notes.
"""

import base64
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.vertex import kinds
from local.vertex.events import LogSink
from local.vertex.kinds import Kind, Outcome
from local.vertex.names import last_part
from local.vertex.processes import POLL_S
from local.vertex.refusal import CANCELLED, DEADLINE_EXCEEDED, INTERNAL, JobFailed
from local.vertex.settings import SettingsFile
from local.vertex.slots import Slots
from local.vertex.workshop import Workshop

log = logging.getLogger(__name__)

GRACE_S = 5.0
QUEUE_POLL_S = 0.2  # a leaving job or a cancel wakes the queue; hundreds that look every POLL_S would take a processor
STOP_GRACE_S = 2.0  # whoever stops the stand-in may kill it after 5 s, and its jobs would live on
END_TEXTS = {kinds.SUCCEEDED: "Job completed successfully.", kinds.FAILED: "Job failed."}


class _Stopping(Exception):
    """The stand-in stops; the job's story goes on at the next start."""


@dataclass(frozen=True)
class Ending:
    """The end of a job as noted before it is shown: shown and announced at their own times, each once."""

    state: int
    code: int
    message: str
    resource: str  # the resource's bytes, base64
    exited_at: float  # epoch seconds


class Lifecycle:
    """Runs jobs of all kinds, so many at once as there are slots."""

    def __init__(self, workshop: Workshop, settings: SettingsFile, sink: LogSink, slots: int) -> None:
        self._workshop = workshop
        self._settings = settings
        self._sink = sink
        self._wake = threading.Condition()
        self._slots = Slots(slots, self._wake)
        self._threads: list[threading.Thread] = []
        self._cancels: dict[str, float] = {}  # as in the jobs' notes: when each that was cancelled is to end
        self._stopping = False

    def begin(self, kind: Kind, name: str) -> None:
        """Take a new job, or one of before a restart, into the queue and live its life in a thread."""
        self._slots.join(name)
        if at := kind.table.notes(name).get("cancel_at"):
            self._cancels[name] = at
        story = _Story(self, kind, name)
        thread = threading.Thread(target=story.live, name=f"job {last_part(name)}", daemon=True)
        with self._wake:
            self._threads = [*(other for other in self._threads if other.is_alive()), thread]
        thread.start()

    def resume(self, kind: Kind) -> None:
        """Take up every job of a kind that has not ended, or whose end was not announced, oldest first."""
        for resource in reversed(kind.table.listed()):
            if resource.state not in kinds.ENDED or self._owes_announcement(kind, resource.name):
                self.begin(kind, resource.name)

    def cancel(self, kind: Kind, name: str) -> None:
        """Ask for a job's end; it reads CANCELLING until it is cancelled, unless it ends by itself before. An ended
        job stays as it is: Vertex promises its best effort only."""
        at = time.time() + self._settings.current.cancel_delay_s

        def mark(resource: Any) -> bool:
            if resource.state in kinds.ENDED or resource.state == kinds.CANCELLING:
                return False
            kind.table.note(name, cancel_at=at)
            self._cancels[name] = at
            _enter(resource, kinds.CANCELLING)
            return True

        kind.table.change(name, mark)
        with self._wake:
            self._wake.notify_all()

    def stop(self) -> None:
        """Stop all threads and end the processes of their jobs, which therefore fail at the next start."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
            threads = list(self._threads)
        deadline = time.monotonic() + STOP_GRACE_S + 1
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _owes_announcement(self, kind: Kind, name: str) -> bool:
        return kind.announces_end and bool(kind.table.notes(name).get("owed"))


class _Story:
    """One job's thread."""

    def __init__(self, life: Lifecycle, kind: Kind, name: str) -> None:
        self._life = life
        self._kind = kind
        self._table = kind.table
        self._name = name
        self._id = last_part(name)
        self._process = life._workshop.process(self._id)

    def live(self) -> None:
        """Live the whole life, from wherever a restart left it."""
        ending = self._noted_ending()
        try:
            if ending is None:
                ending = self._noted(*self._work())
            else:
                self._life._slots.give_up(self._name)
            self._show(ending)
        except _Stopping:
            self._process.interrupt(STOP_GRACE_S)
        self._life._cancels.pop(self._name, None)
        self._process.remove_files()

    def _work(self) -> tuple[Outcome, float]:
        """Run the job in a slot; return its outcome and when its process ended."""
        if self._process.started:
            self._life._slots.enter_at_once(self._name)
        elif not self._wait_for(lambda: self._life._slots.try_enter(self._name), self._cancel_due, QUEUE_POLL_S):
            self._life._slots.give_up(self._name)
            return self._cancelled(), time.time()
        try:
            return self._outcome(), time.time()
        finally:
            self._life._slots.leave()

    def _outcome(self) -> Outcome:
        try:
            if not self._process.started and not self._start():
                return self._cancelled()
            resource = self._table.change(self._name, self._mark_running)
            limit_s = self._kind.timeout_s(resource)
            deadline = resource.start_time.timestamp() + limit_s
            if not self._wait_for(lambda: self._process.exit() is not None, lambda: self._must_end(deadline)):
                return self._ended_by_us(deadline, limit_s)
            exit_ = self._process.exit()
            if exit_ is None or exit_.code is None:
                raise JobFailed(INTERNAL, "Internal error occurred: the job's process was lost.")
            return self._kind.finish(self._table.get(self._name), self._process, exit_.code)
        except JobFailed as failed:
            return Outcome(kinds.FAILED, self._table.get(self._name), failed.code, failed.message)
        except _Stopping:
            raise
        except Exception as error:  # a fault of the stand-in must end the job, not leave it running for ever
            log.exception("job %s", self._name)
            message = f"Internal error occurred in the local stand-in: {type(error).__name__}: {error}"
            return Outcome(kinds.FAILED, self._table.get(self._name), INTERNAL, message)

    def _start(self) -> bool:
        """Prepare and start the process; say False when a cancel came first."""
        self._table.change(self._name, lambda resource: _enter(resource, kinds.PENDING))
        command = self._kind.prepare(self._table.get(self._name))
        if self._life._stopping:
            raise _Stopping
        if self._table.get(self._name).state == kinds.CANCELLING:
            self._wait_for(self._cancel_due, self._cancel_due)
            return False
        self._process.start(command, self._life._workshop.log(self._id))
        return True

    def _mark_running(self, resource: Any) -> bool:
        if resource.start_time is not None:
            return False
        resource.start_time = datetime.now(UTC)
        _enter(resource, kinds.RUNNING)
        return True

    def _must_end(self, deadline: float) -> bool:
        return self._cancel_due() or time.time() >= deadline

    def _ended_by_us(self, deadline: float, limit_s: float) -> Outcome:
        self._process.end(GRACE_S)
        if self._cancel_due():
            return self._cancelled()
        # A job past its limit has been seen to read as cancelled: https://github.com/tensorflow/tfx/issues/6223
        message = f"The job was cancelled because it ran longer than its timeout of {limit_s:g} seconds."
        return Outcome(kinds.CANCELLED, self._table.get(self._name), DEADLINE_EXCEEDED, message)

    def _cancelled(self) -> Outcome:
        return Outcome(kinds.CANCELLED, self._table.get(self._name), CANCELLED, "The job was cancelled by the user.")

    def _cancel_due(self) -> bool:
        at = self._life._cancels.get(self._name)
        return at is not None and time.time() >= at

    def _wait_for(self, wanted: Callable[[], bool], unwanted: Callable[[], bool], poll_s: float = POLL_S) -> bool:
        """Wait until one of the two is so; say whether it was the first. Raises _Stopping."""
        with self._life._wake:
            while True:
                if self._life._stopping:
                    raise _Stopping
                if wanted():
                    return True
                if unwanted():
                    return False
                self._life._wake.wait(poll_s)

    def _noted_ending(self) -> Ending | None:
        noted = self._table.notes(self._name).get("ending")
        return Ending(**noted) if noted else None

    def _noted(self, outcome: Outcome, exited_at: float) -> Ending:
        body = base64.b64encode(self._kind.codec.to_bytes(outcome.resource)).decode()
        ending = Ending(outcome.state, outcome.code, outcome.message, body, exited_at)
        owed = self._kind.announces_end and outcome.state in END_TEXTS
        self._table.note(self._name, ending=vars(ending), owed=owed)
        return ending

    def _show(self, ending: Ending) -> None:
        """Show the end in the resource and announce it in the log, each at its time; at once, the resource first."""
        settings = self._life._settings.current
        acts = [(settings.end_delay_s, self._show_state), (settings.event_delay_s, self._announce)]
        for delay_s, act in sorted(acts, key=lambda pair: pair[0]):
            due = ending.exited_at + delay_s
            self._wait_for(lambda due=due: time.time() >= due, lambda: False)  # type: ignore[misc]
            act(ending)

    def _show_state(self, ending: Ending) -> None:
        complete = self._kind.codec.from_bytes(base64.b64decode(ending.resource))

        def update(resource: Any) -> bool:
            if resource.state in kinds.ENDED:
                return False
            type(resource).copy_from(resource, complete)
            if ending.code:
                resource.error.code = ending.code
                resource.error.message = ending.message
            _enter(resource, ending.state, over_cancelling=True)
            resource.end_time = resource.update_time
            return True

        self._table.change(self._name, update)

    def _announce(self, ending: Ending) -> None:
        """Publish the log line that a sink would see. Safe to repeat because a sink may deliver twice."""
        if self._table.notes(self._name).get("owed"):
            at = datetime.fromtimestamp(ending.exited_at, UTC)
            sent = self._life._sink.announce(self._id, END_TEXTS[ending.state], at, lambda: self._life._stopping)
            if not sent:
                raise _Stopping
            self._table.note(self._name, owed=False)


def _enter(resource: Any, state: int, over_cancelling: bool = False) -> bool:
    """Put a resource into a state, unless it is being cancelled: only an end comes after that."""
    if resource.state == kinds.CANCELLING and not over_cancelling:
        return False
    resource.state = state
    resource.update_time = datetime.now(UTC)
    return True
