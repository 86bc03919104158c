"""Fine-tune a model on annotated images: files in, a weight file and a comparison out.

Importing this module does not load torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from tqdm import tqdm

from napari_sam2.errors import FrameError, ModelError, OptionError
from napari_sam2.files.atomic import check_apart, check_replaceable
from napari_sam2.files.partial import check_not_being_written, claim, keep, remove, tidy, writing
from napari_sam2.training.annotations import read_annotations

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import numpy.typing as npt
    import pandas as pd

    from napari_sam2.inference.sam2 import ImageSize
    from napari_sam2.training.annotations import Annotation, Data
    from sam2_model.sam2 import Sam2
    from sam2_model.training.annotated import AnnotatedFrame, Split
    from sam2_model.training.finetune import HeldOutScores, Recipe
    from sam2_model.weights.loading import LoadedModel

Encoder = Literal["auto", "frozen", "trained"]
"""What happens to the image trunk: "auto" trains `nano`'s, slowly, and freezes those of the published models."""

SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class Amount:
    """How much was annotated: frames, and outlines of objects on them that are large enough to be asked for."""

    frames: int
    outlines: int


@dataclass(frozen=True, slots=True)
class FineTuned:
    """Result of a fine-tuning.

    Attributes
    ----------
    path : Path
        The weight file.
    base : str
        Name of the model it started from.
    steps, best_step : int
        Steps done, and the one whose weights were kept.
    training, held_out : Amount
        What was learnt from, and what was tested on.
    before, after : HeldOutScores
        On the held-out frames: of the model it started from, and of the weights that were kept.
    """

    path: Path
    base: str
    steps: int
    best_step: int
    training: Amount
    held_out: Amount
    before: HeldOutScores
    after: HeldOutScores

    @property
    def is_better(self) -> bool:
        """Whether the mean of the scores has risen."""
        return self.after.overall > self.before.overall

    @property
    def table(self) -> pd.DataFrame:
        """Scores before and after: IoU after a click, three clicks and a box; Dice on the next frame if tested."""
        import pandas as pd

        rows = [(s.click, s.three_clicks, s.box, s.next_frame) for s in (self.before, self.after)]
        names = ["click", "3 clicks", "box", "next frame"]
        return pd.DataFrame(rows, ["before", "after"], names, dtype=float).dropna(axis=1)


def finetune(
    images: str | PathLike[str],
    labels: str | PathLike[str],
    output: str | PathLike[str],
    *,
    base: str | PathLike[str] = "nano",
    data: Data = "auto",
    steps: int | None = None,
    encoder: Encoder = "auto",
    validation: float = 0.2,
    is_complete: bool = False,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    image_size: ImageSize = "auto",
    axes: str | None = None,
    channel: int | None = None,
    contrast_limits: npt.ArrayLike | None = None,
    overwrite: bool = False,
) -> FineTuned:
    """Fine-tune a model on annotated images or stacks, with a progress bar on a terminal.

    Parameters
    ----------
    images, labels, data, axes, channel, contrast_limits
        As in `training.annotations.read_annotations`.
    output : path
        The weight file to write, `.safetensors`.
    base : str or path
        Name, weight file or folder of weights of the model to start from.
    steps : int, optional
        Optimiser steps; 300 for `nano` and 100 for other models when omitted.
    encoder : {"auto", "frozen", "trained"}
        What happens to the image trunk; see `Encoder`.
    validation : float
        Fraction of the annotated frames that is held out to test on, at least one.
    is_complete : bool
        Whether every object on an annotated frame has a label. Then a model that finds objects by itself learns from
        the background, too, where there is none.
    seed : int
        Decides everything random.
    device, image_size
        As in `api.segment`.
    threads : int, optional
        Threads to compute with in the calling thread; as many as before when omitted.
    overwrite : bool
        Whether existing files may be replaced.

    Returns
    -------
    FineTuned
        With scores before and after. The best weights are written even if they are no better than the base.

    Raises
    ------
    ImageFileError, FrameError, OptionError
        If files, data or options cannot be used; before any work.
    ModelError
        If the base cannot be found or used, the memory is full, or the result cannot be written.
    KeyboardInterrupt
        On Ctrl-C.

    Notes
    -----
    The best weights so far are beside the final file while the work goes on, and stay there if it ends early, whatever
    ends it; a note on the exception tells where.
    """
    path = _checked_output(Path(output), overwrite=overwrite)
    check_apart({"the output": path}, {"the base": Path(base), "the image": Path(images), "the labels": Path(labels)})
    if os.path.realpath(path.parent) == os.path.realpath(base):
        # Even a new file may change what the folder stands for.
        raise OptionError(f"{path} lies in {base}, the folder of the base. Choose another folder.")
    _check_options(steps, encoder, validation, seed)
    annotations = read_annotations(
        images, labels, data=data, axes=axes, channel=channel, contrast_limits=contrast_limits
    )

    # Loads torch, which takes seconds: not before the files are known to be good.
    from napari_sam2.inference.sam2 import check_working_size, model_errors, use_threads
    from sam2_model.device import choose_device
    from sam2_model.weights.loading import load_model

    check_working_size(image_size)
    if threads is not None:
        use_threads(threads)
    with model_errors():
        model = load_model(base, device=choose_device(device))
        if not model.config.has_memory:
            raise ModelError(
                f"{base} has no memory: it segments images and follows nothing, and fine-tuning teaches both. Start "
                "from weights of the whole SAM 2."
            )
        split = _split(annotations, model, image_size, validation, seed, is_complete=is_complete)
        recipe = _recipe(model, steps, encoder)
    return _run(model, split, recipe, seed, path, overwrite=overwrite)


def _checked_output(path: Path, *, overwrite: bool) -> Path:
    if path.suffix.lower() != SUFFIX:
        raise OptionError(f"{path}: weights are written as safetensors. Use a name that ends in {SUFFIX}.")
    check_replaceable(path, overwrite=overwrite)
    if not overwrite:
        check_not_being_written(path, SUFFIX)
    return path


def _check_options(steps: int | None, encoder: Encoder, validation: float, seed: int) -> None:
    if steps is not None and steps < 1:
        raise OptionError(f"The number of steps is {steps}. Use 1 or more.")
    if encoder not in get_args(Encoder):
        raise OptionError(f"encoder is {encoder!r}. Use one of: {', '.join(get_args(Encoder))}.")
    if not 0 < validation < 1:
        raise OptionError(f"The fraction held out for validation is {validation}. Use a number between 0 and 1.")
    if seed < 0:
        raise OptionError(f"The seed is {seed}. Use 0 or more.")


def _split(
    annotations: Sequence[Annotation],
    model: LoadedModel,
    image_size: ImageSize,
    validation: float,
    seed: int,
    *,
    is_complete: bool,
) -> Split:
    """Return annotations as frames to learn from and frames to test on, at the sizes that prediction chooses."""
    import numpy as np

    from napari_sam2.inference.sam2 import Sam2Predictor
    from sam2_model.errors import FrameError as UnusableFrames
    from sam2_model.training.annotated import AnnotatedStack, annotated_frames, hold_out

    predictor = Sam2Predictor(model, image_size=image_size)
    stacks = [
        AnnotatedStack(
            frames=annotation.frames,
            labels=annotation.labels,
            working=predictor.working(annotation.frames.height, annotation.frames.width),
            is_series=annotation.is_series,
            is_complete=is_complete,
        )
        for annotation in annotations
    ]
    try:
        return hold_out(annotated_frames(stacks), validation, np.random.default_rng(seed))
    except UnusableFrames as error:
        raise FrameError(str(error)) from error


def _recipe(model: LoadedModel, steps: int | None, encoder: Encoder) -> Recipe:
    """Return the model's own recipe, changed as asked for."""
    from sam2_model.training.finetune import SLOW_TRUNK, recipe_for

    recipe = recipe_for(model.config)
    if encoder != "auto":
        recipe = replace(recipe, trunk_rate=0.0 if encoder == "frozen" else SLOW_TRUNK)
    return recipe if steps is None else replace(recipe, steps=steps)


def _run(model: LoadedModel, split: Split, recipe: Recipe, seed: int, path: Path, *, overwrite: bool) -> FineTuned:
    """Train the model; the best weights are in a file of their own from the moment they are found."""
    from napari_sam2.inference.sam2 import model_errors
    from sam2_model.training.finetune import fine_tune
    from sam2_model.weights.loading import save_model

    before = after = None
    best: Sam2 | None = None
    best_step = 0
    tidy(path, SUFFIX, lambda partial: partial.stat().st_size > 0)  # weights appear in it whole
    partial = claim(path, SUFFIX, overwrite=overwrite)
    try:
        with model_errors(), tqdm(total=recipe.steps, unit="step", disable=None) as bar:
            for progress in fine_tune(model.network, split, recipe, seed=seed):
                bar.update(progress.step - bar.n)
                if before is None:
                    before = progress.scores
                elif progress.best is not None and progress.best is not best:
                    save_model(partial, progress.best, name=path.stem, overwrite=True)
                    best, after, best_step = progress.best, progress.scores, progress.step
        if before is None or after is None:
            raise RuntimeError("A fine-tuning tests the model before its first step and after its last.")
        with writing(path):
            check_replaceable(path, overwrite=overwrite)  # somebody may have put a file there meanwhile
            partial.replace(path)
    except BaseException as error:
        if best is None:
            remove(partial)
        else:
            error.add_note(f"The best weights so far are kept in {keep(partial, path, SUFFIX)}.")
        raise
    amounts = _amount(split.training), _amount(split.held_out)
    return FineTuned(path, model.name, recipe.steps, best_step, *amounts, before, after)


def _amount(frames: Sequence[AnnotatedFrame]) -> Amount:
    return Amount(len(frames), sum(len(frame.ids) for frame in frames))
