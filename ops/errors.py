"""Errors of the command line: each has a sentence, a hint what to do next, and the exit code it becomes.

OpsError        the command failed (1)
├── Misuse      it was asked in a way that cannot be served (2)
└── NotFound    what it was asked about does not exist (3)
"""

from __future__ import annotations


class OpsError(Exception):
    """A command that failed."""

    exit_code = 1

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class Misuse(OpsError):
    """A command line that cannot be served."""

    exit_code = 2


class NotFound(OpsError):
    """No such run, file or report."""

    exit_code = 3
