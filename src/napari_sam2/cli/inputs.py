"""What verbs are given: files that are read, outputs that are checked and opened, a model that is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.cli.terminal import print_err
from napari_sam2.errors import FrameError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    import numpy as np

    from napari_sam2.files.images.reading import ImageFile
    from napari_sam2.files.labels import LabelWriter
    from napari_sam2.files.prompts import PromptFile
    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.sessions.document import Session


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """An image or a stack, and the prompts for it.

    Attributes
    ----------
    image : ImageFile
        The file of the image.
    frames : FrameStack
        The image as the model sees it.
    prompt_file : PromptFile
        The prompts, and what they were given for.
    """

    image: ImageFile
    frames: FrameStack
    prompt_file: PromptFile


def read_inputs(arguments: argparse.Namespace, *, stack: bool) -> Inputs:
    """Open the image and read the prompts that a verb is given.

    Parameters
    ----------
    arguments : Namespace
        Of the verb.
    stack : bool
        Whether the verb is for a stack, and not for a single image.

    Raises
    ------
    NapariSam2Error
        If a file cannot be used, or is not for this verb.
    """
    from napari_sam2.files.images.reading import read_image
    from napari_sam2.files.prompts import read_prompts

    image = read_image(arguments.image, axes=arguments.axes, channel=arguments.channel)
    if image.has_frames and not stack:
        raise FrameError(f"{image.path} is a stack of {image.array.shape[0]} frames. Use napari-sam2 propagate.")
    if stack and not image.has_frames:
        raise FrameError(f"{image.path} is a single image. Use napari-sam2 segment.")
    rows, columns = image.label_shape[-2:]
    prompt_file = read_prompts(arguments.prompts, frame=arguments.frame, shape=(rows, columns), split=arguments.split)
    contrast = prompt_file.contrast_limits if arguments.contrast is None else arguments.contrast
    return Inputs(image, image.frames(contrast_limits=contrast), prompt_file)


def check_outputs(arguments: argparse.Namespace, image: ImageFile, inputs: Mapping[str, Path]) -> None:
    """Refuse outputs that cannot be written, or that would replace an input or each other.

    Parameters
    ----------
    arguments : Namespace
        Of a verb that writes labels and scores.
    image : ImageFile
        The image that they are for.
    inputs : mapping of str to Path
        What else the verb reads, by what it is called in a message.

    Raises
    ------
    OptionError, ImageFileError
        If an output is refused; nothing was made.
    """
    from napari_sam2.files.atomic import check_apart, check_replaceable
    from napari_sam2.files.labels import check_label_output

    # A model that was asked for by a name of the registry is no file here, which `check_apart` leaves out.
    model = getattr(arguments, "model", None)
    weights = {} if model is None else {"the model": Path(model)}
    outputs = {"--output": arguments.output, "--scores": arguments.scores}
    check_apart(
        {option: path for option, path in outputs.items() if path is not None},
        {"the image": image.path, **inputs, **weights},
    )
    check_label_output(arguments.output, source=image, overwrite=arguments.overwrite)
    if arguments.scores is not None:
        check_replaceable(arguments.scores, overwrite=arguments.overwrite)


def open_output(arguments: argparse.Namespace, image: ImageFile, dtype: np.dtype[np.unsignedinteger]) -> LabelWriter:
    """Make the label image that a verb writes, and return its writer.

    Raises
    ------
    OptionError, ImageFileError
        As in `open_label_writer`.
    """
    from napari_sam2.files.labels import open_label_writer

    return open_label_writer(
        arguments.output, shape=image.label_shape, dtype=dtype, source=image, overwrite=arguments.overwrite
    )


def files_of_models(session: Session) -> dict[str, Path]:
    """Return the weight files that a session names, by what they are called in a message."""
    from napari_sam2.sessions.replay import models_used

    sources = (model.source for model in models_used(session))
    return {f"the model {source}": Path(source) for source in sources if source is not None}


def load_model(arguments: argparse.Namespace, prompt_file: PromptFile | None = None) -> Predictor:
    """Set the threads and load the model that was asked for, else the one that the prompts were given for.

    Working size and framing belong to their model: those of the prompts are taken with theirs alone. Other weights of
    that name than the prompts were given for are mentioned on the error stream.

    Raises
    ------
    ModelError, OptionError
        As in `load_predictor`.
    """
    set_threads(arguments)
    from napari_sam2.inference.sam2 import load_predictor

    name = size = framing = digest = None
    if prompt_file is not None and arguments.model in (None, prompt_file.model_name):
        name, size, digest = prompt_file.model_name, prompt_file.image_size, prompt_file.model_sha256
        framing = None if size is None else prompt_file.framing
    if arguments.image_size is not None:
        size, framing = arguments.image_size, None
    predictor = load_predictor(
        arguments.model or name or "nano",
        device=arguments.device,
        image_size="auto" if size is None else size,
        framing=framing,
    )
    if digest not in (None, predictor.sha256):
        print_err(
            f"The prompts were given for other weights of {name} (SHA-256 {digest}, not {predictor.sha256}); results "
            "may differ."
        )
    return predictor


def set_threads(arguments: argparse.Namespace) -> None:
    """Set the number of threads that a model computes with, if it was asked for.

    Raises
    ------
    OptionError
        If it is no number of threads.
    """
    if arguments.threads is not None:
        from napari_sam2.inference.sam2 import use_threads  # loads torch

        use_threads(arguments.threads)
