"""Work from its source to its sink without a viewer: for the Python functions, the shell and the demo alike.

A `Job` is what is asked for, checked. `run_job` loads the model for it, opens the sink, and writes labels and scores as
they come; `write_labels` does the last of this for frames from anywhere, such as a replay.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_sam2.errors import SmallObjectWarning
from napari_sam2.files.tables import keep_table, write_table
from napari_sam2.labels.composing import compose, label_dtype
from napari_sam2.prompt_checks import check_prompts, prompts_inside, too_small_at
from napari_sam2.results import CLEAN_AREA_PX, FrameResult, feature_table, score_table
from napari_sam2.tracking.propagation import LabelFrame, label_frames, plan_propagation
from napari_sam2.tracking.stack import TrackedStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.files.labels import LabelSink
    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.prompts import PromptSet
    from napari_sam2.results import ObjectScore
    from napari_sam2.tracking.propagation import DirectionName
    from sam2_model.video.passes import Visit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Prompted objects on an image or a stack, checked before a model is loaded.

    Attributes
    ----------
    frames : FrameStack
        The image or the stack.
    prompts : PromptSet
        Prompts that can be answered on it.
    visits : tuple of Visit, optional
        How the objects are followed. None for a single image.
    """

    frames: FrameStack
    prompts: PromptSet
    visits: tuple[Visit, ...] | None = None

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Type of the labels."""
        return label_dtype(self.prompts.object_ids)

    @property
    def num_steps(self) -> int:
        """Number of frames on which prompts are answered, and of visits that give labels."""
        if self.visits is None:
            return 1
        return len({target.frame for target in self.prompts}) + sum(visit.is_reported for visit in self.visits)


def image_job(frames: FrameStack, prompts: PromptSet) -> Job:
    """Return the job to segment prompted objects on one image.

    Raises
    ------
    PromptError
        If the prompts cannot be answered on it.
    """
    check_prompts(prompts, 1, frames.height, frames.width, single_image=True)
    return Job(frames, prompts)


def stack_job(
    frames: FrameStack,
    prompts: PromptSet,
    *,
    direction: DirectionName = "both",
    start: int | None = None,
    stop: int | None = None,
) -> Job:
    """Return the job to follow prompted objects through a stack.

    Parameters
    ----------
    frames : FrameStack
        The stack.
    prompts : PromptSet
        The prompts.
    direction, start, stop
        As in `plan_propagation`.

    Raises
    ------
    PromptError
        If the prompts cannot be answered on this stack.
    OptionError
        As in `plan_propagation`.
    """
    check_prompts(prompts, len(frames), frames.height, frames.width)
    return Job(frames, prompts, plan_propagation(prompts, len(frames), direction=direction, start=start, stop=stop))


class LabelArray:
    """A sink in memory.

    Parameters
    ----------
    shape : tuple of int
        (N, Y, X), or (Y, X) for a single image, which is frame 0.

    Attributes
    ----------
    array : ndarray
        The labels, 0 where none were written; there is one once the sink is opened.
    """

    partial_path = None

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape

    def open(self, dtype: np.dtype[np.unsignedinteger]) -> Self:
        """Make the array, and return the sink."""
        self.array: NDArray[np.unsignedinteger] = np.zeros(self._shape, dtype)
        return self

    def write(self, frame: int, labels: NDArray[np.integer]) -> None:
        """Store the labels of one frame, shape (Y, X)."""
        self.array[frame if self.array.ndim == 3 else ...] = labels

    def describe(self, objects: pd.DataFrame) -> None:
        """Do nothing: the caller has the tables."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: an array is complete as it is."""


def run_job(
    job: Job,
    load: Callable[[], Predictor],
    open_sink: Callable[[np.dtype[np.unsignedinteger]], LabelSink],
    *,
    scores_path: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Predictor, pd.DataFrame]:
    """Segment or follow the objects of a job, and write their labels and scores.

    Parameters
    ----------
    job : Job
        From `image_job` or `stack_job`.
    load : callable
        Loads the model.
    open_sink : callable
        Opens the sink for labels of a dtype. Called after the model was found fit for the job.
    scores_path, overwrite, progress
        As in `write_labels`.

    Returns
    -------
    Predictor
        The model that was loaded.
    DataFrame
        The scores; see `score_table`.

    Raises
    ------
    ModelError
        If the model cannot follow objects, or fails.
    ImageFileError, KeyboardInterrupt
        As in `write_labels`.

    Warns
    -----
    SmallObjectWarning
        If the model sees an object as a few pixels.
    """
    predictor = load()
    _warn_of_small_objects(job, predictor)
    steps: Iterator[LabelFrame | None]
    if job.visits is None:
        steps = _segmented(job, predictor)
    else:
        steps = _followed(TrackedStack(predictor, job.frames), job.prompts, job.visits)
    sink = open_sink(job.dtype)
    return predictor, write_labels(
        sink, steps, job.num_steps, scores_path=scores_path, overwrite=overwrite, progress=progress
    )


def write_labels(
    sink: LabelSink,
    steps: Iterable[LabelFrame | None],
    num_steps: int,
    *,
    scores_path: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> pd.DataFrame:
    """Write every frame as soon as it is known.

    Parameters
    ----------
    sink : LabelSink
        Completed at the end, which gives a label file its name. It is also given the features of every object.
    steps : iterable of LabelFrame or None
        The work, done while it is consumed; None stands for a step that finishes no frame.
    num_steps : int
        How many steps there are going to be.
    scores_path : Path, optional
        Where to write the table of scores.
    overwrite : bool
        Whether the table may replace a file.
    progress : callable, optional
        Called at the beginning and after every step with the number of steps that are done, and of all.

    Returns
    -------
    DataFrame
        The scores; see `score_table`.

    Raises
    ------
    ImageFileError
        If a file cannot be written.
    KeyboardInterrupt
        On Ctrl-C.

    Notes
    -----
    Whatever ends the work early, finished frames stay in the sink's partial file and their scores beside the final
    table, and a note on the exception tells where.
    """
    show = progress or (lambda done, total: None)
    done: dict[int, tuple[ObjectScore, ...]] = {}
    specks: dict[int, int] = {}
    try:
        with sink:
            show(0, num_steps)
            for number, found in enumerate(steps, 1):
                if found is not None:
                    sink.write(found.frame, found.labels)
                    # A frame that comes again has the objects of both times.
                    done[found.frame], specks[found.frame] = found.scores, found.num_specks
                show(number, num_steps)
            table = _table(done)
            sink.describe(feature_table(table))
        _tell_of_specks(specks.values())
    except BaseException as error:
        if done and sink.partial_path is not None:
            error.add_note(f"Finished frames are kept in {sink.partial_path}.")
            kept = None if scores_path is None else keep_table(scores_path, _table(done))
            if kept is not None:
                error.add_note(f"Their scores are in {kept}.")
        raise
    if scores_path is not None:
        write_table(scores_path, table, overwrite=overwrite)
    return table


def _segmented(job: Job, predictor: Predictor) -> Iterator[LabelFrame]:
    height, width = job.frames.height, job.frames.width
    given = prompts_inside(job.prompts, height, width).by_object()
    result = FrameResult(0, predictor.segment(job.frames[0], dict(sorted(given.items()))))
    composed = compose(result.objects, height, width, job.dtype, prompts_of=lambda object_id: given.get(object_id, ()))
    yield LabelFrame(0, composed.labels, composed.counted(result.scores), composed.num_specks)


def _followed(stack: TrackedStack, prompts: PromptSet, visits: tuple[Visit, ...]) -> Iterator[LabelFrame | None]:
    for _ in stack.apply(prompts):
        yield None  # labels of prompted frames are given when these are visited
    yield from label_frames(stack, visits)


def _table(done: Mapping[int, tuple[ObjectScore, ...]]) -> pd.DataFrame:
    return score_table(score for scores in done.values() for score in scores)


def _tell_of_specks(specks: Iterable[int]) -> None:
    counts = [count for count in specks if count]
    if counts:
        logger.info(
            "Dropped specks that remained beside other objects: %d of up to %d px, on %d frames.",
            sum(counts),
            CLEAN_AREA_PX,
            len(counts),
        )


def _warn_of_small_objects(job: Job, predictor: Predictor) -> None:
    """Warn of objects that the model would see as a few pixels; it finds them badly and remembers them worse."""
    height, width = job.frames.height, job.frames.width
    size = predictor.working_size(height, width)
    small = too_small_at(prompts_inside(job.prompts, height, width), *predictor.scale(height, width))
    if small:
        named = ", ".join(map(str, small[:10])) + (f" and {len(small) - 10} more" if len(small) > 10 else "")
        warnings.warn(
            f"Objects {named}: only a few pixels remain of them at the working size of {size} px. Use a larger "
            "image_size, or cut the stack to the part that matters.",
            SmallObjectWarning,
            stacklevel=5,  # in the name of whoever called `segment` or `propagate`
        )
