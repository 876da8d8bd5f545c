"""Drawn scenes with exact boxes, and the Labelbox export that describes them."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

MODEL_RUN = "5c0ffee0-0000-4000-8000-0000000000b0"
TOOLS = {"tool-light": "Traffic light", "tool-car": "car"}
COLOURS = {"tool-light": (230, 60, 50), "tool-car": (60, 90, 230)}
EXIF_ORIENTATION = 0x0112
Rectangle = tuple[float, float, float, float]  # left, top, width, height


def drawing(boxes: Sequence[tuple[str, Rectangle]], size: tuple[int, int] = (160, 120), seed: int = 0) -> Image.Image:
    """Grey noise with a filled shape a box: an ellipse for a light, a rectangle for a car."""
    dice = random.Random(seed)
    noise = Image.frombytes("L", (size[0] // 4, size[1] // 4), dice.randbytes(size[0] // 4 * (size[1] // 4)))
    picture = noise.resize(size).point(lambda value: 90 + value // 4).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for tool, (left, top, width, height) in boxes:
        shape = pen.ellipse if tool == "tool-light" else pen.rectangle
        shape((left, top, left + width - 1, top + height - 1), fill=COLOURS.get(tool, (0, 0, 0)))
    return picture


def jpeg(picture: Image.Image, orientation: int | None = None) -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    if orientation:
        exif[EXIF_ORIENTATION] = orientation
    picture.save(out, "JPEG", quality=90, exif=exif)
    return out.getvalue()


def rectangle(tool: str, box: Rectangle, **more: Any) -> dict[str, Any]:
    left, top, width, height = box
    return {
        "feature_id": f"{tool}{box}",
        "feature_schema_id": tool,
        "name": TOOLS.get(tool, tool),
        "value": tool,
        "annotation_kind": "ImageBoundingBox",
        "classifications": [],
        "bounding_box": {"top": top, "left": left, "height": height, "width": width},
        **more,
    }


def label(objects: Iterable[dict[str, Any]], *, skipped: bool = False) -> dict[str, Any]:
    return {
        "label_kind": "Default",
        "id": "label",
        "performance_details": {"skipped": skipped},
        "annotations": {"objects": [*objects], "classifications": [], "relationships": []},
    }


def export_row(
    row_id: str, file: str, split: str, labels: Sequence[dict[str, Any]], size: tuple[int, int] = (160, 120)
) -> dict[str, Any]:
    return {
        "data_row": {"id": row_id, "external_id": file, "global_key": f"key-{row_id}", "row_data": f"files/{file}"},
        "media_attributes": {"width": size[0], "height": size[1], "asset_type": "image", "mime_type": "image/jpeg"},
        "experiments": {
            "model-of-boxes": {
                "name": "m",
                "runs": {MODEL_RUN: {"name": "r", "split": split, "labels": [*labels], "predictions": []}},
            }
        },
    }


class Sample:
    """A folder that the Labelbox stand-in serves. `add` draws the boxes and labels them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        (folder / "files").mkdir(parents=True)

    def add(
        self,
        row_id: str,
        split: str,
        boxes: Sequence[tuple[str, Rectangle]] = (),
        *,
        data: bytes | None = None,
        labels: Sequence[dict[str, Any]] | None = None,
        size: tuple[int, int] = (160, 120),
    ) -> dict[str, Any]:
        file = f"{row_id}.jpg"
        picture = data if data is not None else jpeg(drawing(boxes, size, seed=len(self.rows)))
        (self.folder / "files" / file).write_bytes(picture)
        given = [label(rectangle(tool, box) for tool, box in boxes)] if labels is None else labels
        self.rows.append(export_row(row_id, file, split, given, size))
        return self.rows[-1]

    def fill(self, count: int = 24, seed: int = 1) -> None:
        """Scenes of one to three shapes: two of three in training, the others in turn in validation and test."""
        dice = random.Random(seed)
        for number in range(count):
            boxes: list[tuple[str, Rectangle]] = []
            for tool in (*TOOLS, dice.choice([*TOOLS]))[: 2 + number % 2]:
                width, height = dice.randint(24, 60), dice.randint(24, 60)
                boxes.append((tool, (dice.randint(0, 160 - width), dice.randint(0, 120 - height), width, height)))
            split = "TRAINING" if number % 3 else ("VALIDATION", "TEST")[number // 3 % 2]
            self.add(f"scene_{number}_160_120", split, boxes)

    def save(self, tools: Iterable[str] = TOOLS) -> Path:
        lines = "".join(json.dumps(row) + "\n" for row in self.rows)
        (self.folder / "export.ndjson").write_text(lines, encoding="utf-8")
        ontology = [
            {"featureSchemaId": tool, "name": TOOLS[tool], "tool": "rectangle", "classifications": []} for tool in tools
        ]
        body = {"name": "streets", "normalized": {"tools": ontology, "classifications": []}}
        (self.folder / "ontology.json").write_text(json.dumps(body), encoding="utf-8")
        return self.folder
