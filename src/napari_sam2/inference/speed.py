"""How long a model takes on this machine: what was measured while it worked, and a rough estimate before that."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from enum import Enum
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT_TIMES = 20
"""Newest times of a kind that a typical one is taken from."""

EFFICIENCY = 0.4
"""Share of the rate of a large matrix multiplication that whole models reach on a CPU, to a factor of two.

Measured with one thread, float32, against 1024 x 1024 matrices: `nano` at 256, 512 and 1024 px, with one object and
with four, 0.21 to 0.28, because its tensors are small; `tiny` at 1024 px 0.89.
"""


class Activity(Enum):
    """What a model is doing."""

    READY = "ready"
    ANSWERING = "answering prompts"
    FOLLOWING = "following objects"


@dataclass(frozen=True, slots=True)
class FrameTime:
    """How long one frame took.

    Attributes
    ----------
    source : str
        Registry name or path by which the model was loaded.
    device : str
        Where it computed.
    activity : Activity
        What it did.
    working_size : int
        Side of the working image in pixels.
    num_objects : int
        Objects that had to be computed.
    seconds : float
        The time; of several like frames, the typical one.
    """

    source: str
    device: str
    activity: Activity
    working_size: int
    num_objects: int
    seconds: float


class SpeedLog:
    """The newest times of each model at each kind of work. May be written on one thread and read on another."""

    def __init__(self) -> None:
        self._times: dict[tuple[object, ...], deque[FrameTime]] = {}
        self._lock = threading.Lock()

    def record(self, time: FrameTime) -> None:
        """Add a time; the oldest of its kind is forgotten."""
        key = (time.source, time.device, time.activity, time.working_size, time.num_objects)
        with self._lock:
            # Taken out and put in again: the kind that was seen last comes last.
            self._times[key] = times = self._times.pop(key, deque(maxlen=KEPT_TIMES))
            times.append(time)

    def typical(self, source: str, activity: Activity, device: str | None = None) -> FrameTime | None:
        """Return the median time of the kind of frame that a model worked on last.

        Parameters
        ----------
        source : str
            Registry name or path of the model.
        activity : Activity
            What it did.
        device : str, optional
            Where; anywhere when omitted.

        Returns
        -------
        FrameTime or None
            None if it has not done that yet.
        """
        with self._lock:
            for times in reversed(self._times.values()):
                newest = times[-1]
                if newest.source == source and newest.activity is activity and device in (None, newest.device):
                    seconds = median(time.seconds for time in times)
                    return FrameTime(source, newest.device, activity, newest.working_size, newest.num_objects, seconds)
        return None


_SIZES = {
    "tiny": {1024: (146.20, 310.43)},
    "small": {1024: (180.04, 310.43)},
    "base-plus": {1024: (323.38, 310.43)},
    "large": {1024: (911.41, 310.43)},
}

FRAME_COSTS: Mapping[str, Mapping[int, tuple[float, float]]] = (
    {"nano": {256: (1.10, 0.21), 512: (4.70, 0.61), 1024: (23.64, 2.22)}}
    | _SIZES
    | {f"{name}-2.0": costs for name, costs in _SIZES.items()}
)
"""What a frame of a propagation costs, by model and working size, in thousands of millions of multiply-adds.

First to encode the frame, once; then for each object: recall with a full memory bank, decode, remember (in `nano`, of
an object that stays in its view). Half of what `torch.utils.flop_counter` counts on the meta device; the tests count
again.
"""


def estimate_seconds(name: str, working_size: int, multiply_adds_per_s: float) -> float | None:
    """Guess the time for a frame of a propagation with one object on the CPU.

    Parameters
    ----------
    name : str
        Name of a model.
    working_size : int
        Side of the working image in pixels.
    multiply_adds_per_s : float
        Rate of a large float32 matrix multiplication on this machine, with the threads that the model gets.

    Returns
    -------
    float or None
        None for a model or a size whose cost is not known.
    """
    cost = FRAME_COSTS.get(name, {}).get(working_size)
    if cost is None:
        return None
    return sum(cost) * 1e9 / (EFFICIENCY * multiply_adds_per_s)


def measured_sentence(following: FrameTime | None, answering: FrameTime | None) -> str:
    """Return how fast a model was, for people; empty if nothing was measured."""
    parts = []
    if following is not None:
        parts.append(f"{_duration(following.seconds)} a frame{_circumstances(following)}")
    if answering is not None:
        parts.append(f"{_duration(answering.seconds)} an answer{'' if parts else _circumstances(answering)}")
    return f"{', '.join(parts)}: measured here" if parts else ""


def estimate_sentence(seconds: float, working_size: int) -> str:
    """Return how fast a model may be, so that nobody takes it for measured."""
    # One digit is all that the estimate is good for.
    rough = float(f"{seconds:.1g}")
    return f"about {_duration(rough)} a frame with 1 object at {working_size} px: estimated, not measured yet"


def _circumstances(time: FrameTime) -> str:
    objects = "1 object" if time.num_objects == 1 else f"{time.num_objects} objects"
    return f" with {objects} at {time.working_size} px"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{float(f'{seconds * 1000:.2g}'):.0f} ms"
    return f"{float(f'{seconds:.2g}'):g} s"
