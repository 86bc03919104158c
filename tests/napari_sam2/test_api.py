"""One call each, in front of a model that draws what it is told; a few of them in front of the real one."""

import logging

import numpy as np
import pandas as pd
import pytest

import napari_sam2
from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt, prompts_from_labels, propagate, segment
from napari_sam2.errors import FrameError, ModelError, OptionError, PromptError, SmallObjectWarning
from tests.napari_sam2.fake_predictor import FakePredictor, FakeTracker

CLICK = PointPrompt(1, 0, 2, 1)
IMAGE = np.arange(96, dtype=np.uint16).reshape(8, 12)
MOVIE = np.stack([IMAGE] * 4)
MASK = np.eye(8, 12, dtype=bool)


# Results -------------------------------------------------------------------------------------------------------------


def test_a_segmented_image_has_labels_scores_and_features(fake, toy_image, toy_labels):
    prompts = prompts_from_labels(toy_labels)
    result = segment(toy_image, prompts, model=fake)
    np.testing.assert_array_equal(result.labels, toy_labels)
    assert result.labels.dtype == np.uint16
    assert result.scores[["object_id", "frame", "confidence"]].to_numpy().tolist() == [[1, 0, 1], [2, 0, 1], [3, 0, 1]]
    assert result.features["index"].tolist() == [1, 2, 3]
    assert result.features["mean_area_px"].tolist() == [4, 5, 8]
    assert (result.model, result.model_sha256, result.image_size) == ("fake", "f" * 64, 256)
    assert result.contrast_limits == (100, 2003)
    assert fake.calls == [("segment", (1, 2, 3))]


def test_a_propagated_stack_has_labels_on_every_frame(fake, toy_movie, toy_labels):
    result = propagate(toy_movie, prompts_from_labels(toy_labels, frames=2), model=fake)
    np.testing.assert_array_equal(result.labels, np.stack([toy_labels] * len(toy_movie)))
    assert len(result.scores) == 3 * len(toy_movie)
    assert result.features["n_frames"].tolist() == [5, 5, 5]
    assert fake.calls[0] == ("open", 5)


def test_frames_outside_the_range_stay_background(fake, toy_movie, toy_labels):
    result = propagate(toy_movie, prompts_from_labels(toy_labels, frames=0), model=fake, start=2, stop=3)
    assert result.labels.any((1, 2)).tolist() == [False, False, True, True, False]
    assert sorted(result.scores["frame"].unique()) == [2, 3]


def test_directions_are_taken(fake, toy_movie, toy_labels):
    result = propagate(toy_movie, prompts_from_labels(toy_labels, frames=2), model=fake, direction="backward")
    assert result.labels.any((1, 2)).tolist() == [True, True, True, False, False]


def test_prompts_may_come_from_a_generator(fake):
    result = segment(IMAGE, (PointPrompt(i, 0, 2, 5) for i in (1, 2)), model=fake)
    assert result.features["index"].tolist() == [1, 2]


def test_the_limits_asked_for_are_the_limits_recorded(fake):
    assert segment(IMAGE, [CLICK], model=fake, contrast_limits=(3, 50)).contrast_limits == (3, 50)
    assert segment(np.zeros((8, 12, 3), np.uint8), [CLICK], model=fake).contrast_limits is None


def test_channels_and_colours_leave_labels_without_them(fake):
    two = np.stack([IMAGE, IMAGE + 1])
    assert segment(two, [CLICK], model=fake, channel_axis=0).labels.shape == (8, 12)
    assert segment(np.stack([IMAGE] * 3, -1), [CLICK], model=fake).labels.shape == (8, 12)
    assert propagate(np.stack([MOVIE] * 2, 1), [CLICK], model=fake, channel_axis=1).labels.shape == (4, 8, 12)
    assert propagate(np.stack([MOVIE] * 3, -1), [CLICK], model=fake, rgb=True).labels.shape == (4, 8, 12)


def test_public_names_are_there_and_no_others():
    for name in napari_sam2.__all__:
        assert getattr(napari_sam2, name) is not None
    assert set(dir(napari_sam2)) == set(napari_sam2.__all__)
    with pytest.raises(AttributeError, match="attribute segment_nothing"):
        napari_sam2.segment_nothing  # noqa: B018  looking it up is what fails


# Bad input -----------------------------------------------------------------------------------------------------------

BAD_PROMPTS = [
    (lambda: [], "There are no prompts. Give at least one"),
    (lambda: [PointPrompt(1, 0, float("nan"), 1)], "Point coordinate y is nan"),
    (lambda: [PointPrompt(1, 0, 1, float("inf"))], "Point coordinate x is inf"),
    (lambda: [PointPrompt(1, 0, 8, 1)], r"the point \(y 8, x 1\) lies outside the image of 8 x 12"),
    (lambda: [PointPrompt(1, 0, 1, -0.6)], "lies outside the image"),
    (lambda: [BoxPrompt(1, 0, 5, 1, 2, 4)], r"Box \(y 5 to 2\) is upside down"),
    (lambda: [BoxPrompt(1, 0, 1, 4, 5, 4)], "Box is empty: x_min and x_max are both 4"),
    (lambda: [BoxPrompt(1, 0, 20, 20, 30, 30)], "lies wholly outside"),
    (lambda: [MaskPrompt(1, 0, MASK.T)], r"the mask has shape \(12, 8\) and the image \(8, 12\)"),
    (lambda: [MaskPrompt(1, 0, MASK & False)], "is empty: no pixel is True"),
    (lambda: [MaskPrompt(1, 0, MASK.astype(int))], "Mask is of dtype int64. Make it boolean"),
    (lambda: [PointPrompt(1, 4, 1, 1)], "there is no frame 4"),
    (lambda: [PointPrompt(1, -1, 1, 1)], "Frame is -1"),
    (lambda: [PointPrompt(0, 0, 1, 1)], "Object id is 0. Use a whole number from 1"),
    (lambda: [PointPrompt(-3, 0, 1, 1)], "Object id is -3"),
    (lambda: [PointPrompt(2**32, 0, 1, 1)], "Object id 4294967296 does not fit a label image"),
    (lambda: [PointPrompt(1, 0, 1, 1, positive=False)], "Object 1 has only negative points"),
    (lambda: [CLICK, PointPrompt(2, 0, 1, 1, positive=False)], "Object 2 has only negative points"),
    (lambda: [BoxPrompt(1, 0, 1, 1, 5, 5), BoxPrompt(1, 0, 1, 1, 6, 6)], "Object 1 has 2 boxes on frame 0"),
    (lambda: [MaskPrompt(1, 0, MASK), MaskPrompt(1, 0, ~MASK)], "Object 1 has 2 masks on frame 0"),
    (lambda: [(1, 0, 2, 2)], "Item 0 of the prompts is of type tuple"),
    (lambda: CLICK, "this is a single PointPrompt"),
]


@pytest.mark.parametrize(("call", "data"), [(segment, IMAGE), (propagate, MOVIE)], ids=["segment", "propagate"])
@pytest.mark.parametrize(("prompts", "message"), BAD_PROMPTS, ids=[message for _, message in BAD_PROMPTS])
def test_bad_prompts_are_refused_before_the_model_is_asked(fake, call, data, prompts, message):
    with pytest.raises(PromptError, match=message):
        call(data, prompts(), model=fake)
    assert fake.calls == []


BAD_DATA = [
    pytest.param(np.zeros((0, 12)), FrameError, "no pixels", id="no pixels"),
    pytest.param(np.zeros((8, 12), complex), FrameError, "complex128, which is no intensity.*numpy.abs", id="complex"),
    pytest.param(np.full((8, 12), "a"), FrameError, "no intensity", id="text"),
    pytest.param(np.full((8, 12), np.nan), FrameError, "Every value of the image is NaN or infinite", id="all NaN"),
    pytest.param(np.zeros((2, 2, 2, 8, 12)), FrameError, r"has shape \(.*2, 2, 2, 8, 12\)", id="5-D"),
    pytest.param([[1, 2], [3, 4]], FrameError, "of type list. Give an array", id="a list"),
    pytest.param("image.tif", FrameError, "of type str. Give an array", id="a file name"),
]


@pytest.mark.parametrize("call", [segment, propagate])
@pytest.mark.parametrize(("data", "kind", "message"), BAD_DATA)
def test_bad_images_are_refused_before_the_model_is_asked(fake, call, data, kind, message):
    if call is propagate and isinstance(data, np.ndarray):
        data = data[np.newaxis]
    with pytest.raises(kind, match=message):
        call(data, [CLICK], model=fake)
    assert fake.calls == []


BAD_OPTIONS = [
    pytest.param({"contrast_limits": (5, 5)}, "contrast_limits are", id="equal limits"),
    pytest.param({"contrast_limits": (0, float("nan"))}, "contrast_limits are", id="NaN limits"),
    pytest.param({"contrast_limits": "high"}, "contrast_limits are 'high'", id="text limits"),
    pytest.param({"channel_axis": 7}, "channel_axis is 7", id="axis 7"),
    pytest.param({"channel_axis": "C"}, "channel_axis is 'C'", id="axis C"),
    pytest.param({"rgb": True}, "rgb is True, and the last axis", id="no colours"),
    pytest.param({"rgb": True, "channel_axis": 0}, "Give one of the two", id="colours twice"),
]


@pytest.mark.parametrize(("call", "data"), [(segment, IMAGE), (propagate, MOVIE)], ids=["segment", "propagate"])
@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_bad_options_are_refused_before_the_model_is_asked(fake, call, data, options, message):
    with pytest.raises(OptionError, match=message):
        call(data, [CLICK], model=fake, **options)
    assert fake.calls == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "sideways"}, "Direction 'sideways'"),
        ({"start": 4}, "start is 4, and the stack has frames 0 to 3"),
        ({"stop": -1}, "stop is -1"),
        ({"start": 2, "stop": 1}, "The range from 2 to 1 is empty"),
        ({"direction": "backward", "start": 1}, "No object can be followed backward into frames 1 to 3"),
    ],
)
def test_bad_ranges_are_refused_before_the_model_is_asked(fake, options, message):
    with pytest.raises(OptionError, match=message):
        propagate(MOVIE, [CLICK], model=fake, **options)
    assert fake.calls == []


@pytest.mark.parametrize(("call", "data"), [(segment, IMAGE), (propagate, MOVIE)], ids=["segment", "propagate"])
@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"model": "huge"}, ModelError, "'huge'"),
        ({"device": "abacus"}, ModelError, "'abacus' is not a device"),
        ({"image_size": 33}, OptionError, "Image size 33"),
    ],
)
def test_models_that_are_not_there_are_refused(call, data, options, kind, message):
    with pytest.raises(kind, match=message):
        call(data, [CLICK], **options)


def test_an_image_is_no_stack_and_a_stack_no_image(fake):
    with pytest.raises(FrameError, match="One image needs no stack: segment it"):
        propagate(IMAGE, [CLICK], model=fake)
    with pytest.raises(FrameError, match=r"Pick one along the axis too many"):
        segment(MOVIE, [CLICK], model=fake)
    assert fake.calls == []


# Odd input that is fine ----------------------------------------------------------------------------------------------

ODD = {
    "bool": IMAGE > 40,
    "signed": IMAGE.astype(np.int32) - 50,
    "constant": np.full((8, 12), 7, np.uint8),
    "some NaN": np.where(IMAGE > 50, np.nan, IMAGE),
    "some infinite": np.where(IMAGE > 80, np.inf, np.where(IMAGE < 5, -np.inf, IMAGE)),
    "a huge range": np.where(IMAGE > 40, 1e308, -1e308),
    "one pixel wide": IMAGE[:, :1],
    "one pixel high": IMAGE[2:3],
    "one pixel": IMAGE[:1, :1],
    "not contiguous": IMAGE[::-1, ::-1],
    "big-endian": IMAGE.astype(">u2"),
}


@pytest.mark.parametrize("call", [segment, propagate])
@pytest.mark.parametrize("image", ODD.values(), ids=ODD.keys())
def test_odd_images_are_handled(fake, call, image, caplog):
    caplog.set_level(logging.ERROR)
    data = image if call is segment else np.stack([image] * 2)
    result = call(data, [PointPrompt(1, 0, 0, 0)], model=fake)
    assert result.labels.shape == data.shape
    assert result.labels.any()


@pytest.mark.parametrize("name", ["one pixel wide", "one pixel", "some NaN"])
def test_odd_images_are_handled_by_the_real_model(nano, name):
    image = ODD[name]
    result = propagate(image[np.newaxis], [PointPrompt(1, 0, 0, 0)], model=nano)
    assert result.labels.shape == (1, *image.shape)
    assert len(result.scores) == 1


def test_a_stack_of_one_frame_is_followed_nowhere(fake):
    result = propagate(IMAGE[np.newaxis], [CLICK], model=fake)
    assert result.scores["frame"].tolist() == [0]
    assert fake.count("follow") == 1


class Watched:
    """An array that lists what is read of it."""

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.keys = []

    def __getitem__(self, key):
        self.keys.append(key)
        return self.array[key]


def lazy_stack(kind, array):
    if kind == "zarr":
        return pytest.importorskip("zarr").array(array, chunks=(1, *array.shape[1:]))
    if kind == "dask":
        return pytest.importorskip("dask.array").from_array(array, chunks=(1, *array.shape[1:]))
    return Watched(array)


@pytest.mark.parametrize("kind", ["any", "zarr", "dask"])
def test_lazy_stacks_give_what_arrays_give(kind, toy_movie, toy_labels):
    prompts = prompts_from_labels(toy_labels, frames=1)
    expected = propagate(toy_movie, prompts, model=FakePredictor())
    result = propagate(lazy_stack(kind, toy_movie), prompts, model=FakePredictor())
    np.testing.assert_array_equal(result.labels, expected.labels)
    assert result.contrast_limits == expected.contrast_limits


def test_stacks_are_read_one_frame_at_a_time(fake, toy_movie, toy_labels):
    lazy = Watched(toy_movie)
    propagate(lazy, prompts_from_labels(toy_labels, frames=0), model=fake, contrast_limits=(0, 3000))
    assert [key[0] for key in lazy.keys] == [0, 1, 2, 3, 4]
    assert all(isinstance(frame, int) for frame, *_ in lazy.keys)


# Small objects -------------------------------------------------------------------------------------------------------


def small_prompts(count):
    return [BoxPrompt(10 + i, 0, 1, 1, 1.5, 1.5) for i in range(count)] + [BoxPrompt(1, 0, 0, 0, 7, 11)]


@pytest.mark.parametrize(
    ("call", "data", "count", "named"),
    [
        (segment, IMAGE, 2, "Objects 10, 11: only a few pixels remain .* working size of 16 px"),
        (propagate, MOVIE, 2, "Objects 10, 11: only"),
        (segment, IMAGE, 12, "Objects 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 2 more: only"),
    ],
)
def test_small_objects_are_named_in_a_warning(call, data, count, named):
    with pytest.warns(SmallObjectWarning, match=named) as caught:
        call(data, small_prompts(count), model=FakePredictor(size=16))
    assert [warning.filename for warning in caught] == [__file__]


# A result depends on the data and the prompts alone ------------------------------------------------------------------

HIGH, LOW = PointPrompt(1, 1, 24, 70), BoxPrompt(2, 0, 38, 10, 62, 34)
SMALL = MaskPrompt(3, 2, np.pad(np.ones((8, 8), bool), ((10, 54), (10, 82))))


@pytest.fixture(scope="module")
def moving(cells):
    """Four frames on which the discs of `cells` move."""
    return np.stack([np.roll(cells, (frame, 2 * frame), (0, 1)) for frame in range(4)])


@pytest.fixture(scope="module")
def followed(nano, moving):
    return propagate(moving, [HIGH, LOW], model=nano)


def close(scores, expected):
    pd.testing.assert_frame_equal(scores.reset_index(drop=True), expected.reset_index(drop=True), atol=1e-3, rtol=1e-3)


def test_another_object_changes_nothing_for_the_others(nano, moving, followed):
    more = propagate(moving, [SMALL, HIGH, LOW], model=nano)
    close(more.scores[more.scores["object_id"] != 3], followed.scores)
    given = more.scores.query("object_id == 3 and frame == 2")
    assert given["confidence"].tolist() == [1.0]
    np.testing.assert_array_equal(more.labels[2] == 3, SMALL.mask)


def test_the_order_of_objects_changes_nothing(nano, moving, followed):
    again = propagate(moving, [LOW, HIGH], model=nano)
    close(again.scores, followed.scores)
    np.testing.assert_array_equal(again.labels, followed.labels)


@pytest.mark.parametrize(("start", "stop"), [(2, 3), (0, 0), (1, 2)])
def test_the_range_changes_nothing_within_it(nano, moving, followed, start, stop):
    part = propagate(moving, [HIGH, LOW], model=nano, start=start, stop=stop)
    close(part.scores, followed.scores[followed.scores["frame"].between(start, stop)])
    np.testing.assert_array_equal(part.labels[start : stop + 1], followed.labels[start : stop + 1])


def test_one_direction_gives_its_half_of_both(nano, moving, followed):
    back = propagate(moving, [HIGH], model=nano, direction="backward")
    close(back.scores, followed.scores.query("object_id == 1 and frame <= 1"))


def test_the_model_is_given_boxes_that_end_at_the_border_of_the_image(monkeypatch):
    fake, asked = FakePredictor(), []
    monkeypatch.setattr(FakePredictor, "segment", lambda self, image, prompts: asked.append(prompts) or ())
    answer = FakeTracker.prompt

    def prompt(self, frame, prompts):
        asked.append(prompts)
        return answer(self, frame, prompts)

    monkeypatch.setattr(FakeTracker, "prompt", prompt)
    box = BoxPrompt(1, 0, -30, 2, 4, 40)
    segment(IMAGE, [box], model=fake)
    propagate(MOVIE, [box], model=fake)
    assert asked == [{1: (BoxPrompt(1, 0, -0.5, 2, 4, 11.5),)}] * 2
