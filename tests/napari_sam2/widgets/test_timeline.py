"""The timeline alone: where a click, a drag and a key go, what it says and what it paints."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor

from napari_sam2.prompts import Target
from napari_sam2.widgets.timeline import Handle, Strip, Timeline
from napari_sam2.workspace.confidence import ABSENT, UNSEEN, ConfidenceTable
from napari_sam2.workspace.held import Shown

WIDTH, HEIGHT = 200, 50
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def timeline(qtbot):
    """Ten frames of 20 pixels and two objects; frames 2 to 7 are the range."""
    made = Timeline()
    qtbot.addWidget(made)
    made.resize(WIDTH, HEIGHT)
    made.show_strip(strip(num_frames=10))
    made.show_place(0, (2, 7))
    return made


def strip(num_frames=10, **rest):
    return Strip(ConfidenceTable((1, 4), np.full((2, num_frames), 0.9, np.float32)), **rest)


@pytest.fixture
def frames(timeline):
    """Frames that were asked for."""
    asked = []
    timeline.frame_chosen.connect(asked.append)
    return asked


@pytest.fixture
def ranges(timeline):
    """Ranges that were asked for; the timeline shows each."""
    asked = []

    def take(first, last):
        asked.append((first, last))
        timeline.show_place(0, (first, last))

    timeline.range_chosen.connect(take)
    return asked


def drag(qtbot, timeline, start, *xs):
    qtbot.mousePress(timeline, LEFT, pos=QPoint(round(start), 30))
    for x in xs:
        qtbot.mouseMove(timeline, pos=QPoint(round(x), 30))
    qtbot.mouseRelease(timeline, LEFT, pos=QPoint(round(xs[-1]), 30))


def test_a_click_goes_to_the_frame(qtbot, timeline, frames):
    qtbot.mouseClick(timeline, LEFT, pos=timeline.rectangle_of(1, 5).center().toPoint())
    assert frames == [5]


def test_a_drag_away_from_the_handles_goes_through_the_frames(qtbot, timeline, frames, ranges):
    drag(qtbot, timeline, 90, 110, 130, 500)
    assert frames == [4, 5, 6, 9]
    assert ranges == []


@pytest.mark.parametrize(
    ("handle", "xs", "expected"),
    [
        (Handle.FIRST, (60, 82), (4, 7)),
        (Handle.LAST, (130, 99), (2, 4)),
        (Handle.FIRST, (300,), (7, 7)),
        (Handle.LAST, (-40,), (2, 2)),
        (Handle.FIRST, (-40,), (0, 7)),
        (Handle.LAST, (400,), (2, 9)),
    ],
)
def test_a_handle_is_dragged_no_further_than_the_other_and_the_stack(
    qtbot, timeline, frames, ranges, handle, xs, expected
):
    drag(qtbot, timeline, timeline.place_of(handle), *xs)
    assert ranges[-1] == expected
    assert frames == []


def test_a_click_on_a_handle_goes_to_the_frame_under_it(qtbot, timeline, frames, ranges):
    qtbot.mouseClick(timeline, LEFT, pos=QPoint(42, 30))
    assert frames == [2]
    assert ranges == []


@pytest.mark.parametrize(("x", "expected"), [(150, (500, 749)), (50, (250, 500))])
def test_handles_on_the_same_spot_are_pulled_apart(qtbot, timeline, ranges, x, expected):
    timeline.show_strip(strip(num_frames=1000))
    timeline.show_place(0, (500, 500))
    drag(qtbot, timeline, 100, x)
    assert ranges[-1] == expected


def test_the_cursor_tells_where_a_handle_can_be_grasped(qtbot, timeline):
    with qtbot.waitExposed(timeline):
        timeline.show()
    for x, shape in ((41, Qt.CursorShape.SizeHorCursor), (100, Qt.CursorShape.ArrowCursor)):
        qtbot.mouseMove(timeline, pos=QPoint(x, 30))
        qtbot.waitUntil(lambda shape=shape: timeline.cursor().shape() is shape)


@pytest.mark.parametrize(
    ("here", "key", "there"),
    [
        (4, Qt.Key.Key_Left, 3),
        (4, Qt.Key.Key_Right, 5),
        (0, Qt.Key.Key_Left, 0),
        (9, Qt.Key.Key_Right, 9),
        (4, Qt.Key.Key_Home, 0),
        (4, Qt.Key.Key_End, 9),
    ],
)
def test_keys_go_through_the_frames(qtbot, timeline, frames, here, key, there):
    timeline.show_place(here, (0, 9))
    qtbot.keyClick(timeline, key)
    assert frames == [there]


def test_it_says_what_is_under_the_mouse(timeline):
    timeline.show_strip(
        Strip(
            ConfidenceTable((1, 4), np.float32([[0.25, 0.75, ABSENT, UNSEEN], [0.5, 1, 1, 1]])),
            prompted={Target(1, 1), Target(4, 1)},
            approved=frozenset({Target(4, 1)}),
            shown=Shown(hidden=frozenset({4}), least_confidence=0.5),
            names={4: "mother"},
        )
    )

    def said(row, frame):
        centre = timeline.rectangle_of(row, frame).center()
        return timeline.sentence_at(centre.x(), centre.y())

    assert said(0, 0) == "Object 1, frame 0: confidence 0.25, hidden as doubtful"
    assert said(0, 1) == "Object 1, frame 1: confidence 0.75, prompted"
    assert said(0, 2) == "Object 1, frame 2: not found"
    assert said(0, 3) == "Object 1, frame 3: not looked for yet"
    assert said(1, 1) == "Object 4 (mother), frame 1: confidence 1.00, approved or painted by you, object hidden"
    assert timeline.sentence_at(100, 2).startswith("Frames 2 to 7 are propagated to.")


def test_it_says_which_masks_are_older_than_a_prompt_and_which_of_them_are_followed_again(timeline):
    outdated = np.zeros((2, 10), np.bool_)
    outdated[1, 3:6] = True
    timeline.show_strip(strip(outdated=outdated, reach={1: range(10), 4: range(5)}))
    said = [timeline.sentence_at(20 * frame + 5, 40) for frame in (2, 4, 5)]
    assert said == [
        "Object 4, frame 2: confidence 0.90",
        "Object 4, frame 4: confidence 0.90, older than a prompt: Propagate follows it again",
        "Object 4, frame 5: confidence 0.90, older than a prompt",
    ]
    assert len(set(map(QColor.rgb, colours_in(timeline, 1, 4)))) > len(set(map(QColor.rgb, colours_in(timeline, 1, 2))))


def colours_in(timeline, row, frame):
    """Colours of all pixels in a cell."""
    image, cell = timeline.grab().toImage(), timeline.rectangle_of(row, frame).toRect()
    return [image.pixelColor(x, y) for x in range(cell.left(), cell.right()) for y in range(cell.top(), cell.bottom())]


def test_prompted_and_approved_frames_are_marked_and_marked_differently(timeline):
    plain = colours_in(timeline, 0, 4)
    timeline.show_strip(strip(prompted=[Target(1, 4), Target(1, 5)], approved=frozenset({Target(1, 5)})))
    prompted, approved = colours_in(timeline, 0, 4), colours_in(timeline, 0, 5)
    white = QColor("white")
    assert white not in plain
    assert 0 < prompted.count(white) < approved.count(white)


def test_marks_of_objects_without_a_row_are_left_out(timeline):
    before = timeline.grab().toImage()
    timeline.show_strip(strip(prompted=[Target(77, 4)]))
    assert timeline.grab().toImage() == before


def test_all_cells_may_be_prompted_though_they_are_smaller_than_pixels(timeline):
    many = tuple(range(1, 101))
    table = ConfidenceTable(many, np.zeros((100, 500), np.float32))
    timeline.show_strip(Strip(table))
    plain = timeline.grab().toImage().pixelColor(100, 30).lightness()
    timeline.show_strip(Strip(table, prompted=[Target(i, frame) for i in many for frame in range(500)]))
    assert timeline.grab().toImage().pixelColor(100, 30).lightness() > plain


def test_outside_of_the_range_it_is_veiled(timeline):
    timeline.show_place(0, (0, 9))
    clear = colours_in(timeline, 1, 8)
    timeline.show_place(0, (0, 5))
    assert colours_in(timeline, 1, 8) != clear
    assert colours_in(timeline, 1, 4) == clear


def test_it_grows_with_the_objects_up_to_a_limit(timeline):
    heights = []
    for count in (1, 8, 300, 600):
        timeline.show_strip(Strip(ConfidenceTable(tuple(range(count)), np.ones((count, 10), np.float32))))
        heights.append(timeline.sizeHint().height())
    assert heights[0] < heights[1] < heights[2] == heights[3]
