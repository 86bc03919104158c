"""Clicks on the canvas that do nothing, because the layer that is active only moves the view: they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.layers.grid import place_in

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
    """Say why a click did nothing, and how to go on; empty if it did something, or was not on the image.

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
