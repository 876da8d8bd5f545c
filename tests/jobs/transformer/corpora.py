"""Texts that a small network can learn to tell apart."""

from __future__ import annotations

import random

from jobkit.splits import TRAINING, VALIDATION
from jobkit.text.corpus import Corpus, Examples

WORDS = {"fruit": "apple pear plum cherry banana", "metal": "iron copper zinc tin lead"}


def corpus(single: bool = True, rows: int = 40) -> Corpus:
    """Texts about fruit or metal; where a row may have several classes, every third is about both."""
    chance, splits = random.Random(4), {TRAINING: Examples(), VALIDATION: Examples()}
    for number in range(rows):
        labels = (number % 2,) if single or number % 3 else (0, 1)
        words = [chance.choice(list(WORDS.values())[label].split()) for label in labels for _ in range(3)]
        split = splits[VALIDATION if number % 5 == 4 else TRAINING]
        split.texts.append(" ".join(words))
        split.labels.append(labels)
    return Corpus(tuple(WORDS), single, splits)
