"""Refusals of the Pub/Sub stand-in, each with the gRPC status that the real service answers.

Refusal
├── InvalidArgument      the request breaks a rule of the API
├── NotFound             the topic or subscription does not exist
├── AlreadyExists        the name is taken
├── FailedPrecondition   the call does not fit this kind of subscription
├── Unavailable          the server is stopping; the client tries again
└── Unimplemented        a feature of Pub/Sub that this stand-in does not have
"""

import grpc


class Refusal(Exception):
    """A request is answered with `status` and the message; never a fault of the server."""

    status = grpc.StatusCode.UNKNOWN


class InvalidArgument(Refusal):
    """The request breaks a rule of the API; sending it again cannot help."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(Refusal):
    """The named topic or subscription does not exist."""

    status = grpc.StatusCode.NOT_FOUND


class AlreadyExists(Refusal):
    """A topic or subscription of this name exists."""

    status = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(Refusal):
    """The call does not fit the subscription as it is, for example a pull from a push subscription."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class Unavailable(Refusal):
    """The server is stopping; clients reconnect by themselves."""

    status = grpc.StatusCode.UNAVAILABLE


class Unimplemented(Refusal):
    """Real Pub/Sub has this, the stand-in has not; refused so that nobody believes it works."""

    status = grpc.StatusCode.UNIMPLEMENTED
