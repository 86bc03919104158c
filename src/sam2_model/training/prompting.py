"""Prompts as a user would give them, sampled from true masks (Ravi et al. 2024, appendix D)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_model.mask_ops import resize_logits
from sam2_model.prompt_encoder import PointLabel


def click_inside(generator: torch.Generator, masks: Tensor) -> Tensor:
    """One point in each mask, more often well inside than near the outline.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    masks : Tensor
        Shape (N, 1, S, S), 0 or 1. An empty mask gives a point anywhere.

    Returns
    -------
    Tensor
        Shape (N, 1, 2), (x, y) in pixels.
    """
    interior = _mean_around(masks) ** 3
    weight = masks * (0.1 + interior)
    return _draw_point(generator, weight)


def box_around(generator: torch.Generator, masks: Tensor, looseness: float) -> Tensor:
    """Bounding boxes with sloppy corners.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    masks : Tensor
        Shape (N, 1, S, S), 0 or 1, none of them empty.
    looseness : float
        Standard deviation of each coordinate relative to the side of the box; half a pixel comes on top.

    Returns
    -------
    Tensor
        Shape (N, 2, 2): top left and bottom right corner, (x, y) in pixels.
    """
    x_min, x_max = _span(masks.amax(2)[:, 0])
    y_min, y_max = _span(masks.amax(3)[:, 0])
    box = torch.stack([torch.stack([x_min, y_min], 1), torch.stack([x_max, y_max], 1)], 1)  # (N, 2, 2)
    if looseness == 0:
        return box
    sides = (box[:, 1] - box[:, 0] + 1)[:, None]
    noise = torch.randn(box.shape, generator=generator).clamp(-2, 2) * (looseness * sides + 0.5)
    noise[:, 0] = noise[:, 0].minimum(sides[:, 0] * 0.3)
    noise[:, 1] = noise[:, 1].maximum(-sides[:, 0] * 0.3)
    return (box + noise).clamp(0, masks.shape[-1] - 1)


def first_prompts(generator: torch.Generator, masks: Tensor, boxes: float) -> tuple[Tensor, Tensor]:
    """Give a click or a box for each object.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    masks : Tensor
        Shape (N, 1, S, S), 0 or 1.
    boxes : float
        Fraction of the objects that get a box.

    Returns
    -------
    points : Tensor
        Shape (N, 2, 2), (x, y) in pixels.
    labels : Tensor
        Shape (N, 2); a click is followed by padding.
    """
    N = len(masks)
    click = F.pad(click_inside(generator, masks), (0, 0, 0, 1))  # (N, 2, 2)
    box = box_around(generator, masks, 0.06)
    is_box = torch.rand(N, generator=generator) < boxes
    click_labels = torch.tensor([PointLabel.POSITIVE, PointLabel.PADDING]).expand(N, 2)
    box_labels = torch.tensor([PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT]).expand(N, 2)
    points = torch.where(is_box[:, None, None], box, click)
    return points, torch.where(is_box[:, None], box_labels, click_labels)


def correction_clicks(generator: torch.Generator, logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """One more point for each object, where the prediction is wrong.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    logits : Tensor
        Shape (N, 1, h, w), low-resolution prediction.
    masks : Tensor
        Shape (N, 1, S, S), 0 or 1. Where the prediction is perfect the point lies inside.

    Returns
    -------
    points : Tensor
        Shape (N, 1, 2), (x, y) in pixels.
    labels : Tensor
        Shape (N, 1), positive where something is missing, negative where there is too much.
    """
    S = masks.shape[-1]
    predicted = resize_logits(logits.detach(), S, S) > 0
    wrong = (predicted != (masks > 0.5)).float()
    # The middle of a wrong region is clicked, not the sliver that every outline has.
    thick = wrong * (0.02 + _mean_around(wrong) ** 2)
    points = _draw_point(generator, torch.where(wrong.flatten(1).any(1)[:, None, None, None], thick, masks))
    x, y = points[:, 0, 0].long(), points[:, 0, 1].long()
    is_inside = masks[torch.arange(len(masks)), 0, y, x] > 0.5
    labels = torch.where(is_inside, int(PointLabel.POSITIVE), int(PointLabel.NEGATIVE))
    return points, labels[:, None]


def rough_masks(generator: torch.Generator, masks: Tensor) -> Tensor:
    """Mask prompts as painted in haste: shifted, swollen or shrunk; +-10 logits at a quarter of the size.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    masks : Tensor
        Shape (N, 1, S, S), 0 or 1.

    Returns
    -------
    Tensor
        Shape (N, 1, S / 4, S / 4).
    """
    N = len(masks)
    field = F.interpolate(torch.randn(N, 1, 6, 6, generator=generator), size=masks.shape[-2:], mode="bilinear")
    soft = _mean_around(masks)
    threshold = 0.5 + 0.25 * torch.rand(N, 1, 1, 1, generator=generator) * field
    return F.avg_pool2d((soft > threshold.clamp(0.1, 0.9)).float(), 4) * 20 - 10


def _mean_around(x: Tensor) -> Tensor:
    """Mean over 5 x 5 pixels, by adding shifted copies: several times faster than pooling."""
    rows, columns = x.shape[-2:]
    x = F.pad(x, (2, 2, 2, 2))
    x = sum((x[..., i : i + rows, :] for i in range(1, 5)), x[..., :rows, :])
    return sum((x[..., i : i + columns] for i in range(1, 5)), x[..., :columns]) / 25


def _draw_point(generator: torch.Generator, weight: Tensor) -> Tensor:
    """Pixels (N, 1, 2) as (x, y), drawn in proportion to weights (N, 1, S, S)."""
    S = weight.shape[-1]
    # By inverting the distribution: torch.multinomial draws a random number for every pixel.
    total = (weight.flatten(1) + 1e-12).cumsum(1, dtype=torch.float64)
    drawn = torch.rand(len(weight), 1, generator=generator, dtype=torch.float64) * total[:, -1:]
    index = torch.searchsorted(total, drawn).clamp(max=S * S - 1)  # (N, 1)
    return torch.stack([index % S, index // S], -1).float()


def _span(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and last positive column of (N, S)."""
    place = torch.arange(occupied.shape[1], dtype=torch.float32)
    far = float(occupied.shape[1])
    first = torch.where(occupied > 0, place, far).amin(1).clamp(max=far - 1)
    return first, torch.where(occupied > 0, place, 0.0).amax(1)
