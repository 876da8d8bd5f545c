"""The data set of named entities: rows in, Vertex's text extraction JSONL, manifest and report out. Memory stays flat.

Which classes are kept, and what offsets count in texts that do not tell, is known only when all rows were seen; so rows
wait in a file on disk and are written after. The same export gives the same bytes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from jobkit.classification import kept_classes
from jobkit.dataset_files import Written, write_rows
from jobkit.dataset_report import NO_SPLIT, ClassEntry, DatasetReport, Tally, describe, hint_to_fill, none_in
from jobkit.duplicates import SplitDuplicates
from jobkit.errors import BadData
from jobkit.export import ExportRow
from jobkit.json_lines import dumps
from jobkit.manifest import ManifestRow
from jobkit.ner.labels import EntityReader, RowEntities
from jobkit.ner.spans import CODE_POINTS, UTF16, Entity
from jobkit.ontology import Tool, display_names
from jobkit.splits import ML_USE, SPLITS, TRAINING
from jobkit.spool import Spool
from jobkit.storage import Storage

TASK = "entities"


@dataclass(frozen=True)
class EntityRules:
    """What the run's parameters ask. `minimum` counts labelled training rows that hold a class."""

    several_labels: str
    minimum: int
    strict: bool


def training_line(row: ManifestRow) -> bytes:
    """Vertex's import line of a text with entities; `endOffset` is exclusive, offsets are characters (code points)."""
    entities = (row.details or {}).get("entities", ())
    annotations = [
        {"startOffset": one["start"], "endOffset": one["end"], "displayName": one["name"]} for one in entities
    ]
    body = {
        "textContent": row.content,
        "textSegmentAnnotations": annotations,
        "dataItemResourceLabels": {ML_USE: row.split},
    }
    return dumps(body)


def entities_of(row: ManifestRow) -> tuple[Entity, ...] | None:
    """A manifest row's true entities; None where nobody labelled it."""
    if not row.labelled:
        return None
    return tuple(Entity(one["start"], one["end"], one["name"]) for one in (row.details or {}).get("entities", ()))


def unit_of_row(row: ManifestRow) -> str:
    """What Labelbox's offsets count in this row's text."""
    return str((row.details or {}).get("unit", CODE_POINTS))


class EntityDataset:
    """Collects rows and writes the data set; used in a `with` block, which frees its file."""

    def __init__(self, tools: Sequence[Tool], chosen: Sequence[Tool], rules: EntityRules) -> None:
        self._rules = rules
        self._chosen = {tool.feature_schema_id: tool for tool in chosen}
        self._names = display_names(tools)
        self._reader = EntityReader(tools, self._chosen, rules.several_labels)
        self._rows_with: dict[str, Counter[str]] = {key: Counter() for key in self._chosen}
        self._entities: dict[str, Counter[str]] = {key: Counter() for key in self._chosen}
        self._labelled_in: Counter[str] = Counter()
        self._units: Counter[str] = Counter()
        self._without_split = 0  # labelled rows
        self._duplicates = SplitDuplicates()
        self._spool = Spool()
        self.skipped_entities = Tally()
        self.report = DatasetReport(TASK, ())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def skip(self, row: ExportRow, reason: str) -> None:
        """Notes a row that has no content to predict."""
        self.report.rows += 1
        self.report.skipped.add(reason, row.data_row_id or "?")

    def add(self, row: ExportRow, content: str, split: str) -> None:
        """Takes a row whose content can be predicted."""
        self.report.rows += 1
        read = self._reader.read(row, content)
        for reason in read.skipped:
            self.skipped_entities.add(reason, row.data_row_id)
        note = read.note or ("" if split in SPLITS else NO_SPLIT)
        self._without_split += note == NO_SPLIT
        if read.unit:
            self._units[read.unit] += 1
        if not note:
            self._count(read, split)
        self._duplicates.add(content, split)
        found = [] if note else [(one.start, one.end, one.name) for one in read.entities]
        unit = read.unit if read.wide else CODE_POINTS
        self._spool.add([row.data_row_id, row.global_key, content, split, found, note, unit, read.nested])

    def _count(self, read: RowEntities, split: str) -> None:
        self._labelled_in[split] += 1
        keys = [entity.name for entity in read.entities]
        for key in keys:
            self._entities[key][split] += 1
        for key in set(keys):
            self._rows_with[key][split] += 1

    def write(self, storage: Storage, folder: str) -> Written:
        """Writes training.jsonl, manifest.jsonl and dataset_report.json; BadData when nothing can be learned of it."""
        kept = self._kept()
        written = write_rows(storage, folder, self._rows(kept), training_line, self._duplicates, self.report)
        self._note(kept)
        self.report.write(storage, written.dataset_report)
        return written

    def _kept(self) -> frozenset[str]:
        """The classes of the data set; the others are named in the report. One is enough."""
        kept, few = kept_classes(
            [(key, counts[TRAINING]) for key, counts in self._rows_with.items()], self._rules.minimum
        )
        self.report.left_out = {self._names[key]: self._rows_with[key][TRAINING] for key in few}
        if few and self._rules.strict:
            named = describe(self._by_name(few), [self._names[key] for key in few])
            raise BadData(
                f"Entities in fewer than {self._rules.minimum} training rows (training/validation/test): {named}",
                "Label more rows, or set strict_classes to false to leave these classes out.",
            )
        empty = [split for split in SPLITS if not self._labelled_in[split]]
        if not kept or empty:
            raise BadData(self._refusal(empty), hint_to_fill(self._without_split))
        return frozenset(kept)

    def _refusal(self, empty: Sequence[str]) -> str:
        need = f"1 class in {max(self._rules.minimum, 1)} training rows"
        if empty:
            need += " and labelled rows in every split"
        missing = none_in(empty, self._without_split)
        bad = self.skipped_entities.sentence()
        skipped = f" ({bad} entities skipped)" if bad else ""
        names = sorted(self._rows_with, key=lambda key: -self._rows_with[key].total())
        counts = describe(self._by_name(names), [self._names[key] for key in names]) or "no class"
        return f"The entities need {need}{missing}{skipped}. Rows in training/validation/test: {counts}"

    def _by_name(self, keys: Sequence[str] | Mapping[str, Any]) -> dict[str, Counter[str]]:
        return {self._names[key]: self._rows_with[key] for key in keys}

    @property
    def unit(self) -> str:
        """What offsets count where a text does not tell: what most of the texts that do tell say."""
        return UTF16 if self._units[UTF16] > self._units[CODE_POINTS] else CODE_POINTS

    def _rows(self, kept: frozenset[str]) -> Iterator[ManifestRow]:
        """The waiting rows in the export's order, with the classes that were kept; fills the report's counts."""
        common = self.unit
        for data_row_id, global_key, content, split, found, note, unit, nested in self._spool.rows():
            entities = [
                {"start": start, "end": end, "name": self._names[key]} for start, end, key in found if key in kept
            ]
            names = tuple(sorted({self._names[key] for _, _, key in found if key in kept}))
            if note:
                self.report.unlabelled.add(note, data_row_id)
            else:
                self.report.labelled += 1
                for name in names:
                    self.report.counts[name][split] += 1
            details: dict[str, Any] = {"entities": entities} if entities else {}
            if (unit or common) != CODE_POINTS:
                details["unit"] = unit or common
            if nested:
                details["nested"] = nested
            yield ManifestRow(data_row_id, global_key, content, split, names, not note, note, details or None)

    def _note(self, kept: frozenset[str]) -> None:
        report, reader = self.report, self._reader
        report.classes = tuple(
            ClassEntry(self._names[key], key, tool.name, kind=tool.kind)
            for key, tool in self._chosen.items()
            if key in kept
        )
        for entry in report.classes:
            gaps = [split for split in SPLITS if not report.counts.get(entry.display_name, Counter())[split]]
            if gaps:
                report.notes.append(f"'{entry.display_name}' is in no row of {' and '.join(gaps)}")
        if reader.several:
            report.notes.append(f"{reader.several} rows had several labels (rule: {self._rules.several_labels})")
        for key, count in sorted(reader.not_chosen.items()):
            report.left_out[self._names[key]] = count
        for name, count in sorted(reader.unknown.items()):
            report.notes.append(f"the entity class '{name}' ({count}) is not in the ontology")
        report.entities = {
            "counts": {
                self._names[key]: {split: counts[split] for split in SPLITS}
                for key, counts in self._entities.items()
                if key in kept
            },
            "skipped": self.skipped_entities.to_json(),
            "offset_unit": self.unit,
        }
