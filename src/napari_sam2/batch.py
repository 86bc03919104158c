"""A propagation whose labels and scores go to files as they come."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tqdm import tqdm

from napari_sam2.atomic_files import replacing
from napari_sam2.errors import ImageFileError
from napari_sam2.propagation import label_frames
from napari_sam2.results import score_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from napari_sam2.label_files import LabelWriter
    from napari_sam2.prompts import PromptSet
    from napari_sam2.propagation import PropagationPlan
    from napari_sam2.results import ObjectScore
    from napari_sam2.session import Session


def propagate_into(
    writer: LabelWriter,
    session: Session,
    prompts: PromptSet,
    plan: PropagationPlan,
    *,
    scores_path: Path | None = None,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Follow objects and write every frame as soon as it is known, with a progress bar on a terminal.

    Parameters
    ----------
    writer : LabelWriter
        Closed at the end, which gives the label file its name.
    session : Session
        On the stack.
    prompts : PromptSet
        Checked against the stack.
    plan : PropagationPlan
        For these prompts.
    scores_path : Path, optional
        Where to write the table of scores.
    overwrite : bool
        Whether the table may replace a file.

    Returns
    -------
    DataFrame
        The scores.

    Raises
    ------
    ImageFileError
        If a file cannot be written.
    KeyboardInterrupt
        On Ctrl-C.

    Notes
    -----
    Whatever ends the work early, finished frames stay in the writer's partial file and their scores beside the final
    table, and a note on the exception says where.
    """
    scores: list[ObjectScore] = []
    total = len({target.frame for target in prompts}) + plan.num_reports
    try:
        with writer, tqdm(total=total, unit="frame", disable=None) as bar:
            for _ in session.apply(prompts):
                bar.update()
            for done in label_frames(session, plan):
                writer.write(done.frame, done.labels)
                scores += done.scores
                bar.update()
    except BaseException as error:
        if scores:
            error.add_note(f"Finished frames are kept in {writer.partial_path}.")
            _keep_scores(scores_path, scores)
        raise
    table = score_table(scores)
    if scores_path is not None:
        write_table(scores_path, table, overwrite=overwrite)
    return table


def _keep_scores(path: Path | None, scores: Sequence[ObjectScore]) -> None:
    if path is not None:
        # On a full disk this fails as well: what stopped the work is the news then.
        with suppress(ImageFileError):
            write_table(path.with_name(f"{path.stem}.partial{path.suffix}"), score_table(scores), overwrite=True)


def write_table(path: Path, table: pd.DataFrame, *, overwrite: bool = False) -> None:
    """Write a table as CSV, complete or not at all.

    Raises
    ------
    ImageFileError
        If the file exists and may not be overwritten, or cannot be written.
    """
    with replacing(path, overwrite=overwrite) as partial:
        table.to_csv(partial, index=False)
