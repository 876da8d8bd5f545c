"""Equal images are used once and never both learned and tested; Vertex's limits are told before anything is paid."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from etl.image_classification.files import import_line, manifest_row
from jobkit.errors import BadConfiguration, BadData
from jobkit.image.drafts import Draft
from jobkit.image.limits import MAX_IMAGES, MAX_LABELS, TWINS, advice, check, kept_labels
from jobkit.image.merging import MergedImages
from jobkit.image.store import StoredImage, unsigned
from jobkit.run_dataset import parse_labels
from jobkit.splits import ML_USE

TRAIN, VALID, TEST = "training", "validation", "test"
PIPELINES = Path(__file__).resolve().parents[3] / "functions" / "pipelines"


@pytest.mark.parametrize(
    ("rows", "split", "labels"),
    [
        pytest.param([(TRAIN, "a")], TRAIN, ("a",), id="alone"),
        pytest.param([(TRAIN, "a"), (TRAIN, "a")], TRAIN, ("a",), id="twice in one split"),
        pytest.param([(TRAIN, "a"), (TEST, "a")], TEST, ("a",), id="test wins over training"),
        pytest.param([(TEST, "a"), (TRAIN, "a")], TEST, ("a",), id="in any order"),
        pytest.param([(TRAIN, "a"), (VALID, "a")], VALID, ("a",), id="validation wins over training"),
        pytest.param([(VALID, "a"), (TEST, "a"), (TRAIN, "a")], TEST, ("a",), id="test wins over all"),
        pytest.param([(TRAIN, "a"), (TRAIN, "b")], TRAIN, None, id="two labels"),
        pytest.param([(TRAIN, "a"), (TEST, "b"), (TEST, "a")], TEST, None, id="a dispute is never settled later"),
    ],
)
def test_equal_images_take_one_split_and_their_common_label(
    rows: list[tuple[str, str]], split: str, labels: tuple[str, ...] | None
) -> None:
    images = MergedImages()
    for row_split, label in rows:
        images.add("hash", row_split, (label,))
    merged = images.get("hash")
    assert (merged.split, merged.labels) == (split, labels)
    assert list(images.disputed()) == ([] if labels else ["hash"])
    assert bool(list(images.across_splits())) == (len({row_split for row_split, _ in rows}) > 1)
    assert images.counts() == ({"a": Counter({split: 1})} if labels else {})


def draft(row: str, split: str, *options: str, reason: str = "", image: str = "hash") -> Draft:
    uri = f"gs://b/images/{image}.jpg"
    stored = StoredImage(image, uri, "image/jpeg", 64, 40, uri, "image/jpeg")
    return Draft(row, f"key-{row}", split, stored, not reason, options, reason)


@pytest.mark.parametrize(
    ("row", "others", "labels", "note"),
    [
        pytest.param(draft("1", TRAIN, "o1"), [], ("Red apple",), "", id="labelled"),
        pytest.param(draft("1", TRAIN, reason="unlabelled"), [], (), "unlabelled", id="nobody labelled it"),
        pytest.param(draft("1", "unassigned", "o1", reason="no_split"), [], (), "no_split", id="in no split"),
        pytest.param(draft("1", TRAIN, "o9"), [], (), "class_left_out", id="a class with too few images"),
        pytest.param(
            draft("1", TRAIN, "o1"),
            [draft("2", TEST, "o2")],
            (),
            "same_image_labelled_differently",
            id="the same image under another label",
        ),
        pytest.param(draft("1", TRAIN, "o1"), [draft("2", TEST, "o1")], ("Red apple",), "", id="a twin in test"),
    ],
)
def test_every_row_is_in_the_manifest_whatever_became_of_its_label(
    row: Draft, others: list[Draft], labels: tuple[str, ...], note: str
) -> None:
    images = MergedImages()
    for one in (row, *others):
        if one.labelled:
            images.add(one.image.sha256, one.split, one.options)
    written = manifest_row(row, images, {"o1": "Red apple", "o2": "Pear"})
    assert (written.data_row_id, written.content, written.split) == ("1", "gs://b/images/hash.jpg", row.split)
    assert (written.labels, written.labelled, written.note) == (labels, not note, note)


def test_the_training_line_names_the_split_that_won() -> None:
    images = MergedImages()
    images.add("hash", TRAIN, ("o1",))
    images.add("hash", TEST, ("o1",))
    assert import_line(draft("1", TRAIN, "o1"), images, ("Red apple",)) == {
        "imageGcsUri": "gs://b/images/hash.jpg",
        "classificationAnnotation": {"displayName": "Red apple"},
        "dataItemResourceLabels": {ML_USE: "test"},
    }


def test_a_draft_survives_its_line() -> None:
    below = {"under": "o1", "question": "ripe?", "answers": ["yes"]}
    for one in (draft("1", TRAIN, "o1", "o2"), replace(draft("2", TRAIN, "o1"), nested=(below,))):
        assert Draft.from_line(one.to_line()) == one


ENOUGH = {TRAIN: 8, VALID: 1, TEST: 1}


@pytest.mark.parametrize(
    ("counts", "minimum", "kept", "left_out"),
    [
        pytest.param({"a": ENOUGH, "b": ENOUGH}, 1, ("a", "b"), {}, id="ten images each are enough"),
        pytest.param({"a": ENOUGH, "b": {TRAIN: 7, TEST: 2}}, 1, ("a",), {"b": 9}, id="nine are not"),
        pytest.param({"a": ENOUGH, "b": {VALID: 9, TEST: 9}}, 1, ("a",), {"b": 18}, id="none to learn from"),
        pytest.param({"a": ENOUGH, "b": {**ENOUGH, TRAIN: 20}}, 9, ("b",), {"a": 10}, id="the run asks for more"),
        pytest.param({"a": ENOUGH}, 1, ("a",), {"b": 0}, id="a class that nobody used"),
    ],
)
def test_classes_with_too_few_images_are_left_out(
    counts: dict, minimum: int, kept: tuple[str, ...], left_out: dict[str, int]
) -> None:
    assert kept_labels(counts, ("a", "b"), minimum) == (kept, left_out)


@pytest.mark.parametrize(
    ("counts", "kept", "left_out", "strict", "says"),
    [
        pytest.param({"a": ENOUGH}, ("a",), {"b": 3}, False, "Fewer than two classes", id="one class"),
        pytest.param({}, (), {}, False, "Fewer than two classes", id="nothing labelled"),
        pytest.param({"a": ENOUGH, "b": ENOUGH}, ("a", "b"), {"c": 4}, True, "too few images: c", id="strict"),
        pytest.param(
            {str(i): ENOUGH for i in range(MAX_LABELS + 1)},
            tuple(map(str, range(MAX_LABELS + 1))),
            {},
            False,
            "1001 classes",
            id="too many classes",
        ),
        pytest.param(
            {"a": ENOUGH, "b": {**ENOUGH, TRAIN: MAX_IMAGES}}, ("a", "b"), {}, False, "labelled images", id="too many"
        ),
        pytest.param(
            {"a": {TRAIN: 10}, "b": {TRAIN: 9, TEST: 1}}, ("a", "b"), {}, False, "validation split", id="empty split"
        ),
    ],
)
def test_what_vertex_would_refuse_ends_in_a_sentence(
    counts: dict, kept: tuple[str, ...], left_out: dict[str, int], strict: bool, says: str
) -> None:
    with pytest.raises(BadData, match=says) as caught:
        check(counts, kept, left_out, strict)
    assert len(caught.value.sentence) <= 255
    assert caught.value.hint


@pytest.mark.parametrize("multi_label", [False, True])
def test_over_automl_s_limits_the_model_type_without_them_is_named(multi_label: bool) -> None:
    twin = TWINS[multi_label]
    assert (PIPELINES / f"{twin}.yaml").is_file()
    labels = {str(i): ENOUGH for i in range(MAX_LABELS + 1)}
    for counts, images in ((labels, MAX_IMAGES), ({"a": ENOUGH, "b": ENOUGH}, MAX_IMAGES + 1)):
        with pytest.raises(BadData) as caught:
            check(counts, tuple(counts), {}, strict=False, images=images, twin=twin)
        assert twin in caught.value.hint
    check({"a": ENOUGH, "b": ENOUGH}, ("a", "b"), {}, strict=False, images=MAX_IMAGES)


def test_what_the_run_asks_for_beyond_automl_s_own_limit_is_told_as_its_own() -> None:
    with pytest.raises(BadData, match="AutoML needs 10 images a class, and minimum_examples asks for 9 in training"):
        check({"a": ENOUGH, "b": ENOUGH}, (), {"a": 10, "b": 10}, strict=False, minimum_training=9)


def test_a_good_data_set_passes_and_a_lopsided_one_gets_advice() -> None:
    even = {"a": ENOUGH, "b": ENOUGH}
    check(even, ("a", "b"), {"c": 2}, strict=False)
    assert advice(even, ("a", "b")) == []
    (sentence,) = advice({"a": ENOUGH, "b": {TRAIN: 1001}}, ("a", "b"))
    assert "'b' has 1001 images and 'a' 10" in sentence


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", {}),
        ("lb_run_key=abc", {"lb_run_key": "abc"}),
        ("lb_run_key=abc,lb_attempt=etl-x-1-0a", {"lb_run_key": "abc", "lb_attempt": "etl-x-1-0a"}),
        ("a=", {"a": ""}),
    ],
)
def test_labels_are_read(text: str, labels: dict[str, str]) -> None:
    assert parse_labels(text) == labels


@pytest.mark.parametrize("text", ["a", "A=b", "a=B", "a=b c", "=b", "a=" + "x" * 64, "a=b=c", "1a=b"])
def test_labels_that_vertex_would_refuse_are_refused(text: str) -> None:
    with pytest.raises(BadConfiguration):
        parse_labels(text)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://a/b.jpg", "https://a/b.jpg"),
        ("https://a/b.jpg?X-Goog-Signature=1&X-Goog-Expires=2&generation=7", "https://a/b.jpg?generation=7"),
        ("https://a/b.jpg?Expires=1&KeyName=k&Signature=2", "https://a/b.jpg?KeyName=k"),
        ("https://a/b.jpg?X-Amz-Date=1&versionId=3", "https://a/b.jpg?versionId=3"),
        ("https://a/b?id=1&sig=x&se=2&sp=r&sv=3", "https://a/b?id=1"),
        ("https://a/b?id=2", "https://a/b?id=2"),
        ("gs://a/b.jpg", "gs://a/b.jpg"),
    ],
)
def test_a_url_signed_anew_is_the_same_picture(url: str, kept: str) -> None:
    assert unsigned(url) == kept
