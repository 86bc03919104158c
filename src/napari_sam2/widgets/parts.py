"""Parts that the panels are made of: buttons, rows, a column that scrolls, pages in one place, ways to refresh."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer, Signal, Slot
from qtpy.QtWidgets import (
    QButtonGroup,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam2.workbench.commands import Command
    from napari_sam2.workbench.workbench import Workbench


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


def in_a_grid(columns: int, *widgets: QWidget) -> QGridLayout:
    """Put widgets below and side by side, all of one width."""
    grid = QGridLayout()
    grid.setSpacing(4)
    for number, widget in enumerate(widgets):
        grid.addWidget(widget, *divmod(number, columns))
    for column in range(columns):
        grid.setColumnStretch(column, 1)
    return grid


class TallArea(QScrollArea):
    """Scrolls up and down only: the content is as wide as it needs, and the bar has a place of its own beside it.

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
        """Leave no part of the content beyond the right edge, nor below the bar."""
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
        """Take part in what the content becomes when something in it comes or goes."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


class Pages(QWidget):
    """Widgets in one place, of which one is shown, and a button for each above them.

    Pages rather than sections that fold: only one of them can have a bar to scroll.

    Parameters
    ----------
    beside : QWidget
        Stands at the end of the row of buttons.

    Attributes
    ----------
    buttons : list of QPushButton
        One for each page, in the order in which they were added.
    """

    def __init__(self, beside: QWidget) -> None:
        super().__init__()
        self.buttons: list[QPushButton] = []
        self._group = QButtonGroup(self)
        self._stack = QStackedWidget()
        self._row = in_a_row(beside)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(self._row)
        layout.addWidget(self._stack, 1)

    def add(self, text: str, tip: str, content: QWidget) -> None:
        """Add a page; the first is shown.

        Parameters
        ----------
        text : str
            What stands on its button.
        tip : str
            What is on the page, in a sentence.
        content : QWidget
            The page.
        """
        number = self._stack.addWidget(content)
        made = button(text, tip, partial(self._stack.setCurrentIndex, number))
        made.setCheckable(True)
        made.setChecked(number == 0)
        self._group.addButton(made)
        self.buttons.append(made)
        self._row.insertWidget(number, made)


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
