"""What the user is asked before something that was drawn becomes a prompt. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam2.layers.drawing import Drawing
    from napari_sam2.prompts import PromptSet
    from napari_sam2.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Whether something that was drawn far from the selected object's mask is of another object.

    Attributes
    ----------
    drawing : Drawing
        What waits to become a prompt.
    object_id, frame : int
        The selected object, and the frame that is shown.
    prompts : PromptSet
        All prompts when it was asked. With others, nobody thinks of it any more.
    sentence : str
        What is asked. It is open as long as that is to be read.
    """

    drawing: Drawing
    object_id: int
    frame: int
    prompts: PromptSet
    sentence: str


def open_question(work: Workspace) -> Question | None:
    """Return what was asked, unless the user has gone on with something else."""
    asked, now = work.question, (work.sources.own.object_id, work.frame)
    if asked is None or (asked.object_id, asked.frame) != now or asked.prompts is not work.asker.prompts:
        return None
    return asked if work.asker.status.message == asked.sentence else None


def answer_with_new_object(work: Workspace) -> bool:
    """Make what is asked about the first prompt of a new object; return whether anything was asked."""
    question, work.question = open_question(work), None
    if question is None:
        return False
    work.new_object()
    work.sources.own.add(question.drawing)
    return True
