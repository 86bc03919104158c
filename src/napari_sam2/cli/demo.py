"""The embedded model on the embedded stack: what `napari-sam2 demo` runs, without network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from napari_sam2.cli.overview import draw_overview
from napari_sam2.errors import ImageFileError
from napari_sam2.files.atomic import check_replaceable, replacing
from napari_sam2.files.label_tiff import LabelWriter
from napari_sam2.files.partial import writing
from napari_sam2.files.prompts import PromptFile, write_prompts
from napari_sam2.frames import FrameStack
from napari_sam2.labels.prompts import prompts_from_labels
from napari_sam2.prompts import PromptSet
from napari_sam2.results import feature_table, label_dtype
from napari_sam2.sample_data import nuclei_stack_image, nuclei_stack_labels
from napari_sam2.tracking.batch import propagate_into, write_table
from napari_sam2.tracking.propagation import plan_propagation
from napari_sam2.tracking.stack import TrackedStack

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.inference.predictor import Predictor

PROMPTED_SLICE = 15
"""The slice, in the middle of the stack, on which the nuclei are given by their true outlines."""

GOOD_DICE = 0.7
"""Agreement that a user would keep."""

FILES = ("labels.tif", "scores.csv", "features.csv", "prompts.json", "overview.png")


@dataclass(frozen=True, slots=True, eq=False)
class DemoReport:
    """What the demo found.

    Attributes
    ----------
    folder : Path
        Where its files are.
    features : DataFrame
        One row per nucleus, as in `Segmentation.features`, with its agreement with the annotation away from the
        prompted slice: `dice_inside` on the slices that hold the nucleus, `dice` on all.
    """

    folder: Path
    features: pd.DataFrame

    @property
    def mean_dice(self) -> float:
        """Mean agreement with the annotation on all slices but the prompted one."""
        return float(self.features["dice"].mean())

    @property
    def mean_dice_inside(self) -> float:
        """Mean agreement with the annotation on the slices that hold the nucleus, but for the prompted one."""
        return float(self.features["dice_inside"].mean())

    @property
    def verdict(self) -> str:
        """What the model can and cannot do here."""
        inside, everywhere = self.mean_dice_inside, self.mean_dice
        said = [
            f"Mean Dice against the annotation, away from slice {PROMPTED_SLICE}: {inside:.2f} on the slices that hold "
            f"the nucleus, {everywhere:.2f} on all."
        ]
        if inside < GOOD_DICE:
            said.append("This model does not outline crowded nuclei well yet: prompt more slices, or use a larger one.")
        if everywhere < min(GOOD_DICE, inside):
            said.append(
                "It does not see well where a nucleus ends, and goes on to a neighbour: limit the range, or use a "
                "larger model."
            )
        return "\n".join(said)


def run_demo(folder: Path, predictor: Predictor, *, overwrite: bool = False) -> DemoReport:
    """Carry the nuclei outlined on one slice through the whole stack, and write everything a user gets.

    Parameters
    ----------
    folder : Path
        Made where it does not exist; its parent must.
    predictor : Predictor
        The model.
    overwrite : bool
        Whether files of an earlier demo may be replaced.

    Raises
    ------
    ImageFileError
        If a file exists and may not be overwritten, or cannot be written.
    """
    check_folder(folder, overwrite=overwrite)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ImageFileError(f"The folder {folder} cannot be made ({error}). Choose another.") from error
    stack, annotated = nuclei_stack_image(), nuclei_stack_labels()
    frames = FrameStack(stack)
    prompts = PromptSet(prompts_from_labels(annotated, frames=PROMPTED_SLICE))
    plan = plan_propagation(prompts, len(frames))
    session = TrackedStack(predictor, frames)  # refuses a model that cannot follow, before there is an output
    writer = LabelWriter(
        folder / "labels.tif", shape=stack.shape, dtype=label_dtype(prompts.object_ids), overwrite=overwrite
    )
    scores = propagate_into(writer, session, prompts, plan, scores_path=folder / "scores.csv", overwrite=overwrite)
    labels = tifffile.imread(folder / "labels.tif")
    features = feature_table(scores)
    others = np.arange(len(frames)) != PROMPTED_SLICE
    masks = [(labels[others] == i, annotated[others] == i) for i in features["index"]]
    holds_nucleus = [true.any((1, 2)) for _, true in masks]
    features["dice_inside"] = [
        dice(found[inside], true[inside]) for (found, true), inside in zip(masks, holds_nucleus, strict=True)
    ]
    features["dice"] = [dice(found, true) for found, true in masks]
    write_table(folder / "features.csv", features, overwrite=overwrite)
    write_prompts(
        folder / "prompts.json",
        PromptFile(
            prompts,
            model_name=predictor.name,
            model_sha256=predictor.sha256,
            contrast_limits=frames.contrast_limits,
            image_size=predictor.working_size(frames.height, frames.width),
        ),
        overwrite=overwrite,
    )
    with replacing(folder / "overview.png", overwrite=overwrite) as path:
        draw_overview(
            path,
            frames,
            labels,
            scores,
            title=f"{len(features)} nuclei outlined on slice {PROMPTED_SLICE}, followed by {predictor.name}",
            frame_name="slice",
            prompted=(PROMPTED_SLICE,),
        )
    return DemoReport(folder, features)


def check_folder(folder: Path, *, overwrite: bool = False) -> None:
    """Refuse a folder that the demo cannot fill; nothing is made yet.

    Raises
    ------
    ImageFileError
        If it is a file, its parent does not exist, or it holds files of an earlier demo that may not be overwritten.
    """
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise ImageFileError(f"{folder} is a file, and the demo fills a folder. Choose another name.")
        if not folder.parent.is_dir():
            raise ImageFileError(f"There is no folder {folder.parent} to make {folder.name} in. Make it first.")
    if folder.exists():
        for name in FILES:
            check_replaceable(folder / name, overwrite=overwrite)


def dice(found: NDArray[np.bool_], annotated: NDArray[np.bool_]) -> float:
    """Overlap of two masks, 2 |A and B| / (|A| + |B|), in [0, 1]; 1 where both are empty."""
    total = int(found.sum()) + int(annotated.sum())
    return 2 * int((found & annotated).sum()) / total if total else 1.0
