"""The model runs that can be trained: those of the samples, or of one's own export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from local.console.annotations import of_export, schema_names
from local.console.data_rows import SPLITS, DataRow, of_export_row, split_of
from local.console.paging import Page, page_of
from local.labelbox.corpus import Corpus, ModelRun, Source, load

PAGE_SIZE = 24


@dataclass
class Overview:
    """What one reading of an export tells: the split of each row, the classes that occur, names of schema ids."""

    splits: list[str] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    labelled: int = 0


class DataSet:
    """One model run of an export. The export is read through once, when its page is first opened; its rows are not
    held but read again from their places in the file."""

    def __init__(self, run: ModelRun, model_types: Sequence[str] = ()) -> None:
        self.run = run
        self.model_types = tuple(model_types)  # those that this data suits

    @property
    def id(self) -> str:
        """The model run's id."""
        return self.run.id

    @property
    def size(self) -> int:
        """How many data rows there are."""
        return len(self.run.offsets)

    @property
    def is_images(self) -> bool:
        """Whether the rows are images, as far as the export says."""
        return self.run.media_type == "IMAGE"

    @cached_property
    def overview(self) -> Overview:
        """What one reading tells."""
        found = Overview()
        for _, row in self.run.rows():
            body = self._body(row)
            found.splits.append(split_of(body))
            labels = body.get("labels") or []
            found.labelled += bool(labels)
            for label in labels:
                annotations = label.get("annotations") or {}
                found.names.update(schema_names(annotations))
                found.classes.update(of_export(annotations).names)
        return found

    @property
    def split_counts(self) -> list[tuple[str, int]]:
        """Rows by split, in the order of the splits; those without a row are left out."""
        counts = Counter(self.overview.splits)
        return [(split, counts[split]) for split in SPLITS if counts[split]]

    @property
    def classes(self) -> list[str]:
        """Every class that was labelled, by name."""
        return sorted(self.overview.classes)

    def page(self, number: str | None, split: str = "") -> Page[DataRow]:
        """One page of the rows, or of those of one split."""
        places = [place for place, of in enumerate(self.overview.splits) if split in ("", of)]
        chosen = page_of(places, number, PAGE_SIZE)
        items = tuple(self.row(place) for place in chosen.items)
        return Page(items, chosen.number, chosen.count, chosen.total, chosen.size)

    def first_rows(self, most: int) -> list[DataRow]:
        """The first rows that somebody labelled, to show what the data is."""
        found: list[DataRow] = []
        for _, row in self.run.rows():
            shown = self._shown(row)
            if shown.label is not None and (shown.label.names or not self.is_images):
                found.append(shown)
                if len(found) == most:
                    break
        return found

    def row(self, place: int) -> DataRow:
        """The row at a place of the export."""
        return self._shown(next(self.run.rows(place))[1])

    def rows(self) -> Iterator[DataRow]:
        """Every row, one at a time."""
        return (self._shown(row) for _, row in self.run.rows())

    def _shown(self, row: Mapping[str, Any]) -> DataRow:
        return of_export_row(row, self._body(row), self.run.source.name, self.run.source.folder)

    def _body(self, row: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = row["experiments"][self.run.model_id]["runs"][self.run.id]
        return body


class DataSets:
    """All of them, in the order in which they were named."""

    def __init__(self, sources: Sequence[Source], trains: Mapping[str, str]) -> None:
        """`trains`: the model run that suits each model type. Raises BadCorpus for what is no export."""
        self.corpus: Corpus = load(sources)
        of_run: dict[str, list[str]] = {}
        for model_type, run in trains.items():
            of_run.setdefault(run, []).append(model_type)
        self._by_id = {run.id: DataSet(run, of_run.get(run.id, ())) for run in self.corpus.runs.values()}

    def __iter__(self) -> Iterator[DataSet]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, model_run_id: str) -> DataSet | None:
        """One of them, or None."""
        return self._by_id.get(model_run_id)

    def source(self, name: str) -> Source | None:
        """The export whose files are asked for."""
        return next((source for source in self.corpus.sources if source.name == name), None)
