"""The training file of a text classifier, read: texts and their classes, by split."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from jobkit.json_lines import loads
from jobkit.splits import ML_USE, TRAINING, VALIDATION


@dataclass
class Examples:
    """Texts with their classes (numbers of `Corpus.classes`), one split."""

    texts: list[str] = field(default_factory=list)
    labels: list[tuple[int, ...]] = field(default_factory=list)


@dataclass
class Corpus:
    """The training file, read."""

    classes: tuple[str, ...]
    single: bool
    splits: dict[str, Examples]


def read_corpus(lines: Iterable[str]) -> Corpus:
    """Reads Vertex's text JSONL; test rows are passed over unread."""
    rows: list[tuple[str, str, tuple[str, ...]]] = []
    names: dict[str, None] = {}
    single = True
    for line in lines:
        if not line:
            continue
        body = loads(line)
        split = body["dataItemResourceLabels"][ML_USE]
        if split not in (TRAINING, VALIDATION):
            continue
        if "classificationAnnotations" in body:
            single = False
            labels = tuple(one["displayName"] for one in body["classificationAnnotations"])
        else:
            labels = (body["classificationAnnotation"]["displayName"],)
        names.update(dict.fromkeys(labels))
        rows.append((split, body["textContent"], labels))
    classes = tuple(sorted(names))
    number = {name: index for index, name in enumerate(classes)}
    splits = {TRAINING: Examples(), VALIDATION: Examples()}
    for split, text, labels in rows:
        splits[split].texts.append(text)
        splits[split].labels.append(tuple(number[name] for name in labels))
    return Corpus(classes, single, splits)
