"""The two layers that every part of the model shares."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of each pixel of a map."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (B, C, H, W), normalised."""
        centred = x - x.mean(1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(1, keepdim=True) + self.eps)  # (B, 1, H, W)
        return centred * scale * self.weight[:, None, None] + self.bias[:, None, None]


class MLP(nn.Module):
    """Linear layers with an activation between them, and none after the last.

    Parameters
    ----------
    widths : sequence of int
        Width of the input, of every hidden layer, and of the output.
    activation : callable
        Applied between the layers.
    """

    def __init__(self, widths: Sequence[int], activation: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(widths))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., widths[-1]) for an input (..., widths[0])."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        result: Tensor = last(x)
        return result
