"""The 2022 reference's failures on ordinary data, each with the tests that would fail if ours had it: all exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
IMAGES, BOXES, NER = "jobs/image", "jobs/boxes", "jobs/ner"

# What went wrong -> (file, test). The numbers are those of the list of its bugs; the others had none.
SHOWN: dict[str, tuple[tuple[str, str], ...]] = {
    "B3 coordinates rounded to two digits": ((f"{BOXES}/test_box_etl.py", "test_bug_b3"),),
    "B4 boxes under 36 pixels dropped": ((f"{BOXES}/test_box_etl.py", "test_bug_b4"),),
    "B5 a box outside the picture kept without area": ((f"{BOXES}/test_box_etl.py", "test_bug_b5"),),
    "B6 photos on their side": (
        (f"{BOXES}/test_box_etl.py", "test_bug_b6"),
        (f"{IMAGES}/test_baseline_bugs.py", "test_baseline_b6_b9"),
    ),
    "B7 kinds of pictures dropped": ((f"{IMAGES}/test_baseline_bugs.py", "test_baseline_b7"),),
    "B8 a 404, a silent server": (("jobs/test_fetch.py", "test_baseline_b8"),),
    "B9 every picture encoded again": ((f"{IMAGES}/test_baseline_bugs.py", "test_baseline_b6_b9"),),
    "B10 classes with a space never matched": (
        (f"{BOXES}/test_box_etl.py", "test_bug_b10"),
        (f"{NER}/test_pipeline.py", "test_baseline_b10_b11"),
        ("jobs/test_class_names.py", "test_baseline_b10"),
    ),
    "B11 entities one character too long": ((f"{NER}/test_pipeline.py", "test_baseline_b10_b11"),),
    "B12 recall and precision overstated": (
        (f"{IMAGES}/test_baseline_bugs.py", "test_baseline_b12"),
        (f"{NER}/test_pipeline.py", "test_baseline_b12_b14"),
        (f"{NER}/test_evaluation.py", "test_baseline_rows_without_predictions"),
        ("jobs/test_evaluation.py", "test_baseline_b12"),
    ),
    "B13 several of one side count once": ((f"{NER}/test_evaluation.py", "test_baseline_several_entities"),),
    "B14 confidence thrown away": (
        (f"{IMAGES}/test_baseline_bugs.py", "test_baseline_b14"),
        (f"{NER}/test_pipeline.py", "test_baseline_b12_b14"),
    ),
    "B15 no prediction at all fails the run": (
        (f"{IMAGES}/test_baseline_bugs.py", "test_baseline_b15"),
        (f"{NER}/test_pipeline.py", "test_baseline_b15"),
        ("jobs/test_sinks.py", "test_baseline_b15"),
    ),
    "B16 a class that the ontology does not have": (
        (f"{NER}/test_pipeline.py", "test_baseline_b16"),
        ("jobs/test_classification_output.py", "test_baseline_b16"),
        ("jobs/test_class_names.py", "test_baseline_b10_b16"),
    ),
    "B17 label and value differ": (
        ("jobs/test_class_names.py", "test_baseline_b10_b16_b17"),
        ("jobs/test_classification.py", "test_baseline_b17"),
        (f"{IMAGES}/test_inference.py", "test_baseline_b17"),
    ),
    "B18 equal names under two questions": (
        (f"{IMAGES}/test_baseline_bugs.py", "test_baseline_b18"),
        ("jobs/test_class_names.py", "test_baseline_b18"),
        ("jobs/test_classification.py", "test_baseline_b18"),
    ),
    "B19 two answers for one radio": (
        (f"{IMAGES}/test_baseline_bugs.py", "test_baseline_b19"),
        ("jobs/test_classification_output.py", "test_baseline_b19"),
    ),
    "B20 upload errors only logged": (("jobs/test_sinks.py", "test_baseline_b20"),),
    "the order of rows is random": (
        ("jobs/test_text_etl.py", "test_baseline_the_same_export_gives_the_same_bytes"),
        (f"{NER}/test_etl.py", "test_baseline_the_same_export_gives_the_same_bytes"),
    ),
    "one unlabelled row kills the run": (
        ("jobs/test_export.py", "test_baseline_one_unlabelled_row"),
        ("jobs/test_text_etl.py", "test_baseline_unlabelled_rows"),
        (f"{BOXES}/test_box_etl.py", "test_bug_row_without_objects"),
    ),
    "one malformed object kills the run": ((f"{NER}/test_etl.py", "test_baseline_one_malformed_object"),),
    "a bad text kills the run": (
        ("jobs/test_text_etl.py", "test_baseline_bad_rows"),
        (f"{NER}/test_etl.py", "test_baseline_a_bad_text"),
    ),
    "a slow export is None": ((f"{NER}/test_etl.py", "test_baseline_an_export_that_takes_its_time"),),
    "one rare class stops everything": (("jobs/test_text_etl.py", "test_baseline_one_rare_class"),),
    "an empty split or no label is success": (("jobs/test_text_etl.py", "test_baseline_a_data_set_that_cannot"),),
    "a radio question in a multi-label model": ((f"{IMAGES}/test_baseline_bugs.py", "test_baseline_a_radio"),),
    "short and long texts fail in prediction": ((f"{NER}/test_etl.py", "test_baseline_texts_of_5_and_of_50_000"),),
    "file names are parsed for ids": (
        (f"{BOXES}/test_box_etl.py", "test_bug_file_name_parsing"),
        (f"{IMAGES}/test_inference.py", "test_rows_are_known_by_the_manifest"),
    ),
    "answers below answers and boxes lost": (
        (f"{BOXES}/test_box_etl.py", "test_baseline_nested_answers"),
        (f"{IMAGES}/test_etl_over_the_wire.py", "test_baseline_nested_answers"),
    ),
    "models are pickled": ((f"{IMAGES}/test_heads.py", "test_baseline_pickle"),),
    "memory grows with the rows": (
        (f"{NER}/test_etl.py", "test_memory_stays_flat"),
        ("jobs/test_text_etl.py", "test_a_hundred_thousand_rows"),
    ),
    "50 shards with errors among them": ((f"{IMAGES}/test_inference.py", "test_fifty_shards"),),
    "the same export again fetches nothing": ((f"{IMAGES}/test_pipeline.py", "test_the_same_export_twice"),),
}


@pytest.mark.parametrize("bug", SHOWN)
def test_each_bug_of_the_reference_has_its_test(bug: str) -> None:
    for file, start in SHOWN[bug]:
        text = (TESTS / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {start}\w*\(", text, re.MULTILINE), f"{file} has no {start}..."


def test_every_numbered_bug_of_data_is_listed() -> None:
    numbers = {int(found[1]) for bug in SHOWN if (found := re.match(r"B(\d+) ", bug))}
    assert numbers == set(range(3, 21))  # 1 and 2 are the engine's: tests/end_to_end and tests/simulation
