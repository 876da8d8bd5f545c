"""Pub/Sub in memory: push deliveries that may come twice, late, out of order, or (hints only) never."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from orchestrator.endpoint import PushHandler, serve_push
from orchestrator.errors import Unavailable
from orchestrator.services import Services
from simulation.faults import Dice, Fault
from simulation.gate import Gate
from simulation.threads import Thread, Threads
from simulation.timeline import Timeline

# The dead-letter policy and the retry policy of the deployment's subscriptions.
MOST_DELIVERIES = 20
SHORTEST_BACKOFF_S, LONGEST_BACKOFF_S = 10.0, 600.0
TICK = b'{"version": 1, "kind": "reconcile"}'
JOB_STATE, DEAD_LETTER = "job-state", "dead-letter"


@dataclass(eq=False)
class Message:
    """A published message; `trouble` says that a fault, not the engine, has once kept it from being served."""

    number: int
    topic: str
    data: bytes
    attributes: dict[str, str]
    published_s: float
    trouble: bool = False


@dataclass(eq=False)
class _Push:
    message: Message
    attempt: int
    answered: bool = False


@dataclass
class Counts:
    """What the invariants want to know."""

    messages: int = 0
    deliveries: int = 0  # pushes of anything but ticks
    ticks: int = 0  # pushes of ticks
    answered_500: int = 0
    dead: list[Message] = field(default_factory=list)
    late_refusals: list[str] = field(default_factory=list)


class MemoryPubSub:
    """The Publisher port, and the pushes."""

    def __init__(self, timeline: Timeline, gate: Gate, threads: Threads, dice: Dice) -> None:
        self._timeline, self._gate, self._threads, self._dice = timeline, gate, threads, dice
        self.counts = Counts()
        self.services: Callable[[], Services] = lambda: (_ for _ in ()).throw(LookupError("not set"))

    def publish(self, topic: str, data: bytes) -> None:
        """See Publisher."""
        fault = self._gate.effect("pubsub.publish", topic)
        if fault is Fault.REFUSED:
            raise Unavailable("Pub/Sub did not take a message")
        self.send(topic, data)
        if fault is Fault.ANSWER_LOST:
            raise Unavailable("Pub/Sub did not answer a publish")
        self._gate.applied("pubsub.publish", topic)

    def send(self, topic: str, data: bytes, attributes: dict[str, str] | None = None) -> None:
        """Take a message, from a handler or from one of the platform's own publishers."""
        dice = self._dice
        self.counts.messages += 1
        message = Message(self.counts.messages, topic, data, attributes or {}, self._timeline.now_s)
        self._gate.changed() if topic != JOB_STATE else None
        if topic == JOB_STATE and dice.happens(Fault.LOST):
            self._gate.note(f"*** lost {data[:60]!r} {message.attributes.get('objectId', '')}")
            return
        delay_s = dice.random.random()
        if dice.happens(Fault.REORDERED):
            delay_s += dice.random.random() * 60.0
        if dice.happens(Fault.DELAYED):
            delay_s += dice.random.random() * 900.0
        self._timeline.after(delay_s, self._push, message, 1)
        if dice.happens(Fault.DUPLICATED):
            self._timeline.after(delay_s + dice.random.random() * 30.0, self._push, message, 1)

    def _push(self, message: Message, attempt: int) -> None:
        if message.data == TICK:
            self.counts.ticks += 1
        else:
            self.counts.deliveries += 1
        services, push = self.services(), _Push(message, attempt)
        published = self._timeline.when(message.published_s)
        envelope = {
            "message": {
                "data": base64.b64encode(message.data).decode(),
                "messageId": str(message.number),
                "publishTime": published.isoformat(),
                "attributes": message.attributes,
            },
            "subscription": message.topic,
            "deliveryAttempt": attempt,
        }
        handler = PushHandler(message.topic)
        if self._gate.trace is not None:
            text = message.attributes.get("objectId") or message.data.decode()
            self._gate.note(f"push {attempt} of message {message.number} to {message.topic}: {text}")
        thread: list[Thread] = []

        def ended(answer: int | None) -> None:
            self._answered(push, answer, thread[0] if thread else self._threads.current)

        work = lambda: serve_push(services, handler, envelope)  # noqa: E731
        thread.append(self._threads.start(message.topic, work, ended, services.memory.clear))
        if not thread[0].done:
            self._timeline.after(services.settings.function_timeout_s, self._timed_out, push, thread[0])

    def _answered(self, push: _Push, answer: int | None, thread: Thread | None) -> None:
        assert thread is not None
        self._gate.note(f"answers {answer}" if answer else "is dead")
        if answer == 500:
            self.counts.answered_500 += 1
        message = push.message
        message.trouble |= thread.disturbed or answer is None
        if push.answered:
            return
        push.answered = True
        if answer is not None and 200 <= answer < 300:
            return
        if message.topic == JOB_STATE and answer == 503 and not thread.disturbed:
            self._judge_refusal(message)
        self._again(push)

    def _judge_refusal(self, message: Message) -> None:
        """An early hint may be refused while it is young; a hint may also meet a live claim of the next job."""
        settings = self.services().settings
        age = timedelta(seconds=self._timeline.now_s - message.published_s)
        if age.total_seconds() > settings.early_hint_s + 2 * settings.claim_hold_s:
            self.counts.late_refusals.append(f"a hint was refused {age.total_seconds():.0f} s after it was published")

    def _timed_out(self, push: _Push, thread: Thread) -> None:
        if not push.answered:
            push.answered = True
            push.message.trouble |= thread.stalled_s > 0
            self._again(push)

    def _again(self, push: _Push) -> None:
        message = push.message
        if push.attempt >= MOST_DELIVERIES and message.topic != DEAD_LETTER:
            self.counts.dead.append(message)
            self._gate.note(f"message {message.number} is a dead letter")
            attributes = {**message.attributes, "CloudPubSubDeadLetterSourceSubscription": f"{message.topic}-push"}
            self.send(DEAD_LETTER, message.data, attributes)
            return
        backoff_s = min(SHORTEST_BACKOFF_S * 2.0 ** min(push.attempt - 1, 10), LONGEST_BACKOFF_S)
        self._timeline.after(backoff_s, self._push, message, push.attempt + 1)
