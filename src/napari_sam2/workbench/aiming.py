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
"""Two clicks no farther apart than this, in image pixels, are on the same thing."""

DOUBLE_CLICK_SCREEN_PX, ANSWER_SCREEN_PX = 4, 20
"""How far a hand may miss a place, in pixels of the screen: in a double click, and when it says yes to a question."""


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
    path = _path(work, drawing)
    refusal = _refusal(work, drawing, path)
    if refusal:
        work.asker.tell(refusal, is_of_place=True)
        return
    own = work.sources.own
    if drawing.is_positive:
        selected = own.object_id
        under = _object_under(work, *path[0]) if drawing.kind is Kind.POINT else 0
        if under and (under != selected or not _is_in_work(work, under)):
            work.choose_object(under)
            work.asker.tell(_selected_sentence(work, under), is_of_place=True)
            return
        enclosed = _object_enclosed(work, drawing, path)
        if enclosed not in (0, selected):
            work.choose_object(enclosed)
        elif work.has_anything_of(selected) and not (
            under or enclosed or _begins_on_mask(work, drawing, path) or _repeats(work, path, question)
        ):
            if mode is ClickMode.NEW_OBJECT:
                work.new_object()
            elif _is_far(work, path):
                sentence = question_sentence(selected)
                work.question = Question(drawing, selected, work.frame, work.asker.prompts, sentence)
                work.asker.tell(sentence, is_of_place=True)
                return
    is_box = drawing.kind is Kind.BOX and drawing.is_positive
    here = Target(own.object_id, work.frame)
    # An object has one box on a frame: another one says it better.
    own.add(drawing, instead_of=own.boxes_of(here, work.image, work.grid) if is_box else ())


def _refusal(work: Workspace, drawing: Drawing, path: NDArray[np.float64]) -> str:
    """Return why something cannot be a prompt, before anything is done for it; empty if it can."""
    size = np.array([work.grid.height, work.grid.width])
    if drawing.kind is Kind.POINT and not ((path[0] >= -0.5) & (path[0] < size - 0.5)).all():
        return "That click was beside the image."
    low, high = path.min(0).clip(-0.5, size - 0.5), path.max(0).clip(-0.5, size - 0.5)
    if drawing.kind is Kind.BOX and not (high - low > 0).all():
        return "That box has no area on the image. Drag from one corner of the object to the opposite one."
    return ""


def _object_enclosed(work: Workspace, drawing: Drawing, path: NDArray[np.float64]) -> int:
    """Return the object that a box or an outline goes round: the selected one, or another one alone; else 0."""
    if drawing.kind not in (Kind.BOX, Kind.LASSO):
        return 0
    selected = work.sources.own.object_id
    if _is_inside(work, selected, path):
        return selected
    enclosed = _objects_in(work, path)
    return enclosed[0] if len(enclosed) == 1 else 0


def _is_in_work(work: Workspace, object_id: int) -> bool:
    """Whether there is a mask or a prompt of an object on the frame that is shown, not only committed pixels."""
    return object_id in work.picture.held.on(work.frame) or Target(object_id, work.frame) in work.asker.prompts


def _selected_sentence(work: Workspace, object_id: int) -> str:
    if object_id in work.picture.held.on(work.frame):
        return f"Object {object_id} is selected. Clicks on its mask refine it."
    return f"Object {object_id} is committed, and stays as it is. Delete it to begin it anew."


def _path(work: Workspace, drawing: Drawing) -> NDArray[np.float64]:
    """Rows and columns of what was drawn, (N, 2)."""
    own = work.sources.own
    return in_frames(drawing.outline, own.points, work.image, work.grid, current_frame=work.frame)[:, 1:]


def _object_under(work: Workspace, y: float, x: float) -> int:
    """Object whose mask is to be seen at a place, committed ones too; 0 for none."""
    grid, row, column = work.grid, math.floor(y + 0.5), math.floor(x + 0.5)
    picture, frame = work.picture, work.frame
    found = object_at(picture.held.shown_on(frame, picture.shown), row, column)
    if not found and work.committed.layer.visible:
        found = int(grid.plane(work.committed.layer.data, frame)[row, column])
    return found


def _mask(work: Workspace, object_id: int) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """Mask of an object on the frame that is shown, and where its first pixel lies."""
    held = work.picture.held.on(work.frame).get(object_id)
    if held is None and object_id in work.committed.object_ids:
        return work.grid.plane(work.committed.layer.data, work.frame) == object_id, (0, 0)
    return (np.zeros((0, 0), np.bool_), (0, 0)) if held is None else (held.mask.logits > 0, held.mask.corner)


def _is_far(work: Workspace, path: NDArray[np.float64]) -> bool:
    """Whether something lies well outside of the selected object's mask: by more than half of its radius."""
    mask, corner = _mask(work, work.sources.own.object_id)
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


def _begins_on_mask(work: Workspace, drawing: Drawing, path: NDArray[np.float64]) -> bool:
    """Whether a scribble begins on the mask of the selected object: then it says more of it."""
    if drawing.kind is not Kind.SCRIBBLE:
        return False
    mask, corner = _mask(work, work.sources.own.object_id)
    return _is_in(mask, path[0] - corner)


def _objects_in(work: Workspace, path: NDArray[np.float64]) -> tuple[int, ...]:
    """Objects in work that something goes round, on the frame that is shown."""
    frame = work.frame
    here = {target.object_id for target in work.asker.prompts if target.frame == frame}
    there = here.union(work.picture.held.on(frame)) - work.objects.notes.locked - work.objects.notes.hidden
    return tuple(one for one in sorted(there) if _is_inside(work, one, path))


def _is_inside(work: Workspace, object_id: int, path: NDArray[np.float64]) -> bool:
    """Whether something goes round an object: round its clicks, the middle of its box, or that of its mask."""
    mask, corner = _mask(work, object_id)
    given = work.asker.prompts.get(Target(object_id, work.frame), ())
    if any(not isinstance(prompt, PointPrompt | BoxPrompt) for prompt in given):
        return False
    clicks = [(p.y, p.x) for p in given if isinstance(p, PointPrompt) and p.positive]
    middles = [((p.y_min + p.y_max) / 2, (p.x_min + p.x_max) / 2) for p in given if isinstance(p, BoxPrompt)]
    places = np.array(clicks or middles or ([np.argwhere(mask).mean(0) + corner] if mask.any() else []))
    low, high = path.min(0), path.max(0)
    return len(places) > 0 and bool(((low <= places) & (places <= high)).all())


def _repeats(work: Workspace, path: NDArray[np.float64], question: Question | None) -> bool:
    """Whether something is a second click at a place: of a double click, or as the answer to a question."""
    pixel = work.display.pixel()
    given = work.asker.prompts.get(Target(work.sources.own.object_id, work.frame), ())
    places = np.array([(p.y, p.x) for p in given if isinstance(p, PointPrompt) and p.positive]).reshape(-1, 2)
    if _is_near(path[0], places, max(SAME_PLACE_PX, DOUBLE_CLICK_SCREEN_PX / pixel)):
        return True
    asked = np.zeros((0, 2)) if question is None else _path(work, question.drawing)
    return _is_near(path[0], asked, max(SAME_PLACE_PX, ANSWER_SCREEN_PX / pixel))


def _is_near(place: NDArray[np.float64], places: NDArray[np.float64], way: float) -> bool:
    return bool((np.linalg.norm(places - place, axis=1) <= way).any())
