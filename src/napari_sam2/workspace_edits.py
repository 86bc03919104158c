"""What is done in a workspace, as steps that can be undone: masks answered, masks painted or approved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam2.prompts import MaskPrompt, Prompt, Target
    from napari_sam2.results import ObjectMask
    from napari_sam2.workspace import Workspace


@dataclass(frozen=True, slots=True, eq=False)
class MaskEdit:
    """The masks of one frame before and after an edit; a `history.Change`."""

    workspace: Workspace
    frame: int
    before: Mapping[int, ObjectMask]
    after: Mapping[int, ObjectMask]

    @property
    def num_bytes(self) -> int:
        """Memory taken by the masks that differ."""
        return sum(
            masks[i].logits.nbytes
            for masks, others in ((self.before, self.after), (self.after, self.before))
            for i in masks
            if others.get(i) is not masks[i]
        )

    def undo(self) -> None:
        """Put the masks back that the edit replaced."""
        self.workspace.set_masks(self.frame, self.before)

    def redo(self) -> None:
        """Put the masks of the edit back."""
        self.workspace.set_masks(self.frame, self.after)


@dataclass(frozen=True, slots=True)
class Overruling:
    """What the user says the mask of a target is: painted by hand, or approved.

    Attributes
    ----------
    mask : MaskPrompt
        The mask.
    prompts : tuple of Prompt
        The prompts the target had then; the mask takes their place. Prompts given later refine it.
    """

    mask: MaskPrompt
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class OverrulingEdit:
    """Masks painted or approved in one go; a `history.Change`."""

    workspace: Workspace
    before: Mapping[Target, Overruling]
    after: Mapping[Target, Overruling]

    @property
    def num_bytes(self) -> int:
        """Memory taken by the masks that differ."""
        return sum(len(one.mask.bits) for target, one in self.after.items() if self.before.get(target) is not one)

    def undo(self) -> None:
        """Take the masks back."""
        self.workspace.overrule(self.before)

    def redo(self) -> None:
        """Say the masks again."""
        self.workspace.overrule(self.after)
