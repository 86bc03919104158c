"""Weights, frames and masks that anyone can rebuild from names and numbers, as the recorded reference did."""

import zlib

import numpy as np
import torch
from torch import Tensor

from sam2_model.config import Sam2Config
from sam2_model.sam2 import Sam2


def seeded(shape: tuple[int, ...], name: str) -> Tensor:
    """Standard normal numbers that depend on a shape and a name alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


def seeded_value(name: str, shape: tuple[int, ...]) -> Tensor:
    """One parameter, at a scale at which the whole network neither fades nor explodes."""
    n = seeded(shape, name)
    is_norm_weight = len(shape) == 1 and name.endswith(("weight", "gamma"))
    is_embedding = name.endswith(("_token.weight", "_tokens.weight")) or name == "maskmem_tpos_enc"
    is_embedding |= shape[0] == 1 and not any(part in name for part in ("conv", "mask_downs", "encoder.0"))
    if is_norm_weight:
        return 1 + 0.1 * n
    if len(shape) == 1:
        return 0.02 * n
    if name.endswith("gaussian_matrix"):
        return n
    if is_embedding:
        return 0.5 * n
    return n / float(np.prod(shape[1:])) ** 0.5


def seeded_model(config: Sam2Config) -> Sam2:
    model = Sam2(config)
    model.load_state_dict({name: seeded_value(name, tuple(v.shape)) for name, v in model.state_dict().items()})
    return model.eval()


def seeded_frames(count: int, size: int) -> Tensor:
    """A smooth moving pattern with noise, already normalised: (count, 3, size, size)."""
    y, x = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    stack = [
        [
            torch.sin(9 * x + 0.4 * t + c) * torch.cos(7 * y - 0.3 * t)
            + torch.exp(-((x - 0.3 - 0.05 * t) ** 2 + (y - 0.5) ** 2) * 40)
            for c in range(3)
        ]
        for t in range(count)
    ]
    return torch.stack([torch.stack(planes) for planes in stack]) + 0.1 * seeded((count, 3, size, size), "frames")


def disc(size: int, y: float, x: float, radius: float) -> Tensor:
    """A boolean disc (size, size), in units of the side."""
    yy, xx = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    return (yy - y) ** 2 + (xx - x) ** 2 < radius**2
