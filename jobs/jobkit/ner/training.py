"""Training of named-entity models: conditional random fields with several features and penalties; the best on the
validation split is kept. Everything is fitted on training rows; test rows are never looked at."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pycrfsuite

from jobkit.errors import BadData
from jobkit.ner.evaluation import EntityEvaluation
from jobkit.ner.features import KINDS, features
from jobkit.ner.model import OUTSIDE, EntityModel, tags_of
from jobkit.ner.spans import Entity
from jobkit.ner.tokens import WINDOW, places, words_of
from jobkit.progress import Progress, say
from jobkit.splits import ML_USE, TRAINING, VALIDATION

AUTO = "auto"
FEATURES = (AUTO, *KINDS)
PENALTIES = ((0.1, 0.01), (0.02, 0.003), (0.5, 0.05))  # (c1, c2): how dear features and their weights are
ITERATIONS = 100
MANY_TOKENS = 300_000  # beyond it only the first penalty is tried: each fit takes minutes
MAX_TOKENS = 2_000_000  # about 2.5 GB of memory while fitting; what comes after is left out and said so


@dataclass
class Examples:
    """Texts with their entities, one split."""

    texts: list[str] = field(default_factory=list)
    entities: list[tuple[Entity, ...]] = field(default_factory=list)


@dataclass
class Corpus:
    """The training file, read. `left_out` counts training rows beyond MAX_TOKENS."""

    classes: tuple[str, ...]
    splits: dict[str, Examples]
    left_out: int = 0


def read_corpus(lines: Iterable[str], max_tokens: int = MAX_TOKENS) -> Corpus:
    """Reads Vertex's text extraction JSONL; test rows are passed over."""
    splits = {TRAINING: Examples(), VALIDATION: Examples()}
    tokens, left_out = 0, 0
    for line in lines:
        if not line:
            continue
        body = json.loads(line)
        split = body["dataItemResourceLabels"][ML_USE]
        if split not in splits:
            continue
        text = body["textContent"]
        if split == TRAINING:
            tokens += len(places(text))
            if tokens > max_tokens:
                left_out += 1
                continue
        splits[split].texts.append(text)
        splits[split].entities.append(tuple(_entity(one) for one in body.get("textSegmentAnnotations", ())))
    names = {entity.name for row in splits[TRAINING].entities for entity in row}
    return Corpus(tuple(sorted(names)), splits, left_out)


def _entity(annotation: dict[str, Any]) -> Entity:
    return Entity(int(annotation["startOffset"]), int(annotation["endOffset"]), annotation["displayName"])


@dataclass(frozen=True)
class Candidate:
    """One model with its figures on the validation split."""

    model: EntityModel
    penalty: tuple[float, float]
    figures: dict[str, float]


def train(corpus: Corpus, kind: str, iterations: int = ITERATIONS) -> Candidate:
    """The candidate that finds most on the validation split (exact micro F1; on a tie the one that was tried first).
    Without validation rows the first candidate is kept."""
    validation = corpus.splits[VALIDATION]
    if not corpus.classes:
        raise BadData("The training file has no training row with an entity.")
    kinds: Sequence[str] = (kind,)
    if kind == AUTO:
        kinds = KINDS if validation.texts else KINDS[:1]
    candidates = (candidate for kind in kinds for candidate in _candidates(corpus, kind, iterations))
    return max(candidates, key=lambda candidate: candidate.figures.get("micro_f1", 0.0))


def _candidates(corpus: Corpus, kind: str, iterations: int) -> Iterator[Candidate]:
    """One candidate a penalty; of many tokens, or without validation rows to choose by, only one."""
    training, validation = corpus.splits[TRAINING], corpus.splits[VALIDATION]
    many = sum(len(places(text)) for text in training.texts) > MANY_TOKENS
    for penalty in PENALTIES[:1] if many or not validation.texts else PENALTIES:
        sequences = _sequences(training, corpus.classes, kind)  # made for each fit: kept, they take 2 KB a token
        model = EntityModel(corpus.classes, kind, _fit(sequences, penalty, iterations))
        figures = evaluate(model, validation) if validation.texts else {}
        score = figures.get("micro_f1", 0.0)
        say("Candidate fitted", features=kind, c1=penalty[0], c2=penalty[1], validation_micro_f1=score)
        yield Candidate(model, penalty, figures)


def evaluate(model: EntityModel, examples: Examples) -> dict[str, float]:
    """Headline figures of a model on labelled texts."""
    evaluation = EntityEvaluation(model.classes)
    for text, entities in zip(examples.texts, examples.entities, strict=True):
        evaluation.add(VALIDATION, text, entities, model.find(text))
    return evaluation.headline(VALIDATION)


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
