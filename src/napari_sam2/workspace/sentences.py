"""What the status line says: an error in full, what is going on, or what can be done next. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.workspace.commands import KEYS, shown
from napari_sam2.workspace.requests import Activity

if TYPE_CHECKING:
    from napari_sam2.workspace.images import Workbench
    from napari_sam2.workspace.workspace import Workspace


def status_sentence(bench: Workbench) -> str:
    """Say how things stand."""
    if bench.workspace is not None:
        return bench.workspace.status.message or _progress(bench.workspace, bench.model) or _advice(bench.workspace)
    return bench.message or "Open an image to begin: a file, or File > Open Sample > SAM 2 for napari."


def _progress(work: Workspace, model: object) -> str:
    status = work.status
    if status.activity is Activity.READY:
        return ""
    if work.working_size is None:
        return f"Loading {model}…"
    if status.activity is Activity.FOLLOWING and status.total:
        return f"Propagating: {status.done} of {status.total} frames. You can go on working."
    return "Segmenting…"


def _advice(work: Workspace) -> str:
    if not work.prompts:
        first = "Click an object in the image, or drag a box round it."
        return f"{first} {_PLANES}" if _may_be_channels(work) else first
    ends = {0, len(work.frames) - 1}.difference(work.prompts.frames_of(work.object_id))
    if work.grid.frame_axis is not None and not any(work.scores_on(frame) for frame in ends):
        return "Click to correct the mask, M for a new object. Propagate carries all of them through the stack."
    return "Correct where needed: a click on any frame. Commit (C) keeps the result and begins anew."


_PLANES = (
    "Are the three planes frames? They are taken for frames. If they are channels: right-click the layer > Split Stack."
)


def _may_be_channels(work: Workspace) -> bool:
    """Whether nothing says if three planes are frames or channels."""
    axis = work.grid.frame_axis
    if axis is None or work.grid.num_frames != 3:  # red, green and blue would be three
        return False
    name = work.image.axis_labels[axis]
    return not name.strip("-0123456789")  # what napari calls an axis that nobody has named


def keys_table() -> str:
    """List of keys as rich text."""
    rows = "".join(
        f"<tr><td><b>{shown(key)}</b>&nbsp;&nbsp;</td><td>{key.meaning}&nbsp;&nbsp;</td>"
        f"<td><i>{'instead of: ' + key.replaces if key.replaces else ''}</i></td></tr>"
        for key in KEYS
    )
    return (
        "<p>With one of the four layers of the plugin selected "
        "(point_prompts, prompts, current_object, committed_objects):</p>"
        f"<table>{rows}</table><p>On all other layers keys do what they always do.</p>"
    )
