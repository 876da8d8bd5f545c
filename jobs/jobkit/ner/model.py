"""A named-entity model: a conditional random field over tokens, saved as crfsuite's own file plus JSON (no pickle).

Long texts are read in overlapping windows, so none is cut.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pycrfsuite

from jobkit.errors import BadConfiguration
from jobkit.ner.decoding import NOTHING, OUTSIDE, Word, assembled
from jobkit.ner.features import KINDS, features
from jobkit.ner.spans import Entity
from jobkit.ner.tokens import places, windows, words_of

VERSION = 1
CRF = "crf"
WEIGHTS_FILE = "model.crfsuite"
DESCRIPTION_FILE = "model.json"


class EntityModel:
    """Finds entities. Not safe in threads: crfsuite's tagger keeps the text that it reads."""

    def __init__(self, classes: Sequence[str], kind: str, weights: bytes, threshold: float = 0.0) -> None:
        """`threshold` is the confidence below which an entity is not said."""
        self.classes = tuple(classes)
        self.kind = kind
        self.threshold = threshold
        self._weights = weights
        self._tagger: Any = pycrfsuite.Tagger()
        self._tagger.open_inmemory(weights)
        self._known = frozenset(self._tagger.labels())

    @property
    def name(self) -> str:
        """What the model is, for people."""
        return f"{CRF} of {self.kind}"

    def find_all(self, texts: Sequence[str]) -> list[tuple[Entity, ...]]:
        """The entities of each text."""
        return [self.find(text) for text in texts]

    def find(self, text: str) -> tuple[Entity, ...]:
        """The entities of a text, in its order; none overlap."""
        text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair becomes "?": crfsuite dies of it
        spans = places(text)
        words = words_of(text, spans)
        tokens: list[Word] = []
        for low, high, first, after in windows(len(spans)):
            self._tagger.set(features(words[low:high], text, spans[low:high], self.kind))
            tags = self._tagger.tag()
            tokens += [self._token(tags, index - low) for index in range(first, after)]
        found = assembled(spans, tokens, self.classes)
        return tuple(entity for entity in found if entity.confidence >= self.threshold)

    def _token(self, tags: list[str], index: int) -> Word:
        tag = tags[index]
        before = tags[index - 1] if index else OUTSIDE
        if tag == OUTSIDE and before == OUTSIDE:
            return NOTHING  # nearly all tokens: nobody asks how sure they are
        own = self._tagger.marginal(tag, index) if tag != OUTSIDE else 1.0
        follows = f"I{before[1:]}"
        goes_on = {}
        if before != OUTSIDE and follows in self._known:
            goes_on[follows] = self._tagger.marginal(follows, index)
        return Word(tag, own, goes_on)

    def save(self, folder: Path) -> None:
        """Writes model.crfsuite and model.json."""
        (folder / WEIGHTS_FILE).write_bytes(self._weights)
        body = {
            "version": VERSION,
            "kind": CRF,
            "classes": list(self.classes),
            "features": self.kind,
            "threshold": self.threshold,
        }
        (folder / DESCRIPTION_FILE).write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "EntityModel":
        """Reads what save wrote; it finds the same entities with the same confidences."""
        body = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        if body.get("version") != VERSION or body.get("features") not in KINDS:
            raise BadConfiguration("The model is of a kind that this version does not know.")
        weights = (folder / WEIGHTS_FILE).read_bytes()
        return cls(body["classes"], body["features"], weights, float(body.get("threshold", 0.0)))
