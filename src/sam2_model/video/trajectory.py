"""Where an object is expected: where it was last, moved on as it moved before.

Memories hold what an object looked like and, through their positions, where that was. A model that looks through views
needs to know where to look before it has looked, and one step of constant velocity is nearer than no step.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_model.memory_bank import Recall
from sam2_model.views import NOT_SEEN, is_inside

_AT_REST = 0.15
"""An object that would move by less, relative to its width, stays: its middle moves with its outline, too."""

_FARTHEST = 1.0
"""How far an object is moved on at most, relative to its width: one that was found again far from where it was lost
does not go on like that. On generated clips half of it, or no limit, make no difference."""


def expected_masks(recalled: Recall, frame: int, masks_on: Callable[[int], Tensor]) -> Tensor:
    """Return the masks that objects which recall the same frames are expected to have on a frame.

    Parameters
    ----------
    recalled : Recall
        What the frame recalls of them.
    frame : int
        The frame.
    masks_on : callable
        Returns the mask logits (B, 1, h, w) of the objects on a remembered frame.

    Returns
    -------
    Tensor
        Shape (B, 1, h, w): the masks of the nearest remembered frame, moved on where an older one shows a movement.
    """
    # Among what is recalled anyway, so that nothing more is kept; a prompted frame serves as well as a followed one.
    nearest, before = recalled.nearest(frame), recalled.before_nearest(frame)
    if before is None:
        return masks_on(nearest)
    return moved_on(masks_on(nearest), masks_on(before), (frame - nearest) / (nearest - before))


def moved_on(last: Tensor, before: Tensor, ratio: float) -> Tensor:
    """Return masks moved on as they moved since earlier ones.

    Parameters
    ----------
    last, before : Tensor
        Shape (B, 1, h, w), mask logits on two frames; an object that is absent on one of them is not moved.
    ratio : float
        Time to move on for, relative to the time between the two.

    Returns
    -------
    Tensor
        Shape (B, 1, h, w); a mask that would leave the frame stays where it is.
    """
    (here, area), (there, area_before) = _middle(last), _middle(before)
    move = (here - there) * ratio  # (B, 2)
    width = area.sqrt()  # a scale without a preferred axis: the same step means more to a small object
    length = move.norm(dim=1)
    moves = (area > 0) & (area_before > 0) & (length >= _AT_REST * width)
    move = move * (_FARTHEST * width / length.clamp(min=1e-6)).clamp(max=1)[:, None]
    # By whole cells: interpolated logits would be softer than any mask that the decoder was shown in training.
    steps = torch.where(moves[:, None], move, 0).round().int().tolist()
    return torch.stack([_shifted(mask, down, right) for mask, (down, right) in zip(last, steps, strict=True)])


def _middle(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the middles (B, 2), (row, column), and the areas (B,) of masks (B, 1, h, w), in cells."""
    inside = is_inside(logits)[:, 0].float()
    area = inside.sum((1, 2))
    rows, columns = (torch.arange(side, device=logits.device, dtype=torch.float32) for side in inside.shape[1:])
    row = (inside.sum(2) * rows).sum(1) / area.clamp(min=1)
    column = (inside.sum(1) * columns).sum(1) / area.clamp(min=1)
    return torch.stack((row, column), 1), area


def _shifted(mask: Tensor, down: int, right: int) -> Tensor:
    """Return a mask (1, h, w) shifted by whole cells, unless nothing of it would stay on the frame."""
    borders = (right, -right, down, -down)
    stays = F.pad(is_inside(mask[None])[0].float(), borders).any()
    return F.pad(mask, borders, value=NOT_SEEN) if stays else mask
