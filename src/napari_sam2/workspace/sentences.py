"""Sentences for the user, mostly in the status line: errors, what is going on, what can be done next. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.errors import NapariSam2Error
from napari_sam2.prompt_checks import listed
from napari_sam2.prompts import Target
from napari_sam2.workspace.advice import MOST_NAMED, Advice, advise
from napari_sam2.workspace.commands import KEYED, NEW_OBJECT

if TYPE_CHECKING:
    from napari_sam2.prompts import PromptSet
    from napari_sam2.workspace.facts import FactsReader
    from napari_sam2.workspace.held import HeldMasks
    from napari_sam2.workspace.workbench import Workbench


def error_sentence(error: Exception) -> str:
    """Return what to tell the user of an error that ended something in the background."""
    if isinstance(error, NapariSam2Error):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory is full. Use a smaller model, or follow fewer objects at a time. Your work is kept."
    return f"That went wrong unexpectedly ({type(error).__name__}: {error}). Your work is kept; try again."


def status_advice(bench: Workbench, reader: FactsReader) -> Advice:
    """Return how things stand, and what to do."""
    work = bench.workspace
    if work is None:
        return Advice(bench.message or "Open an image to begin: a file, or File > Open Sample > SAM 2 for napari.")
    return advise(reader.read(bench, work))


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
    few = sorted(lost)[:MOST_NAMED]
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
