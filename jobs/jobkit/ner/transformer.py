"""A fine-tuned transformer that finds entities: what it says of word pieces, read as tags of whole words.

A word is as its first piece is, so that an entity's ends are those of words, as with the conditional random field.
Offsets are code points, as the tokenizer counts them. Each word is decided about in one window. Needs torch.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobkit.errors import BadConfiguration
from jobkit.ner.best_path import best_tags
from jobkit.ner.decoding import NOTHING, Word, all_tags, assembled
from jobkit.ner.finders import TRANSFORMER
from jobkit.ner.model import DESCRIPTION_FILE, VERSION
from jobkit.ner.spans import Entity
from jobkit.ner.tokens import Place, places
from jobkit.transformer.network import FOLDER, WORDS, Network
from jobkit.transformer.windows import Window, cut

NOWHERE = (-1, -1)

Owner = tuple[int, int]  # (number of the window, place in it) of a word's first piece


def owners(spans: Sequence[Place], windows: Sequence[Window]) -> list[Owner]:
    """The first piece of each word; NOWHERE for a word that the tokenizer has no piece of. Several words may share one:
    tokenizers of scripts without spaces make pieces of several."""
    starts = np.array([start for start, _ in spans], np.int64)
    ends = np.array([end for _, end in spans], np.int64)
    found = [NOWHERE] * len(spans)
    for number, window in enumerate(windows):
        for piece in range(window.first, window.after):
            low, high = (int(offset) for offset in window.offsets[piece])
            if high <= low:
                continue
            first, after = np.searchsorted(ends, low, side="right"), np.searchsorted(starts, high, side="left")
            for word in range(int(first), int(after)):
                if found[word] == NOWHERE:
                    found[word] = (number, piece)
    return found


class TransformerFinder:
    """Finds entities with a network that says a tag of each piece. `backbone` is what it was fine-tuned from."""

    def __init__(self, classes: Sequence[str], network: Network, backbone: str, threshold: float = 0.0) -> None:
        """`threshold` is the confidence below which an entity is not said."""
        self.classes, self.network = tuple(classes), network
        self.backbone, self.threshold = backbone, threshold
        self._tags = all_tags(len(self.classes))

    @property
    def name(self) -> str:
        """What the model is, for people."""
        return f"{TRANSFORMER} {self.backbone}"

    def find(self, text: str) -> tuple[Entity, ...]:
        """The entities of a text, in its order; none overlap."""
        return self.find_all([text])[0]

    def find_all(self, texts: Sequence[str]) -> list[tuple[Entity, ...]]:
        """The entities of each text."""
        if not texts:
            return []
        windows = cut(self.network.tokenizer, texts, self.network.max_tokens)
        of_texts: list[list[int]] = [[] for _ in texts]
        for number, window in enumerate(windows):
            of_texts[window.text].append(number)
        logits = self.network.read(windows)
        found = []
        for text, numbers in zip(texts, of_texts, strict=True):
            entities = self._entities(text, [windows[one] for one in numbers], [logits[one] for one in numbers])
            found.append(tuple(entity for entity in entities if entity.confidence >= self.threshold))
        return found

    def _entities(self, text: str, windows: Sequence[Window], logits: Sequence[NDArray[np.float32]]) -> list[Entity]:
        spans = places(text)
        if not spans:
            return []
        of_words = owners(spans, windows)
        chances = np.zeros((len(spans), len(self._tags)))
        for word, (window, piece) in enumerate(of_words):
            if (window, piece) == NOWHERE:
                chances[word, 0] = 1.0
                continue
            raised = np.exp(logits[window][piece].astype(np.float64) - float(logits[window][piece].max()))
            chances[word] = raised / raised.sum()
            if word and of_words[word - 1] == (window, piece):  # the piece's other words go on with its entity
                chances[word, 2::2] += chances[word, 1::2]
                chances[word, 1::2] = 0.0
        return assembled(spans, self._words(chances), self.classes)

    def _words(self, chances: NDArray[np.float64]) -> list[Word]:
        tags = best_tags(chances)
        words: list[Word] = []
        for index, tag in enumerate(tags):
            before = tags[index - 1] if index else 0
            if not tag and not before:
                words.append(NOTHING)
                continue
            going = 0 if not before else before + before % 2  # inside, of the class before
            goes_on = {self._tags[going]: float(chances[index, going])} if going else {}
            words.append(Word(self._tags[tag], float(chances[index, tag]) if tag else 1.0, goes_on))
        return words

    def save(self, folder: Path) -> None:
        """Writes model.json, and Hugging Face's files into a folder of their own; pieces' labels are the tags with the
        names of the classes."""
        names = ["O", *(f"{mark}-{name}" for name in self.classes for mark in "BI")]
        self.network.save(folder / FOLDER, names)
        body = {
            "version": VERSION,
            "kind": TRANSFORMER,
            "backbone": self.backbone,
            "classes": list(self.classes),
            "max_tokens": self.network.max_tokens,
            "threshold": self.threshold,
        }
        (folder / DESCRIPTION_FILE).write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "TransformerFinder":
        """Reads what save wrote; it finds the same entities."""
        body = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        if body.get("version") != VERSION:
            raise BadConfiguration("The model is of a kind that this version does not know.")
        network = Network.load(folder / FOLDER, WORDS, int(body["max_tokens"]))
        return cls(body["classes"], network, body["backbone"], float(body["threshold"]))
