"""Masks of the user's own: painted over those of the model, approved, or corrected where they were followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.layers.prompt_sources import UserMask
from napari_sam2.prompt_checks import listed
from napari_sam2.prompts import MaskPrompt, PointPrompt, Target
from napari_sam2.workspace.edits import edit_of_user_masks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_sam2.layers.prompt_sources import PromptSources
    from napari_sam2.prompts import PromptSet
    from napari_sam2.workspace.history import Edit
    from napari_sam2.workspace.objects import ObjectNotes
    from napari_sam2.workspace.picture import Picture


@dataclass(frozen=True, slots=True, eq=False)
class Painting:
    """What was painted over the picture of one frame.

    Attributes
    ----------
    masks : mapping of int to array
        Masks that were accepted, by object; (Y, X), bool.
    locked, hidden : tuple of int
        Objects that were painted on and may not be.
    erased : tuple of int
        Objects of which nothing would be left.
    """

    masks: Mapping[int, NDArray[np.bool_]]
    locked: tuple[int, ...]
    hidden: tuple[int, ...]
    erased: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """True if every painted pixel was accepted."""
        return not (self.locked or self.hidden or self.erased)

    @property
    def remark(self) -> str:
        """Why some of it was not accepted, and what to do; empty if all was."""
        reasons = []
        if self.locked:
            reasons.append(f"Object {listed(self.locked)} is locked. Unlock it in the table of objects to paint on it.")
        if self.hidden:
            reasons.append(f"Object {listed(self.hidden)} is hidden on this frame. Show it before you paint on it.")
        if self.erased:
            reasons.append(
                f"Nothing would be left of object {listed(self.erased)} on this frame. To say that it is not here, "
                "press X; to drop it, take its prompts back."
            )
        return " ".join(reasons)


def read_painting(picture: Picture, notes: ObjectNotes, frame: int) -> Painting:
    """Read what was painted on a frame since its masks were drawn."""
    masks, held = picture.painted(frame), picture.held.on(frame)
    unseen = {i for i, one in held.items() if not picture.shown.includes(one)} | notes.hidden
    locked, hidden = (masks.keys() & ids for ids in (notes.locked, unseen - notes.locked))
    if locked:
        is_free = ~np.isin(picture.composed(frame), sorted(locked))
        masks = {i: mask & is_free for i, mask in masks.items() if i not in locked}
    accepted = {i: mask for i, mask in masks.items() if mask.any() and i not in hidden}
    erased = (masks.keys() - accepted.keys() - hidden) & held.keys()
    return Painting(accepted, *(tuple(sorted(ids)) for ids in (locked, hidden, erased)))


def seen_masks(picture: Picture, frame: int) -> dict[int, NDArray[np.bool_]]:
    """Masks of a frame as they are drawn, by object, but for those of which nothing is seen; (Y, X), bool."""
    plane = picture.composed(frame)
    masks = {one.object_id: plane == one.object_id for one in picture.held.shown_on(frame, picture.shown)}
    return {object_id: mask for object_id, mask in masks.items() if mask.any()}


def followed_masks(picture: Picture, before: PromptSet, now: PromptSet) -> dict[int, dict[int, NDArray[np.bool_]]]:
    """Masks that were followed to frames on which somebody clicks only now, by frame and object; (Y, X), bool.

    Such a click corrects what is seen. Without the mask it would mean something new: a point, that there is an object
    round it, and a negative point alone, that the object is not there.
    """
    masks: dict[int, dict[int, NDArray[np.bool_]]] = {}
    for target in now.keys() - before.keys():
        held = picture.held.on(target.frame).get(target.object_id)
        if held is None or not held.score.area_px or not picture.shown.includes(held):
            continue
        if all(isinstance(prompt, PointPrompt) for prompt in now[target]):
            whole = np.zeros((picture.grid.height, picture.grid.width), np.bool_)
            (y, x), (height, width) = held.mask.corner, held.mask.logits.shape
            whole[y : y + height, x : x + width] = held.mask.logits > 0
            masks.setdefault(target.frame, {})[target.object_id] = whole
    return masks


def edit_of_given(
    sources: PromptSources, prompts: PromptSet, frame: int, masks: Mapping[int, NDArray[np.bool_]]
) -> Edit:
    """Return the edit that puts masks in the place of the prompts of objects on a frame; to be made by `redo`."""
    before = sources.user_masks
    after = dict(before)
    for object_id, mask in masks.items():
        target = Target(object_id, frame)
        # What an earlier mask took the place of is still drawn, and does not come back.
        replaced = before[target].prompts if target in before else ()
        given = (one for one in prompts.get(target, ()) if target not in before or one != before[target].mask)
        after[target] = UserMask(MaskPrompt(object_id, frame, mask), (*replaced, *given))
    return edit_of_user_masks(sources, after)
