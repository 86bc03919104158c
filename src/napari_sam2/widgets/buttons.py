"""Buttons and headings that look alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable


def button(text: str, tip: str, clicked: Callable[[], object]) -> QPushButton:
    """Make a push button.

    Parameters
    ----------
    text : str
        What stands on it; a letter after "&" is pressed with Alt.
    tip : str
        What it does, in a sentence, with its key.
    clicked : callable
        Called without arguments; a bound method, which is held weakly.
    """
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setAutoDefault(False)
    made.clicked.connect(clicked)
    return made


def heading(text: str) -> QLabel:
    """Make the heading of a group."""
    made = QLabel(text)
    font = made.font()
    font.setBold(True)
    made.setFont(font)
    made.setContentsMargins(0, 6, 0, 0)
    return made


def in_a_row(*widgets: QWidget) -> QHBoxLayout:
    """Put widgets side by side, each as wide as it likes."""
    row = QHBoxLayout()
    row.setSpacing(4)
    for widget in widgets:
        row.addWidget(widget)
    return row
