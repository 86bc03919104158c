"""Everything in a frame by a grid of points: what a model without an instance decoder proposes, as published."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_sam2.inference.examples import likeness_to
from napari_sam2.inference.predictor import FoundPart
from napari_sam2.prompts import ModelScores
from napari_sam2.proposals import Proposal
from sam2_model.automatic.likeness import object_features
from sam2_model.automatic.mask_generator import MaskGenerator, MaskGeneratorOptions
from sam2_model.device import inference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Search
    from sam2_model.automatic.mask_generator import GeneratedMask
    from sam2_model.image_predictor import ImageEmbedding, ImagePredictor


def propose_by_grid(predictor: ImagePredictor, frames: FrameStack, frame: int, search: Search) -> Iterator[FoundPart]:
    """Yield what any model finds by itself in one frame, batch by batch of points.

    Parameters
    ----------
    predictor : ImagePredictor
        Says the model and its working size.
    frames : FrameStack
        Of which the part that is searched is read.
    frame : int
        The frame.
    search : Search
        What is looked for. Seeds take the place of the grid; then every answer is a proposal, however doubtful.
    """
    window = search.window or (slice(0, frames.height), slice(0, frames.width))
    image = frames.window(frame, *window)
    options = search.grid or MaskGeneratorOptions()
    if search.seeds is not None:
        points = [
            (max(x - window[1].start, 0) / image.shape[1], max(y - window[0].start, 0) / image.shape[0])
            for y, x in search.seeds
            if _is_in(window, y, x)
        ]
        if not points:
            yield FoundPart((), 1, 1)
            return
        options = replace(
            options,
            points_per_side=None,
            point_grids=(np.array(points),),
            crop_n_layers=0,
            pred_iou_thresh=0.0,
            stability_score_thresh=0.0,
        )
    compare = _Comparison(predictor, image, search) if search.like else None
    for batch in MaskGenerator(predictor, options).propose(image):
        proposals = [_proposal(mask, window) for mask in batch.masks]
        if compare is not None:
            proposals = [compare.like(one, mask) for one, mask in zip(proposals, batch.masks, strict=True)]
        yield FoundPart(tuple(proposals), batch.number, batch.count)


def _is_in(window: tuple[slice, slice], y: float, x: float) -> bool:
    return all(side.start - 0.5 <= where < side.stop - 0.5 for side, where in zip(window, (y, x), strict=True))


def _proposal(mask: GeneratedMask, window: tuple[slice, slice]) -> Proposal:
    top, left = (side.start for side in window)
    rows, columns = mask.window
    x, y = mask.point
    scores = ModelScores(mask.predicted_iou, 1.0, mask.stability_score, mask.mean_logit)  # presence was not asked for
    return Proposal((rows.start + top, columns.start + left), mask.in_window(), scores, 1.0, (y + top, x + left))


class _Comparison:
    """Compares masks on one image with examples, by the features of the whole image."""

    def __init__(self, predictor: ImagePredictor, image: NDArray[np.uint8], search: Search) -> None:
        self._embedding: ImageEmbedding = predictor.embed(image)
        self._examples = search.like
        self._zoom = predictor.image_size / max(image.shape[:2])

    def like(self, proposal: Proposal, mask: GeneratedMask) -> Proposal:
        """Return a proposal that says how much it is like the examples."""
        features = self._embedding.features
        with inference(features.embedding.device):
            whole = torch.from_numpy(mask.mask())[None, None].to(features.embedding.device)
            looks = object_features(features, whole)[0].cpu().numpy()
        return replace(proposal, likeness=likeness_to(self._examples, looks, mask.area_px, self._zoom))
