"""What a handler answers to a delivery."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reply:
    """`again` asks Pub/Sub to deliver the message once more, with backoff."""

    again: bool
    reason: str = ""


DONE = Reply(False)


def again(reason: str) -> Reply:
    """Not now: deliver it again."""
    return Reply(True, reason)
