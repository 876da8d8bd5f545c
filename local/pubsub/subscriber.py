"""The unary calls of google.pubsub.v1.Subscriber."""

from collections.abc import Sequence
from datetime import timedelta

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1.types import pubsub

from local.pubsub.broker import Broker
from local.pubsub.errors import InvalidArgument, Unavailable
from local.pubsub.masks import merge
from local.pubsub.pages import page
from local.pubsub.resources import DEFAULT_ACK_DEADLINE_S, DEFAULT_MAX_ATTEMPTS, DEFAULT_RETENTION_S, Delivery, Lease
from local.pubsub.rules import check_name, check_project, check_push_config, check_subscription

_CHANGEABLE = (
    "ack_deadline_seconds",
    "dead_letter_policy",
    "expiration_policy",
    "labels",
    "message_retention_duration",
    "push_config",
    "retry_policy",
)
_LONGEST_WAIT_S = 10.0
_MARGIN_S = 0.2
_LARGEST_PULL = 1000
_LONGEST_LEASE_S = 600


class Subscriber:
    """Each method is one call; refusals are raised and become the call's status."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_subscription(
        self, subscription: pubsub.Subscription, context: grpc.ServicerContext
    ) -> pubsub.Subscription:
        check_subscription(subscription)
        check_name("topics", subscription.topic)
        pubsub.Subscription.pb(subscription).state = pubsub.Subscription.State.ACTIVE
        _fill_defaults(subscription)
        self._broker.create_subscription(subscription)
        return subscription

    def get_subscription(
        self, request: pubsub.GetSubscriptionRequest, context: grpc.ServicerContext
    ) -> pubsub.Subscription:
        check_name("subscriptions", request.subscription)
        with self._broker.reading() as registry:
            return registry.subscription(request.subscription)

    def update_subscription(
        self, request: pubsub.UpdateSubscriptionRequest, context: grpc.ServicerContext
    ) -> pubsub.Subscription:
        check_name("subscriptions", request.subscription.name)

        def change(subscription: pubsub.Subscription) -> None:
            source, target = pubsub.Subscription.pb(request.subscription), pubsub.Subscription.pb(subscription)
            merge(request.update_mask, source, target, _CHANGEABLE)
            check_subscription(subscription)
            _fill_defaults(subscription)

        return self._broker.update_subscription(request.subscription.name, change)

    def list_subscriptions(
        self, request: pubsub.ListSubscriptionsRequest, context: grpc.ServicerContext
    ) -> pubsub.ListSubscriptionsResponse:
        check_project(request.project)
        with self._broker.reading() as registry:
            names, token = page(registry.subscriptions(request.project), request.page_size, request.page_token)
            found = [registry.subscription(name) for name in names]
        return pubsub.ListSubscriptionsResponse(subscriptions=found, next_page_token=token)

    def delete_subscription(
        self, request: pubsub.DeleteSubscriptionRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        check_name("subscriptions", request.subscription)
        self._broker.delete_subscription(request.subscription)
        return empty_pb2.Empty()

    def modify_push_config(
        self, request: pubsub.ModifyPushConfigRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        """An empty config makes the subscription a pull subscription."""
        check_name("subscriptions", request.subscription)
        check_push_config(request.push_config)

        def change(subscription: pubsub.Subscription) -> None:
            subscription.push_config = request.push_config

        self._broker.update_subscription(request.subscription, change)
        return empty_pb2.Empty()

    def pull(self, request: pubsub.PullRequest, context: grpc.ServicerContext) -> pubsub.PullResponse:
        """Waits a while for a first message; an empty answer is normal and means: ask again."""
        check_name("subscriptions", request.subscription)
        if request.max_messages <= 0:
            raise InvalidArgument("max_messages must be positive.")
        remaining = context.time_remaining()
        wait_s = min(_LONGEST_WAIT_S, _LONGEST_WAIT_S if remaining is None else max(remaining - _MARGIN_S, 0))
        deadline = self._broker.clock() + (0 if request.return_immediately else wait_s)
        context.add_callback(self._broker.wake)
        limit = min(request.max_messages, _LARGEST_PULL)
        while context.is_active():
            taken = self._broker.wait_and_take(request.subscription, limit, deadline)
            if self._broker.stopping:
                raise Unavailable("The server is stopping.")
            if taken or self._broker.clock() >= deadline:
                return pubsub.PullResponse(received_messages=received(self._broker, taken))
        return pubsub.PullResponse()

    def acknowledge(self, request: pubsub.AcknowledgeRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        check_name("subscriptions", request.subscription)
        leases = _leases(request.ack_ids)
        self._broker.pull_subscription(request.subscription)
        self._broker.acknowledge(leases)
        return empty_pb2.Empty()

    def modify_ack_deadline(
        self, request: pubsub.ModifyAckDeadlineRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        """0 seconds is a negative acknowledgement."""
        check_name("subscriptions", request.subscription)
        leases = _leases(request.ack_ids)
        self._broker.pull_subscription(request.subscription)
        settle_deadline(self._broker, leases, request.ack_deadline_seconds)
        return empty_pb2.Empty()


def settle_deadline(broker: Broker, leases: list[Lease], value_s: int) -> None:
    """Moves the leases' ends to `value_s` seconds from now, or gives them up for 0; raises InvalidArgument."""
    if not 0 <= value_s <= _LONGEST_LEASE_S:
        raise InvalidArgument(f"Invalid ack deadline given: {value_s} is not between 0 and {_LONGEST_LEASE_S}.")
    if value_s == 0:
        broker.refuse(leases)
    else:
        broker.extend(leases, value_s)


def received(broker: Broker, deliveries: list[Delivery]) -> list[pubsub.ReceivedMessage]:
    """The deliveries of one subscription as a pull answers them; delivery_attempt only beside a dead-letter policy."""
    answers = []
    for delivery in deliveries:
        message = delivery.message
        answer = pubsub.ReceivedMessage(
            ack_id=delivery.lease.ack_id,
            message=pubsub.PubsubMessage(
                data=message.data,
                attributes=dict(message.attributes),
                message_id=str(message.id),
                ordering_key=message.ordering_key,
            ),
        )
        raw = pubsub.ReceivedMessage.pb(answer)
        raw.message.publish_time.FromMicroseconds(int(message.published_s * 1e6))
        if broker.dead_letters(delivery.subscription):
            raw.delivery_attempt = delivery.attempt
        answers.append(answer)
    return answers


def _leases(ack_ids: Sequence[str]) -> list[Lease]:
    if not ack_ids:
        raise InvalidArgument("No ack ids specified.")
    return [Lease.of(ack_id) for ack_id in ack_ids]


def _fill_defaults(subscription: pubsub.Subscription) -> None:
    """What the service answers for fields that the request left out."""
    raw = pubsub.Subscription.pb(subscription)
    raw.ack_deadline_seconds = raw.ack_deadline_seconds or DEFAULT_ACK_DEADLINE_S
    if not raw.HasField("message_retention_duration"):
        raw.message_retention_duration.FromTimedelta(timedelta(seconds=DEFAULT_RETENTION_S))
    if raw.HasField("dead_letter_policy") and not raw.dead_letter_policy.max_delivery_attempts:
        raw.dead_letter_policy.max_delivery_attempts = DEFAULT_MAX_ATTEMPTS
