"""Vertex's batch prediction files: the instances that go in, and the shards of predictions and errors that come out.

Format: gs://google-cloud-aiplatform/schema/predict/prediction/
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from jobkit.errors import BadConfiguration
from jobkit.json_lines import dumps, loads
from jobkit.storage import LineWriter, Storage

# AutoML's files, and those of models in containers: prediction.results-00000-of-00010, prediction.errors_stats-...
PREDICTIONS, ERRORS = ("predictions_", "prediction.results"), ("errors_", "prediction.errors")
ROUNDING = 1e-3  # by which a confidence may miss its range from 0 to 1
SHARD_ROWS = 1000
INVALID_ARGUMENT = 3  # google.rpc.Code


@dataclass(frozen=True)
class Instance:
    """One line of the instances file, kept as it came: the output repeats it."""

    body: dict[str, object]

    @property
    def uri(self) -> str:
        return str(self.body.get("content", ""))


def instances(lines: Iterable[str]) -> Iterator[Instance]:
    """The instances of a file. Raises BadConfiguration that names a line which is none."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            body = loads(line)
        except ValueError as error:
            raise BadConfiguration(f"Line {number} of the instances file is not JSON.") from error
        if not isinstance(body, dict) or not isinstance(body.get("content"), str):
            raise BadConfiguration(f"Line {number} of the instances file has no content.")
        yield Instance(body)


class _Shards:
    """Numbered files of at most SHARD_ROWS lines: predictions_00001.jsonl, predictions_00002.jsonl, ..."""

    def __init__(self, storage: Storage, folder_uri: str, kind: str) -> None:
        self._storage = storage
        self._prefix = f"{folder_uri.rstrip('/')}/{kind}_"
        self._stack = ExitStack()
        self._writer: LineWriter | None = None
        self._shard = 0
        self.rows = 0

    def write(self, line: dict[str, object]) -> None:
        if self._writer is None or self._writer.count >= SHARD_ROWS:
            self.close()
            self._shard += 1
            self._writer = self._stack.enter_context(
                self._storage.line_writer(f"{self._prefix}{self._shard:05d}.jsonl")
            )
        self._writer.write(dumps(line))
        self.rows += 1

    def close(self) -> None:
        """Uploads the open shard."""
        self._stack.close()
        self._writer = None


class BatchOutput:
    """Writes answers and failures as Vertex does. Use in a `with` block, whose good end uploads the last shards."""

    def __init__(self, storage: Storage, folder_uri: str) -> None:
        self._good = _Shards(storage, folder_uri, "predictions")
        self._bad = _Shards(storage, folder_uri, "errors")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._good.close()
            self._bad.close()

    @property
    def predicted(self) -> int:
        return self._good.rows

    @property
    def failed(self) -> int:
        return self._bad.rows

    def answer(self, instance: Instance, prediction: dict[str, object]) -> None:
        self._good.write({"instance": instance.body, "prediction": prediction})

    def failure(self, instance: Instance, reason: str) -> None:
        self._bad.write({"instance": instance.body, "error": {"code": INVALID_ARGUMENT, "message": reason}})


def column(prediction: Mapping[str, object], key: str) -> list[object]:
    """One of a prediction's parallel lists; empty where it is missing, as empty ones may be, or is none."""
    found = prediction.get(key)
    return found if isinstance(found, list) else []


def number_of(value: object) -> float | None:
    """A finite number, also one written in digits; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def confidence_of(value: object) -> float | None:
    """A confidence from 0 to 1; None for what is none."""
    sure = number_of(value)
    return min(max(sure, 0.0), 1.0) if sure is not None and -ROUNDING <= sure <= 1 + ROUNDING else None


def text_of(value: object) -> str:
    """As text that UTF-8 can carry: half a surrogate pair, which JSON can name, becomes "?"."""
    text = str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
