"""The objects in work: their colours, on which frames they have prompts, and where they are least certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_sam2.prompts import PromptSet
    from napari_sam2.widgets.confidence_rows import ConfidenceRows

Colour = tuple[float, float, float, float]

OBJECT, PROMPTS, WORST = range(3)


class ObjectTable(QTableWidget):
    """One row per object. The selected one is the current object; a double click asks for its worst frame."""

    object_chosen = Signal(int)
    frame_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__(0, 3)
        self._ids: tuple[int, ...] = ()
        self.setHorizontalHeaderLabels(["Object", "Prompted on", "Least sure"])
        header, side = self.horizontalHeader(), self.verticalHeader()
        if header is not None and side is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
            header.setSectionResizeMode(OBJECT, QHeaderView.ResizeMode.ResizeToContents)
            header.setHighlightSections(False)
            side.setVisible(False)
            side.setDefaultSectionSize(22)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setMinimumHeight(92)
        self.setAccessibleName("Objects")
        self.setToolTip("The selected object is the one that is prompted. Double-click: go to its least certain frame.")
        self.itemSelectionChanged.connect(self._on_selection)
        self.cellDoubleClicked.connect(self._on_double_click)

    def show_objects(
        self,
        object_ids: Sequence[int],
        current: int,
        prompts: PromptSet,
        rows: ConfidenceRows,
        colour_of: Callable[[int], Colour],
    ) -> None:
        """Show these objects; cells that say the same as before are left alone."""
        blocker = QSignalBlocker(self)
        ids = tuple(object_ids)
        if ids != self._ids:
            self._ids = ids
            self.setRowCount(len(ids))
            for row, object_id in enumerate(ids):
                self._write(row, OBJECT, str(object_id), _swatch(colour_of(object_id)))
        frames: dict[int, list[int]] = {}
        for target in sorted(prompts):
            frames.setdefault(target.object_id, []).append(target.frame)
        is_stack = rows.num_frames > 1
        for row, object_id in enumerate(ids):
            self._write(row, PROMPTS, _listed(frames.get(object_id, [])) if is_stack else "")
            worst = rows.worst(object_id)
            where = f" on {worst[1]}" if worst and is_stack else ""
            self._write(row, WORST, f"{worst[0]:.2f}{where}" if worst else "")
        self.setColumnHidden(PROMPTS, not is_stack)
        if current in ids and self.currentRow() != ids.index(current):
            self.selectRow(ids.index(current))
        del blocker

    def _write(self, row: int, column: int, text: str, icon: QIcon | None = None) -> None:
        item = self.item(row, column)
        if item is None:
            item = QTableWidgetItem()
            item.setTextAlignment(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
            self.setItem(row, column, item)
        if item.text() != text:
            item.setText(text)
        if icon is not None:
            item.setIcon(icon)

    def _on_selection(self) -> None:
        if 0 <= self.currentRow() < len(self._ids):
            self.object_chosen.emit(self._ids[self.currentRow()])

    def _on_double_click(self, row: int) -> None:
        item = self.item(row, WORST)
        number = item.text().rpartition(" ")[2] if item is not None else ""
        if number.isdigit():
            self.frame_chosen.emit(int(number))


def _swatch(colour: Colour) -> QIcon:
    pixmap = QPixmap(14, 14)
    pixmap.fill(QColor.fromRgbF(*colour))
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)  # else it is tinted
    return icon


def _listed(frames: Sequence[int]) -> str:
    """Frames in a few characters."""
    return ", ".join(map(str, frames)) if len(frames) < 4 else f"{len(frames)} frames"
