"""What Labelbox answers instead of data.

GraphQLFault            an entry of `errors`, with the code in `extensions` that the SDK maps to its exceptions
  Refused               the request is understood and refused (the SDK raises by `extensions.exception.status`)
  NotFound              RESOURCE_NOT_FOUND (the SDK raises ResourceNotFoundError, or returns None)
  Conflict              RESOURCE_CONFLICT
  InvalidQuery          GRAPHQL_VALIDATION_FAILED: unknown operation, field or argument
  BadSyntax             GRAPHQL_PARSE_FAILED
  BadInput              BAD_USER_INPUT: a variable's value does not fit its type
  Unauthenticated       AUTHENTICATION_ERROR
"""

from __future__ import annotations


class GraphQLFault(Exception):
    """One entry of a GraphQL answer's `errors`. `http_status` is the status of the whole answer."""

    code = "INTERNAL_SERVER_ERROR"
    http_status = 200

    def __init__(self, message: str, *, exception_status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.exception_status = exception_status

    def as_json(self, path: str | None = None) -> dict[str, object]:
        """The entry as it stands on the wire."""
        extensions: dict[str, object] = {"code": self.code}
        if self.exception_status is not None:
            extensions["exception"] = {"status": self.exception_status}
        entry: dict[str, object] = {"message": self.message, "extensions": extensions}
        if path is not None:
            entry["path"] = [path]
        return entry


class Refused(GraphQLFault):
    """INTERNAL_SERVER_ERROR, which Labelbox also uses for client errors: the true kind is `exception_status`."""


class NotFound(GraphQLFault):
    """No such resource in this workspace."""

    code = "RESOURCE_NOT_FOUND"

    def __init__(self, kind: str, identity: str) -> None:
        super().__init__(f"Resource '{kind}' not found for params: '{identity}'")


class Conflict(GraphQLFault):
    """The name is taken."""

    code = "RESOURCE_CONFLICT"


class InvalidQuery(GraphQLFault):
    """The query does not fit the schema."""

    code = "GRAPHQL_VALIDATION_FAILED"
    http_status = 400


class BadSyntax(GraphQLFault):
    """The query text is no GraphQL."""

    code = "GRAPHQL_PARSE_FAILED"
    http_status = 400


class BadInput(GraphQLFault):
    """A value does not fit the input type."""

    code = "BAD_USER_INPUT"
    http_status = 400


class Unauthenticated(GraphQLFault):
    """The API key is missing or wrong."""

    code = "AUTHENTICATION_ERROR"

    def __init__(self) -> None:
        super().__init__("Invalid API key")
