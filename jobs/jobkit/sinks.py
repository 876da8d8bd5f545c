"""Bringing predictions to Labelbox, where a refusal is an expected outcome that the run reports and survives.

The newest SDK's own tests say that Labelbox refuses predictions on model runs ("MEA prediction import has been
deprecated"), without saying so anywhere else. So the rows always stay in the bucket, and what happened to them is an
outcome, never an exception: a training that was paid for does not fail because of its upload.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Any

import labelbox
import requests
from labelbox.schema.annotation_import import MALPredictionImport, MEAPredictionImport
from lbox.exceptions import ResourceNotFoundError  # type: ignore[import-untyped]

from jobkit.arguments import Arguments
from jobkit.errors import BadConfiguration, JobError, shorten
from jobkit.json_lines import loads
from jobkit.labelbox import patiently
from jobkit.labelbox_rows import Row, without_confidence
from jobkit.progress import Progress, say

AUTO = "auto"
METADATA = "metadata"
PROJECT = "project"
SINKS = (AUTO, METADATA)
SINKS_WITH_PROJECT = (*SINKS, PROJECT)

ACCEPTED = "accepted"  # every row
PARTLY = "partly"  # some rows were refused one by one
REFUSED = "refused"  # Labelbox takes no predictions on model runs
FAILED = "failed"  # Labelbox was down, or an import ended badly
NOT_ASKED = "not asked"  # the run chose another sink, or there was nothing to send

CHUNK_ROWS = 1000  # thousands of rows in one import time out (labelbox-python issue 1021)
IMPORT_DEADLINE_S = 900.0
PATIENCE_S = 120.0
STATUS_TIMEOUT_S = 60.0
MAX_REASONS = 5
_DEPRECATED = ("MEA prediction import has been deprecated", "FAILED_PRECONDITION")


@dataclass(frozen=True)
class SinkOutcome:
    """What became of the rows: how many Labelbox took, how many it did not, and why (its own words, most frequent
    first)."""

    state: str
    sent: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = ()
    place: str = ""

    @property
    def sentence(self) -> str:
        """One sentence for Labelbox's metadata and the report."""
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        sentences = {
            ACCEPTED: f"Labelbox took all {self.sent} rows{self.place}",
            PARTLY: f"Labelbox took {self.sent} rows{self.place} and refused {self.refused}{why}",
            REFUSED: "Labelbox accepts no predictions on model runs; they are kept in the bucket",
            FAILED: f"The upload to Labelbox did not end well after {self.sent} rows{why}; all are kept in the bucket",
            NOT_ASKED: "Nothing was uploaded; predictions are kept in the bucket",
        }
        return shorten(sentences[self.state])


@dataclass(frozen=True)
class SinkChoice:
    """Where a run's predictions go; `project` is the id of the project that takes them as pre-labels."""

    kind: str
    project: str = ""


def chosen_sink(arguments: Arguments) -> SinkChoice:
    """What --sink and --project say; BadConfiguration where they do not fit together."""
    kind, project = arguments.one_of("sink", SINKS_WITH_PROJECT), arguments.text("project").strip()
    if (kind == PROJECT) != bool(project):
        raise BadConfiguration(
            "The sink 'project' needs the id of a project, and a project needs the sink 'project'.",
            "Set both parameters, sink and project, or none of them.",
        )
    return SinkChoice(kind, project)


class ModelRunSink:
    """Uploads rows to a model run in chunks of a fixed name, so that a repeated upload finds what it already sent."""

    place = ""  # said behind the number of rows

    def __init__(
        self,
        client: labelbox.Client,
        model_run_id: str,
        name: str,
        *,
        chunk_rows: int = CHUNK_ROWS,
        deadline_s: float = IMPORT_DEADLINE_S,
        poll_s: float = 2.0,
    ) -> None:
        """`name` must be the upload's own (the attempt's), for Labelbox knows an import by its name."""
        self._client = client
        self._model_run_id = model_run_id
        self._name = name
        self._chunk_rows = chunk_rows
        self._deadline_s = deadline_s
        self._poll_s = poll_s

    def send(self, rows: Iterable[Row]) -> SinkOutcome:
        """Sends all rows; never raises for anything that Labelbox does."""
        sent = refused = 0
        reasons: Counter[str] = Counter()
        progress = Progress("Uploading predictions")
        try:
            for number, chunk in enumerate(_chunks(self._wanted(rows), self._chunk_rows)):
                bad = self._send_chunk(f"{self._name}-{number:05d}", chunk)
                refused += bad.total()
                sent += len(chunk) - bad.total()
                reasons += bad
                progress.step(len(chunk))
        except Exception as error:  # an answer of a shape that nobody expected must not cost the training either
            sentence = error.sentence if isinstance(error, JobError) else f"unexpected {type(error).__name__}"
            if any(words in sentence for words in _DEPRECATED):
                say("Labelbox accepts no predictions on model runs", severity="WARNING", reason=sentence)
                return SinkOutcome(REFUSED, sent, refused, (sentence,))
            say("The upload did not end well", severity="ERROR", reason=sentence)
            return SinkOutcome(FAILED, sent, refused, (sentence, *_most_frequent(reasons)))
        if not sent and not refused:
            return SinkOutcome(NOT_ASKED)
        return SinkOutcome(PARTLY if refused else ACCEPTED, sent, refused, _most_frequent(reasons), self.place)

    def _wanted(self, rows: Iterable[Row]) -> Iterable[Row]:
        """The rows that this sink takes, in its form."""
        return rows

    @cached_property
    def _run(self) -> labelbox.ModelRun:
        return patiently(lambda: self._client.get_model_run(self._model_run_id), PATIENCE_S)

    def _create(self, name: str, chunk: list[Row]) -> dict[str, Any]:
        """Makes an import; its state."""
        return _state_of(self._run.add_predictions(name=name, predictions=chunk))

    def _send_chunk(self, name: str, chunk: list[Row]) -> Counter[str]:
        """Sends one chunk and waits for it; the reasons of the rows that were refused: all of them where Labelbox ended
        the import badly, which is no reason to keep the other chunks from it.

        Safe to repeat because an import of this name is looked for first. Always the SDK's list form: its path form
        sends an empty file when the first try fails.
        """

        def create_or_adopt() -> dict[str, Any]:
            found = self._find(name)
            return self._create(name, chunk) if found is None else found

        state = self._wait(name, patiently(create_or_adopt, PATIENCE_S))
        if state["state"] != "FINISHED":
            say("Labelbox ended an import badly", severity="WARNING", name=name, state=state["state"])
            return Counter({f"Labelbox ended the import as {state['state']}": len(chunk)})
        return self._row_errors(state)

    def _find(self, name: str) -> dict[str, Any] | None:
        """The import's state by its name; None where Labelbox has none (it says so by null or by an error)."""
        try:
            return self._look(name)
        except ResourceNotFoundError:
            return None

    def _look(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = MEAPredictionImport.from_name(
            self._client, self._model_run_id, name, as_json=True
        )
        return found

    def _wait(self, name: str, state: dict[str, Any]) -> dict[str, Any]:
        """The import's last state, with a deadline of our own: the SDK's wait has none."""
        deadline = time.monotonic() + self._deadline_s
        while state["state"] == "RUNNING":
            if time.monotonic() > deadline:
                raise JobError(f"Labelbox did not finish the import '{name}' within {self._deadline_s:.0f} s.")
            time.sleep(self._poll_s)
            found = patiently(partial(self._find, name), PATIENCE_S)
            state = state if found is None else found
        return state

    def _row_errors(self, state: dict[str, Any]) -> Counter[str]:
        """Why rows were refused, counted. Read line by line: a text's U+2028 is no line end (the SDK's reader thinks
        so)."""
        reasons: Counter[str] = Counter()
        url = state.get("statusFileUrl")
        if not url:
            return reasons

        def fetch() -> bytes:
            answer = requests.get(url, timeout=STATUS_TIMEOUT_S)
            if answer.status_code != requests.codes.ok:
                raise requests.ConnectionError(f"an import's statuses answered {answer.status_code}")
            return answer.content

        for line in patiently(fetch, PATIENCE_S).split(b"\n"):
            if line.strip():
                status = loads(line)
                if status.get("status") == "FAILURE":
                    reasons[_reason(status.get("errors"))] += 1
        return reasons


class ProjectSink(ModelRunSink):
    """Uploads predictions to a project as pre-labels, for people to start from. A project takes neither metrics nor
    confidences, and only the data rows that are in it: the others are refused one by one, with Labelbox's reason."""

    def __init__(self, client: labelbox.Client, project: str, name: str, **more: Any) -> None:
        super().__init__(client, "", name, **more)
        self._project = project
        self.place = f" as pre-labels of project {project}"

    def _wanted(self, rows: Iterable[Row]) -> Iterable[Row]:
        return (without_confidence(row) for row in rows if "metricName" not in row)

    def _create(self, name: str, chunk: list[Row]) -> dict[str, Any]:
        return _state_of(MALPredictionImport.create_from_objects(self._client, self._project, name, chunk))

    def _look(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = MALPredictionImport.from_name(self._client, self._project, name, as_json=True)
        return found


def _state_of(created: MEAPredictionImport | MALPredictionImport) -> dict[str, Any]:
    return {"state": created.state.value, "statusFileUrl": created.status_file_url}


def _reason(errors: object) -> str:
    first = errors[0] if isinstance(errors, list) and errors else {}
    text = first.get("message") or first.get("name") if isinstance(first, dict) else None
    return shorten(str(text or "no reason given"), 80)


def _most_frequent(reasons: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{text} ({count})" for text, count in reasons.most_common(MAX_REASONS))


def _chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    source = iter(rows)
    while chunk := list(islice(source, size)):
        yield chunk


def bring(
    sink: str | SinkChoice,
    rows: Iterable[Row],
    model_run_id: str,
    name: str,
    make_client: Callable[[], labelbox.Client],
) -> SinkOutcome:
    """Brings the rows to Labelbox as `sink` says: `auto` tries the model run, `project` makes pre-labels, `metadata`
    sends no row."""
    choice = sink if isinstance(sink, SinkChoice) else SinkChoice(sink)
    if choice.kind == METADATA:
        return SinkOutcome(NOT_ASKED)
    try:
        client = make_client()
    except JobError as error:
        return SinkOutcome(FAILED, reasons=(error.sentence,))
    if choice.kind == PROJECT:
        return ProjectSink(client, choice.project, name).send(rows)
    return ModelRunSink(client, model_run_id, name).send(rows)
