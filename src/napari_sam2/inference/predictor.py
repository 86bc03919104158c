"""The seam to the model: above it there are data pixels and numpy alone.

`sam2.py` puts SAM 2 here; a remote model, or the disc-drawing one of the tests, would be one more file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.prompts import MaskPrompt, Prompt
    from napari_sam2.proposals import Proposal
    from napari_sam2.results import ObjectMask
    from sam2_model.automatic.mask_generator import MaskGeneratorOptions
    from sam2_model.config import Framing
    from sam2_model.memory_bank import Direction


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What one object looks like to a model, so that others can be compared with it, on this frame or another.

    Attributes
    ----------
    features : mapping of float to ndarray of float32, shape (C,)
        The model's own features of the object, by pixels of the working image per pixel of the frame. Only those of one
        model can be compared.
    area_px : int
        Pixels of the object.
    is_wanted : bool
        Whether such objects are looked for, or those unlike it.
    """

    features: Mapping[float, NDArray[np.float32]]
    area_px: int
    is_wanted: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class ShownObject:
    """An object that is shown as an example, before a model has described it.

    Attributes
    ----------
    frames : FrameStack
        Where it is, which may be another image than the one that is searched.
    frame : int
        On which frame.
    mask : MaskPrompt
        What it covers there.
    is_wanted : bool
        As of `Example`.
    """

    frames: FrameStack
    frame: int
    mask: MaskPrompt
    is_wanted: bool = True

    def described(self, predictor: Predictor) -> Example:
        """Return what it looks like to a model."""
        (example,) = predictor.describe(self.frames, self.frame, [self.mask])
        return replace(example, is_wanted=self.is_wanted)


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What is looked for in a frame.

    Attributes
    ----------
    seeds : tuple of (float, float) or None
        Rows and columns, in data pixels, of which each lies on one object; None lets the model find them.
    window : tuple of slice or None
        Rows and columns of the frame that are searched; None for all of it.
    like : tuple of Example
        Proposals are compared with these, and say how much they are like them; empty for no comparison.
    grid : MaskGeneratorOptions or None
        How a model without an instance decoder asks for masks, or None for the published way.
    """

    seeds: tuple[tuple[float, float], ...] | None = None
    window: tuple[slice, slice] | None = None
    like: tuple[Example, ...] = ()
    grid: MaskGeneratorOptions | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FoundPart:
    """What was found in one part of a frame.

    Attributes
    ----------
    proposals : tuple of Proposal
        Objects whose middle lies in this part, in data pixels of the whole frame.
    done, total : int
        Parts that are done with this one, and of the frame.
    """

    proposals: tuple[Proposal, ...]
    done: int
    total: int


class Tracker(Protocol):
    """One stack in the hands of a model, with what it needs to answer prompts and follow objects."""

    def prompt(self, frame: int, prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Replace the prompts of some objects on a frame, and return their masks, in the same order."""
        ...

    def has_seen(self, frame: int) -> bool:
        """Whether a frame needs no looking at, because what was seen of it is still known."""
        ...

    def forget(self, object_id: int, frame: int) -> None:
        """Remove the prompts of an object on a frame."""
        ...

    def follow(self, frame: int, object_ids: Sequence[int], direction: Direction) -> tuple[ObjectMask, ...]:
        """Follow objects to a frame next to the last one visited, and return their masks; prompted ones keep theirs."""
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

    @property
    def framing(self) -> Framing:
        """How frames become working images; noted with what it computes."""
        ...

    @property
    def drops_islands(self) -> bool:
        """Whether masks that answer clicks lose the islands that no click touches; noted with what it computes."""
        ...

    def working_size(self, height: int, width: int) -> int:
        """Longer side in pixels of the image to which a frame of this size is resized."""
        ...

    def scale(self, height: int, width: int) -> tuple[float, float]:
        """Pixels that it sees for each of a frame of this size, along its rows and columns."""
        ...

    def segment(self, image: NDArray[np.uint8], prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Return the masks of prompted objects on one image, (Y, X, 3) uint8."""
        ...

    def open(self, frames: FrameStack) -> Tracker:
        """Return a tracker for a stack."""
        ...

    def propose(self, frames: FrameStack, frame: int, search: Search) -> Iterator[FoundPart]:
        """Find objects by itself in one frame, part by part; closing the iterator stops between parts."""
        ...

    def describe(self, frames: FrameStack, frame: int, masks: Sequence[MaskPrompt]) -> tuple[Example, ...]:
        """Return what objects on one frame look like, as examples of what is wanted."""
        ...
