"""Sentences for the user, mostly in the status line: errors, what is going on, what can be done next. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.errors import NapariSam2Error
from napari_sam2.inference.speed import Activity
from napari_sam2.prompt_checks import listed
from napari_sam2.prompts import Target
from napari_sam2.workspace.commands import KEYED, NEW_OBJECT

if TYPE_CHECKING:
    from napari_sam2.prompts import PromptSet
    from napari_sam2.workspace.held import HeldMasks
    from napari_sam2.workspace.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace


_MOST_NAMED = 5
"""Objects that a sentence names; of more it tells the number."""


def error_sentence(error: Exception) -> str:
    """Return what to tell the user of an error that ended something in the background."""
    if isinstance(error, NapariSam2Error):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory is full. Use a smaller model, or follow fewer objects at a time. Your work is kept."
    return f"That went wrong unexpectedly ({type(error).__name__}: {error}). Your work is kept; try again."


def status_sentence(bench: Workbench) -> str:
    """Return how things stand."""
    work = bench.workspace
    if work is not None:
        return work.asker.status.message or _progress(work, bench.choices.model) or _advice(work)
    return bench.message or "Open an image to begin: a file, or File > Open Sample > SAM 2 for napari."


def _progress(work: Workspace, model: object) -> str:
    status = work.asker.status
    if status.activity is Activity.READY:
        return ""
    if work.asker.queue.used is None:
        return f"Loading {model}…"
    if status.activity is Activity.FOLLOWING and status.total:
        return f"Propagating: {status.done} of {status.total} frames. You can go on working."
    return "Segmenting…"


def _advice(work: Workspace) -> str:
    prompts, held = work.asker.prompts, work.picture.held
    if not prompts:
        first = "Click an object in the image, or drag a box round it."
        return f"{first} {_PLANES}" if _may_be_channels(work) else first
    ends = {0, work.grid.num_frames - 1}.difference(prompts.frames_of(work.sources.own.object_id))
    if work.grid.frame_axis is not None and not any(held.on(frame) for frame in ends):
        return "Click to correct the mask, M for a new object. Propagate carries all of them through the stack."
    return "Correct where needed: a click on any frame. Commit (C) keeps the result and begins anew."


_PLANES = (
    "Are the three planes frames? They are taken for frames. If they are channels: right-click the layer > Split Stack."
)


def _may_be_channels(work: Workspace) -> bool:
    """Whether nothing tells if three planes are frames or channels."""
    axis = work.grid.frame_axis
    if axis is None or work.grid.num_frames != 3:  # red, green and blue would be three
        return False
    name = work.image.axis_labels[axis]
    return not name.strip("-0123456789")  # what napari calls an axis that nobody has named


def question_sentence(object_id: int) -> str:
    """Return what is asked about something that was drawn far from the mask of the selected object."""
    return (
        f"Is that another object? {NEW_OBJECT.shortcut} makes a new one of it. Click there again if it belongs to "
        f"object {object_id}."
    )


def keys_table() -> str:
    """Return the list of keys as rich text."""
    rows = "".join(
        f"<tr><td><b>{one.shortcut}</b>&nbsp;&nbsp;</td><td>{one.meaning}&nbsp;&nbsp;</td>"
        f"<td><i>{'instead of: ' + one.replaces if one.replaces else ''}</i></td></tr>"
        for one in KEYED
    )
    return (
        "<p>With one of the four layers of the plugin selected "
        "(point_prompts, prompts, current_object, committed_objects):</p>"
        f"<table>{rows}</table><p>On all other layers keys do what they always do.</p>"
    )


def lost_sentence(held: HeldMasks, prompts: PromptSet) -> str:
    """Return a sentence about objects that are not found towards an end of what was followed; empty without any.

    Parameters
    ----------
    held : HeldMasks
        The masks.
    prompts : PromptSet
        All prompts. Where the user has prompted an object, or marked it as absent, nothing is lost.
    """
    lost = {}
    for object_id in prompts.object_ids:
        frames = held.frames_lost(object_id)
        if frames and not any(Target(object_id, frame) in prompts for frame in frames):
            lost[object_id] = frames
    if not lost:
        return ""
    few = sorted(lost)[:_MOST_NAMED]
    first = lost[few[0]]
    where = f"frame {first[0]}" if len(first) == 1 else f"frames {first[0]} to {first[-1]}"
    if len(lost) == 1:
        what = f"Object {few[0]} is not found any more on {where}."
    else:
        more = f" and {len(lost) - len(few)} more" if len(few) < len(lost) else ""
        what = f"Objects {listed(few)}{more} are not found any more (object {few[0]}: {where})."
    return (
        f"{what} If it comes back, click it on the frame where it is back and propagate again: a model may not find it "
        "again by itself, and nano does not."
    )
