"""Prompts on single images: embed once, prompt as often as you like (Kirillov et al. 2023, section 3)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sam2_model.config import Framing, check_image_size
from sam2_model.device import inference
from sam2_model.errors import ConfigError, PromptError
from sam2_model.mask_decoder import single_mask, three_candidates
from sam2_model.mask_ops import PROMPT_LOGIT_LIMIT, resize_logits
from sam2_model.preprocessing import WorkingImage, check_image
from sam2_model.prompt_encoder import PointLabel
from sam2_model.sam2 import ImageFeatures, Sam2


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """An image as the model sees it. A value: keep as many as you like, prompt them in any order.

    Attributes
    ----------
    features : ImageFeatures
        What the image encoder made of it, batch of one.
    working : WorkingImage
        How the image lies in the working image.
    """

    features: ImageFeatures
    working: WorkingImage

    @property
    def height(self) -> int:
        """Rows of the image, in pixels."""
        return self.working.height

    @property
    def width(self) -> int:
        """Columns of the image, in pixels."""
        return self.working.width

    @property
    def image_size(self) -> int:
        """Longer side of the working image, in pixels."""
        return max(self.working.size)


@dataclass(frozen=True, slots=True, eq=False)
class MaskPrediction:
    """The answer to B prompts on one image.

    Attributes
    ----------
    low_res_logits : Tensor
        Shape (B, M, h, w), float32: M masks per prompt, one cell for `Sam2.mask_stride` pixels; positive means object.
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
        """Return the mask logits at the image's size, (B, M, H, W), float32; positive means object."""
        return resize_logits(self.low_res_logits, self.height, self.width)


class ImagePredictor:
    """Answer prompts on images. Holds nothing but the model and three settings.

    Parameters
    ----------
    model : Sam2
        The network, on the device it should run on.
    image_size : int, optional
        Longer side of the working image, a multiple of 32; the model's own when omitted.
    framing : Framing
        Whether models with views keep the proportions of the image; the others never do. The image is seen whole.
    stability_fallback : bool
        Whether a single mask that is unstable gives way to the best of the three candidates.

    Raises
    ------
    ConfigError
        If the working size is not a multiple of 32 up to 4096.
    """

    def __init__(
        self,
        model: Sam2,
        *,
        image_size: int | None = None,
        framing: Framing = Framing.WHOLE,
        stability_fallback: bool = True,
    ) -> None:
        self.model = model
        self.image_size = check_image_size(model.config.image_size if image_size is None else image_size)
        self.framing = framing
        self.stability_fallback = stability_fallback

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        """Return the embedding of an RGB image of shape (H, W, 3), uint8.

        Raises
        ------
        FrameError
            If the image has another shape or type, or no pixels.
        """
        height, width, _ = check_image(image).shape
        working = WorkingImage.of(self.model.config, self.framing, height, width, self.image_size)
        with inference(self.device):
            features = self.model.encode_image(working.image(image, self.device))
        return ImageEmbedding(features, working)

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
        """Return the masks of B prompts; row b of everything that is given belongs to prompt b.

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
            If nothing is given, shapes disagree, a label is unknown, a box is upside down, or a number is not finite.
        ConfigError
            If `candidates` is neither 1 nor 3.
        """
        if candidates not in (1, 3):
            raise ConfigError(f"There are 3 candidate masks or 1 mask to choose from, not {candidates}.")
        with inference(self.device):
            xy, kinds = self._as_points(embedding, points, labels, boxes)
            if mask_logits is not None:
                mask_logits = _check_masks(mask_logits, None if xy is None else len(xy)).to(self.device)
            if xy is None and mask_logits is None:
                raise PromptError("There is no prompt: give points, boxes or mask_logits.")
            if mask_logits is not None:
                mask_logits = embedding.working.padded(mask_logits, self.model.mask_stride)
            features = embedding.features
            output = self.model.decode(self.model.without_memory(features), features, xy, kinds, mask_logits)
            if candidates == 3:
                chosen = three_candidates(output)
            else:
                chosen = single_mask(output, stability_fallback=self.stability_fallback)
            # The reference keeps returned logits in the range that it accepts as a prompt.
            logits = embedding.working.unpadded(chosen.mask_logits.clamp(-PROMPT_LOGIT_LIMIT, PROMPT_LOGIT_LIMIT))
            score = output.object_score_logit[:, 0].float()
        return MaskPrediction(logits, chosen.predicted_iou, score, embedding.height, embedding.width)

    def _as_points(
        self, embedding: ImageEmbedding, points: ArrayLike | None, labels: ArrayLike | None, boxes: ArrayLike | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return points of the working image (B, N, 2) and their labels (B, N), the corners of boxes first."""
        parts: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []
        if boxes is not None:
            corners = _check_boxes(boxes)  # (B, 2, 2)
            kind = np.array([PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT])
            parts.append((corners, np.tile(kind, (len(corners), 1))))
        if points is not None:
            clicks = _finite(points, "points")
            if clicks.ndim not in (2, 3) or clicks.shape[-1] != 2 or clicks.size == 0:
                raise PromptError(f"Points must have shape (B, N, 2) or (N, 2), not {clicks.shape}.")
            clicks = clicks.reshape(-1, *clicks.shape[-2:])  # (B, N, 2)
            parts.append((clicks, _check_labels(labels, clicks.shape[:2])))
        elif labels is not None:
            raise PromptError("There are labels but no points. Give the points they belong to, or leave them out.")
        if not parts:
            return None, None
        if len({len(xy) for xy, _ in parts}) > 1:
            raise PromptError(f"There are {len(parts[0][0])} boxes but points for {len(parts[1][0])} prompts.")
        xy = torch.from_numpy(np.concatenate([p for p, _ in parts], axis=1)).to(self.device)
        kinds = torch.from_numpy(np.concatenate([k for _, k in parts], axis=1)).to(self.device)
        return embedding.working.points(xy), kinds


def _finite(values: ArrayLike, name: str) -> NDArray[np.float32]:
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"The {name} are not one array of numbers: every prompt needs as many as the others."
        ) from error
    if not np.isfinite(array).all():
        raise PromptError(f"The {name} hold a number that is not finite. Remove or replace it.")
    return array


def _check_boxes(boxes: ArrayLike) -> NDArray[np.float32]:
    """Return the corners (B, 2, 2) of boxes: top left, then bottom right, each (x, y)."""
    array = _finite(boxes, "boxes")
    if array.ndim not in (1, 2) or array.shape[-1] != 4 or array.size == 0:
        raise PromptError(f"Boxes must have shape (B, 4) or (4,), not {array.shape}.")
    corners = array.reshape(-1, 2, 2)
    if (corners[:, 0] > corners[:, 1]).any():
        raise PromptError("A box is upside down: x_min and y_min must not exceed x_max and y_max. Swap them.")
    return corners


def _check_labels(labels: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.int64]:
    if labels is None:
        return np.ones(shape, np.int64)
    kinds = np.atleast_2d(_finite(labels, "labels"))  # (B, N)
    if kinds.shape != shape:
        raise PromptError(f"There are labels of shape {kinds.shape} for points of shape {shape}: one label per point.")
    if not np.isin(kinds, (PointLabel.PADDING, PointLabel.NEGATIVE, PointLabel.POSITIVE)).all():
        raise PromptError("A point's label is 1 (on the object), 0 (off it) or -1 (ignored).")
    return kinds.astype(np.int64)


def _check_masks(mask_logits: Tensor, count: int | None) -> Tensor:
    if mask_logits.ndim != 4 or mask_logits.shape[1] != 1 or not mask_logits.numel():
        raise PromptError(f"Mask logits must have shape (B, 1, h, w), not {tuple(mask_logits.shape)}.")
    if count is not None and len(mask_logits) != count:
        raise PromptError(f"There are {len(mask_logits)} masks for {count} prompts.")
    if not mask_logits.isfinite().all():
        raise PromptError("The mask logits hold a value that is not a finite number.")
    return mask_logits.float()
