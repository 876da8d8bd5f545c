"""The gRPC server: the two services as generic handlers, each refusal as its status."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1.types import pubsub

from local.pubsub.broker import Broker
from local.pubsub.database import open_database
from local.pubsub.errors import Refusal
from local.pubsub.publisher import Publisher
from local.pubsub.push import Pusher
from local.pubsub.streaming import Stream
from local.pubsub.subscriber import Subscriber
from local.pubsub.tokens import TokenMint

# A publish request over 10 MB must reach us to be refused with the right status.
_LARGEST_REQUEST_BYTES = 64 * 1024 * 1024
# Each StreamingPull and each waiting Pull keeps a thread.
_THREADS = 64
_GRACE_S = 0.3
_log = logging.getLogger(__name__)


class PubSubServer:
    """The whole stand-in in one process; state lies under `state_dir`."""

    def __init__(
        self, port: int, state_dir: Path, duplicate: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        """Opens the state and binds the port (0 = any free one); raises StateRefused or RuntimeError (port taken)."""
        self._database = open_database(state_dir)
        self.broker = Broker(self._database, clock, duplicate)
        self._pusher = Pusher(self.broker, TokenMint(state_dir))
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc")
        self._grpc = grpc.server(
            self._threads,
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", _LARGEST_REQUEST_BYTES),
                ("grpc.max_send_message_length", _LARGEST_REQUEST_BYTES),
            ],
        )
        self._grpc.add_generic_rpc_handlers((_publisher(self.broker), _subscriber(self.broker)))
        try:
            self.port: int = self._grpc.add_insecure_port(f"127.0.0.1:{port}")
        except RuntimeError:
            self._database.close()
            raise

    def start(self) -> None:
        self._grpc.start()
        self._pusher.start()

    def stop(self) -> None:
        """Ends within about a second; nothing that was published is lost, nothing under way counts as failed."""
        self._pusher.stop()
        self._grpc.stop(_GRACE_S).wait()
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self.broker.changed:
            self._database.close()


def _publisher(broker: Broker) -> grpc.GenericRpcHandler:
    service = Publisher(broker)
    methods = {
        "CreateTopic": _unary(service.create_topic, pubsub.Topic, pubsub.Topic),
        "GetTopic": _unary(service.get_topic, pubsub.GetTopicRequest, pubsub.Topic),
        "UpdateTopic": _unary(service.update_topic, pubsub.UpdateTopicRequest, pubsub.Topic),
        "ListTopics": _unary(service.list_topics, pubsub.ListTopicsRequest, pubsub.ListTopicsResponse),
        "DeleteTopic": _unary(service.delete_topic, pubsub.DeleteTopicRequest, None),
        "Publish": _unary(service.publish, pubsub.PublishRequest, pubsub.PublishResponse),
        "ListTopicSubscriptions": _unary(
            service.list_topic_subscriptions,
            pubsub.ListTopicSubscriptionsRequest,
            pubsub.ListTopicSubscriptionsResponse,
        ),
    }
    return grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", methods)


def _subscriber(broker: Broker) -> grpc.GenericRpcHandler:
    service = Subscriber(broker)
    methods = {
        "CreateSubscription": _unary(service.create_subscription, pubsub.Subscription, pubsub.Subscription),
        "GetSubscription": _unary(service.get_subscription, pubsub.GetSubscriptionRequest, pubsub.Subscription),
        "UpdateSubscription": _unary(
            service.update_subscription, pubsub.UpdateSubscriptionRequest, pubsub.Subscription
        ),
        "ListSubscriptions": _unary(
            service.list_subscriptions, pubsub.ListSubscriptionsRequest, pubsub.ListSubscriptionsResponse
        ),
        "DeleteSubscription": _unary(service.delete_subscription, pubsub.DeleteSubscriptionRequest, None),
        "ModifyPushConfig": _unary(service.modify_push_config, pubsub.ModifyPushConfigRequest, None),
        "Pull": _unary(service.pull, pubsub.PullRequest, pubsub.PullResponse),
        "Acknowledge": _unary(service.acknowledge, pubsub.AcknowledgeRequest, None),
        "ModifyAckDeadline": _unary(service.modify_ack_deadline, pubsub.ModifyAckDeadlineRequest, None),
        "StreamingPull": _streaming_pull(broker),
    }
    return grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", methods)


def _unary(method: Callable[..., Any], request: Any, response: Any) -> grpc.RpcMethodHandler:
    """A handler for one call; `response` None stands for google.protobuf.Empty."""

    def answer(message: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(message, context)
        except Refusal as refusal:
            _log.debug("%s refused: %s", method.__name__, refusal)
            return context.abort(refusal.status, str(refusal))

    serialize = response.serialize if response else empty_pb2.Empty.SerializeToString
    return grpc.unary_unary_rpc_method_handler(answer, request.deserialize, serialize)


def _streaming_pull(broker: Broker) -> grpc.RpcMethodHandler:
    def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from Stream(broker, requests, context).messages()
        except Refusal as refusal:
            context.abort(refusal.status, str(refusal))

    return grpc.stream_stream_rpc_method_handler(
        answer, pubsub.StreamingPullRequest.deserialize, pubsub.StreamingPullResponse.serialize
    )
