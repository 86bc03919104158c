"""The embedded model on the embedded stack: what `napari-sam2 demo` runs, without network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tifffile

from napari_sam2.cli.overview import draw_overview
from napari_sam2.files.atomic import check_replaceable, replacing
from napari_sam2.files.labels import open_label_writer
from napari_sam2.files.prompts import PromptFile, write_prompts
from napari_sam2.files.results_folder import check_fillable, make_folder
from napari_sam2.files.tables import write_table
from napari_sam2.frames import FrameStack
from napari_sam2.labels.prompts import prompts_from_labels
from napari_sam2.prompts import PromptSet
from napari_sam2.results import feature_table
from napari_sam2.sample_data import nuclei_stack_image, nuclei_stack_labels
from napari_sam2.tracking.batch import run_job, stack_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.files.labels import LabelWriter
    from napari_sam2.inference.predictor import Predictor

PROMPTED_SLICE = 15
"""The slice, in the middle of the stack, on which the nuclei are given by their true outlines."""

GOOD_DICE = 0.7
"""Agreement that a user would keep."""

FILES = ("labels.tif", "scores.csv", "features.csv", "prompts.json", "overview.png")


def verdict(features: pd.DataFrame) -> str:
    """Return what the model can and cannot do here, by the table from `run_demo`."""
    inside, everywhere = features["dice_inside"].mean(), features["dice"].mean()
    lines = [
        f"Mean Dice against the annotation, away from slice {PROMPTED_SLICE}: {inside:.2f} on the slices that hold "
        f"the nucleus, {everywhere:.2f} on all."
    ]
    if inside < GOOD_DICE:
        lines.append("This model does not outline crowded nuclei well yet: prompt more slices, or use a larger one.")
    if everywhere < min(GOOD_DICE, inside):
        lines.append(
            "It does not see well where a nucleus ends, and goes on to a neighbour: limit the range, or use a larger "
            "model."
        )
    return "\n".join(lines)


def run_demo(
    folder: Path,
    load: Callable[[], Predictor],
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> pd.DataFrame:
    """Carry the nuclei outlined on one slice through the whole stack, and write everything a user gets.

    Parameters
    ----------
    folder : Path
        Made where it does not exist; its parent must.
    load : callable
        Loads the model, once the folder is known to be good.
    overwrite : bool
        Whether files of an earlier demo may be replaced.
    progress : callable, optional
        As in `run_job`.

    Returns
    -------
    DataFrame
        One row per nucleus, as in `Segmentation.features`, with its agreement with the annotation away from the
        prompted slice: `dice_inside` on the slices that hold the nucleus, `dice` on all.

    Raises
    ------
    ImageFileError
        If the folder is a file or its parent does not exist; if a file exists and may not be overwritten, or cannot be
        written.
    """
    _check_folder(folder, overwrite=overwrite)
    stack, annotated = nuclei_stack_image(), nuclei_stack_labels()
    frames = FrameStack(stack)
    job = stack_job(frames, PromptSet(prompts_from_labels(annotated, frames=PROMPTED_SLICE)))

    def open_labels(dtype: np.dtype[np.unsignedinteger]) -> LabelWriter:
        make_folder(folder)
        return open_label_writer(folder / "labels.tif", shape=stack.shape, dtype=dtype, overwrite=overwrite)

    scores_path = folder / "scores.csv"
    predictor, scores = run_job(job, load, open_labels, scores_path=scores_path, overwrite=overwrite, progress=progress)
    labels = tifffile.imread(folder / "labels.tif")
    features = _compared(feature_table(scores), labels, annotated)
    write_table(folder / "features.csv", features, overwrite=overwrite)
    write_prompts(
        folder / "prompts.json",
        PromptFile(
            job.prompts,
            model_name=predictor.name,
            model_sha256=predictor.sha256,
            contrast_limits=frames.contrast_limits,
            image_size=predictor.working_size(frames.height, frames.width),
            framing=predictor.framing,
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
    return features


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    check_fillable(folder, "the demo")
    if folder.exists():
        for name in FILES:
            check_replaceable(folder / name, overwrite=overwrite)


def _compared(
    features: pd.DataFrame, labels: NDArray[np.unsignedinteger], annotated: NDArray[np.unsignedinteger]
) -> pd.DataFrame:
    """Return the table of nuclei with their agreement with the annotation, away from the prompted slice."""
    others = np.arange(len(labels)) != PROMPTED_SLICE
    masks = [(labels[others] == i, annotated[others] == i) for i in features["index"]]
    inside = [true.any((1, 2)) for _, true in masks]
    return features.assign(
        dice_inside=[dice(found[on], true[on]) for (found, true), on in zip(masks, inside, strict=True)],
        dice=[dice(found, true) for found, true in masks],
    )


def dice(found: NDArray[np.bool_], annotated: NDArray[np.bool_]) -> float:
    """Return the overlap of two masks, 2 |A and B| / (|A| + |B|), in [0, 1]; 1 where both are empty."""
    total = int(found.sum()) + int(annotated.sum())
    return 2 * int((found & annotated).sum()) / total if total else 1.0
