"""dataset_report.json: what became of every row of the export, and which classes the data set has."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobkit.errors import shorten
from jobkit.splits import SPLITS
from jobkit.storage import Storage

VERSION = 1
NO_SPLIT = "no_split"  # why a labelled row is only predicted
MAX_IDS = 100  # ids kept a reason; the count is always whole


class Tally:
    """Counts rows by reason and keeps the first ids of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._ids: dict[str, list[str]] = {}

    def add(self, reason: str, row_id: str) -> None:
        """Notes one row."""
        self.counts[reason] += 1
        ids = self._ids.setdefault(reason, [])
        if len(ids) < MAX_IDS:
            ids.append(row_id)

    def to_json(self) -> dict[str, Any]:
        """reason -> {count, ids}, in the order of reasons."""
        return {reason: {"count": self.counts[reason], "ids": self._ids[reason]} for reason in sorted(self._ids)}

    def sentence(self) -> str:
        """ "12 unlabelled, 3 unassigned", most frequent first."""
        return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in self.counts.most_common())


@dataclass(frozen=True)
class ClassEntry:
    """One class. `display_name` is its name in the training file and in predictions, `name` the ontology's, `question`
    the feature schema id of its question (or "") and `question_name` its name, `value` Labelbox's slug of an answer."""

    display_name: str
    feature_schema_id: str
    name: str
    question: str = ""
    kind: str = ""
    question_name: str = ""
    value: str = ""


@dataclass
class DatasetReport:
    """What ETL says to people and to the inference job."""

    task: str
    classes: tuple[ClassEntry, ...]
    rows: int = 0
    labelled: int = 0
    # display name -> split -> labelled rows
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    skipped: Tally = field(default_factory=Tally)  # neither trained on nor predicted
    unlabelled: Tally = field(default_factory=Tally)  # predicted, not evaluated
    left_out: dict[str, int] = field(default_factory=dict)  # classes under the minimum, and those not asked for
    duplicates: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    entities: Mapping[str, Any] = field(default_factory=dict)  # of texts: counts of entities, and those not used

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; the same data gives the same bytes."""
        return {
            "version": VERSION,
            "task": self.task,
            "classes": [{**vars(entry), "counts": self._split_counts(entry.display_name)} for entry in self.classes],
            "rows": {"seen": self.rows, "labelled": self.labelled, "skipped": self.skipped.counts.total()},
            "skipped": self.skipped.to_json(),
            "unlabelled": self.unlabelled.to_json(),
            "left_out_classes": dict(sorted(self.left_out.items())),
            "duplicates_across_splits": dict(self.duplicates),
            "notes": list(self.notes),
            **({"entities": dict(self.entities)} if self.entities else {}),
        }

    def _split_counts(self, display_name: str) -> dict[str, int]:
        counts = self.counts.get(display_name) or Counter()
        return {split: counts[split] for split in SPLITS}

    def write(self, storage: Storage, uri: str) -> None:
        """Writes dataset_report.json."""
        storage.write_text(uri, json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n")

    def metadata(self) -> dict[str, str]:
        """The short form that Labelbox shows."""
        told = {"dataset": f"{self.labelled} of {self.rows} rows labelled, {len(self.classes)} classes"}
        if self.skipped.counts:
            told["skipped_rows"] = shorten(self.skipped.sentence())
        if self.unlabelled.counts:
            told["not_evaluated_rows"] = shorten(self.unlabelled.sentence())
        if self.left_out:
            parts = (f"{name} ({count})" for name, count in sorted(self.left_out.items()))
            told["left_out_classes"] = shorten(", ".join(parts))
        if self.duplicates.get("count"):
            told["duplicates_across_splits"] = str(self.duplicates["count"])
        unused = {reason: item["count"] for reason, item in self.entities.get("skipped", {}).items()}
        if unused:
            parts = (f"{count} {reason.replace('_', ' ')}" for reason, count in unused.items())
            told["skipped_entities"] = shorten(", ".join(parts))
        return told


def class_entries(report: Mapping[str, Any]) -> tuple[ClassEntry, ...]:
    """The classes of a dataset_report.json that was read back."""
    return tuple(
        ClassEntry(
            display_name=item["display_name"],
            feature_schema_id=item["feature_schema_id"],
            name=item["name"],
            question=item.get("question", ""),
            kind=item.get("kind", ""),
            question_name=item.get("question_name", ""),
            value=item.get("value", ""),
        )
        for item in report["classes"]
    )


def describe(counts: Mapping[str, Mapping[str, int]], names: Iterable[str]) -> str:
    """ "billing 12/3/2, login 9/0/1": labelled rows in training/validation/test, for error sentences."""
    return ", ".join(
        f"{name} {'/'.join(str(counts.get(name, {}).get(split, 0)) for split in SPLITS)}" for name in names
    )


def none_in(empty: Sequence[str], without_split: int) -> str:
    """Which splits have no labelled row, for error sentences, and how many rows are in none."""
    if not empty:
        return ""
    astray = f" ({without_split} labelled rows are in no split)" if without_split else ""
    return f"; none in {' and '.join(empty)}{astray}"


def hint_to_fill(without_split: int) -> str:
    """What to do about too few rows in the splits."""
    if without_split:
        return "Assign rows to the splits of the model run, or set make_split to true."
    return "Label more rows or move rows between the splits of the model run."
