"""A batch prediction's output, whatever its number of shards: which answer and which error belongs to which image.

The folder is read by prefix, since neither the number of files nor the width of their numbers is promised, and a line
is taken for what it says, in whichever file it stands. An image is known by its instance's `content`, never by a file
name. The answers wait on disk, so memory does not grow with them.
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

from jobkit.batch_files import ERRORS, PREDICTIONS, column, confidence_of, text_of
from jobkit.class_names import ClassNames
from jobkit.errors import shorten
from jobkit.json_lines import loads
from jobkit.progress import Progress
from jobkit.storage import Storage


@dataclass
class ReadFigures:
    """What the shards held. An image that failed in one line and was predicted in another is no error."""

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

    def read(self, storage: Storage, uri: str) -> None:
        """Takes in one file, or every shard below a folder (whose name must end with a slash unless no object has it).
        A folder without shards is a valid result: nothing was predicted."""
        progress = Progress("Prediction lines read")
        if not uri.endswith("/") and storage.exists(uri):
            self.figures.prediction_files += 1
            self._take(storage.read_lines(uri, damaged=True), progress)
        else:
            for found in storage.list(uri.rstrip("/") + "/"):
                name = found.rpartition("/")[2]
                if name.startswith((*PREDICTIONS, *ERRORS)):
                    self.figures.prediction_files += name.startswith(PREDICTIONS)
                    self.figures.error_files += name.startswith(ERRORS)
                    self._take(storage.read_lines(found, damaged=True), progress)
        self._count_errors()
        progress.finish()

    def _take(self, lines: Iterable[str], progress: Progress) -> None:
        self._table.execute("BEGIN")
        for line in lines:
            if line.strip():
                progress.step()
                if not self._take_line(_object(line)):
                    self.figures.unreadable_lines += 1
        self._table.execute("COMMIT")

    def _take_line(self, body: dict[str, object]) -> bool:
        """Keeps one prediction or one error; of an image that comes twice, the first. False for another shape."""
        uri, prediction, error = _uri(body), body.get("prediction"), body.get("error")
        if uri is None:
            return False
        if isinstance(prediction, dict) and not error:
            added = self._table.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (uri, json.dumps(prediction)))
            self.figures.predictions += added.rowcount
            self.figures.repeated += 1 - added.rowcount
            return True
        error = body.get("status") if error is None else error
        if error is None:
            return False
        message = error.get("message", "") if isinstance(error, dict) else error
        self._table.execute("INSERT OR IGNORE INTO errors VALUES (?, ?)", (uri, shorten(text_of(message))))
        return True

    def _count_errors(self) -> None:
        query = "SELECT message, COUNT(*) FROM errors WHERE uri NOT IN (SELECT uri FROM answers) GROUP BY message"
        self.figures.errors, self.figures.reasons = 0, Counter()
        for message, count in self._table.execute(query):
            self.figures.errors += count
            self.figures.reasons[shorten(message, 120)] += count

    def answers(self, uri: str) -> dict[str, float] | None:
        """Class -> confidence as the model said, possibly none above its threshold; None without a prediction."""
        prediction = self._prediction(uri)
        if prediction is None:
            return None
        answers: dict[str, float] = {}
        pairs = zip(column(prediction, "displayNames"), column(prediction, "confidences"), strict=False)
        for name, confidence in pairs:
            sure = confidence_of(confidence)
            if sure is not None:
                known = self._find(text_of(name))
                answers[known] = max(sure, answers.get(known, 0.0))
        return answers

    def _prediction(self, uri: str) -> dict[str, object] | None:
        found = self._table.execute("SELECT prediction FROM answers WHERE uri = ?", (text_of(uri),)).fetchone()
        prediction: dict[str, object] | None = loads(found[0]) if found else None
        return prediction

    def error(self, uri: str) -> str | None:
        """Why Vertex did not predict the image, in its words."""
        found = self._table.execute("SELECT message FROM errors WHERE uri = ?", (uri,)).fetchone()
        return str(found[0]) if found else None


def _object(line: str) -> dict[str, object]:
    try:
        body = loads(line)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _uri(body: dict[str, object]) -> str | None:
    """The image's uri of a line: `instance` is the instance as it was sent, in some outputs only its content."""
    instance = body.get("instance")
    content = instance.get("content") if isinstance(instance, dict) else instance
    return text_of(content) if isinstance(content, str) else None
