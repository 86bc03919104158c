"""Results written into a folder: labels, tables and prompts, whole or not at all."""

import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from dask import array as dask_array

from napari_sam2.errors import ImageFileError, OptionError
from napari_sam2.files import results_folder
from napari_sam2.files.images.reading import read_image
from napari_sam2.files.pixel_sizes import PixelSize
from napari_sam2.files.prompts import PromptFile, read_prompts
from napari_sam2.files.results_folder import LabelFormat, LabelsToExport, export_all, names_of_files
from napari_sam2.prompts import PointPrompt, PromptSet
from napari_sam2.results import ObjectScore, score_table

STACK = np.zeros((3, 8, 12), np.uint16)
STACK[0, 1:3, 1:3] = 1
STACK[:, 4:7, 5:9] = 2
STACK[1:, 0, :3] = 7
PROMPTS = PromptFile(PromptSet([PointPrompt(1, 0, 1.5, 2.0), PointPrompt(2, 1, 5.0, 6.0)]), model_name="nano")


def score(object_id, frame, confidence, area_px=10):
    return ObjectScore(object_id, frame, 0.9, 0.9, 0.9, 3.0, confidence, area_px, area_px)


SCORES = score_table([score(1, 0, 0.5), score(1, 1, 0.9, 0), score(2, 0, 0.75), score(2, 1, 0.25), score(2, 2, 0.5)])
NAMES = {2: "nucleus", 7: "drawn", 9: "elsewhere"}


class ReadFrameByFrame:
    """An array that knows how much of it was asked for at once."""

    def __init__(self, array, chunks=None):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype
        self.most = 0
        if chunks is not None:
            self.chunks = chunks

    def __getitem__(self, key):
        part = self._array[key]
        self.most = max(self.most, part.size // (self.shape[1] * self.shape[2]))
        return part

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("the whole array was read")


PIXEL_SIZE = {"T": PixelSize(120.0, "s"), "Y": PixelSize(0.5, "µm"), "X": PixelSize(0.25, "µm")}
PLACED = LabelsToExport(STACK, "TYX", PIXEL_SIZE)


def read(path):
    return zarr.open_array(path / "0", mode="r")[:] if path.is_dir() else tifffile.imread(path)


def image_label(path):
    return zarr.open_group(path, mode="r").attrs["ome"]["image-label"]


def export_work(folder, labels=PLACED, **options):
    return export_all(folder, labels, **{"scores": SCORES, "prompts": PROMPTS, "names": NAMES} | options)


def exported(folder, labels, **options):
    """The labels as they were written."""
    list(export_work(folder, labels, **options))
    return read(folder / f"labels{options.get('label_format', LabelFormat.TIFF).value}")


# Labels


@pytest.mark.parametrize(
    ("given", "written"),
    [("uint8", "uint8"), ("int16", "uint16"), ("uint16", "uint16"), ("uint32", "uint32"), ("int64", "uint32")],
)
@pytest.mark.parametrize("label_format", LabelFormat)
def test_labels_of_every_type_are_written_unsigned(tmp_path, given, written, label_format):
    found = exported(tmp_path, LabelsToExport(STACK.astype(given), "TYX", {}), label_format=label_format)
    assert found.dtype == written
    np.testing.assert_array_equal(found, STACK)


def test_a_tiff_keeps_labels_axes_and_pixel_size(tmp_path):
    list(export_work(tmp_path))
    written = read_image(tmp_path / "labels.tif")
    np.testing.assert_array_equal(np.asarray(written.array), STACK)
    assert (written.axes, set(written.pixel_size)) == ("TYX", set(PIXEL_SIZE))
    for axis, expected in PIXEL_SIZE.items():
        assert written.pixel_size[axis] == PixelSize(pytest.approx(expected.size), expected.unit)


def test_a_z_stack_and_a_single_image_keep_their_form(tmp_path):
    list(export_work(tmp_path, LabelsToExport(STACK, "ZYX", {"Z": PixelSize(2.0, "µm")})))
    stack = read_image(tmp_path / "labels.tif")
    assert (stack.axes, stack.pixel_size["Z"]) == ("ZYX", PixelSize(2.0, "µm"))
    flat = LabelsToExport(STACK[0], "YX", {})
    np.testing.assert_array_equal(exported(tmp_path / "flat", flat), STACK[0])
    np.testing.assert_array_equal(exported(tmp_path / "zarr", flat, label_format=LabelFormat.OME_ZARR), STACK[0])


def test_an_ome_zarr_keeps_labels_axes_pixel_size_and_confidences(tmp_path):
    np.testing.assert_array_equal(exported(tmp_path, PLACED, label_format=LabelFormat.OME_ZARR), STACK)
    path = tmp_path / "labels.ome.zarr"
    (image,) = zarr.open_group(path, mode="r").attrs["ome"]["multiscales"]
    assert [(axis["name"], axis["unit"]) for axis in image["axes"]] == [
        ("t", "second"),
        ("y", "micrometer"),
        ("x", "micrometer"),
    ]
    assert image["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [120.0, 0.5, 0.25]}]
    first, second, third = image_label(path)["properties"]
    assert first == {
        "label-value": 1,
        "n_frames": 1,
        "mean_area_in_labels_px": 4.0,
        "mean_confidence": 0.5,
        "worst_confidence": 0.5,
        "worst_frame": 0,
        "mean_area_px": 10.0,
        "mean_centroid_y_px": 1.5,
        "mean_centroid_x_px": 1.5,
        "mean_area_um2": 0.5,
        "mean_centroid_y_um": 0.75,
        "mean_centroid_x_um": 0.375,
    }
    assert (second["name"], second["mean_confidence"], second["worst_frame"]) == ("nucleus", 0.5, 1)
    # Not scored: what its labels say.
    assert {name: third[name] for name in ("name", "n_frames", "mean_area_px", "mean_area_in_labels_px")} == {
        "name": "drawn",
        "n_frames": 2,
        "mean_area_px": 3.0,
        "mean_area_in_labels_px": 3.0,
    }
    assert "mean_confidence" not in third


def test_labels_without_an_object_have_no_properties(tmp_path):
    empty, nothing = LabelsToExport(np.zeros_like(STACK), "TYX", {}), score_table(())
    assert not exported(tmp_path, empty, label_format=LabelFormat.OME_ZARR, scores=nothing).any()
    assert image_label(tmp_path / "labels.ome.zarr") == {}


def test_frames_are_read_one_by_one(tmp_path):
    array = ReadFrameByFrame(STACK)
    labels = LabelsToExport(array, "TYX", {})
    assert [*export_work(tmp_path, labels)] == [(i, 3) for i in (1, 2, 3)]
    assert array.most == 1


@pytest.mark.parametrize("chunks", [(2, 8, 12), ((2, 1), (8,), (12,))], ids=["zarr", "dask"])
def test_frames_that_share_chunks_are_read_together_within_limits(tmp_path, monkeypatch, chunks):
    array = ReadFrameByFrame(STACK, chunks)
    labels = LabelsToExport(array, "TYX", {})
    np.testing.assert_array_equal(exported(tmp_path, labels), STACK)
    assert array.most == 2
    array.most = 0
    monkeypatch.setattr(results_folder, "MAX_READ_BYTES", STACK[0].nbytes)
    exported(tmp_path, labels, overwrite=True)
    assert array.most == 1


@pytest.mark.parametrize(
    "kept",
    [
        lambda: zarr.array(STACK, chunks=(1, 8, 12)),
        lambda: zarr.array(STACK, chunks=(3, 8, 1)),
        lambda: dask_array.from_array(STACK, chunks=(2, 5, 5)),
    ],
    ids=["zarr", "zarr of a rolled stack", "dask"],
)
@pytest.mark.parametrize("label_format", LabelFormat)
def test_labels_kept_elsewhere_than_in_memory_are_written_in_the_order_of_the_data(tmp_path, kept, label_format):
    labels = LabelsToExport(kept(), "TYX", {})
    np.testing.assert_array_equal(exported(tmp_path, labels, label_format=label_format), STACK)


@pytest.mark.parametrize("label_format", LabelFormat)
def test_an_export_given_up_leaves_the_finished_frames_beside_the_final_name(tmp_path, label_format):
    export = export_work(tmp_path, label_format=label_format)
    next(export)
    export.close()
    (partial,) = tmp_path.iterdir()
    assert ".partial." in partial.name
    np.testing.assert_array_equal(read(partial)[0], STACK[0])
    assert not read(partial)[1:].any()


@pytest.mark.parametrize("label_format", LabelFormat)
def test_existing_labels_are_refused_at_once_and_replaced_when_told(tmp_path, label_format):
    exported(tmp_path, LabelsToExport(np.zeros_like(STACK), "TYX", {}), label_format=label_format)
    with pytest.raises(ImageFileError, match="exists already"):
        export_work(tmp_path, label_format=label_format)
    np.testing.assert_array_equal(exported(tmp_path, PLACED, label_format=label_format, overwrite=True), STACK)


def test_negative_labels_are_refused(tmp_path):
    with pytest.raises(OptionError, match="do not fit into uint32"):
        exported(tmp_path, LabelsToExport(STACK.astype(int) - 1, "TYX", {}))
    assert not list(tmp_path.iterdir())


def test_without_zarr_an_ome_zarr_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(OptionError, match="zarr is not installed"):
        export_work(tmp_path, label_format=LabelFormat.OME_ZARR)


# All of it


@pytest.mark.parametrize("label_format", LabelFormat)
def test_a_piece_of_work_is_five_files(tmp_path, label_format):
    folder = tmp_path / "work"
    assert [*export_work(folder, label_format=label_format)][-1] == (3, 3)
    labels = folder / f"labels{label_format.value}"
    assert {path.name for path in folder.iterdir()} == set(names_of_files(label_format))
    np.testing.assert_array_equal(read(labels), STACK)
    assert label_format is LabelFormat.TIFF or len(image_label(labels)["properties"]) == 3
    written = pd.read_csv(folder / "scores.csv")
    pd.testing.assert_frame_equal(written, SCORES.assign(area_in_labels_px=[4, 0, 12, 12, 12]))
    assert read_prompts(folder / "prompts.json") == PROMPTS


def test_the_table_of_objects_has_all_that_were_scored_or_are_in_the_labels(tmp_path):
    scores = score_table([score(2, 0, 0.75), score(2, 1, 0.25), score(5, 1, 0.1, 0)])
    list(export_work(tmp_path, LabelsToExport(STACK, "TYX", {}), scores=scores))
    assert (tmp_path / "objects.csv").read_text().splitlines() == [
        "index,name,n_frames,mean_area_in_labels_px,mean_confidence,worst_confidence,worst_frame,mean_area_px,"
        "mean_centroid_y_px,mean_centroid_x_px",
        "1,,1,4.0,,,,4.0,1.5,1.5",
        "2,nucleus,2,12.0,0.5,0.25,1,10.0,5.0,6.5",
        "5,,0,0.0,0.1,0.1,1,0.0,,",
        "7,drawn,2,3.0,,,,3.0,0.0,1.0",
    ]


def test_the_end_of_an_export_tells_what_was_written(tmp_path):
    ends = []

    def to_the_end():
        ends.append((yield from export_work(tmp_path)))

    list(to_the_end())
    (written,) = ends
    assert (written.folder, written.names) == (tmp_path, names_of_files(LabelFormat.TIFF))
    assert written.object_ids == (1, 2, 7)


def test_work_without_scores_and_prompts_can_be_exported(tmp_path):
    list(export_work(tmp_path, scores=score_table([]), prompts=PromptFile(PromptSet()), names=None))
    assert pd.read_csv(tmp_path / "scores.csv").empty
    assert pd.read_csv(tmp_path / "measurements.csv")["object_id"].tolist() == [1, 2, 2, 2, 7, 7]
    assert pd.read_csv(tmp_path / "objects.csv")["n_frames"].tolist() == [1, 3, 2]
    assert not read_prompts(tmp_path / "prompts.json").prompts


@pytest.mark.parametrize("name", names_of_files(LabelFormat.TIFF))
def test_any_file_in_the_way_is_refused_before_anything_is_written(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ImageFileError, match=f"{name} exists already"):
        export_work(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    list(export_work(tmp_path, overwrite=True))
    assert len(list(tmp_path.iterdir())) == 5
    assert (tmp_path / name).read_bytes() != b"mine"


def test_work_given_up_touches_no_finished_file(tmp_path):
    list(export_work(tmp_path))
    former = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    export = export_work(tmp_path, LabelsToExport(STACK + 1, "TYX", {}), scores=score_table([]), overwrite=True)
    next(export)
    export.close()
    partial = tmp_path / "labels.tif.partial.tif"
    assert tifffile.imread(partial)[0].all()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path != partial} == former


def test_the_label_image_gets_its_name_last(tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise ImageFileError("No space left on device")

    monkeypatch.setattr(results_folder, "write_prompts", refused)
    with pytest.raises(ImageFileError, match="No space left"):
        list(export_work(tmp_path))
    assert not (tmp_path / "labels.tif").exists()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif.partial.tif"), STACK)


def test_a_folder_that_cannot_be_filled_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ImageFileError, match="is a file, and an export fills a folder"):
        export_work(tmp_path / "file")
    with pytest.raises(ImageFileError, match="There is no folder"):
        export_work(tmp_path / "missing" / "work")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_nothing_is_made_before_the_export_is_consumed(tmp_path):
    export_work(tmp_path / "work")
    assert not list(tmp_path.iterdir())
