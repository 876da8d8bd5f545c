"""The data items of a data set: identical images are one item, and limits hold for the whole."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from local.vertex.automl_rules import CLASSIFICATION, DETECTION, ML_USE, ML_USES, NOTHING, filter_label
from local.vertex.import_lines import Item
from local.vertex.store import Store

MOST_IMAGES = 150_000
MOST_BOXES = 1_000_000
MOST_LABELS = 1_000
FEWEST_IMAGES_PER_LABEL = 10
DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)


class Items:
    """Data items on record, by data set and hash of the bytes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def merge(self, dataset: str, found: Iterable[tuple[str, Item]]) -> None:
        """Add items (hash, item) in one step; those with the same bytes become one. Safe to repeat."""
        with self._store.transaction() as run:
            for digest, item in found:
                query = "SELECT item FROM data_items WHERE dataset = ? AND digest = ?"
                row = run(query, (dataset, digest)).fetchone()
                kept = merged(Item.from_json(row[0]), item, digest) if row else item
                run("REPLACE INTO data_items VALUES (?, ?, ?)", (dataset, digest, kept.to_json()))

    def of(self, dataset: str) -> list[tuple[str, Item]]:
        """Return a data set's items with their hashes, in the order of the hashes."""
        with self._store.transaction() as run:
            query = "SELECT digest, item FROM data_items WHERE dataset = ? ORDER BY digest"
            rows = run(query, (dataset,)).fetchall()
        return [(digest, Item.from_json(text)) for digest, text in rows]

    def delete(self, dataset: str) -> None:
        """Delete a data set's items."""
        with self._store.transaction() as run:
            run("DELETE FROM data_items WHERE dataset = ?", (dataset,))


def merged(first: Item, second: Item, digest: str) -> Item:
    """Return the one item of two lines with identical bytes: annotations combined, ml_use random when they differ.

    "Random" is drawn from the hash, so that importing again changes nothing.
    """
    ml_use = first.ml_use or second.ml_use
    if second.ml_use and second.ml_use != ml_use:
        ml_use = ML_USES[int(_drawn(digest) * len(ML_USES))]
    return replace(
        first,
        labels=tuple(dict.fromkeys((*first.labels, *second.labels))),
        boxes=tuple(dict.fromkeys((*first.boxes, *second.boxes))),
        ml_use=ml_use,
        item_labels={**first.item_labels, **second.item_labels},
    )


def size_problem(images: int, boxes: int) -> str | None:
    """Return why a data set of this size is refused, or None."""
    if images > MOST_IMAGES:
        return f"A data set may hold at most {MOST_IMAGES:,} images, this one would hold {images:,}."
    if boxes > MOST_BOXES:
        return f"A data set may hold at most {MOST_BOXES:,} bounding boxes, this one would hold {boxes:,}."
    return None


def training_problem(items: Sequence[Item], placed: Sequence[Item]) -> str | None:
    """Return why AutoML cannot train on a data set of these items, of which `placed` take part; or None."""
    images_by_label = Counter(label for item in items for label in {*item.labels, *(box.label for box in item.boxes)})
    if not 1 <= len(images_by_label) <= MOST_LABELS:
        return f"The data set has {len(images_by_label)} labels; AutoML image takes 1 to {MOST_LABELS:,}."
    few = sorted(label for label, images in images_by_label.items() if images < FEWEST_IMAGES_PER_LABEL)
    if few:
        return f"Each label needs at least {FEWEST_IMAGES_PER_LABEL} images; too few for: {', '.join(few[:10])}."
    if not any(item.ml_use == "training" for item in placed):
        return "No data item is in the training split."
    return None


def split_by_filters(item: Item, filters: Sequence[str]) -> Item | None:
    """Return the item in the split whose filter accepts it; None when none does (it is not used)."""
    for ml_use, text in zip(ML_USES, filters, strict=True):
        wanted = None if text == NOTHING else filter_label(text)
        if wanted and ({**item.item_labels, ML_USE: item.ml_use}).get(wanted[0]) == wanted[1]:
            return replace(item, ml_use=ml_use)
    return None


def split_by_fractions(item: Item, digest: str, fractions: Sequence[float]) -> Item | None:
    """Return the item in its own split, or in one drawn by its hash; None for the part that is left over."""
    if item.ml_use:
        return item
    drawn, reached = _drawn(digest), 0.0
    for ml_use, fraction in zip(ML_USES, fractions, strict=True):
        reached += fraction
        if drawn < reached:
            return replace(item, ml_use=ml_use)
    return None


def _drawn(digest: str) -> float:
    """Return a number of 0 to 1 that looks random and is always the same for the same bytes."""
    return int.from_bytes(hashlib.sha256(digest.encode()).digest()[:6]) / 2**48


def training_line(item: Item, objective: str, multi_label: bool) -> str:
    """Return the item as a line of Vertex's import format; of several labels a single-label training sees the first."""
    line: dict[str, object] = {"imageGcsUri": item.uri}
    if objective == CLASSIFICATION and multi_label:
        line["classificationAnnotations"] = [{"displayName": label} for label in item.labels]
    elif objective == CLASSIFICATION:
        line["classificationAnnotation"] = {"displayName": item.labels[0]}
    elif objective == DETECTION:
        line["boundingBoxAnnotations"] = [
            {"displayName": box.label, "xMin": box.x_min, "yMin": box.y_min, "xMax": box.x_max, "yMax": box.y_max}
            for box in item.boxes
        ]
    line["dataItemResourceLabels"] = {**item.item_labels, ML_USE: item.ml_use}
    return json.dumps(line)
