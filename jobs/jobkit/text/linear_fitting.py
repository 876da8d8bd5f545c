"""Fitting of the linear layers of text classifiers: logistic regressions, kept as plain numbers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from jobkit.splits import TRAINING
from jobkit.text.corpus import Corpus
from jobkit.text.parts import Embedder, Features, Linear, sentences

SENTENCE_ROUNDS = 3
STRENGTH = 10.0  # inverse regularisation of the linear layers


def fit(features: Features, corpus: Corpus, seed: int) -> Linear:
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


def fit_sentences(corpus: Corpus, read: Embedder, seed: int) -> Linear:
    """Learns which sentence of a text is about a class, though only the text's classes are known (multiple-instance
    learning): starts from whole texts; then the surest sentence stands for each text of the class, and all sentences
    of the other texts against it, a few times over."""
    examples = corpus.splits[TRAINING]
    bags = [sentences(text) for text in examples.texts]
    vectors = read([sentence for bag in bags for sentence in bag])
    ends = np.cumsum([len(bag) for bag in bags])
    starts = ends - [len(bag) for bag in bags]
    linear = fit(read(examples.texts), corpus, seed)
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
