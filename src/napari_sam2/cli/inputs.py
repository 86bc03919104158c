"""What verbs are given: files that are read, outputs that are checked and opened, a model that is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.cli.terminal import print_err
from napari_sam2.errors import FrameError, OptionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    import numpy as np

    from napari_sam2.files.images.reading import ImageFile
    from napari_sam2.files.labels import LabelWriter
    from napari_sam2.files.prompts import PromptFile
    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.labels.seeds import Seeds
    from napari_sam2.sessions.document import Session
    from napari_sam2.tracking.everything import EverythingJob
    from napari_sam2.tracking.examples import Shown


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


def read_everything(arguments: argparse.Namespace) -> tuple[ImageFile, EverythingJob]:
    """Open the image in which everything is looked for, and read what says what that is.

    Raises
    ------
    NapariSam2Error
        If a file cannot be used, or an option does not fit.
    """
    from napari_sam2.proposals import ProposalFilter
    from napari_sam2.tracking.everything import everything_job

    names = ("least_score", "size_bias", "smallest_px", "largest_px", "most_overlap", "least_likeness")
    options = {name: getattr(arguments, name) for name in names}
    chosen = ProposalFilter(**{name: value for name, value in options.items() if value is not None})
    image = _one_image(arguments, arguments.image)
    frames = image.frames(contrast_limits=arguments.contrast)
    seeds = _read_seeds(arguments, frames)
    shown = _read_examples(arguments, frames)
    return image, everything_job(frames, chosen, seeds=seeds, shown=() if shown is None else (shown,))


def _one_image(arguments: argparse.Namespace, path: Path) -> ImageFile:
    from napari_sam2.files.images.reading import read_image

    image = read_image(path, axes=arguments.axes, channel=arguments.channel)
    if image.has_frames:
        raise FrameError(
            f"{image.path} is a stack of {image.array.shape[0]} frames, and everything is found in one image. Save a "
            "frame of it as a file."
        )
    return image


def _read_seeds(arguments: argparse.Namespace, frames: FrameStack) -> Seeds | None:
    from napari_sam2.files.images.reading import read_image
    from napari_sam2.files.points import read_points
    from napari_sam2.files.prompts import read_prompts
    from napari_sam2.labels.seeds import SPACING_PX, seeds_from_array, seeds_from_maxima, seeds_of_prompts

    size = (frames.height, frames.width)
    if arguments.seed_channel is not None:
        spacing = SPACING_PX if arguments.seed_spacing is None else arguments.seed_spacing
        channel = read_image(arguments.image, axes=arguments.axes, channel=arguments.seed_channel)
        return seeds_from_array(seeds_from_maxima(channel.array, spacing_px=spacing), *size)
    if arguments.seed_spacing is not None:
        raise OptionError("--seed-spacing is of the bright spots of a channel. Give --seed-channel, too.")
    if arguments.seeds is None:
        return None
    if arguments.seeds.suffix.lower() == ".csv":
        return seeds_from_array(read_points(arguments.seeds), *size)
    return seeds_of_prompts(read_prompts(arguments.seeds, shape=size, split=arguments.split).prompts.prompts, *size)


def _read_examples(arguments: argparse.Namespace, frames: FrameStack) -> Shown | None:
    from napari_sam2.files.prompts import read_prompts
    from napari_sam2.tracking.examples import shown_on

    if arguments.like is None:
        if arguments.like_image is not None:
            raise OptionError("--like-image is the image of examples. Say with --like which objects of it they are.")
        return None
    if arguments.like_image is not None:
        # Examples are searched for in the contrast of their own image, unless one was asked for.
        frames = _one_image(arguments, arguments.like_image).frames(contrast_limits=arguments.contrast)
    prompts = read_prompts(arguments.like, shape=(frames.height, frames.width), split=arguments.split).prompts
    return shown_on(frames, prompts.prompts)


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
