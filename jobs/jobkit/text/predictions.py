"""AutoML's batch predictions of texts, read back: which answer belongs to which data row.

Format: gs://google-cloud-aiplatform/schema/predict/prediction/text_extraction_1.0.0.yaml and
text_classification_1.0.0.yaml. int64 values come as strings in JSON; empty arrays may be missing. A text is
known by its instance: by a `key`, by the name of the file that `content` points to, or by the text itself. The answers
wait on disk, so memory does not grow with them.
"""

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Self

from jobkit.batch_files import ERRORS, PREDICTIONS, text_of
from jobkit.json_lines import loads
from jobkit.manifest import ManifestRow
from jobkit.storage import Storage


class TextPredictions:
    """Predictions by data row. Use as a context manager: the file on disk goes with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._table = sqlite3.connect(Path(self._folder.name) / "predictions.sqlite", isolation_level=None)
        self._table.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE answers (name TEXT PRIMARY KEY, prediction TEXT NOT NULL) WITHOUT ROWID;"
        )
        self.counts = dict.fromkeys(("predictions", "errors", "unreadable_lines", "repeated"), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._folder.cleanup()

    def read(self, storage: Storage, uri: str) -> None:
        """Takes in one file, or every shard below a folder (whose name must end with a slash unless no object has it).
        A folder without shards is a valid result: nothing was predicted."""
        if not uri.endswith("/") and storage.exists(uri):
            self.take(storage.read_lines(uri, damaged=True))
            return
        for found in storage.list(uri.rstrip("/") + "/"):
            if found.rpartition("/")[2].startswith((*PREDICTIONS, *ERRORS)):
                self.take(storage.read_lines(found, damaged=True))

    def take(self, lines: Iterable[str]) -> None:
        """Takes in the lines of one file; of a text that comes twice, the first counts."""
        self._table.execute("BEGIN")
        for line in lines:
            if line.strip():
                self._take(line)
        self._table.execute("COMMIT")

    def _take(self, line: str) -> None:
        body = _object(line)
        name = _name(body.get("instance"))
        prediction = body.get("prediction")
        failed = body.get("error") or (None if isinstance(prediction, dict) else body.get("status"))
        if name is not None and failed:
            self.counts["errors"] += 1
        elif name is None or not isinstance(prediction, dict):
            self.counts["unreadable_lines"] += 1
        else:
            added = self._table.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (name, json.dumps(prediction)))
            self.counts["predictions"] += added.rowcount
            self.counts["repeated"] += 1 - added.rowcount

    def of(self, row: ManifestRow) -> dict[str, Any] | None:
        """The row's prediction as AutoML wrote it; None where there is none."""
        for name in (row.data_row_id, row.global_key, _text_name(row.content)):
            if name:
                found = self._table.execute("SELECT prediction FROM answers WHERE name = ?", (name,)).fetchone()
                if found is not None:
                    body: dict[str, Any] = loads(found[0])
                    return body
        return None


def _object(line: str) -> dict[str, Any]:
    try:
        body = loads(line.removeprefix("\ufeff"))  # a byte order mark
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _name(instance: object) -> str | None:
    """What an instance is known by: its key, its file's name without folder and ending, or its text."""
    if isinstance(instance, dict):
        if isinstance(key := instance.get("key"), str) and key:
            return text_of(key)
        instance = instance.get("content", instance.get("textContent"))
    if not isinstance(instance, str):
        return None
    return text_of(PurePosixPath(instance).stem) if instance.startswith("gs://") else _text_name(instance)


def _text_name(text: str) -> str:
    return "text " + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
