"""Sessions on disk: a folder that grows as one works, or one file, `.sam2session`, which is a zip of the same content.

`session.json` says everything; `planes/` holds frames edited by hand. What can be computed again may be there too, so
that nobody has to wait for it: `masks/000012.npz` has the masks that were held of frame 12, `committed/000012.npz` its
committed labels.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.atomic_files import replacing
from napari_sam2.errors import ImageFileError, SessionError
from napari_sam2.results import ObjectMask
from napari_sam2.session_documents import from_json, planes_of, to_json

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_sam2.session_documents import SessionFile

SUFFIX = ".sam2session"
"""How the name of a session in one file ends."""

DOCUMENT = "session.json"

_PLANES, _MASKS, _COMMITTED = "planes", "masks", "committed"

# What reading a damaged npz or zip raises.
_DAMAGE = (ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class StoredFrames:
    """Frames of which a session holds more than how to compute them.

    Attributes
    ----------
    masks : tuple of int
        Frames whose masks are stored, ascending.
    committed : tuple of int
        Frames whose committed labels are stored, ascending.
    """

    masks: tuple[int, ...]
    committed: tuple[int, ...]


# One file ------------------------------------------------------------------------------------------------------------


def write_session(
    path: str | os.PathLike[str],
    session: SessionFile,
    *,
    masks: Mapping[int, Sequence[ObjectMask]] | None = None,
    committed: Mapping[int, NDArray[np.integer]] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a session into one file, which appears complete or not at all.

    Parameters
    ----------
    path : path
        The file, by custom with the suffix `.sam2session`.
    session : SessionFile
        The session.
    masks : mapping of int to sequence of ObjectMask, optional
        Masks that are held, by frame. They are asked for one frame at a time.
    committed : mapping of int to ndarray, optional
        Committed labels, by frame; empty ones are left out. Asked for one frame at a time.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    ImageFileError
        If the file exists and may not be replaced, or cannot be written.
    """
    path = Path(path)
    masks, committed = masks or {}, committed or {}
    with replacing(path, overwrite=overwrite) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.writestr(DOCUMENT, to_json(session, path.parent), zipfile.ZIP_DEFLATED)
        for digest, plane in planes_of(session).items():
            archive.writestr(_plane_name(digest), plane.data)
        for frame in sorted(masks):
            held = masks[frame]
            if held:
                archive.writestr(_name(_MASKS, frame), _packed_masks(held))
        for frame in sorted(committed):
            labels = committed[frame]
            if labels.any():
                archive.writestr(_name(_COMMITTED, frame), _packed(plane=labels))


# A folder ------------------------------------------------------------------------------------------------------------


def write_document(folder: str | os.PathLike[str], session: SessionFile) -> None:
    """Write a session into a folder, in the place of the one that is there; masks and labels stay as they are.

    Frames edited by hand are written once. At every moment the folder holds one whole session, the old or the new.

    Raises
    ------
    ImageFileError
        If it cannot be written.
    """
    folder, planes = Path(folder), planes_of(session)
    for digest, plane in planes.items():
        path = folder / _plane_name(digest)
        if not path.exists():
            _write(path, plane.data)
    _write(folder / DOCUMENT, to_json(session, folder).encode())
    for path in (folder / _PLANES).glob("*.zlib"):
        if path.stem not in planes:
            path.unlink(missing_ok=True)


def write_masks(folder: str | os.PathLike[str], frame: int, masks: Sequence[ObjectMask]) -> None:
    """Write the masks that are held of a frame; without any, those that were written are removed.

    Raises
    ------
    ImageFileError
        If they cannot be written.
    """
    _write(Path(folder) / _name(_MASKS, frame), _packed_masks(masks) if masks else None)


def write_committed(folder: str | os.PathLike[str], frame: int, plane: NDArray[np.integer]) -> None:
    """Write the committed labels of a frame, (Y, X); empty, those that were written are removed.

    Raises
    ------
    ImageFileError
        If they cannot be written.
    """
    _write(Path(folder) / _name(_COMMITTED, frame), _packed(plane=plane) if plane.any() else None)


def _write(path: Path, content: bytes | None) -> None:
    try:
        if content is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written ({error}). Choose another folder, or free space.") from error
    with replacing(path, overwrite=True) as partial:
        partial.write_bytes(content)


# Reading -------------------------------------------------------------------------------------------------------------


def read_session(path: str | os.PathLike[str]) -> SessionFile:
    """Read a session from a file or a folder.

    Raises
    ------
    SessionError
        If it is no session of a known version, is damaged, or a part of it makes no sense.
    ImageFileError
        If it is missing or cannot be read.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    with _opened(path) as root:
        try:
            document = json.loads((root / DOCUMENT).read_bytes())
        except (ValueError, RecursionError) as error:
            raise SessionError(f"{DOCUMENT} is not JSON ({error}). Give a session written by napari-sam2.") from error
        return from_json(document, folder, lambda digest: (root / _plane_name(digest)).read_bytes())


def frames_stored(path: str | os.PathLike[str]) -> StoredFrames:
    """Say of which frames masks and committed labels are stored.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    with _opened(Path(path)) as root:
        return StoredFrames(_frames_in(root / _MASKS), _frames_in(root / _COMMITTED))


def read_masks(path: str | os.PathLike[str], frame: int) -> tuple[ObjectMask, ...]:
    """Read the masks that were held of a frame; none if none are stored.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    with _opened(Path(path)) as root:
        return _stored_masks(root, frame)


def read_committed(path: str | os.PathLike[str], frame: int) -> NDArray[np.integer] | None:
    """Read the committed labels of a frame, (Y, X); None if none are stored.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    with _opened(Path(path)) as root:
        return _stored_plane(root, frame)


def iter_masks(path: str | os.PathLike[str]) -> Iterator[tuple[int, tuple[ObjectMask, ...]]]:
    """Read frame after frame whose masks are stored. Opens a session of many frames once.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    with _opened(Path(path)) as root:
        for frame in _frames_in(root / _MASKS):
            yield frame, _stored_masks(root, frame)


def iter_committed(path: str | os.PathLike[str]) -> Iterator[tuple[int, NDArray[np.integer]]]:
    """Read frame after frame whose committed labels are stored. Opens a session of many frames once.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    with _opened(Path(path)) as root:
        for frame in _frames_in(root / _COMMITTED):
            plane = _stored_plane(root, frame)
            if plane is not None:
                yield frame, plane


@contextmanager
def _opened(path: Path) -> Iterator[Path | zipfile.Path]:
    """Give the top of a session; whatever goes wrong becomes a sentence that names the session."""
    if not path.exists():
        raise ImageFileError(f"There is no session {path}. Check its name and folder.")
    try:
        if path.is_dir():
            yield path
            return
        with zipfile.ZipFile(path) as archive:
            yield zipfile.Path(archive)
    except SessionError as error:
        raise SessionError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise SessionError(
            f"{path} is no session, or incomplete: it lacks {Path(str(error.filename or error)).name}."
        ) from error
    except zipfile.BadZipFile as error:
        raise SessionError(f"{path} is no session, or damaged ({error}). Use another copy of the file.") from error
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read ({error}). Check that you may read it.") from error


def _frames_in(folder: Path | zipfile.Path) -> tuple[int, ...]:
    if not folder.is_dir():
        return ()
    found = (re.fullmatch(r"(\d{6,})\.npz", entry.name) for entry in folder.iterdir())
    return tuple(sorted(int(match[1]) for match in found if match))


def _stored_masks(root: Path | zipfile.Path, frame: int) -> tuple[ObjectMask, ...]:
    path = root / _name(_MASKS, frame)
    if not path.is_file():
        return ()
    try:
        stored = _unpacked(path.read_bytes())
        masks, start = [], 0
        for number, (object_id, is_given) in enumerate(zip(stored["object_id"], stored["is_given"], strict=True)):
            y, x, height, width = (int(one) for one in stored["window"][number])
            predicted_iou, object_score = (float(one) for one in stored["score"][number])
            logits = np.array(stored["logits"][start : start + height * width], np.float32).reshape(height, width)
            start += height * width
            masks.append(ObjectMask(int(object_id), (y, x), logits, predicted_iou, object_score, bool(is_given)))
    except (*_DAMAGE, IndexError, TypeError) as error:
        raise SessionError(f"the masks of frame {frame} are damaged ({error}). Use another copy.") from error
    return tuple(masks)


def _stored_plane(root: Path | zipfile.Path, frame: int) -> NDArray[np.integer] | None:
    path = root / _name(_COMMITTED, frame)
    if not path.is_file():
        return None
    try:
        plane: NDArray[Any] = _unpacked(path.read_bytes())["plane"]
    except _DAMAGE as error:
        raise SessionError(f"the committed labels of frame {frame} are damaged ({error}). Use another copy.") from error
    if plane.ndim != 2 or plane.dtype.kind not in "iu":
        raise SessionError(
            f"the committed labels of frame {frame} are of dtype {plane.dtype} and shape {plane.shape}, and are needed "
            "as integers in rows and columns. Use another copy."
        )
    return plane


def _packed_masks(masks: Sequence[ObjectMask]) -> bytes:
    return _packed(
        object_id=np.array([mask.object_id for mask in masks], np.int64),
        window=np.array([(*mask.corner, *mask.logits.shape) for mask in masks], np.int64),
        score=np.array([(mask.predicted_iou, mask.object_score) for mask in masks], np.float64),
        is_given=np.array([mask.is_given for mask in masks], np.bool_),
        logits=np.concatenate([mask.logits.ravel() for mask in masks]).astype(np.float32),
    )


def _packed(**arrays: NDArray[np.generic]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def _unpacked(content: bytes) -> dict[str, NDArray[np.generic]]:
    with np.load(BytesIO(content), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _name(kind: str, frame: int) -> str:
    return f"{kind}/{frame:06d}.npz"


def _plane_name(digest: str) -> str:
    return f"{_PLANES}/{digest}.zlib"
