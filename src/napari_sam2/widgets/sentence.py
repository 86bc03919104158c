"""The sentence of the panel: how things stand, and at times a button for what it proposes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_sam2.widgets.parts import TallArea, button

if TYPE_CHECKING:
    from napari_sam2.workbench.advice import Advice, Offer
    from napari_sam2.workbench.workbench import Workbench

LINES = 5
"""Lines that there is always room for, also for three and a button, so that nothing moves when there are others."""


class SentenceLine(QWidget):
    """Shows advice: a sentence, and below it the button of an offer, if there is one. A long sentence scrolls.

    Parameters
    ----------
    bench : Workbench
        On which what is offered is done.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self._offer: Offer | None = None
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.label.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding)
        self.label.setMinimumSize(1, 1)  # else Qt takes the height that the text would need in a narrow column
        self.button = button("", "What the sentence asks.", self._on_button)
        self.button.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        self.area = TallArea(self.label)
        layout.addWidget(self.area, 1)
        layout.addWidget(self.button, 0, Qt.AlignmentFlag.AlignLeft)
        self.take_room(is_alone=False)

    def show_advice(self, advice: Advice) -> None:
        """Show other advice."""
        self.label.setText(advice.sentence)
        self._offer = advice.offer
        self.button.setVisible(advice.offer is not None)
        if advice.offer is not None:
            self.button.setText(advice.offer.text.replace("&", "&&"))  # else it underlines a letter
            self.button.setToolTip(advice.offer.tip)

    def take_room(self, *, is_alone: bool) -> None:
        """Take a height that does not depend on the text; more if there is nothing else to be seen in the panel."""
        height = LINES * self.fontMetrics().lineSpacing() + 4
        self.setMinimumHeight(height)
        self.setMaximumHeight(4 * height if is_alone else height)

    def _on_button(self) -> None:
        if self._offer is not None:
            self._offer.act(self._bench)
