"""The part of the detector that learns: a top-down neck over frozen feature maps, and a head that finds centres.

At each cell of stride 8 the head says for every class how much it looks like an object's centre, and how far the
object's four edges are. The idea is that of CenterNet (https://arxiv.org/abs/1904.07850) with the edges of FCOS
(https://arxiv.org/abs/1904.01355). Needs torch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Before training every cell gives every class this chance, or the many empty cells would drown the few full ones.
FIRST_CHANCE = 0.05
_GROUPS = 8
_LONGEST = 8.0  # bound on the logarithm of an edge's distance in cells


def _block(channels: int, width: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(_GROUPS, width), nn.ReLU())


def _doubled(x: Tensor) -> Tensor:
    """Each cell four times. Written so that its gradient is a plain sum, which is the same in every run."""
    n, channels, height, width = x.shape
    wide = x[:, :, :, None, :, None].expand(n, channels, height, 2, width, 2)
    return wide.reshape(n, channels, height * 2, width * 2)


class BoxNetwork(nn.Module):  # type: ignore[misc, unused-ignore] # torch is installed in the job's environment only
    """Maps of strides 8, 16, 32 in; logits (n, classes, h, w) and distances (n, 4, h, w) in cells out.

    The distances are left, top, right, bottom from the middle of the cell.
    """

    def __init__(self, channels: Sequence[int], classes: int, width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList([_block(count, width, 1) for count in channels])
        self.smooth = nn.ModuleList([_block(width, width, 3) for _ in channels[:-1]])
        self.tower = nn.Sequential(_block(width, width, 3), _block(width, width, 3))
        self.centre = nn.Conv2d(width, classes, 1)
        self.edges = nn.Conv2d(width, 4, 1)
        nn.init.normal_(self.centre.weight, std=0.01)
        nn.init.constant_(self.centre.bias, -float(torch.logit(torch.tensor(1 - FIRST_CHANCE))))
        nn.init.normal_(self.edges.weight, std=0.01)
        nn.init.constant_(self.edges.bias, 1.0)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        sides = [lateral(values) for lateral, values in zip(self.lateral, maps, strict=True)]
        x = sides[-1]
        for index in range(len(sides) - 2, -1, -1):
            x = self.smooth[index](sides[index] + _doubled(x))
        x = self.tower(x)
        return self.centre(x), torch.exp(self.edges(x).clamp(max=_LONGEST))
