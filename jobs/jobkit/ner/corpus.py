"""The training file of a named-entity model, read: texts and their entities, by split."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jobkit.json_lines import loads
from jobkit.ner.spans import Entity
from jobkit.ner.tokens import places
from jobkit.splits import ML_USE, TRAINING, VALIDATION

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
        body = loads(line)
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
