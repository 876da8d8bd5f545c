"""Labels and predictions made visible: pieces of a text with its entities marked, boxes in the image's coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from local.console.annotations import Annotations, Box, Entity

COLOURS = 8  # as many as the stylesheet has; classes beyond share them
_LETTER = 0.64  # width of a letter, in heights


@dataclass(frozen=True)
class Piece:
    """A piece of a text; `entity` if it is one. Of entities that overlap, the first is marked."""

    text: str
    entity: Entity | None = None


def pieces(text: str, annotations: Annotations) -> Iterator[Piece]:
    """The text cut at its entities; the pieces joined are the text."""
    place = 0
    for entity in sorted(annotations.entities, key=lambda item: (item.start, -item.end)):
        if entity.start < place or entity.end <= entity.start or entity.start >= len(text):
            continue
        if entity.start > place:
            yield Piece(text[place : entity.start])
        place = min(entity.end, len(text))
        yield Piece(text[entity.start : place], entity)
    if place < len(text):
        yield Piece(text[place:])


class Palette:
    """A colour for each class, the same on every page of one data set."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(sorted(classes))}

    def __call__(self, name: str) -> str:
        """The stylesheet's class for a class."""
        return f"c{self._places.get(name, sum(name.encode())) % COLOURS}"


@dataclass(frozen=True)
class DrawnBox:
    """A box with its caption, as SVG has it. The caption stands above the box, or in it at the image's upper edge, and
    further left where it would leave the image."""

    box: Box
    caption: str
    text_height: float
    text_left: float
    text_top: float
    text_width: float


def drawn_boxes(annotations: Annotations, image_width: float) -> list[DrawnBox]:
    """The boxes of an image of that width, the largest first, so that small ones are not covered.

    None where the image's size is not known: at a wrong scale they would lie.
    """
    if not image_width:
        return []
    height = round(max(image_width, 100) * 0.055, 1)
    drawn = []
    for box in sorted(annotations.boxes, key=lambda item: -item.width * item.height):
        caption = box.name if box.confidence is None else f"{box.name} {box.confidence:.2f}"
        above = box.top - height * 1.25
        top = above if above >= 0 else box.top
        width = round(height * _LETTER * (len(caption) + 0.8), 1)
        left = max(0.0, min(box.left, image_width - width))
        drawn.append(DrawnBox(box, caption, height, round(left, 1), round(top, 1), width))
    return drawn
