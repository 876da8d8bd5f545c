"""Dead letters: the messages kept under dead/, and sending them once more."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ops.deployment import Deployment
from ops.errors import NotFound
from orchestrator.identities import OwnObject, RunId
from orchestrator.retrying import retry_from, stage_to_go_on_from
from orchestrator.run import Run

_FOLDER = "dead/"
_SETTLED = ".settled.json"
_TOPICS = ("etl", "train", "inference", "custom", "job-state")


@dataclass(frozen=True)
class DeadLetter:
    """A message that no function could serve. `topic` is the deployment's topic (its suffix) that it came from, or
    empty if that cannot be told; `settled` says how an operator dealt with it."""

    id: str
    topic: str
    published: str
    reason: str
    run: str
    data: bytes
    attributes: dict[str, str]
    settled: str = ""

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        text = self.data.decode("utf-8", "replace")
        return {
            "id": self.id,
            "topic": self.topic,
            "published": self.published,
            "reason": self.reason,
            "run": self.run,
            "settled": self.settled,
            "data": text,
            "attributes": self.attributes,
        }


def dead_letters(deployment: Deployment, *, settled: bool = False) -> Iterator[DeadLetter]:
    """Kept messages, by their ids; those that were dealt with only if `settled`."""
    store = deployment.services.store
    names = [item.name for item in store.list(_FOLDER)]
    marks = {name.removesuffix(_SETTLED) for name in names if name.endswith(_SETTLED)}
    for name in names:
        plain = name.removesuffix(".json")
        if name.endswith(_SETTLED) or (plain in marks and not settled):
            continue
        content = store.read(name)
        if content is None:
            continue
        mark = json.loads(store.read(plain + _SETTLED) or b"{}") if plain in marks else {}
        yield _read(deployment, plain.removeprefix(_FOLDER), json.loads(content), str(mark.get("how", "")))


def _read(deployment: Deployment, letter_id: str, content: dict[str, Any], settled: str) -> DeadLetter:
    data = base64.b64decode(content.get("data", ""))
    attributes = {str(key): str(value) for key, value in content.get("attributes", {}).items()}
    return DeadLetter(
        id=letter_id,
        topic=_topic_of(deployment.settings.deployment_name, content.get("subscription", ""), data),
        published=str(content.get("published", "")),
        reason=str(content.get("reason", "")),
        run=_run_of(data, attributes),
        data=data,
        attributes=attributes,
        settled=settled,
    )


def _body(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _topic_of(deployment: str, subscription: str, data: bytes) -> str:
    """By the subscription's name, `<deployment>-<topic>-push`; else by what a stage event says."""
    name = subscription.rpartition("/")[2].removeprefix(f"{deployment}-")
    for topic in _TOPICS:
        if name == f"{topic}-push" or name.startswith(f"{topic}-push-"):
            return topic
    body = _body(data)
    stage = body.get("stage") if body.get("kind") == "stage_requested" else None
    return "" if not isinstance(stage, str) else stage if stage in _TOPICS else "custom"


def _run_of(data: bytes, attributes: dict[str, str]) -> str:
    own = OwnObject.parse(attributes.get("objectId", ""))
    return str(own.run) if own else str(_body(data).get("run", ""))


def choose(letters: list[DeadLetter], ids: tuple[str, ...]) -> list[DeadLetter]:
    """The letters with these ids; NotFound names those that there are not."""
    by_id = {letter.id: letter for letter in letters}
    if unknown := [name for name in ids if name not in by_id]:
        raise NotFound(f"There is no dead letter {', '.join(unknown)}", "python -m ops replay lists them")
    return [by_id[name] for name in ids]


def replay(deployment: Deployment, letter: DeadLetter) -> str:
    """Do once more what a message asked for, mark it as dealt with, and say how.

    A stage event of a run that has ended can do nothing any more: its run goes on as a new one, which takes over what
    the ended stages left. Any other message is sent again. Safe to repeat: the second time the run was followed by
    another already; BadRequest says why a run cannot go on, and then the message stays to be replayed.
    """
    run = _ended_run(deployment, letter)
    if run is None or run.finished is None:
        republish(deployment, letter)
        return "sent again"
    newest = deployment.ledger.newest_number(run.id.slug)
    if run.finished.outcome == "COMPLETE":
        how = f"{run.id} is COMPLETE: nothing to do"
    elif run.cancel:
        how = f"{run.id} was cancelled by {run.cancel.by}: nothing to do"
    elif newest > run.id.number:
        how = f"{run.id} was followed by {RunId(run.id.slug, newest)}: nothing to do"
    else:
        stage = stage_to_go_on_from(run)
        how = f"goes on as {retry_from(deployment.services.begin(), run.id, stage, {})} from {stage}"
    settle(deployment, letter, how)
    return how


def _ended_run(deployment: Deployment, letter: DeadLetter) -> Run | None:
    """The run of a stage event, if it has ended."""
    run_id = RunId.parse(letter.run) if _body(letter.data).get("kind") == "stage_requested" else None
    run = deployment.ledger.load(run_id) if run_id else None
    return run if run and run.finished else None


def republish(deployment: Deployment, letter: DeadLetter) -> None:
    """Send a message to its topic again, and mark it as dealt with.

    Safe to repeat: handlers decide from facts, so a message that comes once more finds the work done.
    """
    attributes = {key: value for key, value in letter.attributes.items() if not key.startswith("CloudPubSubDeadLetter")}
    deployment.topics.publish(deployment.settings.topic(letter.topic), letter.data, attributes)
    settle(deployment, letter, "replayed")


def settle(deployment: Deployment, letter: DeadLetter, how: str) -> None:
    """Mark a message as dealt with; the message itself stays. Safe to repeat: the first mark stands."""
    content = {"version": 1, "how": how, "at": deployment.services.now().isoformat()}
    deployment.services.store.create(f"{_FOLDER}{letter.id}{_SETTLED}", json.dumps(content).encode())
