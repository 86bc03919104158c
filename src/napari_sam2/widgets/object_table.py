"""The objects in work as a table: their colours and names, which are hidden and locked, where they are doubtful."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import (
    QAbstractTableModel,
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QPointF,
    QRectF,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QIcon, QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPen, QPixmap, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
)

from napari_sam2.workbench.object_rows import Colour, ObjectRow, doubt_text, prompts_text

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN, LOCKED, OBJECT, NAME, PROMPTS, DOUBT = range(6)

HEADERS = {
    SHOWN: ("", "Click an eye, or press Space, to hide an object or show it. Hidden objects are kept, not committed."),
    LOCKED: ("", "Click a lock to lock an object or unlock it. Locked objects neither gain nor lose a pixel."),
    OBJECT: ("Object", "Its colour, and its label in the layers."),
    NAME: ("Name", "Double-click, or press F2, to give a name."),
    PROMPTS: ("Prompted", "On which frames, and whether there are committed pixels. Double-click: go there."),
    DOUBT: ("Least sure", "The smallest confidence, and on which frame. Double-click, or press Enter: go there."),
}

ROW_HEIGHT, MARK_WIDTH, SWATCH = 22, 24, 12

Index = QModelIndex | QPersistentModelIndex

NOWHERE = QModelIndex()
"""Parent of every cell: there are no cells in cells."""


class ObjectModel(QAbstractTableModel):
    """One row per object; told what there is by `show_rows`. What the user edits is only announced."""

    renamed = Signal(int, str)
    shown_toggled = Signal(ObjectRow)
    locked_toggled = Signal(ObjectRow)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[ObjectRow] = []
        self._is_stack = True
        self._swatches: dict[Colour, QIcon] = {}

    def show_rows(self, rows: Sequence[ObjectRow], *, is_stack: bool) -> None:
        """Replace the rows, by ascending object; those that are the same as before are left alone."""
        ids = {row.object_id for row in rows}
        for position in reversed(range(len(self._rows))):
            if self._rows[position].object_id not in ids:
                self.beginRemoveRows(NOWHERE, position, position)
                del self._rows[position]
                self.endRemoveRows()
        is_other_kind, self._is_stack = is_stack != self._is_stack, is_stack
        for position, row in enumerate(rows):
            if position == len(self._rows) or self._rows[position].object_id != row.object_id:
                self.beginInsertRows(NOWHERE, position, position)
                self._rows.insert(position, row)
                self.endInsertRows()
            elif is_other_kind or self._rows[position] != row:
                self._rows[position] = row
                self.dataChanged.emit(self.index(position, 0), self.index(position, DOUBT))

    def row(self, position: int) -> ObjectRow:
        """One row."""
        return self._rows[position]

    def position_of(self, object_id: int) -> int | None:
        """Position of an object; None if it is not in the table."""
        return next((i for i, row in enumerate(self._rows) if row.object_id == object_id), None)

    def rowCount(self, parent: Index = NOWHERE) -> int:
        """Count the objects."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = NOWHERE) -> int:
        """Count the columns."""
        return 0 if parent.isValid() else len(HEADERS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> str | None:
        """Return what a column is."""
        if orientation == Qt.Orientation.Vertical or section not in HEADERS:
            return None
        text, tip = HEADERS[section]
        return {Qt.ItemDataRole.DisplayRole: text, Qt.ItemDataRole.ToolTipRole: tip}.get(Qt.ItemDataRole(role))

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Return what can be done to a cell: names are edited, marks are checked."""
        common, column = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable, index.column()
        if column == NAME:
            return common | Qt.ItemFlag.ItemIsEditable
        is_mark = column == LOCKED or (column == SHOWN and self._rows[index.row()].can_hide)
        return common | Qt.ItemFlag.ItemIsUserCheckable if is_mark else common

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Return what a cell shows."""
        row, column = self._rows[index.row()], index.column()
        match Qt.ItemDataRole(role):
            case Qt.ItemDataRole.DisplayRole:
                return self._text(row, column)
            case Qt.ItemDataRole.EditRole:
                return row.name if column == NAME else None
            case Qt.ItemDataRole.CheckStateRole if column == LOCKED or (column == SHOWN and row.can_hide):
                is_on = row.is_locked if column == LOCKED else not row.is_hidden
                return Qt.CheckState.Checked if is_on else Qt.CheckState.Unchecked
            case Qt.ItemDataRole.DecorationRole if column == OBJECT:
                return self._swatch(row.colour)
            case Qt.ItemDataRole.ToolTipRole:
                return _tip(row, column)
            case Qt.ItemDataRole.AccessibleTextRole:
                return _spoken(row, column) or self._text(row, column)
        return None

    def setData(self, index: Index, value: object, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Announce a name that was entered, or a mark that was toggled."""
        row = self._rows[index.row()]
        is_mark = role == Qt.ItemDataRole.CheckStateRole
        if index.column() == NAME and role == Qt.ItemDataRole.EditRole:
            self.renamed.emit(row.object_id, str(value))
        elif index.column() == SHOWN and is_mark and row.can_hide:
            self.shown_toggled.emit(row)
        elif index.column() == LOCKED and is_mark:
            self.locked_toggled.emit(row)
        return False  # the cell changes when the workspace has, and `show_rows` is told

    def _text(self, row: ObjectRow, column: int) -> str:
        match column:
            case _ if column == OBJECT:
                return str(row.object_id)
            case _ if column == NAME:
                return row.name
            case _ if column == PROMPTS:
                return prompts_text(row, is_stack=self._is_stack)
            case _ if column == DOUBT:
                return doubt_text(row, is_stack=self._is_stack)
        return ""

    def _swatch(self, colour: Colour) -> QIcon:
        if colour not in self._swatches:
            pixmap = QPixmap(SWATCH, SWATCH)
            pixmap.fill(QColor.fromRgbF(*colour))
            icon = QIcon(pixmap)
            icon.addPixmap(pixmap, QIcon.Mode.Selected)  # else it is tinted
            self._swatches[colour] = icon
        return self._swatches[colour]


def _spoken(row: ObjectRow, column: int) -> str:
    if column == SHOWN:
        return "hidden" if row.is_hidden else "shown" * row.can_hide
    if column == LOCKED:
        return "locked" if row.is_locked else "not locked"
    return ""


def _tip(row: ObjectRow, column: int) -> str:
    if column == SHOWN and not row.can_hide:
        return "It is committed: hide the layer it is in."
    if column == SHOWN:
        return "Hidden, kept, and not committed. Click to show it." if row.is_hidden else "Shown. Click to hide it."
    if column == LOCKED:
        return "Locked: nothing changes it. Click to unlock it." if row.is_locked else "Not locked. Click to lock it."
    if column == NAME and row.name:
        return f"{row.name}. {HEADERS[NAME][1]}"
    if column == PROMPTS and row.prompted:
        return f"Prompted on {', '.join(map(str, row.prompted))}"
    return HEADERS[column][1]


class MarkDelegate(QStyledItemDelegate):
    """Draws a check mark as an eye or a lock, in the colour of the text."""

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw a mark; faint where it is off."""
        table = option.widget
        if painter is None or table is None:
            return
        style = table.style()
        if style is not None:
            style.drawPrimitive(QStyle.PrimitiveElement.PE_PanelItemViewItem, option, painter, table)
        state = index.data(Qt.ItemDataRole.CheckStateRole)
        if state is None:
            return
        is_on = state == Qt.CheckState.Checked
        colour = table.palette().color(table.foregroundRole())
        colour.setAlphaF(1.0 if is_on else 0.45)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(QRectF(option.rect).center())
        painter.setPen(QPen(colour, 1.4, cap=Qt.PenCapStyle.RoundCap))
        draw = _draw_lock if index.column() == LOCKED else _draw_eye
        draw(painter, colour, is_on=is_on)
        painter.restore()


def _draw_eye(painter: QPainter, colour: QColor, *, is_on: bool) -> None:
    lids = QPainterPath(QPointF(-6.5, 0))
    lids.quadTo(QPointF(0, -8.5), QPointF(6.5, 0))
    lids.quadTo(QPointF(0, 8.5), QPointF(-6.5, 0))
    painter.drawPath(lids)
    painter.setBrush(colour)
    painter.drawEllipse(QPointF(0, 0), 1.7, 1.7)
    if not is_on:
        painter.drawLine(QPointF(-5.5, 5.5), QPointF(5.5, -5.5))


def _draw_lock(painter: QPainter, colour: QColor, *, is_on: bool) -> None:
    shackle = QRectF(-3, -6, 6, 8)
    if is_on:
        painter.drawArc(shackle, 0, 180 * 16)
        painter.setBrush(colour)
    else:
        painter.drawArc(shackle, 50 * 16, 130 * 16)
    painter.drawRoundedRect(QRectF(-4.5, -1.5, 9, 7), 1, 1)


class ObjectTable(QTableView):
    """One row per object. The current row is the current object; several can be selected to be merged or deleted."""

    object_chosen = Signal(int)
    frame_chosen = Signal(int)
    renamed = Signal(int, str)
    shown_toggled = Signal(ObjectRow)
    locked_toggled = Signal(ObjectRow)
    selection_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._is_showing = False
        self.objects = ObjectModel(self)
        self.setModel(self.objects)
        self._lay_out()
        self.objects.renamed.connect(self.renamed)
        self.objects.shown_toggled.connect(self.shown_toggled)
        self.objects.locked_toggled.connect(self.locked_toggled)
        self.doubleClicked.connect(self._on_double_click)
        selection = self.selectionModel()
        if selection is not None:
            selection.currentRowChanged.connect(self._on_current)
            selection.selectionChanged.connect(self.selection_changed)

    def _lay_out(self) -> None:
        self._marks = MarkDelegate(self)
        header, side = self.horizontalHeader(), self.verticalHeader()
        if header is not None and side is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
            header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
            header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            header.setHighlightSections(False)
            header.setMinimumSectionSize(MARK_WIDTH)
            side.setVisible(False)
            side.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
            side.setDefaultSectionSize(ROW_HEIGHT)
        metrics = self.fontMetrics()
        for column in (SHOWN, LOCKED):
            self.setItemDelegateForColumn(column, self._marks)
            self.setColumnWidth(column, MARK_WIDTH)
        for column, widest in ((OBJECT, "Object"), (PROMPTS, "committed"), (DOUBT, "0.00 on 000")):
            self.setColumnWidth(column, metrics.horizontalAdvance(widest) + 12)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMinimumHeight(3 * ROW_HEIGHT + 26)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Objects")

    # What there is ---------------------------------------------------------------------------------------------------

    def show_objects(self, rows: Sequence[ObjectRow], current: int, *, is_stack: bool) -> None:
        """Show these objects; what is selected stays so, unless another object has become the current one."""
        self._is_showing, before = True, self.current_id
        self.objects.show_rows(rows, is_stack=is_stack)
        position, selection = self.objects.position_of(current), self.selectionModel()
        # Where the current row is removed, Qt makes its neighbour current, but does not select it.
        if position is not None and selection is not None and not (before == self.current_id == current):
            flag = QItemSelectionModel.SelectionFlag
            selection.setCurrentIndex(self.objects.index(position, NAME), flag.ClearAndSelect | flag.Rows)
        self._is_showing = False

    @property
    def current_id(self) -> int | None:
        """Object of the current row; None if there is none."""
        index = self.currentIndex()
        return self.objects.row(index.row()).object_id if index.isValid() else None

    @property
    def selected(self) -> tuple[ObjectRow, ...]:
        """The selected rows, by ascending object."""
        selection = self.selectionModel()
        if selection is None:
            return ()
        # `selectedRows` asks for every cell, which takes time with hundreds of objects.
        blocks = selection.selection()
        chosen = {
            position
            for number in range(len(blocks))
            for position in range(blocks[number].top(), blocks[number].bottom() + 1)
        }
        return tuple(self.objects.row(position) for position in sorted(chosen))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Keep the current row in sight."""
        super().resizeEvent(event)
        self.scrollTo(self.currentIndex())

    # What the user does ----------------------------------------------------------------------------------------------

    def edit_name(self) -> None:
        """Open the editor for the name of the current object."""
        if self.currentIndex().isValid():
            self.edit(self.currentIndex().siblingAtColumn(NAME))

    def go_to_doubt(self) -> None:
        """Ask for the frame on which the current object is least certain."""
        if self.currentIndex().isValid():
            self._go_to(self.currentIndex().siblingAtColumn(DOUBT))

    def _go_to(self, index: QModelIndex) -> None:
        row = self.objects.row(index.row())
        if index.column() == PROMPTS and row.prompted:
            self.frame_chosen.emit(row.prompted[0])
        elif row.doubt is not None:
            self.frame_chosen.emit(row.doubt[1])

    def _on_double_click(self, index: QModelIndex) -> None:
        if index.column() == NAME:
            self.edit_name()
        else:
            self._go_to(index)

    def _on_current(self, index: QModelIndex) -> None:
        if index.isValid() and not self._is_showing:
            self.object_chosen.emit(self.objects.row(index.row()).object_id)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Toggle a mark, which chooses no object, or select."""
        if event is None or not self._toggle_at(event):
            super().mousePressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Toggle a mark twice, or act on a cell."""
        if event is None or not self._toggle_at(event):
            super().mouseDoubleClickEvent(event)

    def _toggle_at(self, event: QMouseEvent) -> bool:
        index = self.indexAt(event.position().toPoint())
        if event.button() != Qt.MouseButton.LeftButton or index.column() not in (SHOWN, LOCKED):
            return False
        self.objects.setData(index, None, Qt.ItemDataRole.CheckStateRole)
        return True

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Toggle a mark by Space: the lock if the cursor is on it, else the eye. Go to the doubtful frame by Enter."""
        index = self.currentIndex()
        if event is None or not index.isValid() or self.state() == QAbstractItemView.State.EditingState:
            super().keyPressEvent(event)
        elif event.key() == Qt.Key.Key_Space:
            mark = index if index.column() == LOCKED else index.siblingAtColumn(SHOWN)
            self.objects.setData(mark, None, Qt.ItemDataRole.CheckStateRole)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.go_to_doubt()
        else:
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent | None) -> None:
        """Draw marks in the colour of another theme."""
        super().changeEvent(event)
        viewport = self.viewport()
        if event is not None and event.type() == QEvent.Type.StyleChange and viewport is not None:
            viewport.update()
