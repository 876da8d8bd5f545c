"""Every kind of picture is kept as it is or made readable for Vertex; hostile files end in a sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jobkit.image.batches import READERS, batches, decoded
from jobkit.image.files import (
    MAX_JPEG_SIDE,
    MAX_PREDICTION_BYTES,
    BadImageError,
    Picture,
    as_rgb,
    is_whole,
    opened,
    prediction_copy,
    prepared,
)

RNG = np.random.default_rng(7)
WIDE = Image.fromarray(
    np.kron(RNG.integers(0, 255, (5, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
)  # 64 x 40


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def exif(orientation: int) -> Image.Exif:
    note = Image.Exif()
    note[0x0112] = orientation
    return note


def sixteen_bit() -> Image.Image:
    return Image.fromarray(np.full((40, 64), 0x8000, np.uint16))


ALPHA = Image.merge("RGBA", [*WIDE.split(), Image.new("L", WIDE.size, 0)])


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        pytest.param(encoded(WIDE, "JPEG"), "image/jpeg", id="jpeg"),
        pytest.param(encoded(WIDE.convert("L"), "JPEG"), "image/jpeg", id="grey jpeg"),
        pytest.param(encoded(WIDE, "JPEG", exif=exif(1)), "image/jpeg", id="jpeg that stands upright by its note"),
        pytest.param(encoded(WIDE, "PNG"), "image/png", id="png"),
        pytest.param(encoded(ALPHA, "PNG"), "image/png", id="png with alpha"),
        pytest.param(encoded(WIDE.quantize(16), "PNG"), "image/png", id="palette png"),
        pytest.param(encoded(WIDE.convert("1"), "PNG"), "image/png", id="black and white png"),
        pytest.param(encoded(WIDE, "GIF"), "image/gif", id="gif"),
        pytest.param(encoded(WIDE, "BMP"), "image/bmp", id="bmp"),
    ],
)
def test_what_vertex_reads_keeps_its_bytes(data: bytes, media_type: str) -> None:
    assert prepared(data) == Picture(data, media_type, 64, 40, re_encoded=False)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(WIDE, "WEBP", lossless=True), id="webp"),
        pytest.param(encoded(WIDE, "TIFF"), id="tiff"),
        pytest.param(encoded(WIDE.convert("CMYK"), "JPEG"), id="cmyk jpeg"),
        pytest.param(encoded(WIDE, "GIF", save_all=True, append_images=[WIDE.rotate(180)]), id="moving gif"),
    ],
)
def test_what_vertex_does_not_read_becomes_a_jpeg_of_the_same_picture(data: bytes) -> None:
    picture = prepared(data)
    assert (picture.media_type, picture.width, picture.height, picture.re_encoded) == ("image/jpeg", 64, 40, True)
    with opened(picture.data) as image:
        difference = np.abs(np.asarray(as_rgb(image)).astype(int) - np.asarray(WIDE).astype(int))
    assert difference.mean() < 16


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photo_that_lies_on_its_side_by_its_exif_note_is_put_upright(orientation: int) -> None:
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    picture = prepared(encoded(WIDE.transpose(turned), "JPEG", quality=95, exif=exif(orientation)))
    with opened(picture.data) as image:
        assert image.getexif().get(0x0112, 1) == 1
        pixels = np.asarray(as_rgb(image)).astype(int)
    assert (picture.width, picture.height) == (64, 40)
    assert np.abs(pixels - np.asarray(WIDE)).mean() < 16


@pytest.mark.parametrize(
    ("image", "form", "level"),
    [
        pytest.param(sixteen_bit(), "PNG", 0x80, id="16 bit grey"),
        pytest.param(
            Image.fromarray(np.linspace(0, 1, 2560, dtype=np.float32).reshape(40, 64)), "TIFF", 127, id="float"
        ),
        pytest.param(Image.fromarray(np.arange(2560, dtype=np.int32).reshape(40, 64)), "TIFF", 127, id="32 bit"),
    ],
)
def test_deep_pictures_become_eight_bit_without_clipping(image: Image.Image, form: str, level: int) -> None:
    with opened(prepared(encoded(image, form)).data) as small:
        assert abs(float(np.asarray(as_rgb(small)).mean()) - level) <= 2


def test_transparency_shows_white() -> None:
    with opened(encoded(ALPHA, "PNG")) as image:
        assert np.asarray(as_rgb(image)).min() == 255


def bomb() -> bytes:
    """A PNG of 30,000 x 30,000 pixels in a few hundred bytes: only its header is true."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"<html>404 not found</html>", "is no JPEG, PNG, GIF", id="a web page"),
        pytest.param(b"%PDF-1.7", "is no JPEG, PNG, GIF", id="a pdf"),
        pytest.param(encoded(WIDE, "JPEG")[:-200], "cut off or damaged", id="cut jpeg"),
        pytest.param(encoded(WIDE, "PNG")[:-60], "cut off or damaged", id="cut png"),
        pytest.param(encoded(WIDE, "BMP")[:-60], "cut off or damaged", id="cut bmp"),
        pytest.param(encoded(WIDE, "WEBP")[:-60], "cut off or damaged", id="cut webp"),
        pytest.param(encoded(WIDE, "TIFF")[:200], "cut off or damaged", id="cut tiff"),
        pytest.param(bomb(), "30000 x 30000 pixels", id="bomb"),
    ],
)
def test_what_is_no_usable_picture_ends_in_a_sentence(data: bytes, says: str) -> None:
    with pytest.raises(BadImageError, match=says):
        prepared(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF"])
def test_no_pixel_of_a_whole_picture_is_decoded_and_an_odd_end_is_looked_into(form: str) -> None:
    data = encoded(WIDE, form)
    assert is_whole(data, form)
    assert not is_whole(data[:-1], form)
    padded = data + b"\0\0"  # what some cameras and servers append does no harm
    assert not is_whole(padded, form)
    assert prepared(padded).data == padded


def test_only_a_large_picture_gets_a_smaller_copy_for_prediction() -> None:
    assert prediction_copy(prepared(encoded(WIDE, "JPEG"))) is None
    noise = Image.fromarray(RNG.integers(0, 255, (1100, 1400, 3), dtype=np.uint8))
    large = prepared(encoded(noise, "JPEG", quality=98))
    copy = prediction_copy(large)
    assert not large.re_encoded
    assert copy is not None
    assert len(copy.data) <= MAX_PREDICTION_BYTES < len(large.data)
    assert copy.media_type == "image/jpeg"


def test_batches_keep_the_order_and_set_unreadable_pictures_aside() -> None:
    files = [encoded(Image.new("RGB", (20, 10), (i, i, i)), "PNG") for i in range(50)]
    files[13] = b"nothing"

    found = list(batches(lambda number: files[number], range(50), side_px=8, size=16))
    assert [number for batch in found for number in batch.items] == [i for i in range(50) if i != 13]
    assert next(failure for batch in found for failure in batch.failures)[0] == 13
    for batch in found:
        assert batch.pixels.shape == (len(batch.items), 8, 8, 3)
        assert [int(pixels[0, 0, 0]) for pixels in batch.pixels] == batch.items


def test_batches_take_only_a_few_items_ahead() -> None:
    taken = []

    def items() -> object:
        for number in range(1000):
            taken.append(number)
            yield number

    picture = encoded(WIDE, "PNG")
    stream = batches(lambda _: picture, items(), side_px=8, size=4)
    next(stream)
    assert len(taken) <= 4 + 4 * READERS
    stream.close()


def test_the_network_sees_the_whole_picture() -> None:
    picture = Image.new("RGB", (400, 100))
    picture.paste((255, 255, 255), (380, 0, 400, 100))
    assert decoded(encoded(picture, "PNG"), 20)[:, -1].mean() > 200


@pytest.mark.parametrize("form", ["TIFF", "PNG"])
def test_a_picture_wider_than_jpeg_can_be_is_made_smaller_and_not_refused(form: str) -> None:
    noise = Image.fromarray(RNG.integers(0, 255, (20, 66_000, 3), dtype=np.uint8))
    taken = prepared(encoded(noise, form))
    copy = prediction_copy(taken) or taken
    assert (taken.width, taken.height, copy.media_type) == (66_000, 20, "image/jpeg")
    with opened(copy.data) as picture:
        picture.load()
        assert picture.width <= MAX_JPEG_SIDE and len(copy.data) <= MAX_PREDICTION_BYTES
