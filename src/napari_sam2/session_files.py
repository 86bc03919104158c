"""Sessions on disk: a folder that grows as one works, or one file, `.sam2session`, which is a zip of the same content.

`session.json` says everything; `planes/` holds frames edited by hand. What can be computed again may be there too, so
that nobody has to wait for it: `masks/000012.npz` has the masks that were held of frame 12, `committed/000012.npz` its
committed labels.

A folder changes from one state to the next in one step, when its document is replaced. Masks and labels of the next
state are written beside those of the present one, with the number of the state in their names (`000012.s7.npz`, or
`000012.s7.none` where there are none any more), and count from the moment at which the document says that number; what
they replace is removed after that.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
import zlib
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_sam2.atomic_files import check_replaceable, replacing
from napari_sam2.errors import ImageFileError, SessionError
from napari_sam2.partial_files import writing
from napari_sam2.results import ObjectMask
from napari_sam2.session_documents import from_json, planes_of, state_of, to_json

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_sam2.session_documents import SessionFile

SUFFIX = ".sam2session"
"""How the name of a session in one file ends."""

DOCUMENT = "session.json"

_SOME, _NONE = ".npz", ".none"

_Place = TypeVar("_Place", bound=Path | zipfile.Path)

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
    # What is killed while it is put together leaves nothing behind: that file has no name.
    with writing(path), tempfile.TemporaryFile(dir=check_replaceable(path, overwrite=overwrite).parent) as content:
        _write_archive(content, path, session, masks, committed)
        content.seek(0)
        with replacing(path, overwrite=overwrite, is_whole=zipfile.is_zipfile) as partial, partial.open("wb") as file:
            shutil.copyfileobj(content, file)


def _write_archive(
    file: IO[bytes],
    path: Path,
    session: SessionFile,
    masks: Mapping[int, Sequence[ObjectMask]],
    committed: Mapping[int, NDArray[np.integer]],
) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(DOCUMENT, to_json(session, path.parent), zipfile.ZIP_DEFLATED)
        for digest, plane in planes_of(session).items():
            archive.writestr(_plane_name(digest), plane.data)
        for frame in sorted(masks):
            held = masks[frame]
            if held:
                archive.writestr(f"{_MASKS}/{_version(frame, 0)}{_SOME}", _packed_masks(held))
        for frame in sorted(committed):
            labels = committed[frame]
            if labels.any():
                archive.writestr(f"{_COMMITTED}/{_version(frame, 0)}{_SOME}", _packed(plane=labels))


# A folder ------------------------------------------------------------------------------------------------------------


def write_document(folder: str | os.PathLike[str], session: SessionFile, *, state: int = 0) -> None:
    """Write a session into a folder, in the place of the one that is there, and remove what it has replaced.

    At every moment the folder holds one whole session, the old or the new.

    Parameters
    ----------
    folder : path
        The folder.
    session : SessionFile
        The session. Frames edited by hand are written once.
    state : int
        Number of the state of the folder that begins, from 0: masks and labels written with a higher number do not
        count, and of those with a lower one just what has not been written since.

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
    _write(folder / DOCUMENT, to_json(session, folder, state=state).encode())
    with writing(folder):
        for path in (folder / _PLANES).glob("*.zlib"):
            if path.stem not in planes:
                path.unlink(missing_ok=True)
        for kind in (_MASKS, _COMMITTED):
            _remove_replaced(folder / kind, state)


def write_masks(folder: str | os.PathLike[str], frame: int, masks: Sequence[ObjectMask], *, state: int = 0) -> None:
    """Write the masks that are held of a frame from a state on; without any, none are stored then.

    Raises
    ------
    ImageFileError
        If they cannot be written.
    """
    _write_version(Path(folder) / _MASKS, frame, state, _packed_masks(masks) if masks else None)


def write_committed(folder: str | os.PathLike[str], frame: int, plane: NDArray[np.integer], *, state: int = 0) -> None:
    """Write the committed labels of a frame, (Y, X), from a state on; empty, none are stored then.

    Raises
    ------
    ImageFileError
        If they cannot be written.
    """
    _write_version(Path(folder) / _COMMITTED, frame, state, _packed(plane=plane) if plane.any() else None)


def _write_version(folder: Path, frame: int, state: int, content: bytes | None) -> None:
    path = folder / f"{_version(frame, state)}{_SOME if content is not None else _NONE}"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        # No document knows of it yet, so nobody reads it while it is not complete.
        path.write_bytes(content or b"")


def _remove_replaced(folder: Path, state: int) -> None:
    if not folder.is_dir():
        return
    by_frame: dict[int, list[tuple[int, Path]]] = defaultdict(list)
    for frame, since, path in _numbered(folder):
        if since <= state:
            by_frame[frame].append((since, path))
    for versions in by_frame.values():
        *replaced, (_, newest) = sorted(versions)
        for _, path in replaced:
            path.unlink(missing_ok=True)
        if newest.suffix == _NONE:  # after all that it has replaced
            newest.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
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
        return from_json(_document(root), folder, lambda digest: (root / _plane_name(digest)).read_bytes())


def _document(root: Path | zipfile.Path) -> object:
    try:
        return json.loads((root / DOCUMENT).read_bytes())
    except (ValueError, RecursionError) as error:
        raise SessionError(f"{DOCUMENT} is not JSON ({error}). Give a session written by napari-sam2.") from error


def frames_stored(path: str | os.PathLike[str]) -> StoredFrames:
    """Say of which frames masks and committed labels are stored.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    with _opened(Path(path)) as root:
        return StoredFrames(*(tuple(sorted(_stored(root, kind))) for kind in (_MASKS, _COMMITTED)))


def read_masks(path: str | os.PathLike[str], frame: int) -> tuple[ObjectMask, ...]:
    """Read the masks that were held of a frame; none if none are stored.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    with _opened(Path(path)) as root:
        place = _stored(root, _MASKS).get(frame)
        return () if place is None else _stored_masks(place, frame)


def read_committed(path: str | os.PathLike[str], frame: int) -> NDArray[np.integer] | None:
    """Read the committed labels of a frame, (Y, X); None if none are stored.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    with _opened(Path(path)) as root:
        place = _stored(root, _COMMITTED).get(frame)
        return None if place is None else _stored_plane(place, frame)


def iter_masks(path: str | os.PathLike[str]) -> Iterator[tuple[int, tuple[ObjectMask, ...]]]:
    """Read frame after frame whose masks are stored. Opens a session of many frames once.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    with _opened(Path(path)) as root:
        for frame, place in sorted(_stored(root, _MASKS).items()):
            yield frame, _stored_masks(place, frame)


def iter_committed(path: str | os.PathLike[str]) -> Iterator[tuple[int, NDArray[np.integer]]]:
    """Read frame after frame whose committed labels are stored. Opens a session of many frames once.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    with _opened(Path(path)) as root:
        for frame, place in sorted(_stored(root, _COMMITTED).items()):
            yield frame, _stored_plane(place, frame)


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


def _stored(root: Path | zipfile.Path, kind: str) -> dict[int, Path | zipfile.Path]:
    """Where masks or committed labels are, by frame, in the state in which the document says that the session is."""
    folder = root / kind
    if not folder.is_dir():
        return {}
    state = state_of(_document(root))
    newest: dict[int, tuple[int, Path | zipfile.Path]] = {}
    for frame, since, path in _numbered(folder):
        if since <= state and since >= newest.get(frame, (0, path))[0]:
            newest[frame] = since, path
    return {frame: path for frame, (_, path) in newest.items() if not path.name.endswith(_NONE)}


def _numbered(folder: _Place) -> Iterator[tuple[int, int, _Place]]:
    """Frame, first state and place of everything in a folder of masks or labels."""
    for entry in folder.iterdir():
        match = re.fullmatch(rf"(\d{{6,}})(?:\.s(\d+))?(?:{_SOME}|{_NONE})", entry.name)
        if match:
            yield int(match[1]), int(match[2] or 0), entry  # type: ignore[misc]  # a folder gives what it is


def _stored_masks(path: Path | zipfile.Path, frame: int) -> tuple[ObjectMask, ...]:
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


def _stored_plane(path: Path | zipfile.Path, frame: int) -> NDArray[np.integer]:
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


def _version(frame: int, state: int) -> str:
    return f"{frame:06d}.s{state}" if state else f"{frame:06d}"


def _plane_name(digest: str) -> str:
    return f"{_PLANES}/{digest}.zlib"
