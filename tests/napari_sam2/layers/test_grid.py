import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points

from napari_sam2.errors import FrameError, OptionError
from napari_sam2.layers.grid import grid_of
from napari_sam2.layers.images import frames_of, frames_of_channels
from napari_sam2.layers.places import frame_at, in_frames, is_aligned

SHAPE = (3, 4, 5)
STACK = np.arange(60, dtype=np.uint16).reshape(SHAPE)
LIMITS = (0, 59)

SIZES = st.floats(0.05, 20)
PLACES = st.floats(-500, 500)


@st.composite
def placements(draw, ndim):
    """Where a layer lies in the world."""
    return {
        "scale": draw(st.lists(SIZES, min_size=ndim, max_size=ndim)),
        "translate": draw(st.lists(PLACES, min_size=ndim, max_size=ndim)),
        "rotate": draw(st.floats(-180, 180)),
        "shear": draw(st.lists(st.floats(-0.5, 0.5), min_size=ndim * (ndim - 1) // 2, max_size=ndim * (ndim - 1) // 2)),
    }


def grey(stack):
    """What the toy stack looks like under its limits, one colour."""
    return np.rint(stack / 59 * 255).astype(np.uint8)


def read(frames):
    return np.stack(list(frames))[..., 0]


@pytest.mark.parametrize(
    ("order", "axes"),
    [
        (None, (0, 1, 2)),
        ((0, 1, 2), (0, 1, 2)),
        ((2, 0, 1), (2, 0, 1)),
        ((1, 2, 0), (1, 2, 0)),
        ((0, 2, 1), (0, 2, 1)),
        ((0, 1, 2, 3), (0, 1, 2)),
        ((3, 0, 1, 2), (2, 0, 1)),
        ((1, 0), (0, 2, 1)),
    ],
)
def test_a_stack_is_read_in_the_order_in_which_it_is_shown(order, axes):
    image = Image(STACK, contrast_limits=LIMITS)
    grid = grid_of(image, order)
    assert grid.axes == axes
    assert (grid.num_frames, grid.height, grid.width) == tuple(SHAPE[axis] for axis in axes)
    frames = frames_of(image, grid)
    assert len(frames) == grid.num_frames
    np.testing.assert_array_equal(read(frames), grey(STACK.transpose(axes)))


def test_rolling_the_axes_of_a_viewer_rolls_the_frames():
    viewer = ViewerModel()
    image = viewer.add_image(STACK)
    viewer.dims.roll()
    grid = grid_of(image, viewer.dims.order)
    shown = [axis for axis in viewer.dims.order if axis in viewer.dims.displayed]
    assert [grid.row_axis, grid.column_axis] == shown


@pytest.mark.parametrize(("order", "expected"), [((0, 1), STACK[0]), ((1, 0), STACK[0].T), ((2, 0, 1), STACK[0].T)])
def test_a_single_image_is_one_frame(order, expected):
    image = Image(STACK[0], contrast_limits=LIMITS)
    frames = frames_of(image, grid_of(image, order))
    assert len(frames) == 1
    np.testing.assert_array_equal(read(frames)[0], grey(expected))


@pytest.mark.parametrize(
    ("rgb", "order"), [(3, (0, 1, 2)), (3, (2, 0, 1)), (4, (0, 2, 1))], ids=["as it is", "rolled", "alpha, transposed"]
)
def test_8_bit_colours_pass_unchanged_in_every_order(rgb, order):
    colours = np.random.default_rng(0).integers(0, 256, (*SHAPE, rgb), np.uint8)
    image = Image(colours, rgb=True)
    frames = frames_of(image, grid_of(image, order))
    assert frames.contrast_limits is None
    np.testing.assert_array_equal(np.stack(list(frames)), colours[..., :3].transpose(*order, 3))


def test_other_colours_are_mapped_by_the_limits_of_the_layer():
    colours = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    image = Image(colours, rgb=True, contrast_limits=(0, 1))
    frames = frames_of(image, grid_of(image))
    assert frames.contrast_limits == (0, 1)
    np.testing.assert_array_equal(frames[0], np.rint(colours.astype(float) * 255))


def test_later_changes_of_the_contrast_limits_do_not_reach_the_frames():
    image = Image(STACK, contrast_limits=(0, 100))
    frames = frames_of(image, grid_of(image))
    image.contrast_limits = (20, 30)
    assert frames.contrast_limits == (0, 100)


def test_limits_given_by_the_caller_are_used_in_place_of_those_of_the_layer():
    image = Image(STACK, contrast_limits=(0, 100))
    assert frames_of(image, grid_of(image), contrast_limits=(1.0, 2.0)).contrast_limits == (1, 2)


def test_a_frame_is_read_without_touching_the_others():
    read_blocks = []

    def block(block_info):
        read_blocks.append(block_info[None]["chunk-location"][0])
        return np.zeros((1, 4, 5), np.uint16)

    lazy = da.map_blocks(block, chunks=((1,) * 3, (4,), (5,)), dtype=np.uint16, meta=np.empty((0, 0, 0), np.uint16))
    image = Image(lazy, contrast_limits=LIMITS)
    frames = frames_of(image, grid_of(image))
    assert set(read_blocks) <= {0, 1}  # napari itself looks at the middle of a stack
    read_blocks.clear()
    frames[2]
    assert set(read_blocks) == {2}


def test_a_zarr_array_is_read_in_rolled_order():
    image = Image(zarr.array(STACK, chunks=(1, 4, 5)), contrast_limits=LIMITS)
    np.testing.assert_array_equal(read(frames_of(image, grid_of(image, (2, 1, 0)))), grey(STACK.T))


def test_a_level_of_a_multiscale_image_is_read_as_it_is():
    pyramid = [np.zeros((3, 8, 10), np.uint16), STACK]
    image = Image(pyramid, multiscale=True, contrast_limits=LIMITS)
    grid = grid_of(image, level=1)
    assert grid.shape == SHAPE
    assert grid.downsampling == (1, 2, 2)
    np.testing.assert_array_equal(read(frames_of(image, grid)), grey(STACK))


def test_pixel_centres_of_a_coarse_level_lie_between_those_of_the_fine_one():
    image = Image([np.zeros((3, 8, 10)), np.zeros((3, 4, 5))], multiscale=True)
    grid = grid_of(image, level=1)
    np.testing.assert_allclose(grid.to_frames([(1, 0.5, 2.5), (2, -0.5, 9.5)]), [(1, 0, 1), (2, -0.5, 4.5)])
    np.testing.assert_allclose(grid.to_data([(1, 0, 1), (2, -0.5, 4.5)]), [(1, 0.5, 2.5), (2, -0.5, 9.5)])


@pytest.mark.parametrize("level", [-1, 2])
def test_a_level_that_does_not_exist_is_refused(level):
    image = Image([np.zeros((8, 10)), np.zeros((4, 5))], multiscale=True, name="tiles")
    with pytest.raises(OptionError, match=f"'tiles' has no level {level}. Use 0 to 1"):
        grid_of(image, level=level)


def test_an_image_with_two_axes_of_frames_is_refused_with_a_cure():
    with pytest.raises(FrameError, match=r"'plate' of shape \(2, 3, 4, 5\).*2 along axis 0 and 3 along axis 1.*Split"):
        grid_of(Image(np.zeros((2, 3, 4, 5)), name="plate"))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1, 3, 4, 5), (1, 2, 3)),
        ((3, 1, 4, 5), (0, 2, 3)),
        ((1, 1, 3, 4, 5), (2, 3, 4)),
        ((1, 3, 1, 4, 5), (1, 3, 4)),
        ((1, 1, 4, 5), (0, 2, 3)),
        ((1, 4, 5), (0, 1, 2)),
    ],
)
def test_axes_of_length_one_are_no_frames_wherever_they_are(shape, axes):
    data = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    image = Image(data, contrast_limits=LIMITS)
    grid = grid_of(image)
    assert grid.axes == axes
    assert grid.plain_shape == tuple(shape[axis] for axis in axes)
    np.testing.assert_array_equal(read(frames_of(image, grid)), grey(data.reshape(grid.plain_shape)))


def test_a_coloured_stack_of_five_axes_and_its_channels_are_read():
    colours = np.random.default_rng(0).integers(0, 256, (1, *SHAPE, 3), np.uint8)
    image = Image(colours, rgb=True)
    np.testing.assert_array_equal(np.stack(list(frames_of(image, grid_of(image)))), colours[0])
    channels = [Image(np.full((3, 1, 4, 5), value, np.uint8), contrast_limits=(0, 255)) for value in (10, 20, 30)]
    frames = frames_of_channels(channels, grid_of(channels[0]))
    assert frames[2][1, 1].tolist() == [10, 20, 30]


def test_all_levels_of_a_pyramid_with_axes_of_length_one_are_read():
    image = Image([np.zeros((1, 3, 1, 8, 10)), np.zeros((1, 3, 1, 4, 5))], multiscale=True)
    grid = grid_of(image, level=1)
    assert (grid.num_frames, grid.height, grid.width) == (3, 4, 5)
    np.testing.assert_allclose(grid.to_data([(2, 0, 0)]), [(0, 2, 0, 0.5, 0.5)])


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from([1, 1, 2, 3]), min_size=2, max_size=5),
    st.data(),
)
def test_every_shape_is_read_or_refused_with_a_sentence_and_places_survive_the_way_there_and_back(shape, data):
    image = Image(np.zeros(shape, np.uint8), rgb=False)
    order = data.draw(st.permutations(range(len(shape))))
    if sum(shape[axis] > 1 for axis in order[:-2]) > 1:
        with pytest.raises(FrameError, match="Split Stack"):
            grid_of(image, order)
        return
    grid = grid_of(image, order)
    assert sorted((*grid.axes, *grid.spare_axes)) == list(range(len(shape)))
    assert np.prod(grid.plain_shape) == np.prod(shape)
    places = [(frame, 0.25, 0.5) for frame in range(grid.num_frames)]
    found = grid.to_data(places)
    assert grid.holds(found).all()
    np.testing.assert_allclose(grid.to_frames(found), places)
    assert len(frames_of(image, grid)) == grid.num_frames
    plane = np.asarray(image.data)[grid.key(0)]
    assert grid.oriented(plane).shape == (grid.height, grid.width)
    assert is_aligned(image, tuple(shape), image, grid)


def test_data_replaced_by_another_shape_is_noticed():
    image = Image(STACK, name="cells")
    grid = grid_of(image)
    image.data = STACK[:2]
    with pytest.raises(FrameError, match=r"'cells' has shape \(2, 4, 5\), and \(3, 4, 5\) is expected"):
        frames_of(image, grid)


def test_channels_become_red_green_and_blue_each_under_its_limits():
    channels = [Image(STACK + k, contrast_limits=(k, 59 + k)) for k in range(3)]
    grid = grid_of(channels[0], (2, 1, 0))
    frames = frames_of_channels(channels, grid)
    assert frames.contrast_limits == ((0, 59), (1, 60), (2, 61))
    for number in range(3):
        np.testing.assert_array_equal(np.stack(list(frames))[..., number], grey(STACK.T))
    assert not frames_of_channels(channels[:2], grid)[0][..., 2].any()


def test_channels_of_a_multiscale_image_are_read_at_its_level():
    channels = [Image([np.zeros((8, 10)), STACK[k]], multiscale=True, contrast_limits=LIMITS) for k in range(2)]
    frames = frames_of_channels(channels, grid_of(channels[0], level=1))
    np.testing.assert_array_equal(frames[0][..., 1], grey(STACK[1]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: Image(STACK[:2], name="b"), r"'b' has shape \(2, 4, 5\), and \(3, 4, 5\) is expected"),
        (lambda: Image(STACK, translate=(0, 1, 0), name="b"), "'b' does not lie on 'a' pixel by pixel"),
        (lambda: Image(np.zeros((*SHAPE, 3)), rgb=True, name="b"), "'b' does not lie on 'a' pixel by pixel"),
    ],
)
def test_channels_that_do_not_lie_on_each_other_are_refused(other, message):
    image = Image(STACK, name="a")
    with pytest.raises(FrameError, match=message):
        frames_of_channels([image, other()], grid_of(image))


def test_a_single_channel_is_refused():
    image = Image(STACK)
    with pytest.raises(FrameError, match="1 channels were given"):
        frames_of_channels([image], grid_of(image))


@settings(max_examples=40, deadline=None)
@given(here=placements(3), there=placements(3), order=st.permutations(range(3)), data=st.data())
def test_coordinates_of_another_layer_are_found_wherever_the_two_lie(here, there, order, data):
    image = Image(STACK, **here)
    points = Points(np.zeros((1, 3)), **there)
    grid = grid_of(image, order)
    wanted = np.array(data.draw(st.lists(st.tuples(*[st.floats(-5, 10)] * 3), min_size=1, max_size=3)))
    drawn = [points.world_to_data(image.data_to_world(at)) for at in grid.to_data(wanted)]
    np.testing.assert_allclose(in_frames(drawn, points, image, grid), wanted, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(here=placements(2), order=st.permutations(range(3)), factors=st.tuples(*[st.floats(1, 5)] * 3))
def test_frames_and_data_coordinates_of_a_grid_are_inverse(here, order, factors):
    shape = tuple(int(np.ceil(length * factor)) for length, factor in zip(SHAPE, factors, strict=True))
    image = Image([np.zeros(shape, np.uint8), STACK], multiscale=True)
    grid = grid_of(image, order, level=1)
    points = np.array([(0, 0, 0), (1, 2.5, -3), (here["rotate"], 7, 1e4)])
    np.testing.assert_allclose(grid.to_frames(grid.to_data(points)), points, atol=1e-6)


def test_an_affine_of_the_image_counts():
    affine = np.array([(1, 0, 0, 5), (0, 0, 2, 0), (0, -2, 0, 0), (0, 0, 0, 1)], float)
    image = Image(STACK, affine=affine)
    points = Points(np.array([(6.0, 4, -6)]))
    np.testing.assert_allclose(in_frames(points.data, points, image, grid_of(image)), [(1, 3, 2)])


def test_layers_in_different_units_of_length_are_converted():
    image = Image(STACK, scale=(1, 0.5, 0.5), units=("s", "um", "um"))
    points = Points(np.zeros((1, 3)), units=("s", "nm", "nm"))
    np.testing.assert_allclose(in_frames([(2, 1000, 1500)], points, image, grid_of(image)), [(2, 2, 3)])


def test_units_that_have_nothing_in_common_are_passed_over_as_in_napari():
    image = Image(STACK, units=("s", "um", "um"))
    points = Points(np.zeros((1, 3)))
    np.testing.assert_allclose(in_frames([(2, 1, 3)], points, image, grid_of(image)), [(2, 1, 3)])


def test_a_layer_with_fewer_axes_stands_on_the_current_frame():
    image = Image(STACK, scale=(10, 2, 2), translate=(7, 0, 4))
    points = Points(np.array([(2.0, 6.0)]))
    found = in_frames(points.data, points, image, grid_of(image), current_frame=2)
    np.testing.assert_allclose(found, [(2, 1, 1)])


def test_a_layer_with_fewer_axes_is_refused_when_the_stack_is_rolled():
    image, points = Image(STACK, name="cells"), Points(np.zeros((1, 2)), name="clicks")
    with pytest.raises(FrameError, match="'clicks' has 2 axes, and image 'cells' is shown in another order of its 3"):
        in_frames(points.data, points, image, grid_of(image, (2, 0, 1)))


def test_a_layer_with_more_axes_loses_the_first():
    image, points = Image(STACK[0]), Points(np.array([(2.0, 1, 3)]))
    np.testing.assert_allclose(in_frames(points.data, points, image, grid_of(image)), [(0, 1, 3)])


def test_no_coordinates_give_none():
    image, points = Image(STACK), Points(ndim=3)
    assert in_frames(points.data, points, image, grid_of(image)).shape == (0, 3)


@pytest.mark.parametrize(
    ("order", "step", "frame"), [((0, 1, 2), (2, 0, 0), 2), ((1, 0, 2), (0, 3, 0), 3), ((2, 0, 1), (1, 1, 4), 4)]
)
def test_the_frame_that_a_viewer_shows_is_found(order, step, frame):
    viewer = ViewerModel()
    image = viewer.add_image(STACK, scale=(3, 0.5, 0.5), translate=(10, 5, 2))
    viewer.dims.order = order
    viewer.dims.current_step = step
    assert frame_at(image, grid_of(image, order), viewer.dims.point) == frame


def test_the_nearest_frame_is_taken_beyond_the_ends_of_the_stack():
    image = Image(STACK)
    assert [frame_at(image, grid_of(image), (z, 0, 0)) for z in (-4, 1.4, 1.6, 9)] == [0, 1, 2, 2]


def test_a_point_of_a_viewer_in_finer_units_is_converted():
    image = Image(STACK, units=("um", "um", "um"))
    units = Image(STACK, units=("nm", "nm", "nm")).units
    assert frame_at(image, grid_of(image), (2000, 0, 0), units) == 2


@pytest.mark.parametrize(
    ("placed", "aligned"),
    [
        ({}, True),
        ({"translate": (0, 0.01, 0)}, True),
        ({"translate": (0, 0.5, 0)}, False),
        ({"scale": (1, 1, 1.2)}, False),
        ({"rotate": 5}, False),
    ],
)
def test_layers_are_aligned_if_their_pixels_coincide(placed, aligned):
    image = Image(STACK)
    labels = Labels(np.zeros(SHAPE, int), **placed)
    for order in ((0, 1, 2), (2, 0, 1), (0, 2, 1)):
        assert is_aligned(labels, SHAPE, image, grid_of(image, order)) is aligned
