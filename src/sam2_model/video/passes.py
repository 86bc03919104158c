"""Which frames are visited for which objects, in which order. Integers only: no frames, no network, no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sam2_model.memory_bank import Direction


@dataclass(frozen=True, slots=True)
class Visit:
    """One frame to follow objects to.

    Attributes
    ----------
    frame : int
        The frame.
    object_ids : tuple of int
        The objects.
    direction : Direction
        Which way they are followed.
    is_reported : bool
        Whether the result is asked for. A frame outside the range is visited all the same where the way from an
        object's prompts leads through it: its result must not depend on the range.
    """

    frame: int
    object_ids: tuple[int, ...]
    direction: Direction
    is_reported: bool = True


def plan_visits(origins: Mapping[int, int], directions: Sequence[Direction], first: int, last: int) -> Iterator[Visit]:
    """Yield the visits that follow objects into a range of frames.

    An object is followed forward from its origin, the first frame where it was shown, and backward before that frame.
    Together the passes visit it once on every frame: the origins belong to the first of them.

    Parameters
    ----------
    origins : mapping of int to int
        Object id to its origin; the objects of a visit keep this order.
    directions : sequence of Direction
        The passes, in order.
    first, last : int
        First and last frame to report on, both included.

    Yields
    ------
    Visit
        Pass by pass, each from the first origin on its way to the end of the range.
    """
    for number, direction in enumerate(directions):
        step = direction.value
        end = last if direction is Direction.FORWARD else first
        starts = {object_id: origin + (step if number else 0) for object_id, origin in origins.items()}
        begin = min(starts.values(), key=lambda frame: step * frame, default=end + step)
        for frame in range(begin, end + step, step):
            object_ids = tuple(i for i, start in starts.items() if step * (frame - start) >= 0)
            yield Visit(frame, object_ids, direction, is_reported=first <= frame <= last)
