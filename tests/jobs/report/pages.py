"""A whole report of every kind of run, out of made-up rows that went through the jobs' own output."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from PIL import Image as Pictured
from PIL import ImageDraw

from jobkit.boxes.geometry import Boxes
from jobkit.boxes.output import BoxOutput
from jobkit.boxes.output import report_page as box_report
from jobkit.conclusion import Surroundings
from jobkit.manifest import ManifestRow
from jobkit.ner.baseline import KnownNames
from jobkit.ner.output import EntityOutput
from jobkit.ner.output import report_page as entity_report
from jobkit.ner.spans import Entity
from jobkit.report.thumbnails import thumbnail
from tests.jobs.boxes.coco import NAMES as BOX_NAMES
from tests.jobs.boxes.coco import Image, random_images
from tests.jobs.report.runs import Row, entries, output_of, page_of, report_of, several_rows, single_rows

NAMES = ["apple", "pear", "plum"]
ENTITY_NAMES = ("city", "person")
_WORDS = {"city": ("Rome", "New York", "Bern"), "person": ("Ada Lovelace", "Bo", "Grace Hopper"), "": ("went", "to")}
DATASET: Mapping[str, Any] = {
    "rows": {"seen": 130, "labelled": 120, "skipped": 7},
    "classes": [{"display_name": "apple", "counts": {"training": 20, "validation": 4, "test": 9}}],
    "skipped": {"empty_text": {"count": 7, "ids": [f"skipped-{index}" for index in range(7)]}},
    "unlabelled": {"unlabelled": {"count": 3, "ids": ["u1", "u2", "u3"]}},
    "left_out_classes": {"medlar": 2},
    "duplicates_across_splits": {"count": 2, "contents": 1, "ids": ["twin-1", "twin-2"]},
    "notes": ["5 rows had several labels (rule: majority)"],
}
AROUND = Surroundings("A run", {"upload": "took all"}, {"sink": "auto"}, {"metrics": "gs://b/metrics.json"}, "<p>x</p>")


class Copies:
    """Small copies of pictures that are drawn when they are asked for."""

    rule = "Pictures are drawn."

    def of(self, uri: str) -> str:
        """A picture that is the same for the same uri."""
        return _drawn(random.Random(uri).randrange(6))


@cache
def _drawn(seed: int) -> str:
    dice = random.Random(seed)
    picture = Pictured.new("RGB", (400, 300), tuple(dice.randrange(60, 200) for _ in range(3)))
    for _ in range(6):
        left, top = dice.randrange(360), dice.randrange(260)
        ImageDraw.Draw(picture).ellipse((left, top, left + 60, top + 50), tuple(dice.choices(range(256), k=3)))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return thumbnail(out.getvalue(), 256)


class Said(NamedTuple):
    """A text with what is in it and what a model finds."""

    row: ManifestRow
    truth: tuple[Entity, ...]
    found: tuple[Entity, ...]


def texts(count: int, split: str = "test", seed: int = 3, sentences: int = 2) -> list[Said]:
    """Labelled texts; the model misses some entities, ends some too early, and takes some for another class."""
    dice, made = random.Random(seed), []
    for index in range(count):
        text, truth, found = "", [], []
        for _ in range(dice.randrange(1, 8 * sentences)):
            name = dice.choice(["city", "person", "", ""])
            word = dice.choice(_WORDS[name])
            start = len(text)
            if name:
                truth.append(Entity(start, start + len(word), name))
            kind, confidence = dice.random(), round(dice.uniform(0.3, 1), 3)
            if name and kind < 0.8:
                said = name if kind < 0.7 else dice.choice(ENTITY_NAMES)
                found.append(Entity(start, start + len(word) - (kind < 0.1), said, confidence))
            elif not name and kind > 0.95:
                found.append(Entity(start, start + len(word), "city", confidence))
            text += word + " "
        details = {"entities": [{"start": one.start, "end": one.end, "name": one.name} for one in truth]}
        row = ManifestRow(f"{split}-{index}", None, text, split, labelled=True, details=details)
        made.append(Said(row, tuple(truth), tuple(found)))
    return made


def entity_output(said: Iterable[Said]) -> EntityOutput:
    names = KnownNames()
    output = EntityOutput(entries(ENTITY_NAMES, "entity"), "run", names)
    for one in said:
        for _ in output.rows(one.row, one.found):
            pass
    return output


def entity_page(said: Iterable[Said]) -> str:
    output = entity_output(said)
    return entity_report(output, output.metrics(), DATASET, AROUND)[1]


def box_output(images: Sequence[Image], split: str = "test") -> BoxOutput:
    output = BoxOutput(entries(BOX_NAMES, "rectangle"), "run", 0.0)
    for number, (labelled, predicted) in enumerate(images):
        for _ in output.rows(box_row(number, labelled, split), predicted):
            pass
    return output


def box_row(number: int, labelled: Boxes, split: str = "test") -> ManifestRow:
    boxes = [
        {"name": name, "left": left, "top": top, "width": right - left, "height": bottom - top}
        for name, (left, top, right, bottom) in zip(labelled.names, labelled.corners.tolist(), strict=True)
    ]
    details = {"width": 600, "height": 500, "boxes": boxes}
    return ManifestRow(f"{split}-{number}", None, f"gs://b/{number}.jpg", split, labelled=True, details=details)


def box_page(images: Sequence[Image]) -> str:
    output = box_output(images)
    return box_report(output, output.metrics(), DATASET, AROUND, Copies())[1]


def choice_page(rows: Iterable[Row], *, single: bool = True, pictures: Copies | None = None) -> str:
    more = {"dataset": DATASET, "comparison": "<p>x</p>", "pictures": pictures}
    return page_of(report_of(output_of(NAMES, rows, single=single), **more))


PAGES: dict[str, Callable[[], str]] = {
    "one class a text": lambda: choice_page(single_rows(NAMES, 40)),
    "several classes a text": lambda: choice_page(several_rows(NAMES, 40), single=False),
    "one class a picture": lambda: choice_page(single_rows(NAMES, 40), pictures=Copies()),
    "several classes a picture": lambda: choice_page(several_rows(NAMES, 40), single=False, pictures=Copies()),
    "entities": lambda: entity_page(texts(30)),
    "boxes": lambda: box_page(random_images(3, images=16, crowds=False)),
}
