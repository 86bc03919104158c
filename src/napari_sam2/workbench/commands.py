"""Everything a user does by a key or a button, in one table. The keys work on the plugin's own layers.

There they come before napari's; other layers keep theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_sam2.inference.speed import Activity
from napari_sam2.layers.reading import NEGATIVE
from napari_sam2.workbench.choices import ClickMode
from napari_sam2.workbench.tools import Tool, take_tool, tool_in_hand
from napari_sam2.workspace.doubt import doubt_sentence
from napari_sam2.workspace.questions import answer_with_new_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers.base import Layer

    from napari_sam2.workbench.finding import SearchPlaces
    from napari_sam2.workbench.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Command:
    """One thing to do.

    Attributes
    ----------
    act : callable
        Does it to a workspace, at a workbench, which has what is chosen.
    name : str
        Text of its button.
    tip : str
        What it does, in a sentence for its button.
    key : str
        As napari spells it; empty for a command without a key.
    meaning : str
        What the key does, for the list of keys.
    replaces : str
        What the key does on layers of these types that are not the plugin's; empty for nothing.
    """

    act: Callable[[Workspace, Workbench], object]
    name: str
    tip: str
    key: str = ""
    meaning: str = ""
    replaces: str = ""

    @property
    def shortcut(self) -> str:
        """The key as people read it, and as Qt does."""
        return self.key.replace("Control", "Ctrl").replace("-", "+")


def _propagate(work: Workspace, bench: Workbench) -> None:
    choices = bench.choices
    if work.asker.status.activity is not Activity.FOLLOWING:
        work.asker.propagate(choices.direction, start=choices.start, stop=choices.stop)


def _new_object(work: Workspace, bench: Workbench) -> None:
    if not answer_with_new_object(work):
        work.new_object()
    if work.sources.own.polarity == NEGATIVE:
        work.toggle_polarity()


def _take_or_leave(work: Workspace, tool: Tool) -> None:
    take_tool(work, Tool.POINT_ON if tool_in_hand(work) is tool else tool)


def _choose_beside(work: Workspace, step: int) -> None:
    ids = work.object_ids
    work.choose_object(ids[(ids.index(work.sources.own.object_id) + step) % len(ids)])


def _switch_click_mode(work: Workspace, bench: Workbench) -> None:
    mode = ClickMode.REFINE if bench.choices.click_mode is ClickMode.NEW_OBJECT else ClickMode.NEW_OBJECT
    bench.use_click_mode(mode)


def _next_doubtful(work: Workspace, bench: Workbench) -> None:
    threshold = bench.choices.threshold
    found = work.show_next_doubtful(threshold)
    is_stack = work.grid.frame_axis is not None
    if found is None:
        what = f"No object is less certain than {threshold:.2f}{' on any frame' * is_stack}."
    else:
        confidence = work.picture.held.on(found.frame)[found.object_id].score.confidence
        what = doubt_sentence(found, confidence, is_stack=is_stack, approve_key=APPROVE.shortcut)
    work.asker.tell(what, is_of_place=True)


def _find(work: Workspace, bench: Workbench, places: SearchPlaces) -> None:
    if not work.finder.is_searching:
        bench.places = places
        bench.finding_wanted.emit()
        places.search(work)


def _find_like(work: Workspace, bench: Workbench, *, is_wanted: bool) -> None:
    _find(work, bench, bench.places.with_example(work, is_wanted=is_wanted))


def _export(_: Workspace, bench: Workbench) -> None:
    bench.export_wanted.emit()


ASK = Command(
    lambda work, _: work.asker.ask(), "Ask again", "", "S", "segment this frame again", "select points or shapes"
)
PROPAGATE = Command(
    _propagate,
    "Propagate",
    "Follow all objects through the range; goes on where it was cancelled",
    "Shift-S",
    "propagate, or go on with it",
)
CANCEL = Command(lambda work, _: work.asker.cancel(), "Cancel", "Stop after the frame in hand; what is finished stays")
TOGGLE_POLARITY = Command(
    lambda work, _: take_tool(work, Tool.POINT_OFF if tool_in_hand(work) is Tool.POINT_ON else Tool.POINT_ON),
    "Include or exclude",
    "",
    "T",
    "include or exclude with the next points",
    "add a path (shapes)",
)
NEW_OBJECT = Command(
    _new_object, "New object", "The next prompt is of another object", "M", "new object", "new label (labels)"
)
SWITCH_CLICK_MODE = Command(
    _switch_click_mode,
    "Each click",
    "What a click beside all masks is: the first of a new object, or one more of the selected object",
    "R",
    "each click is a new object, or refines the selected one",
    "add rectangles (shapes)",
)
BOX = Command(lambda work, _: _take_or_leave(work, Tool.BOX), "Box", "", "B", "draw a box", "move to the back (shapes)")
LASSO = Command(
    lambda work, _: _take_or_leave(work, Tool.LASSO), "Lasso", "", "L", "draw an outline", "add lines (shapes)"
)
BRUSH = Command(
    lambda work, _: _take_or_leave(work, Tool.BRUSH),
    "Brush",
    "",
    "P",
    "paint a mask",
    "add points, add polygons (shapes)",
)
PREVIOUS_OBJECT = Command(lambda work, _: _choose_beside(work, -1), "Previous object", "", ",", "previous object")
NEXT_OBJECT = Command(lambda work, _: _choose_beside(work, 1), "Next object", "", ".", "next object")
ANOTHER_MASK = Command(
    lambda work, _: work.show_another_mask(),
    "Another mask",
    "The model has three masks of a click, mostly a part, the whole and a group: show the next for the last click",
    "A",
    "another mask of the last click",
    "select all points or shapes of the frame",
)
NEXT_DOUBTFUL = Command(
    _next_doubtful, "Next doubtful", "Go to the next object that is doubtful on a frame", "N", "next doubtful object"
)
APPROVE = Command(
    lambda work, _: work.approve(),
    "Approve",
    "The mask of the selected object on this frame is right: never computed again, and remembered",
    "Y",
    "yes: approve the mask of the object on this frame",
)
APPROVE_FRAME = Command(
    lambda work, _: work.approve_frame(),
    "Approve frame",
    "All masks of this frame are right: never computed again, and remembered",
    "Shift-Y",
    "approve all masks of this frame",
)
MARK_ABSENT = Command(
    lambda work, _: work.mark_absent(),
    "Not here",
    "The object is not on this frame",
    "X",
    "the object is not on this frame",
    "swap with the background (labels)",
)
COMMIT = Command(
    lambda work, bench: work.commit(bench.choices.policy),
    "Commit",
    "Move all objects to the layer committed_objects",
    "C",
    "commit all objects",
)
CLEAR_PROMPTS = Command(
    lambda work, _: work.clear_prompts(),
    "Clear prompts",
    "Take back all that was said of this object",
    "Shift-C",
    "clear the prompts of this object",
)
UNDO = Command(
    lambda work, _: work.undo(),
    "Undo",
    "Take back the last step: a prompt, a propagation, a commit",
    "Control-Z",
    "undo",
    "undo painting (labels)",
)
REDO = Command(
    lambda work, _: work.redo(), "Redo", "Make it again", "Control-Shift-Z", "redo", "redo painting (labels)"
)
FIND = Command(
    lambda work, bench: _find(work, bench, replace(bench.places, examples=())),
    "Find objects",
    "Let the model find all objects of this frame; nothing is added before you have seen them",
    "F",
    "find all objects of this frame",
    "fill (labels), move to the front (shapes)",
)
FIND_LIKE = Command(
    lambda work, bench: _find_like(work, bench, is_wanted=True),
    "More like it",
    "Find what is like the selected object; pressed on further objects, they are examples, too, also on the next image",
    "Shift-F",
    "find what is like the selected object",
)
FIND_UNLIKE = Command(
    lambda work, bench: _find_like(work, bench, is_wanted=False),
    "Not like it",
    "The selected object is an example of what you do not look for",
)
CANCEL_SEARCH = Command(
    lambda work, _: work.finder.cancel(), "Cancel", "Stop after the part in hand; what was found stays"
)
ADD_FOUND = Command(lambda work, _: work.add_found(), "Add objects", "Make objects of what was found; one step to undo")
DISCARD_FOUND = Command(lambda work, _: work.finder.discard(), "Discard", "Drop what was found")
EXPORT = Command(
    _export,
    "Export…",
    "Write all objects, committed or not, with tables and prompts to a folder; labels as TIFF",
    "E",
    "export all objects",
    "erase (labels), add an ellipse (shapes)",
)

KEYED = (
    ASK,
    PROPAGATE,
    TOGGLE_POLARITY,
    SWITCH_CLICK_MODE,
    BOX,
    LASSO,
    BRUSH,
    FIND,
    FIND_LIKE,
    NEW_OBJECT,
    PREVIOUS_OBJECT,
    NEXT_OBJECT,
    ANOTHER_MASK,
    NEXT_DOUBTFUL,
    APPROVE,
    APPROVE_FRAME,
    MARK_ABSENT,
    COMMIT,
    CLEAR_PROMPTS,
    UNDO,
    REDO,
    EXPORT,
)
"""Commands with a key, in the order in which the list of keys shows them."""


def bind_keys(layer: Layer, do: Callable[[Command], object]) -> None:
    """Bind every key on one layer; `do` is called with its command."""
    for command in KEYED:
        layer.bind_key(command.key, _pressed(command, do), overwrite=True)


def unbind_keys(layer: Layer) -> None:
    """Give a layer napari's keys back."""
    for command in KEYED:
        layer.bind_key(command.key, None)


def _pressed(command: Command, do: Callable[[Command], object]) -> Callable[[Layer], None]:
    def pressed(layer: Layer) -> None:
        do(command)

    return pressed
