"""The tools of the mouse as buttons: which one is in hand, and taking another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QPushButton, QVBoxLayout, QWidget

from napari_sam2.widgets.parts import button, in_a_grid
from napari_sam2.workspace.tools import Tool, take_tool, tool_in_hand

if TYPE_CHECKING:
    from napari_sam2.workspace.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace

TOOLS = {
    Tool.POINT_ON: ("Include", "Click on the object. T changes to Exclude and back."),
    Tool.POINT_OFF: ("Exclude", "Click on what is not the object (T)."),
    Tool.BOX: ("Box", "Drag a box round the object."),
    Tool.BRUSH: ("Brush", "Paint the mask of the object, or erase: what you paint stays as it is."),
}

MOST_IN_A_ROW = 4
"""Tools that stand side by side in a narrow panel; more of them stand in rows of three."""


class ToolRow(QWidget):
    """One button for each tool; that of the tool in hand is pressed.

    Parameters
    ----------
    bench : Workbench
        Told which tool to take.

    Attributes
    ----------
    buttons : dict of Tool to QPushButton
        The buttons.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._group = QButtonGroup(self)
        self._group.setExclusive(False)  # none is pressed while a layer of the user's is in hand
        self.buttons: dict[Tool, QPushButton] = {}
        for tool, (text, tip) in TOOLS.items():
            made = self.buttons[tool] = button(text, tip, partial(bench.do, partial(take_tool, tool=tool)))
            made.setCheckable(True)
            self._group.addButton(made)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        columns = len(TOOLS) if len(TOOLS) <= MOST_IN_A_ROW else 3
        layout.addLayout(in_a_grid(columns, *self.buttons.values()))

    def show_tool(self, work: Workspace | None) -> None:
        """Show which tool is in hand."""
        tool = None if work is None else tool_in_hand(work)
        for one, made in self.buttons.items():
            made.setChecked(one is tool)
