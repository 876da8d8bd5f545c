"""Imports into data sets: they run in threads, and a restart takes them up again."""

import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.cloud import aiplatform_v1
from google.rpc import status_pb2

from local.vertex.automl_rules import BOXES_SCHEMA
from local.vertex.bucket import Buckets, ObjectFacts
from local.vertex.image_header import HEAD_BYTES, image_header
from local.vertex.import_lines import BadLine, Item, parse_line
from local.vertex.items import Items, size_problem
from local.vertex.operations import Operations, generic_metadata
from local.vertex.refusal import INTERNAL, INVALID_ARGUMENT, NOT_FOUND, JobFailed
from local.vertex.store import Table

log = logging.getLogger(__name__)

LARGEST_TRAINING_FILE_BYTES = 30 * 1024 * 1024
FORMAT_HEAD_BYTES = 32
HEADS_AT_ONCE = 500  # images looked at before their heads are dropped, to bound memory


@dataclass(frozen=True)
class _Line:
    """An import line that was read well, with its place for messages."""

    place: str
    item: Item


class Imports:
    """Reads import files into data sets."""

    def __init__(self, datasets: Table[Any], items: Items, operations: Operations, buckets: Buckets) -> None:
        self._datasets = datasets
        self._items = items
        self._operations = operations
        self._buckets = buckets
        self._threads: list[threading.Thread] = []

    def begin(self, operation: str, request: Any) -> None:
        """Do an import in a thread, which ends the operation."""
        thread = threading.Thread(target=self._import, args=(operation, request), name="import", daemon=True)
        self._threads = [*(other for other in self._threads if other.is_alive()), thread]
        thread.start()

    def resume(self) -> None:
        """Take up the imports that a restart interrupted. Safe because merging the same items again changes nothing."""
        for operation in self._operations.table.listed():
            noted = self._operations.table.notes(operation.name).get("import")
            if noted and not operation.done:
                self.begin(operation.name, aiplatform_v1.ImportDataRequest.from_json(noted))

    def wait(self, timeout_s: float) -> None:
        """Wait for imports under way, at a stop; one that takes longer is taken up at the next start."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _import(self, operation: str, request: Any) -> None:
        """Import, and end the operation whatever happens."""
        created = datetime.now(UTC)
        failures: list[Any] = []
        try:
            imported = sum(self._import_config(request.name, config, failures) for config in request.import_configs)
            if not imported:
                first = failures[0].message if failures else "the files hold no line"
                raise JobFailed(INVALID_ARGUMENT, f"Nothing was imported. First problem: {first}")
        except JobFailed as failure:
            self._operations.fail(operation, _metadata(created, failures), failure)
        except Exception as error:  # storage, or a fault of ours: it must end the operation all the same
            log.exception("import %s", operation)
            message = f"Internal error occurred in the local stand-in: {error}"
            self._operations.fail(operation, _metadata(created, failures), JobFailed(INTERNAL, message))
        else:
            self._operations.finish(operation, _metadata(created, failures), aiplatform_v1.ImportDataResponse())

    def _import_config(self, dataset: str, config: Any, failures: list[Any]) -> int:
        """Import the files of one config; return how many images. Raises JobFailed."""
        lines = list(self._read(config, failures))
        before = self._items.of(dataset)
        images = len({line.item.uri for line in lines} | {item.uri for _, item in before})
        boxes = sum(len(line.item.boxes) for line in lines) + sum(len(item.boxes) for _, item in before)
        problem = size_problem(images, boxes)
        if problem:
            raise JobFailed(INVALID_ARGUMENT, problem)
        head_bytes = HEAD_BYTES if config.import_schema_uri == BOXES_SCHEMA else FORMAT_HEAD_BYTES
        found: list[tuple[str, Item]] = []
        for start in range(0, len(lines), HEADS_AT_ONCE):
            found += self._checked(lines[start : start + HEADS_AT_ONCE], head_bytes, failures)
        self._items.merge(dataset, found)
        self._datasets.change(dataset, lambda resource: self._count(resource, dataset))
        return len(found)

    def _read(self, config: Any, failures: list[Any]) -> Iterator[_Line]:
        common = dict(config.data_item_labels)
        for uri in config.gcs_source.uris:
            text = self._buckets.read_text(uri)
            if text is None:
                raise JobFailed(NOT_FOUND, f"The import file {uri} is not found.")
            for number, line in enumerate(text.split("\n"), 1):
                if not line.strip():
                    continue
                try:
                    item = parse_line(line, config.import_schema_uri)
                except BadLine as error:
                    failures.append(_failure(f"{uri} line {number}: {error}"))
                    continue
                item = Item(item.uri, item.labels, item.boxes, item.ml_use, {**common, **item.item_labels})
                yield _Line(f"{uri} line {number}", item)

    def _checked(self, lines: list[_Line], head_bytes: int, failures: list[Any]) -> Iterable[tuple[str, Item]]:
        facts = self._buckets.facts_of(sorted({line.item.uri for line in lines}), head_bytes)
        for line in lines:
            image = facts[line.item.uri]
            problem = _image_problem(image)
            if image is None or problem:
                failures.append(_failure(f"{line.place}: {line.item.uri}: {problem}"))
                continue
            header = image_header(image.head)
            size = header.size if header else None
            boxes = tuple(box for box in line.item.boxes if box.is_large_enough(size))
            item = line.item
            yield image.digest, Item(item.uri, item.labels, boxes, item.ml_use, item.item_labels)

    def _count(self, resource: Any, dataset: str) -> None:
        resource.data_item_count = len(self._items.of(dataset))
        resource.update_time = datetime.now(UTC)


def _image_problem(image: ObjectFacts | None) -> str | None:
    if image is None:
        return "the image is not found"
    if image.size_bytes > LARGEST_TRAINING_FILE_BYTES:
        return f"the image is larger than 30 MB ({image.size_bytes:,} bytes)"
    if image_header(image.head) is None:
        return "the file is not an image of a supported format (JPEG, PNG, GIF, BMP, ICO, WEBP, TIFF)"
    return None


def _failure(message: str) -> Any:
    return status_pb2.Status(code=INVALID_ARGUMENT, message=message)


def _metadata(created: datetime, failures: list[Any]) -> Any:
    return aiplatform_v1.ImportDataOperationMetadata(generic_metadata=generic_metadata(created, failures))
