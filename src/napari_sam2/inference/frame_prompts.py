"""The prompts of an object on a frame as the model is asked them; here alone (y, x) becomes (x, y)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_sam2.labels.pieces import innermost
from napari_sam2.prompt_checks import is_absence
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt
from sam2_model.mask_ops import as_low_res_logits
from sam2_model.video.state import FramePrompt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from napari_sam2.prompts import Prompt
    from sam2_model.preprocessing import WorkingImage


def is_answer(prompts: tuple[Prompt, ...]) -> bool:
    """Whether prompts are the answer themselves: a mask and nothing else, or absence."""
    return is_absence(prompts) or (len(prompts) == 1 and isinstance(prompts[0], MaskPrompt))


def frame_prompt(prompts: Iterable[Prompt]) -> FramePrompt:
    """Return all prompts of one object on one frame, for the model."""
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    box = mask = painted = candidate = None
    for prompt in prompts:
        match prompt:
            case PointPrompt():
                points.append((prompt.x, prompt.y))
                labels.append(int(prompt.positive))
                candidate = prompt.candidate  # of the last point: what was chosen before, was of fewer points
            case BoxPrompt():
                box = np.array((prompt.x_min, prompt.y_min, prompt.x_max, prompt.y_max), np.float32)
            case MaskPrompt():
                painted, mask = prompt, np.array(prompt.mask)
    if painted is not None and box is None and points and not any(labels):
        # A mask and what is wrong with it: models were taught corrections after a click on the object.
        y, x = innermost(painted)
        points.insert(0, (x, y))
        labels.insert(0, 1)
    return FramePrompt(
        points=np.array(points, np.float32).reshape(-1, 2),
        labels=np.array(labels, np.int64),
        box=box,
        mask=mask,
        candidate=candidate,
    )


def mask_logits(prompts: Iterable[FramePrompt], working: WorkingImage, stride: int) -> Tensor:
    """Return masks as the dense prompt from which clicks or a box start, (B, 1, h, w), of the image alone."""
    masks = torch.from_numpy(np.stack([p.mask for p in prompts if p.mask is not None]))[:, None]
    return working.unpadded(as_low_res_logits(working.mask(masks, keeps_thin=True), stride))
