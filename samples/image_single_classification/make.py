"""Makes this sample again: scenes with one big fruit each, and the Labelbox export that describes them.

    python samples/image_single_classification/make.py [output folder]

Everything is drawn from one seed out of samples/material (public domain). There are four classes, and of each class one
drawing that only the test split shows, so that the test accuracy speaks of drawings that training never saw.
"""

import hashlib
import io
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter

HERE = Path(__file__).resolve().parent
MATERIAL = HERE.parent / "material"
SEED = 21
SIDE_PX = 144
JPEG_QUALITY = 60
MODEL_ID = "3f1c2d6e-0b8a-4c57-9a51-6e2f7d90c4b1"
MODEL_RUN_ID = "b7d4e5a2-91c3-4f08-8d6b-2a7c5e1f3094"
QUESTION = "fruit"
# Class -> what a person reads in Labelbox; the slug beside it is what Labelbox puts into `value`.
CLASSES = {
    "apple": "Apple",
    "grapes": "Bunch of grapes",
    "pear": "Pear",
    "strawberry": "Strawberry",
}
HELD_OUT_SPRITE = 1  # <class>_1.png is shown in the test split only, all others in training and validation only
SCENES_PER_CLASS = {"TRAINING": 15, "VALIDATION": 4, "TEST": 8}
EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Scene:
    """One picture of the sample: where its bytes lie and what Labelbox says about it."""

    file: str
    split: str
    fruit: str | None  # None: nobody has labelled it


def identifier(prefix: str, text: str) -> str:
    """25 lower-case characters like Labelbox's ids, the same for the same text."""
    return (prefix + hashlib.sha256(text.encode()).hexdigest())[:25]


def sprites(fruit: str, split: str) -> list[Path]:
    """The drawings of a class that the split may show."""
    every = sorted((MATERIAL / "sprites").glob(f"{fruit}_*.png"))
    held_out = MATERIAL / "sprites" / f"{fruit}_{HELD_OUT_SPRITE}.png"
    return [held_out] if split == "TEST" else [path for path in every if path != held_out]


def background(dice: random.Random) -> Image.Image:
    """A square cut out of a random background, mirrored half of the time."""
    path = dice.choice(sorted((MATERIAL / "backgrounds").glob("*.jpg")))
    with Image.open(path) as picture:
        whole = picture.convert("RGB")
    side = dice.randint(SIDE_PX, min(whole.size))
    left, top = dice.randint(0, whole.width - side), dice.randint(0, whole.height - side)
    square = whole.crop((left, top, left + side, top + side)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    return square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if dice.random() < 0.5 else square


def scene(dice: random.Random, sprite: Path) -> Image.Image:
    """One fruit of 50 to 85 % of the side on a background: turned, lit differently, sometimes a little blurred."""
    picture = background(dice)
    with Image.open(sprite) as drawing:
        fruit = drawing.convert("RGBA")
    if dice.random() < 0.5:
        fruit = fruit.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    fruit = fruit.rotate(dice.uniform(-35, 35), Image.Resampling.BICUBIC, expand=True)
    scale = dice.uniform(0.5, 0.85) * SIDE_PX / max(fruit.size)
    fruit = fruit.resize((round(fruit.width * scale), round(fruit.height * scale)), Image.Resampling.BICUBIC)
    place = (dice.randint(0, SIDE_PX - fruit.width), dice.randint(0, SIDE_PX - fruit.height))
    picture.paste(fruit, place, fruit)
    picture = ImageEnhance.Brightness(picture).enhance(dice.uniform(0.75, 1.2))
    return picture.filter(ImageFilter.GaussianBlur(dice.uniform(0.4, 0.9))) if dice.random() < 0.3 else picture


def encoded(picture: Image.Image, form: str) -> bytes:
    """The bytes of a file. `rotated` is a JPEG stored lying on its side, with the EXIF note that puts it upright."""
    out = io.BytesIO()
    if form == "png":
        picture.quantize(64).save(out, "PNG", optimize=True)
    elif form == "rotated":
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(out, "JPEG", quality=JPEG_QUALITY, optimize=True, exif=exif)
    else:
        picture.save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return out.getvalue()


def draw(folder: Path) -> list[Scene]:
    """Writes the pictures into `folder`/files and returns what they are, in a shuffled order."""
    dice = random.Random(SEED)  # noqa: S311 - a picture generator, not a secret
    scenes: list[Scene] = []

    def keep(name: str, data: bytes, split: str, fruit: str | None) -> None:
        (folder / "files" / name).write_bytes(data)
        scenes.append(Scene(f"files/{name}", split, fruit))

    number = 0
    for split, count in SCENES_PER_CLASS.items():
        for fruit in CLASSES:
            for turn in range(count):
                number += 1
                choice = sprites(fruit, split)
                form = {("pear", 0): "rotated", ("grapes", 0): "png"}.get((fruit, turn), "jpg")
                form = form if split == "TRAINING" else "jpg"
                data = encoded(scene(dice, choice[turn % len(choice)]), form)
                keep(f"scene-{number:03d}.{'png' if form == 'png' else 'jpg'}", data, split, fruit)
    for split in ("TRAINING", "TEST"):
        number += 1
        data = encoded(scene(dice, sprites("apple", split)[0]), "jpg")
        keep(f"scene-{number:03d}.jpg", data, split, None)
    twin = next(s for s in scenes if s.split == "TEST" and s.fruit == "strawberry")
    keep(f"scene-{number + 1:03d}.jpg", (folder / twin.file).read_bytes(), "TRAINING", twin.fruit)
    dice.shuffle(scenes)
    return scenes


def answer(fruit: str) -> dict[str, object]:
    return {
        "feature_id": identifier("cm", f"answer {fruit}"),
        "feature_schema_id": identifier("cs", fruit),
        "name": CLASSES[fruit],
        "value": CLASSES[fruit].lower().replace(" ", "_"),
        "classifications": [],
    }


def labels(shown: Scene) -> list[dict[str, object]]:
    """The labels of one row as the export holds them: none, or one with the radio question answered."""
    if shown.fruit is None:
        return []
    question = {
        "feature_id": identifier("cm", f"question {shown.file}"),
        "feature_schema_id": identifier("cs", QUESTION),
        "name": QUESTION,
        "value": QUESTION,
        "radio_answer": answer(shown.fruit),
    }
    annotations = {"objects": [], "classifications": [question], "relationships": []}
    return [
        {
            "label_kind": "Default",
            "version": "1.0.0",
            "id": identifier("cl", f"label {shown.file}"),
            "annotations": annotations,
        }
    ]


def export_row(shown: Scene) -> dict[str, object]:
    """One line of the export (format 2) of the model run."""
    run = {
        "name": "run 1",
        "run_data_row_id": identifier("rd", shown.file),
        "split": shown.split,
        "labels": labels(shown),
        "predictions": [],
    }
    mime_type = "image/png" if shown.file.endswith(".png") else "image/jpeg"
    return {
        "data_row": {
            "id": identifier("cl", f"data row {shown.file}"),
            "external_id": Path(shown.file).name,
            "global_key": f"fruit-{Path(shown.file).stem}",
            "row_data": shown.file,
        },
        "media_attributes": {"height": SIDE_PX, "width": SIDE_PX, "asset_type": "image", "mime_type": mime_type},
        "attachments": [],
        "metadata_fields": [],
        "experiments": {MODEL_ID: {"name": "Fruit", "runs": {MODEL_RUN_ID: run}}},
    }


def ontology() -> dict[str, object]:
    """What Labelbox's GetOntology gives: a single radio question."""
    options = [
        {
            "schemaNodeId": identifier("cn", fruit),
            "featureSchemaId": identifier("cs", fruit),
            "label": label,
            "value": label.lower().replace(" ", "_"),
        }
        for fruit, label in CLASSES.items()
    ]
    question = {
        "schemaNodeId": identifier("cn", QUESTION),
        "featureSchemaId": identifier("cs", QUESTION),
        "type": "radio",
        "name": QUESTION,
        "instructions": QUESTION,
        "scope": "global",
        "required": True,
        "options": options,
    }
    return {"name": "Fruit", "normalized": {"tools": [], "classifications": [question]}}


def main(folder: Path) -> None:
    """Writes files/, export.ndjson and ontology.json into `folder`."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    rows = [json.dumps(export_row(shown), separators=(",", ":")) + "\n" for shown in draw(folder)]
    (folder / "export.ndjson").write_text("".join(rows))
    (folder / "ontology.json").write_text(json.dumps(ontology(), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
