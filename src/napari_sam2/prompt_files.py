"""Prompts in files: JSON written here, or label images whose ids become mask prompts."""

from __future__ import annotations

import json
import math
import re
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from napari_sam2.atomic_files import replacing
from napari_sam2.errors import ImageFileError, PromptError
from napari_sam2.image_files import read_image
from napari_sam2.label_prompts import prompts_from_labels
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt, PromptSet

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from napari_sam2.frames import ContrastLimits

FORMAT = "napari-sam2 prompts"
VERSION = 1

LABEL_SUFFIXES = (".tif", ".tiff", ".npy", ".png")
"""Files read as label images; any other is read as JSON."""

LARGEST_MASK = 2**32
"""Pixels beyond which a mask is taken for a mistake, before memory is asked for it."""

_OPTIONAL = ("model", "contrast_limits", "image_size", "policy")
_POINT = ("object_id", "frame", "y", "x")
_BOX = ("object_id", "frame", "y_min", "x_min", "y_max", "x_max")
_MASK = ("object_id", "frame", "shape", "runs")


@dataclass(frozen=True, slots=True)
class PromptFile:
    """What a prompt file holds: the prompts, and what else a result depends on, where that is known.

    Attributes
    ----------
    prompts : PromptSet
        The prompts, in order.
    model_name : str, optional
        Name of the model they were answered with. None, here and below, if unknown.
    model_sha256 : str, optional
        SHA-256 of its weights: 64 hexadecimal digits.
    contrast_limits : (float, float) or one pair per channel, optional
        Intensities that became 0 and 255.
    image_size : int, optional
        Working size of the model, in pixels.
    policy : str, optional
        Name of the rules by which objects were followed.

    Raises
    ------
    PromptError
        If a value is not of this kind.
    """

    prompts: PromptSet
    _: KW_ONLY
    model_name: str | None = None
    model_sha256: str | None = None
    contrast_limits: ContrastLimits | None = None
    image_size: int | None = None
    policy: str | None = None

    def __post_init__(self) -> None:
        for name in ("model_name", "model_sha256", "policy"):
            value = getattr(self, name)
            if not isinstance(value, str | None):
                raise PromptError(f"{name} is {value!r}. Use text, or leave it out.")
        if self.model_sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", self.model_sha256):
            raise PromptError(f"model_sha256 is {self.model_sha256!r}. Use 64 hexadecimal digits, or leave it out.")
        if self.image_size is not None and (not is_whole(self.image_size) or self.image_size < 1):
            raise PromptError(f"image_size is {self.image_size!r}. Use a number of pixels, or leave it out.")
        if self.contrast_limits is not None:
            object.__setattr__(self, "contrast_limits", checked_limits(self.contrast_limits))


def read_prompts(path: str | os.PathLike[str], *, frame: int = 0, axes: str | None = None) -> PromptFile:
    """Read prompts from a JSON file or a label image.

    Parameters
    ----------
    path : path
        A file made by `write_prompts`, or a label image (TIFF, NPY or PNG), every id of which becomes a mask prompt: a
        single image on `frame`, a stack on every labelled frame.
    frame : int
        Where a single label image stands.
    axes : str, optional
        Axes of a label image, as in `read_image`. None takes what the file says.

    Raises
    ------
    PromptError
        If the content is no prompt file of a known version, or an entry or a label is wrong.
    ImageFileError
        If the file is missing or cannot be read.
    OptionError
        If `axes` do not fit the label image.
    """
    path = Path(path)
    is_labels = path.suffix.lower() in LABEL_SUFFIXES
    try:
        return PromptFile(_label_prompts(path, frame, axes)) if is_labels else _parsed(_loaded(path))
    except PromptError as error:
        raise PromptError(f"{path}: {error}") from error


def write_prompts(path: str | os.PathLike[str], contents: PromptFile, *, overwrite: bool = False) -> None:
    """Write prompts as JSON; `read_prompts` gives back exactly the same.

    The file appears complete or not at all.

    Parameters
    ----------
    path : path
        Any name without an image suffix; `.json` by custom.
    contents : PromptFile
        What to write.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    ImageFileError
        If the file exists, has an image suffix, or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() in LABEL_SUFFIXES:
        raise ImageFileError(f"{path}: prompts are written as JSON. Use a name that ends in .json.")
    with replacing(path, overwrite=overwrite) as partial:
        partial.write_text(_document(contents), encoding="utf-8")


def _label_prompts(path: Path, frame: int, axes: str | None) -> PromptSet:
    image = read_image(path, axes=axes)
    if image.axes != image.label_axes:
        raise PromptError(
            f"the image has axes {image.axes}, and a label image has no channels or colours. Save it as one channel."
        )
    return PromptSet(prompts_from_labels(image.array, None if image.has_frames else frame))


def _loaded(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ImageFileError(f"There is no file {path}. Check its name and folder.") from error
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read ({error}). Check that it is a file you may read.") from error
    except (ValueError, RecursionError) as error:
        suffixes = ", ".join(LABEL_SUFFIXES)
        raise PromptError(
            f"this is not JSON ({error}). Give a file written by napari-sam2, or a label image ({suffixes})."
        ) from error


def _parsed(document: object) -> PromptFile:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise PromptError(f'this JSON is not a prompt file: it must say "format": "{FORMAT}".')
    version = document.get("version")
    if not is_whole(version) or version < 1:
        raise PromptError(f'"version" is {version!r}. Use {VERSION}.')
    if version > VERSION:
        raise PromptError(
            f"the file has version {version}, and this program reads up to {VERSION}. Update napari-sam2."
        )
    check_fields(document, ("format", "version", "prompts"), _OPTIONAL)
    if not isinstance(document["prompts"], list):
        raise PromptError('"prompts" is not a list. Write [...], with one entry per prompt.')
    model = document.get("model", {})
    if not isinstance(model, dict):
        raise PromptError(f'"model" is {model!r}. Write {{"name": ..., "sha256": ...}}.')
    check_fields(model, (), ("name", "sha256"))
    return PromptFile(
        PromptSet(_numbered(document["prompts"])),
        model_name=model.get("name"),
        model_sha256=model.get("sha256"),
        contrast_limits=document.get("contrast_limits"),
        image_size=document.get("image_size"),
        policy=document.get("policy"),
    )


def _numbered(entries: list[object]) -> Iterable[Prompt]:
    for index, entry in enumerate(entries):
        try:
            yield prompt_from(entry)
        except PromptError as error:
            raise PromptError(f"entry {index} of the prompts: {error}") from error


def prompt_from(entry: object) -> Prompt:
    """Read one prompt from what `entry_of` made of it.

    Raises
    ------
    PromptError
        If it is no prompt, or a field is missing, misspelt or wrong.
    """
    if not isinstance(entry, dict):
        raise PromptError(f'this is {brief(entry)}. Write {{"kind": ..., "object_id": ..., ...}}.')
    match entry.get("kind"):
        case "point":
            check_fields(entry, ("kind", *_POINT), ("positive",))
            return PointPrompt(*(entry[name] for name in _POINT), positive=entry.get("positive", True))
        case "box":
            check_fields(entry, ("kind", *_BOX))
            return BoxPrompt(*(entry[name] for name in _BOX))
        case "mask":
            check_fields(entry, ("kind", *_MASK))
            return _mask_of(*(entry[name] for name in _MASK))
        case kind:
            raise PromptError(f'"kind" is {brief(kind)}. Use "point", "box" or "mask".')


def check_fields(entry: dict[str, Any], required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    """Refuse an object of JSON that lacks a field or has one that is not known.

    Raises
    ------
    PromptError
        If it is so.
    """
    for name in required:
        if name not in entry:
            raise PromptError(f'"{name}" is missing. Add it.')
    # A misspelt optional field would otherwise change the result without a word.
    for name in entry:
        if name not in required + optional:
            raise PromptError(f'"{name}" is not a field here. Use {", ".join(required + optional)}.')


def _mask_of(object_id: int, frame: int, shape: object, runs: object) -> MaskPrompt:
    if not isinstance(shape, list) or len(shape) != 2 or not all(is_whole(side) and side > 0 for side in shape):
        raise PromptError(f'"shape" is {brief(shape)}. Write [height, width], in pixels.')
    height, width = shape
    if height * width > LARGEST_MASK:
        raise PromptError(f'"shape" {shape} is larger than any frame. Write [height, width], in pixels.')
    if not isinstance(runs, list) or not all(is_whole(run) and run >= 0 for run in runs):
        raise PromptError('"runs" is not a list of whole numbers from 0. Write the lengths of background and object.')
    if sum(runs) != height * width:
        raise PromptError(
            f'"runs" add up to {sum(runs)} pixels, and the mask has {height} x {width} = {height * width}. '
            "Write the runs of the whole mask, row by row."
        )
    ends = np.cumsum(runs)[1::2]
    starts = ends - np.array(runs, dtype=np.int64)[1::2]
    starts, ends = starts[starts < ends], ends[starts < ends]
    if not starts.size:
        raise PromptError('"runs" hold no pixel of the object: the mask is empty. Remove the entry.')
    # Only the rows between the first and the last pixel of the object are built.
    first_row, last_row = starts[0] // width, (ends[-1] - 1) // width
    begin = first_row * width
    gaps = starts - np.concatenate([[begin], ends[:-1]])
    filled = np.repeat(np.tile([False, True], starts.size), np.column_stack([gaps, ends - starts]).ravel())
    rows = np.zeros((last_row + 1 - first_row, width), np.bool_)
    rows.ravel()[: filled.size] = filled
    return MaskPrompt(object_id, frame, rows, corner=(int(first_row), 0), shape=(height, width))


def _runs(prompt: MaskPrompt) -> list[int]:
    """Lengths of background and object in turn, in row-major order, beginning with background."""
    height, width = prompt.shape
    rows, columns = np.nonzero(np.diff(prompt.crop, axis=1, prepend=False, append=False))
    edges = (rows + prompt.corner[0]) * width + columns + prompt.corner[1]
    starts, ends = edges[::2], edges[1::2]
    # A run that reaches the last column goes on in the next row if that begins with the object.
    apart = starts[1:] != ends[:-1]
    starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    bounds = np.concatenate([[0], np.column_stack([starts, ends]).ravel(), [height * width]])
    runs: list[int] = np.diff(bounds).tolist()
    return runs if runs[-1] else runs[:-1]


def _document(contents: PromptFile) -> str:
    model = {"name": contents.model_name, "sha256": contents.model_sha256}
    head = {
        "format": FORMAT,
        "version": VERSION,
        "model": {name: value for name, value in model.items() if value is not None} or None,
        "contrast_limits": contents.contrast_limits,
        "image_size": contents.image_size,
        "policy": contents.policy,
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items() if value is not None]
    # One prompt per line: a file a person can read, and a version control system compare.
    entries = ",\n    ".join(json.dumps(entry_of(prompt)) for prompt in contents.prompts.prompts)
    lines.append(f'  "prompts": [\n    {entries}\n  ]')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def entry_of(prompt: Prompt) -> dict[str, object]:
    """Give a prompt as an object of JSON, masks as run lengths."""
    match prompt:
        case PointPrompt():
            return {"kind": "point"} | {name: getattr(prompt, name) for name in (*_POINT, "positive")}
        case BoxPrompt():
            return {"kind": "box"} | {name: getattr(prompt, name) for name in _BOX}
        case MaskPrompt(object_id=object_id, frame=frame, shape=shape):
            return {"kind": "mask", "object_id": object_id, "frame": frame, "shape": shape, "runs": _runs(prompt)}


def checked_limits(limits: object) -> ContrastLimits:
    """Return contrast limits read from JSON.

    Raises
    ------
    PromptError
        If they are not a pair of numbers, low first, or several of them.
    """
    pairs = limits if isinstance(limits, list | tuple) else ()
    several = bool(pairs) and all(isinstance(pair, list | tuple) for pair in pairs)
    checked = tuple(_checked_pair(pair, limits) for pair in (pairs if several else (pairs,)))
    return checked if several else checked[0]


def _checked_pair(pair: list[object] | tuple[object, ...], limits: object) -> tuple[float, float]:
    numbers = [
        float(value)
        for value in pair
        if isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
    ]
    if len(pair) != 2 or len(numbers) != 2 or numbers[0] >= numbers[1]:
        raise PromptError(
            f"contrast_limits are {brief(limits)}. Use [low, high], low first, or such a pair per channel."
        )
    return numbers[0], numbers[1]


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value read from JSON is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def brief(value: object) -> str:
    """Give the beginning of a value, for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
