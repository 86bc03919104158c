"""What writers of label images share, whatever the format: checks, the partial file, and how it gets its name."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, cast

import numpy as np

from napari_sam2.errors import FrameError, ImageFileError, OptionError
from napari_sam2.files.atomic import check_replaceable
from napari_sam2.files.partial import check_not_being_written, claim, keep, remove, tidy, writing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import TracebackType

    import numpy.typing as npt
    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.files.images.reading import ImageFile
    from napari_sam2.files.pixel_sizes import PixelSize


class LabelFileWriter(ABC):
    """A label image on disk, written and read frame by frame in any order.

    The file is made at once, as `partial_path`, all background: from then on it is readable at every moment. `close`
    gives it its name. As a context manager it closes at the end; left by an exception, it keeps the partial file if a
    frame was written to it. What earlier runs have left stays.

    Parameters
    ----------
    path : path
        The file to become.
    shape : tuple of int
        (N, Y, X), or (Y, X) for a single image, which is frame 0.
    dtype : dtype
        uint8, uint16 or uint32.
    source : ImageFile, optional
        The image the labels are for. None means that it is no file.
    axes : str, optional
        "TYX", "ZYX" or "YX". None means those of the source; without one, TYX or YX.
    pixel_size : mapping of str to PixelSize, optional
        By letter of `axes`, as far as known. None means that of the source.
    overwrite : bool
        Whether an existing file may be replaced, and one that another run is writing now.

    Attributes
    ----------
    path, partial_path : Path
        The file to become, and where it lives until `close`; see `files.partial`.
    shape : tuple of int
        As given.
    dtype : dtype
        As given.

    Raises
    ------
    ImageFileError
        If the file exists, is being written, is the source itself, has a suffix that is not written, does not fit on
        the disk, or cannot be made there.
    OptionError
        If the shape, the dtype or the axes are not those of a label image, or do not fit the source.
    """

    _suffix: ClassVar[str]
    """How the name of an unfinished label image ends."""

    _is_folder: ClassVar[bool] = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        source: ImageFile | None = None,
        axes: str | None = None,
        pixel_size: Mapping[str, PixelSize] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = self.checked_path(path, source=source, overwrite=overwrite)
        self.shape = tuple(shape)
        self.dtype = cast("np.dtype[np.unsignedinteger]", np.dtype(dtype))
        axes = _checked_axes(self.shape, self.dtype, source, axes)
        if pixel_size is None:
            pixel_size = {} if source is None else source.pixel_size
        self._overwrite = overwrite
        self._is_written = self._is_closed = False
        tidy(self.path, self._suffix, self._holds_labels)
        self.partial_path = claim(self.path, self._suffix, is_folder=self._is_folder, overwrite=overwrite)
        try:
            with writing(self.path):
                self._make(axes, pixel_size, is_ome=source is not None and source.is_ome)
        except BaseException:
            remove(self.partial_path)
            raise

    @classmethod
    def checked_path(
        cls, path: str | os.PathLike[str], *, source: ImageFile | None = None, overwrite: bool = False
    ) -> Path:
        """Return a path that can be written; nothing is made yet. Parameters and errors are those of the class."""
        path = Path(path)
        cls._check_format(path)
        _check_not_source(path, source)
        cls._check_replaceable(path, overwrite=overwrite)
        if not overwrite:
            check_not_being_written(path, cls._suffix)
        return path

    def __len__(self) -> int:
        return self.shape[0] if len(self.shape) == 3 else 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif not self._is_closed:
            self._is_closed = True
            self._release()
            if self._is_written:
                self.partial_path = keep(self.partial_path, self.path, self._suffix)
            else:
                remove(self.partial_path)

    def write(self, frame: int, labels: NDArray[np.integer]) -> None:
        """Store the labels of one frame.

        Parameters
        ----------
        frame : int
            The frame, from 0.
        labels : ndarray of int, shape (Y, X)
            Values from 0 to the largest of the dtype.

        Raises
        ------
        FrameError
            If there is no such frame, or the labels have another shape.
        OptionError
            If the labels are not integers, or a value does not fit the dtype.
        ImageFileError
            If the disk refuses, or the file was closed.
        """
        index = self._checked_frame(frame)
        _check_plane(labels, self.shape, self.dtype)
        self._store(index, labels)
        self._is_written = True

    def describe(self, objects: pd.DataFrame) -> None:  # noqa: B027  most formats have no place for it
        """Store what is known of each object, if the format has a place for it.

        Parameters
        ----------
        objects : DataFrame
            One row per object. The column `index` holds its label; each other column is a property. Empty cells are
            left out.

        Raises
        ------
        ImageFileError
            If the disk refuses, or the file was closed.
        """

    def close(self) -> None:
        """Finish the file and give it its final name; does nothing the second time.

        Raises
        ------
        ImageFileError
            If the disk refuses, or a file of that name has appeared; the partial file stays.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._check_replaceable(self.path, overwrite=self._overwrite)
            self._replace()
        except ImageFileError as error:
            self._release()
            self.partial_path = keep(self.partial_path, self.path, self._suffix)
            raise ImageFileError(f"{error} The labels are complete in {self.partial_path}.") from None
        except OSError as error:
            raise ImageFileError(f"{self.path} could not be finished ({error}). See {self.partial_path}.") from error

    def _checked_frame(self, frame: int) -> int:
        self._check_open()
        index = operator.index(frame)
        if not 0 <= index < len(self):
            raise FrameError(f"There is no frame {index}: the labels have {len(self)}, numbered from 0.")
        return index

    def _check_open(self) -> None:
        if self._is_closed:
            raise ImageFileError(f"{self.path} is closed. Open another writer.")

    # What a format adds ----------------------------------------------------------------------------------------------

    @staticmethod
    @abstractmethod
    def _check_format(path: Path) -> None:
        """Refuse a name that is not one of this format, or a format that needs a package that is not installed."""

    @staticmethod
    def _check_replaceable(path: Path, *, overwrite: bool) -> None:
        """Refuse a path that cannot be written, or that holds what may not be replaced."""
        check_replaceable(path, overwrite=overwrite)

    @staticmethod
    @abstractmethod
    def _holds_labels(partial: Path) -> bool:
        """Whether a label image that was not finished can be read, and shows an object."""

    @abstractmethod
    def _make(self, axes: str, pixel_size: Mapping[str, PixelSize], *, is_ome: bool) -> None:
        """Make the partial file, all background; `is_ome` means that the source is an OME-TIFF."""

    @abstractmethod
    def _store(self, frame: int, labels: NDArray[np.integer]) -> None:
        """Write the labels of a frame."""

    @abstractmethod
    def _release(self) -> None:
        """Close what is open of the partial file, which is going to be renamed or removed."""

    @abstractmethod
    def _replace(self) -> None:
        """Bring the partial file to the disk as a whole, and give it its final name."""


def _check_not_source(path: Path, source: ImageFile | None) -> None:
    """Refuse an output that is the source itself, or would become one of its frames."""
    if source is None:
        return
    given, taken = path.resolve(), source.path.resolve()
    if given == taken or (path.exists() and path.samefile(source.path)):
        raise ImageFileError(f"{path} is the image itself, which would be lost. Choose another name.")
    if taken == given.parent and taken.is_dir():
        raise ImageFileError(
            f"{path} lies among the frames of the stack and would become one of them. Choose another folder."
        )


def _checked_axes(
    shape: tuple[int, ...], dtype: np.dtype[np.generic], source: ImageFile | None, axes: str | None
) -> str:
    """Return the axes of a label image; refuse a form that is none, or that contradicts the source."""
    if dtype not in (np.uint8, np.uint16, np.uint32):
        raise OptionError(f"Labels of dtype {dtype} are not written. Use uint8, uint16 or uint32.")
    if len(shape) not in (2, 3) or 0 in shape:
        raise OptionError(f"Labels of shape {shape} are not written. Use (N, Y, X) or (Y, X), with pixels.")
    if axes is None:
        axes = "TYX"[-len(shape) :] if source is None else source.label_axes
    if axes not in ("TYX", "ZYX", "YX") or len(axes) != len(shape):
        raise OptionError(f"Axes {axes!r} do not fit labels of shape {shape}. Use TYX or ZYX for a stack, else YX.")
    if source is not None and shape != source.label_shape:
        raise OptionError(f"Labels of shape {shape} do not fit {source.path} ({axes}, {source.label_shape}).")
    return axes


def _check_plane(labels: NDArray[np.generic], shape: tuple[int, ...], dtype: np.dtype[np.unsignedinteger]) -> None:
    """Refuse labels of one frame that do not fit a label image of this shape and dtype."""
    if labels.shape != shape[-2:]:
        raise FrameError(f"Labels of shape {labels.shape} do not fit frames of shape {shape[-2:]}.")
    largest = np.iinfo(dtype).max
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > largest:
        raise OptionError(
            f"Labels of dtype {labels.dtype} from {labels.min()} to {labels.max()} do not fit into {dtype}. "
            f"Use integers from 0 to {largest}, or a wider dtype."
        )
