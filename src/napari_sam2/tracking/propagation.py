"""A propagation from prompts to labels: its plan, what is left of it, and the visits made one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_sam2.errors import OptionError
from napari_sam2.labels.composing import compose, label_dtype
from napari_sam2.prompt_checks import is_absence
from napari_sam2.prompts import Target
from sam2_model.memory_bank import Direction
from sam2_model.video.passes import Visit, plan_visits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_sam2.prompts import Prompt, PromptSet
    from napari_sam2.results import FrameResult, ObjectScore
    from napari_sam2.tracking.stack import TrackedStack

DirectionName = Literal["forward", "backward", "both"]
"""Which way to follow objects; "both" goes outward from each object's prompts."""

_PASSES = {
    "forward": (Direction.FORWARD,),
    "backward": (Direction.BACKWARD,),
    "both": (Direction.FORWARD, Direction.BACKWARD),
}


def plan_propagation(
    prompts: PromptSet,
    num_frames: int,
    *,
    direction: DirectionName = "both",
    start: int | None = None,
    stop: int | None = None,
) -> tuple[Visit, ...]:
    """Return the plan by which prompted objects are followed.

    An object is followed forward from the first frame where it was shown, and backward before that frame. It is visited
    once on every frame; the first frame itself belongs to the forward pass, if there is one.

    Parameters
    ----------
    prompts : PromptSet
        Checked against the stack.
    num_frames : int
        Length of the stack.
    direction : {"both", "forward", "backward"}
        Passes to make.
    start, stop : int, optional
        First and last frame to report on; the whole stack when omitted.

    Raises
    ------
    OptionError
        If the direction is unknown, the range is empty or outside the stack, or none of the objects can be followed
        into it.
    """
    first, last = _checked_range(num_frames, start, stop)
    if direction not in _PASSES:
        raise OptionError(f"Direction {direction!r} is not known. Use one of: {', '.join(_PASSES)}.")
    visits = tuple(plan_visits(_origins(prompts), _PASSES[direction], first, last))
    if not any(visit.is_reported for visit in visits):
        raise OptionError(
            f"No object can be followed {direction} into frames {first} to {last}. Widen the range, prompt an object "
            "nearer to it, or use both directions."
        )
    return visits


def frames_reached(
    prompts: PromptSet,
    num_frames: int,
    *,
    direction: DirectionName = "both",
    start: int | None = None,
    stop: int | None = None,
) -> dict[int, range]:
    """Return the frames on which `plan_propagation` reports, by object; nothing of objects that it does not reach.

    Parameters as of `plan_propagation`, but for a range that ends where the stack does.
    """
    first, last = max(0 if start is None else start, 0), min(num_frames - 1 if stop is None else stop, num_frames - 1)
    reached = {}
    for object_id, origin in _origins(prompts).items():
        frames = range(
            max(first, origin) if direction == "forward" else first,
            min(last, origin) + 1 if direction == "backward" else last + 1,
        )
        if frames:
            reached[object_id] = frames
    return reached


def remaining_visits(
    stack: TrackedStack, visits: Sequence[Visit], *, is_held: Callable[[int, int], bool] | None = None
) -> tuple[Visit, ...]:
    """Return what is left of some visits: without results that were reported and that no prompt has undone since.

    This one rule resumes a propagation that was stopped, follows an object that was added late, follows a corrected
    object anew, and widens a range, each without touching what stands.

    Parameters
    ----------
    stack : TrackedStack
        What was done.
    visits : sequence of Visit
        What is wanted.
    is_held : callable, optional
        Whether the result for an object (first argument) on a frame (second) is still at hand; all are when omitted.

    Returns
    -------
    tuple of Visit
        An object goes on from where it was followed to last, or begins again where it was shown first, because
        memories run through every frame in between.
    """
    passes: dict[tuple[int, Direction], list[Visit]] = {}
    for visit in visits:
        for object_id in visit.object_ids:
            passes.setdefault((object_id, visit.direction), []).append(visit)
    wanted: set[tuple[int, Direction, int]] = set()
    for (object_id, direction), one_pass in passes.items():
        missing = [
            number
            for number, visit in enumerate(one_pass)
            if visit.is_reported
            and not (
                stack.is_reported(object_id, visit.frame, direction)
                and (is_held is None or is_held(object_id, visit.frame))
            )
        ]
        if missing:
            goes_on = missing[0] > 0 and one_pass[missing[0] - 1].frame == stack.head(object_id, direction)
            kept = one_pass[missing[0] if goes_on else 0 : missing[-1] + 1]
            wanted |= {(object_id, direction, visit.frame) for visit in kept}
    left = (
        replace(visit, object_ids=tuple(i for i in visit.object_ids if (i, visit.direction, visit.frame) in wanted))
        for visit in visits
    )
    return tuple(visit for visit in left if visit.object_ids)


def run(stack: TrackedStack, visits: Sequence[Visit]) -> Iterator[FrameResult]:
    """Make visits one by one; closing the generator stops between frames, and the rest of the visits resumes.

    Yields
    ------
    FrameResult
        One per visit that is reported.
    """
    for visit in visits:
        result = stack.follow(visit.frame, visit.object_ids, visit.direction, is_reported=visit.is_reported)
        if visit.is_reported:
            yield result


@dataclass(frozen=True, slots=True, eq=False)
class LabelFrame:
    """What one visit found: the frame's labels so far, and the scores of the objects that were visited.

    Attributes
    ----------
    frame : int
        Which frame.
    labels : ndarray
        Shape (Y, X), unsigned: all objects found on this frame until now.
    scores : tuple of ObjectScore
        One row per object that was looked for on this frame until now, with its area in these labels.
    num_specks : int
        Specks that were dropped where masks were put together; see `compose`.
    """

    frame: int
    labels: NDArray[np.unsignedinteger]
    scores: tuple[ObjectScore, ...]
    num_specks: int = 0


def label_frames(stack: TrackedStack, visits: Sequence[Visit]) -> Iterator[LabelFrame]:
    """Make all visits of a plan, and yield the label images of what they find.

    A frame on which both passes report is yielded twice, the second time with the objects of both. Until then the
    masks of the first are kept: windows round its objects, for every frame that lies between objects' first prompts.
    """
    dtype = label_dtype(stack.prompts.object_ids)
    outstanding = Counter(visit.frame for visit in visits if visit.is_reported)  # two where the passes overlap
    kept: dict[int, FrameResult] = {}
    for result in run(stack, visits):
        frame, objects, scores = result.frame, result.objects, result.scores
        if frame in kept:
            first = kept.pop(frame)
            objects, scores = (*first.objects, *objects), (*first.scores, *scores)
        outstanding[frame] -= 1
        if outstanding[frame]:
            kept[frame] = result
        prompts_of = partial(_prompts_on, stack.prompts, frame)
        composed = compose(objects, stack.frames.height, stack.frames.width, dtype, prompts_of=prompts_of)
        yield LabelFrame(frame, composed.labels, composed.counted(scores), composed.num_specks)


def _prompts_on(prompts: PromptSet, frame: int, object_id: int) -> tuple[Prompt, ...]:
    return prompts.get(Target(object_id, frame), ())


def _origins(prompts: PromptSet) -> dict[int, int]:
    """Return the first frame on which each object was shown, in order of object ids."""
    shown: dict[int, int] = {}
    for target, given in prompts.items():
        if not is_absence(given):
            shown[target.object_id] = min(target.frame, shown.get(target.object_id, target.frame))
    return dict(sorted(shown.items()))


def _checked_range(num_frames: int, start: int | None, stop: int | None) -> tuple[int, int]:
    first, last = 0 if start is None else start, num_frames - 1 if stop is None else stop
    for name, frame in (("start", first), ("stop", last)):
        if isinstance(frame, bool) or not isinstance(frame, int | np.integer):
            raise OptionError(f"{name} is {frame!r}. Use the number of a frame, from 0.")
        if not 0 <= frame < num_frames:
            raise OptionError(f"{name} is {frame}, and the stack has frames 0 to {num_frames - 1}. Choose one of them.")
    if first > last:
        raise OptionError(f"The range from {first} to {last} is empty: start must not come after stop. Swap them.")
    return int(first), int(last)
