import logging

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_sam2.errors import FrameError, OptionError
from napari_sam2.frames import FrameStack, single_frame

RAMP = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)


class StrictArray:
    """An array that allows what `ArrayLike` promises and nothing else; it counts what is read."""

    def __init__(self, array, frame_axis=0):
        self._array, self._frame_axis = array, frame_axis
        self.shape, self.dtype = array.shape, array.dtype
        self.frames_read = []

    def __getitem__(self, key):
        for axis, index in enumerate(key):
            assert isinstance(index, int) if axis == self._frame_axis else index == slice(None)
        self.frames_read.append(key[self._frame_axis])
        return self._array[key]


def test_a_grey_stack_is_read_as_rgb_frames_under_one_mapping():
    stack = FrameStack(RAMP, contrast_limits=(0, 23))
    assert (len(stack), stack.height, stack.width) == (2, 3, 4)
    assert stack.contrast_limits == (0.0, 23.0)
    frame = stack[1]
    assert (frame.shape, frame.dtype, frame.flags.c_contiguous) == ((3, 4, 3), np.uint8, True)
    np.testing.assert_array_equal(frame, np.rint(RAMP[1] / 23 * 255).astype(np.uint8)[..., None].repeat(3, -1))
    assert len(list(stack)) == 2


def test_values_beyond_the_limits_saturate():
    image = np.array([[-5.0, 10.0, 15.0, 20.0, 99.0, np.nan, -np.inf, np.inf]])
    assert single_frame(image, contrast_limits=(10, 20))[0][0, :, 0].tolist() == [0, 0, 128, 255, 255, 0, 0, 255]


def test_default_limits_are_percentiles_of_the_finite_values():
    image = np.arange(1001, dtype=np.float32).reshape(7, 143)
    assert single_frame(image).contrast_limits == (10.0, 998.0)
    image[0, :3] = np.nan, np.inf, -np.inf
    low, high = single_frame(image).contrast_limits
    assert 10 < low < 15
    assert high == 998.0


def test_only_frames_of_a_fixed_sample_are_read_for_the_limits():
    array = StrictArray(np.arange(100, dtype=np.uint8).reshape(100, 1, 1))
    FrameStack(array)
    assert len(array.frames_read) == 16
    assert array.frames_read[0] == 0
    assert array.frames_read[-1] == 99


def test_a_frame_is_read_alone():
    array = StrictArray(RAMP)
    FrameStack(array, contrast_limits=(0, 1))[1]
    assert array.frames_read == [1]


@pytest.mark.parametrize("lazy", [da.from_array, zarr.array])
def test_lazy_arrays_give_the_same_frames(lazy):
    expected, stack = FrameStack(RAMP), FrameStack(lazy(RAMP))
    assert stack.contrast_limits == expected.contrast_limits
    np.testing.assert_array_equal(list(stack), list(expected))


RGB = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize("rgb", [None, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_uint8_rgb_passes_unchanged_and_alpha_is_dropped(rgb, alpha):
    array = np.concatenate([RGB, RGB[..., :1]], axis=-1) if alpha else RGB
    stack = FrameStack(array, rgb=rgb)
    assert stack.contrast_limits is None
    np.testing.assert_array_equal(list(stack), RGB)
    np.testing.assert_array_equal(single_frame(array[0], rgb=rgb)[0], RGB[0])


def test_a_frame_belongs_to_the_caller():
    array = RGB.copy()
    FrameStack(array)[0][:] = 0
    np.testing.assert_array_equal(array, RGB)


def test_rgb_of_other_types_shares_one_mapping():
    stack = FrameStack(RGB.astype(np.uint16) * 4, contrast_limits=(0, 1020))
    np.testing.assert_array_equal(list(stack), RGB)
    assert len(FrameStack(RGB.astype(float)).contrast_limits) == 2


def test_limits_given_for_uint8_rgb_are_applied():
    np.testing.assert_array_equal(FrameStack(RGB, contrast_limits=(0, 255))[0], RGB[0])
    assert FrameStack(RGB, contrast_limits=(254, 255))[0].max() in (0, 255)


def test_a_stack_that_is_three_pixels_wide_is_grey():
    assert FrameStack(RGB[..., 0, :]).width == 3
    assert single_frame(RGB[0, 0]).width == 3


@pytest.mark.parametrize("axis", [0, 1, 3, -1])
def test_channels_may_stand_on_any_axis_and_have_their_own_limits(axis):
    channels = np.moveaxis(np.stack([RAMP, RAMP * 10]), 0, axis)
    stack = FrameStack(channels, channel_axis=axis, contrast_limits=[(0, 23), (0, 230)])
    assert (len(stack), stack.height, stack.width) == (2, 3, 4)
    assert stack.contrast_limits == ((0.0, 23.0), (0.0, 230.0))
    red, green, blue = np.moveaxis(stack[1], -1, 0)
    np.testing.assert_array_equal(red, np.rint(RAMP[1] / 23 * 255))
    np.testing.assert_array_equal(green, red)
    assert not blue.any()
    assert stack[1].flags.c_contiguous


def test_only_the_frame_axis_is_indexed_when_channels_come_first():
    array = StrictArray(np.stack([RAMP, RAMP]), frame_axis=1)
    assert FrameStack(array, channel_axis=0)[0].shape == (3, 4, 3)


def test_one_channel_is_grey_and_three_are_rgb():
    grey = FrameStack(RAMP[..., None], channel_axis=-1)
    np.testing.assert_array_equal(list(grey), list(FrameStack(RAMP)))
    assert grey.contrast_limits == FrameStack(RAMP).contrast_limits
    three = single_frame(np.stack([RAMP[0], RAMP[0], RAMP[0]]), channel_axis=0, contrast_limits=(0, 11))
    assert three.contrast_limits == ((0.0, 11.0),) * 3
    assert three[0][-1, -1].tolist() == [255, 255, 255]


def test_a_constant_image_is_black_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        stack = single_frame(np.full((3, 4), 7, np.int16))
    assert not stack[0].any()
    assert "Every value of the image is 7" in caplog.text
    low, high = stack.contrast_limits
    assert low == 7 < high


def test_a_few_bright_pixels_on_an_even_background_are_not_lost():
    image = np.zeros((100, 100), np.uint16)
    image[50, 50] = 9
    assert single_frame(image).contrast_limits == (0.0, 9.0)
    assert single_frame(image)[0][50, 50, 0] == 255


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.array([[False, True]]), [0, 255]),
        (np.array([[-128, 127]], np.int8), [0, 255]),
        (np.array([[-(2**63), 2**63 - 1]], np.int64), [0, 255]),
        (np.array([[0, 2**64 - 1]], np.uint64), [0, 255]),
        (np.array([[-65504, 0, 65504]], np.float16), [0, 128, 255]),
        (np.array([[-1.7e308, 0, 1.7e308]]), [0, 128, 255]),
        (np.array([[0, 5e-324]]), [0, 255]),
        (np.array([[0, 1]], ">u2"), [0, 255]),
        (np.array([[0, 1]], np.longdouble), [0, 255]),
    ],
)
def test_every_kind_of_intensity_reaches_from_black_to_white(image, expected):
    assert single_frame(image)[0][0, :, 0].tolist() == expected


@given(arrays.arrays(arrays.floating_dtypes() | arrays.integer_dtypes(), (2, 3, 2)))
def test_any_real_values_give_frames_or_a_frame_error(array):
    if not np.isfinite(array).any():
        with pytest.raises(FrameError):
            FrameStack(array)
        return
    stack = FrameStack(array)
    for frame, values in zip(stack, array, strict=True):
        order = np.argsort(values[np.isfinite(values)], kind="stable")
        assert (np.diff(frame[..., 0][np.isfinite(values)][order].astype(int)) >= 0).all()


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_the_limits_themselves_become_black_and_white(a, b):
    low, high = sorted((a, b))
    if low < high:
        assert single_frame(np.array([[low, high]]), contrast_limits=(low, high))[0][0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 1, 1), (1, 1, 1), (2, 1, 7), (2, 7, 1)])
def test_small_stacks_are_read(shape):
    stack = FrameStack(np.arange(np.prod(shape)).reshape(shape))
    assert stack[len(stack) - 1].shape == (*shape[1:], 3)


@pytest.mark.parametrize("frame", [-1, 2, 10**12])
def test_a_frame_that_does_not_exist_is_refused(frame):
    with pytest.raises(FrameError, match=f"There is no frame {frame}: the stack has 2"):
        FrameStack(RAMP)[frame]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4), complex), "complex128, which is no intensity. Take its magnitude"),
        (np.array([["a"]]), "which is no intensity"),
        (np.array([[None]]), "object, which is no intensity"),
        (np.zeros((0, 4)), r"shape \(0, 4\) has no pixels"),
        (np.full((3, 4), np.nan), "Every value of the image is NaN or infinite"),
        (np.full((3, 4), np.inf), "Give contrast_limits, or replace these values"),
        (np.zeros(4), "and is needed as"),
        (np.array(3.0), "and is needed as"),
        (np.zeros((5, 3, 4, 8)), r"Pick one along the axis too many, for example image\[0\]"),
        ([[1, 2]], "of type list. Give an array"),
    ],
)
def test_an_image_that_cannot_be_used_is_refused_with_the_cure(array, message):
    with pytest.raises(FrameError, match=message):
        single_frame(array)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 4), {}, "One image needs no stack"),
        ((2, 5, 3, 4, 8), {}, r"for example stack\[0\]"),
        ((2, 5, 30, 40), {}, r"for example stack\[0\], or name the channels"),
        ((2, 5, 30, 3), {"rgb": False}, r"for example stack\[0\]"),
        ((2, 30, 3), {"rgb": True}, "besides the colours on axis 2"),
        ((30, 40, 5), {"channel_axis": 2}, "besides the colours on axis 2"),
    ],
)
def test_a_stack_with_other_axes_is_refused_with_the_cure(shape, options, message):
    with pytest.raises(FrameError, match=message):
        FrameStack(np.zeros(shape), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"contrast_limits": (5, 5), "channel_axis": 3},
            r"contrast_limits are \(5, 5\). Give two finite numbers, the lower first",
        ),
        ({"contrast_limits": (9, 5), "channel_axis": 3}, "the lower first"),
        ({"contrast_limits": (0, np.nan), "channel_axis": 3}, "two finite numbers"),
        ({"contrast_limits": (0, np.inf), "channel_axis": 3}, "two finite numbers"),
        ({"contrast_limits": (1, 2, 3), "channel_axis": 3}, "two finite numbers"),
        ({"contrast_limits": "bright", "channel_axis": 3}, "two finite numbers"),
        ({"contrast_limits": 5, "channel_axis": 3}, "two finite numbers"),
        ({"contrast_limits": [(0, 1), (0, 1), (0, 1)], "channel_axis": 3}, "or 2 such pairs, one per channel"),
        ({"channel_axis": 4}, "channel_axis is 4"),
        ({"channel_axis": -5}, "channel_axis is -5"),
        ({"channel_axis": 1.0}, "Use a whole number"),
        ({"channel_axis": 1}, "has 5 channels, and a frame shows up to three"),
        ({"channel_axis": 3, "rgb": True}, "Give one of the two"),
        ({"rgb": True}, "is not 3 or 4 long"),
    ],
)
def test_options_that_do_not_fit_the_array_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        FrameStack(np.zeros((6, 5, 7, 2)), **options)


@pytest.mark.parametrize(("max_side", "step"), [(100, 1), (7, 1), (6, 2), (3, 3), (1, 7)])
def test_a_preview_is_every_nth_pixel_of_the_frame(max_side, step):
    frames = FrameStack(np.arange(70, dtype=np.uint16).reshape(2, 5, 7), contrast_limits=(0, 69))
    np.testing.assert_array_equal(frames.preview(1, max_side), frames[1][::step, ::step])


@pytest.mark.parametrize(
    ("rows", "columns"), [(slice(1, 3), slice(0, 2)), (slice(2, 99), slice(None)), (slice(3), slice(3, 4))]
)
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 3, 4), {}),
        ((2, 3, 4, 3), {}),
        ((2, 2, 3, 4), {"channel_axis": 0, "contrast_limits": [(0, 20), (10, 30)]}),
        ((3, 3, 4, 2), {"channel_axis": 3, "contrast_limits": (5, 40)}),
    ],
)
def test_a_window_is_a_part_of_the_frame(shape, options, rows, columns):
    stack = FrameStack(np.arange(np.prod(shape), dtype=np.uint16).reshape(shape), **options)
    window = stack.window(1, rows, columns)
    np.testing.assert_array_equal(window, stack[1][rows, columns])
    assert window.flags.c_contiguous


@pytest.mark.parametrize("lazy", [da.from_array, zarr.array])
def test_a_window_of_a_lazy_array_is_the_same(lazy):
    window = FrameStack(lazy(RAMP)).window(1, slice(1, 3), slice(2, 4))
    np.testing.assert_array_equal(window, FrameStack(RAMP)[1][1:3, 2:4])


def test_no_more_than_the_window_is_read():
    class Read:
        shape, dtype = (5, 40_000, 40_000), np.dtype(np.uint16)

        def __getitem__(self, key):
            assert key == (3, slice(7, 9), slice(30_000, 30_004))
            return np.full((2, 4), 255, np.uint16)

    window = FrameStack(Read(), contrast_limits=(0, 510)).window(3, slice(7, 9), slice(30_000, 30_004))
    assert window.tolist() == [[[128] * 3] * 4] * 2


@pytest.mark.parametrize("rows", [slice(3, 9), slice(2, 2), slice(2, 1), slice(0, 3, 2)])
def test_a_window_without_pixels_is_refused(rows):
    with pytest.raises(FrameError, match=r"rows .* in 3"):
        FrameStack(RAMP).window(0, rows, slice(None))
    with pytest.raises(FrameError, match="no frame 2"):
        FrameStack(RAMP).window(2, slice(1), slice(1))


def test_a_frame_is_mapped_in_parts_as_at_once(monkeypatch):
    image = np.random.default_rng(0).normal(0, 9, (23, 40))
    expected = single_frame(image)[0]
    monkeypatch.setattr("napari_sam2.frames._VALUES_AT_ONCE", 200)
    np.testing.assert_array_equal(single_frame(image)[0], expected)
