import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels
from skimage.measure import regionprops

from napari_sam2.errors import FrameError
from napari_sam2.layers.grid import grid_of
from napari_sam2.layers.label_layers import new_labels_layer
from napari_sam2.layers.tracks import measure_positions, new_tracks_layer, track_table
from napari_sam2.results import ObjectScore, score_table

STACK = np.zeros((4, 8, 12), np.uint16)
STACK[0, 1:3, 1:4] = 1
STACK[1, 2:4, 1:4] = 1
STACK[3, 3:5, 2:5] = 1
STACK[2, 6, 8:10] = 300
IN_ORDER = (0, 1, 2)


def score(object_id, frame, confidence, area_px=6):
    return ObjectScore(object_id, frame, 0.9, 0.9, 0.9, 3.0, confidence, area_px, area_px)


SCORES = score_table([score(1, 0, 0.2), score(1, 1, 0.8), score(1, 2, 0.9, 0), score(300, 2, 1.0, 2)])


def table_of(labels=STACK, scores=SCORES, grid=None):
    grid = grid or grid_of(Image(np.zeros(labels.shape)))
    return track_table(measure_positions(labels, grid), scores)


def tracks_of(image, labels=STACK, order=IN_ORDER):
    grid = grid_of(image, order)
    return new_tracks_layer(image, grid, table_of(labels, grid=grid))


# Positions


def test_positions_are_the_centroids_of_the_labels_frame_by_frame():
    labels = np.random.default_rng(0).choice([0, 0, 3, 70000], (4, 8, 12))
    positions = [*measure_positions(labels, grid_of(Image(STACK)))]
    assert len(positions) == 4
    for frame, found in enumerate(positions):
        expected = regionprops(labels[frame])
        assert found[["object_id", "frame", "area_px"]].to_numpy().tolist() == [
            [region.label, frame, region.area] for region in expected
        ]
        np.testing.assert_allclose(found[["y", "x"]], [region.centroid for region in expected])


def test_positions_are_measured_in_the_rows_and_columns_that_are_shown():
    grid = grid_of(Image(STACK), (1, 2, 0))
    (one,) = [*measure_positions(STACK, grid)][6].itertuples(index=False)
    assert tuple(one) == (300, 6, 8.5, 2.0, 2)


def test_labels_in_zarr_are_read_one_frame_at_a_time():
    class Recorder:
        def __init__(self, array):
            self._array, self.shape, self.dtype = array, array.shape, array.dtype
            self.keys = []

        def __getitem__(self, key):
            self.keys.append(key)
            return self._array[key]

    array = Recorder(zarr.array(STACK, chunks=(1, 8, 12)))
    positions = measure_positions(array, grid_of(Image(STACK)))
    assert next(positions)["area_px"][0] == 6
    assert array.keys == [(0, slice(None), slice(None))]
    assert len([*positions]) == 3


def test_labels_of_another_shape_are_refused():
    with pytest.raises(FrameError, match=r"Labels have shape \(3, 8, 12\), and \(4, 8, 12\) is needed"):
        next(measure_positions(STACK[1:], grid_of(Image(STACK))))


# Tables


def test_the_table_has_a_row_per_object_and_frame_with_its_confidence():
    table = table_of()
    assert table.columns.tolist() == ["object_id", "frame", "y", "x", "area_px", "confidence"]
    assert table[["object_id", "frame", "area_px"]].to_numpy().tolist() == [
        [1, 0, 6],
        [1, 1, 6],
        [1, 3, 6],
        [300, 2, 2],
    ]
    np.testing.assert_array_equal(table["confidence"], [0.2, 0.8, np.nan, 1.0])


def test_the_table_of_empty_labels_is_empty_and_scores_are_not_needed():
    assert table_of(np.zeros_like(STACK)).empty
    assert table_of(scores=score_table([]))["confidence"].isna().all()


# Layers


def test_a_track_is_an_object_and_carries_confidence_and_area():
    tracks = tracks_of(Image(STACK))
    np.testing.assert_allclose(
        tracks.data, [(1, 0, 1.5, 2), (1, 1, 2.5, 2), (1, 3, 3.5, 3), (300, 2, 6, 8.5)], atol=1e-6
    )
    assert tracks.features["track_id"].tolist() == [1, 1, 1, 300]
    assert tracks.features["area_px"].tolist() == [6, 6, 6, 2]
    np.testing.assert_array_equal(tracks.features["confidence"], [0.2, 0.8, np.nan, 1.0])


def test_tracks_are_coloured_by_confidence_from_0_to_1_whatever_occurs():
    image = Image(STACK)
    tracks = tracks_of(image)
    assert tracks.color_by == "confidence"
    doubtful, sure, unknown, certain = tracks.track_colors
    assert doubtful[0] > doubtful[1]
    assert certain[1] > certain[0]
    assert unknown[3] == 1
    alone = new_tracks_layer(image, grid_of(image), table_of().iloc[[1]])
    np.testing.assert_allclose(alone.track_colors[0], sure)


def test_the_user_may_colour_tracks_by_another_feature():
    tracks = tracks_of(Image(STACK))
    for feature in ("area_px", "frame", "track_id", "confidence"):
        tracks.color_by = feature
        assert np.isfinite(tracks.track_colors).all()


@settings(max_examples=25, deadline=None)
@given(
    scale=st.tuples(*[st.floats(0.1, 9)] * 3),
    translate=st.tuples(*[st.floats(-90, 90)] * 3),
    rotate=st.floats(-180, 180),
    shear=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    order=st.sampled_from([IN_ORDER, (0, 2, 1)]),
    level=st.sampled_from([0, 1]),
)
def test_tracks_lie_on_the_image_pixel_by_pixel(scale, translate, rotate, shear, order, level):
    affine = np.array([(1, 0, 0, 4), (0, 0.6, -0.8, 3), (0, 0.8, 0.6, -7), (0, 0, 0, 1)])
    placed = {"scale": scale, "translate": translate, "rotate": rotate, "shear": shear, "affine": affine}
    image = Image([np.zeros((4, 16, 24)), np.zeros((4, 8, 12))], multiscale=True, **placed)
    grid = grid_of(image, order, level=level)
    labels = new_labels_layer(image, grid, name="labels")
    labels.data[3, 5, 2] = 9
    tracks = new_tracks_layer(image, grid, table_of(labels.data, grid=grid))
    np.testing.assert_allclose(
        tracks.data_to_world(tracks.data[0, 1:]), labels.data_to_world((3, 5, 2)), rtol=1e-6, atol=1e-6
    )


def test_tracks_take_over_units_and_axis_labels():
    image = Image(STACK, units=("s", "um", "um"), axis_labels=("t", "y", "x"))
    tracks = tracks_of(image)
    assert (tracks.units, tracks.axis_labels) == (image.units, ("t", "y", "x"))


def test_tracks_of_a_coloured_stack_have_three_axes():
    image = Image(np.zeros((4, 8, 12, 3), np.uint8), rgb=True)
    assert tracks_of(image).data.shape == (4, 4)


def test_objects_on_one_frame_only_can_be_shown():
    labels = np.zeros_like(STACK)
    labels[2, 3, 4] = 5
    viewer = ViewerModel()
    viewer.add_layer(tracks_of(viewer.add_image(STACK), labels))
    viewer.dims.set_point(0, 2)
    assert viewer.layers[-1].name == "tracks"
    np.testing.assert_array_equal(viewer.layers[-1].data, [(5, 2, 3, 4)])


def test_empty_labels_have_no_tracks():
    with pytest.raises(FrameError, match="There is no object to track"):
        tracks_of(Image(STACK), np.zeros_like(STACK))


def test_an_image_that_is_no_stack_has_no_tracks():
    image = Image(STACK[0])
    with pytest.raises(FrameError, match="is read as a single image"):
        new_tracks_layer(image, grid_of(image), table_of())


def test_frames_along_another_axis_than_the_first_have_no_tracks():
    with pytest.raises(FrameError, match="frames along its axis 1, and tracks run along the first"):
        tracks_of(Image(STACK), order=(1, 2, 0))


def test_painted_labels_can_be_tracked_as_they_are():
    labels = Labels(STACK.astype(np.int64))
    assert table_of(labels.data)["object_id"].unique().tolist() == [1, 300]


@pytest.mark.parametrize(
    ("shape", "ndim"), [((1, 3, 8, 12), 3), ((3, 1, 8, 12), 4), ((1, 1, 3, 8, 12), 3), ((1, 3, 1, 8, 12), 4)]
)
def test_tracks_lie_on_images_with_axes_of_length_one(shape, ndim):
    scale = np.arange(1, len(shape) + 1) / 2
    shear = np.arange(len(shape) * (len(shape) - 1) // 2) / 20
    image = Image(np.zeros(shape), scale=scale, translate=scale * 10, shear=shear)
    grid = grid_of(image)
    labels = np.zeros(shape, np.uint16)
    for frame in range(3):
        labels[grid.key(frame)][2, 5] = 4
    table = track_table(measure_positions(labels, grid), score_table(()))
    tracks = new_tracks_layer(image, grid, table)
    assert tracks.ndim == ndim
    for frame, place in enumerate(tracks.data[:, 1:]):
        expected = image.data_to_world(grid.to_data([(frame, 2, 5)])[0])[-ndim:]
        np.testing.assert_allclose(tracks.data_to_world(place), expected, atol=1e-6)


def test_more_axes_than_tracks_can_have_are_refused():
    image = Image(np.zeros((3, 1, 1, 8, 12)))
    with pytest.raises(FrameError, match="has 5 axes from that of its frames on, and tracks have 4 at most"):
        new_tracks_layer(image, grid_of(image), table_of(np.zeros((3, 8, 12), np.uint8)))
