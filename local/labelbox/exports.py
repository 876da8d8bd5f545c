"""Exports of a model run: a task, and a result that is fetched in chunks of whole rows, each behind a signed URL."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from local.labelbox.corpus import FILES_FOLDER, Corpus, ModelRun
from local.labelbox.errors import BadInput, NotFound
from local.labelbox.links import Links
from local.labelbox.store import Store, now_text
from local.labelbox.switches import SwitchBoard

_OPTIONAL_PARTS = {  # parameter -> the key of a row that it brings
    "includeAttachments": "attachments",
    "includeEmbeddings": "embeddings",
    "includeMetadata": "metadata_fields",
}


@dataclass(frozen=True)
class Chunk:
    """A piece of an export: byte and line ranges, both inclusive."""

    start: int
    end: int
    first_line: int
    last_line: int


class Exports:
    """Makes export tasks. A result is written once to a file under `folder` and shared by equal exports."""

    def __init__(self, corpus: Corpus, store: Store, board: SwitchBoard, links: Links, folder: Path) -> None:
        self._corpus = corpus
        self._store = store
        self._board = board
        self._links = links
        self._folder = folder
        self._writing = threading.Lock()
        self._cuts: dict[tuple[str, int], list[Chunk]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, run: ModelRun, name: str | None, params: Mapping[str, object]) -> str:
        """Start an export and answer its task id. It is COMPLETE at once, but for the switch export_delay_polls."""
        task_id = "cl" + uuid4().hex[:23]
        switches = self._board.now()
        bare = self._board.take_one("labels_appear_after_exports")
        spool = self._spool(run, params, bare=bare, fresh=bool(switches.expire_urls_s))
        body = {
            "name": name,
            "created_at": now_text(),
            "polls_left": switches.export_delay_polls,
            "spool": spool,
            "run": run.id,
            "chunk_bytes": switches.export_chunk_bytes,
        }
        self._store.keep_task(task_id, body)
        return task_id

    def look(self, task_id: str) -> dict[str, object]:
        """The task as `createdTasks` shows it; a look counts for export_delay_polls."""
        with self._store.transaction():
            body = self._task(task_id)
            left = int(str(body["polls_left"]))
            if left > 0:
                self._store.keep_task(task_id, {**body, "polls_left": left - 1})
        return {
            "id": task_id,
            "name": body["name"],
            "status": "IN_PROGRESS" if left else "COMPLETE",
            "completionPercentage": 0.0 if left else 100.0,
            "createdAt": body["created_at"],
            "updatedAt": now_text(),
            "result": None,
            "errors": None,
            "metadata": {},
            "type": "export-data-rows",
        }

    def header(self, task_id: str, stream: str) -> dict[str, int] | None:
        """Size in bytes and lines of a stream; None where it has nothing (errors always)."""
        chunks = self._chunks(task_id)
        if stream != "RESULT" or not chunks:
            return None
        return {"totalSize": chunks[-1].end + 1, "totalLines": chunks[-1].last_line + 1}

    def chunk_at(self, task_id: str, stream: str, offset: object) -> tuple[Chunk, str] | None:
        """The chunk that holds a byte offset, and its URL. Offsets are strings of digits (UInt64)."""
        if not isinstance(offset, str) or not offset.isdigit():
            raise BadInput(f'UInt64 cannot represent value: {offset!r} (a string of digits, like "0").')
        if stream != "RESULT":
            return None
        for number, chunk in enumerate(self._chunks(task_id)):
            if chunk.start <= int(offset) <= chunk.end:
                return chunk, self._links.signed(f"/signed/export/{task_id}/{number}")
        return None

    def content(self, task_id: str, number: int) -> tuple[Path, int, int]:
        """Where a chunk's bytes stand: file, first byte, length."""
        chunks = self._chunks(task_id)
        if not 0 <= number < len(chunks):
            raise NotFound("ExportFile", f"{task_id}/{number}")
        chunk = chunks[number]
        return self._path(str(self._task(task_id)["spool"])), chunk.start, chunk.end - chunk.start + 1

    def _task(self, task_id: str) -> dict[str, object]:
        body = self._store.task(task_id)
        if body is None or "spool" not in body:
            raise NotFound("Task", task_id)
        return body

    def _chunks(self, task_id: str) -> list[Chunk]:
        body = self._task(task_id)
        if int(str(body["polls_left"])) > 0:
            return []
        key = (str(body["spool"]), int(str(body["chunk_bytes"])))
        found = self._cuts.get(key)
        if found is None:
            lengths = json.loads(self._path(key[0]).with_suffix(".lengths.json").read_text())
            found = list(_cut(lengths, key[1]))
            self._cuts = {key: found}  # one export is fetched at a time, chunk by chunk
        return found

    def _path(self, spool: str) -> Path:
        return self._folder / f"{spool}.ndjson"

    def _spool(self, run: ModelRun, params: Mapping[str, object], *, bare: bool, fresh: bool) -> str:
        stat = run.source.export.stat()
        facts = [
            run.id,
            sorted(params.items()),
            bare,
            self._store.row_changes(run.id),
            stat.st_mtime_ns,
            self._links.base,
        ]
        spool = sha256(json.dumps([*facts, uuid4().hex if fresh else ""], default=str).encode()).hexdigest()[:32]
        with self._writing:  # equal exports at the same time wait for the one that writes
            if not self._path(spool).exists():
                self._write(spool, run, params, bare=bare)
        return spool

    def _write(self, spool: str, run: ModelRun, params: Mapping[str, object], *, bare: bool) -> None:
        splits, removed = self._store.splits(run.id), self._store.removed(run.id)
        lengths: list[int] = []
        partial = self._path(spool).with_suffix(".partial")
        with partial.open("wb") as out:
            for _, row in run.rows():
                data_row_id = str(_object(row["data_row"])["id"])
                if data_row_id not in removed:
                    line = _line(self._shown(run, row, params, splits.get(data_row_id), bare=bare))
                    lengths.append(len(line))
                    out.write(line)
        self._path(spool).with_suffix(".lengths.json").write_text(json.dumps(lengths))
        partial.rename(self._path(spool))  # last: a file of that name is whole

    def _shown(
        self, run: ModelRun, row: dict[str, Any], params: Mapping[str, object], split: str | None, *, bare: bool
    ) -> dict[str, Any]:
        data_row = dict(row["data_row"])
        data_row["row_data"] = self.row_data(run, str(data_row.get("row_data") or ""))
        if not params.get("includeDataRowDetails"):
            data_row.pop("details", None)
        model = row["experiments"][run.model_id]
        body = dict(model["runs"][run.id])
        if bare:
            body["labels"] = []
        if split is not None:
            body["split"] = split
        if not params.get("includeModelRunDetails"):
            body.pop("split", None)
            body.pop("run_data_row_id", None)
        if not params.get("includePredictions"):
            body.pop("predictions", None)
        hidden = {key for param, key in _OPTIONAL_PARTS.items() if not params.get(param)}
        shown = {key: value for key, value in row.items() if key not in hidden}
        shown["data_row"] = data_row
        shown["experiments"] = {run.model_id: {**model, "runs": {run.id: body}}}
        return shown

    def row_data(self, run: ModelRun, row_data: str) -> str:
        """A row's data as clients see it: relative files become URLs of this server, all else stays."""
        if not row_data.startswith(FILES_FOLDER):
            return row_data
        return self._links.file(f"/files/{run.source.name}/{row_data.removeprefix(FILES_FOLDER)}")


def _line(row: dict[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair stands only as an escape
        return json.dumps(row).encode() + b"\n"


def _cut(lengths: list[int], chunk_bytes: int) -> Iterator[Chunk]:
    start = end = line = first = 0
    for line, length in enumerate(lengths):
        if end > start and end + length - start > chunk_bytes:
            yield Chunk(start, end - 1, first, line - 1)
            start, first = end, line
        end += length
    if end > start:
        yield Chunk(start, end - 1, first, line)


def _object(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value
