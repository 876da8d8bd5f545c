"""ETL job for bounding boxes: Labelbox model run in; training file, manifest, report and (for AutoML) a filled Vertex
data set out.

    python -m etl.bounding_boxes.main --model-run-id=ID --output-uri=gs://B/data/run/ --ending-uri=gs://B/endings/run/ \
        --trainer=automl --labels=lb_run_key=abc,lb_attempt=etl-prepare-1-0a1b2c3d4e
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import labelbox

from etl.bounding_boxes.drafts import BoxDrafter, Collected, collect
from etl.bounding_boxes.files import INSTANCES, MANIFEST, TRAINING_FILE, BoxFiles, Written, read_drafts
from jobkit.arguments import Arguments, parse
from jobkit.boxes.labels import POLICIES, RECTANGLE, BoxReader, choose
from jobkit.boxes.limits import AUTOML, TRAINERS, BoxLimits
from jobkit.classification import comma_list
from jobkit.dataset_report import MAX_IDS, ClassEntry, DatasetReport
from jobkit.ending import Ending, Result, run_job
from jobkit.export import ExportRow
from jobkit.image.drafts import images_of
from jobkit.image.limits import advice
from jobkit.labelbox import client, export_rows, ontology, require_rows, split_map
from jobkit.ontology import Tool, choose_tools, display_names
from jobkit.run_dataset import fill_run_dataset, parse_labels
from jobkit.splits import SPLITS
from jobkit.storage import Storage
from jobkit.text.etl import SplitFinder

REQUIRED = ("model-run-id", "output-uri")
OPTIONAL = {
    "tools": "",
    "several-labels": "first",
    "minimum-examples": "1",
    "strict-classes": "false",
    "make-split": "false",
    "trainer": AUTOML,
    "labels": "",
}
REPORT = "dataset_report.json"
BOXES_SCHEMA = "gs://google-cloud-aiplatform/schema/dataset/ioformat/image_bounding_box_io_format_1.0.0.yaml"


def prepare(arguments: Arguments, ending: Ending, labelbox_client: labelbox.Client, storage: Storage) -> Result:
    """Does the job's work."""
    folder = arguments.folder("output-uri")
    labels = parse_labels(arguments.text("labels"))
    limits = BoxLimits(arguments.one_of("trainer", TRAINERS))
    report = DatasetReport("boxes", ())
    written = write_dataset(arguments, ending, labelbox_client, storage, report, limits)
    outputs = {
        "training_file": f"{folder}/{TRAINING_FILE}",
        "manifest": f"{folder}/{MANIFEST}",
        "prediction_instances": f"{folder}/{INSTANCES}",
        "dataset_report": f"{folder}/{REPORT}",
    }
    counts = {
        "rows": report.rows,
        "labelled": report.labelled,
        "skipped": report.skipped.counts.total(),
        "images": written.instances,
        "training_images": written.training,
        "boxes": written.boxes,
        "boxes_too_small": written.too_small,
    }
    if limits.trainer == AUTOML:
        uri = outputs["training_file"]
        imported = fill_run_dataset(storage, folder, labels, uri, written.training, BOXES_SCHEMA)
        outputs["dataset"] = imported.dataset_id
        counts |= {"imported_images": imported.items, "import_failures": len(imported.failures)}
        report.notes += [f"Vertex could not import: {failure}" for failure in imported.failures]
        if imported.items < written.training:
            report.notes.append(f"Vertex holds {imported.items} of {written.training} images")
    report.write(storage, outputs["dataset_report"])
    return Result(outputs, counts, metadata={**report.metadata(), "boxes": str(written.boxes)})


def write_dataset(
    arguments: Arguments,
    ending: Ending,
    labelbox_client: labelbox.Client,
    storage: Storage,
    report: DatasetReport,
    limits: BoxLimits,
) -> Written:
    """Exports, stores the pictures and writes the files; fills the report."""
    model_run_id, folder = arguments.text("model-run-id"), arguments.folder("output-uri")
    tools = choose_tools(ontology(labelbox_client, model_run_id), RECTANGLE)
    chosen = choose(tools, comma_list(arguments.text("tools")))
    reader = BoxReader(tools, chosen, arguments.one_of("several-labels", POLICIES))
    splits = SplitFinder(lambda: split_map(labelbox_client, model_run_id), arguments.flag("make-split"))
    with tempfile.TemporaryDirectory() as work, (Path(work) / "drafts.jsonl").open("w+", encoding="utf-8") as file:
        with images_of(model_run_id, storage, folder) as (store, fresh):
            drafter = BoxDrafter(store, reader, splits.split, fresh)
            drafter.write(_announced(export_rows(labelbox_client, model_run_id), ending), report, file)
        require_rows(report.rows, model_run_id)
        collected = collect(lambda: read_drafts(file), limits)
        names = keep(collected, tools, chosen, limits, arguments, report)
        written = BoxFiles(collected.images, names, limits, report).write(storage, folder, read_drafts(file))
    note(report, reader, collected, written)
    return written


def keep(
    collected: Collected,
    tools: Sequence[Tool],
    chosen: Sequence[Tool],
    limits: BoxLimits,
    arguments: Arguments,
    report: DatasetReport,
) -> dict[str, str]:
    """Tool id -> display name of the classes that are trained; says so in the report. Raises BadData."""
    every = display_names(tools)
    counts = {every[tool]: splits for tool, splits in collected.counts.items()}
    wanted = {every[tool.feature_schema_id]: tool for tool in chosen}
    minimum = arguments.whole("minimum-examples", least=1)
    kept, left_out = limits.kept(counts, wanted, minimum)
    strict = arguments.flag("strict-classes")
    boxes = sum(collected.boxes[wanted[name].feature_schema_id] for name in kept)
    limits.check(counts, kept, left_out, collected.pictures, boxes, strict, minimum)
    report.left_out = left_out
    report.classes = tuple(
        ClassEntry(name, wanted[name].feature_schema_id, wanted[name].name, "", RECTANGLE) for name in kept
    )
    report.notes += advice(counts, kept) if limits.trainer == AUTOML else []
    for name in kept:
        gaps = [split for split in SPLITS if not counts[name].get(split)]
        if gaps:
            report.notes.append(f"'{name}' has no image with a box in {' and '.join(gaps)}")
    return {wanted[name].feature_schema_id: name for name in kept}


def note(report: DatasetReport, reader: BoxReader, collected: Collected, written: Written) -> None:
    """Tells people what became of the boxes."""
    notes = report.notes
    notes.append(f"{written.boxes} boxes on {written.training} images are in the data set")
    if written.too_small:
        notes.append(
            f"{written.too_small} boxes are too small for Vertex: looked for in the evaluation, not trained on"
        )
    for reason, count in written.untrained.counts.most_common():
        notes.append(f"{count} images are evaluated but not trained on ({reason.replace('_', ' ')})")
    for reason, count in reader.dropped.most_common():
        notes.append(f"{count} boxes were dropped ({reason.replace('_', ' ')})")
    if reader.several:
        notes.append(f"{reader.several} rows had several labels")
    for kind, count in reader.others.most_common():
        notes.append(f"{count} annotations are no rectangles ({kind}): not learned")
    if reader.nested:
        notes.append(f"{reader.nested} boxes carry questions of their own: kept in the manifest, not learned")
    for name, count in sorted(reader.unknown.items()):
        notes.append(f"the tool '{name}' ({count} boxes) is not in the ontology")
    disputed = sum(1 for _ in collected.images.disputed())
    if disputed:
        notes.append(f"{disputed} images were left out: rows with the same bytes have different boxes")
    crossed = list(collected.images.across_splits())
    if crossed:
        report.duplicates = {"count": len(crossed), "sha256": crossed[:MAX_IDS]}
        notes.append(f"{len(crossed)} images are in several splits; each is used once: in test, else in validation")


def _announced(rows: Iterator[ExportRow], ending: Ending) -> Iterator[ExportRow]:
    """Raises the status to PREPARING_DATA with the first row: the export is ready then."""
    for row in rows:
        ending.phase("PREPARING_DATA")
        yield row


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code is 0 only when its result is written."""
    arguments = parse(__doc__ or "", REQUIRED, OPTIONAL, argv)
    return run_job(arguments.text("ending-uri"), lambda ending: prepare(arguments, ending, client(), Storage()))


if __name__ == "__main__":
    sys.exit(main())
