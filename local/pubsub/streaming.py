"""StreamingPull: messages down, acknowledgements and longer deadlines up, on one call."""

import threading
from collections.abc import Iterator

import grpc
from google.pubsub_v1.types import pubsub

from local.pubsub.broker import Broker
from local.pubsub.errors import InvalidArgument, Refusal, Unavailable
from local.pubsub.resources import Lease
from local.pubsub.rules import check_name
from local.pubsub.subscriber import received, settle_deadline

_BATCH = 100


class Stream:
    """One open StreamingPull; `requests` is read on a thread of its own, messages() is the answer.

    Of the flow control, max_outstanding_messages is honoured and max_outstanding_bytes is not.
    """

    def __init__(
        self, broker: Broker, requests: Iterator[pubsub.StreamingPullRequest], context: grpc.ServicerContext
    ) -> None:
        self._broker = broker
        self._requests = requests
        self._context = context
        self._outstanding: set[Lease] = set()
        self._fault: Refusal | None = None
        self._lease_s = 0
        self._limit = 0

    def messages(self) -> Iterator[pubsub.StreamingPullResponse]:
        """Sends what is due until the client leaves; raises a Refusal to end the stream with its status."""
        first = next(self._requests, None)
        if first is None:
            return
        check_name("subscriptions", first.subscription)
        facts = self._broker.pull_subscription(first.subscription)
        self._set_deadline(first.stream_ack_deadline_seconds)
        self._limit = first.max_outstanding_messages
        self._settle(first)
        self._context.add_callback(self._broker.wake)
        threading.Thread(target=self._read, name="streaming-pull", daemon=True).start()
        properties = pubsub.StreamingPullResponse.SubscriptionProperties(message_ordering_enabled=facts.ordered)
        while self._context.is_active() and self._fault is None:
            taken = self._broker.wait_and_take(facts.name, self._room(), lease_s=self._lease_s)
            if self._broker.stopping:
                raise Unavailable("The server is stopping.")
            if taken:
                if self._limit > 0:
                    self._outstanding |= {delivery.lease for delivery in taken}
                yield pubsub.StreamingPullResponse(
                    received_messages=received(self._broker, taken), subscription_properties=properties
                )
        if self._fault is not None:
            raise self._fault

    def _room(self) -> int:
        """How many messages may be sent now: a batch, or less where the client's limit of unsettled ones is near."""
        if self._limit <= 0:
            return _BATCH
        if len(self._outstanding) + _BATCH > self._limit:
            self._outstanding = self._broker.running(self._outstanding)
        return min(self._limit - len(self._outstanding), _BATCH)

    def _read(self) -> None:
        try:
            for request in self._requests:
                if request.subscription:
                    raise InvalidArgument("subscription must not be set after the first request of a stream.")
                if request.stream_ack_deadline_seconds:
                    self._set_deadline(request.stream_ack_deadline_seconds)
                self._settle(request)
        except Refusal as fault:
            self._fault = fault
        except Exception:
            # grpc raises a bare Exception from the request iterator when the call is over.
            self._fault = None
        self._broker.wake()

    def _set_deadline(self, value_s: int) -> None:
        if not 10 <= value_s <= 600:
            raise InvalidArgument(f"Invalid stream_ack_deadline_seconds given: {value_s} is not between 10 and 600.")
        self._lease_s = value_s

    def _settle(self, request: pubsub.StreamingPullRequest) -> None:
        if len(request.modify_deadline_ack_ids) != len(request.modify_deadline_seconds):
            raise InvalidArgument("modify_deadline_ack_ids and modify_deadline_seconds differ in length.")
        if request.ack_ids:
            self._broker.acknowledge([Lease.of(ack_id) for ack_id in request.ack_ids])
        for ack_id, value_s in zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True):
            settle_deadline(self._broker, [Lease.of(ack_id)], value_s)
