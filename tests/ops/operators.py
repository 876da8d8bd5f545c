"""An operator in a test: calls commands, and has a deployment in memory or the embedded cloud's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from ops.cli import main
from ops.deployment import Deployment
from ops.errors import NotFound
from ops.topics import Subscription
from ops.vertex_leftovers import Leftover
from tests.functions.world import World


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Commands:
    """Calls commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], deployment: Deployment | None = None) -> None:
        self._capsys, self.deployment = capsys, deployment

    def __call__(self, *arguments: str) -> Answer:
        self._capsys.readouterr()
        code = main(arguments, self.deployment)
        shown = self._capsys.readouterr()
        return Answer(code, shown.out, shown.err)


class MemoryTopics:
    """Topics that pass messages on to the world's queue."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.published: list[tuple[str, bytes, dict[str, str]]] = []

    def topic_exists(self, name: str) -> bool:
        return True

    def subscription(self, name: str) -> Subscription | None:
        return None

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        self.published.append((topic, data, dict(attributes)))
        self._world.queue.publish(topic.rpartition("/")[2].removeprefix("test-"), data)


@dataclass
class MemoryLeftovers:
    """Data sets and models in a list."""

    items: list[Leftover] = field(default_factory=list)

    def list(self, deployment: str) -> list[Leftover]:
        return list(self.items)

    def delete(self, leftover: Leftover) -> None:
        self.items.remove(leftover)


@dataclass
class MemoryLogs:
    """Log lines by job number."""

    by_job: dict[str, list[str]] = field(default_factory=dict)

    def lines(self, job_number: str, most: int) -> list[str]:
        if job_number not in self.by_job:
            raise NotFound(f"There is no log of job {job_number}", "look again")
        return self.by_job[job_number][-most:]

    def place(self, job_number: str) -> str:
        return f"log of {job_number}"


class OneSecret:
    """A secret with one version."""

    def read(self, version: str) -> tuple[int, str] | None:
        return (1, "value") if version in ("latest", "1") else None


def deployment_of(world: World, **changes: Any) -> Deployment:
    """The deployment that a world in memory is."""
    parts: dict[str, Any] = {
        "find_coordinator": no_coordinator,
        "job_logs": MemoryLogs(),
        "topics": MemoryTopics(world),
        "leftovers": MemoryLeftovers(),
        "secret_reader": lambda _secret_id: OneSecret(),
    }
    return Deployment(services=world.services, **{**parts, **changes})


def no_coordinator() -> str:
    raise AssertionError("this command needs no coordinator")


CommandsFor = Callable[[Deployment | None], Commands]
