"""Pictures in prediction requests: which are read, from where, and what is told of those that are not."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from jobkit.image.batches import Pixels
from jobkit.image.files import BadImageError
from jobkit.serving import BadRequest, Prediction, Request
from jobkit.serving_images import MOST_INSTANCES, Cut, ImageReader, predictions
from jobkit.storage import Storage
from tests.jobs.image.conftest import BUCKET


def png(side: int = 8, colour: int = 7) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (colour, colour, colour)).save(out, "PNG")
    return out.getvalue()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def reader(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> ImageReader:
    monkeypatch.setenv("PREDICTION_FOLDERS", f"gs://{BUCKET}/images/, gs://theirs")
    return ImageReader.from_environment(storage)


def test_objects_are_read_from_the_named_folders_and_from_no_other(storage: Storage, reader: ImageReader) -> None:
    inside, outside = f"gs://{BUCKET}/images/a.png", f"gs://{BUCKET}/facts/a.png"
    for uri in (inside, outside):
        storage.write_bytes(uri, png())
    assert reader.read(inside) == reader.read({"content": inside}) == png()
    beside = (outside, f"gs://{BUCKET}/images", f"gs://{BUCKET}/imagesx/a.png", "gs://theirsx/a.png", "gs://theirs")
    for uri in beside:
        with pytest.raises(BadImageError, match="none of the folders"):
            reader.read(uri)
    with pytest.raises(BadImageError, match="does not exist"):
        reader.read(f"gs://{BUCKET}/images/none.png")


def test_without_named_folders_no_object_is_read(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREDICTION_FOLDERS", raising=False)
    with pytest.raises(BadImageError, match="none of the folders"):
        ImageReader.from_environment(storage).read("gs://theirs/a.png")


def brightness(pixels: Pixels) -> list[Prediction]:
    return [{"mean": float(one.mean())} for one in pixels]


def test_every_instance_gets_its_own_prediction_in_order_whatever_the_size_of_a_batch(reader: ImageReader) -> None:
    request = Request([{"content": text(png(colour=number))} for number in range(40)], {})
    said = predictions(reader, request, 16, brightness, size=7)
    assert [one["mean"] for one in said] == [float(number) for number in range(40)]
    assert predictions(reader, Request([], {}), 16, brightness) == []


def bomb() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((9000, 9000), np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_all_bad_instances_of_a_request_are_told_at_once_and_nothing_is_predicted(reader: ImageReader) -> None:
    asked: list[int] = []

    def predict(pixels: Pixels) -> list[Prediction]:
        asked.append(len(pixels))
        return brightness(pixels)

    cases = {
        "million are read": {"content": text(bomb())},
        "cut off or damaged": {"content": text(png(64)[:50])},
        "is empty": {"content": ""},
        "neither base64": {"content": "%%%"},
        "no JPEG": {"image_bytes": {"b64": text(b"GIF, honestly")}},
        "must be": {"image_bytes": "text"},
        "must be {": [1],
        '"image_bytes"': text(png()),  # a bare text is an address
    }
    with pytest.raises(BadRequest) as caught:
        predictions(reader, Request([*cases.values(), text(png())], {}), 16, predict, size=4)
    told = re.split("; (?=instance)", str(caught.value))
    assert [one.partition(":")[0] for one in told] == [f"instance {number}" for number in range(9)]
    assert all(words in one for words, one in zip(cases, told, strict=False))
    assert not asked


def test_a_request_for_more_pictures_than_are_read_at_once_is_refused_unread(reader: ImageReader) -> None:
    with pytest.raises(BadRequest, match=f"at most {MOST_INSTANCES} instances"):
        predictions(reader, Request(["gs://theirs/a.png"] * (MOST_INSTANCES + 1), {}), 16, brightness)


USUAL = Cut(0.25, 50)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, USUAL),
        ({"confidenceThreshold": 1, "maxPredictions": 3.0}, Cut(1.0, 3)),
        ({"maxPredictions": 1}, Cut(0.25, 1)),
    ],
)
def test_parameters_are_those_of_vertexs_batch_prediction(parameters: dict[str, object], expected: Cut) -> None:
    assert Cut.of(parameters, USUAL) == expected


@pytest.mark.parametrize("wrong", [-0.1, 1.1, True, "0.5", None])
def test_wrong_parameters_are_all_named(wrong: object) -> None:
    most = 0 if wrong is None else wrong
    with pytest.raises(BadRequest) as caught:
        Cut.of({"confidenceThreshold": wrong, "maxPredictions": most, "color": 1}, USUAL)
    assert all(name in str(caught.value) for name in ("confidenceThreshold", "maxPredictions", "color"))
