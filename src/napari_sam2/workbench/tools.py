"""The tools of the panel: which of our layers the mouse works on, and how. No Qt."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from napari_sam2.layers.places import place_in
from napari_sam2.layers.reading import NEGATIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam2.workspace.workspace import Workspace

IDLE_MODES = ("pan_zoom", "transform")
"""Modes of layers in which a click does nothing, and a drag moves the view or the layer."""


class Tool(Enum):
    """What the mouse does on the canvas."""

    POINT_ON = "point on the object"
    POINT_OFF = "point off the object"
    BOX = "box"
    LASSO = "lasso"
    SCRIBBLE = "scribble"
    BRUSH = "brush"


SHAPE_MODES = {Tool.BOX: "add_rectangle", Tool.LASSO: "add_polygon_lasso", Tool.SCRIBBLE: "add_path"}
"""Modes of the Shapes layer by the tool that draws in them."""


def take_tool(work: Workspace, tool: Tool) -> None:
    """Take a tool: its layer becomes the active one."""
    own = work.sources.own
    if tool in SHAPE_MODES:
        layer, mode = own.shapes, SHAPE_MODES[tool]
    elif tool is Tool.BRUSH:
        layer, mode = work.picture.layer, "paint"
    else:
        layer, mode = own.points, "add"
    work.viewer.layers.selection.active = layer
    layer.mode = mode
    work.asker.leave_place()  # what was said of another tool
    if layer is own.points and (own.polarity == NEGATIVE) != (tool is Tool.POINT_OFF):
        work.toggle_polarity()


def tool_in_hand(work: Workspace) -> Tool | None:
    """Return the tool in hand; None for anything that is not one of ours."""
    own, active = work.sources.own, work.viewer.layers.selection.active
    if active == own.points and own.points.mode == "add":
        return Tool.POINT_OFF if own.polarity == NEGATIVE else Tool.POINT_ON
    if active == own.shapes:
        return next((tool for tool, mode in SHAPE_MODES.items() if own.shapes.mode == mode), None)
    if active == work.picture.layer and active.mode == "paint":
        return Tool.BRUSH
    return None


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
