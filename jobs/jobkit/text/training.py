"""Training of text classifiers: TF-IDF, MiniLM vectors and products; the best on the validation split is kept.

Everything is fitted on training rows and chosen on validation rows; test rows are never looked at.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from jobkit.errors import BadData
from jobkit.evaluation import ClassificationEvaluation
from jobkit.progress import say
from jobkit.splits import ML_USE, TRAINING, VALIDATION
from jobkit.text.embeddings import embed
from jobkit.text.model import (
    Features,
    Linear,
    MinilmPart,
    Part,
    Scores,
    SentencesPart,
    TextModel,
    TfidfPart,
    combine,
    new_vectorizers,
    sentences,
    tfidf_features,
)
from jobkit.thresholds import GRID, ThresholdChooser

AUTO = "auto"
NONE = "none"
MINILM_ONLY = "minilm"
BACKBONES = (AUTO, NONE, MINILM_ONLY)
MAX_EMBEDDED_ROWS = 20_000  # beyond it, `auto` leaves MiniLM out: TF-IDF has caught up and vectors take an hour
MAX_SENTENCE_ROWS, MAX_SENTENCE_CLASSES = 5_000, 100  # beyond it, learning from sentences takes too long
SENTENCE_ROUNDS = 3
STRENGTH = 10.0  # inverse regularisation of the linear layers


@dataclass
class Examples:
    """Texts with their classes (numbers of `Corpus.classes`), one split."""

    texts: list[str] = field(default_factory=list)
    labels: list[tuple[int, ...]] = field(default_factory=list)


@dataclass
class Corpus:
    """The training file, read."""

    classes: tuple[str, ...]
    single: bool
    splits: dict[str, Examples]


def read_corpus(lines: Iterable[str]) -> Corpus:
    """Reads Vertex's text JSONL; test rows are passed over unread."""
    rows: list[tuple[str, str, tuple[str, ...]]] = []
    names: dict[str, None] = {}
    single = True
    for line in lines:
        if not line:
            continue
        body = json.loads(line)
        split = body["dataItemResourceLabels"][ML_USE]
        if split not in (TRAINING, VALIDATION):
            continue
        if "classificationAnnotations" in body:
            single = False
            labels = tuple(one["displayName"] for one in body["classificationAnnotations"])
        else:
            labels = (body["classificationAnnotation"]["displayName"],)
        names.update(dict.fromkeys(labels))
        rows.append((split, body["textContent"], labels))
    classes = tuple(sorted(names))
    number = {name: index for index, name in enumerate(classes)}
    splits = {TRAINING: Examples(), VALIDATION: Examples()}
    for split, text, labels in rows:
        splits[split].texts.append(text)
        splits[split].labels.append(tuple(number[name] for name in labels))
    return Corpus(classes, single, splits)


@dataclass(frozen=True)
class Candidate:
    """One model with its figures on the validation split."""

    model: TextModel
    figures: dict[str, float]
    log_loss: float


def train(corpus: Corpus, backbone: str, seed: int) -> Candidate:
    """The best candidate. Figures are of the validation split; without validation rows MiniLM goes before TF-IDF."""
    training, validation = corpus.splits[TRAINING], corpus.splits[VALIDATION]
    if not training.texts:
        raise BadData("The training file has no training row.")
    parts = _parts(corpus, backbone, seed)
    scores = [part.probabilities(validation.texts) for part in parts] if validation.texts else []
    choices = [[index] for index in range(len(parts))] + [[index, index + 1] for index in range(len(parts) - 1)]
    candidates = []
    for choice in choices:
        chosen = combine([scores[index] for index in choice], corpus.single) if scores else None
        candidates.append(_candidate(corpus, [parts[index] for index in choice], chosen))
    for candidate in candidates:
        score = candidate.figures.get("macro_f1")
        say("Candidate", model=candidate.model.name, macro_f1=score, log_loss=round(candidate.log_loss, 4))
    if not validation.texts:
        return candidates[min(1, len(parts) - 1)]
    return max(candidates, key=lambda one: (one.figures["macro_f1"], -one.log_loss))


def _parts(corpus: Corpus, backbone: str, seed: int) -> list[Part]:
    examples = corpus.splits[TRAINING]
    parts: list[Part] = []
    if backbone != MINILM_ONLY:
        say("Fitting TF-IDF", rows=len(examples.texts), classes=len(corpus.classes))
        vectorizers = new_vectorizers(len(examples.texts))
        for vectorizer in vectorizers:
            vectorizer.fit(examples.texts)
        features = tfidf_features(vectorizers, examples.texts)
        parts.append(TfidfPart(vectorizers, _fit(features, corpus, seed)))
    if backbone == MINILM_ONLY or (backbone == AUTO and _fits_minilm(len(examples.texts))):
        say("Fitting MiniLM vectors", rows=len(examples.texts), classes=len(corpus.classes))
        parts.append(MinilmPart(_fit(embed(examples.texts), corpus, seed)))
        if (
            not corpus.single
            and len(examples.texts) <= MAX_SENTENCE_ROWS
            and len(corpus.classes) <= MAX_SENTENCE_CLASSES
        ):
            parts.append(SentencesPart(_fit_sentences(corpus, seed)))
    return parts


def _fits_minilm(rows: int) -> bool:
    if rows <= MAX_EMBEDDED_ROWS:
        return True
    say("MiniLM is left out, for the data is large", rows=rows, most=MAX_EMBEDDED_ROWS)
    return False


def _fit(features: Features, corpus: Corpus, seed: int) -> Linear:
    """A logistic regression (several classes a row: one each), as plain numbers."""
    labels = corpus.splits[TRAINING].labels
    width = features.shape[1]
    if corpus.single:
        weights, bias = _fit_one(features, [label[0] for label in labels], len(corpus.classes), seed)
        return Linear(weights, bias, single=True)
    columns = np.zeros((width, len(corpus.classes)), np.float32)
    biases = np.zeros(len(corpus.classes), np.float32)
    for index in range(len(corpus.classes)):
        targets = [int(index in label) for label in labels]
        share = sum(targets) / len(targets)
        if share in (0.0, 1.0):  # always or never: no boundary to find
            biases[index] = 4.0 if share else -4.0
            continue
        pair_weights, pair_bias = _fit_one(features, targets, 2, seed)
        columns[:, index] = pair_weights[:, 1] - pair_weights[:, 0]
        biases[index] = pair_bias[1] - pair_bias[0]
    return Linear(columns, biases, single=False)


def _fit_sentences(corpus: Corpus, seed: int) -> Linear:
    """Learns which sentence of a text is about a class, though only the text's classes are known (multiple-instance
    learning): starts from whole texts; then the surest sentence stands for each text of the class, and all sentences
    of the other texts against it, a few times over."""
    examples = corpus.splits[TRAINING]
    bags = [sentences(text) for text in examples.texts]
    vectors = embed([sentence for bag in bags for sentence in bag])
    ends = np.cumsum([len(bag) for bag in bags])
    starts = ends - [len(bag) for bag in bags]
    linear = _fit(embed(examples.texts), corpus, seed)
    weights, biases = linear.weights.copy(), linear.bias.copy()
    for index in range(len(corpus.classes)):
        of_class = [index in label for label in examples.labels]
        if all(of_class) or not any(of_class):
            continue
        for _ in range(SENTENCE_ROUNDS):
            logits = vectors @ weights[:, index]
            rows: list[int] = []
            targets: list[int] = []
            for start, end, true in zip(starts.tolist(), ends.tolist(), of_class, strict=True):
                chosen = [start + int(logits[start:end].argmax())] if true else list(range(start, end))
                rows += chosen
                targets += [int(true)] * len(chosen)
            pair_weights, pair_bias = _fit_one(vectors[rows], targets, 2, seed)
            weights[:, index] = pair_weights[:, 1] - pair_weights[:, 0]
            biases[index] = pair_bias[1] - pair_bias[0]
    return Linear(weights, biases, single=False)


def _fit_one(
    features: Features, targets: Sequence[int], classes: int, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weights and biases of each class; a class without a training row gets a bias that never wins."""
    weights = np.zeros((features.shape[1], classes), np.float32)
    bias = np.full(classes, -60.0, np.float32)
    seen = sorted(set(targets))
    if len(seen) == 1:
        bias[seen[0]] = 0.0
        return weights, bias
    fitted = LogisticRegression(C=STRENGTH, max_iter=1000, random_state=seed).fit(features, np.asarray(targets))
    if len(seen) == 2:  # one boundary: the second class against the first
        weights[:, seen[1]] = fitted.coef_[0]
        bias[seen[0]], bias[seen[1]] = 0.0, fitted.intercept_[0]
    else:
        weights[:, seen] = fitted.coef_.T
        bias[seen] = fitted.intercept_
    return weights, bias


def _candidate(corpus: Corpus, parts: Sequence[Part], scores: Scores | None) -> Candidate:
    labels = corpus.splits[VALIDATION].labels
    thresholds: tuple[float, ...] = ()
    if not corpus.single:
        thresholds = _thresholds(scores, labels, len(corpus.classes))
    model = TextModel(corpus.classes, tuple(parts), corpus.single, thresholds)
    if scores is None:
        return Candidate(model, {}, 0.0)
    evaluation = ClassificationEvaluation(corpus.classes, single=corpus.single)
    for row, label in zip(scores, labels, strict=True):
        answers = dict(zip(corpus.classes, row.tolist(), strict=True))
        evaluation.add(VALIDATION, [corpus.classes[one] for one in label], answers, model.decide(row))
    return Candidate(model, evaluation.summary(VALIDATION), _log_loss(scores, labels, corpus.single))


def _thresholds(scores: Scores | None, labels: Sequence[tuple[int, ...]], classes: int) -> tuple[float, ...]:
    """A threshold a class, chosen on the validation split."""
    chooser = ThresholdChooser(range(classes))
    for row, label in zip(scores if scores is not None else (), labels, strict=False):
        worth = np.flatnonzero(row >= GRID[0]).tolist()  # no threshold is lower
        chooser.add(label, {index: float(row[index]) for index in worth})
    found = chooser.thresholds()
    return tuple(found[index] for index in range(classes))


def _log_loss(scores: Scores, labels: Sequence[tuple[int, ...]], single: bool) -> float:
    """How surprised the model is by the truth, per row: tells candidates of equal F1 apart."""
    tiny = 1e-9
    if single:
        return float(np.mean([-np.log(row[label[0]] + tiny) for row, label in zip(scores, labels, strict=True)]))
    truth = np.zeros_like(scores)
    for row, label in enumerate(labels):
        truth[row, list(label)] = 1.0
    losses: Any = truth * np.log(scores + tiny) + (1 - truth) * np.log(1 - scores + tiny)
    return float(-losses.sum(axis=1).mean())
