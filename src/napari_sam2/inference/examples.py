"""Everything like this: what examples look like to a model, and how much a proposal is like them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_sam2.inference.predictor import Example
from sam2_model.automatic.likeness import likeness, object_features
from sam2_model.device import inference
from sam2_model.preprocessing import WorkingImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.prompts import MaskPrompt
    from sam2_model.sam2 import Sam2

_SEEN_PX = 512
"""Side of what is seen of the surroundings, in pixels of the working image."""

_SMALLEST_PX, _LARGEST_PX = 6, 384
"""An object of fewer or more pixels of the working image along a side is not described from so far or so close."""


def describe_at(model: Sam2, frames: FrameStack, frame: int, mask: MaskPrompt, zooms: Sequence[float]) -> Example:
    """Return what an object looks like from as close as each of some zooms, as far as it can be seen from there.

    Parameters
    ----------
    model : Sam2
        Whose features are taken.
    frames : FrameStack
        Of which the surroundings of the object are read.
    frame : int
        The frame.
    mask : MaskPrompt
        The object.
    zooms : sequence of float
        Pixels of the working image per pixel of the frame, ascending.
    """
    fitting = [zoom for zoom in zooms if _SMALLEST_PX <= max(mask.extent) * zoom <= _LARGEST_PX]
    chosen = fitting or [min(zooms, key=lambda zoom: abs(np.log(max(mask.extent) * zoom / _SMALLEST_PX)))]
    features = {zoom: _features(model, frames, frame, mask, zoom) for zoom in chosen}
    return Example(features, int(np.count_nonzero(mask.crop)))


def _features(model: Sam2, frames: FrameStack, frame: int, mask: MaskPrompt, zoom: float) -> NDArray[np.float32]:
    side = round(_SEEN_PX / zoom)
    window = []
    for first, extent, length in zip(mask.corner, mask.extent, (frames.height, frames.width), strict=True):
        start = max(min(first + extent // 2 - side // 2, length - side), 0)
        window.append(slice(start, min(start + max(side, extent), length)))
    rows, columns = window
    with inference(model.device):
        pixels = frames.window(frame, rows, columns)
        image = WorkingImage.zoomed(pixels.shape[0], pixels.shape[1], zoom).image(pixels, model.device)
        # The image is filled up to whole tokens: the mask lies in the part that shows the frame.
        inside = np.zeros([round(length / zoom) for length in image.shape[-2:]], np.bool_)
        top, left = mask.corner[0] - rows.start, mask.corner[1] - columns.start
        crop = mask.crop[: inside.shape[0] - top, : inside.shape[1] - left]
        inside[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        masks = torch.from_numpy(inside)[None, None].to(model.device)
        return np.asarray(object_features(model.encode_image(image), masks)[0].cpu().numpy(), np.float32)


def likeness_to(examples: Sequence[Example], features: NDArray[np.float32], area_px: int, zoom: float) -> float | None:
    """Return how much an object is like what is wanted and unlike what is not, in [0, 1]; None without examples.

    Where it is as much like an unwanted example as like a wanted one, this is one half at most.

    Parameters
    ----------
    examples : sequence of Example
        Both kinds.
    features : ndarray of float32, shape (C,)
        What it looks like.
    area_px : int
        Its area, in pixels of the frame.
    zoom : float
        From how close it was seen; compared with examples seen from as close, or nearly.
    """
    if not examples:
        return None
    best = {True: 0.0, False: 0.0}
    for example in examples:
        nearest = min(example.features, key=lambda known: abs(np.log(known / zoom)))
        pairs = ((features, area_px), (example.features[nearest], example.area_px))
        tensors = [x for looks, area in pairs for x in (torch.from_numpy(looks)[None], torch.tensor([float(area)]))]
        alike = float(likeness(*tensors))
        best[example.is_wanted] = max(best[example.is_wanted], alike)
    kinds = {example.is_wanted for example in examples}
    if kinds == {True}:
        return best[True]
    if kinds == {False}:
        return 1 - best[False]
    return min(best[True], 0.5 + (best[True] - best[False]) / 2)
