"""Sessions on disk: a folder that grows as one works, or one file, `.sam2session`, which is a zip of the same content.

`session.json` has all of it but pixels; `planes/` holds frames edited by hand. What can be computed again may be there
too, so that nobody has to wait for it: `masks/000012.npz` has the masks that were held of frame 12,
`committed/000012.npz` its committed labels.

A folder changes from one state to the next in one step, when its document is replaced. Masks and labels of the next
state are written beside those of the present one, with the number of the state in their names (`000012.s7.npz`, or
`000012.s7.none` where there are none any more), and count from the moment at which the document has that number; what
they replace is removed after that.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from napari_sam2.errors import SessionError
from napari_sam2.files.atomic import check_replaceable, replacing
from napari_sam2.files.limits import LARGEST_DOCUMENT
from napari_sam2.files.partial import writing
from napari_sam2.sessions.arrays import masks_from, packed_masks, packed_plane, plane_from
from napari_sam2.sessions.document import planes_of, to_json
from napari_sam2.sessions.document_json import from_json, state_and_shape
from napari_sam2.sessions.opening import content_of, opened
from sam2_model.strict_json import parse_json

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_sam2.results import ObjectMask
    from napari_sam2.sessions.document import Session

SUFFIX = ".sam2session"
"""How the name of a session in one file ends."""

DOCUMENT = "session.json"

_SOME, _NONE = ".npz", ".none"

_Place = TypeVar("_Place", bound=Path | zipfile.Path)

_Kind = TypeVar("_Kind")

_PLANES, _MASKS, _COMMITTED = "planes", "masks", "committed"


# One file ------------------------------------------------------------------------------------------------------------


def write_session(
    path: str | os.PathLike[str],
    session: Session,
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
    session : Session
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
    session: Session,
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
                archive.writestr(f"{_MASKS}/{_version(frame, 0)}{_SOME}", packed_masks(held))
        for frame in sorted(committed):
            labels = committed[frame]
            if labels.any():
                archive.writestr(f"{_COMMITTED}/{_version(frame, 0)}{_SOME}", packed_plane(labels))


# A folder ------------------------------------------------------------------------------------------------------------


def write_document(folder: str | os.PathLike[str], session: Session, *, state: int = 0) -> None:
    """Write a session into a folder, in the place of the one that is there, and remove what it has replaced.

    At every moment the folder holds one whole session, the old or the new.

    Parameters
    ----------
    folder : path
        The folder.
    session : Session
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
    _write_version(Path(folder) / _MASKS, frame, state, packed_masks(masks) if masks else None)


def write_committed(folder: str | os.PathLike[str], frame: int, plane: NDArray[np.integer], *, state: int = 0) -> None:
    """Write the committed labels of a frame, (Y, X), from a state on; empty, none are stored then.

    Raises
    ------
    ImageFileError
        If they cannot be written.
    """
    _write_version(Path(folder) / _COMMITTED, frame, state, packed_plane(plane) if plane.any() else None)


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


def read_session(path: str | os.PathLike[str]) -> Session:
    """Return the session in a file or a folder.

    Raises
    ------
    SessionError
        If it is no session of a known version, is damaged, or a part of it makes no sense.
    ImageFileError
        If it is missing or cannot be read.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    with opened(path) as root:
        return from_json(_document(root), folder, lambda digest, most: content_of(root / _plane_name(digest), most))


def _document(root: Path | zipfile.Path) -> object:
    content = content_of(root / DOCUMENT, LARGEST_DOCUMENT)
    try:
        return parse_json(content)
    except ValueError as error:
        raise SessionError(f"{DOCUMENT} is not JSON ({error}). Give a session written by napari-sam2.") from error


def iter_masks(path: str | os.PathLike[str]) -> Iterator[tuple[int, tuple[ObjectMask, ...]]]:
    """Yield the frames whose masks are stored, ascending, with the masks.

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    return _stored(Path(path), _MASKS, masks_from)


def iter_committed(path: str | os.PathLike[str]) -> Iterator[tuple[int, NDArray[np.integer]]]:
    """Yield the frames whose committed labels are stored, ascending, with the labels, (Y, X).

    Raises
    ------
    SessionError, ImageFileError
        As in `read_session`.
    """
    return _stored(Path(path), _COMMITTED, plane_from)


def _stored(
    path: Path, kind: str, unpack: Callable[[IO[bytes], int, tuple[int, int]], _Kind]
) -> Iterator[tuple[int, _Kind]]:
    """Yield what is stored of each frame and counts in the state of which the document is."""
    with opened(path) as root:
        if not (root / kind).is_dir():
            return
        state, (num_frames, rows, columns) = state_and_shape(_document(root))
        newest: dict[int, tuple[int, Path | zipfile.Path]] = {}
        for frame, since, place in _numbered(root / kind):
            if since <= state and since >= newest.get(frame, (0, place))[0]:
                newest[frame] = since, place
        places = {frame: place for frame, (_, place) in newest.items() if not place.name.endswith(_NONE)}
        if max(places, default=0) >= num_frames:
            raise SessionError(
                f"there are {kind} of frame {max(places)}, and the image has {num_frames} frames, numbered from 0. Use "
                "another copy of it."
            )
        for frame in sorted(places):
            place = places[frame]
            if isinstance(place, Path) and not place.is_file():  # whoever opens a pipe waits
                raise SessionError(f"{place.name} is no file. Use another copy of the session.")
            with place.open("rb") as file:
                unpacked = unpack(file, frame, (rows, columns))
            yield frame, unpacked


def _numbered(folder: _Place) -> Iterator[tuple[int, int, _Place]]:
    """Yield frame, first state and place of everything in a folder of masks or labels."""
    for entry in folder.iterdir():
        match = re.fullmatch(rf"(\d{{6,18}})(?:\.s(\d{{1,18}}))?(?:{_SOME}|{_NONE})", entry.name, re.ASCII)
        if match:
            yield int(match[1]), int(match[2] or 0), entry  # type: ignore[misc]  # a folder gives what it is


def _version(frame: int, state: int) -> str:
    return f"{frame:06d}.s{state}" if state else f"{frame:06d}"


def _plane_name(digest: str) -> str:
    return f"{_PLANES}/{digest}.zlib"
