import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam2.errors import FrameError
from napari_sam2.training.annotations import read_annotations

LABELS = np.zeros((3, 24, 32), np.uint8)
LABELS[:, 2:9, 3:12], LABELS[:, 12:20, 15:28] = 1, 2


@pytest.fixture
def image(tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", LABELS * 90, metadata={"axes": "TYX"})
    return tmp_path / "image.tif"


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_labels_may_be_whole_numbers_of_any_type(tmp_path, image, dtype):
    tifffile.imwrite(tmp_path / "labels.tif", LABELS.astype(dtype), metadata={"axes": "TYX"})
    (annotation,) = read_annotations(image, tmp_path / "labels.tif")
    assert annotation.outlines == (2, 2, 2)
    assert annotation.labels[1].dtype.kind in "iu"
    np.testing.assert_array_equal(annotation.labels[1], LABELS[1])


def test_the_indices_of_indexed_png_files_are_labels(tmp_path, image):
    (tmp_path / "labels").mkdir()
    for frame, plane in enumerate(LABELS):
        picture = Image.fromarray(plane, mode="P")
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        picture.save(tmp_path / "labels" / f"{frame}.png")
    (annotation,) = read_annotations(image, tmp_path / "labels", data="stack")
    np.testing.assert_array_equal(annotation.labels[2], LABELS[2])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS / 2, "labels.tif, frame 0: The labels hold the value 0.5, and object ids are whole numbers"),
        (np.where(LABELS, np.nan, 0), "labels.tif, frame 0: The labels hold the value nan"),
        (LABELS * 2.0**33, "labels.tif, frame 0: .* object ids go from 1 to 4294967295"),
    ],
)
def test_values_that_are_no_labels_are_refused_with_file_and_frame(tmp_path, image, labels, message):
    tifffile.imwrite(tmp_path / "labels.tif", labels, metadata={"axes": "TYX"})
    with pytest.raises(FrameError, match=message):
        read_annotations(image, tmp_path / "labels.tif")
