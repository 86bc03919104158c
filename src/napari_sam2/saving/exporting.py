"""The work on an image as files that other programs read: what goes into them, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.files.measurements import ImageToMeasure
from napari_sam2.files.prompts import PromptFile
from napari_sam2.files.results_folder import export_all
from napari_sam2.inference.speed import Activity
from napari_sam2.layers.export import labels_to_export
from napari_sam2.layers.images import channel_names
from sam2_model.config import Framing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from napari_sam2.files.results_folder import ExportedFiles, LabelFormat
    from napari_sam2.labels.merging import CommitPolicy
    from napari_sam2.workspace.workspace import Workspace


def export_of(
    work: Workspace, policy: CommitPolicy, folder: Path, label_format: LabelFormat, *, overwrite: bool = False
) -> Callable[[Callable[[tuple[int, int]], None]], tuple[ExportedFiles, str]]:
    """Return the job that writes all objects of a workspace, committed and shown, with tables and prompts.

    On the viewer's thread; the job may run on any. It reports frames that are done and all frames, and returns what was
    written, and a sentence about it.

    Parameters
    ----------
    work : Workspace
        The work.
    policy : CommitPolicy
        Who gets a pixel that a committed object has and one that is shown, too.
    folder, label_format, overwrite
        As in `export_all`.

    Raises
    ------
    NapariSam2Error
        As `export_all` and `labels_to_export` at once.
    """
    model, model_input = work.asker.queue.used, work.model_input
    merged = work.committed.merged_with(work.picture, policy, work.objects.notes.locked)
    labels = labels_to_export(work.committed.layer, array=merged, path=work.image.source.path)
    steps = export_all(
        folder,
        labels,
        scores=work.committed.all_scores(work.picture),
        prompts=PromptFile(
            work.asker.prompts,
            model_name=None if model is None else model.name,
            model_sha256=None if model is None else model.sha256,
            contrast_limits=model_input.frames.contrast_limits,
            image_size=None if model is None else model.image_size,
            framing=Framing.SQUARE if model is None else model.framing,
        ),
        image=ImageToMeasure(model_input.frames, channel_names(model_input.channels), work.grid.plain_order),
        names=work.objects.notes.names,
        label_format=label_format,
        overwrite=overwrite,
    )
    uncommitted = shown_ids(work)
    left_out = len(set(work.picture.held.object_ids) & work.objects.notes.hidden)
    is_following = work.asker.status.activity is Activity.FOLLOWING
    remarks = [
        labels.remark,
        f"{left_out} hidden {'object is' if left_out == 1 else 'objects are'} left out." if left_out else "",
        "A propagation was running: export again when it is done." if is_following else "",
    ]

    def write(report: Callable[[tuple[int, int]], None]) -> tuple[ExportedFiles, str]:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                written: ExportedFiles = end.value
                return written, " ".join(filter(None, (_sentence(written, uncommitted), *remarks)))
            report(step)

    return write


def shown_ids(work: Workspace) -> frozenset[int]:
    """Return the objects with a mask that is shown, and so not committed."""
    held, shown = work.picture.held, work.picture.shown
    return frozenset(mask.object_id for frame in held.frames for mask in held.shown_on(frame, shown))


def _sentence(written: ExportedFiles, uncommitted: Collection[int]) -> str:
    """Return what was exported to where, and what of it is not committed."""
    count, waiting = len(written.object_ids), len(set(written.object_ids).intersection(uncommitted))
    which = "" if not waiting else ", not committed," if waiting == count else f", {waiting} of them not committed,"
    objects, are = ("object", "is") if count == 1 else ("objects", "are")
    files = ", ".join(written.names)
    return " ".join(filter(None, (f"{count} {objects}{which} {are} in {written.folder}: {files}.", written.remark)))
