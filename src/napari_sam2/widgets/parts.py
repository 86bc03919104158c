"""Parts that the panels are made of: buttons, sections that fold, a column that scrolls, ways to refresh."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer, Signal, Slot
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QToolButton, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam2.workspace.commands import Command
    from napari_sam2.workspace.workbench import Workbench


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


def command_button(command: Command, bench: Workbench) -> QPushButton:
    """Make the push button of a command."""
    key = f" ({command.shortcut})" if command.key else ""
    return button(command.name, f"{command.tip}{key}.", partial(bench.run, command))


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


class TallArea(QScrollArea):
    """Scrolls up and down only: it is as wide as its content needs.

    Parameters
    ----------
    content : QWidget
        What is scrolled.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        content.installEventFilter(self)

    def minimumSizeHint(self) -> QSize:
        """Leave no part of the content beyond the right edge."""
        content, bar = self.widget(), self.verticalScrollBar()
        width = 0 if content is None else content.minimumSizeHint().width()
        width += 0 if bar is None else bar.sizeHint().width()
        return QSize(width, super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        """Ask for all the height there is to show."""
        content = self.widget()
        height = 0 if content is None else content.sizeHint().height()
        return QSize(self.minimumSizeHint().width(), height)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take part in what the content becomes when a section is opened."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


def folded(text: str, content: QWidget) -> QWidget:
    """Put a widget below a heading that opens and closes it; closed at first.

    Parameters
    ----------
    text : str
        The heading.
    content : QWidget
        What is below.
    """
    fold, head = QWidget(), QToolButton()
    head.setText(text)
    head.setCheckable(True)
    head.setAutoRaise(True)
    head.setArrowType(Qt.ArrowType.RightArrow)
    head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    head.setToolTip(f"Show or hide: {text.lower()}.")
    font = head.font()
    font.setBold(True)
    head.setFont(font)
    layout = QVBoxLayout(fold)
    layout.setContentsMargins(0, 4, 0, 0)
    layout.setSpacing(4)
    layout.addWidget(head)
    layout.addWidget(content)
    content.hide()

    def show(is_open: bool) -> None:  # noqa: FBT001  Qt's signal
        head.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        content.setVisible(is_open)

    head.toggled.connect(show)
    return fold


class GuiThread(QObject):
    """Calls functions on the thread it was made on, one after the other, from the event loop.

    It has no parent: a worker that is finishing its last frame may still post when the widget is gone.
    """

    _posted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        # The types of PyQt6 leave the second argument out.
        self._posted.connect(self._call, Qt.ConnectionType.QueuedConnection)  # type: ignore[call-arg]

    def post(self, function: Callable[[], None]) -> None:
        """Have a function called soon; returns at once, on any thread."""
        self._posted.emit(function)

    @Slot(object)
    def _call(self, function: Callable[[], None]) -> None:
        function()


class Refresher(QTimer):
    """Calls a function a little after it was asked to: changes are collected until then.

    Parameters
    ----------
    refresh : callable
        Called once for all that was asked in the meantime.
    interval_ms : int
        Time in which changes are collected.
    parent : QObject
        With which it ends.
    """

    def __init__(self, refresh: Callable[[], None], interval_ms: int, parent: QObject) -> None:
        super().__init__(parent)
        self.setSingleShot(True)
        self.setInterval(interval_ms)
        self.timeout.connect(refresh)

    def soon(self) -> None:
        """Refresh in a moment."""
        # Not restarted: a frame every few milliseconds would put it off for ever.
        if not self.isActive():
            self.start()
