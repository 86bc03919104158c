"""What the mouse does on the canvas: clicks and drags on our prompt layers, and clicks that do nothing. No Qt.

Our layers take part in napari's modes, so that its buttons, cursors and the space bar work as ever. In the modes that
are tools of ours, these callbacks stand in the place of napari's: only when the button is let go of is it known whether
a click or a drag was meant, and of which object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.layers.drawing import Drawing, Kind
from napari_sam2.workbench.aiming import draw
from napari_sam2.workbench.tools import SHAPE_MODES, Tool, tool_in_hand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Protocol

    from napari.components import ViewerModel
    from napari.layers import Points, Shapes
    from numpy.typing import NDArray

    from napari_sam2.workbench.choices import ClickMode
    from napari_sam2.workspace.workspace import Workspace

    class MouseEvent(Protocol):
        """What napari tells of the mouse."""

        type: str
        button: int | None
        pos: NDArray[np.float64]
        position: Sequence[float]
        modifiers: Sequence[str]


LEFT, RIGHT = 1, 2

DRAG_PX = 5
"""Way of the mouse on the screen from which on it is a drag."""

KINDS = {
    Tool.POINT_ON: Kind.BOX,
    Tool.POINT_OFF: Kind.SCRIBBLE,
    Tool.BOX: Kind.BOX,
    Tool.LASSO: Kind.LASSO,
    Tool.SCRIBBLE: Kind.SCRIBBLE,
}
"""What a drag draws, by tool."""


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


class DrawingMouse:
    """Draws prompts on the layers of one work while one of our tools is in hand.

    Parameters
    ----------
    work : Workspace
        Whose prompts are drawn.
    do : callable
        Does something to it, and shows why if it cannot be done.
    click_mode : callable
        Returns what a click beside all masks is.
    """

    def __init__(
        self,
        work: Workspace,
        do: Callable[[Callable[[Workspace], object]], None],
        click_mode: Callable[[], ClickMode],
    ) -> None:
        self._work, self._do, self._click_mode = work, do, click_mode
        own = work.sources.own
        self._layers: tuple[Points | Shapes, ...] = (own.points, own.shapes)
        for layer in self._layers:
            layer.events.mode.connect(self._on_mode)
        self._on_mode()

    def close(self) -> None:
        """Leave the mouse to napari."""
        for layer in self._layers:
            layer.events.mode.disconnect(self._on_mode)
            if self._on_press in layer.mouse_drag_callbacks:
                layer.mouse_drag_callbacks.remove(self._on_press)
                mode, layer.mode = layer.mode, "pan_zoom"
                layer.mode = mode  # with which napari puts its own callbacks back

    def _on_mode(self, event: object = None) -> None:
        for layer in self._layers:
            callbacks = layer.mouse_drag_callbacks
            if self._on_press in callbacks:
                callbacks.remove(self._on_press)
            if layer.mode in ("add", *SHAPE_MODES.values()):
                for those in (callbacks, layer.mouse_move_callbacks, layer.mouse_double_click_callbacks):
                    those[:] = [one for one in those if not str(getattr(one, "__module__", "")).startswith("napari.")]
                callbacks.append(self._on_press)
                layer.mouse_pan = False  # drags draw; space and drag moves the view

    def _on_press(self, layer: Points | Shapes, event: MouseEvent) -> Iterator[None]:
        tool = tool_in_hand(self._work)
        if tool is None or event.modifiers or event.button not in (LEFT, RIGHT):
            return
        if self._work.viewer.dims.ndisplay == 3:
            self._work.asker.complain("Prompts are drawn on a flat image. Leave the 3-D view (Ctrl+Y) and click again.")
            return
        button, start = event.button, np.array(event.pos)
        path = [layer.world_to_data(event.position)]
        own, kind = self._work.sources.own, KINDS[tool]
        is_drag = False
        yield
        try:
            while event.type == "mouse_move":
                is_drag = is_drag or float(np.linalg.norm(event.pos - start)) >= DRAG_PX
                if is_drag and button == LEFT:
                    path.append(layer.world_to_data(event.position))
                    own.show_sketch(Drawing(kind, kind.outline(path, self._work.grid)))
                yield
        finally:
            own.hide_sketch()
        # Of moves that follow each other quickly vispy drops all but the first; the last place is that of the release.
        is_drag = is_drag or float(np.linalg.norm(event.pos - start)) >= DRAG_PX
        if button == LEFT and is_drag:
            path.append(layer.world_to_data(event.position))
            is_positive = tool is not Tool.POINT_OFF
            self._draw(Drawing(kind, kind.outline(path, self._work.grid), is_positive=is_positive))
        elif button == RIGHT and not is_drag:
            self._draw(Drawing(Kind.POINT, np.array(path[:1]), is_positive=False))
        elif button == LEFT and layer is own.points:
            self._draw(Drawing(Kind.POINT, np.array(path[:1]), is_positive=tool is Tool.POINT_ON))
        elif button == LEFT:
            self._work.asker.tell(
                f"Keep the button down and drag: so a {tool.value} is drawn. Include (T) takes clicks.",
                is_of_place=True,
            )

    def _draw(self, drawing: Drawing) -> None:
        self._do(lambda work: draw(work, drawing, self._click_mode()))
