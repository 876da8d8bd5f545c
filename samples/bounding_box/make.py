"""Makes this sample: scenes with one to five fruits and their exact boxes, and the Labelbox export that describes them.

    python samples/bounding_box/make.py OUTPUT_FOLDER [--shared]

Everything is drawn from one seed out of samples/material (public domain), in a few seconds, so the scenes are not kept
in the repository. Of each fruit one drawing is shown in the test split only, so that the figures speak of drawings that
training never saw; with --shared all splits show all drawings.
"""

import io
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from image_single_classification.make import MATERIAL, identifier  # noqa: E402

SEED = 22
SIDE_PX = 256
JPEG_QUALITY = 80
MODEL_ID = "8a2f6c1e-47d3-4b90-a6e5-1c0d9f7b3e52"
MODEL_RUN_ID = "e61b94d7-2c8f-4a35-9f70-5d8a3b1c6e04"
# Part of a drawing's file name -> the tool's name in Labelbox; its slug is what Labelbox puts into `value`.
TOOLS = {
    "apple": "Apple",
    "banana": "Banana",
    "grapes": "Bunch of grapes",
    "lemon": "Lemon",
    "pear": "Pear",
    "strawberry": "Strawberry",
}
HELD_OUT = 1  # <fruit>_1.png
SCENES = {"TRAINING": 72, "VALIDATION": 14, "TEST": 28}
FRUITS_PER_SCENE = (3, 1, 4, 2, 5)  # in turn
EMPTY, UNLABELLED = 3, 2  # scenes of training that a labeler found empty, and that nobody labelled
SIZES = (0.2, 0.45)  # of the scene's side
LARGEST_OVERLAP = 0.25  # of the smaller box
ON_ITS_SIDE = 4  # the number of the training scene whose JPEG lies on its side, with the EXIF note that rights it
EXIF_ORIENTATION = 0x0112

Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Scene:
    """One picture of the sample. Without `labelled` nobody looked at it."""

    file: str
    split: str
    boxes: tuple[tuple[str, Box], ...]
    labelled: bool = True


def drawings(fruit: str, split: str, held_out: bool) -> list[Path]:
    """The drawings of a fruit that the split may show."""
    every = sorted((MATERIAL / "sprites").glob(f"{fruit}_*.png"))
    if not held_out:
        return every
    kept_back = MATERIAL / "sprites" / f"{fruit}_{HELD_OUT}.png"
    return [kept_back] if split == "TEST" else [path for path in every if path != kept_back]


def background(dice: random.Random) -> Image.Image:
    """A square cut out of a random background, mirrored half of the time."""
    with Image.open(dice.choice(sorted((MATERIAL / "backgrounds").glob("*.jpg")))) as picture:
        whole = picture.convert("RGB")
    side = dice.randint(min(SIDE_PX, *whole.size), min(whole.size))
    left, top = dice.randint(0, whole.width - side), dice.randint(0, whole.height - side)
    square = whole.crop((left, top, left + side, top + side)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    return square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if dice.random() < 0.5 else square


def fruit_picture(dice: random.Random, path: Path) -> Image.Image:
    """A drawing, turned and sized, cut to what can be seen of it."""
    with Image.open(path) as drawing:
        fruit = drawing.convert("RGBA")
    if dice.random() < 0.5:
        fruit = fruit.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    fruit = fruit.rotate(dice.uniform(-30, 30), Image.Resampling.BICUBIC, expand=True)
    scale = dice.uniform(*SIZES) * SIDE_PX / max(fruit.size)
    fruit = fruit.resize((round(fruit.width * scale), round(fruit.height * scale)), Image.Resampling.BICUBIC)
    return fruit.crop(fruit.getchannel("A").point(lambda alpha: 255 * (alpha > 32)).getbbox())


def overlap(a: Box, b: Box) -> float:
    """The part of the smaller box that both share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return width * height / smaller if width > 0 and height > 0 else 0.0


def scene(
    dice: random.Random, split: str, count: int, held_out: bool
) -> tuple[Image.Image, tuple[tuple[str, Box], ...]]:
    """A picture with up to `count` fruits (one that finds no free place is left out) and where they are."""
    picture = background(dice)
    boxes: list[tuple[str, Box]] = []
    for _ in range(count):
        name = dice.choice(list(TOOLS))
        fruit = fruit_picture(dice, dice.choice(drawings(name, split, held_out)))
        for _ in range(20):
            left, top = dice.randint(0, SIDE_PX - fruit.width), dice.randint(0, SIDE_PX - fruit.height)
            box = (left, top, left + fruit.width, top + fruit.height)
            if all(overlap(box, other) <= LARGEST_OVERLAP for _, other in boxes):
                picture.paste(fruit, (left, top), fruit)
                boxes.append((name, box))
                break
    picture = ImageEnhance.Brightness(picture).enhance(dice.uniform(0.75, 1.2))
    if dice.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(dice.uniform(0.4, 0.9)))
    return picture, tuple(boxes)


def encoded(picture: Image.Image, on_its_side: bool) -> bytes:
    """The bytes of a JPEG, perhaps stored lying on its side."""
    out, exif = io.BytesIO(), Image.Exif()
    if on_its_side:
        exif[EXIF_ORIENTATION] = 6
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    picture.save(out, "JPEG", quality=JPEG_QUALITY, optimize=True, exif=exif)
    return out.getvalue()


def draw(folder: Path, held_out: bool) -> list[Scene]:
    """Writes the pictures into `folder`/files and returns what they are, in a shuffled order."""
    dice = random.Random(SEED)  # noqa: S311 - a picture generator, not a secret
    scenes = []
    for split, count, labelled in _plan():
        picture, boxes = scene(dice, split, count, held_out)
        name = f"files/scene_{len(scenes):03d}.jpg"
        (folder / name).write_bytes(encoded(picture, len(scenes) == ON_ITS_SIDE))
        scenes.append(Scene(name, split, boxes, labelled))
    dice.shuffle(scenes)
    return scenes


def _plan() -> Iterator[tuple[str, int, bool]]:
    for split, scenes in SCENES.items():
        for turn in range(scenes):
            yield split, FRUITS_PER_SCENE[turn % len(FRUITS_PER_SCENE)], True
    for _ in range(EMPTY):
        yield "TRAINING", 0, True
    yield "TEST", 0, True
    for _ in range(UNLABELLED):
        yield "TRAINING", 2, False


def rectangle(file: str, number: int, fruit: str, box: Box) -> dict[str, object]:
    left, top, right, bottom = map(float, box)
    return {
        "feature_id": identifier("cm", f"{file} {number}"),
        "feature_schema_id": identifier("cs", f"tool {fruit}"),
        "name": TOOLS[fruit],
        "value": TOOLS[fruit].lower().replace(" ", "_"),
        "annotation_kind": "ImageBoundingBox",
        "classifications": [],
        "bounding_box": {"top": top, "left": left, "height": bottom - top, "width": right - left},
    }


def labels(shown: Scene) -> list[dict[str, object]]:
    """The labels of one row as the export holds them: none, or one with all its boxes."""
    if not shown.labelled:
        return []
    objects = [rectangle(shown.file, number, fruit, box) for number, (fruit, box) in enumerate(shown.boxes)]
    annotations = {"objects": objects, "classifications": [], "relationships": []}
    label_id = identifier("cl", f"boxes of {shown.file}")
    return [{"label_kind": "Default", "version": "1.0.0", "id": label_id, "annotations": annotations}]


def export_row(shown: Scene) -> dict[str, object]:
    """One line of the export (format 2) of the model run."""
    run = {
        "name": "run 1",
        "run_data_row_id": identifier("rd", f"boxes {shown.file}"),
        "split": shown.split,
        "labels": labels(shown),
        "predictions": [],
    }
    return {
        "data_row": {
            "id": identifier("cl", f"boxes row {shown.file}"),
            "external_id": Path(shown.file).name,
            "global_key": f"boxes-{Path(shown.file).stem}",
            "row_data": shown.file,
        },
        "media_attributes": {"height": SIDE_PX, "width": SIDE_PX, "asset_type": "image", "mime_type": "image/jpeg"},
        "attachments": [],
        "metadata_fields": [],
        "experiments": {MODEL_ID: {"name": "Fruit boxes", "runs": {MODEL_RUN_ID: run}}},
    }


def ontology() -> dict[str, object]:
    """What Labelbox's GetOntology gives: a rectangle tool a fruit."""
    tools = [
        {
            "schemaNodeId": identifier("cn", f"tool {fruit}"),
            "featureSchemaId": identifier("cs", f"tool {fruit}"),
            "tool": "rectangle",
            "name": name,
            "required": False,
            "classifications": [],
        }
        for fruit, name in TOOLS.items()
    ]
    return {"name": "Fruit boxes", "normalized": {"tools": tools, "classifications": []}}


def main(folder: Path, held_out: bool) -> None:
    """Writes files/, ontology.json and, when all else is there, export.ndjson into `folder`."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    rows = [json.dumps(export_row(shown), separators=(",", ":")) + "\n" for shown in draw(folder, held_out)]
    (folder / "ontology.json").write_text(json.dumps(ontology(), indent=1) + "\n")
    unfinished = folder / "export.ndjson.tmp"
    unfinished.write_text("".join(rows))
    unfinished.replace(folder / "export.ndjson")


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--shared"]
    if len(words) != 1:
        sys.exit("name the output folder")
    main(Path(words[0]), "--shared" not in sys.argv[1:])
