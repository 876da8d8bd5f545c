"""Training of text classifiers: TF-IDF, MiniLM vectors, products, transformers; the best on validation is kept.

Everything is fitted on training rows and chosen on validation rows; test rows are never looked at.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadConfiguration, BadData
from jobkit.evaluation import ClassificationEvaluation
from jobkit.progress import say
from jobkit.splits import TRAINING, VALIDATION
from jobkit.text.corpus import Corpus, Examples, read_corpus
from jobkit.text.linear_fitting import fit, fit_sentences
from jobkit.text.model import TextModel
from jobkit.text.parts import (
    MinilmPart,
    Part,
    Scores,
    SentencesPart,
    TfidfPart,
    combine,
    new_vectorizers,
    tfidf_features,
)
from jobkit.text.vectors import TimeUp, Vectors
from jobkit.thresholds import GRID, ThresholdChooser
from jobkit.transformer.backbones import folder_of, is_transformer, require_libraries
from jobkit.transformer.devices import gpu_models
from jobkit.transformer.options import Options

__all__ = ["BACKBONES", "Candidate", "Corpus", "Examples", "read_corpus", "train"]

AUTO = "auto"
NONE = "none"
MINILM_ONLY = "minilm"
BACKBONES = (AUTO, NONE, MINILM_ONLY)  # and hf:NAME
MAX_EMBEDDED_ROWS = 20_000  # beyond it, `auto` leaves MiniLM out: TF-IDF has caught up and vectors take an hour
MAX_SENTENCE_ROWS, MAX_SENTENCE_CLASSES = 5_000, 100  # beyond it, learning from sentences takes too long
LOSS_SHARE = 0.001  # of the log loss in a transformer's score: tells epochs of equal F1 apart


@dataclass(frozen=True)
class Candidate:
    """One model with its figures on the validation split."""

    model: TextModel
    figures: dict[str, float]
    log_loss: float


class Training:
    """One training. `threshold` is set in the place of those that validation would choose; the time budget of the
    options counts from here."""

    def __init__(
        self, corpus: Corpus, options: Options, threshold: float | None = None, checkpoints: Checkpoints | None = None
    ) -> None:
        self._corpus, self._options, self._threshold, self._checkpoints = corpus, options, threshold, checkpoints
        self._deadline = time.monotonic() + options.budget_s if options.budget_s else 0.0
        self._vectors = Vectors(checkpoints, self._deadline)
        self._late_vectors = Vectors(checkpoints)  # of validation rows: what was fitted must be judged

    def best(self, backbone: str) -> Candidate:
        """The best candidate. Figures are of the validation split; without its rows MiniLM goes before TF-IDF."""
        training, validation = self._corpus.splits[TRAINING], self._corpus.splits[VALIDATION]
        if not training.texts:
            raise BadData("The training file has no training row.")
        if is_transformer(backbone):
            require_libraries(f"The backbone {backbone}")
            return self._fine_tuned(folder_of(backbone), self._left_s())
        parts = self._parts(backbone)
        scores = [part.probabilities(validation.texts) for part in parts] if validation.texts else []
        choices = [[index] for index in range(len(parts))] + [[index, index + 1] for index in range(len(parts) - 1)]
        candidates = []
        for choice in choices:
            chosen = combine([scores[index] for index in choice], self._corpus.single) if scores else None
            candidates.append(self._candidate([parts[index] for index in choice], chosen))
        if not validation.texts:
            return candidates[min(1, len(parts) - 1)]
        if backbone == AUTO:
            candidates += self._transformers()
        for candidate in candidates:
            score = candidate.figures.get("macro_f1")
            say("Candidate", model=candidate.model.name, macro_f1=score, log_loss=round(candidate.log_loss, 4))
        return max(candidates, key=lambda one: (one.figures["macro_f1"], -one.log_loss))

    def _left_s(self) -> float:
        """What is left of the time budget; 0 is no bound."""
        return max(self._deadline - time.monotonic(), 1.0) if self._deadline else 0.0

    def _transformers(self) -> list[Candidate]:
        """On a machine with a GPU, every pretrained model of the image; they share the time that is left."""
        folders = gpu_models()
        found = []
        for index, folder in enumerate(folders):
            if self._deadline and time.monotonic() >= self._deadline:
                say("A model is left out, for the time budget has ended", severity="WARNING", model=folder.name)
                continue
            found.append(self._fine_tuned(folder, self._left_s() / (len(folders) - index)))
        return found

    def _fine_tuned(self, folder: Path, budget_s: float) -> Candidate:
        from jobkit.text.transformer_training import fine_tuned  # torch takes seconds to load

        validation = self._corpus.splits[VALIDATION]

        def judged(part: Part) -> Candidate:
            return self._candidate([part], part.probabilities(validation.texts) if validation.texts else None)

        def score(part: Part) -> float | None:
            if not validation.texts:
                return None
            candidate = judged(part)
            return candidate.figures["macro_f1"] - LOSS_SHARE * candidate.log_loss

        inner = self._checkpoints.inner(folder.name) if self._checkpoints is not None else None
        return judged(fine_tuned(self._corpus, folder, replace(self._options, budget_s=budget_s), inner, score))

    def _parts(self, backbone: str) -> list[Part]:
        examples, corpus, seed = self._corpus.splits[TRAINING], self._corpus, self._options.seed
        parts: list[Part] = []
        if backbone != MINILM_ONLY:
            say("Fitting TF-IDF", rows=len(examples.texts), classes=len(corpus.classes))
            vectorizers = new_vectorizers(len(examples.texts))
            for vectorizer in vectorizers:
                vectorizer.fit(examples.texts)
            features = tfidf_features(vectorizers, examples.texts)
            parts.append(TfidfPart(vectorizers, fit(features, corpus, seed)))
        if backbone == MINILM_ONLY or (backbone == AUTO and _fits_minilm(len(examples.texts))):
            try:
                parts += self._minilm_parts(examples)
            except TimeUp as error:
                if not parts:
                    raise BadConfiguration(
                        "The time budget ended before all training texts were read.", "Set a larger time_budget_s."
                    ) from error
                say("MiniLM is left out, for the time budget has ended", severity="WARNING")
        return parts

    def _minilm_parts(self, examples: Examples) -> list[Part]:
        corpus, seed = self._corpus, self._options.seed
        say("Fitting MiniLM vectors", rows=len(examples.texts), classes=len(corpus.classes))
        parts: list[Part] = [MinilmPart(fit(self._vectors(examples.texts), corpus, seed), self._late_vectors)]
        if (
            not corpus.single
            and len(examples.texts) <= MAX_SENTENCE_ROWS
            and len(corpus.classes) <= MAX_SENTENCE_CLASSES
        ):
            parts.append(SentencesPart(fit_sentences(corpus, self._vectors, seed), self._late_vectors))
        return parts

    def _candidate(self, parts: Sequence[Part], scores: Scores | None) -> Candidate:
        corpus = self._corpus
        labels = corpus.splits[VALIDATION].labels
        model = TextModel(corpus.classes, tuple(parts), corpus.single, self._thresholds(scores))
        if scores is None:
            return Candidate(model, {}, 0.0)
        evaluation = ClassificationEvaluation(corpus.classes, single=corpus.single)
        for row, label in zip(scores, labels, strict=True):
            answers = dict(zip(corpus.classes, row.tolist(), strict=True))
            evaluation.add(VALIDATION, [corpus.classes[one] for one in label], answers, model.decide(row))
        return Candidate(model, evaluation.summary(VALIDATION), _log_loss(scores, labels, corpus.single))

    def _thresholds(self, scores: Scores | None) -> tuple[float, ...]:
        """Of several classes a row, one a class, chosen on the validation split; or the one that was set."""
        if self._corpus.single:
            return () if self._threshold is None else (self._threshold,)
        classes = len(self._corpus.classes)
        if self._threshold is not None:
            return (self._threshold,) * classes
        chooser = ThresholdChooser(range(classes))
        for row, label in zip(
            scores if scores is not None else (), self._corpus.splits[VALIDATION].labels, strict=False
        ):
            worth = np.flatnonzero(row >= GRID[0]).tolist()  # no threshold is lower
            chooser.add(label, {index: float(row[index]) for index in worth})
        found = chooser.thresholds()
        return tuple(found[index] for index in range(classes))


def train(
    corpus: Corpus,
    backbone: str,
    seed: int = 0,
    *,
    options: Options | None = None,
    threshold: float | None = None,
    checkpoints: Checkpoints | None = None,
) -> Candidate:
    """The best candidate of a backbone; `seed` is for those who have no other options."""
    return Training(corpus, options or Options(seed=seed), threshold, checkpoints).best(backbone)


def _fits_minilm(rows: int) -> bool:
    if rows <= MAX_EMBEDDED_ROWS:
        return True
    say("MiniLM is left out, for the data is large", rows=rows, most=MAX_EMBEDDED_ROWS)
    return False


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
