"""The embedded samples: what is in them, and the layers napari makes of them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_sam2
from napari_sam2.frames import FrameStack
from napari_sam2.sample_data import (
    cells_timelapse,
    cells_timelapse_image,
    nuclei_2d_image,
    nuclei_image,
    nuclei_stack,
    nuclei_stack_image,
    nuclei_stack_labels,
)

DATA = Path(napari_sam2.__file__).parent / "data"


@pytest.mark.parametrize(
    ("sample", "shape", "dtype", "axes"),
    [
        (nuclei_image, (256, 256), np.uint8, "yx"),
        (cells_timelapse, (24, 192, 192), np.uint8, "tyx"),
        (nuclei_stack, (31, 61, 57), np.uint16, "zyx"),
    ],
)
def test_a_sample_is_one_image_layer_that_names_its_axes(sample, shape, dtype, axes):
    ((image, options, kind),) = sample()
    assert (image.shape, image.dtype, kind) == (shape, dtype, "image")
    assert "".join(options["axis_labels"]) == axes


@pytest.mark.parametrize("sample", [nuclei_image, cells_timelapse, nuclei_stack])
def test_a_sample_is_shown_as_the_functions_see_it(sample):
    ((image, options, _),) = sample()
    assert options["contrast_limits"] == FrameStack(image, single_image=image.ndim == 2).contrast_limits
    low, high = options["contrast_limits"]
    assert image.min() <= low < np.median(image) < high <= image.max()


def test_the_layers_hold_what_the_functions_read():
    for sample, read in [
        (nuclei_image, nuclei_2d_image),
        (cells_timelapse, cells_timelapse_image),
        (nuclei_stack, nuclei_stack_image),
    ]:
        np.testing.assert_array_equal(sample()[0][0], read())


def test_the_outlines_are_of_the_nuclei_of_the_stack():
    image, labels = nuclei_stack_image(), nuclei_stack_labels()
    assert labels.shape == image.shape
    assert len(np.unique(labels)) == 51 + 1
    assert image[labels > 0].mean() > 1.2 * image[labels == 0].mean()


def test_something_moves_in_the_timelapse_and_the_light_fades():
    frames = cells_timelapse_image().astype(float)
    noise = np.median(np.abs(np.diff(frames, axis=0)), axis=(1, 2))
    change = np.percentile(np.abs(np.diff(frames, axis=0)), 99, axis=(1, 2))
    assert (change > 8 * noise).all()
    assert frames[-1].mean() < frames[0].mean()


def test_the_samples_are_small_and_all_of_them_have_a_row_of_provenance():
    rows = (DATA / "README.md").read_text()
    for file in DATA.glob("*.tif"):
        assert file.stat().st_size < 500_000
        assert f"| `{file.name}` | {str(tifffile.imread(file).shape)[:-1]}" in rows
