"""The seam to the model: above it everything speaks data pixels and numpy; what is below is somebody else's.

`sam2_predictor.py` puts SAM 2 here; a remote model, or the disc-drawing one of the tests, would be one more file.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.prompts import Prompt
    from napari_sam2.results import ObjectMask


class Direction(Enum):
    """Which way objects are followed through a stack."""

    FORWARD = "forward"
    BACKWARD = "backward"


class Tracker(Protocol):
    """One stack in the model's hands: it remembers what is expensive, never what the user drew."""

    def prompt(self, frame: int, prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Say all there is to say of some objects on a frame, and get their masks, in order."""
        ...

    def forget(self, object_id: int, frame: int) -> None:
        """Take back what was said of an object on a frame."""
        ...

    def follow(self, frame: int, object_ids: Sequence[int], direction: Direction) -> tuple[ObjectMask, ...]:
        """Follow objects to a frame, next to the last one visited; prompted objects are repeated as they were said."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """A model that answers prompts. The tests of everything above run on one that draws discs."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def sha256(self) -> str:
        """Checksum of its weights."""
        ...

    @property
    def source(self) -> str:
        """Registry name or path by which it can be loaded again."""
        ...

    def working_size(self, height: int, width: int) -> int:
        """Side in pixels of the square image to which a frame of this size is resized."""
        ...

    def segment(self, image: NDArray[np.uint8], prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Answer prompts on one image, (Y, X, 3) uint8."""
        ...

    def open(self, frames: FrameStack) -> Tracker:
        """Begin work on a stack."""
        ...
