"""What the user asks for: points, boxes and masks, each for one object on one frame.

Coordinates are (y, x) in data pixels; an integer is a pixel's centre. Every value here is immutable, so a
`PromptSet` is a snapshot that can be compared with a later one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import PromptError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_OBJECT_ID = 2**32 - 1
"""Largest object id that fits a label image (uint32)."""

NUM_CANDIDATES = 3
"""Masks that the model has for a click: numbered from 0, mostly a part, the whole and a group."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One object on one frame: what a prompt is for.

    Attributes
    ----------
    object_id : int
        The object, and its value in the label image.
    frame : int
        Position in the stack, from 0.
    """

    object_id: int
    frame: int


@dataclass(frozen=True, slots=True)
class PointPrompt:
    """A click on an object, or on what does not belong to it.

    Attributes
    ----------
    object_id : int
        The object, from 1.
    frame : int
        The frame, from 0.
    y, x : float
        Position in data pixels.
    positive : bool
        True for a point of the object, False for a point that is not.
    candidate : int, optional
        Which of the model's three masks is meant, 0, 1 or 2: mostly a part, the whole and a group, in no certain order.
        None leaves the choice to the model. That of the last point of an object on a frame counts.

    Raises
    ------
    PromptError
        If the object id, the frame or a coordinate is not a usable number, or if a candidate is none of the three, or
        is given with a point that is not on the object.
    """

    object_id: int
    frame: int
    y: float
    x: float
    positive: bool = field(default=True, kw_only=True)
    candidate: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _set_target(self, self.object_id, self.frame)
        for name in ("y", "x"):
            object.__setattr__(self, name, _finite(getattr(self, name), f"Point coordinate {name}"))
        if not isinstance(self.positive, bool | np.bool_):
            raise PromptError(f"positive is {self.positive!r}. Use True or False.")
        object.__setattr__(self, "positive", bool(self.positive))
        if self.candidate is not None:
            object.__setattr__(self, "candidate", self._checked_candidate(self.candidate))

    def _checked_candidate(self, candidate: object) -> int:
        is_whole = isinstance(candidate, int | np.integer) and not isinstance(candidate, bool)
        if not is_whole or candidate not in range(NUM_CANDIDATES):
            raise PromptError(
                f"candidate is {candidate!r}. Use 0, 1 or 2, one of the model's three masks, or None for the one that "
                "it thinks best."
            )
        if not self.positive:
            raise PromptError(
                f"Candidate {candidate} is chosen with a negative point, and it is a choice among masks of what was "
                "clicked. Choose it with a positive point, or leave it out."
            )
        return int(candidate)  # type: ignore[call-overload, no-any-return]

    @property
    def target(self) -> Target:
        """The object and frame this prompt is for."""
        return Target(self.object_id, self.frame)


@dataclass(frozen=True, slots=True)
class BoxPrompt:
    """A rectangle round an object; it includes the pixels at both its ends.

    It may reach beyond the image: the model is given the part inside.

    Attributes
    ----------
    object_id : int
        The object, from 1.
    frame : int
        The frame, from 0.
    y_min, x_min, y_max, x_max : float
        Two opposite corners in data pixels.

    Raises
    ------
    PromptError
        If the object id, the frame or a coordinate is not a usable number, or if the box is upside down or has no
        extent. A box without extent is what a click leaves behind, not a box round a one-pixel object.
    """

    object_id: int
    frame: int
    y_min: float
    x_min: float
    y_max: float
    x_max: float

    def __post_init__(self) -> None:
        _set_target(self, self.object_id, self.frame)
        for name in ("y_min", "x_min", "y_max", "x_max"):
            object.__setattr__(self, name, _finite(getattr(self, name), f"Box corner {name}"))
        for axis, low, high in (("y", self.y_min, self.y_max), ("x", self.x_min, self.x_max)):
            if low == high:
                raise PromptError(
                    f"Box is empty: {axis}_min and {axis}_max are both {low:g}. Drag the box over the object, "
                    "or use a point prompt for a click."
                )
            if low > high:
                raise PromptError(
                    f"Box ({axis} {low:g} to {high:g}) is upside down: {axis}_min must be below {axis}_max. "
                    "Draw it again or swap the corners."
                )

    @property
    def target(self) -> Target:
        """The object and frame this prompt is for."""
        return Target(self.object_id, self.frame)

    def inside(self, height: int, width: int) -> BoxPrompt:
        """Return the part of the box that lies in an image of this size, in pixels.

        Raises
        ------
        PromptError
            If it lies wholly outside.
        """
        # A pixel's centre is an integer, so the image reaches from -0.5 to its size less one half.
        y_min, x_min = max(self.y_min, -0.5), max(self.x_min, -0.5)
        y_max, x_max = min(self.y_max, height - 0.5), min(self.x_max, width - 0.5)
        if y_min >= y_max or x_min >= x_max:
            raise PromptError(
                f"Object {self.object_id} on frame {self.frame}: the box (y {self.y_min:g} to {self.y_max:g}, x "
                f"{self.x_min:g} to {self.x_max:g}) lies wholly outside the image of {height} x {width} pixels. Move "
                "it inside."
            )
        return BoxPrompt(self.object_id, self.frame, y_min, x_min, y_max, x_max)


@dataclass(frozen=True, slots=True)
class ModelScores:
    """How sure a model is of a mask that it has found by itself; each as of `results.ObjectScore`.

    Attributes
    ----------
    predicted_iou, object_score, stability : float
        In [0, 1].
    mean_logit : float
        Mean mask logit inside the mask.

    Raises
    ------
    PromptError
        If one of them is not a finite number: no file can hold it, and it equals nothing.
    """

    predicted_iou: float
    object_score: float
    stability: float
    mean_logit: float

    def __post_init__(self) -> None:
        for name in ("predicted_iou", "object_score", "stability", "mean_logit"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise PromptError(f"{name} of a found mask is {value}. Give a finite number.")

    @property
    def confidence(self) -> float:
        """One number for all of this, in [0, 1]."""
        return self.predicted_iou * self.object_score * self.stability


@dataclass(frozen=True, slots=True, init=False)
class MaskPrompt:
    """The pixels of an object, painted or taken from another segmentation.

    Only the part of the mask that holds the object is kept, packed to bits: hundreds of masks on a large image stay
    small, cannot be changed, and compare exactly without comparing arrays.

    Parameters
    ----------
    object_id : int
        The object, from 1.
    frame : int
        The frame, from 0.
    mask : ndarray of bool, shape (Y, X)
        True on the object. Copied.
    corner : tuple of int, optional
        Where the first pixel of `mask` lies in the image, for a mask that is a part cut out of it.
    shape : tuple of int, optional
        Shape of the image for such a part. None means that `mask` covers the image.
    found : ModelScores, optional
        How sure the model was that has found this mask by itself. None for a mask of the user's, which is certain.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the whole mask.
    corner : tuple of int
        First row and column of the smallest rectangle that holds the object.
    extent : tuple of int
        Height and width of that rectangle.
    bits : bytes
        The rectangle in row-major order, eight pixels a byte.

    Raises
    ------
    PromptError
        If the object id or the frame is not a usable number, or if the mask is not boolean, not two-dimensional,
        empty, or does not fit into `shape`.
    """

    object_id: int
    frame: int
    shape: tuple[int, int] = field(init=False)
    corner: tuple[int, int] = field(init=False)
    extent: tuple[int, int] = field(init=False)
    bits: bytes = field(init=False, repr=False)
    found: ModelScores | None = field(init=False)

    def __init__(
        self,
        object_id: int,
        frame: int,
        mask: NDArray[np.bool_],
        *,
        corner: tuple[int, int] = (0, 0),
        shape: tuple[int, int] | None = None,
        found: ModelScores | None = None,
    ) -> None:
        _set_target(self, object_id, frame)
        mask = _checked_mask(mask)
        height, width = mask.shape if shape is None else shape
        y, x = corner
        if y < 0 or x < 0 or y + mask.shape[0] > height or x + mask.shape[1] > width:
            raise PromptError(
                f"A mask of shape {mask.shape} at {(y, x)} does not fit into an image of shape {(height, width)}. "
                "Correct its corner or the shape."
            )
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        object.__setattr__(self, "shape", (int(height), int(width)))
        object.__setattr__(self, "corner", (int(y + rows[0]), int(x + columns[0])))
        object.__setattr__(self, "extent", crop.shape)
        object.__setattr__(self, "bits", np.packbits(crop).tobytes())
        object.__setattr__(self, "found", found)

    @property
    def target(self) -> Target:
        """The object and frame this prompt is for."""
        return Target(self.object_id, self.frame)

    @property
    def crop(self) -> NDArray[np.bool_]:
        """The smallest rectangle that holds the object, shape `extent`, read-only."""
        height, width = self.extent
        bits = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=height * width)
        crop = bits.astype(np.bool_).reshape(self.extent)
        crop.setflags(write=False)
        return crop

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The whole mask, shape (Y, X), read-only; built anew at each access."""
        mask = np.zeros(self.shape, np.bool_)
        (y, x), (height, width) = self.corner, self.extent
        mask[y : y + height, x : x + width] = self.crop
        mask.setflags(write=False)
        return mask


Prompt = PointPrompt | BoxPrompt | MaskPrompt


class PromptSet(Mapping[Target, tuple[Prompt, ...]]):
    """All prompts at one moment, by target; two sets are equal if every target has the same prompts in order.

    Parameters
    ----------
    prompts : iterable of Prompt
        In the order in which they were given. Equal points are kept: clicking twice is not clicking once.

    Attributes
    ----------
    prompts : tuple of Prompt
        All of them, in the order given.

    Raises
    ------
    PromptError
        If something else than prompts is given, or two boxes or two masks for one target.
    """

    __slots__ = ("_by_object", "_by_target", "prompts")

    def __init__(self, prompts: Iterable[Prompt] = ()) -> None:
        if isinstance(prompts, Prompt):
            raise PromptError(f"Prompts come as a list, and this is a single {type(prompts).__name__}. Write [prompt].")
        self.prompts: tuple[Prompt, ...] = prompts.prompts if isinstance(prompts, PromptSet) else tuple(prompts)
        by_target: dict[Target, list[Prompt]] = {}
        for index, prompt in enumerate(self.prompts):
            if not isinstance(prompt, Prompt):
                raise PromptError(
                    f"Item {index} of the prompts is of type {type(prompt).__name__}. "
                    "Use PointPrompt, BoxPrompt and MaskPrompt."
                )
            by_target.setdefault(prompt.target, []).append(prompt)
        for target, given in by_target.items():
            _refuse_rivals(target, given)
        self._by_target = {target: tuple(given) for target, given in by_target.items()}
        self._by_object: Mapping[int, tuple[Prompt, ...]] | None = None

    def __getitem__(self, target: Target) -> tuple[Prompt, ...]:
        return self._by_target[target]

    def __iter__(self) -> Iterator[Target]:
        return iter(self._by_target)

    def __len__(self) -> int:
        return len(self._by_target)

    def __hash__(self) -> int:
        return hash(frozenset(self._by_target.items()))

    def __repr__(self) -> str:
        return f"PromptSet({list(self.prompts)!r})"

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object with a prompt, ascending."""
        return tuple(sorted({target.object_id for target in self}))

    def frames_of(self, object_id: int) -> tuple[int, ...]:
        """Return the frames on which an object has prompts, ascending; none for an unknown object."""
        return tuple(sorted(target.frame for target in self if target.object_id == object_id))

    def by_object(self) -> Mapping[int, tuple[Prompt, ...]]:
        """Return all prompts of every object, in the order given: each time the same tuples, to be told by identity."""
        if self._by_object is None:
            of: dict[int, list[Prompt]] = {}
            for prompt in self.prompts:
                of.setdefault(prompt.object_id, []).append(prompt)
            self._by_object = {object_id: tuple(given) for object_id, given in of.items()}
        return self._by_object

    def changed_since(self, before: PromptSet) -> frozenset[Target]:
        """Return the targets whose prompts were added, changed, reordered or removed since an earlier snapshot."""
        return frozenset(target for target in self.keys() | before.keys() if self.get(target) != before.get(target))


def _set_target(prompt: Prompt, object_id: int, frame: int) -> None:
    object.__setattr__(prompt, "object_id", whole_number(object_id, "Object id", least=1))
    object.__setattr__(prompt, "frame", whole_number(frame, "Frame", least=0))


def whole_number(value: object, name: str, *, least: int) -> int:
    """Return a whole number as an int.

    Raises
    ------
    PromptError
        If it is no whole number, or less than `least`; the message calls it by `name`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise PromptError(f"{name} is {value!r}, of type {type(value).__name__}. Use a whole number from {least}.")
    if value < least:
        raise PromptError(f"{name} is {value}. Use a whole number from {least}.")
    return int(value)


def _finite(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise PromptError(f"{name} is {value!r}, of type {type(value).__name__}. Use a number, in data pixels.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise PromptError(f"{name} is {number}. Use a finite number, in data pixels.")
    return number


def _checked_mask(mask: object) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.dtype != np.bool_:
        raise PromptError(f"Mask is of dtype {array.dtype}. Make it boolean, for example mask > 0.")
    if array.ndim != 2:
        raise PromptError(f"Mask has shape {array.shape}. Give a mask (Y, X) of the frame it stands on.")
    if not array.any():
        raise PromptError(f"Mask of shape {array.shape} is empty: no pixel is True. Paint the object or drop the mask.")
    return array


def _refuse_rivals(target: Target, prompts: Iterable[Prompt]) -> None:
    kinds = [type(prompt) for prompt in prompts]
    for kind, name, cure in ((BoxPrompt, "boxes", "Keep one"), (MaskPrompt, "masks", "Unite them, or keep one")):
        if kinds.count(kind) > 1:
            raise PromptError(
                f"Object {target.object_id} has {kinds.count(kind)} {name} on frame {target.frame}. "
                f"{cure}, or give the others their own object id."
            )
