"""Hiera, the hierarchical vision transformer that is SAM 2's trunk (Ryali et al. 2023; Bolya et al. 2024)."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.config import HieraConfig
from sam2_model.layers import MLP

PATCH_STRIDE = 4

_norm = partial(nn.LayerNorm, eps=1e-6)


def _pool(x: Tensor) -> Tensor:
    """Return a channels-last map (B, H, W, C) with both sides halved, by its maxima."""
    # Contiguous, because max-pooling of a strided view has returned wrong values on MPS.
    pooled = F.max_pool2d(x.permute(0, 3, 1, 2).contiguous(), kernel_size=2, stride=2)
    return pooled.permute(0, 2, 3, 1)


def _to_windows(x: Tensor, side: int) -> Tensor:
    """Return the windows (B * windows, side, side, C) of a map (B, H, W, C), padded below and right with zeros.

    The padding takes part in the attention, as it did when the published weights were trained.
    """
    B, H, W, C = x.shape
    x = F.pad(x, (0, 0, 0, -W % side, 0, -H % side))
    rows, columns = x.shape[1] // side, x.shape[2] // side
    x = x.view(B, rows, side, columns, side, C).transpose(2, 3)  # (B, rows, columns, side, side, C)
    return x.reshape(-1, side, side, C)


def _from_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Put windows (B * windows, side, side, C) back into a map (B, height, width, C), dropping the padding."""
    _, side, _, C = windows.shape
    rows, columns = -(-height // side), -(-width // side)
    x = windows.view(-1, rows, columns, side, side, C).transpose(2, 3)  # (B, rows, side, columns, side, C)
    return x.reshape(-1, rows * side, columns * side, C)[:, :height, :width]


class WindowAttention(nn.Module):
    """Attention among the tokens of each window, optionally with the queries pooled to half resolution."""

    def __init__(self, channels_in: int, channels: int, heads: int, *, pools: bool) -> None:
        super().__init__()
        self.heads = heads
        self.pools = pools
        self.qkv = nn.Linear(channels_in, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return windows (B, H, W, C) as (B, H', W', C'), with H' = H / 2 where the queries are pooled."""
        B, H, W, _ = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # each (B, H, W, C')
        if self.pools:
            q = _pool(q)
            H, W = q.shape[1:3]
        q, k, v = (t.reshape(B, -1, self.heads, t.shape[-1] // self.heads).transpose(1, 2) for t in (q, k, v))
        x = F.scaled_dot_product_attention(q, k, v)  # (B, heads, H' * W', C' / heads)
        result: Tensor = self.proj(x.transpose(1, 2).reshape(B, H, W, -1))
        return result


class Block(nn.Module):
    """One transformer block; the first of a stage doubles the channels and halves the resolution."""

    def __init__(self, channels_in: int, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window  # side in tokens; 0 attends to the whole map
        self.pools = channels != channels_in
        self.norm1 = _norm(channels_in)
        self.attn = WindowAttention(channels_in, channels, heads, pools=self.pools)
        self.norm2 = _norm(channels)
        self.mlp = MLP((channels, 4 * channels, channels), F.gelu)
        self.proj = nn.Linear(channels_in, channels) if self.pools else None

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (B, H, W, C) after this block, (B, H', W', C')."""
        normed = self.norm1(x)
        # The shortcut of a widening block starts from the normalised input, not from the input.
        shortcut = x if self.proj is None else _pool(self.proj(normed))  # (B, H', W', C')
        if self.window:
            # Pooled windows come back at half their side, so the map they form is the shortcut's.
            attended = _from_windows(self.attn(_to_windows(normed, self.window)), *shortcut.shape[1:3])
        else:
            attended = self.attn(normed)
        x = shortcut + attended
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class PatchEmbed(nn.Module):
    """Overlapping 7 x 7 patches every four pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, kernel_size=7, stride=PATCH_STRIDE, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        """Return the tokens (B, H / 4, W / 4, C) of images (B, 3, H, W)."""
        tokens: Tensor = self.proj(images)
        return tokens.permute(0, 2, 3, 1)


class Hiera(nn.Module):
    """Four stages of blocks at strides 4, 8, 16 and 32."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.embed_dim, *config.position_grid))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, config.embed_dim, *[config.window_sizes[0]] * 2))
        self.blocks = nn.ModuleList()
        self.stage_ends: list[int] = []
        self.channels = tuple(config.embed_dim << stage for stage in range(4))
        channels_in = config.embed_dim
        for stage, depth in enumerate(config.stages):
            for position in range(depth):
                # The first block of a stage still sees the finer map, hence the previous stage's window.
                window = config.window_sizes[max(stage - (position == 0), 0)]
                if len(self.blocks) in config.global_blocks:
                    window = 0
                channels = self.channels[stage]
                self.blocks.append(Block(channels_in, channels, config.num_heads << stage, window))
                channels_in = channels
            self.stage_ends.append(len(self.blocks) - 1)

    def positions(self, height: int, width: int) -> Tensor:
        """Return the position embedding of a token grid, (1, height, width, C): a coarse map plus a repeated window."""
        coarse = F.interpolate(self.pos_embed, size=(height, width), mode="bicubic")
        side = self.pos_embed_window.shape[-1]
        window = self.pos_embed_window.tile(1, 1, -(-height // side), -(-width // side))[:, :, :height, :width]
        return (coarse + window).permute(0, 2, 3, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the ends of the four stages, (B, C << s, H / 4 >> s, W / 4 >> s), for images (B, 3, H, W)."""
        x = self.patch_embed(images)  # (B, H / 4, W / 4, C)
        x = x + self.positions(*x.shape[1:3])
        ends = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.stage_ends:
                ends.append(x.permute(0, 3, 1, 2))
        return ends
