"""An ontology of 3,000 classes is read, taught, evaluated and told like one of three, and in no more than a moment."""

import json
from pathlib import Path

from jobkit.choice_dataset import ChoiceDataset, ChoiceRules
from jobkit.evaluation import ClassificationEvaluation
from jobkit.export import parse_row
from jobkit.labelbox_rows import MAX_METRICS_PER_ROW, classification_metric_rows
from jobkit.ontology import RADIO, choose_options, choose_question, parse_ontology
from jobkit.storage import Storage
from jobkit.text.etl import single_line
from tests.jobs import exports

CLASSES = 3_000
NAMES = [f"class {number}" for number in range(CLASSES)]
SPLIT_OF = ("TRAINING", "VALIDATION", "TEST")


def test_a_data_set_of_three_thousand_classes_keeps_every_one(folder: str, tmp_path: Path) -> None:
    ontology = parse_ontology("o", {"classifications": [exports.question("topic", RADIO, exports.options(*NAMES))]})
    question = choose_question(ontology, "")
    storage = Storage()
    with ChoiceDataset(question, choose_options(question, ()), ChoiceRules("first", 1, True, True)) as dataset:
        for number, option in enumerate(question.options):
            for split in SPLIT_OF:
                said = [exports.label(exports.radio("topic", option.name, option.name))]
                body = exports.row(f"{split}-{number}", f"a text about {number} in {split}", said)
                dataset.add(parse_row(body, exports.RUN_ID), f"{split} {number}", split.lower())
        written = dataset.write(storage, folder, single_line)
    lines = [json.loads(line) for line in storage.read_lines(written.training_file)]
    storage.close()
    assert {line["classificationAnnotation"]["displayName"] for line in lines} == set(NAMES)
    assert len(written.report.classes) == CLASSES and not written.report.left_out
    assert all(len(value) <= 255 for value in written.report.metadata().values())


def test_a_row_with_an_answer_for_each_class_gets_twenty_metric_rows_and_is_evaluated_whole() -> None:
    answers = {name: 0.2 + index / 10_000 for index, name in enumerate(NAMES)}
    rows, cut = classification_metric_rows("r", NAMES[:1], answers, {})
    assert (len(rows), cut) == (MAX_METRICS_PER_ROW, CLASSES - MAX_METRICS_PER_ROW)
    evaluation = ClassificationEvaluation(NAMES, single=False)
    for _ in range(5):
        evaluation.add("test", NAMES[:1], answers)
    assert len(evaluation.metrics()["test"]["classes"]) == CLASSES
