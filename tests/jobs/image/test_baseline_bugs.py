"""The bugs of the 2022 reference that concern image classification, each with a test of its name.

Shown elsewhere under other names, over the wire: a 404, a silent server, HTML in the place of a picture (test_fetch,
test_etl_over_the_wire), rounding and sizes of boxes (they are no classification).
"""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from etl.image_classification.choices import ImageChoices, chosen_questions
from etl.image_classification.files import manifest_row
from inference.image_classification.decisions import ThresholdRule, surest_from
from jobkit.arguments import Arguments
from jobkit.classification_output import ClassificationOutput
from jobkit.dataset_report import ClassEntry, DatasetReport
from jobkit.errors import BadData
from jobkit.export import ExportRow, parse_row
from jobkit.image.drafts import Draft
from jobkit.image.files import prepared
from jobkit.image.limits import AUTOML, CONTAINER, Limits
from jobkit.image.store import StoredImage
from jobkit.manifest import ManifestRow
from jobkit.ontology import CHECKLIST, RADIO, parse_ontology
from tests.jobs import exports

ARGUMENTS = {"classes": "", "several-labels": "majority", "minimum-examples": "1", "strict-classes": "false"}
GROUND = exports.question("ground", RADIO, exports.options("grass", "sand"))
FRUITS = exports.question("fruits", CHECKLIST, exports.options("apple", "pear"))


def choices_of(*questions: dict, multi_label: bool, limits: Limits = CONTAINER, **arguments: str) -> ImageChoices:
    ontology = parse_ontology("o", {"tools": [], "classifications": list(questions)})
    asked = chosen_questions(ontology, arguments.pop("question", ""), multi_label)
    given = Arguments({**ARGUMENTS, **{name.replace("_", "-"): value for name, value in arguments.items()}})
    return ImageChoices(asked, given, limits, multi_label=multi_label)


def row(*answers: dict, row_id: str = "r") -> ExportRow:
    return parse_row(exports.row(row_id, "https://a/b.jpg", [exports.label(*answers)]), exports.RUN_ID)


def draft(row_id: str, split: str, *options: str) -> Draft:
    uri = f"gs://b/images/{row_id}.jpg"
    return Draft(
        row_id, None, split, StoredImage(row_id, uri, "image/jpeg", 9, 9, uri, "image/jpeg"), True, options, ""
    )


def test_baseline_a_radio_question_in_a_multi_label_model_is_one_more_set_of_classes() -> None:
    choices = choices_of(FRUITS, GROUND, multi_label=True)
    ticked = row(exports.checklist("fruits", ["apple", "pear"]), exports.radio("ground", "sand", "sand"))
    verdict = choices.judge(ticked)
    assert (verdict.labelled, verdict.options) == (True, ("apple", "pear", "sand"))


def test_baseline_unlabelled_a_label_without_a_tick_says_none_of_them_and_no_label_says_nothing() -> None:
    choices = choices_of(FRUITS, multi_label=True)
    assert (choices.judge(row()).labelled, choices.judge(row()).options) == (True, ())
    nobody = parse_row(exports.row("r", "https://a/b.jpg", []), exports.RUN_ID)
    assert not choices.judge(nobody).labelled
    assert not choices_of(GROUND, multi_label=False).judge(row()).labelled


def test_baseline_b16_no_label_is_never_a_class() -> None:
    choices = choices_of(GROUND, multi_label=False)
    drafts = [draft(f"{name}{n}", split, name) for name in ("grass", "sand") for n, split in enumerate(SPLIT_WORDS)]
    unlabelled = Draft(**{**{key: getattr(drafts[0], key) for key in DRAFT_KEYS}, "labelled": False, "options": ()})
    choices.collect([*drafts, unlabelled])
    report = DatasetReport("single", ())
    assert set(choices.keep(report).values()) == {"grass", "sand"}


SPLIT_WORDS = ("training", "validation", "test")
DRAFT_KEYS = ("data_row_id", "global_key", "split", "image", "labelled", "options", "reason")


def test_baseline_b16_b17_classes_are_known_by_id_whatever_they_are_called() -> None:
    option = {"featureSchemaId": "id1", "label": "Golden Retriever", "value": "golden_retriever", "options": []}
    breed = exports.question("Breed", CHECKLIST, [option, *exports.options("other")])
    choices = choices_of(breed, multi_label=True)
    for name in ("Golden Retriever", "golden_retriever", "Renamed since"):
        ticked = exports.checklist("Breed", ["id1"])
        ticked["checklist_answers"][0]["name"] = name
        assert choices.judge(row(ticked)).options == ("id1",)


def test_baseline_b18_equal_answers_to_two_questions_are_two_classes() -> None:
    same = [{"featureSchemaId": f"{key}1", "label": "big", "value": "big", "options": []} for key in "ab"]
    first = exports.question("size", RADIO, [same[0], *exports.options("x")])
    second = exports.question("size_big", RADIO, [same[1], *exports.options("y")])
    choices = choices_of(first, second, multi_label=True)
    drafts = [draft(f"{option}{n}", split, option) for option in ("a1", "b1") for n, split in enumerate(SPLIT_WORDS)]
    choices.collect(drafts)
    report = DatasetReport("multiple", ())
    names = choices.keep(report)
    assert len(set(names.values())) == 2 and set(names) == {"a1", "b1"}
    assert {entry.question for entry in report.classes} == {"size", "size_big"}


def test_baseline_one_rare_class_is_left_out_and_its_images_keep_their_other_classes() -> None:
    choices = choices_of(FRUITS, GROUND, multi_label=True, minimum_examples="2")
    drafts = [draft(f"{n}", split, "apple", "sand") for n, split in enumerate(SPLIT_WORDS * 2)]
    rare = draft("rare", "training", "apple", "pear")
    choices.collect([*drafts, rare])
    report = DatasetReport("multiple", ())
    names = choices.keep(report)
    assert report.left_out == {"pear": 1, "grass": 0}
    written = manifest_row(rare, choices.images, names, multi_label=True)
    assert (written.labels, written.labelled) == (("apple",), True)


@pytest.mark.parametrize(
    ("limits", "per_split", "fits"),
    [(AUTOML, (8, 1, 1), True), (AUTOML, (7, 1, 1), False), (CONTAINER, (1, 1, 1), True)],
)
def test_automl_s_ten_images_a_class_hold_for_automl_only(
    limits: Limits, per_split: tuple[int, ...], fits: bool
) -> None:
    choices = choices_of(GROUND, multi_label=False, limits=limits)
    for name in ("grass", "sand"):
        for split, count in zip(SPLIT_WORDS, per_split, strict=True):
            choices.collect(draft(f"{name}{split}{n}", split, name) for n in range(count))
    if fits:
        assert len(choices.keep(DatasetReport("single", ()))) == 2
    else:
        with pytest.raises(BadData, match="AutoML needs 10 images a class"):
            choices.keep(DatasetReport("single", ()))


def test_a_checklist_of_one_answer_is_learned_from_images_with_and_without_it() -> None:
    def asked(*without: str) -> ImageChoices:
        choices = choices_of(exports.question("ripe", CHECKLIST, exports.options("yes")), multi_label=True)
        choices.collect(draft(f"with-{split}", split, "yes") for split in SPLIT_WORDS)
        choices.collect(draft(f"without-{split}", split) for split in without)
        return choices

    assert asked("training").keep(DatasetReport("multiple", ())) == {"yes": "yes"}
    with pytest.raises(BadData, match="nothing to tell it from"):
        asked().keep(DatasetReport("multiple", ()))


@pytest.mark.parametrize("multi_label", [False, True])
def test_an_empty_split_is_told_before_anything_is_trained(multi_label: bool) -> None:
    choices = choices_of(GROUND, multi_label=multi_label)
    choices.collect(draft(f"{name}{n}", "training", name) for name in ("grass", "sand") for n in range(20))
    with pytest.raises(BadData, match="validation split"):
        choices.keep(DatasetReport("single", ()))


ENTRIES = (
    *(ClassEntry(name, name, name, "fruits", CHECKLIST) for name in ("apple", "pear")),
    *(ClassEntry(name, name, name, "ground", RADIO) for name in ("grass", "sand")),
)


def test_baseline_b19_a_radio_gets_one_answer_and_none_below_its_threshold() -> None:
    rule = ThresholdRule(ENTRIES, {"apple": 0.3, "pear": 0.5, "grass": 0.4, "sand": 0.6})
    answers = {"apple": 0.35, "pear": 0.6, "grass": 0.7, "sand": 0.65}
    assert rule.decided(answers) == ("grass", "pear", "apple")
    assert rule.decided({**answers, "grass": 0.39}) == ("sand", "pear", "apple")
    assert rule.decided({**answers, "grass": 0.39, "sand": 0.5}) == ("pear", "apple")
    assert surest_from(0.0)({}) == ()


def test_baseline_b14_every_predicted_answer_carries_its_confidence() -> None:
    output = ClassificationOutput(ENTRIES, "run", single=False)
    said = ManifestRow("r1", None, "gs://b/1.jpg", "test", ("apple", "sand"), labelled=True)
    rows = list(output.rows(said, {"apple": 0.9, "pear": 0.0, "sand": 0.6}, ("apple", "sand")))
    predictions = [one for one in rows if "answer" in one]
    assert [one["answer"] for one in predictions] == [
        [{"schemaId": "apple", "confidence": 0.9}],
        {"schemaId": "sand", "confidence": 0.6},
    ]
    assert json.dumps(rows)


def test_baseline_b12_rows_without_prediction_count_as_missed_and_unlabelled_ones_are_not_judged() -> None:
    output = ClassificationOutput(ENTRIES, "run", single=False)
    truth = ManifestRow("r1", None, "gs://b/1.jpg", "test", ("apple",), labelled=True)
    missed = ManifestRow("r2", None, "gs://b/2.jpg", "test", ("apple",), labelled=True)
    unlabelled = ManifestRow("r3", None, "gs://b/3.jpg", "test")
    for one, answers in ((truth, {"apple": 0.9}), (missed, None), (unlabelled, {"pear": 0.9})):
        list(output.rows(one, answers, tuple(answers or ())))
    figures = output.evaluation.metrics()["test"]
    assert figures["classes"]["apple"]["fn"] == 1 and figures["classes"]["pear"]["fp"] == 0
    assert (figures["micro_precision"], figures["micro_recall"]) == (1.0, 0.5)


def test_baseline_b15_no_class_above_its_threshold_anywhere_is_a_result() -> None:
    output = ClassificationOutput(ENTRIES, "run", single=False)
    one = ManifestRow("r1", None, "gs://b/1.jpg", "test", ("apple",), labelled=True)
    rows = list(output.rows(one, {"apple": 0.01}, ()))
    assert not [row for row in rows if "answer" in row]
    assert output.evaluation.summary("test")["micro_f1"] == 0.0


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P"), ("PNG", "I;16"), ("BMP", "RGB"), ("WEBP", "RGB"), ("JPEG", "CMYK")],
)
def test_baseline_b7_pictures_of_every_kind_are_taken(form: str, mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (40, 30), 128 if mode in ("P", "I;16") else None).save(out, form)
    taken = prepared(out.getvalue())
    assert (taken.width, taken.height) == (40, 30)


def test_baseline_b6_b9_a_photo_on_its_side_is_put_upright_and_any_other_keeps_its_bytes() -> None:
    files = Path(__file__).resolve().parents[3] / "samples" / "image_single_classification" / "files"
    turned = [prepared(path.read_bytes()) for path in sorted(files.iterdir())]
    kept = [one for one, path in zip(turned, sorted(files.iterdir()), strict=True) if one.data == path.read_bytes()]
    assert len(turned) - len(kept) == 1
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.new("RGB", (40, 30)).save(out, "JPEG", exif=exif)
    upright = prepared(out.getvalue())
    assert (upright.width, upright.height, upright.re_encoded) == (30, 40, True)
