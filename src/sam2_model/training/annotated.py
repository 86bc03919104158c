"""Frames that somebody annotated, as batches to train on and as a test of what was learnt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sam2_model.errors import ConfigError, FrameError
from sam2_model.preprocessing import WorkingImage
from sam2_model.training.batches import MIN_AREA_PX, Batch, Clip, assemble, choose_objects, visible_objects
from sam2_model.training.stages import Load, Stage
from sam2_model.video.state import FrameSource

_ATTEMPTS = 20
_ZOOM = 1.25
_SHIFT = 0.35
_FROM_TWO = 4
"""Annotated frames of a stack from which two neighbours are held out, so that following can be tested."""


class LabelSource(Protocol):
    """Label images read one at a time."""

    def __getitem__(self, index: int, /) -> NDArray[np.integer]:
        """Return the labels of frame `index`, shape (H, W); 0 is background."""
        ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AnnotatedStack:
    """Frames of one size and their labels.

    Attributes
    ----------
    frames : FrameSource
        RGB frames, as prediction sees them.
    labels : LabelSource
        Labels of the same size; a frame without any counts as not annotated.
    working : WorkingImage
        How the frames lie in the working image in which they will be predicted.
    is_series : bool
        Whether an id is the same object on the next frame; else every frame stands for itself.
    is_complete : bool
        Whether every object on an annotated frame has a label; else what has none is not surely background.
    """

    frames: FrameSource
    labels: LabelSource
    working: WorkingImage
    is_series: bool
    is_complete: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedFrame:
    """One frame with objects large enough to be asked for.

    Attributes
    ----------
    stack : AnnotatedStack
        Where it lies.
    frame : int
        Its number there.
    ids : ndarray
        Labels that cover at least `MIN_AREA_PX` working pixels.
    """

    stack: AnnotatedStack
    frame: int
    ids: NDArray[np.integer]

    def precedes(self, other: "AnnotatedFrame") -> bool:
        """Return whether the other is the next frame of the same series."""
        return self.stack is other.stack and self.stack.is_series and other.frame == self.frame + 1


@dataclass(frozen=True, slots=True)
class Split:
    """Frames to learn from, and frames to test on; both in the order of their stacks."""

    training: tuple[AnnotatedFrame, ...]
    held_out: tuple[AnnotatedFrame, ...]


def annotated_frames(stacks: Iterable[AnnotatedStack]) -> tuple[AnnotatedFrame, ...]:
    """Return the frames that show something to learn, reading every label image once.

    Raises
    ------
    FrameError
        If there are fewer than two, one to learn from and one to test on.
    """
    found = []
    for stack in stacks:
        for frame in range(len(stack.frames)):
            labels = stack.labels[frame]
            seen = _resampled(labels, (0, 0, *labels.shape), stack.working)
            ids, areas = np.unique(seen, return_counts=True)
            large = ids[(ids > 0) & (areas >= MIN_AREA_PX)]
            if len(large):
                found.append(AnnotatedFrame(stack, frame, large))
    if len(found) < 2:
        raise FrameError(
            f"Frames with an object of at least {MIN_AREA_PX} px at the working size: {len(found)}. Two are needed, to "
            "learn from one and test on the other: annotate more, use a larger image size, or cut the images to the "
            "part that matters."
        )
    return tuple(found)


def hold_out(frames: Sequence[AnnotatedFrame], fraction: float, rng: np.random.Generator) -> Split:
    """Return frames to learn from and to test on: whole stacks at random, and the last frames of one of them.

    Neighbours in a stack look alike, so frames of a stack are held out together.

    Parameters
    ----------
    frames : sequence of AnnotatedFrame
        At least two.
    fraction : float
        How many to hold out, above 0 and below 1; at least one frame is, and two successive ones of a series of four
        or more. At least one is left to learn from.
    rng : numpy.random.Generator
        Which stacks.

    Raises
    ------
    ConfigError
        If the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"The fraction of frames held out is {fraction}. Use a number between 0 and 1.")
    by_stack: dict[int, list[AnnotatedFrame]] = {}
    for frame in frames:
        by_stack.setdefault(id(frame.stack), []).append(frame)
    groups = list(by_stack.values())
    is_long = any(len(group) >= _FROM_TWO and group[0].stack.is_series for group in groups)
    wanted = min(max(round(fraction * len(frames)), 2 if is_long else 1), len(frames) - 1)
    held: list[AnnotatedFrame] = []
    for index in rng.permutation(len(groups)):
        left = wanted - len(held)
        held += groups[index][-left:] if left else []
    chosen = {id(frame) for frame in held}
    return Split(
        tuple(frame for frame in frames if id(frame) not in chosen), tuple(f for f in frames if id(f) in chosen)
    )


def runs(frames: Sequence[AnnotatedFrame]) -> tuple[tuple[AnnotatedFrame, ...], ...]:
    """Return frames in stretches in which each follows the one before."""
    stretches: list[list[AnnotatedFrame]] = []
    for frame in frames:
        if stretches and stretches[-1][-1].precedes(frame):
            stretches[-1].append(frame)
        else:
            stretches.append([frame])
    return tuple(tuple(stretch) for stretch in stretches)


class AnnotatedBatches:
    """A source of batches: windows of annotated frames, turned, mirrored, zoomed, brighter or darker.

    Clips play forwards or backwards, and all their frames are changed in the same way.

    Parameters
    ----------
    frames : sequence of AnnotatedFrame
        What to learn from.
    """

    __slots__ = ("_is_complete", "_runs")

    def __init__(self, frames: Sequence[AnnotatedFrame]) -> None:
        self._runs = runs(frames)
        self._is_complete = all(frame.stack.is_complete for frame in frames)

    def __call__(self, rng: np.random.Generator, stage: Stage, load: Load) -> Batch:
        """Return a random batch.

        Raises
        ------
        FrameError
            If no series is as long as the clips asked for.
        PromptError
            If no window of that size shows an object.
        """
        return assemble([self._clip(rng, load) for _ in range(load.clips)], is_complete=self._is_complete)

    def _clip(self, rng: np.random.Generator, load: Load) -> Clip:
        starts = [(run, first) for run in self._runs for first in range(len(run) - load.frames + 1)]
        if not starts:
            raise FrameError(f"There are no {load.frames} successive annotated frames. Ask for shorter clips.")
        for _ in range(_ATTEMPTS):
            run, first = starts[rng.integers(len(starts))]
            chosen = run[first : first + load.frames]
            frames = chosen[::-1] if rng.random() < 0.5 else chosen
            window, working = _draw_window(rng, frames[0], load.size)
            clip = _cut(frames, window, working, _draw_shades(rng), int(rng.integers(8)))
            if len(visible_objects(clip.labels[0])):
                break
        return Clip(clip.images, clip.labels, choose_objects(rng, clip.labels[0], load.objects))


def whole_frames(frames: Sequence[AnnotatedFrame], most: int) -> Batch:
    """Return frames as prediction sees them, as one clip, with up to `most` of the objects on the first."""
    stack = frames[0].stack
    height, width = stack.labels[frames[0].frame].shape
    clip = _cut(frames, (0, 0, height, width), stack.working, _AS_IT_IS, 0)
    objects = min(most, len(visible_objects(clip.labels[0])))
    return assemble([Clip(clip.images, clip.labels, choose_objects(np.random.default_rng(0), clip.labels[0], objects))])


Window = tuple[int, int, int, int]
"""Top, left, height and width in data pixels."""

_AS_IT_IS = np.arange(256, dtype=np.uint8)


def _draw_window(rng: np.random.Generator, frame: AnnotatedFrame, size: int) -> tuple[Window, WorkingImage]:
    """Return a window round an object that appears, at `size` pixels, about as large as in prediction.

    And how it lies in the square of that size, which a narrow frame does not fill.
    """
    labels, working = frame.stack.labels[frame.frame], frame.stack.working
    ys, xs = np.nonzero(labels == rng.choice(frame.ids))
    pixel = rng.integers(len(ys))
    zoom = exp(rng.uniform(-log(_ZOOM), log(_ZOOM)))
    seen = min(size / zoom, max(working.rows, working.columns))  # pixels of prediction along a side of the square
    placed = []
    for length, there, centre in zip(
        labels.shape, (working.rows, working.columns), (ys[pixel], xs[pixel]), strict=True
    ):
        side = max(round(min(seen / there, 1.0) * length), 1)
        start = round(centre + rng.uniform(-_SHIFT, _SHIFT) * side - side / 2)
        placed.append((min(max(start, 0), length - side), side, max(round(min(there / seen, 1.0) * size), 1)))
    (top, height, rows), (left, width, columns) = placed
    return (top, left, height, width), WorkingImage(height, width, rows, columns, (size, size))


def _draw_shades(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return what each of the 256 intensities becomes."""
    gamma, gain, offset = exp(rng.normal(0, 0.15)), rng.uniform(0.85, 1.15), rng.uniform(-0.05, 0.05)
    shades = np.linspace(0, 1, 256) ** gamma * gain + offset
    return np.asarray(np.rint(shades.clip(0, 1) * 255), np.uint8)


def _cut(
    frames: Sequence[AnnotatedFrame], window: Window, working: WorkingImage, shades: NDArray[np.uint8], turn: int
) -> Clip:
    """Return a window of frames as working images, in one of its eight orientations, without chosen objects."""
    top, left, height, width = window
    images, labels = [], []
    for frame in frames:
        pixels = frame.stack.frames[frame.frame][top : top + height, left : left + width]
        images.append(working.image(shades[pixels], torch.device("cpu")))
        labels.append(_resampled(frame.stack.labels[frame.frame], window, working))
    image, label = torch.cat(images), np.stack(labels)
    quarters = turn % 4
    image, label = torch.rot90(image, quarters, (2, 3)), np.rot90(label, quarters, (1, 2))
    if turn >= 4:
        image, label = image.flip(3), label[:, :, ::-1]
    return Clip(image, _renumbered(label), np.empty(0, np.intp))


def _resampled(labels: NDArray[np.integer], window: Window, working: WorkingImage) -> NDArray[np.integer]:
    """Return the nearest label of each working pixel of a window; 0 in the padding."""
    top, left, height, width = window
    rows = top + ((np.arange(working.rows) + 0.5) * (height / working.rows)).astype(int)
    columns = left + ((np.arange(working.columns) + 0.5) * (width / working.columns)).astype(int)
    nearest = np.zeros(working.size, labels.dtype)
    nearest[: working.rows, : working.columns] = labels[np.ix_(rows, columns)]
    return nearest


def _renumbered(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return the labels numbered from 1: ids in files may be in the billions, and are counted by number later."""
    ids = np.unique(labels)
    return np.ascontiguousarray(np.searchsorted(ids, labels) + int(ids[0] > 0), np.int32)
