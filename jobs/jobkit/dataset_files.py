"""The files of a data set of texts: training file, manifest and report, written in one pass over its rows."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jobkit.dataset_report import MAX_IDS, DatasetReport
from jobkit.duplicates import SplitDuplicates
from jobkit.manifest import ManifestRow
from jobkit.storage import Storage


@dataclass(frozen=True)
class Written:
    """Where the data set lies."""

    training_file: str
    manifest: str
    dataset_report: str
    report: DatasetReport


def write_rows(
    storage: Storage,
    folder: str,
    rows: Iterable[ManifestRow],
    training_line: Callable[[ManifestRow], str | bytes],
    seen: SplitDuplicates,
    report: DatasetReport,
) -> Written:
    """Writes training.jsonl and manifest.jsonl, and notes contents that lie in several splits in the report.

    The report itself is left to the caller, who may have more to note. Safe to repeat: the same rows give the same
    files.
    """
    written = Written(f"{folder}/training.jsonl", f"{folder}/manifest.jsonl", f"{folder}/dataset_report.json", report)
    duplicates = seen.across()
    twins: Counter[int] = Counter()
    twin_ids: list[str] = []
    with storage.line_writer(written.training_file) as training, storage.line_writer(written.manifest) as manifest:
        for row in rows:
            manifest.write(row.to_line())
            if row.labelled:
                training.write(training_line(row))
            if duplicates and (digest := SplitDuplicates.digest(row.content)) in duplicates:
                twins[digest] += 1
                if len(twin_ids) < MAX_IDS:
                    twin_ids.append(row.data_row_id)
    if twins:
        report.duplicates = {"count": twins.total(), "contents": len(twins), "ids": twin_ids}
    return written
