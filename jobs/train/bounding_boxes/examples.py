"""The training file's lines: pictures with their boxes, in parts of the sides."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobkit.errors import BadData
from jobkit.json_lines import loads
from jobkit.splits import ML_USE, TRAINING, VALIDATION
from jobkit.storage import Storage

Corners = NDArray[np.float64]  # (n, 4): left, top, right, bottom


@dataclass(frozen=True)
class Example:
    """One picture; without a box it shows nothing that is to be found."""

    uri: str
    corners: Corners
    names: tuple[str, ...]
    ml_use: str


def examples(lines: Iterable[str]) -> Iterator[Example]:
    """Reads lines of Vertex's import format for boxes. Raises BadData that names a line which is none."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            body = loads(line)
            annotations = body.get("boundingBoxAnnotations") or []
            edges = [[float(entry[name]) for name in ("xMin", "yMin", "xMax", "yMax")] for entry in annotations]
            yield Example(
                uri=str(body["imageGcsUri"]),
                corners=np.clip(np.array(edges, dtype=np.float64).reshape(-1, 4), 0.0, 1.0),
                names=tuple(str(entry["displayName"]) for entry in annotations),
                ml_use=str(body.get("dataItemResourceLabels", {}).get(ML_USE, TRAINING)),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadData(f"Line {number} of the training file is no picture with boxes.") from error


def taught(storage: Storage, training_file: str) -> tuple[list[Example], list[Example], tuple[str, ...]]:
    """(training, validation, classes). Raises BadData when nothing can be learned."""
    every = list(examples(storage.read_lines(training_file)))
    training = [example for example in every if example.ml_use == TRAINING]
    validation = [example for example in every if example.ml_use == VALIDATION]
    counts = Counter(name for example in training for name in example.names)
    if not counts:
        raise BadData("The training split has no box.", "Draw boxes, or move rows into the training split.")
    return training, validation, tuple(sorted(counts))
