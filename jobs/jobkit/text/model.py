"""A text classifier that is saved as numbers and words (safetensors and JSON, no pickle) and scores the same anywhere.

A model is one part or the product of two (jobkit.text.parts), or a fine-tuned transformer. Nothing is fitted when it is
loaded.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from jobkit.errors import BadConfiguration
from jobkit.text.parts import (
    MINILM,
    SENTENCES,
    TFIDF,
    Linear,
    MinilmPart,
    Part,
    Scores,
    SentencesPart,
    Tensors,
    TfidfPart,
    combine,
)
from jobkit.transformer.backbones import require_libraries

VERSION = 1
TRANSFORMER = "transformer"
WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"


@dataclass(frozen=True)
class TextModel:
    """Classes, parts and the decision rule: of several classes a row, those that reach their threshold; of a single
    choice the best one, if it reaches the threshold that was set (one number, or none: always)."""

    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    single: bool
    thresholds: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """What the model is made of, for people."""
        return " x ".join(part.name for part in self.parts)

    def scores(self, texts: Sequence[str]) -> Scores:
        """Texts x classes, each 0..1."""
        return combine([part.probabilities(texts) for part in self.parts], self.single)

    def decide(self, scores: npt.NDArray[np.float64]) -> list[str]:
        """The classes that the model says for one text."""
        if self.single:
            best = int(scores.argmax())
            return [self.classes[best]] if scores[best] >= max(self.thresholds, default=0.0) else []
        return [self.classes[index] for index in np.flatnonzero(scores >= np.asarray(self.thresholds)).tolist()]

    def deciding_at(self, threshold: float) -> "TextModel":
        """The same model with one threshold for all classes."""
        return replace(self, thresholds=(threshold,) * (1 if self.single else len(self.classes)))

    def save(self, folder: Path) -> None:
        """Writes model.safetensors and model.json, and the files of a transformer in a folder of their own."""
        tensors: Tensors = {}
        parts = []
        for part in self.parts:
            tensors |= {f"{part.name}.{key}": value for key, value in part.tensors().items()}
            parts.append({"name": part.name, **part.description()})
            part.save_files(folder, self.classes)
        save_file(tensors, folder / WEIGHTS_FILE)
        body = {
            "version": VERSION,
            "classes": list(self.classes),
            "single": self.single,
            "thresholds": list(self.thresholds),
            "parts": parts,
        }
        (folder / DESCRIPTION_FILE).write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "TextModel":
        """Reads what save wrote; scores are the same to the last bit of a float32."""
        body = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS_FILE)
        single = bool(body["single"])
        parts = tuple(_load_part(description, tensors, single, folder) for description in body["parts"])
        return cls(tuple(body["classes"]), parts, single, tuple(body["thresholds"]))


def _load_part(description: Mapping[str, Any], tensors: Mapping[str, Any], single: bool, folder: Path) -> Part:
    name = description["name"]
    if name == TRANSFORMER:
        require_libraries("This model is a transformer: it")
        from jobkit.text.transformer import TransformerPart  # torch takes seconds to load

        return TransformerPart.load(description, folder, single)
    own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
    linear = Linear(own["weights"], own["bias"], single)
    if name == TFIDF:
        return TfidfPart.load(description, own, linear)
    if name == MINILM:
        return MinilmPart(linear)
    if name == SENTENCES:
        return SentencesPart(linear)
    raise BadConfiguration(f"The model has a part '{name}' that this version does not know.")
