"""ETL of a text classification question: export in, Vertex's text JSONL, manifest and report out."""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol

import labelbox

from jobkit.arguments import Arguments
from jobkit.choice_dataset import ChoiceDataset, ChoiceRules
from jobkit.classification import POLICIES, comma_list
from jobkit.duplicates import REPEATED, SeenRows
from jobkit.ending import Ending, Result
from jobkit.export import ExportRow
from jobkit.fetch import FetchRules, in_order
from jobkit.json_lines import dumps
from jobkit.labelbox import client as new_client
from jobkit.labelbox import export_rows, ontology, require_rows, split_map
from jobkit.manifest import ManifestRow
from jobkit.ontology import CHECKLIST, DROPDOWN, RADIO, choose_options, choose_question
from jobkit.progress import Progress
from jobkit.renewal import FreshUrls
from jobkit.splits import ML_USE, UNASSIGNED, hash_split
from jobkit.storage import Storage
from jobkit.text.contents import MAX_BYTES, TextReader, buckets_from_environment

REQUIRED = ("model-run-id", "output-uri")
OPTIONAL = {
    "question": "",
    "classes": "",
    "several-labels": "majority",
    "minimum-examples": "10",
    "strict-classes": "false",
    "make-split": "false",
}


class SplitFinder:
    """The split of each row: as the export says, else as the run's annotation groups say, else (when asked) by hash."""

    def __init__(self, load_groups: Callable[[], dict[str, str]], make_split: bool) -> None:
        self._load_groups = load_groups
        self._make_split = make_split

    @cached_property
    def _groups(self) -> dict[str, str]:
        return self._load_groups()  # only for exports that do not say the split: one request for 100 rows

    def split(self, row: ExportRow) -> str:
        """One of the three splits, or UNASSIGNED."""
        split = row.split or self._groups.get(row.data_row_id) or UNASSIGNED
        if split == UNASSIGNED and self._make_split:
            return hash_split(row.global_key or row.data_row_id)
        return split


def single_line(row: ManifestRow) -> bytes:
    """Vertex's import line of a text with one class."""
    return dumps(
        {
            "textContent": row.content,
            "classificationAnnotation": {"displayName": row.labels[0]},
            "dataItemResourceLabels": {ML_USE: row.split},
        }
    )


def multiple_line(row: ManifestRow) -> bytes:
    """Vertex's import line of a text with any number of classes."""
    return dumps(
        {
            "textContent": row.content,
            "classificationAnnotations": [{"displayName": name} for name in row.labels],
            "dataItemResourceLabels": {ML_USE: row.split},
        }
    )


def announced(rows: Iterator[ExportRow], ending: Ending) -> Iterator[ExportRow]:
    """Raises the status to PREPARING_DATA with the first row: the export is ready then."""
    for row in rows:
        ending.phase("PREPARING_DATA")
        yield row


class Dataset(Protocol):
    """What takes rows."""

    def add(self, row: ExportRow, content: str, split: str) -> None:
        """Takes a row whose content can be predicted."""

    def skip(self, row: ExportRow, reason: str) -> None:
        """Notes a row that is not used."""


def collect(rows: Iterable[ExportRow], dataset: Dataset, reader: TextReader, splits: SplitFinder) -> None:
    """Puts every row into the data set, in the export's order; of a data row that comes twice, the first."""
    progress, seen = Progress("Preparing rows"), SeenRows()
    with _seldom_collecting_garbage():
        for row, content in in_order(reader.read, rows, reader.quick):
            progress.step()
            if row.data_row_id and seen.again(row.data_row_id):
                dataset.skip(row, REPEATED)
            elif content.reason:
                dataset.skip(row, content.reason)
            else:
                dataset.add(row, content.text, splits.split(row))
    progress.finish()


@contextmanager
def _seldom_collecting_garbage() -> Iterator[None]:
    """Each row makes hundreds of small objects and no cycle: looking for cycles every 700 takes a twentieth of the
    time. Every 10,000, what is found late is at most some megabytes."""
    before = gc.get_threshold()
    gc.set_threshold(max(10_000, before[0]), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def reader_of(model_run_id: str, storage: Storage) -> Iterator[TextReader]:
    """A reader of the run's texts, by the deployment's rules. Signed URLs that expire meanwhile are renewed, through a
    client of its own: the job's is busy with the export in another thread."""
    with FreshUrls(lambda: export_rows(new_client(), model_run_id)) as fresh:
        yield TextReader(storage, FetchRules.from_environment(MAX_BYTES), buckets_from_environment(), fresh)


def prepare(arguments: Arguments, ending: Ending, client: labelbox.Client, storage: Storage, *, single: bool) -> Result:
    """Does the job's work."""
    model_run_id = arguments.text("model-run-id")
    rules = ChoiceRules(
        several_labels=arguments.one_of("several-labels", POLICIES),
        minimum=arguments.whole("minimum-examples", least=1),
        strict=arguments.flag("strict-classes"),
        single=single,
    )
    preferred = (RADIO, DROPDOWN) if single else (CHECKLIST,)
    question = choose_question(ontology(client, model_run_id), arguments.text("question"), preferred)
    names = (option.name for option in question.options)
    options = choose_options(question, comma_list(arguments.text("classes"), names))
    splits = SplitFinder(lambda: split_map(client, model_run_id), arguments.flag("make-split"))
    rows = announced(export_rows(client, model_run_id), ending)
    with ChoiceDataset(question, options, rules) as dataset, reader_of(model_run_id, storage) as reader:
        collect(rows, dataset, reader, splits)
        require_rows(dataset.report.rows, model_run_id)
        written = dataset.write(storage, arguments.folder("output-uri"), single_line if single else multiple_line)
    report = written.report
    return Result(
        outputs={
            "training_file": written.training_file,
            "manifest": written.manifest,
            "dataset_report": written.dataset_report,
        },
        counts={"rows": report.rows, "labelled": report.labelled, "skipped": report.skipped.counts.total()},
        metadata=report.metadata(),
    )
