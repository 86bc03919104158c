"""The JSON document of a session, read: every number is checked against the image in it."""

from __future__ import annotations

import hashlib
import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from napari_sam2.errors import PromptError, SessionError
from napari_sam2.files.json_fields import FieldError, Fields, brief, check_version, is_whole, within
from napari_sam2.files.prompt_entries import prompts_from_entries
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.prompts import MAX_OBJECT_ID, PromptSet, Target
from napari_sam2.sessions.document import FORMAT, VERSION, Exported, Session
from napari_sam2.sessions.images import image_from_entry, place_in
from napari_sam2.sessions.steps import Commit, HandEdit, MaskSource, ModelUsed, PackedPlane, Renumbering, Step
from napari_sam2.tracking.propagation import DirectionName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_sam2.prompts import Prompt
    from napari_sam2.sessions.images import ImageUsed

MOST_FRAMES = 5 * 10**7
"""Frames of all ranges of a session together, beyond which they are taken for a mistake."""

_LABEL_TYPES = tuple(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64))

_REQUIRED = (
    *("format", "version", "image", "model", "direction", "policy"),
    *("models", "prompts", "said", "takes", "steps"),
)
_OPTIONAL = (
    *("contrast_limits", "start", "stop", "threshold", "least_confidence"),
    *("names", "hidden", "locked", "approved", "replaced", "state", "drops_specks", "exported"),
)
_SOURCE = ("object_id", "model", "prompts", "frames")

_POLICIES = {policy.value: policy for policy in CommitPolicy}


def from_json(document: object, folder: Path, read_plane: Callable[[str, int], bytes]) -> Session:
    """Return the session that JSON describes.

    Parameters
    ----------
    document : object
        From `parse_json`.
    folder : Path
        Where the document is; a relative path of the image starts there.
    read_plane : callable
        Returns the data of a frame edited by hand, by checksum and the number of bytes that these are at most.

    Raises
    ------
    SessionError
        If it is no session of a known version, or a part of it is missing, misspelt or wrong; the message tells which.
    """
    with _session_errors():
        fields = _fields_of(document, _REQUIRED, _OPTIONAL)
        image = _image(fields, folder)
        frames = _Frames(image.frame_shape[0])
        models = fields.each("models", _model)
        tables = _Tables(_prompts(fields, image.frame_shape), models, frames, image.frame_shape[1:], read_plane)
        return Session(
            image=image,
            contrast_limits=fields.limits("contrast_limits"),
            steps=fields.each("steps", tables.step),
            sources=fields.each("takes", tables.source),
            prompts=tables.prompt_set(fields, "said"),
            approved=fields.each("approved", frames.target),
            replaced=tables.prompt_set(fields, "replaced"),
            names=fields.by_number("names", range(1, MAX_OBJECT_ID + 1), _name),
            hidden=_object_ids(fields, "hidden"),
            locked=_object_ids(fields, "locked"),
            model=place_in(fields, "model"),
            direction=fields.choice("direction", {name: name for name in get_args(DirectionName)}),
            start=frames.number(fields, "start") if "start" in fields else None,
            stop=frames.number(fields, "stop") if "stop" in fields else None,
            policy=fields.choice("policy", _POLICIES),
            threshold=fields.share("threshold", 0.5),
            least_confidence=fields.share("least_confidence", 0.0),
            drops_specks=fields.flag("drops_specks"),
            exported=_exported(fields["exported"]) if "exported" in fields else None,
        )


def state_and_shape(document: object) -> tuple[int, tuple[int, int, int]]:
    """Return the state in which the folder of a session is, 0 unless the JSON gives another, and the frames' shape.

    The shape is the number of frames of the image, and the rows and columns of each.

    Raises
    ------
    SessionError
        If it is no session of a known version, or a part of it that is read here is wrong.
    """
    with _session_errors():
        fields = _fields_of(document, ("image",), (*_REQUIRED, *_OPTIONAL))
        state = fields.whole("state", least=0) if "state" in fields else 0
        return state, _image(fields, Path()).frame_shape


def _image(fields: Fields, folder: Path) -> ImageUsed:
    with within("image"):
        return image_from_entry(fields["image"], folder)


@contextmanager
def _session_errors() -> Iterator[None]:
    try:
        yield
    except FieldError as error:
        raise SessionError(str(error)) from error


def _fields_of(document: object, required: tuple[str, ...], optional: tuple[str, ...]) -> Fields:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FieldError(f'this is not a session: it must say "format": "{FORMAT}".')
    check_version(document, VERSION, "the session")
    with within("session"):
        return Fields(document, required, optional)


class _Frames:
    """Frames of a stack, as a document refers to them."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self._left = MOST_FRAMES
        self._all: tuple[int, ...] = ()

    def number(self, fields: Fields, name: str) -> int:
        return fields.whole(name, least=0, most=self.num_frames - 1)

    def target(self, entry: object) -> Target:
        if not isinstance(entry, list) or len(entry) != 2 or not all(is_whole(one) for one in entry):
            raise FieldError(f"this is {brief(entry)}. Write [object id, frame].")
        names = ("object id", "frame")
        fields = Fields(dict(zip(names, entry, strict=True)), names)
        return Target(_object_id(fields, "object id"), self.number(fields, "frame"))

    def ranges(self, fields: Fields) -> tuple[int, ...]:
        """Return the frames of ranges."""
        given = fields["frames"]
        ranges: list[tuple[int, int]] = []
        for pair in given if isinstance(given, list) else [given]:
            is_range = isinstance(pair, list) and len(pair) == 2 and all(is_whole(end) for end in pair)
            if not is_range or not 0 <= pair[0] <= pair[1] or (ranges and pair[0] <= ranges[-1][1]):
                raise FieldError(f'"frames" is {brief(given)}. Write ascending ranges, [[first, last], ...].')
            ranges.append((pair[0], pair[1]))
        if ranges and ranges[-1][1] >= self.num_frames:
            raise FieldError(
                f'"frames" go to {ranges[-1][1]}, and the image has {self.num_frames} frames, numbered from 0. Use '
                "another copy of the session."
            )
        self._left -= sum(last + 1 - first for first, last in ranges)
        if self._left < 0:
            raise FieldError(f"the session names more than {MOST_FRAMES:,} frames in all. Use another copy of it.")
        # Millions of frames, many times: each number is there once.
        self._all = self._all or tuple(range(self.num_frames))
        return tuple(frame for first, last in ranges for frame in self._all[first : last + 1])


@dataclass(frozen=True, slots=True)
class _Tables:
    """What sources of masks and steps refer to."""

    prompts: tuple[Prompt, ...]
    models: tuple[ModelUsed, ...]
    frames: _Frames
    frame_shape: tuple[int, int]
    read_plane: Callable[[str, int], bytes]
    planes: dict[str, bytes] = field(default_factory=dict)

    def prompt_set(self, fields: Fields, name: str) -> PromptSet:
        with within(name):
            return PromptSet(self._prompts(fields, name))

    def source(self, entry: object) -> MaskSource:
        fields = Fields(entry, _SOURCE)
        object_id, number = _object_id(fields, "object_id"), fields.whole("model", least=0)
        if number >= len(self.models):
            raise FieldError(f'"model" is {number}, and there are {len(self.models)} models, numbered from 0.')
        return MaskSource(object_id, self._prompts(fields, "prompts"), self.models[number], self.frames.ranges(fields))

    def step(self, entry: object) -> Step:
        kind = entry.get("kind") if isinstance(entry, dict) else None
        match kind:
            case "commit":
                fields = Fields(entry, ("kind", "policy", "takes"), ("locked", "drops_specks"))
                return Commit(
                    fields.each("takes", self.source),
                    fields.choice("policy", _POLICIES),
                    _object_ids(fields, "locked"),
                    drops_specks=fields.flag("drops_specks"),
                )
            case "renumbering":
                fields = Fields(entry, ("kind", "old", "new"), ("frames",))
                where = self.frames.ranges(fields) if "frames" in fields else None
                new = fields.whole("new", least=0, most=MAX_OBJECT_ID)
                return Renumbering(_object_id(fields, "old"), new, where)
            case "hand edit":
                fields = Fields(entry, ("kind", "planes"))
                return HandEdit(fields.by_number("planes", range(self.frames.num_frames), self._plane))
            case _:
                raise FieldError(f'"kind" is {brief(kind)}. Use "commit", "renumbering" or "hand edit".')

    def _prompts(self, fields: Fields, name: str) -> tuple[Prompt, ...]:
        numbers = fields.wholes(name, least=0)
        if max(numbers, default=-1) >= len(self.prompts):
            raise FieldError(
                f'"{name}" has the number {max(numbers)}, and there are {len(self.prompts)} prompts, numbered from 0.'
            )
        return tuple(self.prompts[number] for number in numbers)

    def _plane(self, entry: object) -> PackedPlane:
        fields = Fields(entry, ("shape", "dtype", "sha256"))
        shape = fields.wholes("shape", least=1)
        if shape != self.frame_shape:
            raise FieldError(
                f'"shape" is {brief(shape)}, and the frames of the image have {self.frame_shape[0]} x '
                f"{self.frame_shape[1]} pixels. Use another copy of the session."
            )
        dtype = fields.choice("dtype", {name: name for name in _LABEL_TYPES})
        return PackedPlane(self.frame_shape, dtype, self._plane_data(fields.digest("sha256"), dtype))

    def _plane_data(self, digest: str, dtype: str) -> bytes:
        if digest not in self.planes:
            length = math.prod(self.frame_shape) * np.dtype(dtype).itemsize
            # What cannot be compressed becomes a little longer.
            data = self.read_plane(digest, length + length // 100 + 1000)
            if hashlib.sha256(data).hexdigest() != digest:
                raise FieldError(
                    f"the data of the frame with checksum {digest} is damaged. Use another copy of the file."
                )
            self.planes[digest] = data
        return self.planes[digest]


def _prompts(fields: Fields, frame_shape: tuple[int, int, int]) -> tuple[Prompt, ...]:
    given = fields["prompts"]
    if not isinstance(given, list):
        raise FieldError(f'"prompts" is {brief(given)}. Write a list, [...].')
    num_frames, *size = frame_shape
    try:
        prompts = prompts_from_entries(given, (size[0], size[1]))
    except PromptError as error:
        raise FieldError(str(error)) from error
    for number, prompt in enumerate(prompts):
        if prompt.frame >= num_frames or prompt.object_id > MAX_OBJECT_ID:
            raise FieldError(
                f"entry {number} of the prompts: it is of object {prompt.object_id} on frame {prompt.frame}. Ids go up "
                f"to {MAX_OBJECT_ID}, and the image has {num_frames} frames, numbered from 0."
            )
    return prompts


def _model(entry: object) -> ModelUsed:
    optional = ("source", "contrast_limits", "channels", "framing", "drops_islands")
    fields = Fields(entry, ("name", "sha256", "image_size"), optional)
    return ModelUsed(
        name=fields.text("name"),
        sha256=fields.digest("sha256"),
        image_size=fields.whole("image_size", least=1),
        source=place_in(fields, "source") if "source" in fields else None,
        contrast_limits=fields.limits("contrast_limits"),
        channels=fields.wholes("channels", least=0) if "channels" in fields else None,
        framing=fields.framing(),
        drops_islands=fields.flag("drops_islands"),
    )


def _exported(entry: object) -> Exported:
    with within("exported"):
        fields = Fields(entry, ("folder", "when"))
        given = fields.text("when")
        try:
            when = datetime.fromisoformat(given)
        except ValueError:
            when = None
        if when is None or when.utcoffset() is None:
            raise FieldError(f'"when" is {brief(given)}. Write a date and a time with its zone, as in ISO 8601.')
        return Exported(fields.text("folder"), when)


def _name(given: object) -> str:
    if not isinstance(given, str):
        raise FieldError(f"this is {brief(given)}. Use text.")
    return given


def _object_id(fields: Fields, name: str) -> int:
    return fields.whole(name, least=1, most=MAX_OBJECT_ID)


def _object_ids(fields: Fields, name: str) -> tuple[int, ...]:
    ids = fields.wholes(name, least=1)
    if max(ids, default=0) > MAX_OBJECT_ID:
        raise FieldError(f'"{name}" has the id {max(ids)}, and ids go up to {MAX_OBJECT_ID}.')
    return ids
