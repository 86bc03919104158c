"""What the panel says the model sees."""

import threading

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam2.frames import FrameStack, single_frame
from napari_sam2.widgets.gui_thread import GuiThread
from napari_sam2.widgets.input_panel import SIDE, SightPanel, preview
from napari_sam2.workspace.images import Workbench
from napari_sam2.workspace.requests import Activity

SHAPE = (4, 40, 60)


class Sight:
    """A panel over a workbench, and what a user does with it."""

    def __init__(self, qtbot, viewer, fake):
        self.qtbot, self.viewer = qtbot, viewer
        self.gui_thread = GuiThread()
        self.bench = Workbench(viewer, load_model=lambda source: fake, post=self.gui_thread.post)
        self.panel = SightPanel(self.bench)
        qtbot.addWidget(self.panel)
        self.panel.show()

    @property
    def space(self):
        return self.bench.workspace

    def click(self, frame, y, x):
        self.space.prompt_layers.points.add([(frame, y, x)])
        self.settle()

    def settle(self):
        self.qtbot.waitUntil(lambda: self.space.status.activity is Activity.READY)
        self.panel.refresh()

    def pixel(self):
        """Red, green and blue in the middle of the thumbnail; None if there is none."""
        image = self.panel.thumbnail.image
        if image.isNull():
            return None
        colour = image.pixelColor(image.width() // 2, image.height() // 2)
        return colour.red(), colour.green(), colour.blue()

    def sees(self, *colour):
        self.qtbot.waitUntil(lambda: self.pixel() == colour)

    def choose(self, number, name):
        combo = self.panel.colours[number]
        combo.setCurrentText(name)
        combo.activated.emit(combo.currentIndex())
        self.settle()


@pytest.fixture
def viewer():
    """A viewer without a window: panels ask for no more."""
    return ViewerModel()


@pytest.fixture
def image(viewer):
    """A stack that is 100, 110, 120 and 130 on its frames."""
    data = np.stack([np.full(SHAPE[1:], 100 + 10 * frame, np.uint16) for frame in range(SHAPE[0])])
    return viewer.add_image(data, contrast_limits=(0, 200), name="stack")


@pytest.fixture
def sight(qtbot, viewer, image, fake):
    sight = Sight(qtbot, viewer, fake)
    yield sight
    sight.bench.close()


def test_the_values_that_are_black_and_white_are_said_and_the_size_once_it_is_known(sight):
    assert sight.panel.values.text() == "Values 0 to 200 → black to white"
    sight.click(0, 10, 12)
    assert sight.panel.values.text() == "Values 0 to 200 → black to white, at 256 x 256 px"


def test_the_thumbnail_shows_the_frame_in_the_aspect_of_the_image(sight):
    sight.space.show(0)
    sight.sees(128, 128, 128)
    size = sight.panel.thumbnail.sizeHint()
    assert (size.width(), size.height()) == (SIDE, round(SIDE * 40 / 60))
    sight.space.show(3)
    sight.sees(166, 166, 166)


def test_a_panel_that_nobody_sees_reads_nothing_until_it_is_shown(sight):
    sight.space.show(0)
    sight.sees(128, 128, 128)
    sight.panel.hide()
    sight.space.show(3)
    sight.panel.refresh()
    assert sight.pixel() == (128, 128, 128)
    sight.panel.show()
    sight.sees(166, 166, 166)


def test_contrast_changed_after_the_first_prompt_is_seen_when_it_is_asked_for(sight, image, fake):
    assert not sight.panel.use_contrast.isEnabled()
    sight.space.show(0)
    sight.click(0, 10, 12)
    image.contrast_limits = (0, 100)
    sight.panel.refresh()
    assert sight.panel.use_contrast.isEnabled()
    assert "0 to 200" in sight.panel.values.text()
    sight.panel.use_contrast.click()
    sight.settle()
    assert "0 to 100" in sight.panel.values.text()
    assert not sight.panel.use_contrast.isEnabled()
    assert fake.count("prompt") == 2
    sight.sees(255, 255, 255)


def test_colours_are_offered_only_among_images_that_lie_on_this_one(sight, viewer):
    assert all(combo.isHidden() for combo in sight.panel.colours)
    viewer.add_image(np.zeros((9, 9)), name="elsewhere")
    sight.panel.refresh()
    assert all(combo.isHidden() for combo in sight.panel.colours)
    viewer.add_image(np.zeros(SHAPE), name="second")
    sight.panel.refresh()
    assert [combo.isHidden() for combo in sight.panel.colours] == [False, False, True]
    assert [sight.panel.colours[1].itemText(i) for i in range(3)] == ["none", "stack", "second"]


def test_images_that_are_chosen_are_seen_in_colours(sight, viewer):
    viewer.add_image(np.full(SHAPE, 5.0), contrast_limits=(0, 10), name="second")
    viewer.add_image(np.full(SHAPE, 9.0), contrast_limits=(0, 9), name="third")
    sight.panel.refresh()
    sight.space.show(0)
    sight.choose(1, "second")
    assert sight.space.channels == (viewer.layers["stack"], viewer.layers["second"])
    assert sight.panel.values.text().startswith("Red 0 to 200, green 0 to 10 → dark to bright")
    assert sight.panel.colour_labels[0].text() == "Red"
    sight.sees(128, 128, 0)
    sight.choose(2, "third")
    sight.sees(128, 128, 255)
    sight.choose(1, "none")
    assert sight.space.channels == (viewer.layers["stack"],)
    assert sight.panel.colour_labels[0].text() == "Grey"
    sight.sees(128, 128, 128)


def test_the_current_contrast_of_channels_is_used_without_losing_them(sight, viewer):
    second = viewer.add_image(np.full(SHAPE, 5.0), contrast_limits=(0, 10), name="second")
    sight.panel.refresh()
    sight.choose(1, "second")
    sight.space.show(0)
    sight.click(0, 10, 12)
    second.contrast_limits = (0, 5)
    sight.panel.refresh()
    sight.panel.use_contrast.click()
    sight.settle()
    assert len(sight.space.channels) == 2
    sight.sees(128, 255, 0)


def test_channels_are_called_what_their_layers_are_called_now(sight, viewer):
    second = viewer.add_image(np.zeros(SHAPE), name="second")
    second.name = "membrane"
    sight.qtbot.waitUntil(lambda: sight.panel.colours[1].itemText(2) == "membrane")


def test_rgb_images_are_seen_as_they_are(qtbot, viewer, fake):
    viewer.add_image(np.full((40, 60, 3), (10, 20, 30), np.uint8), rgb=True)
    sight = Sight(qtbot, viewer, fake)
    assert sight.panel.values.text() == "Colours as they are"
    assert all(combo.isHidden() for combo in sight.panel.colours)
    sight.sees(10, 20, 30)
    sight.bench.close()


def test_the_level_of_a_multiscale_image_can_be_chosen(qtbot, viewer, fake):
    viewer.add_image([np.full((side, side), 9, np.uint8) for side in (64, 32)], contrast_limits=(0, 9))
    sight = Sight(qtbot, viewer, fake)
    level = sight.panel.level
    assert not level.isHidden()
    assert [level.itemText(i) for i in range(level.count())] == ["64 x 64 px", "32 x 32 px"]
    level.setCurrentIndex(1)
    level.activated.emit(1)
    assert sight.space.current.data.shape == (32, 32)
    sight.space.prompt_layers.points.add([(20, 20)])
    sight.settle()
    level.setCurrentIndex(0)
    level.activated.emit(0)
    assert level.currentIndex() == 1  # it was refused
    sight.bench.close()


def test_an_image_with_one_level_offers_none(sight):
    assert sight.panel.level.isHidden()


class SlowStack:
    """Is read when it is told so, and says on which thread that was."""

    shape, dtype, ndim = SHAPE, np.dtype(np.uint8), 3

    def __init__(self):
        self.may_read, self.threads, self.error = threading.Event(), [], None

    def __getitem__(self, key):
        assert self.may_read.wait(20)
        self.threads.append(threading.current_thread())
        if self.error is not None:
            raise self.error
        return np.full(SHAPE, 77, np.uint8)[key]


@pytest.fixture
def slow(sight):
    """A stack that takes its time, in the place of what the model sees."""
    stack = SlowStack()
    sight.space.sight.frames = FrameStack(stack, contrast_limits=(0, 255))
    yield stack
    stack.may_read.set()


def test_a_frame_that_takes_its_time_is_read_by_another_thread(sight, slow):
    sight.panel.refresh()  # returns, although nothing can be read
    sight.panel.refresh()
    slow.may_read.set()
    sight.sees(77, 77, 77)
    assert len(slow.threads) == 1
    assert slow.threads[0] is not threading.main_thread()


def test_a_frame_that_cannot_be_read_is_said_where_it_would_be(sight, slow):
    slow.error = OSError("disk gone")
    slow.may_read.set()
    sight.panel.refresh()
    sight.qtbot.waitUntil(lambda: "disk gone" in sight.panel.thumbnail.message)
    assert sight.pixel() is None
    assert not sight.panel.grab().isNull()


def test_without_work_there_is_nothing_to_be_seen(sight, viewer):
    sight.space.show(0)
    sight.sees(128, 128, 128)
    viewer.layers.remove("stack")
    sight.qtbot.waitUntil(lambda: sight.panel.values.text() == "")
    assert sight.pixel() is None
    assert not sight.panel.isEnabled()


def test_nothing_is_read_any_more_when_the_workbench_closes(sight, slow):
    sight.panel.refresh()
    reading = sight.panel._reading
    sight.bench.close()
    slow.may_read.set()
    reading.join()
    handed_over = []
    sight.panel._gui_thread.post(lambda: handed_over.append(True))
    sight.qtbot.waitUntil(lambda: bool(handed_over))
    assert sight.pixel() is None


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((40, 60), (40, 60)), ((512, 256), (256, 128)), ((3000, 2000), (250, 166)), ((2, 900), (1, 225))],
)
def test_a_preview_is_averaged_down_to_what_the_screen_can_show(shape, expected):
    small = preview(single_frame(np.zeros(shape, np.uint8), contrast_limits=(0, 1)), 0)
    assert small.shape == (*expected, 3)
    assert max(expected) <= 2 * SIDE


def test_a_preview_of_a_fine_pattern_is_grey():
    checkers = (np.indices((512, 256)).sum(axis=0) % 2).astype(np.uint8)
    assert (preview(single_frame(checkers, contrast_limits=(0, 1)), 0) == 128).all()
