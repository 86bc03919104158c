"""The objects in work, and what can be done to them: a table, its buttons, its keys and its menu."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QAction, QKeySequence, QShortcut
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam2.widgets.object_table import ObjectTable
from napari_sam2.widgets.parts import button, command_button, in_a_grid, in_a_row
from napari_sam2.workbench import commands
from napari_sam2.workbench.object_rows import RowReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_sam2.workbench.object_rows import ObjectRow
    from napari_sam2.workbench.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace

MERGE_TIP = "Make all selected objects one, the current. They have to be committed; Ctrl+click selects several."


class ObjectsPanel(QWidget):
    """Objects by name and colour; the current row is the object that the next prompt is of.

    Parameters
    ----------
    bench : Workbench
        Told what is done.

    Attributes
    ----------
    table : ObjectTable
        The table. Its actions are its menu.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self._reader = RowReader()
        self.table = ObjectTable()
        self.new_object = command_button(commands.NEW_OBJECT, bench)
        self.merge = button("Merge", MERGE_TIP, self._on_merge)
        self.delete = button(
            "Delete",
            "Drop all there is of the selected objects: prompts, masks, committed pixels, name (Del). Can be undone.",
            self._on_delete,
        )
        self.clear = command_button(commands.CLEAR_PROMPTS, bench)
        self.approve = command_button(commands.APPROVE, bench)
        self.absent = command_button(commands.MARK_ABSENT, bench)
        self._add_actions()
        self._add_keys()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.table, 1)
        layout.addLayout(in_a_grid(3, self.new_object, self.merge, self.delete))
        of_frame = in_a_row(self.clear, self.absent, self.approve)  # one of which an image has no use for
        for position in range(of_frame.count()):
            of_frame.setStretch(position, 1)
        layout.addLayout(of_frame)
        # Functions that hold no widget: Qt would keep it alive through them.
        self.table.object_chosen.connect(lambda one: bench.do(partial(_choose, object_id=one)))
        self.table.frame_chosen.connect(lambda frame: bench.do(lambda work: work.show(frame)))
        self.table.renamed.connect(lambda one, name: bench.do(lambda work: work.rename_object(one, name)))
        self.table.shown_toggled.connect(self._on_shown)
        self.table.locked_toggled.connect(self._on_locked)
        self.table.selection_changed.connect(self._offer)
        self._offer()

    def _add_actions(self) -> None:
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        keys = QKeySequence.StandardKey
        self.actions_by_name = {
            "rename": self._action("Rename", self.table.edit_name, "F2"),
            "go": self._action("Go to its least certain frame", self.table.go_to_doubt),
            "hide": self._action("Hide", self._on_hide),
            "lock": self._action("Lock", self._on_lock),
            "merge": self._action("Merge", self._on_merge),
            "delete": self._action("Delete", self._on_delete, keys.Delete, "Backspace"),
        }

    def _action(
        self, text: str, triggered: Callable[[], object], *shortcuts: QKeySequence.StandardKey | str
    ) -> QAction:
        action = QAction(text, self.table)
        action.setShortcuts([QKeySequence(shortcut) for shortcut in shortcuts])
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)  # not while a name is typed
        action.triggered.connect(triggered)
        self.table.addAction(action)
        return action

    def _add_keys(self) -> None:
        """Bind the keys of the layers while the table has the focus."""
        for command in commands.KEYED:
            shortcut = QShortcut(QKeySequence(command.shortcut), self.table)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(partial(self._bench.run, command))

    # What there is ---------------------------------------------------------------------------------------------------

    def show_objects(self, work: Workspace) -> None:
        """Show the objects of a workspace."""
        is_stack = work.grid.frame_axis is not None
        self.table.show_objects(self._reader.read(work), work.sources.own.object_id, is_stack=is_stack)
        self.approve.setEnabled(bool(work.picture.held))
        self.absent.setVisible(is_stack)
        self._offer()

    def _offer(self) -> None:
        """Enable what can be done to what is selected."""
        selected = self.table.selected
        actions, current = self.actions_by_name, self.table.current_id
        others = [row for row in selected if row.object_id != current]
        can_merge = bool(others) and all(row.is_committed for row in others)
        self.merge.setEnabled(can_merge)
        self.merge.setText(f"Merge into {current}" if can_merge else "Merge")
        self.delete.setEnabled(bool(selected))
        actions["merge"].setEnabled(can_merge)
        actions["merge"].setText(self.merge.text())
        for name in ("lock", "delete"):
            actions[name].setEnabled(bool(selected))
        actions["hide"].setEnabled(any(row.can_hide for row in selected))
        actions["hide"].setText("Show" if any(row.is_hidden for row in selected) else "Hide")
        actions["lock"].setText("Unlock" if any(row.is_locked for row in selected) else "Lock")
        for name in ("rename", "go"):
            actions[name].setEnabled(current is not None)

    # What the user does ----------------------------------------------------------------------------------------------

    def _on_merge(self) -> None:
        current = self.table.current_id
        if current is not None:
            others = [row.object_id for row in self.table.selected]
            self._bench.do(lambda work: work.merge_objects(current, *others))

    def _on_delete(self) -> None:
        chosen = [row.object_id for row in self.table.selected]
        self._bench.do(lambda work: work.delete_object(*chosen))

    def _on_shown(self, row: ObjectRow) -> None:
        self._hide(self._meant(row), is_hidden=not row.is_hidden)

    def _on_locked(self, row: ObjectRow) -> None:
        self._lock(self._meant(row), is_locked=not row.is_locked)

    def _on_hide(self) -> None:
        selected = self.table.selected
        self._hide(selected, is_hidden=not any(row.is_hidden for row in selected))

    def _on_lock(self) -> None:
        selected = self.table.selected
        self._lock(selected, is_locked=not any(row.is_locked for row in selected))

    def _meant(self, row: ObjectRow) -> tuple[ObjectRow, ...]:
        """Return the rows that a mark speaks for: all that are selected if its own is one of them."""
        selected = self.table.selected
        return selected if row in selected else (row,)

    def _hide(self, rows: Sequence[ObjectRow], *, is_hidden: bool) -> None:
        chosen = [row.object_id for row in rows if row.can_hide]
        self._bench.do(lambda work: work.objects.set_hidden(*chosen, is_hidden=is_hidden))

    def _lock(self, rows: Sequence[ObjectRow], *, is_locked: bool) -> None:
        chosen = [row.object_id for row in rows]
        self._bench.do(lambda work: work.objects.set_locked(*chosen, is_locked=is_locked))


def _choose(work: Workspace, object_id: int) -> None:
    if object_id != work.sources.own.object_id:
        work.choose_object(object_id)
