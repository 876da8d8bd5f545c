"""What importing images guarantees: each line is judged by its rules, identical images are one item, limits hold."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1
from google.longrunning import operations_pb2

from local.gcs import StorageServer
from local.vertex.automl_rules import BOXES_SCHEMA, IMAGE_METADATA_SCHEMA, MULTI_LABEL_SCHEMA, SINGLE_LABEL_SCHEMA
from local.vertex.image_header import image_header
from local.vertex.import_lines import Box, Item
from local.vertex.items import Items, merged, size_problem, split_by_filters, split_by_fractions, training_problem
from local.vertex.store import Store
from tests.local.vertex_world import PARENT, Bucket, World, png, vertex_process, world

ML_USE = "aiplatform.googleapis.com/ml_use"


@dataclass
class Here:
    """A stand-in with real storage."""

    world: World
    bucket: Bucket
    number: int = 0

    def dataset(self) -> str:
        request = {"display_name": "d", "metadata_schema_uri": IMAGE_METADATA_SCHEMA}
        return str(self.world.clients.datasets.create_dataset(parent=PARENT, dataset=request).result(timeout=10).name)

    def begin(self, dataset: str, schema: str, *lines: Any) -> Any:
        self.number += 1
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        uri = self.bucket.write(f"import-{self.number}.jsonl", text)
        config = {"gcs_source": {"uris": [uri]}, "import_schema_uri": schema}
        return self.world.clients.datasets.import_data(name=dataset, import_configs=[config])

    def failures(self, dataset: str, schema: str, *lines: Any) -> list[str]:
        operation = self.begin(dataset, schema, *lines)
        operation.result(timeout=30)
        return [failure.message for failure in operation.metadata.generic_metadata.partial_failures]

    def count(self, dataset: str) -> int:
        return int(self.world.clients.datasets.get_dataset(name=dataset).data_item_count)

    def items(self, dataset: str) -> list[Item]:
        """What is kept, read from the state as a restart would."""
        store = Store(self.world.folder / "state" / "vertex.sqlite")
        try:
            return [item for _, item in Items(store).of(dataset)]
        finally:
            store.close()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("vertex")
    with StorageServer(folder / "storage") as storage, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", storage.host)
        bucket = Bucket(storage.host, "user-bucket")
        for number in range(3):
            bucket.write(f"{number}.png", png(number))
        with world(folder) as opened:
            yield Here(opened, bucket)
        bucket.close()


GOOD = {"imageGcsUri": "gs://user-bucket/0.png", "classificationAnnotation": {"displayName": "daisy"}}


def test_an_import_is_an_operation_that_ends(here: Here) -> None:
    dataset = here.dataset()
    operation = here.begin(dataset, SINGLE_LABEL_SCHEMA, GOOD)
    assert operation.operation.name.startswith(f"{dataset}/operations/")
    operation.result(timeout=30)
    assert here.count(dataset) == 1
    assert list(operation.metadata.generic_metadata.partial_failures) == []


def waited(client: Any, operation: str) -> Any:
    """The operation once it is done; this client method gives the answer as bytes."""
    answer = client.wait_operation({"name": operation, "timeout": {"seconds": 20}})
    return operations_pb2.Operation.FromString(answer) if isinstance(answer, bytes) else answer


def test_wait_operation_returns_once_it_is_done(here: Here) -> None:
    operation = here.begin(here.dataset(), SINGLE_LABEL_SCHEMA, GOOD)
    client = here.world.clients.datasets
    assert waited(client, operation.operation.name).done
    with pytest.raises(exceptions.NotFound):
        client.get_operation({"name": f"{PARENT}/operations/1"})


def changed(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **fields}.items() if value is not ...}


BAD_LINES = [
    ("{not json", "not valid JSON"),
    ('"text"', "not a JSON object"),
    (changed(imageGcsUri=...), "imageGcsUri must be gs://"),
    (changed(imageGcsUri="https://example.com/0.png"), "imageGcsUri must be gs://"),
    (changed(imageGcsUri="gs://user-bucket/missing.png"), "the image is not found"),
    (changed(imageGcsUri="gs://no-such-bucket/0.png"), "the image is not found"),
    (changed(imageGcsUri="gs://user-bucket/text.png"), "not an image of a supported format"),
    (changed(imageGcsUri="gs://user-bucket/huge.png"), "larger than 30 MB"),
    (changed(classificationAnnotation={"displayName": ""}), "displayName"),
    (changed(classificationAnnotation={}), "displayName"),
    (changed(classificationAnnotation="daisy"), "wrong form"),
    (changed(classificationAnnotations=[{"displayName": "a"}]), "unknown field 'classificationAnnotations'"),
    (changed(textGcsUri="x"), "unknown field 'textGcsUri'"),
    (changed(dataItemResourceLabels={ML_USE: "train"}), "unknown ml_use 'train'"),
    (changed(dataItemResourceLabels={ML_USE: "TRAINING"}), "unknown ml_use 'TRAINING'"),
    (changed(dataItemResourceLabels={"dataRowId": "x"}), "only lowercase letters"),
    (changed(dataItemResourceLabels={"data_row_id": "A"}), "only lowercase letters"),
    (changed(dataItemResourceLabels={"key": "v" * 65}), "only lowercase letters"),
    (changed(dataItemResourceLabels={f"key{n}": "v" for n in range(65)}), "at most 64 labels"),
    (changed(dataItemResourceLabels={"key": 1}), "object of texts"),
]


@pytest.fixture(scope="module")
def odd_objects(here: Here) -> None:
    here.bucket.write("text.png", "not a picture")
    here.bucket.write("huge.png", png(9) + b"\x00" * (30 * 1024 * 1024))


@pytest.mark.parametrize(("line", "words"), BAD_LINES)
@pytest.mark.usefixtures("odd_objects")
def test_a_bad_line_is_a_partial_failure_and_the_others_are_imported(here: Here, line: Any, words: str) -> None:
    dataset = here.dataset()
    (failure,) = here.failures(dataset, SINGLE_LABEL_SCHEMA, line, changed(imageGcsUri="gs://user-bucket/1.png"))
    assert words in failure
    assert " line 1: " in failure
    assert here.count(dataset) == 1


@pytest.mark.parametrize("ml_use", ["training", "validation", "test"])
def test_the_documented_ml_uses_are_accepted(here: Here, ml_use: str) -> None:
    dataset = here.dataset()
    labels = {ML_USE: ml_use, "data_row_id": "ckx-1_2"}
    assert here.failures(dataset, SINGLE_LABEL_SCHEMA, changed(dataItemResourceLabels=labels)) == []
    (item,) = here.items(dataset)
    assert (item.ml_use, dict(item.item_labels)) == (ml_use, {"data_row_id": "ckx-1_2"})


def test_at_most_twenty_partial_failures_are_told(here: Here) -> None:
    lines = [changed(imageGcsUri=f"gs://user-bucket/missing-{number}.png") for number in range(25)]
    assert len(here.failures(here.dataset(), SINGLE_LABEL_SCHEMA, GOOD, *lines)) == 20


@pytest.mark.parametrize("lines", [["{not json"], []])
def test_an_import_of_nothing_fails(here: Here, lines: list[Any]) -> None:
    with pytest.raises(exceptions.GoogleAPICallError, match="Nothing was imported"):
        here.begin(here.dataset(), SINGLE_LABEL_SCHEMA, *lines).result(timeout=30)


def test_a_missing_import_file_fails_the_import(here: Here) -> None:
    config = {"gcs_source": {"uris": ["gs://user-bucket/no.jsonl"]}, "import_schema_uri": SINGLE_LABEL_SCHEMA}
    operation = here.world.clients.datasets.import_data(name=here.dataset(), import_configs=[config])
    with pytest.raises(exceptions.GoogleAPICallError, match="is not found"):
        operation.result(timeout=30)


def test_identical_images_are_one_item_with_all_their_labels(here: Here) -> None:
    here.bucket.write("copy-of-0.png", png(0))
    dataset = here.dataset()
    lines = [
        {"imageGcsUri": "gs://user-bucket/0.png", "classificationAnnotations": [{"displayName": "a"}]},
        {"imageGcsUri": "gs://user-bucket/copy-of-0.png", "classificationAnnotations": [{"displayName": "b"}]},
        {"imageGcsUri": "gs://user-bucket/1.png", "classificationAnnotations": [{"displayName": "c"}]},
    ]
    for line in lines:
        line["dataItemResourceLabels"] = {ML_USE: "training"}
    assert here.failures(dataset, MULTI_LABEL_SCHEMA, *lines) == []
    assert sorted(item.labels for item in here.items(dataset)) == [("a", "b"), ("c",)]
    assert here.failures(dataset, MULTI_LABEL_SCHEMA, *lines) == []
    assert here.count(dataset) == 2


def test_boxes_too_small_are_dropped_and_impossible_ones_are_failures(here: Here) -> None:
    here.bucket.write("wide.png", png(11, 100, 100))
    dataset = here.dataset()

    def line(*edges: float) -> dict[str, Any]:
        box = dict(zip(("xMin", "yMin", "xMax", "yMax"), edges, strict=True))
        return {"imageGcsUri": "gs://user-bucket/wide.png", "boundingBoxAnnotations": [{"displayName": "a", **box}]}

    kept = [(0.1, 0.1, 0.5, 0.5), (0.0, 0.0, 0.08, 0.08)]
    dropped = [(0.1, 0.1, 0.105, 0.9), (0.1, 0.1, 0.17, 0.9)]
    impossible = [(0.5, 0.1, 0.4, 0.9), (-0.1, 0.1, 0.4, 0.9), (0.1, 0.1, 1.1, 0.9)]
    lines = [line(*edges) for edges in (*kept, *dropped, *impossible)]
    assert len(here.failures(dataset, BOXES_SCHEMA, *lines)) == len(impossible)
    (item,) = here.items(dataset)
    assert item.boxes == tuple(Box("a", *edges) for edges in kept)


@pytest.mark.parametrize(
    ("edges", "size", "kept"),
    [
        ((0.0, 0.0, 0.01, 0.5), None, True),
        ((0.0, 0.0, 0.0099, 0.5), None, False),
        ((0.0, 0.0, 0.5, 0.0099), (900, 900), False),
        ((0.0, 0.0, 0.01, 0.5), (800, 800), True),
        ((0.0, 0.0, 0.01, 0.5), (799, 800), False),
        ((0.0, 0.0, 0.01, 0.01), (4000, 4000), True),
        ((0.0, 0.0, 0.02, 0.02), (380, 4000), False),
        ((0.0, 0.0, 0.01, 0.5), (2000, 2000), True),
        ((0.0, 0.0, 0.5, 0.01), (20000, 780), False),
    ],
)
def test_a_box_needs_one_percent_and_eight_pixels_of_the_scaled_image(
    edges: tuple[float, float, float, float], size: tuple[int, int] | None, kept: bool
) -> None:
    assert Box("a", *edges).is_large_enough(size) == kept


def test_more_than_500_boxes_in_an_image_are_a_failure(here: Here) -> None:
    box = {"displayName": "a", "xMin": 0.1, "yMin": 0.1, "xMax": 0.9, "yMax": 0.9}
    lines = [
        {"imageGcsUri": f"gs://user-bucket/{number}.png", "boundingBoxAnnotations": [box] * boxes}
        for number, boxes in enumerate((500, 501))
    ]
    (failure,) = here.failures(here.dataset(), BOXES_SCHEMA, *lines)
    assert "more than 500" in failure


def test_a_deleted_data_set_is_gone_with_its_items(here: Here) -> None:
    dataset = here.dataset()
    here.begin(dataset, SINGLE_LABEL_SCHEMA, GOOD).result(timeout=30)
    here.world.clients.datasets.delete_dataset(name=dataset).result(timeout=10)
    with pytest.raises(exceptions.NotFound):
        here.world.clients.datasets.get_dataset(name=dataset)
    assert here.items(dataset) == []


def test_an_import_that_a_kill_interrupted_goes_on(here: Here, tmp_path: Path) -> None:
    here.bucket.write_lines("restart.jsonl", [changed(imageGcsUri=f"gs://user-bucket/{n}.png") for n in range(3)])
    with vertex_process(tmp_path) as vertex:
        datasets = vertex.world.clients.datasets
        request = {"display_name": "d", "metadata_schema_uri": IMAGE_METADATA_SCHEMA}
        dataset = datasets.create_dataset(parent=PARENT, dataset=request).result(timeout=10).name
        config = {
            "gcs_source": {"uris": ["gs://user-bucket/restart.jsonl"]},
            "import_schema_uri": SINGLE_LABEL_SCHEMA,
        }
        operation = datasets.import_data(name=dataset, import_configs=[config]).operation.name
        vertex.kill()
        vertex.start()
        datasets = vertex.world.clients.datasets
        ended = waited(datasets, operation)
        assert ended.done
        assert not ended.error.code
        assert datasets.get_dataset(name=dataset).data_item_count == 3


# --- the rules that need many items, as pure functions ---


@pytest.mark.parametrize(
    ("images", "boxes", "refused"),
    [(150_000, 0, False), (150_001, 0, True), (1, 1_000_000, False), (1, 1_000_001, True)],
)
def test_a_data_set_has_a_largest_size(images: int, boxes: int, refused: bool) -> None:
    assert (size_problem(images, boxes) is not None) == refused


def labelled(counts: dict[str, int], ml_use: str = "training") -> list[Item]:
    return [Item(f"gs://b/{label}{n}", (label,), (), ml_use) for label, number in counts.items() for n in range(number)]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (labelled({"a": 10, "b": 10}), None),
        (labelled({"a": 10, "b": 9}), "at least 10 images; too few for: b"),
        (labelled({}), "has 0 labels"),
        (labelled({f"label{n}": 10 for n in range(1000)}), None),
        (labelled({f"label{n}": 10 for n in range(1001)}), "has 1001 labels"),
        (labelled({"a": 10}, "test"), "No data item is in the training split"),
    ],
)
def test_training_needs_labels_with_enough_images(items: list[Item], words: str | None) -> None:
    problem = training_problem(items, items)
    assert (problem is None) if words is None else (problem is not None and words in problem)


def test_an_item_merged_from_two_splits_gets_a_random_one_that_a_repeat_does_not_change() -> None:
    first, second = Item("gs://b/1", ("a",), (), "training"), Item("gs://b/2", ("a",), (), "test")
    seen = {merged(first, second, f"digest {number}").ml_use for number in range(50)}
    assert seen == {"training", "validation", "test"}
    once = merged(first, second, "digest")
    assert merged(once, second, "digest") == once


@pytest.mark.parametrize(
    ("ml_use", "filters", "split"),
    [
        ("training", ("a=training", "a=validation", "a=test"), "training"),
        ("test", ("a=training", "a=validation", "-"), None),
        ("", ("a=training", "a=validation", "a=test"), None),
        ("test", ("a=test", "-", "-"), "training"),
    ],
)
def test_filters_say_where_an_item_goes(ml_use: str, filters: tuple[str, ...], split: str | None) -> None:
    written = [text.replace("a=", f"labels.{ML_USE}=") for text in filters]
    placed = split_by_filters(Item("gs://b/1", ("a",), (), ml_use), written)
    assert (placed.ml_use if placed else None) == split


def test_fractions_place_what_has_no_split_of_its_own() -> None:
    items = [(f"digest {number}", Item(f"gs://b/{number}")) for number in range(2000)]
    placed = [split_by_fractions(item, digest, (0.5, 0.25, 0.0)) for digest, item in items]
    shares = {
        split: sum((item.ml_use if item else "") == split for item in placed) for split in ("training", "test", "")
    }
    assert 900 < shares["training"] < 1100
    assert shares["test"] == 0
    assert 400 < shares[""] < 600
    fixed = split_by_fractions(Item("gs://b/1", ml_use="test"), "digest", (1.0, 0.0, 0.0))
    assert fixed is not None
    assert fixed.ml_use == "test"


@pytest.mark.parametrize(
    ("head", "mime_type", "size"),
    [
        (png(0, 30, 20), "image/png", (30, 20)),
        (b"GIF89a\x1e\x00\x14\x00", "image/gif", (30, 20)),
        (b"BM" + b"\x00" * 16 + (30).to_bytes(4, "little") + (20).to_bytes(4, "little"), "image/bmp", (30, 20)),
        (b"\x00\x00\x01\x00\x01\x00\x1e\x14", "image/vnd.microsoft.icon", (30, 20)),
        (
            b"\xff\xd8\xff\xe0\x00\x04\x00\x00\xff\xc0\x00\x0b\x08\x00\x14\x00\x1e\x01\x01\x11\x00",
            "image/jpeg",
            (30, 20),
        ),
        (b"\xff\xd8\xff\xe0\xff\xff", "image/jpeg", None),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp", None),
        (b"II*\x00", "image/tiff", None),
    ],
)
def test_the_head_of_an_image_says_its_format_and_size(
    head: bytes, mime_type: str, size: tuple[int, int] | None
) -> None:
    header = image_header(head)
    assert header is not None
    assert (header.mime_type, header.size) == (mime_type, size)


@pytest.mark.parametrize("head", [b"", b"<svg/>", b"\x89PNG", b"GIF8", b"BM"])
def test_anything_else_is_no_image(head: bytes) -> None:
    assert image_header(head) is None


def test_the_response_of_an_import_has_its_type(here: Here) -> None:
    assert isinstance(
        here.begin(here.dataset(), SINGLE_LABEL_SCHEMA, GOOD).result(timeout=30), aiplatform_v1.ImportDataResponse
    )
