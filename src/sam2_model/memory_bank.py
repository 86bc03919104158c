"""Which frames an object is remembered by (Ravi et al. 2024, section 4, "memory bank"). Integers only."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

MAX_POINTERS = 16
"""Reach of the object pointers, in frames; the current frame counts."""


class Direction(Enum):
    """Which way an object is followed through the frames."""

    FORWARD = 1
    BACKWARD = -1


class RecalledMemory(NamedTuple):
    """A spatial memory to attend to."""

    frame: int  # where it was made
    slot: int  # row of the temporal embedding: the last for prompted frames, age - 1 for the others


class RecalledPointer(NamedTuple):
    """An object pointer to attend to."""

    frame: int  # where it was made
    age: int  # distance in frames along the direction of travel


@dataclass(frozen=True, slots=True)
class Recall:
    """Everything one frame recalls, in the order in which it is attended to."""

    memories: tuple[RecalledMemory, ...]
    pointers: tuple[RecalledPointer, ...]

    def nearest(self, frame: int) -> int:
        """Return the remembered frame nearest to one; of two equally near, the one that is attended to first."""
        return min((m.frame for m in self.memories), key=lambda other: abs(other - frame))

    def before_nearest(self, frame: int) -> int | None:
        """Return the remembered frame next to the nearest, on its far side from `frame`; None without one."""
        nearest = self.nearest(frame)
        behind = [m.frame for m in self.memories if (m.frame < nearest) is (nearest < frame) and m.frame != nearest]
        return min(behind, key=lambda other: abs(other - nearest), default=None)


def nearest_conditioning(frame: int, conditioning: Sequence[int], limit: int | None) -> tuple[int, ...]:
    """Return the prompted frames to recall: the nearest on either side first, then by distance.

    Parameters
    ----------
    frame : int
        The current frame.
    conditioning : sequence of int
        Prompted frames, in the order in which they are attended to.
    limit : int, optional
        How many to choose; all of them when None.
    """
    if limit is None or len(conditioning) <= limit:
        return tuple(conditioning)
    before = max((f for f in conditioning if f < frame), default=None)
    after = min((f for f in conditioning if f >= frame), default=None)
    by_distance = sorted(conditioning, key=lambda f: (f not in (before, after), abs(f - frame)))
    chosen = set(by_distance[:limit])
    return tuple(f for f in conditioning if f in chosen)


def recall(
    frame: int,
    conditioning: Sequence[int],
    tracked: Collection[int],
    direction: Direction,
    *,
    num_memories: int,
    reach: int = MAX_POINTERS,
    max_conditioning: int | None = None,
) -> Recall:
    """Return what a frame recalls of one object.

    Parameters
    ----------
    frame : int
        The current frame.
    conditioning : sequence of int
        Prompted frames, in the order in which they are attended to.
    tracked : collection of int
        Frames that were followed without a prompt and may be recalled.
    direction : Direction
        Which way the object is followed: "recent" means behind the current frame.
    num_memories : int
        Temporal slots: one for prompted frames, the others for the most recent frames.
    reach : int
        Object pointers are recalled from fewer than this many frames back.
    max_conditioning : int, optional
        How many prompted frames to recall; all of them when None.

    Returns
    -------
    Recall
        Prompted frames, then recent frames from the oldest to the newest; pointers of prompted frames that lie
        behind, then of recent frames from the newest to the oldest.

    Notes
    -----
    A frame that is missing is skipped, not replaced by an older one. A prompted frame that `max_conditioning`
    leaves out may still be recalled as a recent one.
    """
    step = direction.value
    chosen = nearest_conditioning(frame, conditioning, max_conditioning)
    recent = (set(tracked) | set(conditioning)) - set(chosen)
    memories = [RecalledMemory(f, num_memories - 1) for f in chosen]
    memories += [
        RecalledMemory(frame - step * age, age - 1)
        for age in range(num_memories - 1, 0, -1)
        if frame - step * age in recent
    ]
    pointers = [RecalledPointer(f, step * (frame - f)) for f in chosen if step * (frame - f) >= 0]
    pointers += [RecalledPointer(frame - step * age, age) for age in range(1, reach) if frame - step * age in recent]
    return Recall(tuple(memories), tuple(pointers))
