"""What the model sees, and layers of the user's own: read for prompts, committed into. Real layers, no window."""

import queue

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy

from napari_sam2.errors import FrameError, NapariSam2Error, OptionError, PromptError
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.workbench.workbench import Workbench
from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Bench, WorkbenchDriver
from tests.napari_sam2.fake_predictor import FakePredictor

SHAPE = FRAMES, HEIGHT, WIDTH


class SeeingPredictor(FakePredictor):
    """Remembers which stacks it was shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def open(self, frames):
        self.shown.append(frames)
        return super().open(frames)

    def pixel(self, frame=0, y=0, x=0):
        """Red, green and blue of a pixel as seen last."""
        return self.shown[-1][frame][y, x].tolist()


class SeeingBench(Bench):
    """A bench whose model remembers what it was shown."""

    def __init__(self, data=None, **how):
        self.fake = SeeingPredictor()
        super().__init__(self.fake, data, **how)

    def settle(self):
        """Hand over what was posted until the model has said all."""
        while not self.posted.empty() or not self.is_ready:
            self.posted.get(timeout=10)()

    def read(self, layer):
        self.read_layer(layer)
        self.settle()
        return layer


@pytest.fixture
def bench():
    bench = SeeingBench()
    yield bench
    bench.close()


def labels_with(*squares, shape=SHAPE, dtype=np.uint16):
    """Labels of squares of 4 pixels: (object_id, frame, y, x) each."""
    labels = np.zeros(shape, dtype)
    for object_id, frame, y, x in squares:
        labels[frame, y : y + 4, x : x + 4] = object_id
    return labels


def square(y, x):
    return labels_with((1, 0, y, x))[0] > 0


# Prompts from layers of the user's own


def test_every_label_on_every_frame_is_a_mask_prompt(bench):
    bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2), (7, 1, 10, 20), (3, 4, 6, 6))))
    np.testing.assert_array_equal(bench.shown(3, 1), square(2, 2))
    np.testing.assert_array_equal(bench.shown(7, 1), square(10, 20))
    np.testing.assert_array_equal(bench.shown(3, 4), square(6, 6))
    assert not bench.shown(3, 0).any()


@pytest.mark.parametrize("wrap", [np.asarray, da.from_array, zarr.array])
def test_labels_may_be_lazy(bench, wrap):
    bench.read(bench.viewer.add_labels(wrap(labels_with((3, 1, 2, 2)))))
    np.testing.assert_array_equal(bench.shown(3, 1), square(2, 2))


def test_labels_are_followed_through_the_stack(bench):
    bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    bench.propagate()
    bench.settle()
    assert all(bench.shown(3, frame)[3, 3] for frame in range(FRAMES))


def test_painting_there_asks_again_when_the_pixels_are_in_the_data(bench):
    labels = bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    bench.fake.calls.clear()
    y, x = np.nonzero(square(10, 20))
    labels.data_setitem((np.full(len(y), 2), y, x), 5)
    bench.settle()
    np.testing.assert_array_equal(bench.shown(5, 2), square(10, 20))
    assert bench.fake.calls == [("prompt", 2, (5,))]


def test_the_brush_and_the_bucket_are_heeded_on_any_frame(bench):
    labels = bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    bench.show(4)
    labels.selected_label = 5
    labels.brush_size = 3
    labels.paint((4, 12, 12), 5)
    bench.settle()
    assert bench.shown(5, 4)[12, 12]
    bench.show(1)
    labels.fill((1, 3, 3), 6)
    bench.settle()
    np.testing.assert_array_equal(bench.shown(6, 1), square(2, 2))
    assert not bench.shown(3, 1).any()


def test_undoing_a_stroke_with_the_keys_of_napari_takes_its_prompt_back(bench):
    labels = bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    bench.show(2)
    labels.paint((2, 12, 12), 5)
    bench.settle()
    assert bench.shown(5, 2).any()
    labels.undo()
    bench.settle()
    assert not bench.shown(5, 2).any()
    assert bench.shown(3, 1).any()


def test_scrolling_through_labels_asks_nothing(bench):
    bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    bench.show(4)
    bench.show(1)
    assert bench.posted.empty()


def test_points_and_shapes_of_the_user_are_prompts_of_the_objects_they_name(bench):
    points = bench.viewer.add_points([(1, 4, 5), (2, 14, 20)], features={"object_id": [3, 4]})
    boxes = bench.viewer.add_shapes(ndim=3, features={"object_id": []})
    boxes.feature_defaults = {"object_id": 9}
    boxes.add_rectangles([[(1, 8, 8), (1, 8, 12), (1, 12, 12), (1, 12, 8)]])
    bench.read(points)
    bench.read(boxes)
    assert bench.shown(3, 1)[4, 5]
    assert bench.shown(4, 2)[14, 20]
    assert bench.shown(9, 1)[8:13, 8:13].all()


def test_points_that_name_no_object_stay_with_the_one_that_was_current(bench):
    points = bench.read(bench.viewer.add_points([(1, 4, 5)]))
    assert bench.object_id == 2  # the next click is another object
    bench.click(1, 14, 20)
    points.add([(1, 6, 5)])
    bench.settle()
    assert bench.shown(1, 1)[4, 5]
    assert bench.shown(1, 1)[6, 5]
    assert bench.shown(2, 1)[14, 20]


def test_naming_the_object_of_a_point_later_asks_again(bench):
    points = bench.read(bench.viewer.add_points([(1, 4, 5)]))
    points.features = {"object_id": [8]}
    bench.settle()
    assert bench.shown(8, 1)[4, 5]
    assert not bench.shown(1, 1).any()


def test_prompts_in_a_layer_without_frames_stay_on_the_frame_where_it_was_chosen(bench):
    bench.show(2)
    flat = bench.read(bench.viewer.add_labels(labels_with((3, 0, 2, 2))[0]))
    bench.show(4)
    bench.click(4, 14, 20)
    np.testing.assert_array_equal(bench.shown(3, 2), square(2, 2))
    assert not bench.shown(3, 4).any()
    flat.data_setitem(np.nonzero(square(10, 20)), 5)
    bench.settle()
    np.testing.assert_array_equal(bench.shown(5, 2), square(10, 20))


def test_the_next_click_is_of_an_object_that_labels_do_not_have(bench):
    bench.read(bench.viewer.add_labels(labels_with((1, 1, 2, 2), (2, 1, 10, 20))))
    assert bench.object_id == 3


def test_a_click_on_the_object_of_a_label_refines_it(bench):
    bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    bench.choose(3)
    bench.click(1, 14, 20)
    assert bench.shown(3, 1)[3, 3]
    assert bench.shown(3, 1)[14, 20]


def test_a_layer_that_is_read_no_more_takes_its_masks_along(bench):
    labels = bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    bench.click(2, 14, 20)
    bench.ignore_layer(labels)
    bench.settle()
    assert not bench.shown(3, 1).any()
    assert bench.shown(1, 2).any()
    labels.data_setitem((np.array([3]), np.array([12]), np.array([12])), 3)
    assert bench.posted.empty()


def test_a_layer_that_does_not_lie_on_the_image_is_refused_and_harms_nothing(bench):
    with pytest.raises(PromptError, match=r"'small' of shape .* does not lie on image"):
        bench.read_layer(bench.viewer.add_labels(labels_with((3, 0, 2, 2), shape=(2, 9, 9)), name="small"))
    bench.click(2, 14, 20)
    assert bench.shown(1, 2)[14, 20]


@pytest.mark.parametrize("which", ["image", "points", "current", "committed"])
def test_layers_that_are_no_prompts_of_the_user_are_refused(bench, which):
    layer = {
        "image": bench.image,
        "points": bench.points,
        "current": bench.current_layer,
        "committed": bench.committed_layer,
    }[which]
    with pytest.raises(OptionError):
        bench.read_layer(layer)
    assert bench.layers_read == ()


def test_two_layers_that_give_an_object_two_masks_on_a_frame_are_told_apart(bench):
    bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    with pytest.raises(PromptError, match=r"'second' cannot be read.*Object 3 has 2 masks on frame 1"):
        bench.read_layer(bench.viewer.add_labels(labels_with((3, 1, 10, 20)), name="second"))
    np.testing.assert_array_equal(bench.shown(3, 1), square(2, 2))


def test_a_second_mask_that_is_painted_later_is_said_and_harms_nothing(bench):
    bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    second = bench.read(bench.viewer.add_labels(labels_with((4, 1, 10, 20))))
    second.data_setitem((np.array([1]), np.array([20]), np.array([5])), 3)
    bench.settle()
    assert "Object 3 has 2 masks on frame 1" in bench.message
    np.testing.assert_array_equal(bench.shown(3, 1), square(2, 2))


def test_what_is_committed_is_asked_for_again_only_when_it_is_changed(bench):
    labels = bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2), (7, 1, 10, 20))))
    bench.commit()
    bench.settle()
    np.testing.assert_array_equal(bench.committed()[1] == 3, square(2, 2))
    bench.click(2, 14, 20)
    bench.propagate()
    bench.settle()
    assert not bench.shown(3, 1).any()
    assert bench.shown(8, 5).any()
    labels.data_setitem((np.array([1]), np.array([6]), np.array([2])), 3)
    bench.settle()
    assert bench.shown(3, 1)[6, 2]
    assert not bench.shown(7, 1).any()


def test_undoing_a_commit_heeds_the_prompts_of_all_layers_again(bench):
    bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    bench.commit()
    bench.settle()
    bench.undo()
    bench.settle()
    np.testing.assert_array_equal(bench.shown(3, 1), square(2, 2))
    assert not (bench.committed()[1] == 3).any()
    bench.propagate()
    bench.settle()
    assert bench.shown(3, 5).any()


def test_clearing_an_object_leaves_the_layer_of_the_user_alone(bench):
    labels = bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    bench.choose(3)
    bench.clear_prompts()
    bench.settle()
    assert not bench.shown(3, 1).any()
    assert (labels.data == 3).any()
    bench.undo()
    bench.settle()
    np.testing.assert_array_equal(bench.shown(3, 1), square(2, 2))


def test_a_layer_that_is_not_read_is_none_that_can_be_ignored(bench):
    bench.ignore_layer(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    assert bench.is_idle


def test_layers_of_a_viewer_as_plugins_are_given_it_work_the_same(bench):
    labels = bench.viewer.add_labels(labels_with((3, 1, 2, 2)))
    bench.read(PublicOnlyProxy(labels))
    labels.data_setitem((np.array([1]), np.array([20]), np.array([5])), 3)
    bench.settle()
    assert bench.shown(3, 1)[20, 5]
    bench.ignore_layer(PublicOnlyProxy(labels))
    bench.settle()
    assert not bench.shown(3, 1).any()


# What the model sees


def grey(level):
    return np.full(SHAPE, level, np.uint16)


def test_contrast_limits_count_until_the_first_prompt():
    bench = SeeingBench(grey(100), contrast_limits=(0, 1000))
    bench.image.contrast_limits = (0, 200)
    bench.click(0, 10, 12)
    assert bench.fake.pixel() == [128, 128, 128]
    assert bench.sees_current_contrast
    bench.image.contrast_limits = (0, 100)
    bench.click(1, 10, 12)
    assert bench.fake.pixel(1) == [128, 128, 128]
    assert not bench.sees_current_contrast
    bench.close()


def test_the_contrast_of_now_is_used_when_it_is_asked_for_and_all_is_asked_again():
    bench = SeeingBench(grey(100), contrast_limits=(0, 200))
    bench.click(0, 10, 12)
    bench.click(3, 10, 12)
    bench.image.contrast_limits = (0, 100)
    bench.fake.calls.clear()
    bench.use_channels()
    bench.settle()
    assert bench.fake.pixel() == [255, 255, 255]
    assert [call[1] for call in bench.fake.calls if call[0] == "prompt"] == [0, 3]
    assert bench.sees_current_contrast
    bench.close()


def test_a_change_of_contrast_is_announced(bench):
    said = []
    bench.on_status(said.append)
    bench.click(0, 10, 12)
    said.clear()
    bench.image.contrast_limits = (0, 100)
    assert said


@pytest.fixture
def coloured():
    """A bench of three layers, as napari makes them of an image with a channel axis."""
    bench = SeeingBench(grey(50), contrast_limits=(0, 100), name="first")
    rest = np.stack([grey(20), grey(100)])
    bench.second, bench.third = bench.viewer.add_image(rest, channel_axis=0, contrast_limits=(0, 100))
    yield bench
    bench.close()


def test_channels_are_seen_as_colours_and_all_is_asked_again(coloured):
    coloured.click(0, 10, 12)
    coloured.fake.calls.clear()
    coloured.use_channels((coloured.image, coloured.second))
    coloured.settle()
    assert coloured.fake.pixel() == [128, 51, 0]
    assert coloured.fake.count("prompt") == 1
    coloured.use_channels((coloured.third, coloured.second, coloured.image))
    coloured.settle()
    assert coloured.fake.pixel() == [255, 51, 128]
    coloured.use_channels((coloured.second,))
    coloured.settle()
    assert coloured.fake.pixel() == [51, 51, 51]


def test_the_contrast_of_every_channel_counts_until_the_first_prompt(coloured):
    coloured.use_channels((coloured.image, coloured.second))
    coloured.second.contrast_limits = (0, 20)
    coloured.click(0, 10, 12)
    assert coloured.fake.pixel() == [128, 255, 0]
    coloured.second.contrast_limits = (0, 40)
    assert not coloured.sees_current_contrast
    coloured.third.contrast_limits = (0, 40)
    coloured.use_channels((coloured.image, coloured.second))
    coloured.settle()
    assert coloured.fake.pixel() == [128, 128, 0]


@pytest.mark.parametrize("count", [1, 2])
def test_a_channel_that_lies_elsewhere_is_refused_and_nothing_changes(coloured, count):
    coloured.third.translate = (0, 5, 0)
    with pytest.raises(FrameError, match="pixel by pixel"):
        coloured.use_channels((coloured.third, coloured.image)[:count])
    assert coloured.channels == (coloured.image,)


def pyramid(*sides):
    return [np.full((2, side, side), 10, np.uint8) for side in sides]


@pytest.mark.parametrize(
    ("sides", "expected"), [((64, 32), 64), ((4096, 2048, 1024), 2048), ((8192, 4096), 4096), ((3000, 1500), 1500)]
)
def test_the_level_read_of_a_multiscale_image_is_the_finest_that_is_not_too_large(sides, expected):
    bench = SeeingBench(pyramid(*sides), multiscale=True)
    assert (bench.frames_seen.height, bench.current().shape[1]) == (expected, expected)
    bench.close()


def test_a_click_on_a_coarse_level_lands_where_it_was_made():
    bench = SeeingBench(pyramid(64, 16), level=1, multiscale=True, scale=(1, 0.5, 0.5))
    bench.points.add([(1, 41.5, 21.5)])
    bench.settle()
    assert bench.current().shape == (2, 16, 16)
    assert bench.current()[1, 10, 5] == 1
    there = bench.current_layer.data_to_world((1, 10, 5))
    np.testing.assert_allclose(there, bench.image.data_to_world((1, 41.5, 21.5)))
    bench.close()


# Where objects are committed


def test_objects_are_committed_into_a_layer_of_the_user(bench):
    target = bench.viewer.add_labels(labels_with((4, 2, 2, 2)), name="mine")
    bench.commit_into(target)
    assert bench.object_id == 5
    bench.click(2, 14, 20)
    bench.commit()
    bench.settle()
    assert target.data[2, 14, 20] == 5
    assert (target.data[2][square(2, 2)] == 4).all()
    assert not bench.made_layers[0].data.any()
    assert bench.object_id == 6


@pytest.mark.parametrize(("policy", "owner"), [(CommitPolicy.KEEP, 4), (CommitPolicy.OVERWRITE, 5)])
def test_what_is_in_it_is_protected_as_the_policy_says_and_comes_back_on_undo(bench, policy, owner):
    target = bench.viewer.add_labels(labels_with((4, 2, 10, 12)), name="mine")
    before = target.data.copy()
    bench.commit_into(target)
    bench.click(2, 12, 14)
    bench.commit(policy)
    bench.settle()
    assert target.data[2, 12, 14] == owner
    bench.undo()
    bench.settle()
    np.testing.assert_array_equal(target.data, before)
    assert bench.shown(5, 2)[12, 14]


def test_an_object_in_work_may_not_have_the_number_of_one_that_is_there(bench):
    bench.click(2, 12, 14)
    target = bench.viewer.add_labels(labels_with((1, 4, 2, 2)), name="mine")
    with pytest.raises(OptionError, match="'mine' has an object 1 already"):
        bench.commit_into(target)
    assert bench.committed_layer is bench.made_layers[0]


def test_labels_that_are_prompts_may_be_committed_under_their_numbers(bench):
    bench.read(bench.viewer.add_labels(labels_with((4, 2, 10, 12))))
    target = bench.viewer.add_labels(labels_with((4, 0, 10, 12)), name="mine")
    bench.commit_into(target)
    bench.commit()
    bench.settle()
    np.testing.assert_array_equal(target.data == 4, labels_with((4, 0, 10, 12), (4, 2, 10, 12)) == 4)


def test_a_commit_into_the_layer_before_can_still_be_undone(bench):
    bench.click(2, 12, 14)
    bench.commit()
    bench.settle()
    bench.commit_into(bench.viewer.add_labels(labels_with(), name="mine"))
    bench.undo()
    bench.settle()
    assert not bench.made_layers[0].data.any()
    assert bench.shown(1, 2)[12, 14]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (np.zeros((2, 9, 9), np.uint16), {}),
        (np.zeros(SHAPE, np.uint16), {"translate": (0, 5, 0)}),
        (da.zeros(SHAPE, dtype=np.uint16), {}),
        ([np.zeros(SHAPE, np.uint16), np.zeros((FRAMES, 12, 15), np.uint16)], {"multiscale": True}),
    ],
)
def test_a_layer_that_cannot_take_the_objects_is_refused(bench, data, place):
    layer = bench.viewer.add_labels(data, name="mine", **place)
    with pytest.raises(NapariSam2Error, match="'mine'"):
        bench.commit_into(layer)
    assert bench.committed_layer is bench.made_layers[0]


def test_a_layer_is_not_both_read_for_prompts_and_committed_into(bench):
    labels = bench.read(bench.viewer.add_labels(labels_with((3, 1, 2, 2))))
    with pytest.raises(OptionError, match="is read for prompts"):
        bench.commit_into(labels)
    other = bench.viewer.add_labels(labels_with())
    bench.commit_into(other)
    with pytest.raises(OptionError):
        bench.read_layer(other)


# Layers that come and go


class Room(WorkbenchDriver):
    """A workbench on a stack, whose answers are handed over when the test says so."""

    def __init__(self, data=None, **image):
        self.viewer, self.posted, self.fake = ViewerModel(), queue.Queue(), SeeingPredictor()
        data = np.zeros(SHAPE, np.uint8) if data is None else data
        self.image = self.viewer.add_image(data, contrast_limits=(0, 255), name="stack", **image)
        super().__init__(self.workbench())

    def workbench(self):
        return Workbench(self.viewer, load_model=lambda source: self.fake, post=self.posted.put)

    def settle(self):
        while not self.posted.empty() or not self.is_ready:
            self.posted.get(timeout=10)()

    def click(self, frame, y, x):
        self.points.add([(frame, y, x)])
        self.settle()


@pytest.fixture
def room():
    room = Room()
    yield room
    room.close()


def test_a_layer_that_leaves_the_viewer_takes_its_prompts_along(room):
    labels = room.viewer.add_labels(labels_with((3, 1, 2, 2)))
    room.read_layer(labels)
    room.settle()
    room.viewer.layers.remove(labels)
    room.settle()
    assert not room.prompts
    assert not room.current().any()
    assert room.layers_read == ()


def test_what_cannot_be_done_with_a_layer_is_said_in_a_sentence(room):
    small = room.viewer.add_labels(np.ones((2, 9, 9), np.uint16), name="small")
    room.read_layer(small)
    assert "does not lie on image 'stack'" in room.message
    room.clear_message()
    room.commit_into(small)
    assert "'small' of shape (2, 9, 9) cannot take" in room.message
    room.clear_message()
    room.use_channels((room.image, room.viewer.add_image(np.zeros((9, 9)), name="other")))
    assert "'other' does not lie on 'stack'" in room.message


def test_a_layer_is_ignored_when_it_is_told_so(room):
    labels = room.viewer.add_labels(labels_with((3, 1, 2, 2)))
    room.read_layer(labels)
    room.ignore_layer(labels)
    room.settle()
    assert not room.prompts


def test_a_channel_that_leaves_the_viewer_is_seen_no_more(room):
    other = room.viewer.add_image(np.full(SHAPE, 255, np.uint8), contrast_limits=(0, 255), name="other")
    room.use_channels((room.image, other))
    room.click(0, 10, 12)
    room.viewer.layers.remove(other)
    assert "'other' was removed" in room.message
    room.settle()
    assert room.fake.pixel() == [0, 0, 0]
    assert room.channels == (room.image,)


def test_when_the_layer_of_the_user_leaves_objects_go_into_ours_again(room):
    mine = room.viewer.add_labels(labels_with(), name="mine")
    room.commit_into(mine)
    room.click(0, 10, 12)
    room.viewer.layers.remove(mine)
    assert room.work is not None
    assert "'committed_objects' again" in room.message
    room.commit()
    room.settle()
    assert room.viewer.layers["committed_objects"].data.any()


def test_our_layer_of_results_may_go_while_another_one_is_used(room):
    mine = room.viewer.add_labels(labels_with(), name="mine")
    room.commit_into(mine)
    room.viewer.layers.remove("committed_objects")
    room.click(0, 10, 12)
    room.commit()
    room.settle()
    assert mine.data.any()
    room.viewer.layers.remove(mine)
    assert room.work is None
    assert "'mine' was removed" in room.why_no_work


def test_a_layer_of_the_user_is_neither_bound_to_our_keys_nor_ever_removed(room):
    mine = room.viewer.add_labels(labels_with(), name="mine")
    room.commit_into(mine)
    assert not mine.keymap
    room.close()
    assert [layer.name for layer in room.viewer.layers] == ["stack", "mine"]


def test_layers_that_went_while_the_widget_was_closed_are_done_without(room):
    labels = room.viewer.add_labels(labels_with((3, 1, 2, 2)))
    room.read_layer(labels)
    room.click(2, 14, 20)
    room.close()
    room.viewer.layers.remove(labels)
    room.bench = room.workbench()
    room.settle()
    assert room.layers_read == ()
    assert room.prompts.object_ids == (1,)


def test_another_level_is_read_as_long_as_nothing_was_done():
    room = Room(pyramid(64, 32, 16), multiscale=True)
    room.use_level(2)
    assert room.current().shape == (2, 16, 16)
    assert [layer.name for layer in room.viewer.layers].count("point_prompts") == 1
    room.click(0, 30, 30)
    room.use_level(1)
    assert room.level == 2
    assert "layers of another size" in room.message
    room.close()
