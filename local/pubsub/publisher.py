"""The calls of google.pubsub.v1.Publisher."""

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1.types import pubsub

from local.pubsub.broker import Broker
from local.pubsub.masks import merge
from local.pubsub.pages import page
from local.pubsub.resources import Draft
from local.pubsub.rules import check_messages, check_name, check_project, check_topic

_CHANGEABLE = ("labels", "message_retention_duration", "message_storage_policy", "kms_key_name")


class Publisher:
    """Each method is one call; refusals are raised and become the call's status."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_topic(self, topic: pubsub.Topic, context: grpc.ServicerContext) -> pubsub.Topic:
        check_topic(topic)
        pubsub.Topic.pb(topic).state = pubsub.Topic.State.ACTIVE
        self._broker.create_topic(topic)
        return topic

    def get_topic(self, request: pubsub.GetTopicRequest, context: grpc.ServicerContext) -> pubsub.Topic:
        check_name("topics", request.topic)
        with self._broker.reading() as registry:
            return registry.topic(request.topic)

    def update_topic(self, request: pubsub.UpdateTopicRequest, context: grpc.ServicerContext) -> pubsub.Topic:
        check_name("topics", request.topic.name)

        def change(topic: pubsub.Topic) -> None:
            merge(request.update_mask, pubsub.Topic.pb(request.topic), pubsub.Topic.pb(topic), _CHANGEABLE)
            check_topic(topic)

        return self._broker.update_topic(request.topic.name, change)

    def list_topics(
        self, request: pubsub.ListTopicsRequest, context: grpc.ServicerContext
    ) -> pubsub.ListTopicsResponse:
        check_project(request.project)
        with self._broker.reading() as registry:
            names, token = page(registry.topics(request.project), request.page_size, request.page_token)
            return pubsub.ListTopicsResponse(topics=[registry.topic(name) for name in names], next_page_token=token)

    def delete_topic(self, request: pubsub.DeleteTopicRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        check_name("topics", request.topic)
        self._broker.delete_topic(request.topic)
        return empty_pb2.Empty()

    def list_topic_subscriptions(
        self, request: pubsub.ListTopicSubscriptionsRequest, context: grpc.ServicerContext
    ) -> pubsub.ListTopicSubscriptionsResponse:
        check_name("topics", request.topic)
        with self._broker.reading() as registry:
            registry.need_topic(request.topic)
            every = sorted(facts.name for facts in registry.subscriptions_of(request.topic))
        names, token = page(every, request.page_size, request.page_token)
        return pubsub.ListTopicSubscriptionsResponse(subscriptions=names, next_page_token=token)

    def publish(self, request: pubsub.PublishRequest, context: grpc.ServicerContext) -> pubsub.PublishResponse:
        check_name("topics", request.topic)
        raw = pubsub.PublishRequest.pb(request)
        check_messages(request.messages, raw.ByteSize())
        drafts = [Draft(each.data, dict(each.attributes), each.ordering_key) for each in raw.messages]
        ids = self._broker.publish(request.topic, drafts)
        return pubsub.PublishResponse(message_ids=[str(message_id) for message_id in ids])
