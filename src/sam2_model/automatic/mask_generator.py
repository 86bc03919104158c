"""Masks of everything on an image: a grid of points is answered, and the good answers are kept, each once.

Kirillov et al. 2023, "Segment Anything", section 4 (fully automatic stage) and appendix B, in the order of work of SAM
2's public repository. Nothing larger than low-resolution logits is on the device. A mask is enlarged when its predicted
IoU has passed, only where it can be, in bands of rows; what passes is kept as compressed bits of its box.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from math import ceil, isfinite, prod

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sam2_model.device import inference
from sam2_model.errors import ConfigError, shown
from sam2_model.image_predictor import ImageEmbedding, ImagePredictor
from sam2_model.mask_decoder import ChosenMasks, single_mask, three_candidates
from sam2_model.mask_ops import MASK_LOGIT, PROMPT_LOGIT_LIMIT, fill_holes, window_above
from sam2_model.preprocessing import check_image
from sam2_model.prompt_encoder import PointLabel

_EDGE_PX = 20
"""A box that ends so near to the edge of a crop, and not of the image, is of an object that the crop has cut."""

_AT_ONCE_ON_CPU = 16
"""More points at once take a processor more memory, and no less time."""

_WHOLE_NUMBERS = {
    "points_per_batch": (1, 65_536),
    "crop_n_layers": (0, 8),
    "crop_n_points_downscale_factor": (1, 1024),
    "min_mask_region_area": (0, 2**31),
    "enlarge_bytes": (1, 2**40),
}

_NUMBERS = {
    "pred_iou_thresh": (0, 1),
    "stability_score_thresh": (0, 1),
    "stability_score_offset": (0, 1e6),
    "mask_threshold": (-1e6, 1e6),
    "box_nms_thresh": (0, 1),
    "crop_nms_thresh": (0, 1),
    "crop_overlap_ratio": (0, 1),
    "mask_nms_thresh": (0, 1),
}

_FLAGS = ("use_m2m", "multimask_output")

_MOST_POINTS_PER_SIDE = 1024

Box = tuple[int, int, int, int]
"""x_min, y_min, x_max, y_max in image pixels, both ends included, as `ImagePredictor.predict` takes boxes."""


def _window(box: Box) -> tuple[slice, slice]:
    """Return the rows and columns that a box covers."""
    return slice(box[1], box[3] + 1), slice(box[0], box[2] + 1)


def _shape(box: Box) -> tuple[int, int]:
    """Return how many rows and columns a box covers."""
    return box[3] - box[1] + 1, box[2] - box[0] + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskGeneratorOptions:
    """Where points are put and which masks are kept. Names, defaults and meaning are those of the reference.

    Attributes
    ----------
    points_per_side : int or None
        Points along each side of the image, in the middles of equal parts. None where `point_grids` says them.
    points_per_batch : int
        Points that are answered at once, by the decoder in smaller parts on a CPU. The masks do not depend on it;
        memory and the time to a stop do.
    pred_iou_thresh : float
        Predicted IoU, in [0, 1], above which a mask is kept.
    stability_score_thresh : float
        Stability score, in [0, 1], from which on a mask is kept.
    stability_score_offset : float
        Shift of the threshold either way by which stability is measured, in logits.
    mask_threshold : float
        Logit above which a pixel is inside.
    box_nms_thresh : float
        IoU of boxes, in [0, 1], above which the mask of the lower predicted IoU is dropped as a duplicate; 1 drops
        none.
    crop_n_layers : int
        Layers of crops that are searched as well: layer k cuts the image into 2^k x 2^k of them.
    crop_nms_thresh : float
        As `box_nms_thresh`, between crops: there the mask of the larger crop is dropped.
    crop_overlap_ratio : float
        Overlap of the crops of layer 1, as a fraction of the image's shorter side; half of it in each further layer.
    crop_n_points_downscale_factor : int
        Divides `points_per_side` once for each layer.
    point_grids : sequence of array-like, optional
        Points of one's own in place of the grids: one array (N, 2) for the image and one for each layer of crops,
        (x, y) as fractions of the sides. Held as tuples.
    min_mask_region_area : int
        Holes and islands of up to so many cells of the low-resolution mask (`Sam2.mask_stride` pixels of the working
        image each; 8-connected) are filled and dropped before a mask is enlarged. Zero cleans nothing.
    use_m2m : bool
        Whether every mask is shown to the decoder again with its point, and its answer taken instead.
    multimask_output : bool
        Whether a point is answered by three candidate masks, or by one.
    mask_nms_thresh : float or None
        IoU of masks, in [0, 1], above which the mask of the lower predicted IoU is dropped as a duplicate after boxes
        have been compared. None, as in the reference, compares boxes alone.
    enlarge_bytes : int
        Memory for a band of enlarged logits; the masks do not depend on it. By default it fits a processor's cache.

    Raises
    ------
    ConfigError
        If a number is not of its kind or outside its range, or if points are given twice, not at all, outside the
        image, or not for every layer.
    """

    points_per_side: int | None = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.8
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    mask_threshold: float = 0.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: Sequence[ArrayLike] | None = None
    min_mask_region_area: int = 0
    use_m2m: bool = False
    multimask_output: bool = True
    mask_nms_thresh: float | None = None
    enlarge_bytes: int = 2**19

    def __post_init__(self) -> None:
        for name, whole_range in _WHOLE_NUMBERS.items():
            _check_whole(name, getattr(self, name), *whole_range)
        for name, real_range in _NUMBERS.items():
            if not (name == "mask_nms_thresh" and self.mask_nms_thresh is None):
                _check_real(name, getattr(self, name), *real_range)
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {shown(getattr(self, name))}. Give True or False.")
        if (self.points_per_side is None) == (self.point_grids is None):
            raise ConfigError(
                f"points_per_side is {shown(self.points_per_side)} and point_grids "
                f"{'missing' if self.point_grids is None else 'given'}. Give one of them, and None for the other."
            )
        if self.points_per_side is not None:
            _check_whole("points_per_side", self.points_per_side, 1, _MOST_POINTS_PER_SIDE)
            self._check_layers(self.points_per_side)
        else:
            object.__setattr__(self, "point_grids", _as_grids(self.point_grids, self.crop_n_layers + 1))

    def _check_layers(self, points_per_side: int) -> None:
        divisor = self.crop_n_points_downscale_factor**self.crop_n_layers
        if points_per_side < divisor:
            raise ConfigError(
                f"{points_per_side} points along a side, divided by {divisor}, leave no point in a crop of layer "
                f"{self.crop_n_layers}. Raise points_per_side, or lower crop_n_points_downscale_factor."
            )

    def grids(self) -> tuple[NDArray[np.float64], ...]:
        """Return the points of the image and of every layer of crops, (N, 2) each: (x, y) as fractions of the sides."""
        if self.point_grids is not None:
            return tuple(np.asarray(grid, np.float64) for grid in self.point_grids)
        assert self.points_per_side is not None
        factor = self.crop_n_points_downscale_factor
        return tuple(_grid(self.points_per_side // factor**layer) for layer in range(self.crop_n_layers + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedMask:
    """One mask on an image, as compressed bits of its box. A value.

    Attributes
    ----------
    height, width : int
        Size of the image, in pixels.
    box : tuple of int
        x_min, y_min, x_max, y_max of the mask in image pixels, both ends included.
    area_px : int
        Pixels of the mask.
    predicted_iou : float
        The model's own estimate of the mask's overlap with an object, in [0, 1].
    mean_logit : float
        Mean of the mask logits inside the mask.
    stability_score : float
        How little the mask changes while its threshold moves, in [0, 1]; see `mask_ops.stability_score`.
    point : tuple of float
        The point it answers, (x, y) in image pixels.
    crop_box : tuple of int
        The part of the image that the model was shown, as `box`.
    bits : bytes
        The mask within its box, row by row, eight pixels a byte, compressed with zlib.
    """

    height: int
    width: int
    box: Box
    area_px: int
    predicted_iou: float
    mean_logit: float
    stability_score: float
    point: tuple[float, float]
    crop_box: Box
    bits: bytes

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image that the box covers."""
        return _window(self.box)

    def in_window(self) -> NDArray[np.bool_]:
        """Return the part of the mask in its window, bool."""
        shape = _shape(self.box)
        packed = np.frombuffer(zlib.decompress(self.bits), np.uint8)
        return np.unpackbits(packed, count=shape[0] * shape[1]).view(np.bool_).reshape(shape)

    def mask(self) -> NDArray[np.bool_]:
        """Return the mask at the size of the image, (H, W), bool."""
        full = np.zeros((self.height, self.width), np.bool_)
        full[self.window] = self.in_window()
        return full

    def run_lengths(self) -> tuple[int, ...]:
        """Return the lengths of alternating runs, column by column, the first of background: COCO's `counts`.

        The `size` that COCO stores beside them is `[height, width]`.
        """
        part = self.in_window().T  # (columns, rows)
        steps = np.diff(np.pad(part, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        first = self.box[0] * self.height + self.box[1]
        starts, ends = (
            first + column * self.height + row for column, row in (np.nonzero(steps == 1), np.nonzero(steps == -1))
        )
        # A run that fills a column to its end goes on in the next.
        goes_on = starts[1:] == ends[:-1]
        starts, ends = starts[np.append(True, ~goes_on)], ends[np.append(~goes_on, True)]
        changes = np.stack((starts, ends), axis=1).ravel()
        counts = np.diff(np.concatenate(([0], changes, [self.height * self.width])))
        return tuple(counts.tolist() if counts[-1] else counts[:-1].tolist())


@dataclass(frozen=True, slots=True)
class MaskBatch:
    """The masks of some of the points, before duplicates are suppressed.

    Attributes
    ----------
    masks : tuple of GeneratedMask
        Those that passed the thresholds; may be empty.
    crop : int
        Number of the crop, the whole image being 0.
    number, count : int
        Which of how many batches of the whole image it is, from 1.
    """

    masks: tuple[GeneratedMask, ...]
    crop: int
    number: int
    count: int


@dataclass(frozen=True, slots=True)
class _Crop:
    """A part of an image that the model is shown by itself."""

    box: Box
    layer: int


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """Masks of a crop that have passed by predicted IoU."""

    logits: NDArray[np.float32]  # (N, h, w)
    predicted_iou: NDArray[np.float32]  # (N,)
    points: NDArray[np.float32]  # (N, 2), (x, y) in pixels of the crop


class MaskGenerator:
    """Find everything on an image. Holds nothing but the predictor and the options.

    Parameters
    ----------
    predictor : ImagePredictor
        Says the model, its working size, and what happens to an unstable single mask.
    options : MaskGeneratorOptions, optional
        The reference's defaults when omitted.

    Notes
    -----
    Kirillov et al. 2023, appendix B; order of work as in SAM 2's public repository, measured against it. What differs
    from it is told in `docs/development/fidelity.md`.
    """

    def __init__(self, predictor: ImagePredictor, options: MaskGeneratorOptions | None = None) -> None:
        self.predictor = predictor
        self.options = MaskGeneratorOptions() if options is None else options

    def generate(self, image: NDArray[np.uint8]) -> tuple[GeneratedMask, ...]:
        """Return the masks of everything on an RGB image of shape (H, W, 3), uint8; none is a valid answer.

        They come in descending order of predicted IoU; with crops, those of smaller crops first.

        Raises
        ------
        FrameError
            If the image has another shape or type, or no pixels.
        """
        return self.suppress(self.propose(image))

    def propose(self, image: NDArray[np.uint8]) -> Iterator[MaskBatch]:
        """Return an iterator over the masks of an image, batch by batch; they are computed as it advances.

        Parameters
        ----------
        image : ndarray
            Shape (H, W, 3), uint8.

        Returns
        -------
        iterator of MaskBatch
            One for every `points_per_batch` points of a crop, crop after crop. It may be left at any time.

        Raises
        ------
        FrameError
            If the image has another shape or type, or no pixels. At once, not at the first batch.
        """
        return self._batches(check_image(image))

    def _batches(self, image: NDArray[np.uint8]) -> Iterator[MaskBatch]:
        height, width = image.shape[:2]
        step = self.options.points_per_batch
        grids = self.options.grids()
        crops = _crops(height, width, self.options)
        count = sum(ceil(len(grids[crop.layer]) / step) for crop in crops)
        number = 0
        for index, crop in enumerate(crops):
            embedding = self.predictor.embed(image[_window(crop.box)])
            points = (grids[crop.layer] * (embedding.width, embedding.height)).astype(np.float32)
            for first in range(0, len(points), step):
                answers = self._answer(embedding, points[first : first + step])
                number += 1
                yield MaskBatch(tuple(self._pass(answers, crop, height, width)), index, number, count)

    def suppress(self, batches: Iterable[MaskBatch]) -> tuple[GeneratedMask, ...]:
        """Return the masks of an image without duplicates.

        Parameters
        ----------
        batches : iterable of MaskBatch
            From `propose`, in order, all or the first of them.

        Returns
        -------
        tuple of GeneratedMask
            In descending order of predicted IoU; with crops, those of smaller crops first.
        """
        options = self.options
        kept: list[GeneratedMask] = []
        for _, group in groupby(batches, key=lambda batch: batch.crop):
            masks = [mask for batch in group for mask in batch.masks]
            best = np.array([mask.predicted_iou for mask in masks], np.float32)
            kept += [masks[i] for i in _distinct_boxes(masks, best, options.box_nms_thresh)]
        if options.crop_n_layers:
            # Small crops show more of a small object.
            closest = np.array([-prod(_shape(mask.crop_box)) for mask in kept], np.float64)
            kept = [kept[i] for i in _distinct_boxes(kept, closest, options.crop_nms_thresh)]
        if options.mask_nms_thresh is not None:
            kept = _distinct_masks(kept, options.mask_nms_thresh)
        return tuple(kept)

    def _answer(self, embedding: ImageEmbedding, points: NDArray[np.float32]) -> _Answers:
        """Return the masks of points (N, 2) of a crop that pass by predicted IoU."""
        at_once = self.options.points_per_batch
        if self.predictor.device.type == "cpu":
            at_once = min(at_once, _AT_ONCE_ON_CPU)
        with inference(self.predictor.device):
            xy = torch.from_numpy(points).to(self.predictor.device)
            parts = [part for some in torch.split(xy, at_once) for part in self._ask(embedding, some, at_once)]
        return _Answers(
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.predicted_iou for part in parts]),
            np.concatenate([part.points for part in parts]),
        )

    def _ask(self, embedding: ImageEmbedding, points: Tensor, at_once: int) -> Iterator[_Answers]:
        """Give the masks of points (N, 2) that pass, after they have been shown to the decoder again if they shall."""
        chosen = self._decode(embedding, points, None)
        if not self.options.use_m2m:
            yield self._passing(chosen, points, embedding)
            return
        points = points.repeat_interleave(chosen.mask_logits.shape[1], dim=0)
        masks = chosen.mask_logits.flatten(0, 1)[:, None].clamp(-PROMPT_LOGIT_LIMIT, PROMPT_LOGIT_LIMIT)
        for some, shown_again in zip(torch.split(points, at_once), torch.split(masks, at_once), strict=True):
            yield self._passing(self._decode(embedding, some, shown_again), some, embedding)

    def _decode(self, embedding: ImageEmbedding, points: Tensor, mask_logits: Tensor | None) -> ChosenMasks:
        """Return what the decoder makes of points (N, 2), each with its mask (N, 1, h, w) if there are any."""
        # Not through `ImagePredictor.predict`: the reference enlarges logits before it limits them.
        model, features = self.predictor.model, embedding.features
        xy = embedding.working.points(points[:, None])
        labels = torch.full(xy.shape[:2], PointLabel.POSITIVE, device=xy.device)
        output = model.decode(model.without_memory(features), features, xy, labels, mask_logits)
        if self.options.multimask_output and mask_logits is None:
            return three_candidates(output)
        return single_mask(output, stability_fallback=self.predictor.stability_fallback)

    def _passing(self, chosen: ChosenMasks, points: Tensor, embedding: ImageEmbedding) -> _Answers:
        """Return those of the masks whose predicted IoU is high enough; `points` (N, 2) are those they answer."""
        iou = chosen.predicted_iou.flatten()
        which = (iou > self.options.pred_iou_thresh).nonzero()[:, 0]
        M = chosen.predicted_iou.shape[1]
        logits = embedding.working.unpadded(chosen.mask_logits.flatten(0, 1)[which])
        return _Answers(logits.cpu().numpy(), iou[which].cpu().numpy(), points[which // M].cpu().numpy())

    def _pass(self, answers: _Answers, crop: _Crop, height: int, width: int) -> Iterator[GeneratedMask]:
        """Give those masks that are stable, not empty, and not cut by the crop."""
        for logits, iou, point in zip(answers.logits, answers.predicted_iou, answers.points, strict=True):
            enlarged = self._enlarge(logits, _shape(crop.box))
            if enlarged is None:
                continue
            part, corner, stability, mean_logit = enlarged
            top, left = corner[0] + crop.box[1], corner[1] + crop.box[0]
            box = (left, top, left + part.shape[1] - 1, top + part.shape[0] - 1)
            if _is_cut(box, crop.box, (height, width)):
                continue
            yield GeneratedMask(
                height=height,
                width=width,
                box=box,
                area_px=int(np.count_nonzero(part)),
                predicted_iou=float(iou),
                mean_logit=mean_logit,
                stability_score=stability,
                point=(float(point[0]) + crop.box[0], float(point[1]) + crop.box[1]),
                crop_box=crop.box,
                bits=zlib.compress(np.packbits(part).tobytes(), 1),
            )

    def _enlarge(
        self, logits: NDArray[np.float32], size: tuple[int, int]
    ) -> tuple[NDArray[np.bool_], tuple[int, int], float, float] | None:
        """Return a mask in its box, the box's upper left corner, stability and mean logit; None if it does not pass."""
        options = self.options
        if options.min_mask_region_area:
            logits = _cleaned(logits, options.min_mask_region_area)
        level, offset = options.mask_threshold, options.stability_score_offset
        window = window_above(logits, level - offset, *size)
        tight = wide = 0
        total = 0.0
        bands = [np.zeros((0, window[1].stop - window[1].start), np.bool_)]
        for band in _enlarged_bands(logits, size, window, options.enlarge_bytes):
            tight += int(np.count_nonzero(band > level + offset))
            wide += int(np.count_nonzero(band > level - offset))
            bands.append(band > level)
            total += float(band[bands[-1]].sum())
        stability = tight / wide if wide else 0.0
        mask = np.concatenate(bands)
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if stability < options.stability_score_thresh or not len(rows):
            return None
        part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return (
            part,
            (window[0].start + int(rows[0]), window[1].start + int(columns[0])),
            stability,
            total / int(mask.sum()),
        )


# Points and crops ----------------------------------------------------------------------------------------------------


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} is {shown(value)}. Give a whole number from {low} to {high}.")


def _check_real(name: str, value: object, low: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not isfinite(value) or not low <= value <= high:  # type: ignore[arg-type, operator]
        raise ConfigError(f"{name} is {shown(value)}. Give a number from {low:g} to {high:g}.")


def _as_grids(grids: Sequence[ArrayLike] | None, count: int) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Return grids of points that somebody gave, checked, as values that can be compared."""
    checked = []
    for grid in grids or ():
        try:
            points = np.asarray(grid, np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError("A grid of point_grids is not one array of numbers: give (N, 2), (x, y) each.") from error
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise ConfigError(f"A grid of point_grids has shape {points.shape}. Give (N, 2), one point or more.")
        if not ((points >= 0) & (points <= 1)).all():
            raise ConfigError(
                "A point of point_grids is not on the image. Give (x, y) from 0 to 1, fractions of sides."
            )
        checked.append(tuple((float(x), float(y)) for x, y in points))
    if len(checked) != count:
        raise ConfigError(
            f"point_grids has {len(checked)} grids for {count - 1} layers of crops. Give {count}: the image's first."
        )
    return tuple(checked)


def _grid(side: int) -> NDArray[np.float64]:
    """Return the middles of side x side equal parts of a unit square, (N, 2), (x, y), row by row."""
    middles = (np.arange(side) + 0.5) / side
    y, x = np.meshgrid(middles, middles, indexing="ij")
    return np.stack((x, y), axis=-1).reshape(-1, 2)


def _crops(height: int, width: int, options: MaskGeneratorOptions) -> list[_Crop]:
    """Return the whole image, then the crops of each layer, column by column; none without pixels."""
    crops = [_Crop((0, 0, width - 1, height - 1), 0)]
    for layer in range(1, options.crop_n_layers + 1):
        n = 2**layer
        overlap = int(options.crop_overlap_ratio * min(height, width) * (2 / n))
        sides = [ceil((overlap * (n - 1) + length) / n) for length in (width, height)]
        for i, j in product(range(n), repeat=2):
            x, y = (sides[0] - overlap) * i, (sides[1] - overlap) * j
            if x < width and y < height:
                crops.append(_Crop((x, y, min(x + sides[0], width) - 1, min(y + sides[1], height) - 1), layer))
    return crops


def _is_cut(box: Box, crop: Box, size: tuple[int, int]) -> bool:
    """Return whether a mask of this box ends at an edge of its crop that is not one of the image."""
    image = (0, 0, size[1], size[0])
    # The reference's crops end behind their last pixel, its boxes on theirs.
    ends = (crop[0], crop[1], crop[2] + 1, crop[3] + 1)
    return any(abs(b - e) <= _EDGE_PX < abs(b - i) for b, e, i in zip(box, ends, image, strict=True))


# Masks ---------------------------------------------------------------------------------------------------------------


def _cleaned(logits: NDArray[np.float32], max_area: int) -> NDArray[np.float32]:
    """Return a mask (h, w) without holes and islands of up to `max_area` cells, both told on the mask as it came."""
    inside = logits > 0  # the reference does not heed `mask_threshold` here
    is_island = fill_holes(np.where(inside, -1, 1).astype(np.float32), max_area, 2) == 2
    return np.where(is_island, np.float32(-MASK_LOGIT), fill_holes(logits, max_area, MASK_LOGIT))


def _taps(
    length: int, size: int, window: slice
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """Return the two cells that each pixel of a window lies between, and their weights.

    As torch does it, in its precision: the scale is rounded first, then the position.
    """
    pixels = np.arange(window.start, window.stop, dtype=np.float64)
    scale = float(np.float32(length) / np.float32(size))
    position = np.maximum((pixels + 0.5) * scale - 0.5, 0).astype(np.float32)
    below = np.minimum(position.astype(np.intp), length - 1)
    fraction = position - below.astype(np.float32)
    return below, np.minimum(below + 1, length - 1), np.float32(1) - fraction, fraction


def _enlarged_bands(
    logits: NDArray[np.float32], size: tuple[int, int], window: tuple[slice, slice], max_bytes: int
) -> Iterator[NDArray[np.float32]]:
    """Give a window of mask logits (h, w) resized bilinearly to `size`, some rows at a time."""
    rows, columns = window
    if rows.stop == rows.start or columns.stop == columns.start:
        return
    left, right, left_weight, right_weight = _taps(logits.shape[1], size[1], columns)
    above, below, above_weight, below_weight = _taps(logits.shape[0], size[0], rows)
    cells = slice(int(above[0]), int(below[-1]) + 1)
    wide = logits[cells, left] * left_weight + logits[cells, right] * right_weight
    above, below = above - cells.start, below - cells.start
    step = max(1, max_bytes // (wide.itemsize * wide.shape[1]))
    for first in range(0, len(above), step):
        upper, lower = above[first : first + step], below[first : first + step]
        # A product of matrices, though most weights are zero: gathered and added rows take several times as long.
        row = np.arange(len(upper))
        weights = np.zeros((len(upper), int(lower[-1] - upper[0]) + 1), np.float32)
        weights[row, upper - upper[0]] = above_weight[first : first + step]
        weights[row, lower - upper[0]] += below_weight[first : first + step]
        yield weights @ wide[upper[0] : lower[-1] + 1]


# Duplicates ----------------------------------------------------------------------------------------------------------


def _distinct_boxes(masks: Sequence[GeneratedMask], scores: NDArray[np.floating], threshold: float) -> list[int]:
    """Return which masks are not duplicates by their boxes of one with a higher score, in descending order of it."""
    # Sides are measured from first to last pixel, and in single precision, as the reference has them.
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(int(first))
        sides = np.minimum(boxes[first, 2:], boxes[left, 2:]) - np.maximum(boxes[first, :2], boxes[left, :2])
        shared = np.prod(np.maximum(sides, 0), axis=1)
        union = areas[first] + areas[left] - shared
        iou = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
        left = left[iou.astype(np.float64) <= threshold]
    return kept


def _distinct_masks(masks: Sequence[GeneratedMask], threshold: float) -> list[GeneratedMask]:
    """Return the masks that are not duplicates, pixel by pixel, of one with a higher predicted IoU; order unchanged."""
    order = sorted(range(len(masks)), key=lambda i: -masks[i].predicted_iou)
    boxes = np.array([mask.box for mask in masks], np.int64).reshape(-1, 4)
    areas = np.array([mask.area_px for mask in masks], np.int64)
    kept: list[int] = []
    for i in order:
        others = np.array(kept, np.intp)
        sides = np.minimum(boxes[i, 2:], boxes[others, 2:]) - np.maximum(boxes[i, :2], boxes[others, :2]) + 1
        # No more can be shared than the boxes share, or than the smaller mask has; most pairs need no look at pixels.
        most = np.prod(np.maximum(sides, 0), axis=1).clip(max=np.minimum(areas[i], areas[others]))
        likely = others[most > threshold * (areas[i] + areas[others] - most)]
        if not any(_mask_iou(masks[i], masks[j]) > threshold for j in likely):
            kept.append(i)
    return [masks[i] for i in sorted(kept)]


def _mask_iou(one: GeneratedMask, other: GeneratedMask) -> float:
    """Return the IoU of two masks whose boxes overlap."""
    low = [max(one.box[k], other.box[k]) for k in (0, 1)]
    high = [min(one.box[k], other.box[k]) + 1 for k in (2, 3)]
    parts = (
        mask.in_window()[low[1] - mask.box[1] : high[1] - mask.box[1], low[0] - mask.box[0] : high[0] - mask.box[0]]
        for mask in (one, other)
    )
    shared = int(np.count_nonzero(np.logical_and(*parts)))
    return shared / (one.area_px + other.area_px - shared)
