"""What an export measures: frames, units, and an image that may be out of reach."""

import numpy as np
import pytest

from napari_sam2.errors import ImageFileError
from napari_sam2.files.measurements import ImageToMeasure, Measurements
from napari_sam2.files.pixel_sizes import PixelSize
from napari_sam2.frames import FrameStack, single_frame

LABELS = np.zeros((3, 4, 6), np.uint16)
LABELS[0, :2, :2] = 3
LABELS[2, 1, 1:4] = 1
LABELS[2, 3, 5] = 3
VALUES = np.arange(LABELS.size, dtype=np.uint16).reshape(LABELS.shape)
UM = "\N{MICRO SIGN}m"


def measure(labels=LABELS, axes="TYX", pixel_size=None, image=None):
    """The table of all frames, as an export collects it."""
    collected = Measurements(labels, axes, pixel_size or {}, image)
    if collected.is_in_order:
        for frame, plane in enumerate(labels if labels.ndim == 3 else [labels]):
            collected.add(frame, plane)
    else:
        assert list(collected.add_all()) == list(range(collected.num_frames))
    return collected, collected.table()


def test_there_is_a_row_for_each_frame_on_which_an_object_has_a_pixel():
    _, table = measure()
    assert list(table) == ["object_id", "frame", "area_in_labels_px", "centroid_y_px", "centroid_x_px"]
    assert table.to_numpy().tolist() == [[1, 2, 3, 1, 2], [3, 0, 4, 0.5, 0.5], [3, 2, 1, 3, 5]]


def test_intensities_are_those_of_the_image_as_it_was_recorded():
    image = ImageToMeasure(FrameStack(VALUES, contrast_limits=(0, 1)))
    _, table = measure(image=image)
    assert table["intensity_sum"].tolist() == [VALUES[2, 1, 1:4].sum(), VALUES[0, :2, :2].sum(), VALUES[2, 3, 5]]
    assert table["intensity_mean"].tolist() == [VALUES[2, 1, 2], VALUES[0, :2, :2].mean(), VALUES[2, 3, 5]]


@pytest.mark.parametrize(
    ("axes", "pixel_size", "expected"),
    [
        ("TYX", {}, {}),
        (
            "TYX",
            {"T": PixelSize(120.0, "s"), "Y": PixelSize(0.5, UM), "X": PixelSize(0.25, UM)},
            {"area_um2": 0.375, "centroid_y_um": 0.5, "centroid_x_um": 0.5, "time_s": 240.0},
        ),
        ("ZYX", {"Z": PixelSize(2.0, "nm")}, {"z_nm": 4.0}),
        ("TYX", {"X": PixelSize(2.0, "mm")}, {"centroid_x_mm": 4.0}),
        (
            "TYX",
            {"Y": PixelSize(1.0, "mm"), "X": PixelSize(2.0, "nm")},
            {"centroid_y_mm": 1.0, "centroid_x_nm": 4.0},
        ),
    ],
    ids=["no sizes", "a time-lapse", "slices alone", "one axis alone", "units that differ have no area"],
)
def test_sizes_of_pixels_give_columns_in_their_units(axes, pixel_size, expected):
    _, table = measure(axes=axes, pixel_size=pixel_size)
    first = table.iloc[0, 5:].to_dict()
    assert first == pytest.approx(expected)


def test_means_are_those_over_the_frames_of_an_object():
    collected, table = measure(
        pixel_size={"T": PixelSize(120.0, "s")}, image=ImageToMeasure(FrameStack(VALUES, contrast_limits=(0, 1)))
    )
    means = collected.means(table)
    assert list(means) == [
        "mean_area_in_labels_px",
        "mean_centroid_y_px",
        "mean_centroid_x_px",
        "mean_intensity_mean",
        "mean_intensity_sum",
    ]
    assert means.loc[3, "mean_area_in_labels_px"] == 2.5
    assert means.loc[3, "mean_centroid_x_px"] == (0.5 + 5) / 2


def test_a_single_image_is_one_frame():
    _, table = measure(LABELS[0], "YX", {"Y": PixelSize(0.5, UM), "X": PixelSize(0.5, UM)})
    assert table[["object_id", "frame", "area_um2"]].to_numpy().tolist() == [[3, 0, 1.0]]


def test_a_stack_that_was_rolled_is_measured_along_the_frames_of_the_work():
    order = (1, 2, 0)
    frames = FrameStack(np.transpose(VALUES, order), contrast_limits=(0, 1))
    collected, table = measure(
        axes="ZYX",
        pixel_size={"Z": PixelSize(3.0, UM), "X": PixelSize(0.5, UM)},
        image=ImageToMeasure(frames, order=order),
    )
    assert not collected.is_in_order
    assert collected.num_frames == 4
    line = table[table["object_id"] == 1].iloc[0]
    assert (line["frame"], line["centroid_y_px"], line["centroid_x_px"]) == (1, 2, 2)  # along X, at Z 2
    assert line["area_um2"] == 3 * 1.5
    assert line["intensity_sum"] == VALUES[2, 1, 1:4].sum()
    _, turned = measure(
        LABELS[2], "YX", image=ImageToMeasure(single_frame(VALUES[2].T, contrast_limits=(0, 1)), order=(1, 0))
    )
    assert turned["intensity_sum"].tolist() == [VALUES[2, 1, 1:4].sum(), VALUES[2, 3, 5]]
    assert turned["centroid_y_px"].tolist() == [2, 5]


class Vanishing:
    """An image whose file is gone after its first frame."""

    shape, dtype = VALUES.shape, VALUES.dtype

    def __getitem__(self, key):
        if key[0]:
            raise ImageFileError("stack.tif is out of reach. Bring it back.")
        return VALUES[key]


def test_where_the_image_is_out_of_reach_objects_are_measured_all_the_same():
    collected, table = measure(image=ImageToMeasure(FrameStack(Vanishing(), contrast_limits=(0, 1))))
    assert table["area_in_labels_px"].tolist() == [3, 4, 1]
    assert table["intensity_sum"].isna().tolist() == [True, False, True]
    assert collected.remark == "Intensities are not known from frame 1 on: stack.tif is out of reach. Bring it back."
