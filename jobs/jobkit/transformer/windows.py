"""Texts cut into the windows that a pretrained model reads: overlapping, so that nothing of a long text is lost.

Offsets are code points of the text. Each piece is decided about in exactly one window, in which it has context on both
sides. Needs transformers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobkit.progress import Progress

OVERLAP_SHARE = 0.25  # of a window
TOGETHER = 256  # texts that the tokenizer gets at once


@dataclass(frozen=True)
class Window:
    """Pieces of one text with the model's marks around them. `offsets` has a row a piece, (0, 0) for marks; the pieces
    at `first` to `after` (exclusive) are decided about here."""

    text: int
    ids: NDArray[np.int32]
    offsets: NDArray[np.int32]
    first: int
    after: int


def readable(text: str) -> str:
    """The text with each half of a surrogate pair as "?", as long as before: tokenizers refuse such halves."""
    return text.encode("utf-8", "replace").decode("utf-8")


def cut(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[Window]:
    """The windows of all texts, in their order; at least one a text."""
    marks = tokenizer.num_special_tokens_to_add()
    overlap = int((max_tokens - marks) * OVERLAP_SHARE)
    windows: list[Window] = []
    progress = Progress("Cutting texts into word pieces", len(texts))
    for start in range(0, len(texts), TOGETHER):
        some = [readable(text) for text in texts[start : start + TOGETHER]]
        coded = tokenizer(
            some,
            truncation=True,
            max_length=max_tokens,
            stride=overlap,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        owners = coded["overflow_to_sample_mapping"]
        for number, owner in enumerate(owners):
            inner = np.flatnonzero(np.asarray(coded["special_tokens_mask"][number]) == 0)
            low, high = (int(inner[0]), int(inner[-1]) + 1) if len(inner) else (0, 0)
            before = number > 0 and owners[number - 1] == owner
            behind = number + 1 < len(owners) and owners[number + 1] == owner
            windows.append(
                Window(
                    start + owner,
                    np.asarray(coded["input_ids"][number], np.int32),
                    np.asarray(coded["offset_mapping"][number], np.int32).reshape(-1, 2),
                    low + (overlap // 2 if before else 0),
                    high - (overlap - overlap // 2 if behind else 0),
                )
            )
        progress.step(len(some))
    return windows
