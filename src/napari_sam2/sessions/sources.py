"""What a session was made from, found again: its image as the model saw it, and its models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import ImageFileError, SessionError
from napari_sam2.files.images.arrays import AxesView, JoinedChannels
from napari_sam2.files.images.reading import ImageFile, read_image
from napari_sam2.frames import FrameStack
from napari_sam2.sessions.replay import models_used

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam2.frames import ArrayLike
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.sessions.document import Session
    from napari_sam2.sessions.images import ImageUsed
    from napari_sam2.sessions.steps import ModelUsed


@dataclass(frozen=True, slots=True, eq=False)
class SessionImage:
    """The image of a session.

    Attributes
    ----------
    session : Session
        The session.
    files : mapping of int or None to ImageFile
        The file, opened for each channel that a model saw; under None, as a whole.
    """

    session: Session
    files: Mapping[int | None, ImageFile]

    @property
    def file(self) -> ImageFile:
        """The file, for its axes and pixel size."""
        return next(iter(self.files.values()))

    def frames(self, model: ModelUsed) -> FrameStack:
        """Return the image as a model saw it, read frame by frame.

        Raises
        ------
        OptionError
            If the contrast limits do not fit the channels.
        """
        used = self.session.image
        limits = self.session.contrast_limits if model.contrast_limits is None else model.contrast_limits
        channels = _channels(self.session, model)
        views = [_turned(self.files[channel], used.order) for channel in channels]
        array, channel_axis = (views[0], None) if len(views) == 1 else (JoinedChannels(views), 0)
        letters = self.files[channels[0]].axes
        if "C" in letters:
            channel_axis = len(used.shape)  # the colours of a whole file come last
        return FrameStack(
            array,
            contrast_limits=limits,
            channel_axis=channel_axis,
            rgb=letters.endswith("S"),
            single_image=len(used.shape) == 2,
        )


def open_image(session: Session, session_path: Path, *, path: Path | None = None) -> SessionImage:
    """Open the image of a session: where it was, else beside the session.

    Parameters
    ----------
    session : Session
        The session.
    session_path : Path
        Its file or folder.
    path : Path, optional
        Where the image is, for one that was moved.

    Raises
    ------
    SessionError
        If it is not the image that the session was made with, by its shape and type, or it came from no
        file.
    ImageFileError, FrameError, OptionError
        If it is missing or cannot be read; as in `read_image`.
    """
    used = session.image
    found = _found(used, session_path) if path is None else path
    seen = [_channels(session, model) for model in models_used(session)] or [_channels(session)]
    needed = dict.fromkeys(channel for channels in seen for channel in channels)
    # The session knows what a file may not say: whether its planes were frames.
    unknown = "T" if len(used.shape) == 3 else "C"
    files = {channel: read_image(found, axes=used.axes, channel=channel, unknown_axis=unknown) for channel in needed}
    for file in files.values():
        dtype = np.dtype(file.array.dtype).name
        if (file.label_shape, dtype) != (used.shape, used.dtype):
            raise SessionError(
                f"{found} has the shape {file.label_shape} and the type {dtype}, and the session was made on "
                f"{used.name!r} of shape {used.shape}{f', level {used.level},' if used.level else ''} and type "
                f"{used.dtype}. Give the image that it was made with."
            )
    return SessionImage(session, files)


def load_model_used(model: ModelUsed, session_path: Path, *, device: str = "auto") -> Predictor:
    """Load a model of a session from where it was, else from beside the session, to answer as it did.

    Parameters
    ----------
    model : ModelUsed
        The model.
    session_path : Path
        File or folder of the session.
    device : str
        As in `load_predictor`.

    Raises
    ------
    ModelError
        If it is not there, or cannot be used.
    """
    from napari_sam2.inference.sam2 import load_predictor  # loads torch

    source = model.source or model.name
    beside = _beside(source, session_path)
    return load_predictor(
        beside if not Path(source).exists() and beside.exists() else source,
        device=device,
        image_size=model.image_size,
        framing=model.framing,
        drops_islands=model.drops_islands,
    )


def _found(used: ImageUsed, session_path: Path) -> Path:
    if used.path is None:
        raise SessionError(
            f"The session does not know the file of its image {used.name!r}. Save the image, and say where "
            "it is: --image PATH."
        )
    for path in (used.path, _beside(str(used.path), session_path)):
        if path.exists():
            return path
    raise ImageFileError(
        f"The image of the session is neither {used.path} nor beside the session. Say where it is, or put it there."
    )


def _beside(path: str, session_path: Path) -> Path:
    # PureWindowsPath knows both separators: sessions travel between systems.
    folder = session_path if session_path.is_dir() else session_path.parent
    return folder / PureWindowsPath(path).name


def _channels(session: Session, model: ModelUsed | None = None) -> tuple[int | None, ...]:
    """Return the channels of the file that a model saw, or that it sees now; None is all there are."""
    recorded = None if model is None else model.channels
    return (session.image.channels if recorded is None else recorded) or (None,)


def _turned(file: ImageFile, order: tuple[int, ...] | None) -> ArrayLike:
    """Return a view of an array in the order in which it was shown: frames, rows, columns, and then its colours."""
    plain = [axis for axis, letter in enumerate(file.axes) if letter not in "CS"]
    colours = [axis for axis, letter in enumerate(file.axes) if letter in "CS"]
    wanted = (*(plain[axis] for axis in order or range(len(plain))), *colours)
    return file.array if wanted == tuple(range(len(wanted))) else AxesView(file.array, {}, wanted)
