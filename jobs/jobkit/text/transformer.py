"""A fine-tuned transformer as a part of a text classifier: saved as Hugging Face's files, scored window by window.

A text has as many windows as it needs. A single choice takes the mean of what they say; of several classes each counts
as much as the window that is surest of it, since one place of a long text may be what it is about. Needs torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jobkit.text.model import TRANSFORMER
from jobkit.text.parts import Scores, Tensors
from jobkit.transformer.network import FOLDER, TEXTS, Network
from jobkit.transformer.windows import Window, cut

MAX_LEARNED_WINDOWS = 8  # of one text while learning, spread over it; all are read when nothing is learned


def pooled(logits: torch.Tensor, counts: Sequence[int], single: bool) -> torch.Tensor:
    """Texts x classes, from windows x classes; `counts` are the windows of each text, in their order."""
    parts = logits.split(list(counts))
    return torch.stack([part.mean(0) if single else part.amax(0) for part in parts])


class TransformerPart:
    """An encoder with a classification head. `backbone` says what it was fine-tuned from."""

    name = TRANSFORMER

    def __init__(self, network: Network, backbone: str, single: bool) -> None:
        self.network, self.backbone, self.single = network, backbone, single

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Texts x classes, each 0..1."""
        if not texts:
            return np.zeros((0, int(self.network.module.config.num_labels)))
        windows = cut(self.network.tokenizer, texts, self.network.max_tokens)
        logits = torch.from_numpy(np.stack(self.network.read(windows)))
        return shares(pooled(logits, counts_of(windows, len(texts)), self.single), self.single)

    def tensors(self) -> Tensors:
        """Nothing: they lie in files of their own."""
        return {}

    def description(self) -> dict[str, Any]:
        """Where it comes from, and the window that it was tuned with."""
        return {"backbone": self.backbone, "max_tokens": self.network.max_tokens}

    def save_files(self, folder: Path, classes: Sequence[str]) -> None:
        """Writes Hugging Face's files into a folder of their own."""
        self.network.save(folder / FOLDER, classes)

    @classmethod
    def load(cls, description: Mapping[str, Any], folder: Path, single: bool) -> "TransformerPart":
        """Reads what save_files wrote."""
        network = Network.load(folder / FOLDER, TEXTS, int(description["max_tokens"]))
        return cls(network, str(description["backbone"]), single)


def shares(logits: torch.Tensor, single: bool) -> Scores:
    """Softmax over the classes, or a sigmoid each."""
    wide = logits.double()
    result: npt.NDArray[np.float64] = (wide.softmax(1) if single else wide.sigmoid()).cpu().numpy()
    return result


def counts_of(windows: Sequence[Window], texts: int) -> list[int]:
    """The number of windows of each text."""
    counts = [0] * texts
    for window in windows:
        counts[window.text] += 1
    return counts


def spread(windows: Sequence[Window]) -> list[Window]:
    """At most MAX_LEARNED_WINDOWS of one text's windows, spread evenly over it."""
    if len(windows) <= MAX_LEARNED_WINDOWS:
        return list(windows)
    places = np.linspace(0, len(windows) - 1, MAX_LEARNED_WINDOWS).round().astype(int)
    return [windows[place] for place in places.tolist()]
