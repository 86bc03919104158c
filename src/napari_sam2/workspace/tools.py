"""The tools of the panel: which of our layers the mouse works on, and clicks that do nothing without one. No Qt."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from napari_sam2.layers.places import place_in
from napari_sam2.layers.reading import NEGATIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Protocol

    from napari.components import ViewerModel

    from napari_sam2.workspace.workspace import Workspace

    class MouseEvent(Protocol):
        """What napari tells of the mouse."""

        type: str
        button: int | None
        position: Sequence[float]
        modifiers: Sequence[str]


IDLE_MODES = ("pan_zoom", "transform")
"""Modes of layers in which a click does nothing, and a drag moves the view or the layer."""

LEFT = 1


class Tool(Enum):
    """What the mouse does on the canvas."""

    POINT_ON = "point on the object"
    POINT_OFF = "point off the object"
    BOX = "box"
    BRUSH = "brush"


def take_tool(work: Workspace, tool: Tool) -> None:
    """Take a tool: its layer becomes the active one."""
    own = work.sources.own
    layer, mode = {
        Tool.POINT_ON: (own.points, "add"),
        Tool.POINT_OFF: (own.points, "add"),
        Tool.BOX: (own.shapes, "add_rectangle"),
        Tool.BRUSH: (work.picture.layer, "paint"),
    }[tool]
    work.viewer.layers.selection.active = layer
    layer.mode = mode
    if layer is own.points and (own.polarity == NEGATIVE) != (tool is Tool.POINT_OFF):
        work.toggle_polarity()


def tool_in_hand(work: Workspace) -> Tool | None:
    """Return the tool in hand; None for anything that is not one of ours."""
    own, active = work.sources.own, work.viewer.layers.selection.active
    if active == own.points and own.points.mode == "add":
        return Tool.POINT_OFF if own.polarity == NEGATIVE else Tool.POINT_ON
    if active == own.shapes and own.shapes.mode == "add_rectangle":
        return Tool.BOX
    if active == work.picture.layer and active.mode == "paint":
        return Tool.BRUSH
    return None


class CanvasClicks:
    """Listens for clicks with the left button: presses that are let go of where they were.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    on_click : callable
        Told where it was, in world coordinates, once the button is let go of.
    """

    def __init__(self, viewer: ViewerModel, on_click: Callable[[Sequence[float]], None]) -> None:
        self._viewer, self._on_click = viewer, on_click
        viewer.mouse_drag_callbacks.append(self._on_press)

    def close(self) -> None:
        """Listen no more."""
        if self._on_press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_press)

    def _on_press(self, viewer: object, event: MouseEvent) -> Iterator[None]:
        if event.button != LEFT or event.modifiers:
            return
        place = tuple(event.position)
        yield
        is_drag = False
        while event.type == "mouse_move":
            is_drag = True
            yield
        if not is_drag:
            self._on_click(place)


def idle_click_sentence(work: Workspace, point: Sequence[float]) -> str:
    """Return why a click did nothing, and how to go on; empty if it did something, or was not on the image.

    Parameters
    ----------
    work : Workspace
        The work that is gone on with.
    point : sequence of float
        Where it was, in world coordinates.
    """
    active = work.viewer.layers.selection.active
    if active is not None and str(active.mode) not in IDLE_MODES:
        return ""
    _, y, x = place_in(work.image, work.grid, point, work.viewer.layers.units)
    if not (-0.5 <= y <= work.grid.height - 0.5 and -0.5 <= x <= work.grid.width - 0.5):
        return ""
    if active is None:
        reason = "no layer is active, or several are selected"
    elif active in work.made:
        reason = f"layer {active.name!r} is set to move the view"
    else:
        reason = f"layer {active.name!r} is active, which takes no prompts now"
    return f"That click did nothing: {reason}. Take a tool in the panel, Include or Box, and click again."
