"""A strip of objects by frames, coloured by confidence: where we are, what was prompted, what is doubtful.

The cells and the marks on them are one image, drawn when they change. Where we are and the range are painted over it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_sam2.prompts import Target
from napari_sam2.workspace.confidence import ABSENT, UNSEEN, ConfidenceTable, draw_table
from napari_sam2.workspace.held import Shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW_HEIGHT, MIN_HEIGHT, MAX_HEIGHT = 12, 36, 144
RULER_HEIGHT = 10
GRIP_WIDTH = 5
REACH = 5
"""Distance in pixels from which a handle is grasped, and by which the mouse moves before it is a drag."""


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """What a timeline shows, wherever the viewer is.

    Attributes
    ----------
    table : ConfidenceTable
        A row per object.
    prompted : collection of Target
        Where there are prompts.
    approved : frozenset of Target
        Where the mask is the user's.
    shown : Shown
        Which masks are to be seen in the image.
    names : mapping of int to str
        Names by object, of those that have one.
    outdated : ndarray or None
        (objects, frames) bool: masks that are older than a prompt of their object; None if there are none.
    reach : mapping of int to range
        Frames to which objects are followed by *Propagate*.
    """

    table: ConfidenceTable
    prompted: Collection[Target] = ()
    approved: frozenset[Target] = frozenset()
    shown: Shown = field(default_factory=Shown)
    names: Mapping[int, str] = field(default_factory=dict)
    outdated: NDArray[np.bool_] | None = None
    reach: Mapping[int, range] = field(default_factory=dict)

    def sentence_about(self, object_id: int, frame: int) -> str:
        """Return what is known of an object on a frame, in a sentence."""
        name, row = self.names.get(object_id, ""), self.table.object_ids.index(object_id)
        value = float(self.table.values[row, frame])
        facts = [{ABSENT: "not found", UNSEEN: "not looked for yet"}.get(value, f"confidence {value:.2f}")]
        target = Target(object_id, frame)
        if target in self.approved:
            facts.append("approved or painted by you")
        elif target in self.prompted:
            facts.append("prompted")
        if object_id in self.shown.hidden:
            facts.append("object hidden")
        elif value < self.shown.least_confidence:
            facts.append("hidden as doubtful")
        if self.outdated is not None and self.outdated[row, frame]:
            is_reached = frame in self.reach.get(object_id, ())
            facts.append("older than a prompt" + ": Propagate follows it again" * is_reached)
        return f"Object {object_id}{f' ({name})' if name else ''}, frame {frame}: {', '.join(facts)}"


NOTHING = Strip(ConfidenceTable((), np.empty((0, 1), np.float32)))
"""For the time when there is no image."""


class Handle(Enum):
    """An end of the range."""

    FIRST = "first"
    LAST = "last"


class Timeline(QWidget):
    """Paints a strip; a click, a drag or an arrow key asks for a frame, a drag of a handle for a range."""

    frame_chosen = Signal(int)
    range_chosen = Signal(int, int)

    def __init__(self) -> None:
        super().__init__()
        self._strip, self.num_frames = NOTHING, NOTHING.table.num_frames
        self._cells: QImage | None = None
        self._frame = 0
        self._range = (0, 0)
        self._pressed_x: float | None = None
        self._is_dragging = False
        self._handle: Handle | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Confidence of every object on every frame")
        self.setToolTip(
            "From doubtful (red) to sure (green); hatched where a mask is older than a prompt. "
            "Click or use the arrow keys to go to a frame; "
            "drag the ends of the bar to choose the range that is propagated to."
        )

    # What is shown ---------------------------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        """Grow with the objects, up to a limit."""
        height = min(max(len(self._strip.table.object_ids) * ROW_HEIGHT, MIN_HEIGHT), MAX_HEIGHT)
        return QSize(240, RULER_HEIGHT + height)

    def show_strip(self, strip: Strip) -> None:
        """Show other cells and marks."""
        self._strip, self.num_frames, self._cells = strip, strip.table.num_frames, None
        if self.sizeHint().height() != self.height():
            self.updateGeometry()
        self.update()

    def show_place(self, frame: int, frame_range: tuple[int, int]) -> None:
        """Show where the viewer is, and from where to where is propagated."""
        if (frame, frame_range) != (self._frame, self._range):
            self._frame, self._range = frame, frame_range
            self.update()

    def rectangle_of(self, row: float, frame: float) -> QRectF:
        """Where a row and a frame are painted."""
        width = self.width() / self.num_frames
        height = (self.height() - RULER_HEIGHT) / max(len(self._strip.table.object_ids), 1)
        return QRectF(frame * width, RULER_HEIGHT + row * height, width, height)

    def place_of(self, handle: Handle) -> float:
        """Where a handle is painted, from the left."""
        first, last = self._range
        return self.rectangle_of(0, first).left() if handle is Handle.FIRST else self.rectangle_of(0, last).right()

    # Painting --------------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the cells, and over them the range and where we are."""
        painter = QPainter(self)
        palette = self.palette()
        ink = palette.color(self.foregroundRole())
        strip = QRectF(0, RULER_HEIGHT, self.width(), self.height() - RULER_HEIGHT)
        painter.fillRect(strip, palette.color(self.backgroundRole()).darker(115))
        if self._strip.table.values.size:
            if self._cells is None:
                self._cells = self._drawn_cells()
            painter.drawImage(strip.topLeft(), self._cells)
        self._paint_range(painter, ink)
        here = self.rectangle_of(0, self._frame)
        here.setHeight(strip.height())
        here.setWidth(max(here.width(), 2))
        painter.setPen(QPen(ink, 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(here.adjusted(0, 1, 0, -1))
        if self.hasFocus():
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DotLine))
            painter.drawRect(strip.adjusted(0, 0, -1, -1))
        painter.end()

    def _drawn_cells(self) -> QImage:
        """Draw cells, gaps and marks into an image."""
        scale = self.devicePixelRatioF()
        height, width = round((self.height() - RULER_HEIGHT) * scale), round(self.width() * scale)
        strip = self._strip
        colours = draw_table(strip.table, height, width, strip.shown, strip.outdated)
        # A copy, because QImage does not keep the array alive.
        image = QImage(colours.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
        image.setDevicePixelRatio(scale)
        painter = QPainter(image)
        painter.translate(0, -RULER_HEIGHT)
        self._paint_gaps(painter)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        prompted = [target for target in strip.prompted if target not in strip.approved]
        self._paint_marks(painter, prompted, Qt.PenCapStyle.RoundCap)
        self._paint_marks(painter, strip.approved, Qt.PenCapStyle.SquareCap)
        painter.end()
        return image

    def _paint_gaps(self, painter: QPainter) -> None:
        """Keep rows apart where there is room for it."""
        count = len(self._strip.table.object_ids)
        if self.height() - RULER_HEIGHT >= 6 * count:
            painter.setPen(QPen(self.palette().color(self.backgroundRole()), 1))
            for row in range(1, count):
                y = round(self.rectangle_of(row, 0).top())
                painter.drawLine(0, y, self.width(), y)

    def _paint_marks(self, painter: QPainter, targets: Collection[Target], shape: Qt.PenCapStyle) -> None:
        """Paint a white mark with a black outline on the cells of targets."""
        row_of = {object_id: row for row, object_id in enumerate(self._strip.table.object_ids)}
        places = np.array([(row_of[t.object_id], t.frame) for t in targets if t.object_id in row_of]).reshape(-1, 2)
        cell = self.rectangle_of(0, 0)
        # Where cells are smaller than pixels, one mark is enough for many of them.
        centres = np.unique(np.round((places[:, ::-1] + 0.5) * (cell.width(), cell.height())), axis=0)
        points = QPolygonF([QPointF(x, RULER_HEIGHT + y) for x, y in centres.tolist()])
        size = max(min(cell.height() - 4, 6), 1)
        outline, filling = QColor(0, 0, 0), QColor(255, 255, 255)
        for colour, width in ((outline, size + 2), (filling, size)):
            painter.setPen(QPen(colour, width, Qt.PenStyle.SolidLine, shape))
            painter.drawPoints(points)

    def _paint_range(self, painter: QPainter, ink: QColor) -> None:
        """Veil what is outside of the range, and paint a bar above the rest, with a handle at either end."""
        veil = QColor(self.palette().color(self.backgroundRole()))
        veil.setAlpha(170)
        first, last = self.place_of(Handle.FIRST), self.place_of(Handle.LAST)
        height = self.height() - RULER_HEIGHT
        painter.fillRect(QRectF(0, RULER_HEIGHT, first, height), veil)
        painter.fillRect(QRectF(last, RULER_HEIGHT, self.width() - last, height), veil)
        bar = QColor(ink)
        bar.setAlpha(90)
        painter.fillRect(QRectF(first, 3, last - first, RULER_HEIGHT - 6), bar)
        for left in (first, last - GRIP_WIDTH):
            painter.fillRect(QRectF(left, 0, GRIP_WIDTH, RULER_HEIGHT - 1), ink)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Draw the cells in another size."""
        self._cells = None
        super().resizeEvent(event)

    def changeEvent(self, event: QEvent | None) -> None:
        """Draw the cells in other colours when the theme is another one."""
        self._cells = None
        super().changeEvent(event)

    # Mouse and keys --------------------------------------------------------------------------------------------------

    def frame_at(self, x: float) -> int:
        """Frame under a position in the widget."""
        return int(np.clip(x * self.num_frames / max(self.width(), 1), 0, self.num_frames - 1))

    def handle_at(self, x: float, drag: float = 0) -> Handle | None:
        """Handle near a position; of two that are equally near, the one that the drag pulls away from the other."""
        first, last = (abs(self.place_of(handle) - x) for handle in Handle)
        if min(first, last) > REACH:
            return None
        if abs(first - last) <= REACH and drag:
            return Handle.LAST if drag > 0 else Handle.FIRST
        return Handle.FIRST if first < last else Handle.LAST

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to the frame under the mouse, or wait whether a handle is dragged."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            x = event.position().x()
            self._pressed_x, self._is_dragging, self._handle = x, False, self.handle_at(x)
            if self._handle is None:
                self.frame_chosen.emit(self.frame_at(x))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Go along with the mouse, or let the handle do so."""
        if event is None:
            return
        x = event.position().x()
        if self._pressed_x is None:
            is_near = self.handle_at(x) is not None
            self.setCursor(Qt.CursorShape.SizeHorCursor if is_near else Qt.CursorShape.ArrowCursor)
        elif self._handle is None:
            self.frame_chosen.emit(self.frame_at(x))
        else:
            if not self._is_dragging and abs(x - self._pressed_x) >= REACH:
                self._is_dragging = True
                self._handle = self.handle_at(self._pressed_x, x - self._pressed_x)
            if self._is_dragging:
                self._pull(x)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Go to the frame under a handle that was clicked, but not dragged."""
        if event is not None and self._pressed_x is not None:
            if self._handle is not None and not self._is_dragging:
                self.frame_chosen.emit(self.frame_at(self._pressed_x))
            self._pressed_x = self._handle = None

    def _pull(self, x: float) -> None:
        """Ask for the range that ends at the edge of a frame nearest to the mouse."""
        first, last = self._range
        edge = round(x * self.num_frames / max(self.width(), 1))
        if self._handle is Handle.FIRST:
            first = min(max(edge, 0), last)
        else:
            last = max(min(edge, self.num_frames) - 1, first)
        if (first, last) != self._range:
            self.range_chosen.emit(first, last)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Go to a neighbouring frame, the first or the last."""
        if event is None:
            return
        last = self.num_frames - 1
        goals: dict[int, int] = {
            Qt.Key.Key_Left: self._frame - 1,
            Qt.Key.Key_Right: self._frame + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }
        if event.key() in goals:
            self.frame_chosen.emit(min(max(goals[event.key()], 0), last))
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent | None) -> bool:
        """Show in a tooltip what is under the mouse."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip and self._strip.table.object_ids:
            QToolTip.showText(event.globalPos(), self.sentence_at(event.pos().x(), event.pos().y()), self)
            return True
        return super().event(event)

    def sentence_at(self, x: float, y: float) -> str:
        """Return what is known of the object and frame at a position, or what the range is."""
        first, last = self._range
        if y < RULER_HEIGHT:
            return f"Frames {first} to {last} are propagated to. Drag an end to change that."
        ids = self._strip.table.object_ids
        row = int((y - RULER_HEIGHT) * len(ids) / max(self.height() - RULER_HEIGHT, 1))
        return self._strip.sentence_about(ids[min(row, len(ids) - 1)], self.frame_at(x))
