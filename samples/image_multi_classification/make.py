"""Makes this sample again: scenes with up to three fruits before one of three backdrops, and their Labelbox export.

    python samples/image_multi_classification/make.py [output folder]

Two questions count together: the checklist "fruits" and the radio question "backdrop". Everything is drawn from one
seed out of samples/material (public domain). Of each fruit one drawing is shown in the test split only.
"""

import io
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageEnhance

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from image_single_classification.make import MATERIAL, identifier, sprites  # noqa: E402

SEED = 21
SIDE_PX = 144
JPEG_QUALITY = 50
MODEL_ID = "c5a0e9d1-6b37-4f22-8e14-9d3b70f5a2c8"
MODEL_RUN_ID = "29f8b1c4-d05e-4a7b-b6c3-e1f4708a5d92"
CHECKLIST, RADIO = "fruits", "backdrop"
# Part of a file's name -> what a person reads in Labelbox; its slug is what Labelbox puts into `value`.
FRUITS = {"apple": "Apple", "grapes": "Bunch of grapes", "pear": "Pear", "strawberry": "Strawberry"}
BACKDROPS = {"brick": "Brick wall", "chelsea": "Cat", "coffee": "Cup of coffee"}
SCENES = {"TRAINING": 56, "VALIDATION": 14, "TEST": 24}
FRUITS_PER_SCENE = (1, 1, 2, 2, 3, 2, 1, 0)  # in turn
EMPTY_LABEL, NO_LABEL = 5, 2  # scenes of training whose labeler ticked nothing, and scenes that nobody labelled


@dataclass(frozen=True)
class Scene:
    """One picture of the sample. Without `labelled` nobody looked at it; without a backdrop nothing was answered."""

    file: str
    split: str
    fruits: tuple[str, ...]
    backdrop: str | None
    labelled: bool = True


def slug(name: str) -> str:
    """Labelbox's `value` of a label."""
    return name.lower().replace(" ", "_")


def background(dice: random.Random, backdrop: str) -> Image.Image:
    """A square cut out of the backdrop's photo, mirrored half of the time."""
    with Image.open(MATERIAL / "backgrounds" / f"{backdrop}_0.jpg") as picture:
        whole = picture.convert("RGB")
    side = dice.randint(SIDE_PX, min(whole.size))
    left, top = dice.randint(0, whole.width - side), dice.randint(0, whole.height - side)
    square = whole.crop((left, top, left + side, top + side)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    return square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if dice.random() < 0.5 else square


def scene(dice: random.Random, backdrop: str, fruits: tuple[str, ...], split: str) -> Image.Image:
    """Fruits of 38 to 52 % of the side, each in a quarter of the picture of its own."""
    picture = background(dice, backdrop)
    corners = dice.sample([(x, y) for x in (0, 1) for y in (0, 1)], len(fruits))
    for fruit, (x, y) in zip(fruits, corners, strict=True):
        with Image.open(dice.choice(sprites(fruit, split))) as picture_of_it:
            drawing = picture_of_it.convert("RGBA")
        if dice.random() < 0.5:
            drawing = drawing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        drawing = drawing.rotate(dice.uniform(-25, 25), Image.Resampling.BICUBIC, expand=True)
        scale = dice.uniform(0.38, 0.52) * SIDE_PX / max(drawing.size)
        size = (max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale)))
        drawing = drawing.resize(size, Image.Resampling.BICUBIC)
        room = (SIDE_PX // 2 - drawing.width, SIDE_PX // 2 - drawing.height)
        places = zip((x, y), room, strict=True)
        place = [corner * SIDE_PX // 2 + dice.randint(min(0, free), max(0, free)) for corner, free in places]
        picture.paste(drawing, (place[0], place[1]), drawing)
    return ImageEnhance.Brightness(picture).enhance(dice.uniform(0.8, 1.15))


def draw(folder: Path) -> list[Scene]:
    """Writes the pictures into `folder`/files and returns what they are, in a shuffled order."""
    dice = random.Random(SEED)  # noqa: S311 - a picture generator, not a secret
    scenes: list[Scene] = []
    for split, count in SCENES.items():
        for turn in range(count):
            fruits = tuple(sorted(dice.sample(sorted(FRUITS), FRUITS_PER_SCENE[turn % len(FRUITS_PER_SCENE)])))
            backdrop = sorted(BACKDROPS)[turn % len(BACKDROPS)]
            file = f"files/scene-{len(scenes) + 1:03d}.jpg"
            out = io.BytesIO()
            scene(dice, backdrop, fruits, split).save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
            (folder / file).write_bytes(out.getvalue())
            scenes.append(Scene(file, split, fruits, backdrop))
    dice.shuffle(scenes)
    return list(labelled(scenes))


def labelled(scenes: list[Scene]) -> Iterator[Scene]:
    """Some scenes of training lose their answers: those without fruit first, then nobody labels the next ones."""
    empty, unlabelled = EMPTY_LABEL, NO_LABEL
    for shown in scenes:
        if shown.split == "TRAINING" and not shown.fruits and empty:
            empty -= 1
            yield Scene(shown.file, shown.split, (), None)
        elif shown.split == "TRAINING" and shown.fruits and unlabelled:
            unlabelled -= 1
            yield Scene(shown.file, shown.split, (), None, labelled=False)
        else:
            yield shown


def answer(name: str, label: str, file: str) -> dict[str, object]:
    return {
        "feature_id": identifier("cm", f"answer {name} {file}"),
        "feature_schema_id": identifier("cs", f"multi {name}"),
        "name": label,
        "value": slug(label),
        "classifications": [],
    }


def question(name: str, file: str, **answers: object) -> dict[str, object]:
    return {
        "feature_id": identifier("cm", f"{name} {file}"),
        "feature_schema_id": identifier("cs", f"multi {name}"),
        "name": name,
        "value": name,
        **answers,
    }


def labels(shown: Scene) -> list[dict[str, object]]:
    """The labels of one row as the export holds them; a question without an answer is not there at all."""
    if not shown.labelled:
        return []
    questions = []
    if shown.fruits:
        ticks = [answer(fruit, FRUITS[fruit], shown.file) for fruit in shown.fruits]
        questions.append(question(CHECKLIST, shown.file, checklist_answers=ticks))
    if shown.backdrop:
        chosen = answer(shown.backdrop, BACKDROPS[shown.backdrop], shown.file)
        questions.append(question(RADIO, shown.file, radio_answer=chosen))
    return [
        {
            "label_kind": "Default",
            "version": "1.0.0",
            "id": identifier("cl", f"multi label {shown.file}"),
            "annotations": {"objects": [], "classifications": questions, "relationships": []},
        }
    ]


def export_row(shown: Scene) -> dict[str, object]:
    """One line of the export (format 2) of the model run."""
    run = {
        "name": "run 1",
        "run_data_row_id": identifier("rd", f"multi {shown.file}"),
        "split": shown.split,
        "labels": labels(shown),
        "predictions": [],
    }
    return {
        "data_row": {
            "id": identifier("cl", f"multi data row {shown.file}"),
            "external_id": Path(shown.file).name,
            "global_key": f"fruits-{Path(shown.file).stem}",
            "row_data": shown.file,
        },
        "media_attributes": {"height": SIDE_PX, "width": SIDE_PX, "asset_type": "image", "mime_type": "image/jpeg"},
        "attachments": [],
        "metadata_fields": [],
        "experiments": {MODEL_ID: {"name": "Fruits", "runs": {MODEL_RUN_ID: run}}},
    }


def ontology() -> dict[str, object]:
    """What Labelbox's GetOntology gives: a checklist and a radio question."""
    classifications = [
        {
            "schemaNodeId": identifier("cn", f"multi {name}"),
            "featureSchemaId": identifier("cs", f"multi {name}"),
            "type": kind,
            "name": name,
            "instructions": name,
            "scope": "global",
            "required": False,
            "options": [
                {
                    "schemaNodeId": identifier("cn", f"multi {key}"),
                    "featureSchemaId": identifier("cs", f"multi {key}"),
                    "label": label,
                    "value": slug(label),
                }
                for key, label in choices.items()
            ],
        }
        for name, kind, choices in ((CHECKLIST, "checklist", FRUITS), (RADIO, "radio", BACKDROPS))
    ]
    return {"name": "Fruits before a backdrop", "normalized": {"tools": [], "classifications": classifications}}


def main(folder: Path) -> None:
    """Writes files/, export.ndjson and ontology.json into `folder`."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    rows = [json.dumps(export_row(shown), separators=(",", ":")) + "\n" for shown in draw(folder)]
    (folder / "export.ndjson").write_text("".join(rows))
    (folder / "ontology.json").write_text(json.dumps(ontology(), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
