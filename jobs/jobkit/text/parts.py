"""What a text classifier is made of: features of texts, each with a linear layer on top, as plain numbers and words.

TF-IDF of words and letters, and MiniLM vectors of whole texts or of their sentences. Nothing is fitted when a part is
loaded.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from jobkit.text.embeddings import Matrix, embed

TFIDF = "tfidf"
MINILM = "minilm"
SENTENCES = "sentences"
MAX_SENTENCES = 64  # of one text
_SENTENCE_END = re.compile(r"(?<=[.!?…:;])\s+|\n+|(?<=[\u3002\uff01\uff1f])")  # the last three: full-width . ! ?
TINY = 1e-9
_WORD = r"(?u)\b\w+\b"

Scores = npt.NDArray[np.float64]
Features: TypeAlias = npt.NDArray[np.float32] | sparse.csr_matrix
Tensors = dict[str, npt.NDArray[Any]]
Embedder = Callable[[Sequence[str]], Matrix]


@dataclass(frozen=True)
class Linear:
    """Scores of each class from features: softmax over the classes (single) or a sigmoid each."""

    weights: npt.NDArray[np.float32]  # features x classes
    bias: npt.NDArray[np.float32]
    single: bool

    def tensors(self) -> Tensors:
        """What is saved as numbers."""
        return {"weights": np.ascontiguousarray(self.weights), "bias": self.bias}

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
    """One way from texts to scores."""

    name: str

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Texts x classes, each 0..1."""

    def tensors(self) -> Tensors:
        """What is saved as numbers."""

    def description(self) -> dict[str, Any]:
        """What is saved as JSON."""

    def save_files(self, folder: Path, classes: Sequence[str]) -> None:
        """Writes what the part keeps in files of its own, if anything."""


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
        """The linear layer, and the rarity of each word and letter group."""
        rarity = {f"idf_{index}": one.idf_.astype(np.float32) for index, one in enumerate(self._vectorizers)}
        return {**self.linear.tensors(), **rarity}

    def description(self) -> dict[str, Any]:
        """The words and letter groups, in the order of their columns."""
        terms = [sorted(one.vocabulary_, key=one.vocabulary_.__getitem__) for one in self._vectorizers]
        return {"terms": terms}

    def save_files(self, folder: Path, classes: Sequence[str]) -> None:
        """Nothing."""

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

    def __init__(self, linear: Linear, read: Embedder = embed) -> None:
        self.linear, self._read = linear, read

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Texts x classes, each 0..1."""
        return self.linear.probabilities(self._read(texts))

    def tensors(self) -> Tensors:
        """The linear layer; the encoder lies in its package."""
        return self.linear.tensors()

    def description(self) -> dict[str, Any]:
        """Nothing of its own."""
        return {}

    def save_files(self, folder: Path, classes: Sequence[str]) -> None:
        """Nothing."""


class SentencesPart:
    """Sentence vectors, where a text is as much of a class as its surest sentence: for several classes a text, since
    the vector of a whole text blurs what each sentence is about."""

    name = SENTENCES

    def __init__(self, linear: Linear, read: Embedder = embed) -> None:
        self.linear, self._read = linear, read

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Texts x classes, each 0..1."""
        bags = [sentences(text) for text in texts]
        if not bags:
            return np.zeros((0, len(self.linear.bias)))
        each = self.linear.probabilities(self._read([sentence for bag in bags for sentence in bag]))
        starts = np.cumsum([0, *(len(bag) for bag in bags[:-1])])
        surest: Scores = np.maximum.reduceat(each, starts, axis=0)
        return surest

    def tensors(self) -> Tensors:
        """The linear layer; the encoder lies in its package."""
        return self.linear.tensors()

    def description(self) -> dict[str, Any]:
        """Nothing of its own."""
        return {}

    def save_files(self, folder: Path, classes: Sequence[str]) -> None:
        """Nothing."""


def sentences(text: str) -> list[str]:
    """The text's sentences (at least one); what comes after MAX_SENTENCES is one sentence."""
    found = [part for part in _SENTENCE_END.split(text.strip()) if part] or [text]
    return found if len(found) <= MAX_SENTENCES else [*found[: MAX_SENTENCES - 1], " ".join(found[MAX_SENTENCES - 1 :])]


def combine(scores: Sequence[Scores], single: bool) -> Scores:
    """The geometric mean of several opinions, made to sum to one again (or, for several classes, each against its
    opposite)."""
    if len(scores) == 1:
        return scores[0]
    agreed: Scores = np.exp(np.mean([np.log(one + TINY) for one in scores], axis=0))
    if single:
        shares: Scores = agreed / agreed.sum(axis=1, keepdims=True)
        return shares
    against = np.exp(np.mean([np.log(1.0 - one + TINY) for one in scores], axis=0))
    result: Scores = agreed / (agreed + against)
    return result
