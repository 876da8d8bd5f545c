"""Push delivery: one thread that meets each due moment, and a bounded number of requests at a time."""

import http.client
import logging
import threading
from collections import Counter

from local.pubsub.broker import Broker
from local.pubsub.call import PushCall
from local.pubsub.envelope import push_request
from local.pubsub.errors import Refusal
from local.pubsub.resources import Delivery, Lease, PushTarget, Subscription
from local.pubsub.tokens import TokenMint, front_door_accepts

# https://cloud.google.com/pubsub/docs/push#receive_push
ACKNOWLEDGING = frozenset({102, 200, 201, 202, 204})
UNAUTHORIZED = 401
_PAUSE_AFTER_FAULT_S = 1.0
_log = logging.getLogger(__name__)


class Pusher:
    """Sends what is due and sweeps leases whose deadline has passed.

    At most `per_subscription` requests run for one subscription, so that a slow endpoint cannot take the whole pool
    of `total` from the others. A request ends with its lease: at the ack deadline the connection is cut.
    """

    def __init__(self, broker: Broker, mint: TokenMint, per_subscription: int = 16, total: int = 64) -> None:
        self._broker = broker
        self._mint = mint
        self._per_subscription = per_subscription
        self._total = total
        self._busy: Counter[str] = Counter()
        self._calls: dict[Lease, PushCall] = {}
        self._thread = threading.Thread(target=self._run, name="push-clock", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the clock and cuts every request; what was under way is sent again by the next start."""
        self._broker.stop()
        self._thread.join(timeout=1)
        with self._broker.changed:
            calls = list(self._calls.values())
        for call in calls:
            call.abort()

    def _run(self) -> None:
        while True:
            try:
                self._beat()
            except Exception:
                # The one thread that delivers must outlive any fault, a full disk for instance.
                _log.exception("delivering failed; going on")
                with self._broker.changed:
                    self._broker.changed.wait(_PAUSE_AFTER_FAULT_S)
            if self._broker.stopping:
                return

    def _beat(self) -> None:
        """Does what is due, then sleeps until a change or the next due moment. One lock around both: no lost wake."""
        broker = self._broker
        with broker.changed:
            if broker.stopping:
                return
            now = broker.clock()
            for lease in broker.sweep(now):
                if call := self._calls.get(lease):
                    call.abort()
            for facts in broker.push_subscriptions():
                free = min(self._per_subscription - self._busy[facts.name], self._total - self._busy.total())
                if facts.push and free > 0:
                    for delivery in broker.take(facts.name, free, facts.ack_deadline_s, now):
                        self._launch(facts, facts.push, delivery)
            due = broker.next_due(now)
            broker.changed.wait(None if due is None else max(due - broker.clock(), 0))

    def _launch(self, facts: Subscription, target: PushTarget, delivery: Delivery) -> None:
        self._busy[facts.name] += 1
        name = f"push-{delivery.message.id}"
        threading.Thread(target=self._deliver, args=(facts, target, delivery), name=name, daemon=True).start()

    def _deliver(self, facts: Subscription, target: PushTarget, delivery: Delivery) -> None:
        try:
            settled = self._attempt(facts, target, delivery)
            if settled:
                self._broker.acknowledge([delivery.lease])
            else:
                self._broker.refuse([delivery.lease])
        except Refusal:
            _log.debug("message %d was not settled: the server is stopping", delivery.message.id)
        finally:
            with self._broker.changed:
                self._busy[facts.name] -= 1
                self._broker.changed.notify_all()

    def _attempt(self, facts: Subscription, target: PushTarget, delivery: Delivery) -> bool:
        """Whether the endpoint acknowledged the message within the ack deadline."""
        status, reason = self._answer(facts, target, delivery)
        acknowledged = status in ACKNOWLEDGING
        level = logging.DEBUG if acknowledged else logging.INFO
        if not self._broker.stopping:
            _log.log(
                level,
                "%s: message %d, attempt %d to %s: %s",
                facts.name,
                delivery.message.id,
                delivery.attempt,
                target.endpoint,
                reason or status,
            )
        return acknowledged

    def _answer(self, facts: Subscription, target: PushTarget, delivery: Delivery) -> tuple[int, str]:
        """The endpoint's status, or 0 and why there is none."""
        body, headers = push_request(facts, target, delivery)
        if target.service_account:
            if not front_door_accepts(target):
                return UNAUTHORIZED, f"401, not sent: the audience {target.audience} is not {target.origin}"
            headers["Authorization"] = f"Bearer {self._mint.token(target)}"
        try:
            call = PushCall(target.endpoint, body, headers, facts.ack_deadline_s)
            with self._broker.changed:
                self._calls[delivery.lease] = call
            try:
                return call.send(), ""
            finally:
                with self._broker.changed:
                    del self._calls[delivery.lease]
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, f"{type(error).__name__}: {error}"
