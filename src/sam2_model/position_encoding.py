"""The four ways SAM 2 tells where and when: sine (maps, time), random Fourier (prompts), rotary (memory)."""

import math

import torch
from torch import Tensor, nn

TEMPERATURE = 10_000.0


def _axis_waves(length: int, channels: int, like: Tensor) -> Tensor:
    """Return sine and cosine, interleaved, of the positions along one axis, (length, channels)."""
    position = torch.arange(1, length + 1, dtype=torch.float32, device=like.device)
    position = position / (length + 1e-6) * 2 * math.pi
    pair = torch.arange(channels, dtype=torch.float32, device=like.device) // 2
    angle = position[:, None] / TEMPERATURE ** (2 * pair / channels)  # (length, channels)
    return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=-1).flatten(1)


def sine_map(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """Return the sine position of every cell of a map: half the channels for y, half for x.

    Returns
    -------
    Tensor
        Shape (channels, height, width), device and dtype of `like`.
    """
    half = channels // 2
    rows = _axis_waves(height, half, like)[:, None].expand(-1, width, -1)  # (H, W, C/2)
    columns = _axis_waves(width, half, like)[None].expand(height, -1, -1)  # (H, W, C/2)
    return torch.cat((rows, columns), dim=-1).permute(2, 0, 1).to(like.dtype)  # (C, H, W)


def sine_time(age: Tensor, channels: int) -> Tensor:
    """Return sine positions in time: all sines first, then all cosines.

    Parameters
    ----------
    age : Tensor
        Shape (P,): signed distance to the current frame, as a fraction of the bank's reach.
    channels : int
        Even number of channels.

    Returns
    -------
    Tensor
        Shape (P, channels), float32.
    """
    half = channels // 2
    pair = torch.arange(half, dtype=torch.float32, device=age.device) // 2
    angle = age.float()[:, None] / TEMPERATURE ** (2 * pair / half)  # (P, channels / 2)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


class RandomFourier(nn.Module):
    """Positions in the unit square through a fixed random projection (Tancik et al. 2020)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, channels // 2))

    def forward(self, xy: Tensor) -> Tensor:
        """Return positions (..., 2), (x, y), encoded as (..., channels); an image that spans [0, 1] fills the range."""
        projected = (2 * xy - 1) @ self.positional_encoding_gaussian_matrix
        angle = 2 * math.pi * projected
        return torch.cat((angle.sin(), angle.cos()), dim=-1)


class Rotation:
    """Axial rotary positions of a grid (Heo et al. 2024): pairs of channels turn by an angle that grows with x, then y.

    Parameters
    ----------
    height, width : int
        Grid of the tokens, row by row.
    channels : int
        Channels of one attention head, a multiple of four.
    device : torch.device
        Where the table is needed.
    """

    def __init__(self, height: int, width: int, channels: int, device: torch.device) -> None:
        frequency = TEMPERATURE ** -(torch.arange(0, channels, 4, dtype=torch.float32, device=device) / channels)
        token = torch.arange(height * width, device=device)
        x, y = (token % width).float(), (token // width).float()
        angle = torch.cat((x[:, None] * frequency, y[:, None] * frequency), dim=-1)  # (N, channels / 2)
        self.cos, self.sin = angle.cos(), angle.sin()

    def __call__(self, x: Tensor) -> Tensor:
        """Return tokens (B, heads, R * N, channels), rotated; the table repeats R times, once per remembered frame."""
        B, heads, L, C = x.shape
        N = self.cos.shape[0]
        pairs = x.float().view(B, heads, L // N, N, C // 2, 2)
        a, b = pairs.unbind(-1)  # (B, heads, R, N, C / 2)
        turned = torch.stack((a * self.cos - b * self.sin, a * self.sin + b * self.cos), dim=-1)
        return turned.view(B, heads, L, C).type_as(x)
