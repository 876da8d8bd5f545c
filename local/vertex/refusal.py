"""How the stand-in refuses a request: a gRPC status, and every problem of the request in Vertex's own wording."""

import grpc


class Refused(Exception):
    """A request is answered with this status and message."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class JobFailed(Exception):
    """A job or an operation ends as failed with this google.rpc.Code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Problems:
    """Everything wrong with one request, answered together as Vertex does: "List of found errors: 1.Field: ..."."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, field: str, message: str) -> None:
        """Note that `field` (proto path, snake case) breaks a rule."""
        self._found.append((field, message))

    def refuse_if_any(self) -> None:
        """Raise Refused with INVALID_ARGUMENT when anything was noted."""
        if self._found:
            listed = "\t".join(
                f"{number}.Field: {field}; Message: {message}" for number, (field, message) in enumerate(self._found, 1)
            )
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"List of found errors:\t{listed}\t")


# Numbers of google.rpc.Code, as they stand in the `error` of a resource.
CANCELLED = 1
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
INTERNAL = 13
