"""Prompts in files: JSON written here, or label images whose ids become mask prompts."""

from __future__ import annotations

import json
import re
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import ImageFileError, PromptError
from napari_sam2.files.atomic import replacing
from napari_sam2.files.images.reading import IMAGE_SUFFIXES, read_label_image
from napari_sam2.files.json_fields import FieldError, Fields, brief, check_version, checked_limits, is_whole
from napari_sam2.files.limits import read_limited
from napari_sam2.files.prompt_entries import entry_of, prompts_from_entries
from napari_sam2.files.sources import reading
from napari_sam2.labels.prompts import prompts_from_labels
from napari_sam2.prompts import PromptSet
from sam2_model.config import Framing
from sam2_model.strict_json import parse_json

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from napari_sam2.frames import ContrastLimits

FORMAT = "napari-sam2 prompts"
VERSION = 1

LABEL_SUFFIXES = (".tif", ".tiff", ".npy", ".png")
"""Files read as label images, as folders are; any other is read as JSON."""

_LOSSY_SUFFIXES = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix not in LABEL_SUFFIXES)

_OPTIONAL = ("model", "contrast_limits", "image_size", "framing", "policy")
"""`policy` is accepted and not used: no version has written it."""


@dataclass(frozen=True, slots=True)
class PromptFile:
    """Content of a prompt file: the prompts, and what else a result depends on, as far as it is known.

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
    framing : Framing
        How frames became working images of that size. Files that do not say were written when they were stretched.

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
    framing: Framing = Framing.SQUARE

    def __post_init__(self) -> None:
        for name in ("model_name", "model_sha256"):
            value = getattr(self, name)
            if not isinstance(value, str | None):
                raise PromptError(f"{name} is {brief(value)}. Use text, or leave it out.")
        if self.model_sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", self.model_sha256):
            raise PromptError(
                f"model_sha256 is {brief(self.model_sha256)}. Use 64 hexadecimal digits, or leave it out."
            )
        if self.image_size is not None and (not is_whole(self.image_size) or self.image_size < 1):
            raise PromptError(f"image_size is {brief(self.image_size)}. Use a number of pixels, or leave it out.")
        if self.contrast_limits is not None:
            try:
                object.__setattr__(self, "contrast_limits", checked_limits(self.contrast_limits))
            except FieldError as error:
                raise PromptError(str(error)) from error


def read_prompts(
    path: str | os.PathLike[str],
    *,
    frame: int | None = None,
    shape: tuple[int, int] | None = None,
    split: bool = False,
) -> PromptFile:
    """Return the prompts of a JSON file or of label images.

    Parameters
    ----------
    path : path
        A file made by `write_prompts`; a label image (TIFF, NPY or PNG), every id of which becomes a mask prompt, a
        stack on every labelled frame; or a folder of label images, one a frame.
    frame : int, optional
        Where a single label image stands, also one that is stored as a stack of one frame; frame 0 when omitted.
    shape : (int, int), optional
        Rows and columns of the image that is prompted, where they are known: masks of another shape are refused before
        they are unpacked. Without it, masks have an upper limit.
    split : bool
        Whether each piece of a label image becomes an object of its own, as in `prompts_from_labels`.

    Raises
    ------
    PromptError
        If the content is no prompt file of a known version, an entry or a label is wrong, a mask does not fit, or
        `frame` or `split` is given for prompts that have frames and ids of their own.
    ImageFileError
        If the file is missing or cannot be read.
    FrameError, OptionError
        If the label image has no pixels or several axes of frames.

    Warns
    -----
    BinaryMaskWarning
        As in `prompts_from_labels`.
    """
    path = Path(path)
    is_labels = path.suffix.lower() in IMAGE_SUFFIXES or path.is_dir()
    try:
        if is_labels:
            return PromptFile(_label_prompts(path, frame, shape, split=split))
        _refuse_options_of_labels(frame, split=split)
        return _parsed(_loaded(path), shape)
    except (FieldError, PromptError) as error:
        raise PromptError(f"{path}: {error}") from error


def write_prompts(path: str | os.PathLike[str], contents: PromptFile, *, overwrite: bool = False) -> None:
    """Write prompts as JSON; `read_prompts` returns exactly the same.

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


def _label_prompts(path: Path, frame: int | None, shape: tuple[int, int] | None, *, split: bool) -> PromptSet:
    lossy = next((one for one in _files_of(path) if one.suffix.lower() in _LOSSY_SUFFIXES), None)
    if lossy is not None:
        raise PromptError(
            f"{lossy.name} is a JPEG file, and these change the values of pixels a little, so that they cannot hold "
            "labels. Save them as PNG or TIFF."
        )
    image = read_label_image(path)
    if image.axes != image.label_axes:
        raise PromptError(
            f"the image has axes {image.axes}, and a label image has no channels or colours. Save it as one channel."
        )
    if shape is not None and image.label_shape[-2:] != shape:
        raise PromptError(
            f"the labels have {' x '.join(map(str, image.label_shape[-2:]))} pixels, and the image has "
            f"{' x '.join(map(str, shape))}. Give labels of the image's own size."
        )
    if not image.has_frames or image.array.shape[0] == 1:
        plane = np.asarray(image.array).reshape(image.label_shape[-2:])
        return PromptSet(prompts_from_labels(plane, 0 if frame is None else frame, split=split))
    if frame is not None:
        raise PromptError(
            f"frame {frame} is asked for, and this is a stack of {image.array.shape[0]} label images, each of which "
            "stands on its own frame. Leave the frame out, or give one label image."
        )
    return PromptSet(prompts_from_labels(image.array, split=split))


def _files_of(path: Path) -> Iterator[Path]:
    with reading(path):
        yield from path.iterdir() if path.is_dir() else (path,)


def _refuse_options_of_labels(frame: int | None, *, split: bool) -> None:
    if frame is not None or split:
        what, cure = ("a frame", "the frame") if frame is not None else ("splitting", "it")
        raise PromptError(
            f"{what} is asked for, which is for label images; prompts in JSON say their frames and objects "
            f"themselves. Leave {cure} out."
        )


def _loaded(path: Path) -> object:
    content = read_limited(path)
    try:
        return parse_json(content)
    except ValueError as error:
        suffixes = ", ".join(LABEL_SUFFIXES)
        raise PromptError(
            f"this is not JSON ({error}). Give a file written by napari-sam2, or a label image ({suffixes})."
        ) from error


def _parsed(document: object, shape: tuple[int, int] | None) -> PromptFile:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise PromptError(f'this JSON is not a prompt file: it must say "format": "{FORMAT}".')
    check_version(document, VERSION, "the file")
    fields = Fields(document, ("format", "version", "prompts"), _OPTIONAL)
    if not isinstance(fields["prompts"], list):
        raise FieldError('"prompts" is not a list. Write [...], with one entry per prompt.')
    model = fields.get("model", {})
    if not isinstance(model, dict):
        raise FieldError(f'"model" is {brief(model)}. Write {{"name": ..., "sha256": ...}}.')
    model = Fields(model, (), ("name", "sha256"))
    return PromptFile(
        PromptSet(prompts_from_entries(fields["prompts"], shape)),
        model_name=model.get("name"),
        model_sha256=model.get("sha256"),
        contrast_limits=fields.get("contrast_limits"),
        image_size=fields.get("image_size"),
        framing=fields.framing(),
    )


def _document(contents: PromptFile) -> str:
    model = {"name": contents.model_name, "sha256": contents.model_sha256}
    head = {
        "format": FORMAT,
        "version": VERSION,
        "model": {name: value for name, value in model.items() if value is not None} or None,
        "contrast_limits": contents.contrast_limits,
        "image_size": contents.image_size,
        "framing": None if contents.framing is Framing.SQUARE else contents.framing.value,
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items() if value is not None]
    # One prompt per line: a file a person can read, and a version control system compare.
    entries = ",\n    ".join(json.dumps(entry_of(prompt)) for prompt in contents.prompts.prompts)
    lines.append(f'  "prompts": [\n    {entries}\n  ]')
    return "{\n" + ",\n".join(lines) + "\n}\n"
