"""Every object of an image in one pass: regions become prompts, and prompts become masks with scores.

For models with an instance decoder. The published ones ask for a grid of points instead (`mask_generator`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam2_model.automatic.likeness import object_features
from sam2_model.automatic.regions import Region, find_regions
from sam2_model.device import inference
from sam2_model.errors import ConfigError
from sam2_model.instance_decoder import CELL_PX, InstanceMaps
from sam2_model.mask_decoder import best_candidate
from sam2_model.mask_ops import PROMPT_LOGIT_LIMIT
from sam2_model.sam2 import ImageFeatures, Sam2
from sam2_model.views import Extent, extent_of_masks, is_inside

_AT_ONCE = 32
"""Objects that go through the mask decoder together: each takes room for masks of the size of the image."""

_REGION_LOGIT = 6.0
"""How sure a region is of its cells, as a mask prompt."""

_SHARPNESS = 6.0
"""How fast agreement falls with the square of the error of offsets, in object sizes."""


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One object that was found.

    Attributes
    ----------
    corner : tuple of int
        Row and column of the first cell of `logits`; a cell is `Sam2.mask_stride` pixels of the working image.
    logits : ndarray
        Shape (h, w), float32: mask logits, positive inside, with one cell of margin where there is room.
    predicted_iou, object_score : float
        In [0, 1], as the mask decoder says.
    agreement : float
        In [0, 1]: how well the cells of the mask agree that they are one object with its middle in the middle.
    seed : tuple of float
        Row and column where it was asked for, in pixels of the working image.
    features : Tensor
        Shape (C,): what it looks like, from `likeness.object_features`.
    """

    corner: tuple[int, int]
    logits: NDArray[np.float32]
    predicted_iou: float
    object_score: float
    agreement: float
    seed: tuple[float, float]
    features: Tensor


class InstancePredictor:
    """Find the objects of images.

    Parameters
    ----------
    model : Sam2
        The network, on the device it should run on.

    Raises
    ------
    ConfigError
        If the model has no instance decoder.
    """

    def __init__(self, model: Sam2) -> None:
        if not model.config.has_instance_decoder:
            raise ConfigError("This model has no instance decoder. Ask for a grid of points instead.")
        self.model = model

    def see(self, features: ImageFeatures) -> tuple[InstanceMaps, tuple[Region, ...]]:
        """Return what the cells of an image say, and the regions that they form; features of a batch of one."""
        with inference(self.model.device):
            maps = self.model.decode_instances(features)
            logits, offsets = (x[0].float().cpu().numpy() for x in (maps.object_logits, maps.offsets))
        return maps, find_regions(logits[0], offsets)

    def segment(self, features: ImageFeatures, maps: InstanceMaps, regions: Sequence[Region]) -> Iterator[Instance]:
        """Yield the object that each region means, if it has a mask at all.

        A region's cells are shown to the decoder as a mask with a click in their middle. Its answer is looked at once
        more, from as close as the answer allows: that has the last word.
        """
        for start in range(0, len(regions), _AT_ONCE):
            some = regions[start : start + _AT_ONCE]
            seeds = [tuple((cell + 0.5) * CELL_PX - 0.5 for cell in region.middle) for region in some]
            with inference(self.model.device):
                shown = self._as_masks(some, maps)
                yield from self._look_twice(features, maps, seeds, shown, self._extent(shown, features))

    def segment_seeds(
        self, features: ImageFeatures, maps: InstanceMaps, seeds: Sequence[tuple[float, float]]
    ) -> Iterator[Instance]:
        """Yield the object at each seed (row, column), in pixels of the working image, if it has a mask at all."""
        for start in range(0, len(seeds), _AT_ONCE):
            with inference(self.model.device):
                yield from self._look_twice(features, maps, seeds[start : start + _AT_ONCE], None, None)

    def _look_twice(
        self,
        features: ImageFeatures,
        maps: InstanceMaps,
        seeds: Sequence[tuple[float, ...]],
        shown: Tensor | None,  # (N, 1, h, w)
        extent: Extent | None,
    ) -> Iterator[Instance]:
        embedding = self.model.without_memory(features)
        points = embedding.new_tensor([(x, y) for y, x in seeds])[:, None]  # (N, 1, 2)
        labels = torch.ones(len(seeds), 1, dtype=torch.long, device=embedding.device)
        first = self.model.decode(embedding, features, points, labels, shown, closely=False, extent=extent)
        # A click alone may mean a part, the whole or a group; with a region there is nothing to choose.
        found = best_candidate(first).mask_logits if shown is None else first.mask_logits[:, :1]
        found = found.clamp(-PROMPT_LOGIT_LIMIT, PROMPT_LOGIT_LIMIT)
        second = self.model.decode(
            embedding, features, points, labels, found, closely=False, extent=self._extent(found, features)
        )
        masks = second.mask_logits[:, :1]
        each = zip(
            masks[:, 0].float().cpu().numpy(),
            second.predicted_iou[:, 0].tolist(),
            second.object_score_logit[:, 0].sigmoid().tolist(),
            self._agreement(masks > 0, maps).tolist(),
            seeds,
            object_features(features, masks > 0),
            strict=True,
        )
        for logits, predicted_iou, object_score, agreement, (y, x), looks in each:
            window = _window(logits > 0)
            if window is not None:
                corner = (window[0].start, window[1].start)
                yield Instance(corner, logits[window], predicted_iou, object_score, agreement, (y, x), looks)

    def _as_masks(self, regions: Sequence[Region], maps: InstanceMaps) -> Tensor:
        """Return regions as mask logits of a prompt, (N, 1, H / mask_stride, W / mask_stride)."""
        shape = maps.object_logits.shape[-2:]
        cells = np.full((len(regions), 1, *shape), -_REGION_LOGIT, np.float32)
        for plane, region in zip(cells[:, 0], regions, strict=True):
            (y, x), (height, width) = region.corner, region.mask.shape
            plane[y : y + height, x : x + width][region.mask] = _REGION_LOGIT
        masks = torch.from_numpy(cells).to(self.model.device)
        factor = CELL_PX // self.model.mask_stride
        return F.interpolate(masks, scale_factor=float(factor), mode="bilinear") if factor > 1 else masks

    def _extent(self, masks: Tensor, features: ImageFeatures) -> Extent:
        return extent_of_masks(is_inside(masks), self.model.working_size(features))

    def _agreement(self, masks: Tensor, maps: InstanceMaps) -> Tensor:
        """Return how well masks (N, 1, H / mask_stride, W / mask_stride), bool, agree with the cells in them, (N,)."""
        height, width = maps.object_logits.shape[-2:]
        share = F.adaptive_avg_pool2d(masks.float(), (height, width))[:, 0]  # (N, h, w)
        # One that is smaller than a cell counts where most of it is.
        inside = (share >= share.amax((1, 2), keepdim=True).clamp(max=0.5)) & (share > 0)
        area = inside.sum((1, 2)).clamp(min=1)[:, None, None]
        y = torch.arange(inside.shape[1], device=masks.device, dtype=torch.float32)[:, None]
        x = torch.arange(inside.shape[2], device=masks.device, dtype=torch.float32)
        error = torch.zeros_like(share)
        for axis, place in enumerate((y, x)):
            middle = (inside * place).sum((1, 2), keepdim=True) / area
            error += (maps.offsets[0, axis].float() - (middle - place) / area.sqrt()) ** 2
        agreed = maps.object_logits[0, 0].float().sigmoid() * torch.exp(-_SHARPNESS * error)
        return (agreed * inside).sum((1, 2)) / area[:, 0, 0]


def _window(inside: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Return the rows and columns of a mask with one cell of margin; None if it is empty."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return None
    (top, bottom), (left, right) = ((max(int(side[0]) - 1, 0), int(side[-1]) + 2) for side in (rows, columns))
    return slice(top, bottom), slice(left, right)
