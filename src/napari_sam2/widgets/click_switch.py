"""The switch between clicks that make new objects and clicks that refine the selected one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_sam2.widgets.parts import button
from napari_sam2.workbench.choices import ClickMode
from napari_sam2.workbench.commands import NEW_OBJECT, SWITCH_CLICK_MODE

if TYPE_CHECKING:
    from napari_sam2.workbench.workbench import Workbench

TEXTS = {
    ClickMode.NEW_OBJECT: (
        "New object",
        "A click beside all masks is a new object; a click on a mask refines it, or selects another object.",
    ),
    ClickMode.REFINE: (
        "Refine",
        f"A click beside all masks is one more of the selected object; {NEW_OBJECT.shortcut} begins another.",
    ),
}


class ClickSwitch(QWidget):
    """Two buttons, one of which is pressed. Only the user turns the switch.

    Parameters
    ----------
    bench : Workbench
        Told what is chosen, and asked for it.

    Attributes
    ----------
    buttons : dict of ClickMode to QPushButton
        The buttons.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self._group = QButtonGroup(self)
        self.buttons: dict[ClickMode, QPushButton] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(QLabel("Each click"))
        for mode, (text, tip) in TEXTS.items():
            made = self.buttons[mode] = button(
                text, f"{tip} {SWITCH_CLICK_MODE.shortcut} changes it.", partial(bench.use_click_mode, mode)
            )
            made.setCheckable(True)
            self._group.addButton(made)
            row.addWidget(made, 1)
        bench.choices_changed.connect(self.show_mode)
        self.show_mode()

    def show_mode(self) -> None:
        """Show which of both is chosen."""
        self.buttons[self._bench.choices.click_mode].setChecked(True)
