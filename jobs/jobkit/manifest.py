"""The manifest: one line a data row, which carries from ETL to inference what the training file cannot."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jobkit.json_lines import dumps, loads
from jobkit.storage import Storage


class ManifestRow(NamedTuple):  # millions are made: a third of a dataclass's time
    """One data row whose content can be predicted.

    content   the text itself, or the gs:// uri of an image's bytes
    labels    display names of its classes, as in the training file; empty for a true negative
    labelled  whether somebody labelled it: a row without a label is predicted but not evaluated
    note      why a labelled row of the export does not count as labelled here (for example class_left_out)
    details   what a task needs beside (entities, boxes, nested classifications), plain JSON
    """

    data_row_id: str
    global_key: str | None
    content: str
    split: str
    labels: tuple[str, ...] = ()
    labelled: bool = False
    note: str = ""
    details: Mapping[str, Any] | None = None

    def to_line(self) -> str:
        """The row as one line of JSON; the same row gives the same bytes."""
        body: dict[str, Any] = {
            "data_row_id": self.data_row_id,
            "global_key": self.global_key,
            "content": self.content,
            "split": self.split,
            "labels": list(self.labels),
            "labelled": self.labelled,
        }
        if self.note:
            body["note"] = self.note
        if self.details:
            body["details"] = self.details
        return dumps(body).decode()

    @classmethod
    def from_line(cls, line: str | bytes) -> "ManifestRow":
        """Reads what to_line wrote; unknown keys of a later version are ignored."""
        body = loads(line)
        return cls(
            data_row_id=body["data_row_id"],
            global_key=body.get("global_key"),
            content=body["content"],
            split=body["split"],
            labels=tuple(body.get("labels", ())),
            labelled=bool(body.get("labelled", False)),
            note=body.get("note", ""),
            details=body.get("details"),
        )


def read_manifest(storage: Storage, uri: str) -> Iterator[ManifestRow]:
    """The manifest's rows, streamed."""
    for line in storage.read_lines(uri):
        if line:
            yield ManifestRow.from_line(line)
