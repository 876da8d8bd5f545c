"""Labelbox as the jobs need it: the real SDK's client, the streamed export, the ontology and the splits.

The SDK carries every request; what it leaves out is added here: retries of 429 and of chunk downloads, deadlines, and
errors that a user can act on. Its own buffered stream copies the whole export to /tmp before the first row, leaves it
there when a reader stops, and never retries a chunk, so the chunks are asked for one by one (same query) instead.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import labelbox
import requests
from google.api_core import exceptions as google_errors
from labelbox.schema.export_task import ExportTask, StreamType
from lbox import exceptions as kinds  # type: ignore[import-untyped]

from jobkit.errors import BadConfiguration, BadData, JobError, PermissionRefused, Transient, shorten
from jobkit.export import ExportRow, parse_line
from jobkit.ontology import Ontology, parse_ontology
from jobkit.progress import say
from jobkit.secrets import read_secret
from jobkit.splits import parse_split

ENDPOINT = "https://api.labelbox.com/graphql"
EXPORT_DEADLINE_S = 7200.0
PATIENCE_S = 300.0  # how long one request may be tried again
CHUNK_TIMEOUT_S = 60.0
LABELS_WAIT_S = 180.0  # labels attached to a run were seen in its export up to so much later
LABELS_PAUSE_S = 5.0
PAGE = 100

T = TypeVar("T")

_CHUNK_QUERY = (
    "query GetExportFileFromOffsetPyApi($where: WhereUniqueIdInput, $streamType: TaskStreamType!, $offset: UInt64!)"
    "{task(where: $where){exportFileFromOffset(streamType: $streamType, offset: $offset)"
    "{offsets {start end} lines {start end} file}}}"
)
_GROUPS_QUERY = (
    "query modelRunPyApi($modelRunId: ID!, $from : String, $first: Int){"
    "annotationGroups(where: {modelRunId: {id: $modelRunId}}, after: $from, first: $first)"
    "{nodes{dataSplit dataRow{id}},pageInfo{endCursor}}}"
)
_SOME_LABEL = re.compile(rb'"labels"\s*:\s*\[\s*\{')


def client() -> labelbox.Client:
    """The SDK's client for LABELBOX_ENDPOINT, with the key from LABELBOX_API_KEY or Secret Manager."""
    key = os.environ.get("LABELBOX_API_KEY") or read_secret(os.environ.get("LABELBOX_API_KEY_SECRET", ""))
    endpoint = os.environ.get("LABELBOX_ENDPOINT") or ENDPOINT
    return patiently(lambda: labelbox.Client(api_key=key, endpoint=endpoint))


def patiently(operation: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Does a request that is safe to repeat, again and again while Labelbox is down or busy (the SDK gives up on 429
    at once and on 5xx after 120 s); its errors come out as ours."""
    deadline = time.monotonic() + patience_s
    pause_s = 1.0
    while True:
        try:
            return operation()
        except Exception as error:  # sorted out by translate(); what is not Labelbox's is raised again unchanged
            translated = translate(error)
            if translated is None:
                raise
            if not isinstance(translated, Transient) or time.monotonic() + pause_s > deadline:
                raise translated from error
        say("Labelbox is busy or down; trying again", severity="WARNING", pause_s=pause_s)
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 30.0)


def translate(error: Exception) -> JobError | None:
    """Our error for one of the SDK's; None for an error that does not come from talking to Labelbox."""
    text = shorten(str(getattr(error, "message", "") or error), 160)
    if isinstance(error, kinds.AuthenticationError | kinds.AuthorizationError):
        return PermissionRefused("Labelbox refused the API key.", "Put a valid key into the secret.")
    if isinstance(error, kinds.ResourceNotFoundError):
        hint = "Is the API key of the workspace that holds the model run?"
        return BadConfiguration("Labelbox does not know the model run (or what belongs to it).", hint)
    down = (kinds.ApiLimitError, kinds.NetworkError, kinds.TimeoutError, kinds.InternalServerError)
    if isinstance(error, down) or _is_busy(error, text):
        return Transient(f"Labelbox is busy or down: {text}")
    outside = (google_errors.RetryError, google_errors.ServerError, requests.ConnectionError, requests.Timeout)
    if isinstance(error, outside):
        return Transient(f"Labelbox did not answer: {type(error).__name__}")
    if isinstance(error, kinds.LabelboxError):
        return JobError(f"Labelbox answered with an error: {text}")
    return None


def _is_busy(error: Exception, text: str) -> bool:
    """429 in its other clothes: a plain LabelboxError, or an answer that is not JSON (a proxy's page)."""
    if not isinstance(error, kinds.LabelboxError):
        return False
    return "429" in text or "Failed to parse response as JSON" in text


def ontology(client: labelbox.Client, model_run_id: str) -> Ontology:
    """The ontology of the model that the run belongs to."""
    run = patiently(lambda: client.get_model_run(model_run_id))
    model = patiently(lambda: client.get_model(run.model_id))
    found = patiently(lambda: client.get_ontology(model.ontology_id))
    return parse_ontology(str(found.name), found.normalized)


def export_rows(client: labelbox.Client, model_run_id: str) -> Iterator[ExportRow]:
    """The model run's rows, streamed; memory holds one chunk (about 10 MB) at a time.

    Labels reach the export a little after they were attached to the run: an export without any label is made again,
    for at most LABELS_WAIT_S; after that it is passed on as it is.
    """
    deadline = time.monotonic() + LABELS_WAIT_S
    while True:
        task = _finished_export(client, model_run_id)
        if time.monotonic() + LABELS_PAUSE_S > deadline or _has_a_label(client, task, model_run_id):
            break
        say("The export has no label yet; exporting again", pause_s=LABELS_PAUSE_S)
        time.sleep(LABELS_PAUSE_S)
    for line in _lines(_chunks(client, task)):
        if line.strip():
            yield parse_line(line, model_run_id)


def split_map(client: labelbox.Client, model_run_id: str) -> dict[str, str]:
    """Data row id -> split, from the run's annotation groups: for exports whose rows do not say it."""
    splits: dict[str, str] = {}
    cursor: str | None = None
    while True:
        variables = {"modelRunId": model_run_id, "from": cursor, "first": PAGE}
        page = patiently(partial(client.execute, _GROUPS_QUERY, variables))["annotationGroups"]
        for node in page["nodes"]:
            split = parse_split(node.get("dataSplit"))
            if split:
                splits[node["dataRow"]["id"]] = split
        following = page["pageInfo"]["endCursor"]
        if not page["nodes"] or following is None or following == cursor:
            return splits
        cursor = following


def _finished_export(client: labelbox.Client, model_run_id: str) -> ExportTask:
    run = patiently(lambda: client.get_model_run(model_run_id))
    params = {"model_run_details": True, "data_row_details": True, "metadata_fields": True}
    task = patiently(lambda: run.export(task_name=f"export-{model_run_id}", params=params))
    deadline = time.monotonic() + EXPORT_DEADLINE_S
    while task.status == "IN_PROGRESS":  # the SDK's wait returns silently on a time-out, so it is asked in slices
        if time.monotonic() > deadline:
            raise Transient(f"Labelbox did not finish the export within {EXPORT_DEADLINE_S / 3600:.0f} hours.")
        patiently(lambda: task.wait_till_done(timeout_seconds=60))
    if task.status != "COMPLETE":
        raise Transient(f"Labelbox ended the export as {task.status}.", "Start the training again.")
    return task


def _chunks(client: labelbox.Client, task: ExportTask) -> Iterator[bytes]:
    """The export's bytes, one chunk after the other; each has its own signed URL."""
    total = patiently(lambda: task.get_total_file_size(StreamType.RESULT)) or 0
    offset = 0
    while offset < total:
        body, last = _chunk(client, task.uid, offset)
        yield body
        offset = last + 1


def _chunk(client: labelbox.Client, task_id: str, offset: int) -> tuple[bytes, int]:
    """One chunk and the offset of its last byte. A failed download asks for a fresh URL, for the old may be expired."""
    variables = {"where": {"id": task_id}, "streamType": StreamType.RESULT.value, "offset": str(offset)}

    def fetch() -> tuple[bytes, int]:
        info: dict[str, Any] = client.execute(_CHUNK_QUERY, variables)["task"]["exportFileFromOffset"]
        answer = requests.get(info["file"], timeout=CHUNK_TIMEOUT_S)
        if answer.status_code != requests.codes.ok:
            raise requests.ConnectionError(f"an export chunk answered {answer.status_code}")
        last = int(info["offsets"]["end"])
        if len(answer.content) != last - offset + 1:
            raise requests.ConnectionError("an export chunk came short")
        return answer.content, last

    return patiently(fetch)


def _has_a_label(client: labelbox.Client, task: ExportTask, model_run_id: str) -> bool:
    """Whether any row has a label of this run (those of other runs stand beside): reads until the first that has."""
    lines = _lines(_chunks(client, task))
    return any(_SOME_LABEL.search(line) and _is_labelled(parse_line(line, model_run_id)) for line in lines)


def _is_labelled(row: ExportRow) -> bool:
    return bool(row.labels or row.problem)  # labels that cannot be read are there as well


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of the joined chunks, split on line feeds only; a line may cross the border of chunks."""
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        yield from lines
    if rest:
        yield rest


def require_rows(count: int, model_run_id: str) -> None:
    """BadData when the model run's export held nothing at all."""
    if count == 0:
        raise BadData(f"The model run {model_run_id} has no data rows.", "Add labelled data rows to the model run.")
