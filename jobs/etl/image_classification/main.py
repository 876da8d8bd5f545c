"""ETL job for image classification: Labelbox model run in; training file, manifest, report and Vertex data set out.

    python -m etl.image_classification.main --model-run-id=ID --output-uri=gs://B/data/run/ \
        --ending-uri=gs://B/endings/run/ --labels=lb_run_key=abc,lb_attempt=etl-prepare-1-0a1b2c3d4e

--multi-label=true reads any number of classes an image, from checklists and other questions together.
--trainer=container makes no Vertex data set and holds the data to no limit of AutoML.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import labelbox

from etl.image_classification.choices import ImageChoices, chosen_questions
from etl.image_classification.files import INSTANCES, MANIFEST, TRAINING_FILE, Written, read_drafts, write_files
from jobkit.arguments import Arguments, parse
from jobkit.dataset_report import DatasetReport
from jobkit.ending import Ending, Result, run_job
from jobkit.export import ExportRow
from jobkit.image.dataset import MULTI_LABEL_SCHEMA, SINGLE_LABEL_SCHEMA, Imported
from jobkit.image.drafts import Drafter, images_of
from jobkit.image.limits import AUTOML, CONTAINER
from jobkit.labelbox import client, export_rows, ontology, require_rows, split_map
from jobkit.run_dataset import fill_run_dataset, parse_labels
from jobkit.storage import Storage
from jobkit.text.etl import OPTIONAL as CHOICE_PARAMETERS
from jobkit.text.etl import SplitFinder

REQUIRED = ("model-run-id", "output-uri")
TRAINERS = {"automl": AUTOML, "container": CONTAINER}
OPTIONAL = {
    **CHOICE_PARAMETERS,
    "minimum-examples": "1",  # AutoML's own limit holds beside it
    "labels": "",
    "multi-label": "false",
    "trainer": "automl",
}
REPORT = "dataset_report.json"


def prepare(arguments: Arguments, ending: Ending, labelbox_client: labelbox.Client, storage: Storage) -> Result:
    """Does the job's work."""
    folder = arguments.folder("output-uri")
    labels = parse_labels(arguments.text("labels"))
    multi_label = arguments.flag("multi-label")
    by_vertex = arguments.one_of("trainer", tuple(TRAINERS)) == "automl"
    report = DatasetReport("multiple" if multi_label else "single", ())
    written = write_dataset(arguments, ending, labelbox_client, storage, report)
    result = Result(
        outputs={
            "training_file": f"{folder}/{TRAINING_FILE}",
            "manifest": f"{folder}/{MANIFEST}",
            "prediction_instances": f"{folder}/{INSTANCES}",
            "dataset_report": f"{folder}/{REPORT}",
        },
        counts={
            "rows": report.rows,
            "labelled": report.labelled,
            "skipped": report.skipped.counts.total(),
            "images": written.instances,
        },
        metadata=report.metadata(),
    )
    if by_vertex:
        schema = MULTI_LABEL_SCHEMA if multi_label else SINGLE_LABEL_SCHEMA
        imported = fill_run_dataset(storage, folder, labels, result.outputs["training_file"], written.training, schema)
        result = with_dataset(result, imported, written.training, report)
    report.write(storage, f"{folder}/{REPORT}")
    return result


def with_dataset(result: Result, imported: Imported, images: int, report: DatasetReport) -> Result:
    """The result with the data set in Vertex; what Vertex did not take is noted in the report."""
    report.notes += [f"Vertex could not import: {failure}" for failure in imported.failures]
    if imported.items < images:
        report.notes.append(f"Vertex holds {imported.items} of {images} images")
    held = {"imported_images": imported.items, "import_failures": len(imported.failures)}
    return replace(result, outputs={**result.outputs, "dataset": imported.dataset_id}, counts={**result.counts, **held})


def write_dataset(
    arguments: Arguments, ending: Ending, labelbox_client: labelbox.Client, storage: Storage, report: DatasetReport
) -> Written:
    """Exports, stores the images and writes the files; fills the report."""
    model_run_id, folder = arguments.text("model-run-id"), arguments.folder("output-uri")
    multi_label = arguments.flag("multi-label")
    questions = chosen_questions(ontology(labelbox_client, model_run_id), arguments.text("question"), multi_label)
    choices = ImageChoices(questions, arguments, TRAINERS[arguments.text("trainer")], multi_label=multi_label)
    splits = SplitFinder(lambda: split_map(labelbox_client, model_run_id), arguments.flag("make-split"))
    with tempfile.TemporaryDirectory() as work, (Path(work) / "drafts.jsonl").open("w+", encoding="utf-8") as file:
        with images_of(model_run_id, storage, folder) as (store, fresh):
            drafter = Drafter(store, choices.judge, splits.split, fresh)
            drafter.write(_announced(export_rows(labelbox_client, model_run_id), ending), report, file)
        require_rows(report.rows, model_run_id)
        choices.collect(read_drafts(file))
        names = choices.keep(report)
        drafts = read_drafts(file)
        return write_files(storage, folder, drafts, choices.images, names, report, multi_label=multi_label)


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
