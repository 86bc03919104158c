"""How committed labels came about, step by step, so that they can be made again from the image and the prompts.

A step is a commit of masks that a model computed, a renumbering of an object, or frames as the user left them. Steps
act frame by frame, so a frame edited by hand replaces all that happened on it before.
"""

from __future__ import annotations

import hashlib
import zlib
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_sam2.errors import SessionError
from sam2_model.config import Framing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from napari_sam2.frames import ContrastLimits
    from napari_sam2.labels.merging import CommitPolicy
    from napari_sam2.prompts import Prompt


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """A model that computed masks, and how it saw the image.

    Attributes
    ----------
    name : str
        Its name.
    sha256 : str
        Checksum of its weights, 64 hexadecimal digits.
    image_size : int
        Longer side in pixels of the image that it saw.
    source : str, optional
        Registry name or path by which it was loaded. None means its name.
    contrast_limits : (float, float) or one pair per channel, optional
        Intensities that it saw as black and white. None means those of the session.
    channels : tuple of int, optional
        Channels of the file that it saw. None means those of the session.
    framing : Framing
        How it saw it. Sessions that do not say were written when frames were stretched into a square.
    drops_islands : bool
        Whether its answers to clicks lost the islands that no click touched. Sessions that do not say were written when
        they stayed.
    """

    name: str
    sha256: str
    image_size: int
    source: str | None = None
    contrast_limits: ContrastLimits | None = None
    channels: tuple[int, ...] | None = None
    framing: Framing = Framing.SQUARE
    drops_islands: bool = False


Origin = tuple[int, "tuple[Prompt, ...]", ModelUsed]
"""What a mask depends on, whatever its frame: the object, its prompts and the model."""


@dataclass(frozen=True, slots=True)
class MaskSource:
    """Where masks of one object come from: one model, one state of its prompts, and the frames.

    Attributes
    ----------
    object_id : int
        The object.
    prompts : tuple of Prompt
        All prompts of the object at that time, in order, on any frames.
    model : ModelUsed
        The model.
    frames : tuple of int
        Frames of which there is a mask, ascending.

    Raises
    ------
    SessionError
        If a prompt is of another object, or there is no prompt or no frame, or frames are not ascending.
    """

    object_id: int
    prompts: tuple[Prompt, ...]
    model: ModelUsed
    frames: tuple[int, ...]

    def __post_init__(self) -> None:
        others = {prompt.object_id for prompt in self.prompts} - {self.object_id}
        if others:
            raise SessionError(
                f"Masks of object {self.object_id} cannot come from prompts of object {min(others)}. Correct either."
            )
        if not self.prompts or not self.frames:
            missing = "no prompts" if not self.prompts else "no frames"
            raise SessionError(f"Masks of object {self.object_id} have {missing}. Leave them out.")
        if any(second <= first for first, second in zip(self.frames, self.frames[1:], strict=False)):
            raise SessionError(
                f"The frames of object {self.object_id} are not ascending: {self.frames}. Sort them, each once."
            )

    @property
    def origin(self) -> Origin:
        """What the masks depend on; sources that differ in their frames alone have the same."""
        return self.object_id, self.prompts, self.model


@dataclass(frozen=True, slots=True)
class Commit:
    """Masks that were moved into the committed labels.

    Attributes
    ----------
    sources : tuple of MaskSource
        Where the masks come from: all that were shown on the frames of the commit, locked objects included, because
        pixels where objects overlap belong to one of them.
    policy : CommitPolicy
        What became of pixels that belonged to a committed object.
    locked : tuple of int
        Objects that neither lost nor received a pixel.
    drops_specks : bool
        Whether specks that remain of masks beside others were dropped (see `compose`); before there was a choice they
        were kept.
    """

    sources: tuple[MaskSource, ...]
    policy: CommitPolicy
    locked: tuple[int, ...] = ()
    drops_specks: bool = False


@dataclass(frozen=True, slots=True)
class Renumbering:
    """An object that became part of another, or of the background.

    Attributes
    ----------
    old, new : int
        Its id before and after; 0 deletes it.
    frames : tuple of int, optional
        Frames on which it did; all when None. Set by session files alone.
    """

    old: int
    new: int
    frames: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class PackedPlane:
    """A label image of one frame, compressed. Equal planes of one type are equal.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    dtype : str
        Name of the type of its values, an integer.
    data : bytes
        The values in row-major order, lowest byte first, compressed by zlib.
    """

    shape: tuple[int, int]
    dtype: str
    data: bytes

    @classmethod
    def pack(cls, plane: NDArray[np.integer]) -> Self:
        """Return a plane, (Y, X), compressed."""
        rows, columns = plane.shape
        stored = np.asarray(plane, plane.dtype.newbyteorder("<"))
        # Level 1: objects are runs of equal numbers, which any level finds, and the user is waiting.
        return cls((rows, columns), plane.dtype.name, zlib.compress(stored.tobytes(), 1))

    def unpack(self) -> NDArray[np.integer]:
        """Return the plane, (Y, X), the caller's own.

        Raises
        ------
        SessionError
            If the data is damaged.
        """
        dtype = np.dtype(self.dtype)
        length = self.shape[0] * self.shape[1] * dtype.itemsize
        expander = zlib.decompressobj()
        try:
            stored = expander.decompress(self.data, length + 1)  # not more than belongs there, whatever the data says
        except zlib.error as error:
            raise SessionError(f"A frame edited by hand is damaged ({error}). Use another copy of the file.") from error
        if len(stored) != length:
            raise SessionError(
                f"A frame edited by hand has {self.shape} pixels of {dtype}, and its data has another length. "
                "Use another copy of the file."
            )
        return np.frombuffer(stored, dtype.newbyteorder("<")).reshape(self.shape).astype(dtype)

    @property
    def digest(self) -> str:
        """SHA-256 of the data."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class HandEdit:
    """Frames of the committed labels as the user left them: painted, undone, or there from the start.

    Attributes
    ----------
    planes : mapping of int to PackedPlane
        Everything there is on these frames.
    """

    planes: Mapping[int, PackedPlane]


Step = Commit | Renumbering | HandEdit


class WorkLog:
    """Steps of one committed label stack, which is empty before the first.

    Parameters
    ----------
    steps : iterable of Step
        What was done before.
    """

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self._steps: tuple[Step, ...] = tuple(steps)
        self._touched: frozenset[int] = frozenset()
        self._since_last: frozenset[int] = frozenset()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps, in order; complete once `record_touched` has added the frames that were touched."""
        return self._steps

    @property
    def touched(self) -> frozenset[int]:
        """Frames whose content is not the result of the steps, until `record_touched`."""
        return self._touched

    def record(self, step: Step) -> None:
        """Add a step that has just been made."""
        self._steps += (step,)
        self._since_last = frozenset()

    def withdraw(self, step: Step) -> bool:
        """Remove a step that has just been undone.

        Returns
        -------
        bool
            False if it is no longer the last one, or frames were touched since: it stays then, and its frames are to
            be touched.
        """
        if not self._steps or self._steps[-1] is not step or self._since_last:
            return False
        self._steps = self._steps[:-1]
        # Whether these were touched before the step that is the last one now is not known any more.
        self._since_last = self._touched
        return True

    def touch(self, frames: Iterable[int]) -> None:
        """Mark frames that have changed, or are going to, other than by a step that is recorded."""
        touched = frozenset(frames)
        self._touched |= touched
        self._since_last |= touched

    def copy(self) -> Self:
        """Return a log with the same steps that can be changed by itself."""
        return copy(self)  # nothing in it is changed in place

    def record_touched(self, read_plane: Callable[[int], NDArray[np.integer]]) -> None:
        """Add the frames that were touched, as they are now, as edited by hand.

        Parameters
        ----------
        read_plane : callable
            Returns the committed labels of a frame, (Y, X). If it raises, nothing has changed.
        """
        if not self._touched:
            return
        known = set().union(*(_frames_of(step) for step in self._steps))
        planes: dict[int, PackedPlane] = {}
        for frame in sorted(self._touched):
            plane = read_plane(frame)
            if frame in known or plane.any():
                planes[frame] = PackedPlane.pack(plane)
        self._touched = frozenset()
        last = self._steps[-1] if self._steps else None
        if isinstance(last, HandEdit):
            self._steps = (*self._steps[:-1], HandEdit({**last.planes, **planes}))
        elif planes:
            self._steps += (HandEdit(planes),)


def _frames_of(step: Step) -> Iterable[int]:
    """Return the frames on which a step leaves pixels."""
    match step:
        case Commit(sources=sources):
            return {frame for source in sources for frame in source.frames}
        case HandEdit(planes=planes):
            return planes.keys()
        case Renumbering():
            return ()
