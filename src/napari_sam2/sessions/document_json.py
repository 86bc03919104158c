"""The JSON document of a session, read: every number is checked against the image that the document says it is of."""

from __future__ import annotations

import hashlib
import math
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np

from napari_sam2.errors import PromptError, SessionError
from napari_sam2.files.json_fields import brief, check_fields, checked_limits, is_whole
from napari_sam2.files.mask_runs import LARGEST_MASK
from napari_sam2.files.prompt_entries import prompts_from_entries
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.prompts import MAX_OBJECT_ID, PromptSet, Target
from napari_sam2.sessions.document import FORMAT, VERSION, ImageUsed, Session
from napari_sam2.sessions.steps import Commit, HandEdit, MaskSource, ModelUsed, PackedPlane, Renumbering, Step
from napari_sam2.tracking.propagation import DirectionName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_sam2.frames import ContrastLimits
    from napari_sam2.prompts import Prompt

_Value = TypeVar("_Value")

LONGEST_STACK = 10**6
"""Frames of an image beyond which their number is taken for a mistake."""

MOST_FRAMES = 5 * 10**7
"""Frames of all ranges of a session together, beyond which they are taken for a mistake."""

_LABEL_TYPES = tuple(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64))

_REQUIRED = (
    "format",
    "version",
    "image",
    "model",
    "direction",
    "policy",
    "models",
    "prompts",
    "said",
    "takes",
    "steps",
)
_OPTIONAL = (
    *("contrast_limits", "start", "stop", "threshold", "least_confidence"),
    *("names", "hidden", "locked", "approved", "replaced", "state"),
)
_TAKE = ("object_id", "model", "prompts", "frames")
_PLANE = ("shape", "dtype", "sha256")


def from_json(document: object, folder: Path, read_plane: Callable[[str, int], bytes]) -> Session:
    """Make a session of JSON that was read.

    Parameters
    ----------
    document : object
        From `parse_json`.
    folder : Path
        Where the document is; a relative path of the image starts there.
    read_plane : callable
        Gives the data of a frame edited by hand, by checksum; also told how many bytes these are at most.

    Raises
    ------
    SessionError
        If it is no session of a known version, or a part of it is missing, misspelt or wrong; it says which.
    """
    entry = _known_version(document)
    with _within("session"):
        check_fields(entry, _REQUIRED, _OPTIONAL)
    image = _image_of(entry, folder)
    frames = _Frames(image.frame_shape[0])
    models = _each(entry, "models", _model)
    tables = _ReadTables(_prompts(entry, image.frame_shape), models, frames, image.frame_shape[1:], read_plane)
    return Session(
        image=image,
        contrast_limits=_limits(entry),
        steps=_each(entry, "steps", tables.step),
        takes=_each(entry, "takes", tables.take),
        prompts=tables.prompt_set(entry, "said"),
        approved=_each(entry, "approved", frames.target),
        replaced=tables.prompt_set(entry, "replaced"),
        names=_names(entry),
        hidden=_object_ids(entry, "hidden"),
        locked=_object_ids(entry, "locked"),
        model=_place(entry, "model"),
        direction=_choice(entry, "direction", {name: name for name in get_args(DirectionName)}),
        start=frames.number(entry, "start") if "start" in entry else None,
        stop=frames.number(entry, "stop") if "stop" in entry else None,
        policy=_choice(entry, "policy", _POLICIES),
        threshold=_share(entry, "threshold", 0.5),
        least_confidence=_share(entry, "least_confidence", 0.0),
    )


def state_of(document: object) -> int:
    """Read from the JSON of a session in which state its folder is; 0 unless it says otherwise.

    Raises
    ------
    SessionError
        If it is no session of a known version, or the state is no whole number from 0.
    """
    entry = _known_version(document)
    return _number(entry, "state", least=0) if "state" in entry else 0


def frame_shape_of(document: object) -> tuple[int, int, int]:
    """Read from the JSON of a session how many frames its image has, and the rows and columns of each.

    Raises
    ------
    SessionError
        If it is no session of a known version, or does not say what its image is.
    """
    entry = _known_version(document)
    with _within("session"):
        check_fields(entry, ("image",), (*_REQUIRED, *_OPTIONAL))
    return _image_of(entry, Path()).frame_shape


_POLICIES = {policy.value: policy for policy in CommitPolicy}


def _known_version(document: object) -> dict[str, Any]:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise SessionError(f'this is not a session: it must say "format": "{FORMAT}".')
    version = document.get("version")
    if not is_whole(version) or version < 1:
        raise SessionError(f'"version" is {brief(version)}. Use {VERSION}.')
    if version > VERSION:
        raise SessionError(
            f"the session has version {version}, and this program reads up to {VERSION}. Update napari-sam2."
        )
    return document


class _Frames:
    """Frames of a stack, as a document refers to them."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self._left = MOST_FRAMES
        self._all: tuple[int, ...] = ()

    def number(self, entry: dict[str, Any], name: str) -> int:
        return _number(entry, name, least=0, most=self.num_frames - 1)

    def target(self, entry: object) -> Target:
        if not isinstance(entry, list) or len(entry) != 2 or not all(is_whole(one) for one in entry):
            raise SessionError(f"this is {brief(entry)}. Write [object id, frame].")
        fields = dict(zip(("object id", "frame"), entry, strict=True))
        return Target(_number(fields, "object id", least=1, most=MAX_OBJECT_ID), self.number(fields, "frame"))

    def ranges(self, entry: dict[str, Any]) -> tuple[int, ...]:
        """Ranges of frames as numbers."""
        given = entry["frames"]
        ranges: list[tuple[int, int]] = []
        for pair in given if isinstance(given, list) else [given]:
            is_range = isinstance(pair, list) and len(pair) == 2 and all(is_whole(end) for end in pair)
            if not is_range or not 0 <= pair[0] <= pair[1] or (ranges and pair[0] <= ranges[-1][1]):
                raise SessionError(f'"frames" is {brief(given)}. Write ascending ranges, [[first, last], ...].')
            ranges.append((pair[0], pair[1]))
        if ranges and ranges[-1][1] >= self.num_frames:
            raise SessionError(
                f'"frames" go to {ranges[-1][1]}, and the image has {self.num_frames} frames, numbered from 0. Use '
                "another copy of the session."
            )
        self._left -= sum(last + 1 - first for first, last in ranges)
        if self._left < 0:
            raise SessionError(f"the session names more than {MOST_FRAMES:,} frames in all. Use another copy of it.")
        # Millions of frames, many times: each number is there once.
        self._all = self._all or tuple(range(self.num_frames))
        return tuple(frame for first, last in ranges for frame in self._all[first : last + 1])


@dataclass(frozen=True, slots=True)
class _ReadTables:
    """What takes and steps refer to."""

    prompts: tuple[Prompt, ...]
    models: tuple[ModelUsed, ...]
    frames: _Frames
    frame_shape: tuple[int, int]
    read_plane: Callable[[str, int], bytes]
    planes: dict[str, bytes] = field(default_factory=dict)

    def prompt_set(self, entry: dict[str, Any], name: str) -> PromptSet:
        with _within(name):
            return PromptSet(self._prompts(entry, name))

    def take(self, entry: object) -> MaskSource:
        fields = _fields(entry, _TAKE)
        object_id, number = _object_id(fields, "object_id"), _number(fields, "model", least=0)
        if number >= len(self.models):
            raise SessionError(f'"model" is {number}, and there are {len(self.models)} models, numbered from 0.')
        return MaskSource(object_id, self._prompts(fields, "prompts"), self.models[number], self.frames.ranges(fields))

    def step(self, entry: object) -> Step:
        kind = entry.get("kind") if isinstance(entry, dict) else None
        match kind:
            case "commit":
                fields = _fields(entry, ("kind", "policy", "takes"), ("locked",))
                policy = _choice(fields, "policy", _POLICIES)
                return Commit(_each(fields, "takes", self.take), policy, _object_ids(fields, "locked"))
            case "renumbering":
                fields = _fields(entry, ("kind", "old", "new"), ("frames",))
                where = self.frames.ranges(fields) if "frames" in fields else None
                new = _number(fields, "new", least=0, most=MAX_OBJECT_ID)
                return Renumbering(_object_id(fields, "old"), new, where)
            case "hand edit":
                fields = _fields(entry, ("kind", "planes"))
                return HandEdit(_by_number(fields, "planes", range(self.frames.num_frames), self._plane))
            case _:
                raise SessionError(f'"kind" is {brief(kind)}. Use "commit", "renumbering" or "hand edit".')

    def _prompts(self, entry: dict[str, Any], name: str) -> tuple[Prompt, ...]:
        numbers = _numbers(entry, name, least=0)
        if max(numbers, default=-1) >= len(self.prompts):
            raise SessionError(
                f'"{name}" has the number {max(numbers)}, and there are {len(self.prompts)} prompts, numbered from 0.'
            )
        return tuple(self.prompts[number] for number in numbers)

    def _plane(self, entry: object) -> PackedPlane:
        fields = _fields(entry, _PLANE)
        shape = _numbers(fields, "shape", least=1)
        if shape != self.frame_shape:
            raise SessionError(
                f'"shape" is {brief(shape)}, and the frames of the image have {self.frame_shape[0]} x '
                f"{self.frame_shape[1]} pixels. Use another copy of the session."
            )
        dtype = _choice(fields, "dtype", {name: name for name in _LABEL_TYPES})
        return PackedPlane(self.frame_shape, dtype, self._plane_data(_checksum(fields), dtype))

    def _plane_data(self, digest: str, dtype: str) -> bytes:
        if digest not in self.planes:
            length = math.prod(self.frame_shape) * np.dtype(dtype).itemsize
            # What cannot be compressed becomes a little longer.
            data = self.read_plane(digest, length + length // 100 + 1000)
            if hashlib.sha256(data).hexdigest() != digest:
                raise SessionError(
                    f"the data of the frame with checksum {digest} is damaged. Use another copy of the file."
                )
            self.planes[digest] = data
        return self.planes[digest]


def _prompts(entry: dict[str, Any], frame_shape: tuple[int, int, int]) -> tuple[Prompt, ...]:
    given = entry["prompts"]
    if not isinstance(given, list):
        raise SessionError(f'"prompts" is {brief(given)}. Write a list, [...].')
    num_frames, *size = frame_shape
    try:
        prompts = prompts_from_entries(given, (size[0], size[1]))
    except PromptError as error:
        raise SessionError(str(error)) from error
    for number, prompt in enumerate(prompts):
        if prompt.frame >= num_frames or prompt.object_id > MAX_OBJECT_ID:
            raise SessionError(
                f"entry {number} of the prompts: it is of object {prompt.object_id} on frame {prompt.frame}. Ids go up "
                f"to {MAX_OBJECT_ID}, and the image has {num_frames} frames, numbered from 0."
            )
    return prompts


_IMAGE_OPTIONAL = ("path", "axes", "channels", "is_rgb", "order", "level")


def _image_of(entry: dict[str, Any], folder: Path) -> ImageUsed:
    with _within("image"):
        return _image(entry["image"], folder)


def _image(entry: object, folder: Path) -> ImageUsed:
    fields = _fields(entry, ("name", "shape", "dtype"), _IMAGE_OPTIONAL)
    shape = _numbers(fields, "shape", least=1)
    order = _numbers(fields, "order", least=0) if "order" in fields else None
    if len(shape) not in (2, 3) or (order is not None and sorted(order) != list(range(len(shape)))):
        raise SessionError(
            f'"shape" is {brief(shape)} and "order" {brief(order)}. Write two or three lengths, and in "order" the '
            "number of each of these axes once."
        )
    is_rgb = fields.get("is_rgb", False)
    if not isinstance(is_rgb, bool):
        raise SessionError(f'"is_rgb" is {brief(is_rgb)}. Use true or false.')
    image = ImageUsed(
        name=_string(fields, "name"),
        shape=shape,
        dtype=_string(fields, "dtype"),
        path=folder.absolute() / _place(fields, "path") if "path" in fields else None,
        axes=_string(fields, "axes") if "axes" in fields else None,
        channels=_numbers(fields, "channels", least=0),
        is_rgb=is_rgb,
        order=order,
        level=_number(fields, "level", least=0) if "level" in fields else 0,
    )
    frames, rows, columns = image.frame_shape
    if frames > LONGEST_STACK or rows * columns > LARGEST_MASK:
        raise SessionError(
            f'"shape" is {brief(shape)}, and images have up to {LONGEST_STACK:,} frames of {LARGEST_MASK:,} pixels. '
            "Use another copy of the session."
        )
    return image


def _model(entry: object) -> ModelUsed:
    fields = _fields(entry, ("name", "sha256", "image_size"), ("source", "contrast_limits", "channels"))
    return ModelUsed(
        name=_string(fields, "name"),
        sha256=_checksum(fields),
        image_size=_number(fields, "image_size", least=1),
        source=_place(fields, "source") if "source" in fields else None,
        contrast_limits=_limits(fields),
        channels=_numbers(fields, "channels", least=0) if "channels" in fields else None,
    )


def _limits(entry: dict[str, Any]) -> ContrastLimits | None:
    try:
        return checked_limits(entry["contrast_limits"]) if "contrast_limits" in entry else None
    except PromptError as error:
        raise SessionError(str(error)) from error


def _names(entry: dict[str, Any]) -> dict[int, str]:
    def name(given: object) -> str:
        if not isinstance(given, str):
            raise SessionError(f"this is {brief(given)}. Use text.")
        return given

    return _by_number(entry, "names", range(1, MAX_OBJECT_ID + 1), name) if "names" in entry else {}


def _by_number(
    entry: dict[str, Any], name: str, numbers: range, parse: Callable[[object], _Value]
) -> dict[int, _Value]:
    table = entry[name]
    if not isinstance(table, dict):
        raise SessionError(f'"{name}" is {brief(table)}. Write {{"3": ...}}.')
    parsed = {}
    for key, value in table.items():
        if not re.fullmatch(r"0|[1-9][0-9]{0,9}", key) or int(key) not in numbers:
            raise SessionError(
                f'"{name}" has the key {brief(key)}. Write a number from {numbers.start} to {numbers.stop - 1} before '
                "each colon."
            )
        with _within(f"{name} {key}"):
            parsed[int(key)] = parse(value)
    return parsed


def _each(entry: dict[str, Any], name: str, parse: Callable[[object], _Value]) -> tuple[_Value, ...]:
    given = entry.get(name, [])
    if not isinstance(given, list):
        raise SessionError(f'"{name}" is {brief(given)}. Write a list, [...].')
    parsed = []
    for number, one in enumerate(given):
        with _within(f"{name} {number}"):
            parsed.append(parse(one))
    return tuple(parsed)


def _fields(entry: object, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise SessionError(f'this is {brief(entry)}. Write {{"{required[0]}": ..., ...}}.')
    check_fields(entry, required, optional)
    return entry


def _string(entry: dict[str, Any], name: str) -> str:
    value = entry[name]
    if not isinstance(value, str) or not value:
        raise SessionError(f'"{name}" is {brief(value)}. Use text.')
    return value


def _place(entry: dict[str, Any], name: str) -> str:
    """Text that can be the name of a file, or of a model."""
    value = _string(entry, name)
    try:
        is_name = b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise SessionError(f'"{name}" is {brief(value)}, which no file can be called. Use another copy of the session.')
    return value


def _checksum(entry: dict[str, Any]) -> str:
    digest = _string(entry, "sha256")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise SessionError(f'"sha256" is {brief(digest)}. Use 64 hexadecimal digits.')
    return digest


def _number(entry: dict[str, Any], name: str, *, least: int, most: int | None = None) -> int:
    value = entry[name]
    if not is_whole(value) or value < least or (most is not None and value > most):
        until = "" if most is None else f" to {most}"
        raise SessionError(f'"{name}" is {brief(value)}. Use a whole number from {least}{until}.')
    return value


def _object_id(entry: dict[str, Any], name: str) -> int:
    return _number(entry, name, least=1, most=MAX_OBJECT_ID)


def _object_ids(entry: dict[str, Any], name: str) -> tuple[int, ...]:
    ids = _numbers(entry, name, least=1)
    if max(ids, default=0) > MAX_OBJECT_ID:
        raise SessionError(f'"{name}" has the id {max(ids)}, and ids go up to {MAX_OBJECT_ID}.')
    return ids


def _numbers(entry: dict[str, Any], name: str, *, least: int) -> tuple[int, ...]:
    values = entry.get(name, [])
    if not isinstance(values, list) or not all(is_whole(value) and value >= least for value in values):
        raise SessionError(f'"{name}" is {brief(values)}. Write a list of whole numbers from {least}.')
    return tuple(values)


def _share(entry: dict[str, Any], name: str, default: float) -> float:
    value = entry.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise SessionError(f'"{name}" is {brief(value)}. Use a number from 0 to 1.')
    return float(value)


def _choice(entry: dict[str, Any], name: str, choices: Mapping[str, _Value]) -> _Value:
    value = entry[name]
    if not isinstance(value, str) or value not in choices:
        raise SessionError(f'"{name}" is {brief(value)}. Use one of: {", ".join(choices)}.')
    return choices[value]


@contextmanager
def _within(place: str) -> Iterator[None]:
    """Say of a mistake where it is."""
    try:
        yield
    except (PromptError, SessionError) as error:
        raise SessionError(f"{place}: {error}") from error
