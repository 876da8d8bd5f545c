"""A batch prediction's output, whatever its number of shards: which answer and which error belongs to which image.

The folder is read by prefix, since neither the number of files nor the width of their numbers is promised. An image is
known by its instance's `content`, never by a file name. The answers wait on disk, so memory does not grow with them.
Format: gs://google-cloud-aiplatform/schema/predict/prediction/image_classification_1.0.0.yaml
"""

import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from jobkit.class_names import ClassNames
from jobkit.errors import shorten
from jobkit.progress import Progress
from jobkit.storage import Storage

PREDICTIONS, ERRORS = "predictions_", "errors_"
MAX_REASONS = 20


@dataclass
class ReadFigures:
    """What the shards held."""

    prediction_files: int = 0
    error_files: int = 0
    predictions: int = 0
    errors: int = 0
    unreadable_lines: int = 0
    repeated: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # messages of the errors


class ImagePredictions:
    """Answers by image uri. Use as a context manager: the file on disk goes with it."""

    def __init__(self, names: ClassNames | None = None) -> None:
        """`names` finds the data set's classes in what the model calls them; without it names stay as they came."""
        self._find = names.find if names is not None else str
        self._folder = tempfile.TemporaryDirectory()
        self._table = sqlite3.connect(Path(self._folder.name) / "predictions.sqlite", isolation_level=None)
        self._table.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE answers (uri TEXT PRIMARY KEY, prediction TEXT NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE errors (uri TEXT PRIMARY KEY, message TEXT NOT NULL) WITHOUT ROWID;"
        )
        self.figures = ReadFigures()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.close()
        self._folder.cleanup()

    def read(self, storage: Storage, folder_uri: str) -> None:
        """Takes in every shard under the folder. A folder without shards is a valid result: nothing was predicted."""
        progress = Progress("Prediction lines read")
        for uri in storage.list(folder_uri.rstrip("/") + "/"):
            name = uri.rpartition("/")[2]
            if name.startswith(PREDICTIONS):
                self.figures.prediction_files += 1
                self._take(storage.read_lines(uri), progress, errors=False)
            elif name.startswith(ERRORS):
                self.figures.error_files += 1
                self._take(storage.read_lines(uri), progress, errors=True)
        progress.finish()

    def _take(self, lines: Iterable[str], progress: Progress, *, errors: bool) -> None:
        self._table.execute("BEGIN")
        for line in lines:
            if line.strip():
                progress.step()
                if not (self._take_error(line) if errors else self._take_prediction(line)):
                    self.figures.unreadable_lines += 1
        self._table.execute("COMMIT")

    def _take_prediction(self, line: str) -> bool:
        """Keeps one prediction; of an image that comes twice, the first. False for a line of another shape."""
        body = _object(line)
        uri, prediction = _uri(body), body.get("prediction")
        if uri is None or not isinstance(prediction, dict):
            return False
        added = self._table.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (uri, json.dumps(prediction)))
        self.figures.predictions += added.rowcount
        self.figures.repeated += 1 - added.rowcount
        return True

    def _take_error(self, line: str) -> bool:
        body = _object(line)
        uri, error = _uri(body), body.get("error")
        if uri is None or error is None:
            return False
        message = error.get("message", "") if isinstance(error, dict) else error
        added = self._table.execute("INSERT OR IGNORE INTO errors VALUES (?, ?)", (uri, shorten(str(message))))
        self.figures.errors += added.rowcount
        if len(self.figures.reasons) < MAX_REASONS or message in self.figures.reasons:
            self.figures.reasons[shorten(str(message), 120)] += added.rowcount
        return True

    def answers(self, uri: str) -> dict[str, float] | None:
        """Class -> confidence as the model said, possibly none above its threshold; None without a prediction."""
        found = self._table.execute("SELECT prediction FROM answers WHERE uri = ?", (uri,)).fetchone()
        if found is None:
            return None
        prediction = json.loads(found[0])
        pairs = zip(prediction.get("displayNames") or (), prediction.get("confidences") or (), strict=False)
        answers: dict[str, float] = {}
        for name, confidence in pairs:
            sure = _confidence(confidence)
            if sure is not None:
                known = self._find(str(name))
                answers[known] = max(sure, answers.get(known, 0.0))
        return answers

    def error(self, uri: str) -> str | None:
        """Why Vertex did not predict the image, in its words."""
        found = self._table.execute("SELECT message FROM errors WHERE uri = ?", (uri,)).fetchone()
        return str(found[0]) if found else None


def _confidence(value: object) -> float | None:
    """A confidence, also one written in digits; None for what is none."""
    try:
        sure = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return sure if 0.0 <= sure <= 1.0 else None


def _object(line: str) -> dict[str, object]:
    try:
        body = json.loads(line)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _uri(body: dict[str, object]) -> str | None:
    """The image's uri of a line: `instance` is the instance as it was sent, in some outputs only its content."""
    instance = body.get("instance")
    content = instance.get("content") if isinstance(instance, dict) else instance
    return content if isinstance(content, str) else None
