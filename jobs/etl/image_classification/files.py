"""The second pass: training file, prediction instances and manifest, from the drafts and the kept classes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from jobkit.dataset_report import DatasetReport
from jobkit.image.drafts import Draft
from jobkit.image.merging import MergedImages
from jobkit.json_lines import dumps
from jobkit.manifest import ManifestRow
from jobkit.splits import ML_USE, SPLITS
from jobkit.storage import Storage

TRAINING_FILE = "training.jsonl"
MANIFEST = "manifest.jsonl"
INSTANCES = "prediction_instances.jsonl"


@dataclass(frozen=True)
class Written:
    """Distinct images that went into each file."""

    training: int
    instances: int


def read_drafts(file: IO[str]) -> Iterator[Draft]:
    """The drafts from the start of the file."""
    file.seek(0)
    return (Draft.from_line(line) for line in file)


def write_files(
    storage: Storage,
    folder: str,
    drafts: Iterable[Draft],
    images: MergedImages,
    names: Mapping[str, str],
    report: DatasetReport,
    *,
    multi_label: bool = False,
) -> Written:
    """Writes the three files under `folder`; `names` are the kept classes (option id -> display name).

    Each distinct image is in the training file and in the instances at most once; each row is in the manifest.
    """
    trained: set[str] = set()
    predicted: set[str] = set()
    with (
        storage.line_writer(f"{folder}/{TRAINING_FILE}") as training,
        storage.line_writer(f"{folder}/{MANIFEST}") as manifest,
        storage.line_writer(f"{folder}/{INSTANCES}") as instances,
    ):
        for draft in drafts:
            row = manifest_row(draft, images, names, multi_label=multi_label)
            manifest.write(row.to_line())
            image = draft.image
            if image.predict_uri not in predicted:
                predicted.add(image.predict_uri)
                instances.write(dumps({"content": image.predict_uri, "mimeType": image.predict_media_type}))
            if not row.labelled:
                report.unlabelled.add(row.note, row.data_row_id)
                continue
            report.labelled += 1
            for label in row.labels:
                report.counts[label][draft.split] += 1
            if image.sha256 not in trained:
                trained.add(image.sha256)
                training.write(dumps(import_line(draft, images, row.labels, multi_label=multi_label)))
    return Written(len(trained), len(predicted))


def manifest_row(
    draft: Draft, images: MergedImages, names: Mapping[str, str], *, multi_label: bool = False
) -> ManifestRow:
    """The row as inference sees it. `content` is the prediction instance's uri: predictions are matched by it.

    Of several classes, those that were left out are missing; a row whose one class was left out is not labelled.
    """
    reason = draft.reason
    labels: tuple[str, ...] = ()
    if not reason:
        merged = images.get(draft.image.sha256)
        if merged is None or merged.labels is None:
            reason = "same_image_labelled_differently"
        elif not multi_label and any(option not in names for option in draft.options):
            reason = "class_left_out"
        else:
            labels = tuple(names[option] for option in draft.options if option in names)
    return ManifestRow(
        data_row_id=draft.data_row_id,
        global_key=draft.global_key,
        content=draft.image.predict_uri,
        split=draft.split,
        labels=labels,
        labelled=not reason,
        note=reason,
        details={
            "image": draft.image.uri,
            "width": draft.image.width,
            "height": draft.image.height,
            **({"nested": list(draft.nested)} if draft.nested else {}),
        },
    )


def import_line(
    draft: Draft, images: MergedImages, labels: tuple[str, ...], *, multi_label: bool = False
) -> dict[str, object]:
    """Vertex's import line of one distinct image, in the split that won. An empty list says: none of the classes."""
    merged = images.get(draft.image.sha256)
    assert merged is not None and merged.split in SPLITS
    annotations = [{"displayName": label} for label in labels]
    return {
        "imageGcsUri": draft.image.uri,
        **({"classificationAnnotations": annotations} if multi_label else {"classificationAnnotation": annotations[0]}),
        "dataItemResourceLabels": {ML_USE: merged.split},
    }
