"""A strip of objects by frames, coloured by confidence: where we are, what was prompted, what is doubtful."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_sam2.widgets.confidence_rows import ABSENT, UNSEEN, ConfidenceRows, ramp_colours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_sam2.prompts import Target

ROW_HEIGHT, MIN_HEIGHT, MAX_HEIGHT = 12, 36, 144


class Timeline(QWidget):
    """Paints confidences; a click, a drag or an arrow key asks for a frame."""

    frame_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.rows = ConfidenceRows(1)
        self._targets: tuple[Target, ...] = ()
        self._frame = 0
        self._range = (0, 0)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Confidence of every object on every frame")
        self.setToolTip("From doubtful (red) to sure (green). Click or use the arrow keys to go to a frame.")

    def sizeHint(self) -> QSize:
        """Grow with the objects, up to a limit."""
        height = min(max(len(self.rows.object_ids) * ROW_HEIGHT, MIN_HEIGHT), MAX_HEIGHT)
        return QSize(240, height)

    def show_state(self, frame: int, frame_range: tuple[int, int], targets: Iterable[Target]) -> None:
        """Show where the viewer is, from where to where is propagated, and what has prompts; paint what is new."""
        self._frame, self._range, self._targets = frame, frame_range, tuple(targets)
        if self.sizeHint().height() != self.height():
            self.updateGeometry()
        self.update()

    def rectangle_of(self, row: float, frame: float) -> QRectF:
        """Where a row and a frame are painted."""
        width = self.width() / self.rows.num_frames
        height = self.height() / max(len(self.rows.object_ids), 1)
        return QRectF(frame * width, row * height, width, height)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the strip as one image, then the marks on it."""
        painter = QPainter(self)
        palette = self.palette()
        painter.fillRect(self.rect(), palette.color(self.backgroundRole()).darker(115))
        table = self.rows.shrunk(self.height(), self.width())
        if table.size:
            painter.drawImage(QRectF(self.rect()), self._image(table))
            self._paint_gaps(painter)
        ink = palette.color(self.foregroundRole())
        self._paint_range(painter)
        self._paint_prompts(painter)
        here = self.rectangle_of(0, self._frame)
        here.setHeight(self.height())
        here.setWidth(max(here.width(), 2))
        painter.setPen(QPen(ink, 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(here.adjusted(0, 1, 0, -1))
        if self.hasFocus():
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DotLine))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))

    def _image(self, table: NDArray[np.float32]) -> QImage:
        colours = np.full((*table.shape, 4), 255, np.uint8)
        colours[..., :3] = ramp_colours(table)
        colours[table == ABSENT] = (128, 128, 128, 110)
        colours[table == UNSEEN] = 0
        height, width = table.shape
        # A copy, because QImage does not keep the array alive.
        return QImage(colours.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()

    def _paint_gaps(self, painter: QPainter) -> None:
        """Keep rows apart where there is room for it."""
        count = len(self.rows.object_ids)
        if self.height() >= 6 * count:
            painter.setPen(QPen(self.palette().color(self.backgroundRole()), 1))
            for row in range(1, count):
                y = round(self.rectangle_of(row, 0).top())
                painter.drawLine(0, y, self.width(), y)

    def _paint_range(self, painter: QPainter) -> None:
        veil = QColor(self.palette().color(self.backgroundRole()))
        veil.setAlpha(170)
        first, last = self._range
        before, after = self.rectangle_of(0, first).left(), self.rectangle_of(0, last).right()
        painter.fillRect(QRectF(0, 0, before, self.height()), veil)
        painter.fillRect(QRectF(after, 0, self.width() - after, self.height()), veil)

    def _paint_prompts(self, painter: QPainter) -> None:
        row_of = {object_id: row for row, object_id in enumerate(self.rows.object_ids)}
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(0, 0, 0), 1))
        painter.setBrush(QColor(255, 255, 255))
        for target in self._targets:
            if target.object_id in row_of:
                cell = self.rectangle_of(row_of[target.object_id], target.frame)
                radius = min(3.0, cell.height() / 2)
                painter.drawEllipse(cell.center(), radius, radius)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)

    def frame_at(self, x: float) -> int:
        """Frame under a position in the widget."""
        return int(np.clip(x * self.rows.num_frames / max(self.width(), 1), 0, self.rows.num_frames - 1))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to the frame under the mouse."""
        if event is not None:
            self.frame_chosen.emit(self.frame_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Go along with the mouse."""
        self.mousePressEvent(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Go to a neighbouring frame, the first or the last."""
        if event is None:
            return
        last = self.rows.num_frames - 1
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
        """Say in a tooltip what is under the mouse."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip and self.rows.object_ids:
            QToolTip.showText(event.globalPos(), self.sentence_at(event.pos().x(), event.pos().y()), self)
            return True
        return super().event(event)

    def sentence_at(self, x: float, y: float) -> str:
        """Say what is known of the object and frame at a position in the widget."""
        ids = self.rows.object_ids
        object_id = ids[int(np.clip(y * len(ids) / max(self.height(), 1), 0, len(ids) - 1))]
        frame = self.frame_at(x)
        value = self.rows.at(object_id, frame)
        said = {ABSENT: "not found", UNSEEN: "not looked for yet"}.get(value, f"confidence {value:.2f}")
        return f"Object {object_id}, frame {frame}: {said}"
