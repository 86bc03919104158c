"""Of which object a click or a drawing is: the selected one, another one, or a new one. No Qt.

One click in every nucleus should give as many objects as clicks, and a second click should still refine what the first
has found. Both can be had without a key, because what is under a click tells most: a mask, or none. What it cannot tell
is what a click beside all masks means, so the user chooses that (`ClickMode`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.labels.composing import object_at
from napari_sam2.layers.drawing import Kind
from napari_sam2.layers.places import in_frames
from napari_sam2.prompts import BoxPrompt, PointPrompt, Target
from napari_sam2.workbench.choices import ClickMode
from napari_sam2.workbench.sentences import question_sentence
from napari_sam2.workspace.questions import Question, open_question

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.layers.drawing import Drawing
    from napari_sam2.workspace.workspace import Workspace

LEAST_WAY_PX = 3
"""A click no farther than this from a mask, in image pixels, corrects its outline, however small the mask is."""

_MOST_PLACES = 32
"""Places of a drawing that are looked at."""

SAME_PLACE_PX = 2
"""Two clicks no farther apart than this, in image pixels, are on the same thing: a double click, or a yes."""


def draw(work: Workspace, drawing: Drawing, mode: ClickMode) -> None:
    """Make what was drawn a prompt of the object that is meant; a click on another object's mask selects that.

    Parameters
    ----------
    work : Workspace
        The work.
    drawing : Drawing
        What was drawn, on the frame that is shown.
    mode : ClickMode
        What it is where it tells nothing by itself.
    """
    question, work.question = open_question(work), None
    selected = work.sources.own.object_id
    path = _path(work, drawing)
    if drawing.kind is Kind.POINT and drawing.is_positive:
        under = _object_under(work, *path[0])
        if under not in (0, selected):
            work.choose_object(under)
            work.asker.tell(f"Object {under} is selected. Clicks on its mask refine it.")
            return
    else:
        under = 0
    if drawing.is_positive and work.has_anything_of(selected):
        is_clearly_his = under == selected or _is_round(work, drawing, path) or _repeats(work, path, question)
        if mode is ClickMode.NEW_OBJECT and not is_clearly_his:
            work.new_object()
        elif mode is ClickMode.REFINE and not is_clearly_his and _is_far(work, path):
            work.question = Question(drawing, selected, work.frame, work.asker.prompts)
            work.asker.tell(question_sentence(selected))
            return
    work.sources.own.add(drawing)


def _path(work: Workspace, drawing: Drawing) -> NDArray[np.float64]:
    """Rows and columns of what was drawn, (N, 2)."""
    own = work.sources.own
    return in_frames(drawing.outline, own.points, work.image, work.grid, current_frame=work.frame)[:, 1:]


def _object_under(work: Workspace, y: float, x: float) -> int:
    """Object whose mask is to be seen at a place, committed ones too; 0 for none."""
    grid, row, column = work.grid, math.floor(y + 0.5), math.floor(x + 0.5)
    if not (0 <= row < grid.height and 0 <= column < grid.width):
        return 0
    picture, frame = work.picture, work.frame
    found = object_at(picture.held.shown_on(frame, picture.shown), row, column)
    if not found and work.committed.layer.visible:
        found = int(grid.plane(work.committed.layer.data, frame)[row, column])
    return found


def _mask(work: Workspace) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """Mask of the selected object on the frame that is shown, and where its first pixel lies."""
    held = work.picture.held.on(work.frame).get(work.sources.own.object_id)
    return (np.zeros((0, 0), np.bool_), (0, 0)) if held is None else (held.mask.logits > 0, held.mask.corner)


def _is_far(work: Workspace, path: NDArray[np.float64]) -> bool:
    """Whether something lies well outside of the selected object's mask: by more than half of its radius."""
    mask, corner = _mask(work)
    if not mask.any():
        return False
    radius = math.sqrt(np.count_nonzero(mask) / math.pi)
    places = np.vstack((path[:: math.ceil(len(path) / _MOST_PLACES)], path.mean(0))) - corner
    if any(_is_in(mask, place) for place in places):
        return False
    around = np.pad(mask, 1)
    is_inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    outline = np.argwhere(mask & ~is_inner)
    nearest = min(float(np.linalg.norm(outline - place, axis=1).min()) for place in places)
    return nearest > max(radius / 2, LEAST_WAY_PX)


def _is_in(mask: NDArray[np.bool_], place: NDArray[np.float64]) -> bool:
    y, x = np.floor(place + 0.5).astype(int).tolist()
    return 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and bool(mask[y, x])


def _is_round(work: Workspace, drawing: Drawing, path: NDArray[np.float64]) -> bool:
    """Whether a drawing goes round the selected object, or a scribble begins on it: then it says more of it."""
    if drawing.kind is Kind.POINT:
        return False
    mask, corner = _mask(work)
    if drawing.kind is Kind.SCRIBBLE:
        return _is_in(mask, path[0] - corner)
    given = work.asker.prompts.get(Target(work.sources.own.object_id, work.frame), ())
    if any(not isinstance(prompt, PointPrompt | BoxPrompt) for prompt in given):
        return False
    clicks = [(p.y, p.x) for p in given if isinstance(p, PointPrompt) and p.positive]
    middles = [((p.y_min + p.y_max) / 2, (p.x_min + p.x_max) / 2) for p in given if isinstance(p, BoxPrompt)]
    places = np.array(clicks or middles or ([np.argwhere(mask).mean(0) + corner] if mask.any() else []))
    low, high = path.min(0), path.max(0)
    return len(places) > 0 and bool(((low <= places) & (places <= high)).all())


def _repeats(work: Workspace, path: NDArray[np.float64], question: Question | None) -> bool:
    """Whether something is a second click at a place: of a double click, or as the answer to a question."""
    given = work.asker.prompts.get(Target(work.sources.own.object_id, work.frame), ())
    places = [(p.y, p.x) for p in given if isinstance(p, PointPrompt) and p.positive]
    if question is not None:
        places += _path(work, question.drawing).tolist()
    return any(float(np.linalg.norm(path[0] - place)) <= SAME_PLACE_PX for place in places)
