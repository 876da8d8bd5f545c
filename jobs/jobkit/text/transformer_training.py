"""Fine-tuning of a transformer that classifies texts. Needs torch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from jobkit.checkpoints import Checkpoints
from jobkit.progress import say
from jobkit.splits import TRAINING
from jobkit.text.corpus import Corpus
from jobkit.text.transformer import TransformerPart, counts_of, pooled, spread
from jobkit.transformer.fitting import Fitting
from jobkit.transformer.network import TEXTS, Network
from jobkit.transformer.options import Options
from jobkit.transformer.windows import Window, cut

Judge = Callable[[TransformerPart], float | None]


class TextTask:
    """Classes of whole texts: cross entropy, or for several classes a text binary cross entropy of each."""

    def __init__(self, corpus: Corpus, network: Network, part: TransformerPart, judge: Judge) -> None:
        examples = corpus.splits[TRAINING]
        windows = cut(network.tokenizer, examples.texts, network.max_tokens)
        self._windows: list[list[Window]] = []
        start = 0
        for count in counts_of(windows, len(examples.texts)):
            self._windows.append(spread(windows[start : start + count]))
            start += count
        self.lengths: Sequence[int] = [sum(len(window.ids) for window in of_text) for of_text in self._windows]
        self._labels, self._classes, self._single = examples.labels, len(corpus.classes), corpus.single
        self._part, self._judge = part, judge

    def loss(self, network: Network, rows: Sequence[int]) -> torch.Tensor:
        """The loss of some training texts."""
        of_texts = [self._windows[row] for row in rows]
        logits = network.logits([window for of_text in of_texts for window in of_text])
        scores = pooled(logits, [len(of_text) for of_text in of_texts], self._single)
        if self._single:
            chosen = torch.tensor([self._labels[row][0] for row in rows], device=scores.device)
            return cross_entropy(scores, chosen)
        ticked = torch.zeros(scores.shape)
        for place, row in enumerate(rows):
            ticked[place, list(self._labels[row])] = 1.0
        return binary_cross_entropy_with_logits(scores, ticked.to(scores.device))

    def score(self, network: Network) -> float | None:
        """The judge's figure of what was learned so far."""
        return self._judge(self._part)


def fine_tuned(
    corpus: Corpus, folder: Path, options: Options, checkpoints: Checkpoints | None, judge: Judge
) -> TransformerPart:
    """The pretrained model of a folder with a head for the corpus's classes; the best by the judge of all epochs."""
    network = Network.begin(
        folder, TEXTS, len(corpus.classes), options.max_tokens, options.seed, several=not corpus.single
    )
    part = TransformerPart(network, folder.name, corpus.single)
    task = TextTask(corpus, network, part, judge)
    say("Fine-tuning", backbone=folder.name, rows=len(task.lengths), device=str(network.device))
    Fitting(network, task, options, checkpoints).run()
    return part
