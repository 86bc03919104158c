"""Every object of one image, from the search to labels: for the Python functions and the shell alike.

A model proposes masks, which may overlap; what is kept of them, numbered in reading order, are the objects.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import OptionError, PromptError
from napari_sam2.inference.predictor import Search
from napari_sam2.labels.composing import label_dtype
from napari_sam2.labels.values import areas_of
from napari_sam2.prompts import ModelScores
from napari_sam2.proposals import Proposal, ProposalFilter, ProposalSet
from napari_sam2.results import ObjectScore, feature_table
from napari_sam2.tracking.batch import write_labels
from napari_sam2.tracking.propagation import LabelFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.files.labels import LabelSink
    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Example, Predictor
    from napari_sam2.labels.seeds import Seeds
    from napari_sam2.results import ObjectMask
    from napari_sam2.tracking.examples import Shown
    from sam2_model.automatic.mask_generator import MaskGeneratorOptions

logger = logging.getLogger(__name__)

_ALL = ProposalFilter(least_score=0.0, smallest_px=1, most_overlap=1.0, least_likeness=0.0)
"""What is asked of objects that the user has shown: nothing."""

Region = tuple[slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class EverythingJob:
    """The search for all objects of an image, checked before a model is loaded.

    Attributes
    ----------
    frames : FrameStack
        The image.
    search : Search
        What is looked for, without the examples that are still to be described.
    chosen : ProposalFilter
        What is kept of it.
    shown : tuple of Shown
        Examples that are prompted. Those on the image itself are among the objects that are found.
    region : ndarray of bool, shape (Y, X), optional
        Objects with their seeds elsewhere are left out.
    """

    frames: FrameStack
    search: Search
    chosen: ProposalFilter
    shown: tuple[Shown, ...] = ()
    region: NDArray[np.bool_] | None = None

    @property
    def has_examples(self) -> bool:
        """Whether objects are compared with examples."""
        return bool(self.shown or self.search.like)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search has found, beside the labels, which are in its sink.

    Attributes
    ----------
    predictor : Predictor
        The model that was loaded.
    scores : DataFrame
        See `score_table`.
    features : DataFrame
        See `feature_table`; also `score`, by which objects were kept, and with examples `likeness`.
    """

    predictor: Predictor
    scores: pd.DataFrame
    features: pd.DataFrame


def everything_job(
    frames: FrameStack,
    chosen: ProposalFilter,
    *,
    seeds: Seeds | None = None,
    like: Sequence[Example] = (),
    shown: Sequence[Shown] = (),
    region: NDArray[np.bool_] | Region | None = None,
    grid: MaskGeneratorOptions | None = None,
) -> EverythingJob:
    """Return the job to find all objects of an image.

    Parameters
    ----------
    frames : FrameStack
        The image.
    chosen : ProposalFilter
        What is kept of what is found.
    seeds : Seeds, optional
        Where the objects are. None lets the model find them.
    like : sequence of Example
        Examples made by the same model before.
    shown : sequence of Shown
        Examples that are prompted, on this image or others.
    region : ndarray of bool, shape (Y, X), or tuple of slice, optional
        Where to search: pixels, or a window of rows and columns. None means everywhere.
    grid : MaskGeneratorOptions, optional
        How a model without an instance decoder is asked, as in `Search`.

    Raises
    ------
    OptionError
        If the region is none of this image, or empty.
    PromptError
        If all seeds are outside the region.
    """
    pixels = None if region is None else _checked_region(region, frames.height, frames.width)
    if seeds is not None:
        seeds = tuple(seed for seed in seeds if _is_in(seed, pixels))
        if not seeds:
            raise PromptError("No seed lies in the region. Move the region, or leave it out.")
    search = Search(seeds, None if pixels is None else _window_of(pixels), tuple(like), grid)
    return EverythingJob(frames, search, chosen, tuple(shown), pixels)


def run_everything(
    job: EverythingJob,
    load: Callable[[], Predictor],
    open_sink: Callable[[np.dtype[np.unsignedinteger]], LabelSink],
    *,
    scores_path: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Found:
    """Find all objects of an image, and write their labels and scores.

    Parameters
    ----------
    job : EverythingJob
        From `everything_job`.
    load : callable
        Loads the model.
    open_sink : callable
        Opens the sink for labels of a dtype. Called when everything is found.
    scores_path, overwrite
        As in `write_labels`.
    progress : callable, optional
        Called after each part of the image with the number of parts that are done, and of all.

    Raises
    ------
    ModelError
        If the model fails.
    PromptError
        If it finds nothing where an example is prompted.
    ImageFileError, KeyboardInterrupt
        As in `write_labels`; until the search is done, nothing is written.
    """
    predictor = load()
    examples, given = list(job.search.like), []
    for shown in job.shown:
        masks = shown.masks(predictor)
        examples += shown.examples(predictor, masks)
        if shown.frames is job.frames:
            given += [_as_proposal(mask) for mask in masks if mask.object_id not in shown.unwanted]
    found = _searched(job, predictor, replace(job.search, like=tuple(examples)), progress)
    objects = _kept(job, given, found)
    labelled = _labelled(objects, job.frames.height, job.frames.width)
    scores = write_labels(
        open_sink(label_dtype([len(objects)])), [labelled], 1, scores_path=scores_path, overwrite=overwrite
    )
    features = feature_table(scores).assign(score=np.array([one.score for one in objects], float))
    if job.has_examples:
        features["likeness"] = np.array([one.likeness for one in objects], float)
    return Found(predictor, scores, features)


def _searched(
    job: EverythingJob, predictor: Predictor, search: Search, progress: Callable[[int, int], object] | None
) -> list[Proposal]:
    found: list[Proposal] = []
    for part in predictor.propose(job.frames, 0, search):
        found += part.proposals
        if progress is not None:
            progress(part.done, part.total)
    return found


def _kept(job: EverythingJob, given: Sequence[Proposal], found: Sequence[Proposal]) -> list[Proposal]:
    """Return the objects, in reading order, and say why if there are none."""
    height, width = job.frames.height, job.frames.width
    covered = np.zeros((height, width), np.bool_)
    shown = ProposalSet(given, height, width).kept(_ALL)
    for one in shown:
        covered[one.window] |= one.mask
    wanted = (one for one in found if _is_in(one.seed, job.region))
    kept = ProposalSet(wanted, height, width).kept(job.chosen, covered)
    if not kept:
        _tell_of_nothing(job, len(found))
    return sorted((*shown, *kept), key=_reading_order)


def _tell_of_nothing(job: EverythingJob, num_found: int) -> None:
    if job.has_examples:
        logger.warning(
            "Nothing else was found that is like the examples. Lower the least likeness (now %g) or the least score "
            "(now %g), or give other examples.",
            job.chosen.least_likeness,
            job.chosen.least_score,
        )
    elif num_found:
        logger.warning(
            "Of %d masks that were proposed none is kept. Lower the least score (now %g) or the smallest area (now %d "
            "px).",
            num_found,
            job.chosen.least_score,
            job.chosen.smallest_px,
        )
    else:
        logger.warning("The model found nothing here. Correct the contrast, give seeds, or take another model.")


def _reading_order(proposal: Proposal) -> tuple[float, ...]:
    """From top to bottom, then from left to right, by the middle of the rectangle that holds an object."""
    (y, x), (height, width) = proposal.corner, proposal.mask.shape
    return (y + height / 2, x + width / 2, y, x)


def _as_proposal(mask: ObjectMask) -> Proposal:
    """Return an object that was prompted as one that was found, and is like itself."""
    inside = mask.logits > 0
    window = _window_of(inside)
    scores = ModelScores(mask.predicted_iou, mask.object_score, mask.stability, float(mask.logits[inside].mean()))
    corner = (mask.corner[0] + window[0].start, mask.corner[1] + window[1].start)
    return Proposal(corner, inside[window], scores, 1.0, corner, 1.0)


def _labelled(objects: Sequence[Proposal], height: int, width: int) -> LabelFrame:
    """Return objects, none of which overlap, as labels from 1 on, with what the model said of each."""
    labels = np.zeros((height, width), label_dtype([len(objects)]))
    for number, one in enumerate(objects, 1):
        labels[one.window][one.mask] = number
    return LabelFrame(0, labels, tuple(_scores(objects, areas_of(labels))))


def _scores(objects: Iterable[Proposal], areas: dict[int, int]) -> Iterator[ObjectScore]:
    for number, one in enumerate(objects, 1):
        said = one.scores
        yield ObjectScore(
            object_id=number,
            frame=0,
            predicted_iou=said.predicted_iou,
            object_score=said.object_score,
            stability=said.stability,
            mean_logit=said.mean_logit,
            confidence=said.confidence,
            area_px=areas[number],
            area_in_labels_px=areas[number],
        )


def _checked_region(region: NDArray[np.bool_] | Region, height: int, width: int) -> NDArray[np.bool_]:
    """Return the pixels of a region."""
    if isinstance(region, tuple):
        pixels = np.zeros((height, width), np.bool_)
        if len(region) != 2 or not all(isinstance(side, slice) for side in region):
            raise OptionError(f"The region is {region!r}. Give (slice(y, y_end), slice(x, x_end)), or booleans.")
        pixels[region] = True
    else:
        pixels = np.asarray(region)
    if pixels.dtype != np.bool_ or pixels.shape != (height, width):
        raise OptionError(
            f"The region has shape {pixels.shape} and dtype {pixels.dtype}. Give booleans of the shape of the image, "
            f"{(height, width)}, or a window: (slice(y, y_end), slice(x, x_end))."
        )
    if not pixels.any():
        raise OptionError("The region holds no pixel of the image. Mark what is to be searched, or leave it out.")
    return pixels


def _window_of(pixels: NDArray[np.bool_]) -> Region:
    """Return the rows and columns of the rectangle that holds all pixels that are True."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _is_in(place: tuple[float, float], pixels: NDArray[np.bool_] | None) -> bool:
    """Whether a place is in a region; a place on the border of the image belongs to the pixel there."""
    if pixels is None:
        return True
    y, x = (min(max(round(where), 0), length - 1) for where, length in zip(place, pixels.shape, strict=True))
    return bool(pixels[y, x])
