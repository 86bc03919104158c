"""The tools of the mouse as buttons: which one is in hand, and taking another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QPushButton, QVBoxLayout, QWidget

from napari_sam2.widgets.click_switch import ClickSwitch
from napari_sam2.widgets.parts import button, in_a_grid
from napari_sam2.workbench.tools import Tool, take_tool, tool_in_hand

if TYPE_CHECKING:
    from napari_sam2.workbench.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace

TOOLS = {
    Tool.POINT_ON: ("Include", "Click on the object. T changes to Exclude and back."),
    Tool.POINT_OFF: ("Exclude", "Click on what is not the object (T)."),
    Tool.BOX: ("Box", "Drag a box round the object (B). Include draws one, too."),
    Tool.LASSO: ("Lasso", "Draw round the object: what is inside is its mask (L)."),
    Tool.SCRIBBLE: ("Scribble", "Draw a line along the object: it counts as clicks."),
    Tool.BRUSH: ("Brush", "Paint the mask of the object, or erase: what you paint stays as it is (P)."),
}

COLUMNS = 3
"""Tools that stand side by side in a narrow panel."""


class ToolRow(QWidget):
    """One button for each tool, of which that in hand is pressed, and the switch of what a click means.

    Parameters
    ----------
    bench : Workbench
        Told which tool to take.

    Attributes
    ----------
    buttons : dict of Tool to QPushButton
        The buttons.
    switch : ClickSwitch
        Whether clicks make objects or refine the selected one.
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
        layout.addLayout(in_a_grid(COLUMNS, *self.buttons.values()))
        self.switch = ClickSwitch(bench)
        layout.addWidget(self.switch)

    def show_tool(self, work: Workspace | None) -> None:
        """Show which tool is in hand."""
        tool = None if work is None else tool_in_hand(work)
        for one, made in self.buttons.items():
            made.setChecked(one is tool)
