"""MiniLM vectors of texts that are trained on: each is read once, and a preempted training reads none again."""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jobkit.checkpoints import Checkpoints
from jobkit.progress import say
from jobkit.text.embeddings import Matrix, embed

PART = 500  # texts of one file: about a quarter of a minute's work on four cores


class TimeUp(Exception):
    """The time budget ended before all texts were read."""


class Vectors:
    """Reads texts. `deadline` is a monotonic time after which no further part is begun (0: none); `part` texts lie in
    one file of the checkpoint."""

    def __init__(
        self,
        checkpoints: Checkpoints | None = None,
        deadline: float = 0.0,
        *,
        embed: Callable[[Sequence[str]], Matrix] = embed,
        part: int = PART,
    ) -> None:
        self._checkpoints = checkpoints.inner("vectors") if checkpoints is not None else None
        self._deadline, self._embed, self._size = deadline, embed, part
        self._known: dict[str, Matrix] = {}

    def __call__(self, texts: Sequence[str]) -> Matrix:
        """One vector of length 1 a text; raises TimeUp."""
        size = self._size
        parts = [self._part(texts[start : start + size], len(texts)) for start in range(0, len(texts), size)]
        return np.concatenate(parts) if parts else self._embed([])

    def _part(self, texts: Sequence[str], of_all: int) -> Matrix:
        name = hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:32]
        if name not in self._known:
            self._known[name] = self._kept(name, texts) if of_all > self._size else self._read(texts)
        return self._known[name]

    def _read(self, texts: Sequence[str]) -> Matrix:
        if self._deadline and time.monotonic() > self._deadline:
            raise TimeUp
        return self._embed(texts)

    def _kept(self, name: str, texts: Sequence[str]) -> Matrix:
        """A part of many texts: from the checkpoint, else read and put there."""
        if self._checkpoints is None:
            return self._read(texts)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.safetensors"
            if self._checkpoints.fetch(path.name, path):
                try:
                    found: Matrix = load_file(path)["vectors"]
                    return found
                except (SafetensorError, KeyError) as error:
                    say("A checkpoint cannot be read", severity="WARNING", reason=type(error).__name__)
            vectors = self._read(texts)
            save_file({"vectors": vectors}, path)
            self._checkpoints.keep(path.name, path)
            return vectors
