"""The prompt encoder: points, boxes and masks as embeddings (Kirillov et al. 2023, section 3; Ravi et al. 2024)."""

from enum import IntEnum

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.config import STRIDE
from sam2_model.layers import LayerNorm2d
from sam2_model.mask_ops import fit_mask
from sam2_model.position_encoding import RandomFourier

MASK_STRIDE = 4
"""Pixels of what the decoder sees per cell of a mask prompt, or of the mask logits that it gives."""


class PointLabel(IntEnum):
    """What a point stands for; a box is its two corners."""

    PADDING = -1
    NEGATIVE = 0
    POSITIVE = 1
    BOX_TOP_LEFT = 2
    BOX_BOTTOM_RIGHT = 3


class PromptEncoder(nn.Module):
    """Sparse embeddings of points and boxes, a dense embedding of a mask.

    Parameters
    ----------
    width : int
        Channels of the embeddings.
    span_px : int, optional
        Pixels over which positions run, from the middle of the image; its side when omitted.
    """

    def __init__(self, width: int, span_px: int | None = None) -> None:
        super().__init__()
        self.span_px = span_px
        self.pe_layer = RandomFourier(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.no_mask_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, kernel_size=2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, width, kernel_size=1),
        )

    def embed_points(
        self,
        points: Tensor,  # (B, N, 2)
        labels: Tensor,  # (B, N)
        grid: tuple[int, int],
    ) -> Tensor:
        """Return the embeddings of points in pixels of the working image, (x, y), shape (B, N + 1, width)."""
        # One padding point always follows: the published weights never saw a prompt without it.
        points = F.pad(points, (0, 0, 0, 1))  # (B, N + 1, 2)
        labels = F.pad(labels, (0, 1), value=PointLabel.PADDING)  # (B, N + 1)
        position = self._embed_positions(points + 0.5, grid)  # (B, N + 1, C)
        kinds = torch.cat([self.not_a_point_embed.weight, *self.point_embeddings.parameters()])  # (5, C)
        is_point = (labels != PointLabel.PADDING)[..., None]
        return position * is_point + kinds[labels + 1]

    def image_positions(self, grid: tuple[int, int]) -> Tensor:
        """Return the positions of the centres of the embedding's cells, shape (width, h, w)."""
        matrix = self.pe_layer.positional_encoding_gaussian_matrix
        y, x = ((torch.arange(n, device=matrix.device, dtype=matrix.dtype) + 0.5) * STRIDE for n in grid)
        yy, xx = torch.meshgrid(y, x, indexing="ij")
        return self._embed_positions(torch.stack((xx, yy), dim=-1), grid).permute(2, 0, 1)

    def _embed_positions(self, xy: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the embeddings (..., width) of positions (..., 2), (x, y) in pixels from the upper left corner."""
        size = xy.new_tensor((grid[1] * STRIDE, grid[0] * STRIDE))
        relative = xy / size
        if self.span_px is not None:
            relative = (relative - 0.5) * (size / self.span_px) + 0.5
        position: Tensor = self.pe_layer(relative)
        return position

    def embed_mask(
        self,
        mask_logits: Tensor,  # (B, 1, H, W)
        grid: tuple[int, int],
    ) -> Tensor:
        """Return the embeddings of mask logits, maps of the embedding's grid, (B, width, h, w)."""
        size = (grid[0] * STRIDE // MASK_STRIDE, grid[1] * STRIDE // MASK_STRIDE)
        dense: Tensor = self.mask_downscaling(fit_mask(mask_logits, size))
        return dense

    def forward(
        self,
        grid: tuple[int, int],
        points: Tensor | None = None,  # (B, N, 2)
        labels: Tensor | None = None,  # (B, N)
        mask_logits: Tensor | None = None,  # (B, 1, H, W)
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of prompts.

        Parameters
        ----------
        grid : tuple of int
            Rows and columns of the image embedding.
        points : Tensor, optional
            Shape (B, N, 2), (x, y) in pixels of the working image.
        labels : Tensor, optional
            Shape (B, N), integer values of `PointLabel`.
        mask_logits : Tensor, optional
            Shape (B, 1, H, W), positive inside; resized where it is not a quarter of the working image.

        Returns
        -------
        sparse : Tensor
            Shape (B, N + 1, width), or (1, 0, width) without points.
        dense : Tensor
            Shape (B, width, h, w), or (1, width, h, w) without a mask.
        """
        if points is not None and labels is not None:
            sparse = self.embed_points(points, labels, grid)
        else:
            sparse = self.no_mask_embed.weight.new_zeros(1, 0, self.no_mask_embed.embedding_dim)
        if mask_logits is not None:
            dense = self.embed_mask(mask_logits, grid)
        else:
            dense = self.no_mask_embed.weight[:, :, None, None].expand(-1, -1, *grid)
        return sparse, dense
