"""Fine-tuning of a transformer that finds entities. Needs torch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from jobkit.checkpoints import Checkpoints
from jobkit.ner.corpus import Corpus
from jobkit.ner.decoding import all_tags, tags_of
from jobkit.ner.tokens import places
from jobkit.ner.transformer import NOWHERE, TransformerFinder, owners
from jobkit.progress import say
from jobkit.splits import TRAINING
from jobkit.transformer.fitting import Fitting
from jobkit.transformer.network import WORDS, Network
from jobkit.transformer.options import Options
from jobkit.transformer.windows import Window, cut

IGNORED = -100  # the mark of pieces that teach nothing: a word's others, and those that another window decides about

Judge = Callable[[TransformerFinder], float | None]


class WordTask:
    """Tags of words: cross entropy of each word's first piece. An example is a window, so no text is too long."""

    def __init__(self, corpus: Corpus, finder: TransformerFinder, judge: Judge) -> None:
        examples = corpus.splits[TRAINING]
        numbers = {name: number for number, name in enumerate(corpus.classes)}
        tag_numbers = {tag: number for number, tag in enumerate(all_tags(len(corpus.classes)))}
        windows = cut(finder.network.tokenizer, examples.texts, finder.network.max_tokens)
        labels: list[NDArray[np.int64]] = [np.full(len(one.ids), IGNORED, np.int64) for one in windows]
        start = 0
        for index, (text, entities) in enumerate(zip(examples.texts, examples.entities, strict=True)):
            after = start
            while after < len(windows) and windows[after].text == index:
                after += 1
            spans = places(text)
            tags = tags_of(spans, [one for one in entities if one.name in numbers], numbers)
            for tag, (window, piece) in zip(tags, owners(spans, windows[start:after]), strict=True):
                if (window, piece) != NOWHERE and labels[start + window][piece] == IGNORED:
                    labels[start + window][piece] = tag_numbers[tag]
            start = after
        taught = [index for index, of_window in enumerate(labels) if (of_window != IGNORED).any()]
        self._windows: list[Window] = [windows[index] for index in taught]
        self._labels = [labels[index] for index in taught]
        self.lengths: Sequence[int] = [len(window.ids) for window in self._windows]
        self._finder, self._judge = finder, judge

    def loss(self, network: Network, rows: Sequence[int]) -> torch.Tensor:
        """The loss of some windows."""
        logits = network.logits([self._windows[row] for row in rows])
        labels = np.full(logits.shape[:2], IGNORED, np.int64)
        for place, row in enumerate(rows):
            labels[place, : len(self._labels[row])] = self._labels[row]
        wanted = torch.from_numpy(labels).to(logits.device)
        return cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)

    def score(self, network: Network) -> float | None:
        """The judge's figure of what was learned so far."""
        return self._judge(self._finder)


def fine_tuned(
    corpus: Corpus, folder: Path, options: Options, checkpoints: Checkpoints | None, judge: Judge
) -> TransformerFinder:
    """The pretrained model of a folder with a head for the corpus's tags; the best by the judge of all epochs."""
    outputs = len(all_tags(len(corpus.classes)))
    network = Network.begin(folder, WORDS, outputs, options.max_tokens, options.seed)
    if network.ignores_case:
        say("The backbone does not see capital letters, which names begin with", severity="WARNING", name=folder.name)
    finder = TransformerFinder(corpus.classes, network, folder.name)
    task = WordTask(corpus, finder, judge)
    say("Fine-tuning", backbone=folder.name, windows=len(task.lengths), device=str(network.device))
    Fitting(network, task, options, checkpoints).run()
    return finder
