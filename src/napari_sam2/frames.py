"""An n-dimensional array, read as a sequence of RGB frames under one intensity mapping."""

from __future__ import annotations

import logging
import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_sam2.errors import FrameError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

PERCENTILES = (1.0, 99.8)
"""Share of the sampled pixels, in per cent, below the default lower and upper contrast limit."""

_ALL = slice(None)

_VALUES_AT_ONCE = 2**22
"""Values of a frame that are mapped to eight bits together."""

SAMPLE_FRAMES = 16
SAMPLE_PIXELS = 2**18
"""Size of the sample behind the default contrast limits: frames, and about how many pixels of each."""

Limits = tuple[float, float]
ContrastLimits = Limits | tuple[Limits, ...]


class ArrayLike(Protocol):
    """What is asked of an array: numpy, dask, zarr and lazily read files all have it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the pixels."""

    def __getitem__(self, key: tuple[int | slice, ...], /) -> object:
        """Return one frame, or a part of it, that `np.asarray` can read.

        There is an integer on the frame axis, slices without a step on those of rows and columns, full ones elsewhere.
        """


class FrameStack:
    """A stack (or one image) as a sequence of RGB frames, read one at a time.

    uint8 RGB passes unchanged. Everything else maps linearly from the contrast limits to 0-255, the same way on every
    frame: NaN and -inf become black, +inf white. One channel is shown in grey, two in red and green, three as RGB.

    Parameters
    ----------
    array : ArrayLike
        Frames first, then rows and columns, once the channel axis is taken out: (N, Y, X), (N, Y, X, 3) or, with
        `channel_axis`, channels anywhere.
    contrast_limits : (float, float) or one pair per channel, optional
        Values that become 0 and 255. None means percentiles 1 and 99.8 of a fixed sample of frames (the whole range of
        the sample where these coincide).
    channel_axis : int, optional
        Axis of one to three channels. None means that there is none, or RGB.
    rgb : bool, optional
        Whether the last axis holds red, green, blue (and alpha, which is dropped). None decides: if there is one axis
        too many and the last has length 3 or 4.
    single_image : bool
        Whether `array` is one image, without a frame axis; it then counts as a stack of one frame.

    Attributes
    ----------
    height, width : int
        Rows and columns of a frame.

    Raises
    ------
    FrameError
        If the array has the wrong number of axes, no pixels, a dtype that is no intensity, or only non-finite values.
    OptionError
        If the contrast limits, the channel axis or `rgb` do not fit the array.
    """

    __slots__ = ("_array", "_layout", "_limits", "height", "width")

    def __init__(
        self,
        array: ArrayLike,
        *,
        contrast_limits: npt.ArrayLike | None = None,
        channel_axis: int | None = None,
        rgb: bool | None = None,
        single_image: bool = False,
    ) -> None:
        dtype = _checked_dtype(array)
        self._array = array
        self._layout = _layout(tuple(array.shape), channel_axis, rgb=rgb, single_image=single_image)
        self.height, self.width = (int(array.shape[axis]) for axis in self._layout.spatial_axes)
        self._limits: tuple[Limits, ...] | None
        if contrast_limits is not None:
            self._limits = _checked_limits(contrast_limits, self._layout.num_channels)
        elif self._layout.rgb and dtype == np.uint8:
            self._limits = None
        elif dtype == np.bool_:
            self._limits = ((0.0, 1.0),) * self._layout.num_channels
        else:
            self._limits = self._sampled_limits()

    def __len__(self) -> int:
        axis = self._layout.frame_axis
        return 1 if axis is None else int(self._array.shape[axis])

    def __getitem__(self, frame: int) -> NDArray[np.uint8]:
        """Return one frame, shape (Y, X, 3), C-contiguous, the caller's own.

        Raises
        ------
        FrameError
            If there is no such frame; frames count from 0 and not from the end.
        """
        return self._shown(self._read(operator.index(frame)))

    def window(self, frame: int, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """Return a part of one frame, its intensities mapped as in `[]`; of a lazy array no more than that is read.

        Parameters
        ----------
        frame : int
            The frame.
        rows, columns : slice
            Pixels of the frame, as indices of an array: without a step, and cut where they leave the frame.

        Returns
        -------
        ndarray
            Shape (rows, columns, 3), uint8, C-contiguous, the caller's own.

        Raises
        ------
        FrameError
            If there is no such frame, or the part has no pixel or a step.
        """
        for part, length, name in ((rows, self.height, "rows"), (columns, self.width, "columns")):
            if part.step not in (None, 1) or not range(length)[part]:
                raise FrameError(f"There are no {name} {part.start} to {part.stop} in {length}. Use a part of a frame.")
        return self._shown(self._read(operator.index(frame), rows, columns))

    def values(self, frame: int) -> NDArray[np.generic]:
        """Return one frame as it is stored, shape (Y, X, C): what was recorded, without an intensity mapping.

        Raises
        ------
        FrameError
            If there is no such frame.
        """
        return self._read(operator.index(frame))

    def preview(self, frame: int, max_side: int) -> NDArray[np.uint8]:
        """Return every n-th pixel of one frame, with the smallest n that leaves no side beyond a length; else as `[]`.

        Takes little more memory than the frame itself, however large that is.

        Raises
        ------
        FrameError
            If there is no such frame.
        """
        step = -(-max(self.height, self.width) // max_side)
        return self._shown(self._read(operator.index(frame))[::step, ::step])

    def _shown(self, image: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Return the values of a frame, (Y, X, C), as 8-bit colours, (Y, X, 3)."""
        if self._limits is None:
            return np.array(image, dtype=np.uint8, order="C")
        if self._layout.rgb:
            return _to_uint8(image, self._limits[0])
        if len(self._limits) == 1:
            return np.repeat(_to_uint8(image, self._limits[0]), 3, axis=-1)
        colours = np.zeros((*image.shape[:2], 3), np.uint8)
        for channel, limits in enumerate(self._limits):
            colours[..., channel] = _to_uint8(image[..., channel], limits)
        return colours

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[frame] for frame in range(len(self)))

    def __repr__(self) -> str:
        return f"FrameStack({len(self)} of {self.height} x {self.width}, contrast_limits={self.contrast_limits})"

    @property
    def contrast_limits(self) -> ContrastLimits | None:
        """The limits in use: a pair, or one per channel if there are several; None for uint8 RGB, left as it is."""
        if self._limits is not None and len(self._limits) == 1:
            return self._limits[0]
        return self._limits

    def _read(self, frame: int, rows: slice = _ALL, columns: slice = _ALL) -> NDArray[np.generic]:
        """Return the values of one frame, or of a part of it, as they are stored, shape (Y, X, C)."""
        if not 0 <= frame < len(self):
            raise FrameError(f"There is no frame {frame}: the stack has {len(self)}, numbered from 0.")
        layout = self._layout
        parts: dict[int, int | slice] = dict(zip(layout.spatial_axes, (rows, columns), strict=True))
        if layout.frame_axis is not None:
            parts[layout.frame_axis] = frame
        image = np.asarray(self._array[tuple(parts.get(axis, _ALL) for axis in range(len(self._array.shape)))])
        if layout.colour_axis is None:
            return image[..., np.newaxis]
        # Reading a frame took its axis away, and every axis behind it moved up by one.
        moved_up = layout.frame_axis is not None and layout.frame_axis < layout.colour_axis
        image = np.moveaxis(image, layout.colour_axis - moved_up, -1)
        return image[..., :3] if layout.rgb else image

    def _sampled_limits(self) -> tuple[Limits, ...]:
        step = max(1, math.isqrt(self.height * self.width // SAMPLE_PIXELS))
        chosen = np.unique(np.linspace(0, len(self) - 1, min(len(self), SAMPLE_FRAMES)).round().astype(int)).tolist()
        thinned = [self._read(frame)[::step, ::step].astype(np.float64) for frame in chosen]
        # One column per channel; red, green and blue share one mapping, or colours would shift.
        sample = np.concatenate([image.reshape(-1, self._layout.num_channels) for image in thinned])
        limits = []
        for channel, values in enumerate(sample.T):
            name = f"channel {channel}" if self._layout.num_channels > 1 else "the image"
            finite = values[np.isfinite(values)]
            if not finite.size:
                raise FrameError(
                    f"Every value of {name} is NaN or infinite in the frames looked at ({chosen}). "
                    "Give contrast_limits, or replace these values."
                )
            limits.append(_limits_of(finite, name))
        return tuple(limits)


def single_frame(
    image: ArrayLike,
    *,
    contrast_limits: npt.ArrayLike | None = None,
    channel_axis: int | None = None,
    rgb: bool | None = None,
) -> FrameStack:
    """Return one image, (Y, X), (Y, X, 3) or, with `channel_axis`, with channels, as a stack of one frame.

    Parameters are those of `FrameStack`.
    """
    return FrameStack(image, contrast_limits=contrast_limits, channel_axis=channel_axis, rgb=rgb, single_image=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Which axis of the array is what. `num_channels` counts intensity mappings: RGB has one."""

    frame_axis: int | None
    spatial_axes: tuple[int, int]
    colour_axis: int | None = None
    num_channels: int = 1
    rgb: bool = False


def _layout(shape: tuple[int, ...], channel_axis: int | None, *, rgb: bool | None, single_image: bool) -> _Layout:
    if 0 in shape:
        raise FrameError(f"The array of shape {shape} has no pixels. Give an image with at least one.")
    plain = 2 if single_image else 3
    colour_axis: int | None = None
    num_channels = 1
    if channel_axis is not None:
        if rgb:
            raise OptionError(f"rgb is True and channel_axis is {channel_axis}. Give one of the two.")
        colour_axis = _checked_channel_axis(shape, channel_axis)
        num_channels = shape[colour_axis]
    elif rgb or (rgb is None and len(shape) == plain + 1 and shape[-1] in (3, 4)):
        if not shape or shape[-1] not in (3, 4):
            raise OptionError(f"rgb is True, and the last axis of {shape} is not 3 or 4 long. Leave rgb out.")
        rgb, colour_axis = True, len(shape) - 1
    rest = [axis for axis in range(len(shape)) if axis != colour_axis]
    if len(rest) != plain:
        raise FrameError(_wrong_axes(shape, colour_axis, single_image=single_image))
    if num_channels > 3:
        raise OptionError(
            f"Axis {channel_axis} has {num_channels} channels, and a frame shows up to three. Choose among them."
        )
    return _Layout(
        frame_axis=None if single_image else rest[0],
        spatial_axes=(rest[-2], rest[-1]),
        colour_axis=colour_axis,
        num_channels=num_channels,
        rgb=bool(rgb),
    )


def _wrong_axes(shape: tuple[int, ...], colour_axis: int | None, *, single_image: bool) -> str:
    name = "image" if single_image else "stack"
    has = f"The {name} has shape {shape}"
    besides = "" if colour_axis is None else f" besides the colours on axis {colour_axis}"
    wanted = "(rows, columns)" if single_image else "(frames, rows, columns)"
    count = len(shape) - (colour_axis is not None)
    if count < (2 if single_image else 3):
        cure = "Give an array with more axes" if single_image or count != 2 else "One image needs no stack: segment it"
    else:
        cure = f"Pick one along the axis too many, for example {name}[0], or name the channels with channel_axis"
    return f"{has}, and is needed as {wanted}{besides}. {cure}."


def _checked_dtype(array: ArrayLike) -> np.dtype[np.generic]:
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise FrameError(f"The image is of type {type(array).__name__}. Give an array (numpy, dask or zarr).")
    try:
        dtype = np.dtype(array.dtype)
    except TypeError:
        raise FrameError(f"The image has the dtype {array.dtype}. Convert it to a numpy array.") from None
    if dtype.kind not in "biuf":
        cure = "Take its magnitude, numpy.abs(image)" if dtype.kind == "c" else "Convert it to integers or floats"
        raise FrameError(f"The image has the dtype {dtype}, which is no intensity. {cure}.")
    return dtype


def _checked_channel_axis(shape: tuple[int, ...], channel_axis: int) -> int:
    count = len(shape)
    if isinstance(channel_axis, bool) or not isinstance(channel_axis, int | np.integer):
        raise OptionError(f"channel_axis is {channel_axis!r}. Use a whole number, or None if there are no channels.")
    if not -count <= channel_axis < count:
        raise OptionError(f"channel_axis is {channel_axis}, and {shape} has {count} axes. Use 0 to {count - 1}.")
    return int(channel_axis) % count


def _checked_limits(contrast_limits: npt.ArrayLike, num_channels: int) -> tuple[Limits, ...]:
    try:
        limits = np.asarray(contrast_limits, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        limits = np.empty(0)
    if limits.shape == (2,):
        limits = np.tile(limits, (num_channels, 1))
    if limits.shape != (num_channels, 2) or not np.isfinite(limits).all() or (limits[:, 0] >= limits[:, 1]).any():
        per_channel = f", or {num_channels} such pairs, one per channel" if num_channels > 1 else ""
        raise OptionError(
            f"contrast_limits are {contrast_limits!r}. Give two finite numbers, the lower first{per_channel}."
        )
    return tuple((float(low), float(high)) for low, high in limits)


def _limits_of(values: NDArray[np.float64], name: str) -> Limits:
    # The nearest value, not one between two neighbours: their difference may exceed the largest float.
    low, high = (float(value) for value in np.percentile(values, PERCENTILES, method="nearest"))
    if low == high:
        low, high = float(values.min()), float(values.max())
    if low == high:
        logger.warning("Every value of %s is %g in the frames looked at: they are shown black.", name, low)
        high = max(low + 1.0, float(np.nextafter(low, np.inf)))
    return low, high


def _to_uint8(image: NDArray[np.generic], limits: Limits) -> NDArray[np.uint8]:
    shown = np.empty(image.shape, np.uint8)
    # In parts: as floats, the frame of a slide scanner would take gigabytes.
    step = max(_VALUES_AT_ONCE // max(math.prod(image.shape[1:]), 1), 1)
    for start in range(0, len(image), step):
        shown[start : start + step] = _mapped(image[start : start + step], limits)
    return shown


def _mapped(image: NDArray[np.generic], limits: Limits) -> NDArray[np.uint8]:
    low, high = limits
    with np.errstate(over="ignore"):  # long doubles beyond the largest float64 are infinite here, and saturate
        values = image.astype(np.float64)
    # fmax and fmin pass over NaN, which thereby becomes the lower limit; clip would keep it.
    np.fmin(np.fmax(values, low, out=values), high, out=values)
    if math.isinf(high - low):
        values *= 0.5
        low, high = low * 0.5, high * 0.5
    values -= low
    values /= high - low
    values *= 255.0
    return np.rint(values, out=values).astype(np.uint8)
