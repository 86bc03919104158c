import gc
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_sam2.errors import OptionError
from napari_sam2.layers.grid import grid_of
from napari_sam2.layers.label_edits import write_frame
from napari_sam2.layers.label_layers import new_labels_layer, object_colour, set_features, widen
from napari_sam2.layers.places import is_aligned
from napari_sam2.results import ObjectScore, feature_table, score_table

STACK = np.zeros((3, 8, 12), np.uint16)


# New layers


@settings(max_examples=25, deadline=None)
@given(
    scale=st.tuples(*[st.floats(0.1, 9)] * 3),
    translate=st.tuples(*[st.floats(-90, 90)] * 3),
    rotate=st.floats(-180, 180),
    shear=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    order=st.permutations(range(3)),
    level=st.sampled_from([0, 1]),
)
def test_a_new_layer_lies_on_its_image_pixel_by_pixel(scale, translate, rotate, shear, order, level):
    affine = np.array([(1, 0, 0, 4), (0, 0.6, -0.8, 3), (0, 0.8, 0.6, -7), (0, 0, 0, 1)])
    placed = {"scale": scale, "translate": translate, "rotate": rotate, "shear": shear, "affine": affine}
    image = Image([np.zeros((6, 16, 30)), np.zeros((3, 8, 12))], multiscale=True, **placed)
    grid = grid_of(image, order, level=level)
    labels = new_labels_layer(image, grid, name="current_object")
    assert labels.data.shape == grid.shape
    assert is_aligned(labels, grid.shape, image, grid)
    # Pixels at their far corner as well as centres.
    far = np.array(grid.shape) - 0.5
    in_image = (far + 0.5) * grid.downsampling - 0.5
    np.testing.assert_allclose(labels.data_to_world(far), image.data_to_world(in_image), atol=1e-6)


def test_a_new_layer_takes_over_name_units_and_axis_labels():
    image = Image(STACK, units=("s", "um", "um"), axis_labels=("t", "y", "x"), scale=(1, 0.5, 0.5))
    labels = new_labels_layer(image, name="current_object")
    assert labels.name == "current_object"
    assert labels.units == image.units
    assert labels.axis_labels == ("t", "y", "x")
    assert labels.data.dtype == np.uint16
    assert isinstance(labels.data, np.ndarray)
    assert not labels.data.any()


def test_a_new_layer_has_no_colour_axis():
    image = Image(np.zeros((3, 8, 12, 3), np.uint8), rgb=True)
    assert new_labels_layer(image, name="labels").data.shape == (3, 8, 12)


def test_a_new_layer_and_its_image_show_the_same_in_a_viewer():
    viewer = ViewerModel()
    image = viewer.add_image(STACK, scale=(2, 0.5, 0.5), translate=(1, 2, 3), rotate=30)
    labels = viewer.add_layer(new_labels_layer(image, name="labels"))
    np.testing.assert_allclose(labels.extent.world, image.extent.world)


@pytest.fixture
def small_memory(monkeypatch):
    """Labels of more than a hundred bytes go to disk."""
    monkeypatch.setattr("napari_sam2.layers.label_layers.MAX_BYTES_IN_MEMORY", 100)


def test_large_labels_are_kept_on_disk_a_chunk_per_frame_until_nobody_needs_them(small_memory):
    image = Image(STACK)
    labels = new_labels_layer(image, name="labels")
    array = labels.data
    assert isinstance(array, zarr.Array)
    assert (array.shape, array.chunks, array.dtype) == (STACK.shape, (1, 8, 12), np.uint16)
    patch = write_frame(labels, grid_of(image), 1, np.full((8, 12), 3))
    assert np.asarray(labels.data[1]).sum() == 3 * 96
    patch.undo()
    assert not np.asarray(labels.data[1]).any()
    folder = Path(array.store.root).parent
    assert folder.exists()
    del array, labels, patch
    gc.collect()
    assert not folder.exists()


def test_frames_of_a_rolled_stack_are_chunks_on_disk(small_memory):
    image = Image(STACK)
    labels = new_labels_layer(image, grid_of(image, (2, 0, 1)), name="labels")
    assert labels.data.chunks == (3, 8, 1)


def test_without_zarr_large_labels_are_refused_with_a_cure(monkeypatch, small_memory):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(OptionError, match="Install zarr to keep them on disk: pip install"):
        new_labels_layer(Image(STACK), name="labels")


# Features


def score(object_id, frame, confidence):
    return ObjectScore(object_id, frame, 0.9, 0.9, 0.9, 3.0, confidence, 40, 40)


TABLE = feature_table(score_table([score(2, 0, 0.9), score(2, 1, 0.5), score(5, 0, 0.8)]))


@pytest.fixture
def labels():
    labels = Labels(np.array([[0, 2, 5, 7]] * 4))
    set_features(labels, TABLE, {2: "nucleus", 7: "new"})
    return labels


def hover(labels, x):
    return labels.get_status((1, x), world=True)["value"]


def test_hovering_over_an_object_tells_its_name_and_scores(labels):
    assert hover(labels, 1) == (
        "2; name: nucleus, n_frames: 2, mean_area_in_labels_px: 40, mean_confidence: 0.7, worst_confidence: 0.5, "
        "worst_frame: 1, mean_area_px: 40"
    )


def test_hovering_over_an_object_without_a_name_or_scores_leaves_them_out(labels):
    assert "name" not in hover(labels, 2)
    assert hover(labels, 3) == "7; name: new"


def test_hovering_over_the_background_says_nothing(labels):
    assert hover(labels, 0) == "0"


def test_the_features_have_one_row_per_object_and_one_for_the_background(labels):
    assert labels.features["index"].tolist() == [0, 2, 5, 7]
    assert labels.features.columns.tolist()[:2] == ["index", "name"]


def test_features_can_be_set_again_and_be_empty(labels):
    set_features(labels, feature_table(score_table([])))
    assert labels.features["index"].tolist() == [0]
    assert hover(labels, 1) == "2; [No Properties]"
    set_features(labels, TABLE)
    assert "n_frames: 2" in hover(labels, 1)


# Colours


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int64])
def test_an_object_has_the_colour_in_which_its_labels_are_shown(dtype):
    labels = Labels(np.array([[0, 3]], dtype))
    np.testing.assert_allclose(object_colour(labels, 3), labels.get_color(3), atol=1e-6)
    assert object_colour(labels, 3) != object_colour(labels, 4)


def test_an_object_keeps_its_colour_while_only_another_is_shown():
    labels = Labels(np.array([[0, 3]]))
    colour = object_colour(labels, 3)
    labels.selected_label = 4
    labels.show_selected_label = True
    assert object_colour(labels, 3) == colour
    assert labels.colormap.use_selection


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_colours_chosen_by_the_user_count(dtype):
    labels = Labels(np.array([[0, 3]], dtype))
    labels.colormap = DirectLabelColormap(color_dict={None: "blue", 0: "transparent", 3: "red"})
    assert object_colour(labels, 3) == (1, 0, 0, 1)
    assert object_colour(labels, 4) == (0, 0, 1, 1)


def test_the_first_colours_are_bright_and_different():
    labels = new_labels_layer(Image(np.zeros((4, 5), np.uint8)), name="labels")
    colours = np.array([object_colour(labels, object_id)[:3] for object_id in range(1, 25)])
    assert (colours.max(1) > 0.99).all()
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 9 * np.eye(24)
    assert apart.min() > 0.05
    assert np.linalg.norm(np.diff(colours, axis=0), axis=1).min() > 0.4


@pytest.mark.parametrize(
    ("dtype", "object_id", "expected"),
    [
        ("uint16", 65535, "uint16"),
        ("uint16", 65536, "uint32"),
        ("uint8", 256, "uint16"),
        ("int8", 128, "int64"),
        ("int32", 2**31, "int64"),
    ],
)
@pytest.mark.parametrize("max_bytes", [2**30, 0], ids=["in memory", "on disk"])
def test_a_layer_is_widened_as_far_as_a_number_needs_and_keeps_its_labels(
    monkeypatch, dtype, object_id, expected, max_bytes
):
    data = np.zeros((3, 4, 5), dtype)
    data[1, 2, 3] = 7
    layer = Labels(data.copy())
    monkeypatch.setattr("napari_sam2.layers.label_layers.MAX_BYTES_IN_MEMORY", max_bytes)
    is_wider = widen(layer, grid_of(Image(data)), object_id)
    assert is_wider == (dtype != expected)
    assert layer.data.dtype == expected
    np.testing.assert_array_equal(np.asarray(layer.data), data)


def test_a_number_that_no_type_holds_is_refused():
    with pytest.raises(OptionError, match="no type of labels that holds object 9223372036854775808"):
        widen(Labels(np.zeros((4, 5), int)), grid_of(Image(np.zeros((4, 5)))), 2**63)
