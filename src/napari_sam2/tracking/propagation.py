"""Which frames to visit, for which objects, in which order; and the visit itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_sam2.errors import OptionError
from napari_sam2.inference.predictor import Direction
from napari_sam2.prompts import is_absence
from napari_sam2.results import FrameResult, ObjectMask, ObjectScore, compose, label_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_sam2.prompts import PromptSet
    from napari_sam2.tracking.stack import TrackedStack

DirectionName = Literal["forward", "backward", "both"]
"""Which way to follow objects; "both" goes outward from each object's prompts."""

_PASSES = {
    "forward": (Direction.FORWARD,),
    "backward": (Direction.BACKWARD,),
    "both": (Direction.FORWARD, Direction.BACKWARD),
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit.

    Attributes
    ----------
    frame : int
        Where to.
    object_ids : tuple of int
        Whom to follow there.
    direction : Direction
        Which way.
    is_reported : bool
        Whether the result is asked for. A frame outside the range is visited all the same where the way from an
        object's prompts leads through it: its result must not depend on the range.
    """

    frame: int
    object_ids: tuple[int, ...]
    direction: Direction
    is_reported: bool = True


@dataclass(frozen=True, slots=True)
class PropagationPlan:
    """All visits, in order.

    Attributes
    ----------
    steps : tuple of Visit
        A forward pass, then a backward pass, as far as they were asked for.
    """

    steps: tuple[Visit, ...]

    @property
    def num_reports(self) -> int:
        """Number of steps that are reported."""
        return sum(step.is_reported for step in self.steps)

    @property
    def reports(self) -> Counter[int]:
        """Frame to the number of steps that report on it: two where the passes overlap."""
        return Counter(step.frame for step in self.steps if step.is_reported)


def plan_propagation(
    prompts: PromptSet,
    num_frames: int,
    *,
    direction: DirectionName = "both",
    start: int | None = None,
    stop: int | None = None,
) -> PropagationPlan:
    """Plan how prompted objects are followed.

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
    origins = _origins(prompts)
    steps: list[Visit] = []
    for one in _PASSES[direction]:
        if one is Direction.FORWARD:
            frames = range(min(origins.values()), last + 1)
            steps += _pass(frames, one, {i: range(origin, last + 1) for i, origin in origins.items()}, first, last)
        else:
            # The first frame is repeated here only where no forward pass has reported on it.
            skip = 1 if direction == "both" else 0
            frames = range(max(origins.values()), first - 1, -1)
            steps += _pass(frames, one, {i: range(first, o + 1 - skip) for i, o in origins.items()}, first, last)
    if not any(step.is_reported for step in steps):
        raise OptionError(
            f"No object can be followed {direction} into frames {first} to {last}. Widen the range, prompt an object "
            "nearer to it, or use both directions."
        )
    return PropagationPlan(tuple(steps))


def remaining_steps(
    session: TrackedStack, steps: Sequence[Visit], *, is_held: Callable[[int, int], bool] | None = None
) -> tuple[Visit, ...]:
    """Leave out of some steps what a session has reported already and no prompt has undone since.

    This one rule resumes a propagation that was stopped, follows an object that was added late, follows a corrected
    object anew, and widens a range, each without touching what stands.

    Parameters
    ----------
    session : TrackedStack
        What was done.
    steps : sequence of Visit
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
    for step in steps:
        for object_id in step.object_ids:
            passes.setdefault((object_id, step.direction), []).append(step)
    wanted: set[tuple[int, Direction, int]] = set()
    for (object_id, direction), one_pass in passes.items():
        missing = [
            number
            for number, step in enumerate(one_pass)
            if step.is_reported
            and not (
                session.is_reported(object_id, step.frame, direction)
                and (is_held is None or is_held(object_id, step.frame))
            )
        ]
        if missing:
            goes_on = missing[0] > 0 and one_pass[missing[0] - 1].frame == session.head(object_id, direction)
            kept = one_pass[missing[0] if goes_on else 0 : missing[-1] + 1]
            wanted |= {(object_id, direction, step.frame) for step in kept}
    left = (
        replace(step, object_ids=tuple(i for i in step.object_ids if (i, step.direction, step.frame) in wanted))
        for step in steps
    )
    return tuple(step for step in left if step.object_ids)


def run(session: TrackedStack, steps: Sequence[Visit]) -> Iterator[FrameResult]:
    """Make visits, one per item; closing the generator stops between frames, and the rest of the steps resumes.

    Yields
    ------
    FrameResult
        One per step that is reported.
    """
    for step in steps:
        result = session.follow(step.frame, step.object_ids, step.direction, is_reported=step.is_reported)
        if step.is_reported:
            yield result


@dataclass(frozen=True, slots=True, eq=False)
class LabelFrame:
    """One finished visit: the frame's labels so far, and the scores of the objects that were visited.

    Attributes
    ----------
    frame : int
        Which frame.
    labels : ndarray
        Shape (Y, X), unsigned: all objects found on this frame until now.
    scores : tuple of ObjectScore
        One row per object of this visit.
    """

    frame: int
    labels: NDArray[np.unsignedinteger]
    scores: tuple[ObjectScore, ...]


def label_frames(session: TrackedStack, plan: PropagationPlan) -> Iterator[LabelFrame]:
    """Make all visits of a plan and put what they find into label images.

    A frame on which both passes report is yielded twice, the second time with the objects of both. Until then the
    masks of the first are kept: windows round its objects, for every frame that lies between objects' first prompts.
    """
    dtype = label_dtype(session.prompts.object_ids)
    outstanding = plan.reports
    kept: dict[int, tuple[ObjectMask, ...]] = {}
    for result in run(session, plan.steps):
        objects = (*kept.pop(result.frame, ()), *result.objects)
        outstanding[result.frame] -= 1
        if outstanding[result.frame]:
            kept[result.frame] = objects
        labels = compose(objects, session.frames.height, session.frames.width, dtype)
        yield LabelFrame(result.frame, labels, result.scores)


def _pass(frames: range, direction: Direction, extents: Mapping[int, range], first: int, last: int) -> Iterator[Visit]:
    for frame in frames:
        object_ids = tuple(i for i, extent in sorted(extents.items()) if frame in extent)
        if object_ids:
            yield Visit(frame, object_ids, direction, is_reported=first <= frame <= last)


def _origins(prompts: PromptSet) -> dict[int, int]:
    """First frame on which each object was shown."""
    shown: dict[int, int] = {}
    for target, given in prompts.items():
        if not is_absence(given):
            shown[target.object_id] = min(target.frame, shown.get(target.object_id, target.frame))
    return shown


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
