"""The format and size of an image from its first bytes, for the rules about formats and small boxes."""

import struct
from dataclasses import dataclass

HEAD_BYTES = 65536
JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start-of-frame markers, which carry the size


@dataclass(frozen=True)
class ImageHeader:
    """What a file's head says; the size in pixels is None where the head does not hold it."""

    mime_type: str
    size: tuple[int, int] | None


def image_header(head: bytes) -> ImageHeader | None:
    """Return the header of an image in one of Vertex's formats, or None for anything else."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        return ImageHeader("image/png", struct.unpack(">II", head[16:24]))
    if head.startswith(b"\xff\xd8\xff"):
        return ImageHeader("image/jpeg", _jpeg_size(head))
    if head[:6] in (b"GIF87a", b"GIF89a") and len(head) >= 10:
        return ImageHeader("image/gif", struct.unpack("<HH", head[6:10]))
    if head.startswith(b"BM") and len(head) >= 26:
        width, height = struct.unpack("<ii", head[18:26])
        return ImageHeader("image/bmp", (abs(width), abs(height)))
    if head.startswith(b"\x00\x00\x01\x00") and len(head) >= 8:
        return ImageHeader("image/vnd.microsoft.icon", (head[6] or 256, head[7] or 256))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ImageHeader("image/webp", None)
    if head[:4] in (b"II*\x00", b"MM\x00*"):
        return ImageHeader("image/tiff", None)
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Walk the segments to the frame's header."""
    position = 2
    while position + 9 <= len(head) and head[position] == 0xFF:
        marker, length = head[position + 1], int.from_bytes(head[position + 2 : position + 4])
        if marker in JPEG_SIZES:
            height, width = struct.unpack(">HH", head[position + 5 : position + 9])
            return width, height
        position += 2 + length
    return None
