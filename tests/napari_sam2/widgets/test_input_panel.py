"""What the panel says the model sees."""

import threading

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam2.frames import FrameStack, single_frame
from napari_sam2.widgets.input_panel import SIDE, InputPanel, preview
from napari_sam2.widgets.parts import GuiThread
from napari_sam2.workbench.workbench import Workbench
from tests.napari_sam2.bench import WorkbenchDriver

SHAPE = (4, 40, 60)


class ModelInput(WorkbenchDriver):
    """A panel over a workbench, and what a user does with it."""

    def __init__(self, qtbot, viewer, fake):
        self.qtbot, self.viewer = qtbot, viewer
        self.gui_thread = GuiThread()
        super().__init__(Workbench(viewer, load_model=lambda source: fake, post=self.gui_thread.post))
        self.panel = InputPanel(self.bench)
        qtbot.addWidget(self.panel)
        self.panel.show()

    def click(self, frame, y, x):
        self.points.add([(frame, y, x)])
        self.settle()

    def settle(self):
        self.qtbot.waitUntil(lambda: self.is_ready)
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

    def choose_colour(self, number, name):
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
def model_input(qtbot, viewer, image, fake):
    model_input = ModelInput(qtbot, viewer, fake)
    yield model_input
    model_input.close()


def test_the_values_that_are_black_and_white_are_said_and_the_size_once_it_is_known(model_input):
    assert model_input.panel.values.text() == "Values 0 to 200 → black to white"
    model_input.click(0, 10, 12)
    assert model_input.panel.values.text() == "Values 0 to 200 → black to white, at 256 px"


def test_the_thumbnail_shows_the_frame_in_the_aspect_of_the_image(model_input):
    model_input.show(0)
    model_input.sees(128, 128, 128)
    size = model_input.panel.thumbnail.sizeHint()
    assert (size.width(), size.height()) == (SIDE, round(SIDE * 40 / 60))
    model_input.show(3)
    model_input.sees(166, 166, 166)


def test_a_panel_that_nobody_sees_reads_nothing_until_it_is_shown(model_input):
    model_input.show(0)
    model_input.sees(128, 128, 128)
    model_input.panel.hide()
    model_input.show(3)
    model_input.panel.refresh()
    assert model_input.pixel() == (128, 128, 128)
    model_input.panel.show()
    model_input.sees(166, 166, 166)


def test_contrast_changed_after_the_first_prompt_is_seen_when_it_is_asked_for(model_input, image, fake):
    assert not model_input.panel.use_contrast.isEnabled()
    model_input.show(0)
    model_input.click(0, 10, 12)
    image.contrast_limits = (0, 100)
    model_input.panel.refresh()
    assert model_input.panel.use_contrast.isEnabled()
    assert "0 to 200" in model_input.panel.values.text()
    model_input.panel.use_contrast.click()
    model_input.settle()
    assert "0 to 100" in model_input.panel.values.text()
    assert not model_input.panel.use_contrast.isEnabled()
    assert fake.count("prompt") == 2
    model_input.sees(255, 255, 255)


def test_colours_are_offered_only_among_images_that_lie_on_this_one(model_input, viewer):
    assert all(combo.isHidden() for combo in model_input.panel.colours)
    viewer.add_image(np.zeros((9, 9)), name="elsewhere")
    model_input.panel.refresh()
    assert all(combo.isHidden() for combo in model_input.panel.colours)
    viewer.add_image(np.zeros(SHAPE), name="second")
    model_input.panel.refresh()
    assert [combo.isHidden() for combo in model_input.panel.colours] == [False, False, True]
    assert [model_input.panel.colours[1].itemText(i) for i in range(3)] == ["none", "stack", "second"]


def test_images_that_are_chosen_are_seen_in_colours(model_input, viewer):
    viewer.add_image(np.full(SHAPE, 5.0), contrast_limits=(0, 10), name="second")
    viewer.add_image(np.full(SHAPE, 9.0), contrast_limits=(0, 9), name="third")
    model_input.panel.refresh()
    model_input.show(0)
    model_input.choose_colour(1, "second")
    assert model_input.channels == (viewer.layers["stack"], viewer.layers["second"])
    assert model_input.panel.values.text().startswith("Red 0 to 200, green 0 to 10 → dark to bright")
    assert model_input.panel.colour_labels[0].text() == "Red"
    model_input.sees(128, 128, 0)
    model_input.choose_colour(2, "third")
    model_input.sees(128, 128, 255)
    model_input.choose_colour(1, "none")
    assert model_input.channels == (viewer.layers["stack"],)
    assert model_input.panel.colour_labels[0].text() == "Grey"
    model_input.sees(128, 128, 128)


def test_the_current_contrast_of_channels_is_used_without_losing_them(model_input, viewer):
    second = viewer.add_image(np.full(SHAPE, 5.0), contrast_limits=(0, 10), name="second")
    model_input.panel.refresh()
    model_input.choose_colour(1, "second")
    model_input.show(0)
    model_input.click(0, 10, 12)
    second.contrast_limits = (0, 5)
    model_input.panel.refresh()
    model_input.panel.use_contrast.click()
    model_input.settle()
    assert len(model_input.channels) == 2
    model_input.sees(128, 255, 0)


def test_channels_are_called_what_their_layers_are_called_now(model_input, viewer):
    second = viewer.add_image(np.zeros(SHAPE), name="second")
    second.name = "membrane"
    model_input.qtbot.waitUntil(lambda: model_input.panel.colours[1].itemText(2) == "membrane")


def test_rgb_images_are_seen_as_they_are(qtbot, viewer, fake):
    viewer.add_image(np.full((40, 60, 3), (10, 20, 30), np.uint8), rgb=True)
    model_input = ModelInput(qtbot, viewer, fake)
    assert model_input.panel.values.text() == "Colours as they are"
    assert all(combo.isHidden() for combo in model_input.panel.colours)
    model_input.sees(10, 20, 30)
    model_input.close()


def test_the_level_of_a_multiscale_image_can_be_chosen(qtbot, viewer, fake):
    viewer.add_image([np.full((side, side), 9, np.uint8) for side in (64, 32)], contrast_limits=(0, 9))
    model_input = ModelInput(qtbot, viewer, fake)
    level = model_input.panel.level
    assert not level.isHidden()
    assert [level.itemText(i) for i in range(level.count())] == ["64 x 64 px", "32 x 32 px"]
    level.setCurrentIndex(1)
    level.activated.emit(1)
    assert model_input.current().shape == (32, 32)
    model_input.points.add([(20, 20)])
    model_input.settle()
    level.setCurrentIndex(0)
    level.activated.emit(0)
    assert level.currentIndex() == 1  # it was refused
    model_input.close()


def test_an_image_with_one_level_offers_none(model_input):
    assert model_input.panel.level.isHidden()


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
def slow(model_input):
    """A stack that takes its time, in the place of what the model sees."""
    stack = SlowStack()
    model_input.see(FrameStack(stack, contrast_limits=(0, 255)))
    yield stack
    stack.may_read.set()


def test_a_frame_that_takes_its_time_is_read_by_another_thread(model_input, slow):
    model_input.panel.refresh()  # returns, although nothing can be read
    model_input.panel.refresh()
    slow.may_read.set()
    model_input.sees(77, 77, 77)
    assert len(slow.threads) == 1
    assert slow.threads[0] is not threading.main_thread()


def test_a_frame_that_cannot_be_read_is_said_where_it_would_be(model_input, slow):
    slow.error = OSError("disk gone")
    slow.may_read.set()
    model_input.panel.refresh()
    model_input.qtbot.waitUntil(lambda: "disk gone" in model_input.panel.thumbnail.message)
    assert model_input.pixel() is None
    assert not model_input.panel.grab().isNull()


def test_without_work_there_is_nothing_to_be_seen(model_input, viewer):
    model_input.show(0)
    model_input.sees(128, 128, 128)
    viewer.layers.remove("stack")
    model_input.qtbot.waitUntil(lambda: model_input.panel.values.text() == "")
    assert model_input.pixel() is None
    assert not model_input.panel.isEnabled()


def test_nothing_is_read_any_more_when_the_workbench_closes(model_input, slow):
    model_input.panel.refresh()
    model_input.close()
    slow.may_read.set()
    model_input.qtbot.waitUntil(lambda: "napari-sam2 job" not in [thread.name for thread in threading.enumerate()])
    handed_over = []
    model_input.panel._gui_thread.post(lambda: handed_over.append(True))
    model_input.qtbot.waitUntil(lambda: bool(handed_over))
    assert model_input.pixel() is None


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
