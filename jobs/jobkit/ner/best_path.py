"""The likeliest tags of words, one after the other, in which no entity goes on that did not begin (Viterbi). Pure."""

import numpy as np
from numpy.typing import NDArray


def best_tags(chances: NDArray[np.float64]) -> list[int]:
    """A number a word, from words x `jobkit.ner.decoding.all_tags`."""
    best = chances.argmax(axis=1).tolist() if len(chances) else []
    if all(tag % 2 or not tag or before in (tag, tag - 1) for before, tag in zip([0, *best], best, strict=False)):
        return best  # nearly all texts
    logs = np.log(np.maximum(chances, 1e-12))
    scores = logs[0].copy()
    scores[2::2] = -np.inf
    came = np.zeros(chances.shape, np.intp)
    for index in range(1, len(logs)):
        came[index] = scores.argmax()
        following = scores.max() + logs[index]
        begun, going = scores[1::2], scores[2::2]
        came[index, 2::2] = np.where(begun >= going, np.arange(1, len(scores), 2), np.arange(2, len(scores), 2))
        following[2::2] = np.maximum(begun, going) + logs[index, 2::2]
        scores = following
    path = [int(scores.argmax())]
    for index in range(len(logs) - 1, 0, -1):
        path.append(int(came[index, path[-1]]))
    return path[::-1]
