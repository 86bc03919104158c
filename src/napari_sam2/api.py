"""One call each: segment an image, follow objects through a stack."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from napari_sam2.frames import FrameStack, single_frame
from napari_sam2.prompts import PromptSet
from napari_sam2.results import feature_table
from napari_sam2.tracking.batch import LabelArray, image_job, run_job, stack_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.frames import ArrayLike, ContrastLimits
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.inference.sam2 import ImageSize
    from napari_sam2.prompts import Prompt
    from napari_sam2.tracking.batch import Job
    from napari_sam2.tracking.propagation import DirectionName
    from sam2_model.weights.loading import LoadedModel


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
        what `Labels.features` shows in napari.
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


def _computed(job: Job, load: Callable[[], Predictor]) -> Segmentation:
    frames = job.frames
    shape = (len(frames), frames.height, frames.width)
    labels = LabelArray(shape[1:] if job.visits is None else shape)
    predictor, scores = run_job(job, load, labels.open)
    return Segmentation(
        labels=labels.array,
        scores=scores,
        features=feature_table(scores),
        model=predictor.name,
        model_sha256=predictor.sha256,
        image_size=predictor.working_size(frames.height, frames.width),
        contrast_limits=frames.contrast_limits,
    )


def _load(model: str | PathLike[str] | LoadedModel | Predictor, device: str, image_size: ImageSize) -> Predictor:
    from napari_sam2.inference.sam2 import load_predictor  # loads torch, which takes seconds

    return load_predictor(model, device=device, image_size=image_size)
