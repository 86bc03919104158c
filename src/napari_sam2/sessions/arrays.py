"""Masks and labels of one frame of a session: an npz, of which nothing is unpacked before it is known to fit."""

from __future__ import annotations

import math
import zipfile
import zlib
from contextlib import contextmanager
from io import BytesIO
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_sam2.errors import SessionError
from napari_sam2.prompts import MAX_OBJECT_ID, ModelScores
from napari_sam2.results import ObjectMask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

# What zipfile, zlib and numpy raise on damaged files, as found by cutting and corrupting them. Of a zip made in ways
# that it does not know, zipfile says that they are not implemented.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_BEST_RATIO = 1032
"""Bytes that deflate makes of one at most."""

_ENCRYPTED = 0x1


def check_members(archive: zipfile.ZipFile) -> None:
    """Refuse a zip that no session is: with a name twice, encrypted, or claiming more than it can hold.

    Raises
    ------
    SessionError
        If it is so.
    """
    names = set()
    for info in archive.infolist():
        if info.filename in names:
            raise SessionError(f"it holds {info.filename[:80]!r} twice. Use another copy of the file.")
        names.add(info.filename)
        if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
            raise SessionError(
                f"{info.filename[:80]!r} in it is encrypted or compressed in another way. Use a session as napari-sam2 "
                "writes it."
            )
        if info.file_size > info.compress_size * _BEST_RATIO:
            raise SessionError(
                f"{info.filename[:80]!r} in it claims {info.file_size:,} bytes and holds {info.compress_size:,} "
                "compressed ones. Use another copy of the file."
            )


def packed_plane(plane: NDArray[np.integer]) -> bytes:
    """Return the labels of a frame, (Y, X), packed."""
    return _packed(plane=plane)


def packed_masks(masks: Sequence[ObjectMask]) -> bytes:
    """Return the masks of a frame, at least one, packed."""
    return _packed(
        object_id=np.array([mask.object_id for mask in masks], np.int64),
        window=np.array([(*mask.corner, *mask.logits.shape) for mask in masks], np.int64),
        score=np.array([(mask.predicted_iou, mask.object_score) for mask in masks], np.float64),
        is_given=np.array([mask.is_given for mask in masks], np.bool_),
        **_found_scores(masks),
        logits=np.concatenate([mask.logits.ravel() for mask in masks]).astype(np.float32),
    )


def _found_scores(masks: Sequence[ObjectMask]) -> dict[str, NDArray[np.float64]]:
    """Return what a model said of masks that it found, beside the scores that all have; nothing without such masks."""
    found = [mask.found for mask in masks]
    if not any(found):  # as before: versions that know none read that, too
        return {}
    rows = [(np.nan, np.nan) if one is None else (one.stability, one.mean_logit) for one in found]
    return {"found": np.array(rows, np.float64)}


def plane_from(file: IO[bytes], frame: int, shape: tuple[int, int]) -> NDArray[np.integer]:
    """Return the labels of a frame, which must have this shape, unpacked.

    Raises
    ------
    SessionError
        If they are damaged or do not fit.
    """
    with _unpacking(file, f"the committed labels of frame {frame}") as arrays:
        plane: NDArray[np.integer] = arrays.read("plane", "iu", shape)
        for label in (int(plane.min()), int(plane.max())):
            if not 0 <= label <= MAX_OBJECT_ID:
                raise ValueError(f"they hold the label {label}, and labels go from 0 to {MAX_OBJECT_ID}")
        return plane


def masks_from(file: IO[bytes], frame: int, shape: tuple[int, int]) -> tuple[ObjectMask, ...]:
    """Return the masks of a frame, which must have this shape, unpacked.

    Raises
    ------
    SessionError
        If they are damaged or do not fit.
    """
    with _unpacking(file, f"the masks of frame {frame}") as arrays:
        object_ids = arrays.read("object_id", "iu", (None,))
        count = len(object_ids)
        windows = arrays.read("window", "iu", (count, 4))
        scores = arrays.read("score", "f", (count, 2))
        is_given = arrays.read("is_given", "b", (count,))
        found = arrays.read("found", "f", (count, 2)) if "found" in arrays else np.full((count, 2), np.nan)
        _check_masks(object_ids, windows, scores, shape)
        num_pixels = sum(height * width for _, _, height, width in windows.tolist())
        logits = arrays.read("logits", "f", (num_pixels,)).astype(np.float32, copy=False)
        if not np.isfinite(logits).all():
            raise ValueError("a logit is not finite")
    return tuple(_masks(object_ids, windows, scores, is_given, found, logits))


def _check_masks(object_ids: NDArray[Any], windows: NDArray[Any], scores: NDArray[Any], shape: tuple[int, int]) -> None:
    ids = object_ids.tolist()
    if not all(1 <= one <= MAX_OBJECT_ID for one in ids) or len(set(ids)) < len(ids):
        raise ValueError(f"object ids go from 1 to {MAX_OBJECT_ID}, each once")
    for y, x, height, width in windows.tolist():
        if min(y, x, height, width) < 0 or y + height > shape[0] or x + width > shape[1]:
            raise ValueError(f"a mask lies outside the frame of {shape[0]} x {shape[1]} pixels")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")


def _masks(
    object_ids: NDArray[Any],
    windows: NDArray[Any],
    scores: NDArray[Any],
    is_given: NDArray[Any],
    found: NDArray[Any],
    logits: NDArray[np.float32],
) -> Iterator[ObjectMask]:
    start = 0
    columns = (object_ids, windows, scores, is_given, found)
    each = zip(*(column.tolist() for column in columns), strict=True)
    for object_id, (y, x, height, width), (predicted_iou, object_score), given, (stability, mean_logit) in each:
        window = np.array(logits[start : start + height * width]).reshape(height, width)
        start += height * width
        is_found = math.isfinite(stability) and math.isfinite(mean_logit)
        said = ModelScores(predicted_iou, object_score, stability, mean_logit) if is_found else None
        yield ObjectMask(object_id, (y, x), window, predicted_iou, object_score, given, said)


@contextmanager
def _unpacking(file: IO[bytes], what: str) -> Iterator[_Arrays]:
    """Yield the arrays of an npz; whatever is wrong with it, or found to be wrong inside, becomes a sentence."""
    try:
        with zipfile.ZipFile(file) as archive:
            check_members(archive)
            yield _Arrays(archive)
    except SessionError as error:
        raise SessionError(f"{what} are damaged: {error}") from error
    except (*DAMAGE, MemoryError) as error:
        reason = str(error)[:200] or type(error).__name__
        raise SessionError(f"{what} are damaged ({reason}). Use another copy.") from error


class _Arrays:
    """Arrays of an npz, each checked against what it must be before it is unpacked."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._archive.namelist()

    def read(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """Return one array, of these kinds of type and this shape; None stands for any length."""
        info = self._archive.getinfo(f"{name}.npy")
        with self._archive.open(info) as file:
            found, columns_first, dtype = _header(file)
            if not _fits(found, shape) or columns_first or dtype.kind not in kinds or dtype.itemsize > 8:
                needed = tuple("any" if length is None else length for length in shape)
                raise ValueError(f"{name} is of dtype {dtype} and shape {found}, and shape {needed} is needed")
            length = math.prod(found) * dtype.itemsize
            if length > info.file_size:
                raise ValueError(f"{name} claims {length:,} bytes and has {info.file_size:,}")
            stored = file.read(length + 1)
        if len(stored) != length:
            raise ValueError(f"{name} has another length than its shape {found}")
        return np.frombuffer(stored, dtype).reshape(found).astype(dtype.newbyteorder("="))


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(
        length >= 0 and needed in (None, length) for length, needed in zip(found, shape, strict=True)
    )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"NPY version {version[0]}.{version[1]}")


def _packed(**arrays: NDArray[np.generic]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()
