"""Propagations and replays whose labels and scores go to files as they come."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from tqdm import tqdm

from napari_sam2.errors import ImageFileError
from napari_sam2.files.atomic import replacing
from napari_sam2.files.label_zarr import ZarrLabelWriter
from napari_sam2.files.partial import claim, keep, remove, writing
from napari_sam2.results import feature_table, score_table
from napari_sam2.tracking.propagation import label_frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam2.files.labels import AnyLabelWriter
    from napari_sam2.prompts import PromptSet
    from napari_sam2.results import ObjectScore
    from napari_sam2.tracking.propagation import LabelFrame, PropagationPlan
    from napari_sam2.tracking.stack import TrackedStack


class FrameWriter(Protocol):
    """Labels on disk, written frame by frame; as a context manager it gives them their name at the end."""

    @property
    def partial_path(self) -> Path:
        """Where they are until then."""

    def write(self, frame: int, labels: NDArray[np.unsignedinteger]) -> None:
        """Store the labels of one frame, (Y, X)."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class TurnedWriter:
    """Labels whose frames lie along another axis than the first of their file: put together in memory, written at last.

    Parameters
    ----------
    writer : AnyLabelWriter
        Of the file.
    order : tuple of int
        Axes of the file that are frames (where there are any), rows and columns.
    """

    def __init__(self, writer: AnyLabelWriter, order: tuple[int, ...]) -> None:
        self._writer = writer
        self._labels = np.zeros(writer.shape, writer.dtype)
        turned = self._labels.transpose(order)  # a view: what is written to it is in the labels
        self._frames = turned if len(order) > 2 else turned[np.newaxis]

    @property
    def partial_path(self) -> Path:
        """Where the labels are until they are complete."""
        return self._writer.partial_path

    def write(self, frame: int, labels: NDArray[np.unsignedinteger]) -> None:
        """Keep the labels of one frame, (Y, X)."""
        self._frames[frame] = labels

    def describe(self, objects: pd.DataFrame) -> None:
        """Store what is known of each object, if the file is an OME-Zarr; as `ZarrLabelWriter.describe`."""
        if isinstance(self._writer, ZarrLabelWriter):
            self._writer.describe(objects)

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # What is finished is written, too, when the work ends early.
        for number, plane in enumerate(self._labels if self._labels.ndim > 2 else self._labels[np.newaxis]):
            if plane.any():
                self._writer.write(number, plane)
        self._writer.__exit__(kind, error, traceback)


def propagate_into(
    writer: FrameWriter,
    session: TrackedStack,
    prompts: PromptSet,
    plan: PropagationPlan,
    *,
    scores_path: Path | None = None,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Follow objects and write every frame as soon as it is known, with a progress bar on a terminal.

    Parameters
    ----------
    writer : FrameWriter
        Closed at the end, which gives the label file its name. An OME-Zarr also holds the features of every object.
    session : TrackedStack
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
    total = len({target.frame for target in prompts}) + plan.num_reports
    with _kept(writer, scores_path) as done, tqdm(total=total, unit="frame", disable=None) as bar:
        for _ in session.apply(prompts):
            bar.update()
        for visit in label_frames(session, plan):
            writer.write(visit.frame, visit.labels)
            done.append(visit.scores)
            bar.update()
        table = _described(writer, done)
    if scores_path is not None:
        write_table(scores_path, table, overwrite=overwrite)
    return table


def replay_into(
    writer: FrameWriter,
    replayed: Iterator[LabelFrame],
    num_frames: int,
    *,
    scores_path: Path | None = None,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Write frames of a replay as soon as they are known, with a progress bar on a terminal.

    Parameters
    ----------
    writer : FrameWriter
        Closed at the end, which gives the label file its name. An OME-Zarr also holds the features of every object.
    replayed : iterator of LabelFrame
        From `replay`.
    num_frames : int
        How many there are going to be.
    scores_path, overwrite
        As in `propagate_into`, and so are what is returned, what is raised, and what is left of work that ends early.
    """
    with _kept(writer, scores_path) as done, tqdm(total=num_frames, unit="frame", disable=None) as bar:
        for frame in replayed:
            writer.write(frame.frame, frame.labels)
            done.append(frame.scores)
            bar.update()
        table = _described(writer, done)
    if scores_path is not None:
        write_table(scores_path, table, overwrite=overwrite)
    return table


@contextmanager
def _kept(writer: FrameWriter, scores_path: Path | None) -> Iterator[list[tuple[ObjectScore, ...]]]:
    """Collect the scores of finished frames; say where they are if the work ends early."""
    done: list[tuple[ObjectScore, ...]] = []
    try:
        with writer:
            yield done
    except BaseException as error:
        if done:
            error.add_note(f"Finished frames are kept in {writer.partial_path}.")
            kept = None if scores_path is None else _keep_scores(scores_path, _table(done))
            if kept is not None:
                error.add_note(f"Their scores are in {kept}.")
        raise


def _table(done: list[tuple[ObjectScore, ...]]) -> pd.DataFrame:
    return score_table(score for scores in done for score in scores)


def _described(writer: FrameWriter, done: list[tuple[ObjectScore, ...]]) -> pd.DataFrame:
    """Give the table of scores; store what it says of each object in a file that has a place for it."""
    table = _table(done)
    if isinstance(writer, ZarrLabelWriter | TurnedWriter):
        writer.describe(feature_table(table))
    return table


def _keep_scores(path: Path, table: pd.DataFrame) -> Path | None:
    """Write the scores of finished frames beside the final table; give their place, or None on a full disk."""
    # What stopped the work is the news then.
    with suppress(ImageFileError):
        partial = claim(path, path.suffix, overwrite=True)
        try:
            with writing(path):
                _write_csv(partial, table)
        except ImageFileError:
            remove(partial)
            raise
        return keep(partial, path, path.suffix)
    return None


def write_table(path: Path, table: pd.DataFrame, *, overwrite: bool = False) -> None:
    """Write a table as CSV, complete or not at all.

    Raises
    ------
    ImageFileError
        If the file exists and may not be overwritten, or cannot be written.
    """
    with replacing(path, overwrite=overwrite) as partial:
        _write_csv(partial, table)


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    # Names may hold letters that no encoding has, as file names do on Linux.
    table.to_csv(path, index=False, encoding="utf-8", errors="backslashreplace")
