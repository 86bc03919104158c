"""Prompts on single images: embed once, prompt as often as you like (Kirillov et al. 2023, section 3)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sam2_model.config import check_image_size
from sam2_model.device import inference
from sam2_model.errors import PromptError
from sam2_model.mask_decoder import single_mask, three_candidates
from sam2_model.mask_ops import resize_logits
from sam2_model.preprocessing import to_model_image, to_model_points
from sam2_model.prompt_encoder import PointLabel
from sam2_model.sam2 import ImageFeatures, Sam2


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """An image as the model sees it. A value: keep as many as you like, prompt them in any order.

    Attributes
    ----------
    features : ImageFeatures
        What the image encoder made of it, batch of one.
    height, width : int
        Size of the image, in pixels.
    image_size : int
        Side of the square working image, in pixels.
    """

    features: ImageFeatures
    height: int
    width: int
    image_size: int


@dataclass(frozen=True, slots=True, eq=False)
class MaskPrediction:
    """The answer to B prompts on one image.

    Attributes
    ----------
    low_res_logits : Tensor
        Shape (B, M, h, w), float32: M masks per prompt at a quarter of the working size; positive means object.
        Feed one back as `mask_logits` to refine it.
    predicted_iou : Tensor
        Shape (B, M), in [0, 1]: the model's own estimate of each mask's overlap with the object.
    object_score_logit : Tensor
        Shape (B,): positive where the model believes that there is an object at all.
    height, width : int
        Size of the image, in pixels.
    """

    low_res_logits: Tensor
    predicted_iou: Tensor
    object_score_logit: Tensor
    height: int
    width: int

    def mask_logits(self) -> Tensor:
        """Mask logits at the image's size, (B, M, H, W), float32; positive means object."""
        return resize_logits(self.low_res_logits, self.height, self.width)


class ImagePredictor:
    """Answer prompts on images. Holds nothing but the model and two settings.

    Parameters
    ----------
    model : Sam2
        The network, on the device it should run on.
    image_size : int, optional
        Side of the square working image, a multiple of 32; the model's own when omitted.
    stability_fallback : bool
        Whether a single mask that is unstable gives way to the best of the three candidates.

    Raises
    ------
    ConfigError
        If the working size is not a positive multiple of 32.
    """

    def __init__(self, model: Sam2, *, image_size: int | None = None, stability_fallback: bool = True) -> None:
        self.model = model
        self.image_size = check_image_size(model.config.image_size if image_size is None else image_size)
        self.stability_fallback = stability_fallback

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.no_mem_embed.device

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode an RGB image of shape (H, W, 3), uint8.

        Raises
        ------
        FrameError
            If the image has another shape or type, or no pixels.
        """
        with inference(self.device):
            features = self.model.encode_image(to_model_image(image, self.image_size, self.device))
        return ImageEmbedding(features, image.shape[0], image.shape[1], self.image_size)

    def predict(
        self,
        embedding: ImageEmbedding,
        *,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        mask_logits: Tensor | None = None,
        candidates: Literal[1, 3] = 3,
    ) -> MaskPrediction:
        """Answer B prompts; what is given together belongs together.

        Parameters
        ----------
        embedding : ImageEmbedding
            From `embed`.
        points : array-like, optional
            Shape (B, N, 2) or, for one prompt, (N, 2): (x, y) in image pixels, centres at integers.
        labels : array-like, optional
            Shape (B, N) or (N,): 1 on the object, 0 off it, -1 to ignore a point. All 1 when omitted.
        boxes : array-like, optional
            Shape (B, 4) or (4,): x_min, y_min, x_max, y_max in image pixels, both ends included.
        mask_logits : Tensor, optional
            Shape (B, 1, h, w): masks to refine, positive inside, as `MaskPrediction.low_res_logits` has them.
        candidates : {1, 3}
            Three masks for an ambiguous prompt (part, whole, group), or the one.

        Raises
        ------
        PromptError
            If nothing is given, shapes disagree, or a number is not finite.
        """
        with inference(self.device):
            xy, kinds = self._as_points(embedding, points, labels, boxes)
            if mask_logits is not None:
                mask_logits = _check_masks(mask_logits, None if xy is None else len(xy)).to(self.device)
            if xy is None and mask_logits is None:
                raise PromptError("There is no prompt: give points, boxes or mask_logits.")
            features = embedding.features
            output = self.model.decode(self.model.without_memory(features), features, xy, kinds, mask_logits)
            if candidates == 3:
                chosen = three_candidates(output)
            else:
                chosen = single_mask(output, stability_fallback=self.stability_fallback)
            # The reference keeps returned logits in the range that it accepts as a prompt.
            logits = chosen.mask_logits.clamp(-32.0, 32.0)
            score = output.object_score_logit[:, 0].float()
        return MaskPrediction(logits, chosen.predicted_iou, score, embedding.height, embedding.width)

    def _as_points(
        self, embedding: ImageEmbedding, points: ArrayLike | None, labels: ArrayLike | None, boxes: ArrayLike | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Points of the working image (B, N, 2) and their labels (B, N), the corners of boxes first."""
        parts: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []
        if boxes is not None:
            corners = _finite(boxes, "boxes").reshape(-1, 2, 2)  # (B, 2, 2)
            if (corners[:, 0] > corners[:, 1]).any():
                raise PromptError("A box is upside down: x_min and y_min must not exceed x_max and y_max. Swap them.")
            kind = np.array([PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT])
            parts.append((corners, np.tile(kind, (len(corners), 1))))
        if points is not None:
            xy = _finite(points, "points")
            if xy.ndim not in (2, 3) or xy.shape[-1] != 2 or xy.size == 0:
                raise PromptError(f"Points must have shape (B, N, 2) or (N, 2), not {xy.shape}.")
            xy = xy.reshape(-1, *xy.shape[-2:])  # (B, N, 2)
            parts.append((xy, _check_labels(labels, xy.shape[:2])))
        if not parts:
            return None, None
        if len({len(xy) for xy, _ in parts}) > 1:
            raise PromptError(f"There are {len(parts[0][0])} boxes but points for {len(parts[1][0])} prompts.")
        xy = torch.from_numpy(np.concatenate([p for p, _ in parts], axis=1)).to(self.device)
        kinds = torch.from_numpy(np.concatenate([k for _, k in parts], axis=1)).to(self.device)
        return to_model_points(xy, embedding.height, embedding.width, embedding.image_size), kinds


def _finite(values: ArrayLike, name: str) -> NDArray[np.float32]:
    array = np.asarray(values, dtype=np.float32)
    if not np.isfinite(array).all():
        raise PromptError(f"The {name} hold a coordinate that is not a finite number. Remove or replace it.")
    if name == "boxes" and (array.ndim not in (1, 2) or array.shape[-1] != 4 or array.size == 0):
        raise PromptError(f"Boxes must have shape (B, 4) or (4,), not {array.shape}.")
    return array


def _check_labels(labels: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.int64]:
    kinds = np.ones(shape, np.int64) if labels is None else np.asarray(labels, dtype=np.int64)
    kinds = kinds.reshape(-1, kinds.shape[-1])  # (B, N)
    if kinds.shape != shape:
        raise PromptError(f"There are labels of shape {kinds.shape} for points of shape {shape}: one label per point.")
    if not np.isin(kinds, (PointLabel.PADDING, PointLabel.NEGATIVE, PointLabel.POSITIVE)).all():
        raise PromptError("A point's label is 1 (on the object), 0 (off it) or -1 (ignored).")
    return kinds


def _check_masks(mask_logits: Tensor, count: int | None) -> Tensor:
    if mask_logits.ndim != 4 or mask_logits.shape[1] != 1 or not mask_logits.numel():
        raise PromptError(f"Mask logits must have shape (B, 1, h, w), not {tuple(mask_logits.shape)}.")
    if count is not None and len(mask_logits) != count:
        raise PromptError(f"There are {len(mask_logits)} masks for {count} prompts.")
    if not mask_logits.isfinite().all():
        raise PromptError("The mask logits hold a value that is not a finite number.")
    return mask_logits.float()
