"""The data set of one classification question: rows in, training file, manifest and report out. Memory stays flat.

Which classes are kept is known only when all rows were seen, so rows wait in a file on disk and are written after.
The same export gives the same bytes.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from jobkit.classification import (
    AnswerReader,
    Verdict,
    kept_classes,
    multiple_choice,
    nested_answers,
    single_choice,
)
from jobkit.dataset_files import Written, write_rows
from jobkit.dataset_report import NO_SPLIT, ClassEntry, DatasetReport, describe, hint_to_fill, none_in
from jobkit.duplicates import SplitDuplicates
from jobkit.errors import BadData
from jobkit.export import ExportRow
from jobkit.manifest import ManifestRow
from jobkit.ontology import Option, Question, display_names
from jobkit.splits import SPLITS, TRAINING
from jobkit.spool import Spool
from jobkit.storage import Storage

FEWEST_CLASSES = 2


@dataclass(frozen=True)
class ChoiceRules:
    """What the run's parameters ask. `minimum` counts labelled training rows of a class."""

    several_labels: str
    minimum: int
    strict: bool
    single: bool


class ChoiceDataset:
    """Collects the rows of one question and writes the data set; used in a `with` block, which frees its file."""

    def __init__(self, question: Question, options: Sequence[Option], rules: ChoiceRules) -> None:
        self._question = question
        self._rules = rules
        self._chosen = {option.feature_schema_id: option for option in options}
        self._names = display_names(question.options)
        self._reader = AnswerReader(question)
        self._counts: dict[str, Counter[str]] = {key: Counter() for key in self._chosen}
        self._not_chosen: Counter[str] = Counter()
        self._labelled_in: Counter[str] = Counter()
        self._duplicates = SplitDuplicates()
        self._spool = Spool()
        self._several = 0
        self._without_split = 0  # labelled rows
        self.report = DatasetReport("single" if rules.single else "multiple", ())

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
        judge = single_choice if self._rules.single else multiple_choice
        verdict = judge(row, self._reader, self._rules.several_labels)
        self._several += verdict.several
        labels, note = self._usable(verdict, split)
        self._without_split += note == NO_SPLIT
        if not note:
            self._labelled_in[split] += 1
            for option in labels:
                self._counts[option][split] += 1
        self._duplicates.add(content, split)
        nested = list(nested_answers(row)) if row.labels else []
        self._spool.add([row.data_row_id, row.global_key, content, split, labels, note, nested])

    def _usable(self, verdict: Verdict, split: str) -> tuple[list[str], str]:
        """The options to learn and judge by, or the note why the row is only predicted."""
        if not verdict.labelled:
            return [], verdict.reason or "unlabelled"
        if split not in SPLITS:
            return [], NO_SPLIT
        chosen = [option for option in verdict.options if option in self._chosen]
        for option in verdict.options:
            if option not in self._chosen:
                self._not_chosen[option] += 1
        if self._rules.single and not chosen:
            return [], "class_not_chosen"
        return chosen, ""

    def write(self, storage: Storage, folder: str, training_line: Callable[[ManifestRow], str | bytes]) -> Written:
        """Writes training.jsonl, manifest.jsonl and dataset_report.json; BadData when nothing can be learned of it."""
        kept = self._kept()
        written = write_rows(storage, folder, self._rows(kept), training_line, self._duplicates, self.report)
        self._note(kept)
        self.report.write(storage, written.dataset_report)
        return written

    def _kept(self) -> frozenset[str]:
        """The classes of the data set; the others are named in the report."""
        trained = [(key, counts[TRAINING]) for key, counts in self._counts.items()]
        kept, few = kept_classes(trained, self._rules.minimum)
        self.report.left_out = {self._names[key]: count for key, count in few.items()}
        if few and self._rules.strict:
            named = describe(self._by_name(few), [self._names[key] for key in few])
            raise BadData(
                f"Classes of '{self._question.name}' with fewer than {self._rules.minimum} training rows "
                f"(training/validation/test): {named}",
                "Label more rows, or set strict_classes to false to leave these classes out.",
            )
        empty = [split for split in SPLITS if not self._filled(split, kept)]
        if len(kept) < FEWEST_CLASSES or empty:
            raise BadData(self._refusal(empty), hint_to_fill(self._without_split))
        return frozenset(kept)

    def _filled(self, split: str, kept: Sequence[str]) -> bool:
        """Whether the split has rows to learn or judge by; without a tick they count as well, for a checklist."""
        if not self._rules.single:
            return self._labelled_in[split] > 0
        classes = kept if len(kept) >= FEWEST_CLASSES else self._counts  # too few are no sign of empty splits
        return any(self._counts[key][split] for key in classes)

    def _refusal(self, empty: Sequence[str]) -> str:
        need = f"{FEWEST_CLASSES} classes with {max(self._rules.minimum, 1)} training rows each"
        if empty:
            need += " and labelled rows in every split"
        missing = none_in(empty, self._without_split)
        names = sorted(self._counts, key=lambda key: -self._counts[key].total())
        counts = describe(self._by_name(self._counts), [self._names[key] for key in names]) or "no class"
        return f"'{self._question.name}' needs {need}{missing}. Training/validation/test: {counts}"

    def _by_name(self, keys: Sequence[str] | dict[str, Any]) -> dict[str, Counter[str]]:
        return {self._names[key]: self._counts[key] for key in keys}

    def _rows(self, kept: frozenset[str]) -> Iterator[ManifestRow]:
        """The waiting rows in the export's order, with the classes that were kept; fills the report's counts."""
        for data_row_id, global_key, content, split, labels, note, nested in self._spool.rows():
            names = tuple(self._names[option] for option in labels if option in kept)
            if self._rules.single and not note and not names:
                note = "class_left_out"
            if note:
                self.report.unlabelled.add(note, data_row_id)
            else:
                self.report.labelled += 1
                for name in names:
                    self.report.counts[name][split] += 1
            details = {"nested": nested} if nested else None
            yield ManifestRow(data_row_id, global_key, content, split, names, not note, note, details)

    def _note(self, kept: frozenset[str]) -> None:
        question = self._question
        self.report.classes = tuple(
            ClassEntry(
                self._names[key],
                key,
                option.name,
                question.feature_schema_id,
                question.kind,
                question.name,
                option.value,
            )
            for key, option in self._chosen.items()
            if key in kept
        )
        for entry in self.report.classes:
            counts = self.report.counts.get(entry.display_name) or Counter()
            gaps = [split for split in SPLITS if not counts[split]]
            if gaps:
                self.report.notes.append(f"'{entry.display_name}' has no row in {' and '.join(gaps)}")
        if self._several:
            self.report.notes.append(f"{self._several} rows had several labels (rule: {self._rules.several_labels})")
        for key, count in sorted(self._not_chosen.items()):
            self.report.left_out[self._names[key]] = count
        for name, count in sorted(self._reader.unknown.items()):
            self.report.notes.append(f"the answer '{name}' ({count}) is not in the ontology")
