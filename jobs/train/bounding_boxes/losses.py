"""How wrong the head is: focal loss of the centres, and overlap of the boxes at them. Needs torch."""

import torch
from torch import Tensor

BOX_WEIGHT = 5.0


def loss(logits: Tensor, distances: Tensor, centres: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """The sum of both losses, for each box the same weight whatever its size."""
    boxes = centres.eq(1).sum().clamp(min=1)
    return (_centres(logits, centres).sum() + BOX_WEIGHT * _boxes(distances, wanted, weights).sum()) / boxes


def _centres(logits: Tensor, centres: Tensor) -> Tensor:
    """Focal loss that forgives chances near a centre (CenterNet, arxiv.org/abs/1904.07850, formula 1)."""
    chance = torch.sigmoid(logits)
    hit = (1 - chance) ** 2 * torch.nn.functional.logsigmoid(logits)
    miss = (1 - centres) ** 4 * chance**2 * torch.nn.functional.logsigmoid(-logits)
    return -torch.where(centres.eq(1), hit, miss)


def _boxes(distances: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """1 - GIoU (arxiv.org/abs/1902.09630) of boxes that share the cell from whose middle their edges are measured."""
    chosen = weights > 0
    said, true = distances.movedim(1, -1)[chosen], wanted.movedim(1, -1)[chosen]
    near, far = torch.minimum(said, true), torch.maximum(said, true)
    shared = (near[:, 0] + near[:, 2]).clamp(min=0) * (near[:, 1] + near[:, 3]).clamp(min=0)
    around = (far[:, 0] + far[:, 2]) * (far[:, 1] + far[:, 3])
    union = _area(said) + _area(true) - shared
    overlap = shared / union.clamp(min=1e-6) - (around - union) / around.clamp(min=1e-6)
    return (1 - overlap) * weights[chosen]


def _area(edges: Tensor) -> Tensor:
    return (edges[:, 0] + edges[:, 2]) * (edges[:, 1] + edges[:, 3])
