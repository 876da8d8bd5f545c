"""Training of named-entity models: conditional random fields with several features and penalties, and transformers; the
best on the validation split is kept. Everything is fitted on training rows; test rows are never looked at."""

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pycrfsuite

from jobkit.checkpoints import Checkpoints
from jobkit.errors import BadData
from jobkit.evaluation import THRESHOLDS, f1
from jobkit.ner.corpus import Corpus, Examples, read_corpus
from jobkit.ner.decoding import OUTSIDE, tags_of
from jobkit.ner.evaluation import EntityEvaluation
from jobkit.ner.features import KINDS, features
from jobkit.ner.finders import Finder
from jobkit.ner.model import CRF, EntityModel
from jobkit.ner.tokens import WINDOW, places, words_of
from jobkit.progress import Progress, say
from jobkit.splits import TRAINING, VALIDATION
from jobkit.transformer.backbones import folder_of, is_transformer, require_libraries
from jobkit.transformer.devices import gpu_models
from jobkit.transformer.options import Options

__all__ = ["BACKBONES", "FEATURES", "Candidate", "Corpus", "Examples", "evaluate", "read_corpus", "train"]

AUTO = "auto"
BACKBONES = (AUTO, CRF)  # and hf:NAME
FEATURES = (AUTO, *KINDS)
PENALTIES = ((0.1, 0.01), (0.02, 0.003), (0.5, 0.05))  # (c1, c2): how dear features and their weights are
ITERATIONS = 100
MANY_TOKENS = 300_000  # beyond it only the first penalty is tried: each fit takes minutes
KEPT_FROM_S = 5.0  # a candidate whose fit took this long is kept in a checkpoint
LEAST_GAIN = 0.01  # in F1 on validation rows, for a threshold to be more than luck


@dataclass(frozen=True)
class Candidate:
    """One model with its figures on the validation split; `penalty` is of a conditional random field."""

    model: Finder
    figures: dict[str, float]
    penalty: tuple[float, float] | None = None

    @property
    def words(self) -> str:
        """What it is, for people."""
        if self.penalty is None:
            return self.model.name
        return f"{self.model.name}, c1={self.penalty[0]}, c2={self.penalty[1]}"


class Training:
    """One training. `threshold` is set in the place of the one that validation would choose; the time budget of the
    options counts from here."""

    def __init__(
        self,
        corpus: Corpus,
        options: Options,
        iterations: int = ITERATIONS,
        threshold: float | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._corpus, self._options, self._iterations = corpus, options, iterations
        self._threshold, self._checkpoints = threshold, checkpoints
        self._deadline = time.monotonic() + options.budget_s if options.budget_s else 0.0

    def best(self, backbone: str, kind: str) -> Candidate:
        """The candidate that finds most on the validation split (exact micro F1; on a tie the one that was tried
        first). Without validation rows the first candidate is kept."""
        if not self._corpus.classes:
            raise BadData("The training file has no training row with an entity.")
        if is_transformer(backbone):
            require_libraries(f"The backbone {backbone}")
            return self._decided(self._fine_tuned(folder_of(backbone), self._left_s()))
        validation = self._corpus.splits[VALIDATION]
        kinds: Sequence[str] = (kind,)
        if kind == AUTO:
            kinds = KINDS if validation.texts else KINDS[:1]
        candidates = list(self._fields(kinds))
        if backbone == AUTO and validation.texts:
            candidates += self._transformers()
        return self._decided(max(candidates, key=lambda candidate: candidate.figures.get("micro_f1", 0.0)))

    def _left_s(self) -> float:
        """What is left of the time budget; 0 is no bound."""
        return max(self._deadline - time.monotonic(), 1.0) if self._deadline else 0.0

    def _is_over(self, what: str) -> bool:
        if self._deadline and time.monotonic() >= self._deadline:
            say("A candidate is left out, for the time budget has ended", severity="WARNING", candidate=what)
            return True
        return False

    def _fields(self, kinds: Sequence[str]) -> Iterator[Candidate]:
        """Conditional random fields, at least one: one a penalty; of many tokens, or without validation rows to choose
        by, only one a kind."""
        training, validation = self._corpus.splits[TRAINING], self._corpus.splits[VALIDATION]
        many = sum(len(places(text)) for text in training.texts) > MANY_TOKENS
        penalties = PENALTIES[:1] if many or not validation.texts else PENALTIES
        for number, (kind, penalty) in enumerate((kind, penalty) for kind in kinds for penalty in penalties):
            if number and self._is_over(f"{CRF} of {kind}"):
                continue
            model = EntityModel(self._corpus.classes, kind, self._weights(kind, penalty))
            figures = evaluate(model, validation) if validation.texts else {}
            score = figures.get("micro_f1", 0.0)
            say("Candidate fitted", features=kind, c1=penalty[0], c2=penalty[1], validation_micro_f1=score)
            yield Candidate(model, figures, penalty)

    def _weights(self, kind: str, penalty: tuple[float, float]) -> bytes:
        """crfsuite's model file: fitted, or as a preempted attempt left it."""
        name = f"{CRF}-{kind}-{penalty[0]}-{penalty[1]}.crfsuite"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            if self._checkpoints is not None and self._checkpoints.fetch(name, path):
                return path.read_bytes()
            began = time.monotonic()
            sequences = _sequences(self._corpus.splits[TRAINING], self._corpus.classes, kind)
            weights = _fit(sequences, penalty, self._iterations)
            if self._checkpoints is not None and time.monotonic() - began >= KEPT_FROM_S:
                path.write_bytes(weights)
                self._checkpoints.keep(name, path)
            return weights

    def _transformers(self) -> list[Candidate]:
        """On a machine with a GPU, every pretrained model of the image; they share the time that is left."""
        folders = gpu_models()
        return [
            self._fine_tuned(folder, self._left_s() / (len(folders) - index))
            for index, folder in enumerate(folders)
            if not self._is_over(folder.name)
        ]

    def _fine_tuned(self, folder: Path, budget_s: float) -> Candidate:
        from jobkit.ner.transformer_training import fine_tuned  # torch takes seconds to load

        validation = self._corpus.splits[VALIDATION]

        def score(finder: Finder) -> float | None:
            return evaluate(finder, validation)["micro_f1"] if validation.texts else None

        inner = self._checkpoints.inner(folder.name) if self._checkpoints is not None else None
        finder = fine_tuned(self._corpus, folder, replace(self._options, budget_s=budget_s), inner, score)
        return Candidate(finder, evaluate(finder, validation) if validation.texts else {})

    def _decided(self, candidate: Candidate) -> Candidate:
        """The candidate with its threshold: the one that was set, or the best on validation rows."""
        validation = self._corpus.splits[VALIDATION]
        threshold = self._threshold
        if threshold is None:
            threshold = best_threshold(candidate.model, validation) if validation.texts else 0.0
        if not threshold:
            return candidate
        candidate.model.threshold = threshold
        say("Entities below a confidence are left out", threshold=threshold)
        return replace(candidate, figures=evaluate(candidate.model, validation) if validation.texts else {})


def train(
    corpus: Corpus,
    kind: str,
    iterations: int = ITERATIONS,
    *,
    backbone: str = AUTO,
    options: Options | None = None,
    threshold: float | None = None,
    checkpoints: Checkpoints | None = None,
) -> Candidate:
    """The best candidate of a backbone; `kind` are the features of conditional random fields."""
    return Training(corpus, options or Options(), iterations, threshold, checkpoints).best(backbone, kind)


def evaluate(model: Finder, examples: Examples) -> dict[str, float]:
    """Headline figures of a model on labelled texts."""
    return _evaluation(model, examples).headline(VALIDATION)


def _evaluation(model: Finder, examples: Examples) -> EntityEvaluation:
    evaluation = EntityEvaluation(model.classes)
    found = model.find_all(examples.texts)
    for text, entities, said in zip(examples.texts, examples.entities, found, strict=True):
        evaluation.add(VALIDATION, text, entities, said)
    return evaluation


def best_threshold(model: Finder, examples: Examples) -> float:
    """The confidence from which on entities are right often enough: 0, unless another is clearly better."""
    figures = _evaluation(model, examples).metrics()[VALIDATION]
    best, most = 0.0, figures["micro_f1"] + LEAST_GAIN
    for threshold in THRESHOLDS:
        each = [of_class["by_confidence"][str(threshold)] for of_class in figures["classes"].values()]
        score = f1(*(sum(counts[place] for counts in each) for place in (0, 1, 3)))
        if score > most:
            best, most = threshold, score
    return best


def _sequences(
    examples: Examples, classes: Sequence[str], kind: str
) -> Iterator[tuple[pycrfsuite.ItemSequence, list[str]]]:
    """(features, tags) of each text; a long text is cut into windows, never inside an entity."""
    numbers = {name: number for number, name in enumerate(classes)}
    progress = Progress("Reading training texts", len(examples.texts))
    for text, entities in zip(examples.texts, examples.entities, strict=True):
        spans = places(text)
        words = words_of(text, spans)
        tags = tags_of(spans, [one for one in entities if one.name in numbers], numbers)
        low = 0
        while low < len(spans):
            high = min(low + WINDOW, len(spans))
            while high < len(spans) and high > low + 1 and tags[high] != OUTSIDE and tags[high][0] == "I":
                high -= 1
            yield (
                pycrfsuite.ItemSequence(features(words[low:high], text, spans[low:high], kind)),
                tags[low:high],
            )
            low = high
        progress.step()


class _Trainer(pycrfsuite.Trainer):  # type: ignore[misc]
    """Says how far the fit is, instead of printing crfsuite's own words."""

    progress: Progress

    def message(self, message: str) -> None:
        if message.startswith("***** Iteration"):
            self.progress.step()


def _fit(
    sequences: Iterable[tuple[pycrfsuite.ItemSequence, list[str]]], penalty: tuple[float, float], iterations: int
) -> bytes:
    """crfsuite's model file. The same rows in the same order give the same model."""
    trainer = _Trainer(algorithm="lbfgs", verbose=True)
    trainer.progress = Progress("Fitting", iterations)
    trainer.set_params(
        {"c1": penalty[0], "c2": penalty[1], "max_iterations": iterations, "feature.possible_transitions": True}
    )
    for items, tags in sequences:
        trainer.append(items, tags)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        trainer.train(str(path))
        return path.read_bytes()
