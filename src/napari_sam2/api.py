"""One call each: segment what is prompted in an image, or everything; follow objects through a stack."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from napari_sam2.frames import FrameStack, single_frame
from napari_sam2.labels.seeds import seeds_from_array
from napari_sam2.prompts import PromptSet
from napari_sam2.proposals import ProposalFilter
from napari_sam2.results import feature_table
from napari_sam2.tracking.batch import LabelArray, image_job, run_job, stack_job
from napari_sam2.tracking.everything import everything_job, run_everything
from napari_sam2.tracking.examples import parted, shown_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.frames import ArrayLike, ContrastLimits
    from napari_sam2.inference.predictor import Example, Predictor
    from napari_sam2.inference.sam2 import ImageSize
    from napari_sam2.prompts import Prompt
    from napari_sam2.tracking.batch import Job
    from napari_sam2.tracking.propagation import DirectionName
    from sam2_model.automatic.mask_generator import MaskGeneratorOptions
    from sam2_model.weights.loading import LoadedModel

_KEPT = ProposalFilter()
"""What is kept of everything unless the caller says otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Labels, how sure the model is of them, and what they depend on.

    Attributes
    ----------
    labels : ndarray
        Unsigned integers, shape of the image without channels; 0 is background, other values are object ids.
    scores : DataFrame
        One row per object and visited frame: object_id, frame, predicted_iou, object_score, stability, mean_logit,
        confidence, area_px.
    features : DataFrame
        One row per object: index (the label), n_frames, mean_confidence, worst_confidence, worst_frame, mean_area_px;
        what `Labels.features` shows in napari. Of `segment_everything` also score and, with examples, likeness.
    model, model_sha256 : str
        Name and checksum of the model.
    image_size : int
        Longer side of the model's working image, in pixels; where that is of parts of the image, of these.
    contrast_limits : (float, float), one pair per channel, or None
        Intensities that the model saw as black and white; None for 8-bit RGB, which it saw as it is.
    """

    labels: NDArray[np.unsignedinteger]
    scores: pd.DataFrame
    features: pd.DataFrame
    model: str
    model_sha256: str
    image_size: int
    contrast_limits: ContrastLimits | None


def segment(
    image: ArrayLike,
    prompts: Iterable[Prompt],
    *,
    model: str | PathLike[str] | LoadedModel | Predictor = "nano",
    device: str = "auto",
    image_size: ImageSize = "auto",
    contrast_limits: npt.ArrayLike | None = None,
    channel_axis: int | None = None,
    rgb: bool | None = None,
) -> Segmentation:
    """Segment the prompted objects of one image.

    Where clicks alone say what is meant, islands of a mask that no positive click touches are dropped, but for the
    largest.

    Parameters
    ----------
    image : array
        Shape (Y, X), (Y, X, 3) or, with `channel_axis`, channels elsewhere; numpy, dask or zarr.
    prompts : iterable of PointPrompt, BoxPrompt or MaskPrompt
        In data pixels, on frame 0.
    model : str, path or loaded model
        A registry name, a weight file, or a loaded model.
    device : str
        "auto", "cpu", "cuda", "cuda:1" or "mps".
    image_size : int or "auto"
        Longer side of the model's working image, a multiple of 32, in which all of the image is seen. "auto" suits
        model and image: in those of more than 1024 px each object is seen in a part round it, pixel for pixel.
    contrast_limits : (float, float), optional
        Intensities seen as black and white; percentiles 1 and 99.8 when omitted.
    channel_axis : int, optional
        Axis of one to three channels.
    rgb : bool, optional
        Whether the last axis holds red, green, blue; decided by the shape when omitted.

    Returns
    -------
    Segmentation
        With labels of shape (Y, X).

    Raises
    ------
    PromptError
        If there is no prompt, one lies outside or is malformed, or an object has negative points alone. A box that
        reaches beyond the image is cut at its border.
    FrameError
        If the image has the wrong number of axes, no pixels, or values that are no intensities.
    OptionError
        If an option has a value that does not exist or fit.
    ModelError
        If the model cannot be found or used.
    """
    frames = single_frame(image, contrast_limits=contrast_limits, channel_axis=channel_axis, rgb=rgb)
    job = image_job(frames, PromptSet(prompts))
    return _computed(job, partial(_load, model, device, image_size))


def propagate(
    stack: ArrayLike,
    prompts: Iterable[Prompt],
    *,
    direction: DirectionName = "both",
    start: int | None = None,
    stop: int | None = None,
    model: str | PathLike[str] | LoadedModel | Predictor = "nano",
    device: str = "auto",
    image_size: ImageSize = "auto",
    contrast_limits: npt.ArrayLike | None = None,
    channel_axis: int | None = None,
    rgb: bool | None = None,
) -> Segmentation:
    """Follow the prompted objects through a time-lapse or a z-stack.

    On frames that are answered from clicks, islands are dropped as in `segment`. On frames that an object is followed
    to they stay, for an object may come apart.

    Parameters
    ----------
    stack : array
        Frames first: (N, Y, X), (N, Y, X, 3) or, with `channel_axis`, channels anywhere; numpy, dask or zarr. Frames
        are read one at a time.
    prompts : iterable of PointPrompt, BoxPrompt or MaskPrompt
        In data pixels, on any frames.
    direction : {"both", "forward", "backward"}
        Which way to follow; "both" goes outward from each object's prompts.
    start, stop : int, optional
        First and last frame to give labels for; the whole stack when omitted.
    model, device, image_size, contrast_limits, channel_axis, rgb
        As in `segment`.

    Returns
    -------
    Segmentation
        With labels of shape (N, Y, X).

    Raises
    ------
    PromptError, FrameError, OptionError, ModelError
        As in `segment`, before any work.
    """
    frames = FrameStack(stack, contrast_limits=contrast_limits, channel_axis=channel_axis, rgb=rgb)
    job = stack_job(frames, PromptSet(prompts), direction=direction, start=start, stop=stop)
    return _computed(job, partial(_load, model, device, image_size))


def segment_everything(
    image: ArrayLike,
    *,
    seeds: npt.ArrayLike | None = None,
    like: Iterable[Prompt | Example] | None = None,
    region: NDArray[np.bool_] | tuple[slice, slice] | None = None,
    least_score: float = _KEPT.least_score,
    size_bias: float = _KEPT.size_bias,
    smallest_px: int = _KEPT.smallest_px,
    largest_px: int | None = _KEPT.largest_px,
    most_overlap: float = _KEPT.most_overlap,
    least_likeness: float = _KEPT.least_likeness,
    model: str | PathLike[str] | LoadedModel | Predictor = "nano",
    device: str = "auto",
    image_size: ImageSize = "auto",
    contrast_limits: npt.ArrayLike | None = None,
    channel_axis: int | None = None,
    rgb: bool | None = None,
    grid: MaskGeneratorOptions | None = None,
) -> Segmentation:
    """Segment every object of one image, without prompts, from seeds, or like examples.

    Parameters
    ----------
    image : array
        Shape (Y, X), (Y, X, 3) or, with `channel_axis`, channels elsewhere; numpy, dask or zarr, of any size.
    seeds : array, optional
        Where the objects are: points of shape (N, 2), rows and columns in data pixels, or labels of the shape of the
        image, every id of which is a seed at its innermost pixel. `seeds_from_maxima` finds them in a channel. The
        model finds the objects when omitted.
    like : iterable of PointPrompt, BoxPrompt, MaskPrompt or Example, optional
        Keep objects that look like these. Each object that is prompted on this image is an example, and is found
        itself; one with negative points alone is an example of what is not wanted. `examples_of` makes examples on
        another image.
    region : array of bool, shape (Y, X), or tuple of slice, optional
        Where to search: pixels, or a window of rows and columns. Everywhere when omitted.
    least_score : float
        Smallest score of an object, in [0, 1]; less finds more.
    size_bias : float
        Which of two masks that overlap is the better one: 0 the one with the higher score, up to 1 rather the larger,
        down to -1 rather the smaller.
    smallest_px, largest_px : int
        Smallest and largest area of an object, in pixels; no largest when omitted.
    most_overlap : float
        Part of an object, in [0, 1], that better ones may take.
    least_likeness : float
        Smallest likeness to the examples, in [0, 1].
    model, device, image_size, contrast_limits, channel_axis, rgb
        As in `segment`. `nano` looks for objects at sizes of its own; the working size is that of prompts.
    grid : sam2_model.automatic.mask_generator.MaskGeneratorOptions, optional
        How published models, which have to be asked point by point, are asked. The published way when omitted.

    Returns
    -------
    Segmentation
        With labels of shape (Y, X), from 1 on in reading order: from top to bottom, then from left to right, by the
        middle of each object. They do not overlap. Its features have two columns more: score, and with examples
        likeness. If nothing is found, labels are 0 and the tables empty, and a warning is logged that says what helps.

    Raises
    ------
    PromptError
        If seeds or examples are malformed, outside the image or none at all, or if the model finds no object where an
        example is prompted.
    FrameError, OptionError, ModelError
        As in `segment`.
    """
    chosen = ProposalFilter(least_score, size_bias, smallest_px, largest_px, most_overlap, least_likeness)
    frames = single_frame(image, contrast_limits=contrast_limits, channel_axis=channel_axis, rgb=rgb)
    prompts, described = parted(like)
    job = everything_job(
        frames,
        chosen,
        seeds=None if seeds is None else seeds_from_array(seeds, frames.height, frames.width),
        like=described,
        shown=() if prompts is None else (shown_on(frames, prompts),),
        region=region,
        grid=grid,
    )
    labels = LabelArray((frames.height, frames.width))
    found = run_everything(job, partial(_load, model, device, image_size), labels.open)
    return _segmentation(frames, labels, found.predictor, found.scores, found.features)


def examples_of(
    image: ArrayLike,
    prompts: Iterable[Prompt],
    *,
    model: str | PathLike[str] | LoadedModel | Predictor = "nano",
    device: str = "auto",
    image_size: ImageSize = "auto",
    contrast_limits: npt.ArrayLike | None = None,
    channel_axis: int | None = None,
    rgb: bool | None = None,
) -> tuple[Example, ...]:
    """Return what objects of one image look like to a model, for `segment_everything` on others.

    Parameters
    ----------
    image : array
        As in `segment`.
    prompts : iterable of PointPrompt, BoxPrompt or MaskPrompt
        Each object is an example; one with negative points alone is an example of what is not wanted.
    model, device, image_size, contrast_limits, channel_axis, rgb
        As in `segment`. Examples are of use to the same model alone.

    Returns
    -------
    tuple of Example
        By ascending object id.

    Raises
    ------
    PromptError
        As in `segment`, or if the model finds no object where one is prompted.
    FrameError, OptionError, ModelError
        As in `segment`.
    """
    frames = single_frame(image, contrast_limits=contrast_limits, channel_axis=channel_axis, rgb=rgb)
    shown = shown_on(frames, prompts)
    predictor = _load(model, device, image_size)
    return shown.examples(predictor, shown.masks(predictor))


def _computed(job: Job, load: Callable[[], Predictor]) -> Segmentation:
    frames = job.frames
    shape = (len(frames), frames.height, frames.width)
    labels = LabelArray(shape[1:] if job.visits is None else shape)
    predictor, scores = run_job(job, load, labels.open)
    return _segmentation(frames, labels, predictor, scores, feature_table(scores))


def _segmentation(
    frames: FrameStack, labels: LabelArray, predictor: Predictor, scores: pd.DataFrame, features: pd.DataFrame
) -> Segmentation:
    return Segmentation(
        labels=labels.array,
        scores=scores,
        features=features,
        model=predictor.name,
        model_sha256=predictor.sha256,
        image_size=predictor.working_size(frames.height, frames.width),
        contrast_limits=frames.contrast_limits,
    )


def _load(model: str | PathLike[str] | LoadedModel | Predictor, device: str, image_size: ImageSize) -> Predictor:
    from napari_sam2.inference.sam2 import load_predictor  # loads torch, which takes seconds

    return load_predictor(model, device=device, image_size=image_size)
