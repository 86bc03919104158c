import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from napari_sam2.errors import FrameError, ImageFileError, OptionError
from napari_sam2.files import label_tiff
from napari_sam2.files.images.reading import read_image
from napari_sam2.files.label_tiff import TiffLabelWriter
from napari_sam2.files.pixel_sizes import PixelSize

LABELS = np.random.default_rng(0).integers(0, 200, (5, 25, 30), dtype=np.uint8)


def write_all(writer, labels=LABELS):
    for frame in reversed(range(len(labels))):
        writer.write(frame, labels[frame])


def source_file(path, shape=LABELS.shape, **options):
    tifffile.imwrite(path, np.zeros(shape, np.uint16), **options)
    return read_image(path)


def interrupted_after_frame_0(path):
    writer = TiffLabelWriter(path, shape=LABELS.shape, dtype="uint8")
    writer.write(0, LABELS[0])
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt
    return writer


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_frames_are_written_and_read_in_any_order(tmp_path, dtype):
    path = tmp_path / "labels.tif"
    with TiffLabelWriter(path, shape=LABELS.shape, dtype=dtype) as writer:
        assert len(writer) == 5
        write_all(writer)
        np.testing.assert_array_equal(tifffile.imread(writer.partial_path), LABELS)
        writer.write(2, LABELS[3].astype(np.int64))
        np.testing.assert_array_equal(tifffile.imread(writer.partial_path)[2], LABELS[3])
    expected = LABELS.copy()
    expected[2] = LABELS[3]
    image = read_image(path)
    assert (image.axes, image.array.dtype) == ("TYX", dtype)
    np.testing.assert_array_equal(np.asarray(image.array), expected)
    np.testing.assert_array_equal(tifffile.imread(path), expected)


@pytest.mark.parametrize("shape", [(5, 6), (1, 5, 6), (3, 1, 1), (2, 5, 3), (3, 5, 4), (5, 3)])
def test_odd_shapes_survive(tmp_path, shape):
    labels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    for dtype in (np.uint8, np.uint32):
        path = tmp_path / f"{np.dtype(dtype)}.tif"
        with TiffLabelWriter(path, shape=shape, dtype=dtype) as writer:
            write_all(writer, labels.reshape(-1, *shape[-2:]))
        np.testing.assert_array_equal(tifffile.imread(path).reshape(shape), labels)


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_the_unfinished_file_is_a_readable_tiff_beside_the_final_name(tmp_path, dtype):
    path = tmp_path / "labels.tif"
    with TiffLabelWriter(path, shape=LABELS.shape, dtype=dtype) as writer:
        assert writer.partial_path.name.startswith("labels.tif.partial.")
        assert not tifffile.imread(writer.partial_path).any()
        writer.write(1, LABELS[1])
        seen = tifffile.imread(writer.partial_path)
        np.testing.assert_array_equal(seen[1], LABELS[1])
        assert not seen[[0, 2, 3, 4]].any()
        assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["labels.tif"]


def test_an_interruption_keeps_what_was_written_under_the_partial_name(tmp_path):
    writer = interrupted_after_frame_0(tmp_path / "labels.tif")
    assert not writer.path.exists()
    np.testing.assert_array_equal(tifffile.imread(writer.partial_path)[0], LABELS[0])


def test_an_interruption_before_the_first_frame_leaves_nothing(tmp_path):
    writer = TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype="uint8")
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


IMAGEJ_UM = {"imagej": True, "resolution": (4, 4), "metadata": {"axes": "ZYX", "unit": "um", "spacing": 1.5}}
IMAGEJ_T = {"imagej": True, "resolution": (2, 2), "metadata": {"axes": "TYX", "unit": "nm", "finterval": 30.0}}
INCH = {"resolution": (300, 300), "resolutionunit": "INCH"}
OME = {
    "ome": True,
    "metadata": {
        "axes": "TYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.25,
        "TimeIncrement": 2,
        "TimeIncrementUnit": "min",
    },
}


@pytest.mark.parametrize("options", [IMAGEJ_UM, IMAGEJ_T, INCH, OME, {}], ids=["um", "time", "inch", "ome", "plain"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_axes_and_pixel_size_are_those_of_the_source(tmp_path, options, dtype):
    source = source_file(tmp_path / "stack.tif", **options)
    with TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype=dtype, source=source) as writer:
        write_all(writer)
    labels = read_image(tmp_path / "labels.tif")
    assert labels.axes == source.axes
    assert set(labels.pixel_size) == set(source.pixel_size)
    for axis, spacing in source.pixel_size.items():
        assert labels.pixel_size[axis].size == pytest.approx(spacing.size)
        assert labels.pixel_size[axis].unit == spacing.unit
    with tifffile.TiffFile(tmp_path / "labels.tif") as tif:
        is_ome = dtype == "uint32" or options is OME
        assert (tif.is_ome, tif.is_imagej) == (is_ome, not is_ome)


def test_axes_and_pixel_size_can_be_given_without_a_source(tmp_path):
    pixel_size = {"Z": PixelSize(1.5, "nm"), "Y": PixelSize(0.5, "nm"), "X": PixelSize(0.25, "nm")}
    with TiffLabelWriter(tmp_path / "a.tif", shape=LABELS.shape, dtype="uint8", axes="ZYX", pixel_size=pixel_size):
        pass
    labels = read_image(tmp_path / "a.tif")
    assert (labels.axes, labels.pixel_size) == ("ZYX", pixel_size)


def test_channels_and_colours_of_the_source_are_left_out(tmp_path):
    source = source_file(tmp_path / "c.tif", (5, 2, 25, 30), imagej=True, metadata={"axes": "TCYX"})
    with TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype="uint8", source=source):
        pass
    assert read_image(tmp_path / "labels.tif").axes == "TYX"


def test_a_stack_too_large_for_imagej_is_an_ome_tiff_with_64_bit_offsets(tmp_path, monkeypatch):
    monkeypatch.setattr(label_tiff, "LARGEST_IMAGEJ", 100)
    with TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype="uint8") as writer:
        write_all(writer)
    with tifffile.TiffFile(tmp_path / "labels.tif") as tif:
        assert tif.is_ome
        assert tif.is_bigtiff
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif"), LABELS)


def test_a_name_that_ends_in_ome_tif_is_an_ome_tiff(tmp_path):
    with TiffLabelWriter(tmp_path / "labels.ome.tif", shape=LABELS.shape, dtype="uint8"):
        pass
    assert read_image(tmp_path / "labels.ome.tif").is_ome


def test_an_existing_file_is_refused_or_replaced_at_the_end(tmp_path):
    path = tmp_path / "labels.tif"
    path.write_text("former")
    with pytest.raises(ImageFileError, match=r"exists already\. Choose another name"):
        TiffLabelWriter(path, shape=LABELS.shape, dtype="uint8")
    with TiffLabelWriter(path, shape=LABELS.shape, dtype="uint8", overwrite=True) as writer:
        write_all(writer)
        assert path.read_text() == "former"
    np.testing.assert_array_equal(tifffile.imread(path), LABELS)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_an_unfinished_run_left_is_said_and_stays_as_it_is(tmp_path, caplog, overwrite):
    left = interrupted_after_frame_0(tmp_path / "labels.tif").partial_path
    assert left == tmp_path / "labels.tif.partial.tif"
    before = left.read_bytes()
    second = interrupted_after_frame_0(tmp_path / "labels.tif").partial_path
    assert second == tmp_path / "labels.tif.partial-2.tif"
    with TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype="uint8", overwrite=overwrite):
        pass
    assert f"{left} is left of an earlier run" in caplog.text
    assert left.read_bytes() == second.read_bytes() == before
    assert not tifffile.imread(tmp_path / "labels.tif").any()


def test_a_file_that_appears_meanwhile_is_kept_and_so_are_the_labels(tmp_path):
    path = tmp_path / "labels.tif"
    writer = TiffLabelWriter(path, shape=LABELS.shape, dtype="uint8")
    write_all(writer)
    path.write_text("someone else's")
    with pytest.raises(ImageFileError, match=r"exists already.*The labels are complete in .*partial"):
        writer.close()
    assert path.read_text() == "someone else's"
    np.testing.assert_array_equal(tifffile.imread(writer.partial_path), LABELS)


def test_closing_twice_is_closing_once_and_writing_afterwards_is_refused(tmp_path):
    writer = TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype="uint8")
    writer.close()
    writer.close()
    with pytest.raises(ImageFileError, match="is closed"):
        writer.write(0, LABELS[0])


def test_a_full_disk_is_noticed_before_work_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3_000_000))
    with pytest.raises(ImageFileError, match=r"The labels need 5 MB and .* has 3 MB left"):
        TiffLabelWriter(tmp_path / "labels.tif", shape=(4, 1000, 1000), dtype="uint8")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(label_tiff.os, "posix_fallocate"), reason="the system cannot reserve space")
def test_space_that_cannot_be_reserved_is_an_error_before_work_starts(tmp_path, monkeypatch):
    def full(descriptor, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(label_tiff.os, "posix_fallocate", full)
    with pytest.raises(ImageFileError, match="No space left on device"):
        TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype="uint8")
    assert not list(tmp_path.iterdir())


def test_space_is_reserved_for_every_frame(tmp_path):
    with TiffLabelWriter(tmp_path / "labels.tif", shape=(8, 512, 512), dtype="uint8") as writer:
        blocks = getattr(writer.partial_path.stat(), "st_blocks", None)
        assert blocks is None or blocks * 512 >= 8 * 512 * 512


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("labels.zarr", "Use a name that ends in .tif"),
        ("labels.png", "Use a name that ends in .tif"),
        ("labels", "Use a name that ends in .tif"),
        ("missing/labels.tif", "There is no folder"),
        ("stack.tif", "is the image itself"),
        ("folder.tif", "is a folder"),
    ],
)
def test_a_name_that_cannot_be_written_is_refused_even_when_overwriting(tmp_path, name, message):
    source = source_file(tmp_path / "stack.tif")
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(ImageFileError, match=message):
        TiffLabelWriter(tmp_path / name, shape=LABELS.shape, dtype="uint8", source=source, overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder.tif", "stack.tif"]


def test_labels_are_not_written_among_the_frames_of_a_folder(tmp_path):
    for frame in range(5):
        tifffile.imwrite(tmp_path / f"{frame}.tif", LABELS[frame])
    source = read_image(tmp_path)
    with pytest.raises(ImageFileError, match="lies among the frames of the stack"):
        TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype="uint8", source=source)


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tifffile, "imwrite", denied)
    with pytest.raises(ImageFileError, match=r"cannot be written .*Permission denied.*another name or folder"):
        TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype="uint8")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((5, 25, 30), "int32", "Labels of dtype int32 are not written"),
        ((5, 25, 30), "uint64", "Use uint8, uint16 or uint32"),
        ((5, 25, 30, 3), "uint8", "are not written. Use"),
        ((0, 25, 30), "uint8", "with pixels"),
        ((5, 25, 31), "uint8", "do not fit"),
    ],
)
def test_a_form_that_is_no_label_image_is_refused(tmp_path, shape, dtype, message):
    source = source_file(tmp_path / "stack.tif")
    with pytest.raises(OptionError, match=message):
        TiffLabelWriter(tmp_path / "labels.tif", shape=shape, dtype=dtype, source=source)


@pytest.mark.parametrize(
    ("frame", "labels", "kind", "message"),
    [
        (5, LABELS[0], FrameError, "There is no frame 5: the labels have 5"),
        (-1, LABELS[0], FrameError, "There is no frame -1"),
        (0, LABELS[0].T, FrameError, "do not fit frames of shape"),
        (0, LABELS[0] * 0.5, OptionError, "of dtype float64"),
        (0, LABELS[0].astype(int) - 300, OptionError, "do not fit into uint8"),
        (0, LABELS[0].astype(int) + 200, OptionError, "Use integers from 0 to 255, or a wider dtype"),
    ],
)
def test_labels_that_do_not_fit_the_file_are_refused(tmp_path, frame, labels, kind, message):
    with TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype="uint8") as writer:
        with pytest.raises(kind, match=message):
            writer.write(frame, labels)
        assert not tifffile.imread(writer.partial_path).any()


@pytest.mark.parametrize("axes", ["YX", "TZYX", "XYZ", ""])
def test_axes_that_do_not_fit_the_labels_are_refused(tmp_path, axes):
    with pytest.raises(OptionError, match="do not fit labels of shape"):
        TiffLabelWriter(tmp_path / "labels.tif", shape=LABELS.shape, dtype="uint8", axes=axes)
