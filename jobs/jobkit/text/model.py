"""A text classifier that is saved as numbers and words (safetensors and JSON, no pickle) and scores the same anywhere.

A model is one part or the product of two: TF-IDF of words and letters, MiniLM vectors of whole texts or of their
sentences, each with a linear layer on top. Nothing is fitted when it is loaded.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from jobkit.errors import BadConfiguration
from jobkit.text.embeddings import embed

VERSION = 1
TFIDF = "tfidf"
MINILM = "minilm"
SENTENCES = "sentences"
MAX_SENTENCES = 64  # of one text
WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"
_TINY = 1e-9
_SENTENCE_END = re.compile(r"(?<=[.!?…:;])\s+|\n+|(?<=[\u3002\uff01\uff1f])")  # the last three: full-width . ! ?
_WORD = r"(?u)\b\w+\b"

Scores = npt.NDArray[np.float64]
Features: TypeAlias = npt.NDArray[np.float32] | sparse.csr_matrix
Tensors = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Linear:
    """Scores of each class from features: softmax over the classes (single) or a sigmoid each."""

    weights: npt.NDArray[np.float32]  # features x classes
    bias: npt.NDArray[np.float32]
    single: bool

    def probabilities(self, features: Features) -> Scores:
        """Rows x classes, each 0..1."""
        logits = np.asarray(features @ self.weights, dtype=np.float64) + self.bias
        if not self.single:
            result: Scores = 1.0 / (1.0 + np.exp(-np.clip(logits, -60, 60)))
            return result
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        shares: Scores = powers / powers.sum(axis=1, keepdims=True)
        return shares


class Part(Protocol):
    """Features with a linear layer on top."""

    name: str
    linear: Linear

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Texts x classes, each 0..1."""

    def tensors(self) -> Tensors:
        """What is saved as numbers."""

    def description(self) -> dict[str, Any]:
        """What is saved as JSON."""


def new_vectorizers(rows: int) -> tuple[TfidfVectorizer, TfidfVectorizer]:
    """Vectorizers of words (one and two) and of letters (3 to 5 inside words); rare ones are dropped in large data."""
    fewest = 1 if rows < 2000 else 2
    shared: dict[str, Any] = {"sublinear_tf": True, "min_df": fewest, "max_features": 100_000, "dtype": np.float32}
    return (
        TfidfVectorizer(analyzer="word", ngram_range=(1, 2), token_pattern=_WORD, **shared),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), **shared),
    )


class TfidfPart:
    """Words and letters, weighted by how rare they are."""

    name = TFIDF

    def __init__(self, vectorizers: Sequence[TfidfVectorizer], linear: Linear) -> None:
        self._vectorizers = tuple(vectorizers)
        self.linear = linear

    def features(self, texts: Sequence[str]) -> Features:
        """Texts x (words and letters), sparse."""
        columns: Features = tfidf_features(self._vectorizers, texts)
        return columns

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Texts x classes, each 0..1."""
        return self.linear.probabilities(self.features(texts))

    def tensors(self) -> Tensors:
        """The rarity of each word and letter group."""
        return {f"idf_{index}": one.idf_.astype(np.float32) for index, one in enumerate(self._vectorizers)}

    def description(self) -> dict[str, Any]:
        """The words and letter groups, in the order of their columns."""
        terms = [sorted(one.vocabulary_, key=one.vocabulary_.__getitem__) for one in self._vectorizers]
        return {"terms": terms}

    @classmethod
    def load(cls, description: Mapping[str, Any], tensors: Mapping[str, Any], linear: Linear) -> "TfidfPart":
        """Puts the vectorizers together again."""
        vectorizers = new_vectorizers(0)
        for index, (vectorizer, terms) in enumerate(zip(vectorizers, description["terms"], strict=True)):
            vectorizer.set_params(vocabulary={term: column for column, term in enumerate(terms)})
            vectorizer.idf_ = tensors[f"idf_{index}"]
        return cls(vectorizers, linear)


def tfidf_features(vectorizers: Sequence[TfidfVectorizer], texts: Sequence[str]) -> sparse.csr_matrix:
    """The vectorizers' columns side by side."""
    return sparse.hstack([one.transform(texts) for one in vectorizers], format="csr")


class MinilmPart:
    """Sentence vectors."""

    name = MINILM

    def __init__(self, linear: Linear) -> None:
        self.linear = linear

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Texts x classes, each 0..1."""
        return self.linear.probabilities(embed(texts))

    def tensors(self) -> Tensors:
        """Nothing of its own: the encoder lies in its package."""
        return {}

    def description(self) -> dict[str, Any]:
        """Nothing of its own."""
        return {}


class SentencesPart:
    """Sentence vectors, where a text is as much of a class as its surest sentence: for several classes a text, since
    the vector of a whole text blurs what each sentence is about."""

    name = SENTENCES

    def __init__(self, linear: Linear) -> None:
        self.linear = linear

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Texts x classes, each 0..1."""
        bags = [sentences(text) for text in texts]
        if not bags:
            return np.zeros((0, len(self.linear.bias)))
        each = self.linear.probabilities(embed([sentence for bag in bags for sentence in bag]))
        starts = np.cumsum([0, *(len(bag) for bag in bags[:-1])])
        surest: Scores = np.maximum.reduceat(each, starts, axis=0)
        return surest

    def tensors(self) -> Tensors:
        """Nothing of its own: the encoder lies in its package."""
        return {}

    def description(self) -> dict[str, Any]:
        """Nothing of its own."""
        return {}


def sentences(text: str) -> list[str]:
    """The text's sentences (at least one); what comes after MAX_SENTENCES is one sentence."""
    found = [part for part in _SENTENCE_END.split(text.strip()) if part] or [text]
    return found if len(found) <= MAX_SENTENCES else [*found[: MAX_SENTENCES - 1], " ".join(found[MAX_SENTENCES - 1 :])]


@dataclass(frozen=True)
class TextModel:
    """Classes, parts and the decision rule. `thresholds` are for several classes a row; a single choice takes the
    best."""

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
            return [self.classes[int(scores.argmax())]]
        return [self.classes[index] for index in np.flatnonzero(scores >= np.asarray(self.thresholds)).tolist()]

    def save(self, folder: Path) -> None:
        """Writes model.safetensors and model.json."""
        tensors: Tensors = {}
        parts = []
        for part in self.parts:
            tensors[f"{part.name}.weights"] = np.ascontiguousarray(part.linear.weights)
            tensors[f"{part.name}.bias"] = part.linear.bias
            tensors |= {f"{part.name}.{key}": value for key, value in part.tensors().items()}
            parts.append({"name": part.name, **part.description()})
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
        parts = tuple(_load_part(description, tensors, single) for description in body["parts"])
        return cls(tuple(body["classes"]), parts, single, tuple(body["thresholds"]))


def _load_part(description: Mapping[str, Any], tensors: Mapping[str, Any], single: bool) -> Part:
    name = description["name"]
    own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
    linear = Linear(own["weights"], own["bias"], single)
    if name == TFIDF:
        return TfidfPart.load(description, own, linear)
    if name == MINILM:
        return MinilmPart(linear)
    if name == SENTENCES:
        return SentencesPart(linear)
    raise BadConfiguration(f"The model has a part '{name}' that this version does not know.")


def combine(scores: Sequence[Scores], single: bool) -> Scores:
    """The geometric mean of several opinions, made to sum to one again (or, for several classes, each against its
    opposite)."""
    if len(scores) == 1:
        return scores[0]
    agreed: Scores = np.exp(np.mean([np.log(one + _TINY) for one in scores], axis=0))
    if single:
        shares: Scores = agreed / agreed.sum(axis=1, keepdims=True)
        return shares
    against = np.exp(np.mean([np.log(1.0 - one + _TINY) for one in scores], axis=0))
    result: Scores = agreed / (agreed + against)
    return result
