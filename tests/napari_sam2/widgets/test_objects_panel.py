"""The table of objects and what is done with it, by mouse and by keyboard."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QLineEdit, QPushButton

from napari_sam2.widgets.object_table import DOUBT, LOCKED, NAME, OBJECT, PROMPTS, SHOWN, ObjectTable
from napari_sam2.widgets.objects_panel import ObjectsPanel
from napari_sam2.workbench.object_rows import ObjectRow, RowReader, doubt_text, prompts_text
from tests.napari_sam2.bench import Room

LEFT, RIGHT, BELOW = (10, 6), (10, 22), (18, 14)
GREY = (0.5, 0.5, 0.5, 1.0)


class Desk(Room):
    """A workbench, and the panel on it."""

    def __init__(self, qtbot, shape):
        super().__init__("stack", shape=shape)
        self.qtbot, self.panel = qtbot, ObjectsPanel(self.bench)
        self.table = self.panel.table
        qtbot.addWidget(self.panel)
        with qtbot.waitActive(self.panel):  # keys go to the active window
            self.panel.show()
            self.panel.activateWindow()
        self.table.setFocus()
        self.refresh()

    def refresh(self):
        """Show how things stand, as the dock widget does."""
        self.panel.show_objects(self.work)

    def settle(self):
        super().settle()
        self.refresh()

    def give(self, object_id, place, frame=0):
        self.choose(object_id)
        points = self.points
        points.add([(frame, *place)] if points.ndim == 3 else [place])
        self.settle()

    def cell(self, object_id, column):
        return self.table.objects.index(self.table.objects.position_of(object_id), column)

    def text(self, object_id, column):
        return self.cell(object_id, column).data()

    def click(self, object_id, column, *modifiers):
        where = self.table.visualRect(self.cell(object_id, column)).center()
        held = modifiers[0] if modifiers else Qt.KeyboardModifier.NoModifier
        self.qtbot.mouseClick(self.table.viewport(), Qt.MouseButton.LeftButton, held, where)
        self.refresh()

    def double_click(self, object_id, column):
        where = self.table.visualRect(self.cell(object_id, column)).center()
        self.qtbot.mouseClick(self.table.viewport(), Qt.MouseButton.LeftButton, pos=where)
        self.qtbot.mouseDClick(self.table.viewport(), Qt.MouseButton.LeftButton, pos=where)
        self.refresh()

    def add_to_selection(self, object_id):
        self.click(object_id, OBJECT, Qt.KeyboardModifier.ControlModifier)

    def press(self, key, modifier=Qt.KeyboardModifier.NoModifier):
        self.qtbot.keyClick(self.table, key, modifier)
        self.hand_over()
        while not self.is_ready:
            self.posted.get(timeout=10)()
        self.refresh()

    def type_name(self, name):
        editor = self.table.viewport().findChild(QLineEdit)
        editor.selectAll()
        self.qtbot.keyClicks(editor, name)
        self.qtbot.keyClick(editor, Qt.Key.Key_Return)
        self.qtbot.waitUntil(lambda: self.table.viewport().findChild(QLineEdit) is None)
        self.refresh()

    @property
    def ids(self):
        return [self.table.objects.row(row).object_id for row in range(self.table.objects.rowCount())]

    @property
    def selected(self):
        return [row.object_id for row in self.table.selected]


@pytest.fixture
def desk(qtbot):
    desk = Desk(qtbot, (6, 24, 30))
    yield desk
    desk.close()


@pytest.fixture
def two(desk):
    """Two objects that were followed; the second is current."""
    desk.give(1, LEFT)
    desk.give(2, RIGHT)
    desk.propagate()
    desk.settle()
    return desk


@pytest.fixture
def settled(two):
    """Three objects: two committed, the third in work and current."""
    two.commit()
    two.settle()
    two.give(3, BELOW, frame=4)
    return two


# What it shows -------------------------------------------------------------------------------------------------------


def test_every_object_has_a_row_that_says_what_there_is_of_it(settled):
    settled.rename(1, "mother")
    settled.refresh()
    assert settled.ids == [1, 2, 3]
    assert [settled.text(1, column) for column in (OBJECT, NAME, PROMPTS)] == ["1", "mother", "committed"]
    assert [settled.text(3, column) for column in (OBJECT, NAME, PROMPTS)] == ["3", "", "4"]
    confidence = settled.confidence(3, 4)
    assert settled.text(3, DOUBT) == f"{confidence:.2f} on 4"
    assert settled.text(1, DOUBT) == f"{confidence:.2f} on 0"  # what was committed keeps its score


def test_a_swatch_has_the_colour_of_the_object(two):
    for object_id in (1, 2):
        icon = two.cell(object_id, OBJECT).data(Qt.ItemDataRole.DecorationRole)
        red, green, blue, _ = two.colour_of(object_id)
        shown = icon.pixmap(12, 12).toImage().pixelColor(5, 5)
        np.testing.assert_allclose(shown.getRgbF()[:3], (red, green, blue), atol=0.03)  # screens of 16 bits


@pytest.mark.parametrize(
    ("row", "prompts", "on_one_image"),
    [
        (ObjectRow(1, GREY, prompted=(2, 4, 9)), "2, 4, 9", "prompted"),
        (ObjectRow(1, GREY, prompted=(1, 2, 4, 9)), "4 frames", "prompted"),
        (ObjectRow(1, GREY, is_committed=True), "committed", "committed"),
        (ObjectRow(1, GREY, prompted=(2,), is_committed=True), "2, committed", "prompted, committed"),
        (ObjectRow(1, GREY), "", ""),
    ],
)
def test_where_an_object_is_prompted_is_said_in_few_characters(row, prompts, on_one_image):
    assert prompts_text(row, is_stack=True) == prompts
    assert prompts_text(row, is_stack=False) == on_one_image


def test_an_image_without_frames_has_none_in_its_table(qtbot):
    assert doubt_text(ObjectRow(1, GREY, doubt=(0.4, 0)), is_stack=False) == "0.40"
    desk = Desk(qtbot, (24, 30))
    desk.give(1, LEFT)
    assert desk.text(1, PROMPTS) == "prompted"
    assert "on" not in desk.text(1, DOUBT)
    desk.close()


def test_what_stays_the_same_is_left_alone(settled):
    changes = []
    settled.table.objects.dataChanged.connect(lambda first, last: changes.append((first.row(), last.row())))
    settled.refresh()
    assert changes == []
    settled.rename(2, "daughter")
    settled.refresh()
    assert changes == [(1, 1)]


def test_reading_again_gives_equal_rows(settled):
    reader = RowReader()
    assert reader.read(settled.work) == reader.read(settled.work)
    before = reader.read(settled.work)
    settled.undo()
    settled.settle()
    assert reader.read(settled.work) != before


def test_rows_come_and_go_without_moving_the_selection(qtbot):
    table = ObjectTable()
    qtbot.addWidget(table)
    rows = [ObjectRow(number, GREY) for number in range(1, 301)]
    table.show_objects(rows, 150, is_stack=True)
    assert table.objects.rowCount() == 300
    table.show_objects(rows[100:200], 150, is_stack=True)
    assert [row.object_id for row in table.selected] == [150]
    chosen = []
    table.object_chosen.connect(chosen.append)
    table.show_objects([*rows[:50], *rows[250:]], 260, is_stack=True)
    assert [table.objects.row(i).object_id for i in (0, 49, 50, 99)] == [1, 50, 251, 300]
    assert [row.object_id for row in table.selected] == [260]
    assert chosen == []  # nobody has chosen anything


# Choosing ------------------------------------------------------------------------------------------------------------


def test_the_current_row_is_the_current_object(two):
    assert two.selected == [2]
    two.click(1, OBJECT)
    assert two.object_id == 1
    two.qtbot.keyClick(two.table, Qt.Key.Key_Down)
    assert two.object_id == 2
    two.choose(1)
    two.refresh()
    assert two.selected == [1]


def test_several_rows_stay_selected_while_the_table_is_refreshed(two):
    two.add_to_selection(1)
    assert two.selected == [1, 2]
    assert two.object_id == 1
    two.give(1, BELOW)
    assert two.selected == [1, 2]


def test_a_double_click_goes_to_the_frame_that_the_cell_speaks_of(settled):
    settled.show(2)
    settled.double_click(3, DOUBT)
    assert settled.frame == 4
    settled.double_click(1, DOUBT)
    assert settled.frame == 0
    settled.double_click(3, PROMPTS)
    assert settled.frame == 4
    settled.show(2)
    settled.press(Qt.Key.Key_Return)
    assert settled.frame == 4


# Names ---------------------------------------------------------------------------------------------------------------


def test_a_double_click_on_the_name_renames(two):
    two.double_click(1, NAME)
    two.type_name("mother")
    assert two.names() == {1: "mother"}
    assert two.text(1, NAME) == "mother"


def test_f2_renames_from_any_column(two):
    two.click(2, DOUBT)
    two.panel.actions_by_name["rename"].trigger()
    two.type_name("daughter")
    assert two.names() == {2: "daughter"}
    assert QKeySequence("F2") in two.panel.actions_by_name["rename"].shortcuts()


def test_a_name_can_be_typed_while_objects_come_and_go(two):
    two.double_click(2, NAME)
    two.delete(1)
    two.settle()
    two.type_name("daughter")
    assert two.names() == {2: "daughter"}


# Marks ---------------------------------------------------------------------------------------------------------------


def test_an_eye_hides_an_object_and_shows_it_again_without_choosing_it(two):
    two.click(1, SHOWN)
    assert two.hidden == {1}
    assert two.cell(1, SHOWN).data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Unchecked
    assert two.cell(1, SHOWN).data(Qt.ItemDataRole.AccessibleTextRole) == "hidden"
    assert two.object_id == 2
    two.click(1, SHOWN)
    assert two.hidden == frozenset()


def test_a_lock_locks_and_unlocks(two):
    two.click(1, LOCKED)
    assert two.locked == {1}
    assert two.cell(1, LOCKED).data(Qt.ItemDataRole.AccessibleTextRole) == "locked"
    two.click(1, LOCKED)
    assert two.locked == frozenset()


def test_a_mark_speaks_for_all_selected_objects_if_its_own_is_one(two):
    two.add_to_selection(1)
    two.click(2, SHOWN)
    assert two.hidden == {1, 2}
    two.give(3, BELOW)
    assert two.selected == [3]
    two.click(1, SHOWN)
    assert two.hidden == {2}


def test_space_toggles_the_eye_or_the_lock_where_the_cursor_is(two):
    two.click(2, OBJECT)
    two.press(Qt.Key.Key_Space)
    assert two.hidden == {2}
    two.press(Qt.Key.Key_Left)
    two.press(Qt.Key.Key_Space)
    assert two.locked == {2}


def test_what_is_only_committed_has_no_eye(settled):
    assert settled.cell(1, SHOWN).data(Qt.ItemDataRole.CheckStateRole) is None
    settled.click(1, SHOWN)
    assert settled.hidden == frozenset()
    assert "hide the layer" in settled.cell(1, SHOWN).data(Qt.ItemDataRole.ToolTipRole)


def test_the_menu_hides_shows_locks_and_unlocks_what_is_selected(two):
    actions = two.panel.actions_by_name
    two.add_to_selection(1)
    actions["hide"].trigger()
    actions["lock"].trigger()
    two.refresh()
    assert (two.hidden, two.locked) == ({1, 2}, {1, 2})
    assert (actions["hide"].text(), actions["lock"].text()) == ("Show", "Unlock")
    actions["hide"].trigger()
    actions["lock"].trigger()
    assert (two.hidden, two.locked) == (frozenset(), frozenset())


def test_marks_are_drawn_differently_on_and_off(two):
    two.table.resize(400, 200)
    pictures = []
    for act in (lambda: None, lambda: two.click(1, SHOWN), lambda: two.click(1, LOCKED)):
        act()
        cells = two.table.visualRect(two.cell(1, SHOWN)).united(two.table.visualRect(two.cell(1, LOCKED)))
        pictures.append(two.table.viewport().grab(cells).toImage())
    assert pictures[0] != pictures[1] != pictures[2]


# Buttons -------------------------------------------------------------------------------------------------------------


def test_new_object_begins_another_one(two):
    two.panel.new_object.click()
    two.refresh()
    assert two.ids == [1, 2, 3]
    assert two.selected == [3]


def test_selected_committed_objects_become_part_of_the_current_one(settled):
    settled.click(2, OBJECT)
    assert not settled.panel.merge.isEnabled()
    settled.add_to_selection(1)
    assert settled.panel.merge.text() == "Merge into 1"
    settled.panel.merge.click()
    settled.settle()
    assert settled.ids == [1, 3]
    assert not (settled.committed() == 2).any()
    settled.undo()
    settled.settle()
    assert settled.ids == [1, 2, 3]


def test_what_is_not_committed_is_not_offered_to_be_merged(two):
    two.add_to_selection(1)
    assert not two.panel.merge.isEnabled()
    assert not two.panel.actions_by_name["merge"].isEnabled()


def test_delete_drops_what_is_selected_and_undo_brings_it_back(settled):
    settled.click(1, OBJECT)
    settled.add_to_selection(3)
    settled.press(Qt.Key.Key_Delete)
    assert settled.ids == [2]
    assert settled.selected == [2]
    settled.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert settled.ids == [1, 2, 3]


def test_the_keys_of_the_layers_work_in_the_table_too(two):
    two.table.setFocus()
    two.press(Qt.Key.Key_M)
    assert two.object_id == 3
    two.press(Qt.Key.Key_C)
    assert set(two.committed_ids) == {1, 2}


def test_everything_has_a_tooltip_and_is_reached_by_keyboard(two):
    for child in two.panel.findChildren(QPushButton):
        assert child.toolTip()
        assert child.focusPolicy() & Qt.FocusPolicy.TabFocus
    assert two.table.focusPolicy() & Qt.FocusPolicy.TabFocus
    assert two.table.accessibleName()
    for column in range(two.table.objects.columnCount()):
        assert two.cell(1, column).data(Qt.ItemDataRole.ToolTipRole)
        header = two.table.objects.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
        assert header
    assert {action.text() for action in two.table.actions()} >= {"Rename", "Hide", "Lock", "Merge", "Delete"}
    assert two.table.indexAt(QPoint(2, 2)).column() == SHOWN
