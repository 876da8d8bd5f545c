"""The lines of Vertex's import file for image classification (JSON lines), as the trainer reads them.

Format: gs://google-cloud-aiplatform/schema/dataset/ioformat/image_classification_{single,multi}_label_io_format_1.0.0.yaml
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jobkit.errors import BadData
from jobkit.json_lines import loads
from jobkit.splits import ML_USE, SPLITS, TRAINING


@dataclass(frozen=True)
class Example:
    """One picture with its classes. A line without ml_use is for training."""

    uri: str
    labels: tuple[str, ...]
    ml_use: str


def examples(lines: Iterable[str]) -> Iterator[Example]:
    """The examples of an import file, one at a time. Raises BadData that names the line."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _example(line, number)


def _example(line: str, number: int) -> Example:
    try:
        row = loads(line)
        uri = row["imageGcsUri"]
        annotations = row.get("classificationAnnotations")
        if annotations is None:
            annotations = [row["classificationAnnotation"]] if row.get("classificationAnnotation") else []
        labels = tuple(str(annotation["displayName"]) for annotation in annotations)
        ml_use = str(row.get("dataItemResourceLabels", {}).get(ML_USE, TRAINING))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(f"Line {number} of the training file is not an image classification line.") from error
    if not isinstance(uri, str) or not uri.startswith("gs://"):
        raise BadData(f"Line {number} of the training file has no gs:// uri.")
    if ml_use not in SPLITS:
        raise BadData(f"Line {number} of the training file has the ml_use {ml_use!r}; known are {', '.join(SPLITS)}.")
    return Example(uri, labels, ml_use)
