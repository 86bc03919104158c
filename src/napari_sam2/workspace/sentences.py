"""Sentences about what happened to the work: errors, objects that are not found any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.errors import NapariSam2Error
from napari_sam2.prompt_checks import listed
from napari_sam2.prompts import Target

if TYPE_CHECKING:
    from napari_sam2.prompts import PromptSet
    from napari_sam2.workspace.held import HeldMasks


MOST_NAMED = 5
"""Objects that a sentence names; of more it tells the number."""


def error_sentence(error: Exception) -> str:
    """Return what to tell the user of an error that ended something in the background."""
    if isinstance(error, NapariSam2Error):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory is full. Use a smaller model, or follow fewer objects at a time. Your work is kept."
    return f"That went wrong unexpectedly ({type(error).__name__}: {error}). Your work is kept; try again."


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
        what = f"Object {few[0]} is not found on {where}."
    else:
        more = f" and {len(lost) - len(few)} more" if len(few) < len(lost) else ""
        what = f"Objects {listed(few)}{more} are not found on some frames (object {few[0]}: {where})."
    return f"{what} If it is there, click it there and propagate again."
