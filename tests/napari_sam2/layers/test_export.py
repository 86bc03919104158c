"""What is taken of a layer to be exported."""

import numpy as np
import pytest
import tifffile
from napari.layers import Labels

from napari_sam2.errors import FrameError
from napari_sam2.files.pixel_sizes import PixelSize
from napari_sam2.layers.export import labels_to_export

STACK = np.zeros((3, 8, 12), np.uint16)
STACK[0, 1:3, 1:3] = 1
STACK[:, 4:7, 5:9] = 2


@pytest.mark.parametrize(
    ("axis_labels", "units", "axes"),
    [
        (None, None, "TYX"),
        (("t", "y", "x"), None, "TYX"),
        (("Z", "Y", "X"), None, "ZYX"),
        (("depth", "y", "x"), ("s", "um", "um"), "ZYX"),
        (("Time", "y", "x"), ("um", "um", "um"), "TYX"),
        (("a", "b", "c"), ("um", "um", "um"), "ZYX"),
        (None, ("s", "um", "um"), "TYX"),
        (None, ("pixel", "um", "um"), "TYX"),
    ],
)
def test_the_first_axis_is_what_its_name_says_else_its_unit_else_time(axis_labels, units, axes):
    assert labels_to_export(Labels(STACK, axis_labels=axis_labels, units=units)).axes == axes


def test_a_single_image_has_rows_and_columns():
    assert labels_to_export(Labels(STACK[0], units=("um", "um"))).axes == "YX"


@pytest.mark.parametrize(
    ("scale", "units", "expected"),
    [
        ((2, 0.5, 0.25), ("min", "um", "um"), {"T": (120, "s"), "Y": (0.5, "µm"), "X": (0.25, "µm")}),
        ((1.5, 0.5, 250), ("um", "um", "nm"), {"Z": (1500, "nm"), "Y": (500, "nm"), "X": (250, "nm")}),
        ((1, 3, 2), ("pixel", "angstrom", "angstrom"), {"Y": (3e-4, "µm"), "X": (2e-4, "µm")}),
        ((1, -3, 2), ("s", "mm", "mm"), {"T": (1, "s"), "Y": (3, "mm"), "X": (2, "mm")}),
        ((2, 3, 4), ("pixel", "pixel", "pixel"), {}),
    ],
)
def test_the_pixel_size_has_one_unit_for_all_lengths_and_seconds(scale, units, expected):
    found = labels_to_export(Labels(STACK, scale=scale, units=units)).pixel_size
    assert {axis: spacing.unit for axis, spacing in found.items()} == {axis: one[1] for axis, one in expected.items()}
    assert {axis: spacing.size for axis, spacing in found.items()} == pytest.approx(
        {axis: one[0] for axis, one in expected.items()}
    )


def test_a_size_that_contradicts_the_axis_is_left_out():
    layer = Labels(STACK, axis_labels=("t", "y", "x"), units=("um", "um", "um"))
    assert set(labels_to_export(layer).pixel_size) == {"Y", "X"}


def test_a_layer_of_several_resolutions_is_written_at_the_finest():
    layer = Labels([STACK, STACK[:, ::2, ::2]], multiscale=True)
    np.testing.assert_array_equal(labels_to_export(layer).array, STACK)


def test_labels_with_two_axes_of_frames_are_refused():
    with pytest.raises(FrameError, match="has 4 axes, and labels are written with two or three that are longer"):
        labels_to_export(Labels(np.stack([STACK, STACK])))


@pytest.mark.parametrize("shape", [(1, *STACK.shape), (STACK.shape[0], 1, *STACK.shape[1:]), (1, 1, *STACK.shape)])
def test_axes_of_length_one_are_not_written(shape):
    units = ("pixel",) * (len(shape) - 3) + ("um",) * 3
    layer = Labels(STACK.reshape(shape), scale=(*(9,) * (len(shape) - 3), 3, 2, 1), units=units)
    export = labels_to_export(layer)
    assert export.axes == ("TYX" if shape[1] == 1 and len(shape) == 4 else "ZYX")
    assert export.pixel_size["X"] == PixelSize(1, "µm")
    np.testing.assert_array_equal(np.asarray(export.array), STACK)


@pytest.fixture
def fiji(tmp_path):
    """A z-stack as Fiji saves it."""
    path = tmp_path / "stack.tif"
    spacing = {"axes": "ZYX", "unit": "um", "spacing": 1.5}
    tifffile.imwrite(path, STACK.astype(np.uint16), imagej=True, resolution=(4, 4), metadata=spacing)
    return path


OF_FIJI = {"Z": (1.5, "µm"), "Y": (0.25, "µm"), "X": (0.25, "µm")}


@pytest.mark.parametrize(
    ("layer", "axes", "expected"),
    [
        ({}, "ZYX", OF_FIJI),
        ({"shape": (1, *STACK.shape)}, "ZYX", OF_FIJI),
        ({"scale": (1.5, 0.25, 0.25)}, "ZYX", OF_FIJI),
        ({"scale": (6, 1, 1)}, "ZYX", {}),
        ({"axis_labels": ("t", "y", "x")}, "TYX", {"Y": (0.25, "µm"), "X": (0.25, "µm")}),
        ({"units": ("s", "pixel", "pixel"), "scale": (2, 1, 1)}, "TYX", OF_FIJI | {"T": (2, "s")}),
        ({"units": ("um", "um", "um"), "scale": (3, 2, 2)}, "ZYX", {"Z": (3, "µm"), "Y": (2, "µm"), "X": (2, "µm")}),
    ],
    ids=["plain", "five axes", "the same scale", "a scale for the eye", "named", "a time", "its own"],
)
def test_what_a_layer_does_not_say_its_file_is_asked_for(fiji, layer, axes, expected):
    data = STACK.reshape(layer.pop("shape", STACK.shape))
    export = labels_to_export(Labels(data, **layer), path=fiji)
    assert export.axes == axes
    assert {letter: (one.size, one.unit) for letter, one in export.pixel_size.items()} == {
        letter: size for letter, size in expected.items() if letter in axes
    }
    assert export.remark == ""


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: tifffile.imwrite(path, STACK[:, :2])])
def test_a_file_that_is_not_what_it_was_leaves_what_the_layer_says(fiji, spoil):
    spoil(fiji)
    export = labels_to_export(Labels(STACK, units=("pixel", "um", "um")), path=fiji)
    assert export.axes == "TYX"
    assert set(export.pixel_size) == {"Y", "X"}
    assert "could not be asked" in export.remark
