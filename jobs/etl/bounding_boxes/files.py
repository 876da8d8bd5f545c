"""The second pass: training file, prediction instances and manifest, from the drafts and the classes that are kept."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from etl.bounding_boxes.drafts import BoxDraft
from jobkit.boxes.labels import LabelledBox
from jobkit.boxes.limits import MAX_BOXES_PER_IMAGE, BoxLimits, normalised
from jobkit.dataset_report import DatasetReport, Tally
from jobkit.image.merging import MergedImages
from jobkit.json_lines import dumps
from jobkit.manifest import ManifestRow
from jobkit.splits import ML_USE
from jobkit.storage import Storage

TRAINING_FILE = "training.jsonl"
MANIFEST = "manifest.jsonl"
INSTANCES = "prediction_instances.jsonl"


@dataclass
class Written:
    """Distinct pictures and boxes that went into the files, and rows that are evaluated but not trained on."""

    training: int = 0
    instances: int = 0
    boxes: int = 0
    too_small: int = 0
    untrained: Tally = field(default_factory=Tally)


def read_drafts(file: IO[str]) -> Iterator[BoxDraft]:
    """The drafts from the start of the file."""
    file.seek(0)
    return (BoxDraft.from_line(line) for line in file)


class BoxFiles:
    """Writes the three files of a data set. `names` are the kept classes (tool id -> display name)."""

    def __init__(
        self, images: MergedImages, names: Mapping[str, str], limits: BoxLimits, report: DatasetReport
    ) -> None:
        self._images = images
        self._names = names
        self._limits = limits
        self._report = report

    def write(self, storage: Storage, folder: str, drafts: Iterable[BoxDraft]) -> Written:
        """Each distinct picture is trained on and predicted at most once; each row is in the manifest."""
        written, trained, predicted = Written(), set[str](), set[str]()
        with (
            storage.line_writer(f"{folder}/{TRAINING_FILE}") as training,
            storage.line_writer(f"{folder}/{MANIFEST}") as manifest,
            storage.line_writer(f"{folder}/{INSTANCES}") as instances,
        ):
            for draft in drafts:
                row = self.manifest_row(draft)
                manifest.write(row.to_line())
                image = draft.image
                if image.predict_uri not in predicted:
                    predicted.add(image.predict_uri)
                    instances.write(dumps({"content": image.predict_uri, "mimeType": image.predict_media_type}))
                self._count(row, draft)
                if row.labelled and image.sha256 not in trained:
                    trained.add(image.sha256)
                    line = self._import_line(draft, written)
                    if line is not None:
                        written.training += 1
                        training.write(dumps(line))
        written.instances = len(predicted)
        return written

    def _count(self, row: ManifestRow, draft: BoxDraft) -> None:
        if not row.labelled:
            self._report.unlabelled.add(row.note, row.data_row_id)
            return
        self._report.labelled += 1
        for label in row.labels:
            self._report.counts[label][draft.split] += 1

    def manifest_row(self, draft: BoxDraft) -> ManifestRow:
        """The row as inference sees it: `content` is the prediction instance's uri, `details` its size and boxes."""
        merged = self._images.get(draft.image.sha256) if draft.labelled else None
        reason = draft.reason
        if merged is not None and merged.labels is None:
            reason = "same_image_labelled_differently"
        image, boxes = draft.image, [] if reason else self._known(draft.boxes)
        details: dict[str, Any] = {"image": image.uri, "width": image.width, "height": image.height}
        if not reason:
            details["boxes"] = [
                {
                    "name": self._names[box.tool],
                    "left": box.left,
                    "top": box.top,
                    "width": box.width,
                    "height": box.height,
                    **({"nested": list(box.nested)} if box.nested else {}),
                }
                for box in boxes
            ]
            if draft.nested:
                details["nested"] = list(draft.nested)
        return ManifestRow(
            data_row_id=draft.data_row_id,
            global_key=draft.global_key,
            content=image.predict_uri,
            split=draft.split,
            labels=tuple(dict.fromkeys(self._names[box.tool] for box in boxes)),
            labelled=not reason,
            note=reason,
            details=details,
        )

    def _known(self, boxes: Iterable[LabelledBox]) -> list[LabelledBox]:
        return [box for box in boxes if box.tool in self._names]

    def _import_line(self, draft: BoxDraft, written: Written) -> dict[str, object] | None:
        """Vertex's line of one picture, in the split that won; None where it would teach something wrong."""
        every, boxes = self._known(draft.boxes), self._known(draft.learnable(self._limits))
        written.too_small += len(every) - len(boxes)
        if every and not boxes:
            written.untrained.add("only_boxes_too_small", draft.data_row_id)
            return None
        if self._limits.too_many(len(boxes)):
            written.untrained.add(f"more_than_{MAX_BOXES_PER_IMAGE}_boxes", draft.data_row_id)
            return None
        written.boxes += len(boxes)
        merged = self._images.get(draft.image.sha256)
        assert merged is not None
        return {
            "imageGcsUri": draft.image.uri,
            "boundingBoxAnnotations": [self._annotation(box, draft) for box in boxes],
            "dataItemResourceLabels": {ML_USE: merged.split},
        }

    def _annotation(self, box: LabelledBox, draft: BoxDraft) -> dict[str, object]:
        edges = normalised(box, draft.image.width, draft.image.height)
        return {"displayName": self._names[box.tool], **dict(zip(("xMin", "yMin", "xMax", "yMax"), edges, strict=True))}
