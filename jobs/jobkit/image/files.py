"""Pictures from strangers: opened with a bound, put upright, and re-encoded only where it must be.

Vertex reads JPEG, PNG, GIF and BMP for training (files up to 30 MB) and wants at most 1.5 MB for a prediction:
https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data
https://cloud.google.com/vertex-ai/docs/image-data/classification/get-predictions
"""

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000
MAX_TRAINING_BYTES = 30_000_000
MAX_PREDICTION_BYTES = 1_500_000
JPEG_QUALITY = 95
MAX_JPEG_SIDE = 65_500  # that libjpeg writes
EXIF_ORIENTATION = 0x0112
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
# Pictures that are decoded whole at the same time: one of 64 million pixels takes 200 MB and more.
_DECODING = threading.BoundedSemaphore(4)
WHITE = (255, 255, 255)

# Pillow's format names -> media type. MPO is the JPEG with a second picture that phones write.
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
}
# Pillow opens an MPO as a JPEG and renames it.
OPENED_FORMATS = tuple(name for name in MEDIA_TYPES if name != "MPO")
# What Vertex takes for training without a change, and the colour modes in which it comes out as people see it.
KEPT_FORMATS = frozenset({"JPEG", "MPO", "PNG", "GIF", "BMP"})
KEPT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/bmp": ".bmp"}

# All that Pillow's decoders raise on bytes that are not what they claim to be.
DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, TypeError)

# Our own bound below is checked right after the header is read; Pillow's would warn at one size and raise at another.
Image.MAX_IMAGE_PIXELS = None


class BadImageError(ValueError):
    """The bytes cannot be used as a picture; the message is a sentence for the report."""


@dataclass(frozen=True)
class Picture:
    """The bytes that are stored: upright, of a kind that Vertex reads, with the size that a person sees."""

    data: bytes
    media_type: str
    width: int
    height: int
    re_encoded: bool

    @property
    def suffix(self) -> str:
        return SUFFIXES[self.media_type]


@contextmanager
def opened(data: bytes, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The picture with its header read and its pixels bounded, nothing decoded yet. Raises BadImageError.

    A decoder's error inside the `with` block becomes BadImageError too, so truncated files are told like any other.
    """
    try:
        with Image.open(io.BytesIO(data), formats=OPENED_FORMATS) as image:
            if image.width * image.height > max_pixels:
                size = f"{image.width} x {image.height} pixels"
                raise BadImageError(f"the picture has {size}; at most {max_pixels / 1e6:g} million are read")
            yield image
    except BadImageError:
        raise
    except DECODER_ERRORS as error:
        reason = "is cut off or damaged"
        if not data:
            reason = "is empty"
        elif isinstance(error, UnidentifiedImageError):
            reason = "is no JPEG, PNG, GIF, BMP, WEBP or TIFF picture"
        raise BadImageError(f"the file {reason}") from error


def prepared(data: bytes) -> Picture:
    """The picture as it is stored for training: the same bytes wherever Vertex reads them as a person sees them.

    Re-encoded are: a picture that lies on its side by an EXIF note, WEBP, TIFF, an animation (its first frame), CMYK,
    16 and 32 bit, and a file over 30 MB. Raises BadImageError.
    """
    with opened(data) as image:
        form = image.format or ""
        turned = image.getexif().get(EXIF_ORIENTATION, 1) not in (0, 1)
        # The second picture of an MPO is a preview that JPEG readers never see; others with a second frame are moving.
        animated = form != "MPO" and getattr(image, "n_frames", 1) > 1
        mode = image.mode
        width, height = image.size
        keep = form in KEPT_FORMATS and mode in KEPT_MODES and not turned and not animated
        if keep and len(data) <= MAX_TRAINING_BYTES:
            if not is_whole(data, form):
                _decode_all(image)
            return Picture(data, MEDIA_TYPES[form], width, height, re_encoded=False)
        with _DECODING:
            upright = as_rgb(image)
            encoded = _within(upright, MAX_TRAINING_BYTES)
    return Picture(encoded, "image/jpeg", upright.width, upright.height, re_encoded=True)


def prediction_copy(picture: Picture) -> Picture | None:
    """A smaller JPEG for prediction, or None where the picture itself is small enough. Raises BadImageError."""
    if len(picture.data) <= MAX_PREDICTION_BYTES:
        return None
    with opened(picture.data) as image, _DECODING:
        data = _within(as_rgb(image), MAX_PREDICTION_BYTES)
    return Picture(data, "image/jpeg", picture.width, picture.height, re_encoded=True)


def as_rgb(image: Image.Image) -> Image.Image:
    """Eight bits a channel, upright, transparency on white: what a person sees."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        upright = _eight_bits(upright)
    if upright.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in upright.info:
        with_alpha = upright.convert("RGBA")
        flat = Image.new("RGB", with_alpha.size, WHITE)
        flat.paste(with_alpha, mask=with_alpha.getchannel("A"))
        return flat
    return upright.convert("RGB")


def is_whole(data: bytes, form: str) -> bool:
    """Whether the file ends as its kind ends, so that nothing was cut off; without reading a pixel.

    Damage in its middle is left to whoever decodes it: Vertex tells it among the import's failures, our trainers among
    the pictures that they could not read.
    """
    if form in ("JPEG", "MPO"):
        return data.endswith(b"\xff\xd9")
    if form == "PNG":
        return data.endswith(_PNG_END)
    if form == "GIF":
        return data.endswith(b"\0;")
    return False


def _decode_all(image: Image.Image) -> None:
    """Reads every pixel once of a file that ends oddly, so that a truncated one is told here and not by Vertex later.

    A JPEG is decoded at an eighth of its size: the whole stream is still read, at a third of the cost.
    """
    if image.format in ("JPEG", "MPO"):
        image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
    image.load()


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 bit by its range; 32 bit and float, which have no agreed range, stretched from darkest to brightest."""
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (1 / 256) + 0).convert("L")
    extrema = image.getextrema()
    low, high = float(extrema[0]), float(extrema[1])  # type: ignore[arg-type]
    scale = 255 / (high - low) if high > low else 0.0
    return image.convert("F").point(lambda value: value * scale - low * scale).convert("L")


def _within(image: Image.Image, max_bytes: int) -> bytes:
    """JPEG bytes of at most `max_bytes`, made smaller by halves of the area until they fit."""
    longest = max(image.size)
    if longest > MAX_JPEG_SIDE:
        image = image.resize([max(1, side * MAX_JPEG_SIDE // longest) for side in image.size])
    while True:
        out = io.BytesIO()
        image.save(out, "JPEG", quality=JPEG_QUALITY)
        if out.tell() <= max_bytes or min(image.size) <= 16:
            return out.getvalue()
        size = (max(1, round(image.width * 0.7)), max(1, round(image.height * 0.7)))
        image = image.resize(size, Image.Resampling.LANCZOS)
