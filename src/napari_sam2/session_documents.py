"""What a session is, and the JSON document it becomes: everything that the labels on the screen depend on.

Prompts and models stand in tables and are referred to by number, because many masks come from the same ones. Frames
edited by hand are referred to by checksum and kept beside the document.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from napari_sam2.errors import PromptError, SessionError
from napari_sam2.merging import CommitPolicy
from napari_sam2.prompt_files import brief, check_fields, checked_limits, entry_of, is_whole, prompt_from
from napari_sam2.prompts import PromptSet, Target
from napari_sam2.propagation import DirectionName
from napari_sam2.work_log import Commit, HandEdit, ModelUsed, PackedPlane, Renumbering, Step, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_sam2.frames import ContrastLimits
    from napari_sam2.prompts import Prompt

FORMAT = "napari-sam2 session"
VERSION = 1

LONGEST_STACK = 10**7
"""Frames beyond which a number is taken for a mistake, before memory is asked for them."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUsed:
    """The image that was worked on, and how it was read as frames.

    Attributes
    ----------
    name : str
        What the user knows it by.
    shape : tuple of int
        Length of each axis of its data, without channels and colours, on the level that was read.
    dtype : str
        Name of the type of its values.
    path : Path, optional
        The file or folder; None if it came from elsewhere.
    axes : str, optional
        Meaning of the axes of the file, where it does not say itself.
    channels : tuple of int
        Channels of the file that the model sees now; all there are when empty.
    is_rgb : bool
        Whether there is a last axis of red, green and blue.
    order : tuple of int, optional
        Axes of `shape` that are frames (where there are any), rows and columns. None means their own order.
    level : int
        Resolution level of a multiscale image, 0 the finest.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    path: Path | None = None
    axes: str | None = None
    channels: tuple[int, ...] = ()
    is_rgb: bool = False
    order: tuple[int, ...] | None = None
    level: int = 0

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Number of frames, 1 for a single image, and the rows and columns of each."""
        frames, rows, columns = (1, *(self.shape[axis] for axis in self.order or range(len(self.shape))))[-3:]
        return frames, rows, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFile:
    """A session: what was said, what came of it, and what was chosen.

    Attributes
    ----------
    image : ImageUsed
        The image.
    contrast_limits : (float, float) or one pair per channel, optional
        Intensities that the model sees as black and white now; None for 8-bit RGB, which it sees as it is.
    steps : tuple of Step
        How the committed labels came about.
    takes : tuple of Take
        Masks that are held and not committed, hidden ones included.
    prompts : PromptSet
        All that is said now, masks painted or approved in the place of what was said before them.
    approved : tuple of Target
        Targets of which the mask among `prompts` was painted or approved.
    replaced : PromptSet
        What was said of these targets before, and is still drawn in the layers.
    names : mapping of int to str
        Names given to objects.
    hidden, locked : tuple of int
        Objects that are not shown, and those that may not change.
    model : str
        The chosen model: registry name or path.
    direction : {"both", "forward", "backward"}
        How objects are followed.
    start, stop : int, optional
        First and last frame; the whole stack when None.
    policy : CommitPolicy
        How objects are committed.
    threshold : float
        Confidence below which a frame is doubtful.
    least_confidence : float
        Confidence below which a mask is not shown.
    """

    image: ImageUsed
    contrast_limits: ContrastLimits | None = None
    steps: tuple[Step, ...] = ()
    takes: tuple[Take, ...] = ()
    prompts: PromptSet = field(default_factory=PromptSet)
    approved: tuple[Target, ...] = ()
    replaced: PromptSet = field(default_factory=PromptSet)
    names: Mapping[int, str] = field(default_factory=dict)
    hidden: tuple[int, ...] = ()
    locked: tuple[int, ...] = ()
    model: str = "nano"
    direction: DirectionName = "both"
    start: int | None = None
    stop: int | None = None
    policy: CommitPolicy = CommitPolicy.KEEP
    threshold: float = 0.5
    least_confidence: float = 0.0


def planes_of(session: SessionFile) -> dict[str, PackedPlane]:
    """Frames edited by hand, by checksum."""
    edits = (step for step in session.steps if isinstance(step, HandEdit))
    return {plane.digest: plane for edit in edits for plane in edit.planes.values()}


# Writing -------------------------------------------------------------------------------------------------------------


def to_json(session: SessionFile, folder: Path, *, state: int = 0) -> str:
    """Write a session as JSON, without the frames edited by hand.

    Parameters
    ----------
    session : SessionFile
        The session.
    folder : Path
        Where the document is going to be. An image in it or below is found again when the folder is moved.
    state : int
        Number of the state of the folder of which the document is; see `session_files`.
    """
    tables = _Tables()
    takes = _Lines(tables.take_entry(take) for take in session.takes)
    steps = _Lines(tables.step_entry(step) for step in session.steps)
    said, replaced = ([tables.prompts.number(p) for p in s.prompts] for s in (session.prompts, session.replaced))
    parts: dict[str, object] = {
        "format": FORMAT,
        "version": VERSION,
        "state": state or None,
        "image": _image_entry(session.image, folder),
        "contrast_limits": session.contrast_limits,
        "model": session.model,
        "direction": session.direction,
        "start": session.start,
        "stop": session.stop,
        "policy": session.policy.value,
        "threshold": session.threshold,
        "least_confidence": session.least_confidence,
        "names": {str(object_id): name for object_id, name in session.names.items()},
        "hidden": session.hidden,
        "locked": session.locked,
        "models": _Lines(_known(asdict(model)) for model in tables.models.values),
        "prompts": _Lines(entry_of(prompt) for prompt in tables.prompts.values),
        "said": said,
        "approved": [(target.object_id, target.frame) for target in session.approved],
        "replaced": replaced,
        "takes": takes,
        "steps": steps,
    }
    lines = (f"  {json.dumps(name)}: {_text(part)}" for name, part in parts.items() if part is not None)
    return "{\n" + ",\n".join(lines) + "\n}\n"


_Value = TypeVar("_Value", bound="Hashable")


class _Table(Generic[_Value]):
    """Values in the order in which they were first met."""

    def __init__(self) -> None:
        self.values: list[_Value] = []
        self._numbers: dict[_Value, int] = {}

    def number(self, value: _Value) -> int:
        if value not in self._numbers:
            self._numbers[value] = len(self.values)
            self.values.append(value)
        return self._numbers[value]


class _Tables:
    """What takes and steps refer to."""

    def __init__(self) -> None:
        self.prompts: _Table[Prompt] = _Table()
        self.models: _Table[ModelUsed] = _Table()

    def take_entry(self, take: Take) -> dict[str, object]:
        prompts = [self.prompts.number(prompt) for prompt in take.prompts]
        model, frames = self.models.number(take.model), _ranges(take.frames)
        return {"object_id": take.object_id, "model": model, "prompts": prompts, "frames": frames}

    def step_entry(self, step: Step) -> dict[str, object]:
        match step:
            case Commit(takes=takes, policy=policy, locked=locked):
                entries = [self.take_entry(take) for take in takes]
                return {"kind": "commit", "policy": policy.value, "locked": locked, "takes": entries}
            case Renumbering(old=old, new=new, frames=frames):
                where = {} if frames is None else {"frames": _ranges(frames)}
                return {"kind": "renumbering", "old": old, "new": new, **where}
            case HandEdit(planes=planes):
                entered = {
                    str(frame): {"shape": plane.shape, "dtype": plane.dtype, "sha256": plane.digest}
                    for frame, plane in planes.items()
                }
                return {"kind": "hand edit", "planes": entered}


class _Lines(list[object]):
    """A list of which every entry has a line: a file a person can read, and a version control system compare."""


def _text(part: object) -> str:
    if isinstance(part, _Lines) and part:
        return "[\n    " + ",\n    ".join(json.dumps(entry) for entry in part) + "\n  ]"
    return json.dumps(part)


def _image_entry(image: ImageUsed, folder: Path) -> dict[str, object]:
    path = image.path
    if path is not None and path.is_absolute() and path.is_relative_to(folder.absolute()):
        path = path.relative_to(folder.absolute())
    entry = asdict(image) | {"path": None if path is None else path.as_posix()}
    return _known(entry)


def _known(entry: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in entry.items() if value is not None}


def _ranges(frames: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges, both ends included."""
    ranges: list[tuple[int, int]] = []
    for frame in frames:
        if ranges and ranges[-1][1] == frame - 1:
            ranges[-1] = (ranges[-1][0], frame)
        else:
            ranges.append((frame, frame))
    return ranges


# Reading -------------------------------------------------------------------------------------------------------------


def from_json(document: object, folder: Path, read_plane: Callable[[str], bytes]) -> SessionFile:
    """Make a session of JSON that was read.

    Parameters
    ----------
    document : object
        From `json.loads`.
    folder : Path
        Where the document is; a relative path of the image starts there.
    read_plane : callable
        Gives the data of a frame edited by hand, by checksum.

    Raises
    ------
    SessionError
        If it is no session of a known version, or a part of it is missing, misspelt or wrong; it says which.
    """
    entry = _known_version(document)
    with _within("session"):
        check_fields(entry, _REQUIRED, _OPTIONAL)
    tables = _ReadTables(_each(entry, "prompts", prompt_from), _each(entry, "models", _model), read_plane)
    with _within("image"):
        image = _image(entry["image"], folder)
    return SessionFile(
        image=image,
        contrast_limits=_limits(entry),
        steps=_each(entry, "steps", tables.step),
        takes=_each(entry, "takes", tables.take),
        prompts=tables.prompt_set(entry, "said"),
        approved=_each(entry, "approved", _target),
        replaced=tables.prompt_set(entry, "replaced"),
        names=_names(entry),
        hidden=_numbers(entry, "hidden", least=1),
        locked=_numbers(entry, "locked", least=1),
        model=_string(entry, "model"),
        direction=_choice(entry, "direction", {name: name for name in get_args(DirectionName)}),
        start=_number(entry, "start", least=0) if "start" in entry else None,
        stop=_number(entry, "stop", least=0) if "stop" in entry else None,
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


@dataclass(frozen=True, slots=True)
class _ReadTables:
    """What takes and steps refer to by number."""

    prompts: tuple[Prompt, ...]
    models: tuple[ModelUsed, ...]
    read_plane: Callable[[str], bytes]

    def prompt_set(self, entry: dict[str, Any], name: str) -> PromptSet:
        with _within(name):
            return PromptSet(self._prompts(entry, name))

    def take(self, entry: object) -> Take:
        fields = _fields(entry, _TAKE)
        object_id, number = _number(fields, "object_id", least=1), _number(fields, "model", least=0)
        if number >= len(self.models):
            raise SessionError(f'"model" is {number}, and there are {len(self.models)} models, numbered from 0.')
        return Take(object_id, self._prompts(fields, "prompts"), self.models[number], _frames(fields))

    def step(self, entry: object) -> Step:
        kind = entry.get("kind") if isinstance(entry, dict) else None
        match kind:
            case "commit":
                fields = _fields(entry, ("kind", "policy", "takes"), ("locked",))
                policy = _choice(fields, "policy", _POLICIES)
                return Commit(_each(fields, "takes", self.take), policy, _numbers(fields, "locked", least=1))
            case "renumbering":
                fields = _fields(entry, ("kind", "old", "new"), ("frames",))
                where = _frames(fields) if "frames" in fields else None
                return Renumbering(_number(fields, "old", least=1), _number(fields, "new", least=0), where)
            case "hand edit":
                fields = _fields(entry, ("kind", "planes"))
                return HandEdit(_by_number(fields, "planes", "frames", self._plane))
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
        if len(shape) != 2:
            raise SessionError(f'"shape" is {brief(shape)}. Write [height, width], in pixels.')
        digest = _checksum(fields)
        data = self.read_plane(digest)
        if hashlib.sha256(data).hexdigest() != digest:
            raise SessionError(
                f"the data of the frame with checksum {digest} is damaged. Use another copy of the file."
            )
        dtype = _choice(fields, "dtype", {name: name for name in _LABEL_TYPES})
        return PackedPlane((shape[0], shape[1]), dtype, data)


_IMAGE_OPTIONAL = ("path", "axes", "channels", "is_rgb", "order", "level")


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
    return ImageUsed(
        name=_string(fields, "name"),
        shape=shape,
        dtype=_string(fields, "dtype"),
        path=folder.absolute() / _string(fields, "path") if "path" in fields else None,
        axes=_string(fields, "axes") if "axes" in fields else None,
        channels=_numbers(fields, "channels", least=0),
        is_rgb=is_rgb,
        order=order,
        level=_number(fields, "level", least=0) if "level" in fields else 0,
    )


def _model(entry: object) -> ModelUsed:
    fields = _fields(entry, ("name", "sha256", "image_size"), ("source", "contrast_limits", "channels"))
    return ModelUsed(
        name=_string(fields, "name"),
        sha256=_checksum(fields),
        image_size=_number(fields, "image_size", least=1),
        source=_string(fields, "source") if "source" in fields else None,
        contrast_limits=_limits(fields),
        channels=_numbers(fields, "channels", least=0) if "channels" in fields else None,
    )


def _limits(entry: dict[str, Any]) -> ContrastLimits | None:
    try:
        return checked_limits(entry["contrast_limits"]) if "contrast_limits" in entry else None
    except PromptError as error:
        raise SessionError(str(error)) from error


def _target(entry: object) -> Target:
    if not isinstance(entry, list) or len(entry) != 2 or not all(is_whole(one) for one in entry):
        raise SessionError(f"this is {brief(entry)}. Write [object id, frame].")
    return Target(*entry)


def _names(entry: dict[str, Any]) -> dict[int, str]:
    def name(given: object) -> str:
        if not isinstance(given, str):
            raise SessionError(f"this is {brief(given)}. Use text.")
        return given

    return _by_number(entry, "names", "object ids", name) if "names" in entry else {}


def _by_number(entry: dict[str, Any], name: str, what: str, parse: Callable[[object], _Value]) -> dict[int, _Value]:
    table = entry[name]
    if not isinstance(table, dict) or not all(re.fullmatch(r"0|[1-9][0-9]{0,9}", key) for key in table):
        raise SessionError(f'"{name}" is {brief(table)}. Write {{"3": ...}}, with {what} before the colons.')
    parsed = {}
    for key, value in table.items():
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


def _checksum(entry: dict[str, Any]) -> str:
    digest = _string(entry, "sha256")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise SessionError(f'"sha256" is {brief(digest)}. Use 64 hexadecimal digits.')
    return digest


def _number(entry: dict[str, Any], name: str, *, least: int) -> int:
    value = entry[name]
    if not is_whole(value) or value < least:
        raise SessionError(f'"{name}" is {brief(value)}. Use a whole number from {least}.')
    return value


def _numbers(entry: dict[str, Any], name: str, *, least: int) -> tuple[int, ...]:
    values = entry.get(name, [])
    if not isinstance(values, list) or not all(is_whole(value) and value >= least for value in values):
        raise SessionError(f'"{name}" is {brief(values)}. Write a list of whole numbers from {least}.')
    return tuple(values)


def _frames(entry: dict[str, Any]) -> tuple[int, ...]:
    ranges = entry["frames"]
    frames: list[int] = []
    for pair in ranges if isinstance(ranges, list) else [ranges]:
        is_range = isinstance(pair, list) and len(pair) == 2 and all(is_whole(end) for end in pair)
        if not is_range or not 0 <= pair[0] <= pair[1] < LONGEST_STACK or (frames and pair[0] <= frames[-1]):
            raise SessionError(f'"frames" is {brief(ranges)}. Write ascending ranges, [[first, last], ...].')
        frames += range(pair[0], pair[1] + 1)
    return tuple(frames)


def _share(entry: dict[str, Any], name: str, default: float) -> float:
    value = entry.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and 0 <= value <= 1):
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
