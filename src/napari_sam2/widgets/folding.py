"""Room for panels in a dock that is lower than all of them: sections that open and close, and a scrolling column."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QToolButton, QVBoxLayout, QWidget


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
