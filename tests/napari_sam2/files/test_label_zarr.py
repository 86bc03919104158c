import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from napari_sam2.errors import FrameError, ImageFileError, OptionError
from napari_sam2.files import label_zarr
from napari_sam2.files.images.reading import read_image
from napari_sam2.files.label_zarr import ZarrLabelWriter
from napari_sam2.files.pixel_sizes import PixelSize

LABELS = np.random.default_rng(0).integers(0, 200, (5, 25, 30), dtype=np.uint8)


def write_all(writer):
    for frame in reversed(range(len(LABELS))):
        writer.write(frame, LABELS[frame])


def new_writer(path, **options):
    return ZarrLabelWriter(path, **{"shape": LABELS.shape, "dtype": "uint8"} | options)


def stored(path):
    return zarr.open_array(path / "0", mode="r")


def metadata(path):
    return zarr.open_group(path, mode="r").attrs["ome"]


def interrupted_after_frame_0(path):
    writer = new_writer(path)
    writer.write(0, LABELS[0])
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt
    return writer


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_frames_are_written_and_read_in_any_order(tmp_path, dtype):
    path = tmp_path / "labels.ome.zarr"
    with new_writer(path, dtype=dtype) as writer:
        assert len(writer) == 5
        write_all(writer)
        writer.write(2, LABELS[3].astype(np.int64))
        np.testing.assert_array_equal(stored(writer.partial_path)[2], LABELS[3])
    expected = LABELS.copy()
    expected[2] = LABELS[3]
    assert stored(path).dtype == dtype
    np.testing.assert_array_equal(stored(path)[:], expected)
    assert [file.name for file in tmp_path.iterdir()] == ["labels.ome.zarr"]


def test_a_single_image_is_frame_0(tmp_path):
    with new_writer(tmp_path / "labels.zarr", shape=(25, 30)) as writer:
        writer.write(0, LABELS[1])
        np.testing.assert_array_equal(stored(writer.partial_path)[:], LABELS[1])
    np.testing.assert_array_equal(stored(tmp_path / "labels.zarr")[:], LABELS[1])
    assert [axis["name"] for axis in metadata(tmp_path / "labels.zarr")["multiscales"][0]["axes"]] == ["y", "x"]


def test_the_metadata_is_that_of_an_ome_zarr_label_image(tmp_path):
    path = tmp_path / "cells.ome.zarr"
    pixel_size = {"T": PixelSize(2.0, "min"), "Y": PixelSize(0.5, "µm"), "X": PixelSize(0.25, "pc")}
    with new_writer(path, pixel_size=pixel_size):
        pass
    # https://ngff.openmicroscopy.org/0.5: multiscales, image-label; units by their names in UDUNITS.
    assert metadata(path) == {
        "version": "0.5",
        "multiscales": [
            {
                "name": "cells",
                "axes": [
                    {"name": "t", "type": "time", "unit": "minute"},
                    {"name": "y", "type": "space", "unit": "micrometer"},
                    {"name": "x", "type": "space", "unit": "parsec"},
                ],
                "datasets": [
                    {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [2.0, 0.5, 0.25]}]}
                ],
            }
        ],
        "image-label": {},
    }
    assert stored(path).metadata.zarr_format == 3
    assert stored(path).metadata.dimension_names == ("t", "y", "x")


def test_axes_and_pixel_size_are_those_of_the_source(tmp_path):
    options = {"resolution": (4, 4), "metadata": {"axes": "ZYX", "unit": "um", "spacing": 1.5}}
    tifffile.imwrite(tmp_path / "stack.tif", LABELS, imagej=True, **options)
    with new_writer(tmp_path / "labels.zarr", source=read_image(tmp_path / "stack.tif")):
        pass
    (image,) = metadata(tmp_path / "labels.zarr")["multiscales"]
    assert image["axes"][0] == {"name": "z", "type": "space", "unit": "micrometer"}
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == pytest.approx([1.5, 0.25, 0.25])


def test_what_is_known_of_objects_becomes_their_properties(tmp_path):
    objects = pd.DataFrame(
        {"index": [2, 5], "name": ["nucleus", None], "confidence": [0.5, np.nan], "worst_frame": [3, None]}
    ).astype({"worst_frame": "Int64"})
    with new_writer(tmp_path / "labels.zarr") as writer:
        writer.describe(objects)
    assert metadata(tmp_path / "labels.zarr")["image-label"] == {
        "properties": [{"label-value": 2, "name": "nucleus", "confidence": 0.5, "worst_frame": 3}, {"label-value": 5}]
    }
    assert "multiscales" in metadata(tmp_path / "labels.zarr")


def test_a_chunk_holds_one_frame_or_a_part_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(label_zarr, "LONGEST_CHUNK", 20)
    with new_writer(tmp_path / "labels.zarr"):
        pass
    assert stored(tmp_path / "labels.zarr").chunks == (1, 20, 20)


def test_an_interruption_keeps_what_was_written_under_the_partial_name(tmp_path):
    writer = interrupted_after_frame_0(tmp_path / "labels.zarr")
    assert not writer.path.exists()
    assert writer.partial_path == tmp_path / "labels.zarr.partial.zarr"
    np.testing.assert_array_equal(stored(writer.partial_path)[0], LABELS[0])
    assert not stored(writer.partial_path)[1:].any()


def test_an_interruption_before_the_first_frame_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_writer(tmp_path / "labels.zarr"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_an_existing_zarr_is_refused_or_replaced_at_the_end(tmp_path):
    path = tmp_path / "labels.zarr"
    zarr.create_group(path, attributes={"former": True})
    with pytest.raises(ImageFileError, match=r"exists already\. Choose another name"):
        new_writer(path)
    with new_writer(path, overwrite=True) as writer:
        write_all(writer)
        assert zarr.open_group(path).attrs["former"]
    np.testing.assert_array_equal(stored(path)[:], LABELS)
    assert [file.name for file in tmp_path.iterdir()] == ["labels.zarr"]


def test_a_folder_or_a_file_that_is_no_zarr_is_never_replaced(tmp_path):
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "precious.txt").write_text("mine")
    (tmp_path / "file.zarr").write_text("mine")
    for name in ("folder.zarr", "file.zarr"):
        with pytest.raises(ImageFileError, match="is there and is no zarr"):
            new_writer(tmp_path / name, overwrite=True)
    assert (tmp_path / "folder.zarr" / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_an_unfinished_run_left_is_said_and_stays_as_it_is(tmp_path, caplog, overwrite):
    left = interrupted_after_frame_0(tmp_path / "labels.zarr").partial_path
    with new_writer(tmp_path / "labels.zarr", overwrite=overwrite):
        pass
    assert f"{left} is left of an earlier run" in caplog.text
    np.testing.assert_array_equal(stored(left)[0], LABELS[0])
    assert not stored(tmp_path / "labels.zarr")[:].any()


def test_a_zarr_that_appears_meanwhile_is_kept_and_so_are_the_labels(tmp_path):
    path = tmp_path / "labels.zarr"
    writer = new_writer(path)
    write_all(writer)
    zarr.create_group(path, attributes={"theirs": True})
    with pytest.raises(ImageFileError, match=r"exists already.*The labels are complete in .*partial"):
        writer.close()
    assert zarr.open_group(path).attrs["theirs"]
    np.testing.assert_array_equal(stored(writer.partial_path)[:], LABELS)


def test_closing_twice_is_closing_once_and_writing_afterwards_is_refused(tmp_path):
    writer = new_writer(tmp_path / "labels.zarr")
    writer.close()
    writer.close()
    for use in (lambda: writer.write(0, LABELS[0]), lambda: writer.describe(pd.DataFrame())):
        with pytest.raises(ImageFileError, match="is closed"):
            use()


def test_labels_that_do_not_fit_the_file_are_refused(tmp_path):
    with new_writer(tmp_path / "labels.zarr") as writer:
        with pytest.raises(FrameError, match="There is no frame 5"):
            writer.write(5, LABELS[0])
        with pytest.raises(FrameError, match="do not fit frames of shape"):
            writer.write(0, LABELS[0].T)
        with pytest.raises(OptionError, match="do not fit into uint8"):
            writer.write(0, LABELS[0].astype(int) + 200)
    assert not stored(tmp_path / "labels.zarr")[:].any()


@pytest.mark.parametrize(
    ("name", "message"), [("labels.tif", "ends in .ome.zarr"), ("missing/labels.zarr", "There is no folder")]
)
def test_a_name_that_cannot_be_written_is_refused(tmp_path, name, message):
    with pytest.raises(ImageFileError, match=message):
        ZarrLabelWriter.checked_path(tmp_path / name)


def test_a_disk_that_refuses_is_an_error_with_a_cure(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr, "create_group", full)
    with pytest.raises(ImageFileError, match=r"No space left on device.*or free space"):
        new_writer(tmp_path / "labels.zarr")
    assert not list(tmp_path.iterdir())


def test_without_zarr_a_zarr_is_refused_with_a_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(OptionError, match=r"zarr is not installed\. Write a \.tif, or install it: pip install"):
        ZarrLabelWriter.checked_path(tmp_path / "labels.zarr")
