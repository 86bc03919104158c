import numpy as np
import pytest
import tifffile
import zarr

from napari_sam2.errors import ImageFileError
from napari_sam2.files.images.reading import read_image
from napari_sam2.files.labels import check_label_output, open_label_writer
from napari_sam2.files.pixel_sizes import PixelSize

LABELS = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
NAMES = ["labels.tif", "labels.TIFF", "labels.ome.tif", "labels.zarr", "labels.ome.ZARR"]


def read(path):
    return zarr.open_array(path / "0", mode="r")[:] if path.is_dir() else tifffile.imread(path)


@pytest.mark.parametrize("name", NAMES)
def test_the_suffix_chooses_the_format(tmp_path, name):
    path = check_label_output(tmp_path / name)
    with open_label_writer(path, shape=LABELS.shape, dtype="uint16", axes="ZYX") as writer:
        for frame, plane in enumerate(LABELS):
            writer.write(frame, plane)
    np.testing.assert_array_equal(read(path), LABELS)
    with pytest.raises(ImageFileError, match="exists already"):
        check_label_output(path)
    assert check_label_output(path, overwrite=True) == path


def test_a_source_and_its_replacements_reach_both_formats(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", LABELS, imagej=True, metadata={"axes": "ZYX"})
    source, pixel_size = read_image(tmp_path / "stack.tif"), {"Z": PixelSize(3.0, "µm")}
    for name in ("labels.ome.tif", "labels.zarr"):
        with open_label_writer(
            tmp_path / name, shape=LABELS.shape, dtype="uint16", source=source, pixel_size=pixel_size
        ):
            pass
    assert read_image(tmp_path / "labels.ome.tif").pixel_size == pixel_size
    (image,) = zarr.open_group(tmp_path / "labels.zarr").attrs["ome"]["multiscales"]
    assert image["axes"][0] == {"name": "z", "type": "space", "unit": "micrometer"}
    with pytest.raises(ImageFileError, match="is the image itself"):
        check_label_output(tmp_path / "stack.tif", source=source, overwrite=True)


@pytest.mark.parametrize("name", ["labels.png", "labels"])
def test_other_suffixes_are_refused_and_both_formats_named(tmp_path, name):
    with pytest.raises(ImageFileError, match=r"Use a name that ends in \.tif or \.zarr"):
        check_label_output(tmp_path / name)
    with pytest.raises(ImageFileError, match=r"Use a name that ends in \.tif or \.zarr"):
        open_label_writer(tmp_path / name, shape=LABELS.shape, dtype="uint16")
    assert not list(tmp_path.iterdir())
