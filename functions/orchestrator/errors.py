"""The errors of the orchestrator: one tree, and what each means for the caller.

ServiceError                    anything we raise on purpose
├── BadRequest                  the request cannot be served as it is (400, 404, 405, 413)
├── Unauthorized                signature missing or wrong (401)
├── BadDefinition               a pipeline file is wrong; names the file and every problem
├── BadSettings                 the environment is incomplete or contradicts itself
├── UnreadableMessage           a message of no known shape: kept and acknowledged
├── NewerVersion                written by a newer deployment: refused until that code runs here (503)
└── Unavailable                 something we need does not answer: try again with backoff (503)
    ├── NoBucket                the bucket of the settings does not exist
    ├── LaunchUnsure            a create was sent and its answer lost: never create again under this claim
    └── LabelboxUnavailable     Labelbox is slow, down or limits us
LaunchRefused                   Vertex surely did not create the job (a result, so not a ServiceError)
LabelboxRefused                 Labelbox surely refused: unknown model run, or a key it does not accept
"""

from __future__ import annotations

from collections.abc import Iterable

SENTENCE_LIMIT = 255


def sentence(text: str) -> str:
    """One line of at most 255 characters: what Labelbox shows as the error of a model run."""
    line = " ".join(text.split())
    return line if len(line) <= SENTENCE_LIMIT else line[: SENTENCE_LIMIT - 1].rstrip() + "…"


class ServiceError(Exception):
    """Base of what we raise on purpose: a public sentence, a hint what to do next, and the HTTP answer it becomes."""

    http_status = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.sentence = sentence(message)
        self.hint = hint


class BadRequest(ServiceError):
    """The request cannot be served as it is; `problems` names everything that is wrong with it."""

    def __init__(self, problems: Iterable[str], hint: str = "", http_status: int = 400) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems), hint)
        self.http_status = http_status


class Unauthorized(ServiceError):
    """The signature is missing, malformed or wrong; says no more than that."""

    http_status = 401


class BadDefinition(ServiceError):
    """A pipeline definition is wrong. The message names the file and lists every problem."""


class BadSettings(ServiceError):
    """The environment lacks settings or contradicts itself. The message names all of them."""


class UnreadableMessage(ServiceError):
    """A message whose shape nobody here knows. It can never succeed, so it is kept and acknowledged."""

    http_status = 204


class NewerVersion(ServiceError):
    """Data written by a newer version of this code: leave it for an instance that knows it."""

    http_status = 503


class Unavailable(ServiceError):
    """A service we need does not answer. Trying again later can help."""

    http_status = 503


class NoBucket(Unavailable):
    """There is no bucket of the name that the settings give. Trying again helps once somebody makes it."""


class LaunchUnsure(Unavailable):
    """A create was sent and no answer came: a job may exist. Only a later look by label can tell."""


class LabelboxUnavailable(Unavailable):
    """Labelbox did not answer in time, or answered that it cannot serve us now."""


class LaunchRefused(Exception):
    """Vertex answered the create with a sure no. `quota` says that waiting can help."""

    def __init__(self, message: str, *, quota: bool) -> None:
        super().__init__(message)
        self.sentence = sentence(message)
        self.quota = quota


class LabelboxRefused(Exception):
    """Labelbox answered with a sure no. `reason` is "unknown" (no such model run) or "key" (API key refused)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
