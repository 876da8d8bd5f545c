"""The first pass over the export: each row with its stored image and its labelers' verdict, kept on disk.

Which classes stay, and which split an image goes into where several rows have it, is known only after the last row.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from jobkit.classification import Verdict, nested_answers
from jobkit.dataset_report import DatasetReport
from jobkit.errors import BadData, Transient
from jobkit.export import ExportRow
from jobkit.fetch import ACCESS_DENIED, FetchRefusedError, in_order
from jobkit.image.files import BadImageError
from jobkit.image.store import ImageSource, ImageStore, StoredImage
from jobkit.labelbox import client as new_client
from jobkit.labelbox import export_rows
from jobkit.progress import Progress, say
from jobkit.renewal import FreshUrls
from jobkit.splits import SPLITS
from jobkit.storage import Storage, split_uri

WORKERS = 48  # they wait for networks most of the time; each holds one picture's bytes


# dataclasses.asdict, which copies whatever it meets, took as long as all else that the first thread does for a row.
_encoded = json.JSONEncoder(default=lambda item: {name: getattr(item, name) for name in item.__match_args__}).encode


@dataclass(frozen=True, slots=True)
class Draft:
    """A row whose image is stored. `options` are feature schema ids; `reason` says why it is not labelled; `nested`
    are the answers below its answers, which are kept for people."""

    data_row_id: str
    global_key: str | None
    split: str
    image: StoredImage
    labelled: bool
    options: tuple[str, ...]
    reason: str
    nested: tuple[dict[str, Any], ...] = ()

    def to_line(self) -> str:
        return _encoded({name: getattr(self, name) for name in self.__match_args__})

    @classmethod
    def from_line(cls, line: str) -> "Draft":
        body = json.loads(line)
        image = StoredImage(**body.pop("image"))
        return cls(**{**body, "image": image, "options": tuple(body["options"]), "nested": tuple(body["nested"])})


@contextmanager
def images_of(model_run_id: str, storage: Storage, folder: str) -> Iterator[tuple[ImageStore, FreshUrls]]:
    """The shared images of the folder's bucket, read by the deployment's rules, and new addresses for the run's rows
    whose signed URL expires meanwhile: through a client of its own, for the job's is busy with the export."""
    root = f"gs://{split_uri(folder)[0]}/images"
    with (
        ImageSource.from_environment(storage) as source,
        ImageStore(storage, root, source.read) as store,
        FreshUrls(lambda: export_rows(new_client(), model_run_id)) as fresh,
    ):
        yield store, fresh


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a row has no image: a word for counting and a sentence for the log."""

    reason: str
    sentence: str


class Drafter:
    """Makes drafts of rows: stores images, asks for verdicts and splits."""

    def __init__(
        self,
        store: ImageStore,
        judge: Callable[[ExportRow], Verdict],
        split: Callable[[ExportRow], str],
        fresh: FreshUrls | None = None,
    ) -> None:
        """`fresh` gives rows whose signed URL is refused another one."""
        self._store = store
        self._judge = judge
        self._split = split
        self._fresh = fresh

    def write(self, rows: Iterable[ExportRow], report: DatasetReport, file: IO[str]) -> int:
        """Writes a line for each usable row and counts the others in the report; returns the number of lines."""
        progress = Progress("Images stored", more=self._store.traffic)
        drafts, failures = 0, 0
        for row, outcome in in_order(self._image, self._usable(rows, report), workers=WORKERS):
            if isinstance(outcome, Failure):
                failures += 1
                report.skipped.add(outcome.reason, row.data_row_id)
                say("An image cannot be used", severity="WARNING", row=row.data_row_id, reason=outcome.sentence)
            else:
                file.write(self._draft(row, outcome).to_line() + "\n")
                drafts += 1
            progress.step()
        progress.finish()
        if failures and not drafts:
            _refuse(report)
        return drafts

    def _usable(self, rows: Iterable[ExportRow], report: DatasetReport) -> Iterator[ExportRow]:
        seen: set[str] = set()
        for row in rows:
            report.rows += 1
            if row.problem and not row.row_data:  # with an address, only its labels cannot be read
                report.skipped.add("unreadable_row", row.data_row_id or "?")
            elif row.data_row_id in seen:
                report.skipped.add("repeated_row", row.data_row_id)
            elif str(row.media_attributes.get("asset_type") or "image").lower() != "image":
                report.skipped.add("not_an_image", row.data_row_id)
            else:
                seen.add(row.data_row_id)
                yield row

    def _image(self, row: ExportRow) -> StoredImage | Failure:
        try:
            return self._kept(row)
        except FetchRefusedError as error:
            return Failure(error.reason, str(error))
        except BadImageError as error:
            return Failure("unreadable_image", str(error))

    def _kept(self, row: ExportRow) -> StoredImage:
        """The stored picture; a refused address is renewed once."""
        try:
            return self._store.keep(row.data_row_id, row.row_data)
        except FetchRefusedError as error:
            address = self._fresh.of(row) if self._fresh is not None and error.reason == ACCESS_DENIED else None
            if self._fresh is None or address is None:
                raise
        stored = self._store.keep(row.data_row_id, address)
        self._fresh.opened()
        return stored

    def _draft(self, row: ExportRow, image: StoredImage) -> Draft:
        verdict = self._judge(row)
        split = self._split(row)
        unlabelled = "unreadable_labels" if row.problem else "unlabelled"
        reason = verdict.reason or ("" if verdict.labelled else unlabelled)
        if verdict.labelled and split not in SPLITS:
            reason = "no_split"
        return Draft(
            data_row_id=row.data_row_id,
            global_key=row.global_key,
            split=split,
            image=image,
            labelled=not reason,
            options=verdict.options,
            reason=reason,
            nested=tuple(nested_answers(row)) if row.labels else (),
        )


def _refuse(report: DatasetReport) -> None:
    """No image at all could be had: says the most frequent reason."""
    reason, _ = report.skipped.counts.most_common(1)[0]
    sentence = f"None of the {report.rows} images can be used ({report.skipped.sentence()})."
    if reason == "unreachable":
        raise Transient(sentence, "Are the rows' URLs reachable from Google Cloud?")
    raise BadData(sentence, "The log names each row and its reason.")
