"""Objects that left the field while they were followed: said after a propagation, with what helps if they come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.prompts import Target, listed

if TYPE_CHECKING:
    from napari_sam2.prompts import PromptSet
    from napari_sam2.workspace.held import HeldMasks

_MOST_NAMED = 5


def lost_sentence(held: HeldMasks, prompts: PromptSet) -> str:
    """Say which objects are not found any more towards an end of what was followed; empty if there is none.

    Parameters
    ----------
    held : HeldMasks
        The masks.
    prompts : PromptSet
        All that is said. Where the user has said of an object what is there, or that it is not, nothing is lost.
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
