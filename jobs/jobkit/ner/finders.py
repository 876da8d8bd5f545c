"""What finds entities, of whatever kind: a conditional random field or a fine-tuned transformer."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from jobkit.ner.model import CRF, DESCRIPTION_FILE, EntityModel
from jobkit.ner.spans import Entity
from jobkit.transformer.backbones import require_libraries

TRANSFORMER = "transformer"


class Finder(Protocol):
    """A model of named entities. `threshold` is the confidence below which an entity is not said."""

    classes: tuple[str, ...]
    threshold: float

    @property
    def name(self) -> str:
        """What the model is, for people."""

    def find(self, text: str) -> tuple[Entity, ...]:
        """The entities of a text, in its order; none overlap."""

    def find_all(self, texts: Sequence[str]) -> list[tuple[Entity, ...]]:
        """The entities of each text."""

    def save(self, folder: Path) -> None:
        """Writes the model's files."""


def load_finder(folder: Path) -> Finder:
    """Reads what a finder's save wrote; its description says of which kind it is."""
    body = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    if body.get("kind", CRF) != TRANSFORMER:
        return EntityModel.load(folder)
    require_libraries("This model is a transformer: it")
    from jobkit.ner.transformer import TransformerFinder  # torch takes seconds to load

    return TransformerFinder.load(folder)
