"""Prompts as a user would give them, sampled from true masks (Ravi et al. 2024, appendix D)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_model.mask_ops import resize_logits
from sam2_model.prompt_encoder import MASK_STRIDE, PointLabel

_CLICK_STEP_PX = 2

_SLOPPIEST_BOX = 0.08
"""How far the corners of the sloppiest boxes are off, as a fraction of their sides."""

_STRETCH, _SHIFT = 0.15, 0.1
"""How badly masks are painted: standard deviations of the logarithm of their width, and of their place in diameters."""


def click_inside(generator: torch.Generator, masks: Tensor) -> Tensor:
    """Return one point (x, y) in each mask (N, 1, H, W), shape (N, 1, 2), in pixels.

    It is more often well inside than near the outline; an empty mask gives a point anywhere.
    """
    return _draw_point(generator, masks, lambda interior: 0.1 + interior**3, 2)


def box_around(generator: torch.Generator, masks: Tensor, sloppiest: float) -> Tensor:
    """Return bounding boxes of masks, most of them drawn with care.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    masks : Tensor
        Shape (N, 1, H, W), 0 or 1, none of them empty.
    sloppiest : float
        Standard deviation of each coordinate of the sloppiest boxes, relative to their sides; 0 for exact ones.

    Returns
    -------
    Tensor
        Shape (N, 2, 2): top left and bottom right corner, (x, y) in pixels.
    """
    x_min, x_max = _span(masks.amax(2)[:, 0])
    y_min, y_max = _span(masks.amax(3)[:, 0])
    box = torch.stack([torch.stack([x_min, y_min], 1), torch.stack([x_max, y_max], 1)], 1)  # (N, 2, 2)
    sides = (box[:, 1] - box[:, 0] + 1)[:, None]
    looseness = sloppiest * torch.rand(len(masks), 1, 1, generator=generator) ** 2
    noise = torch.randn(box.shape, generator=generator).clamp(-2, 2) * looseness * sides
    noise[:, 0] = noise[:, 0].minimum(sides[:, 0] * 0.3)
    noise[:, 1] = noise[:, 1].maximum(-sides[:, 0] * 0.3)
    last = torch.tensor([masks.shape[-1] - 1.0, masks.shape[-2] - 1.0])
    return (box + noise).clamp(min=0).minimum(last)


def first_prompts(generator: torch.Generator, masks: Tensor, boxes: float) -> tuple[Tensor, Tensor]:
    """Return a click or a box for the object of each mask (N, 1, S, S); `boxes` is the fraction that get a box.

    Returns
    -------
    points : Tensor
        Shape (N, 2, 2), (x, y) in pixels.
    labels : Tensor
        Shape (N, 2); a click is followed by padding.
    """
    N = len(masks)
    click = F.pad(click_inside(generator, masks), (0, 0, 0, 1))  # (N, 2, 2)
    box = box_around(generator, masks, _SLOPPIEST_BOX)
    is_box = torch.rand(N, generator=generator) < boxes
    click_labels = torch.tensor([PointLabel.POSITIVE, PointLabel.PADDING]).expand(N, 2)
    box_labels = torch.tensor([PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT]).expand(N, 2)
    points = torch.where(is_box[:, None, None], box, click)
    return points, torch.where(is_box[:, None], box_labels, click_labels)


def correction_clicks(generator: torch.Generator, logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return one more point for each object, where the prediction is wrong; inside the object where it is perfect.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    logits : Tensor
        Shape (N, 1, h, w), low-resolution prediction.
    masks : Tensor
        Shape (N, 1, H, W), 0 or 1.

    Returns
    -------
    points : Tensor
        Shape (N, 1, 2), (x, y) in pixels.
    labels : Tensor
        Shape (N, 1), positive where something is missing, negative where there is too much.
    """
    # Two pixels are one place here: nobody clicks more precisely, and it is four times faster.
    true = (F.avg_pool2d(masks, _CLICK_STEP_PX) >= 0.5).float()
    predicted = resize_logits(logits.detach(), *true.shape[-2:]) > 0
    wrong = (predicted != (true > 0)).float()
    candidates = torch.where(wrong.flatten(1).any(1)[:, None, None, None], wrong, true)
    # The middle of a wrong region is clicked, not the sliver that every outline has.
    points = _draw_point(generator, candidates, lambda thickness: 0.02 + thickness**2, 1)
    points = points * _CLICK_STEP_PX
    x, y = points[:, 0, 0].long(), points[:, 0, 1].long()
    is_inside = masks[torch.arange(len(masks)), 0, y, x] > 0.5
    labels = torch.where(is_inside, int(PointLabel.POSITIVE), int(PointLabel.NEGATIVE))
    return points, labels[:, None]


def rough_masks(generator: torch.Generator, masks: Tensor) -> Tensor:
    """Return masks (N, 1, S, S) as painted in haste, too wide or too narrow and beside the object.

    Mask prompts, as logits of 10 and -10, (N, 1, S / 4, S / 4).
    """
    N, _, S, _ = masks.shape
    area = masks.flatten(1).sum(1)
    y, x = (masks.sum(axis)[:, 0] @ torch.arange(S, dtype=masks.dtype) / area.clamp(min=1) for axis in (3, 2))
    middle = (torch.stack([x, y], 1) + 0.5) * 2 / S - 1  # as fractions of half the image
    stretch = torch.exp(_STRETCH * torch.randn(N, 2, generator=generator).clamp(-2, 2))
    shift = _SHIFT * (area.sqrt() * 2 / S)[:, None] * torch.randn(N, 2, generator=generator).clamp(-2, 2)
    # What is painted at p is the mask at middle + (p - middle - shift) / stretch.
    moved = middle - (middle + shift) / stretch
    maps = torch.cat([torch.diag_embed(1 / stretch), moved[:, :, None]], 2)  # (N, 2, 3)
    places = F.affine_grid(maps, [N, 1, S // MASK_STRIDE, S // MASK_STRIDE], align_corners=False)
    painted = F.grid_sample(masks, places, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (painted > 0.5).float() * 20 - 10


def _draw_point(
    generator: torch.Generator, candidates: Tensor, weigh: Callable[[Tensor], Tensor], reach: int
) -> Tensor:
    """Return one random pixel among the candidates of each object, (N, 1, 2), (x, y).

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    candidates : Tensor
        Shape (N, 1, H, W), 0 or 1; an object without candidates gets any pixel.
    weigh : callable
        Weight of a pixel by the fraction of candidates in the square around it.
    reach : int
        Pixels from the middle of this square to its sides.
    """
    N, _, H, W = candidates.shape
    # Objects are few pixels of a frame, so only these are weighed.
    n, y, x = candidates[:, 0].nonzero(as_tuple=True)
    padded = F.pad(candidates[:, 0], (reach, reach, reach, reach)).flatten()
    row = W + 2 * reach
    start = (n * (H + 2 * reach) + y) * row + x
    steps = [dy * row + dx for dy in range(2 * reach + 1) for dx in range(2 * reach + 1)]
    around = sum((padded[start + step] for step in steps), torch.zeros(len(start)))
    total = weigh(around / len(steps)).cumsum(0, dtype=torch.float64)  # the pixels of an object are neighbours here
    count = torch.bincount(n, minlength=N)
    last = count.cumsum(0) - 1
    before = F.pad(total, (1, 0))[last + 1 - count]
    until = F.pad(total, (1, 0))[last + 1]
    share = torch.rand(2, N, generator=generator, dtype=torch.float64)
    drawn = torch.searchsorted(total, before + share[0] * (until - before)).clamp(max=max(len(n) - 1, 0))
    drawn = torch.where(count > 0, drawn.minimum(last).maximum(last + 1 - count), 0)
    anywhere = (share.T * share.new_tensor((W, H))).long()  # (N, 2)
    if not len(n):
        return anywhere[:, None].float()
    chosen = torch.stack([x[drawn], y[drawn]], 1)
    return torch.where((count > 0)[:, None], chosen, anywhere)[:, None].float()


def _span(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and last positive column of (N, S)."""
    place = torch.arange(occupied.shape[1], dtype=torch.float32)
    far = float(occupied.shape[1])
    first = torch.where(occupied > 0, place, far).amin(1).clamp(max=far - 1)
    return first, torch.where(occupied > 0, place, 0.0).amax(1)
