import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from dask import array as dask_array
from napari.layers import Labels

from napari_sam2.errors import FrameError, ImageFileError, OptionError
from napari_sam2.files.images.reading import read_image
from napari_sam2.files.pixel_sizes import PixelSize
from napari_sam2.files.prompts import PromptFile, read_prompts
from napari_sam2.layers import export
from napari_sam2.layers.export import (
    ExportProgress,
    LabelFormat,
    export_all,
    export_labels,
    export_paths,
    labels_to_export,
)
from napari_sam2.prompts import PointPrompt, PromptSet
from napari_sam2.results import ObjectScore, score_table

STACK = np.zeros((3, 8, 12), np.uint16)
STACK[0, 1:3, 1:3] = 1
STACK[:, 4:7, 5:9] = 2
STACK[1:, 0, :3] = 7
PROMPTS = PromptFile(PromptSet([PointPrompt(1, 0, 1.5, 2.0), PointPrompt(2, 1, 5.0, 6.0)]), model_name="nano")


def score(object_id, frame, confidence, area_px=10):
    return ObjectScore(object_id, frame, 0.9, 0.9, 0.9, 3.0, confidence, area_px)


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


def placed(data=STACK, **options):
    return Labels(data, **{"scale": (2, 0.5, 0.25), "units": ("min", "um", "um")} | options)


def exported(path, layer, **options):
    list(export_labels(path, labels_to_export(layer), **options))
    return path


def stored(path):
    return zarr.open_array(path / "0", mode="r")[:]


def image_label(path):
    return zarr.open_group(path, mode="r").attrs["ome"]["image-label"]


def export_work(folder, layer=None, **options):
    labels = labels_to_export(layer or placed())
    return export_all(folder, labels, **{"scores": SCORES, "prompts": PROMPTS, "names": NAMES} | options)


# What is taken of a layer


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


@pytest.mark.parametrize(
    ("given", "written"),
    [("uint8", "uint8"), ("int16", "uint16"), ("uint16", "uint16"), ("uint32", "uint32"), ("int64", "uint32")],
)
@pytest.mark.parametrize("name", ["labels.tif", "labels.zarr"])
def test_labels_of_every_type_are_written_unsigned(tmp_path, given, written, name):
    path = exported(tmp_path / name, Labels(STACK.astype(given)))
    found = stored(path) if path.is_dir() else tifffile.imread(path)
    assert found.dtype == written
    np.testing.assert_array_equal(found, STACK)


def test_a_layer_of_several_resolutions_is_written_at_the_finest(tmp_path):
    layer = Labels([STACK, STACK[:, ::2, ::2]], multiscale=True)
    np.testing.assert_array_equal(tifffile.imread(exported(tmp_path / "labels.tif", layer)), STACK)


def test_labels_with_two_axes_of_frames_are_refused():
    with pytest.raises(FrameError, match="has 4 axes, and labels are written with two or three that are longer"):
        labels_to_export(Labels(np.stack([STACK, STACK])))


@pytest.mark.parametrize("shape", [(1, *STACK.shape), (STACK.shape[0], 1, *STACK.shape[1:]), (1, 1, *STACK.shape)])
def test_axes_of_length_one_are_not_written(tmp_path, shape):
    units = ("pixel",) * (len(shape) - 3) + ("um",) * 3
    layer = Labels(STACK.reshape(shape), scale=(*(9,) * (len(shape) - 3), 3, 2, 1), units=units)
    export = labels_to_export(layer)
    assert export.axes == ("TYX" if shape[1] == 1 and len(shape) == 4 else "ZYX")
    assert export.pixel_size["X"] == PixelSize(1, "µm")
    for _ in export_labels(tmp_path / "labels.tif", export):
        pass
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif"), STACK)


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


# Labels


@pytest.mark.parametrize("name", ["labels.tif", "labels.ome.tif"])
def test_a_tiff_keeps_labels_axes_and_pixel_size(tmp_path, name):
    written = read_image(exported(tmp_path / name, placed()))
    np.testing.assert_array_equal(np.asarray(written.array), STACK)
    assert written.axes == "TYX"
    assert {axis: (one.size, one.unit) for axis, one in written.pixel_size.items()} == {
        "T": (pytest.approx(120), "s"),
        "Y": (pytest.approx(0.5), "µm"),
        "X": (pytest.approx(0.25), "µm"),
    }


def test_a_z_stack_and_a_single_image_keep_their_form(tmp_path):
    stack = exported(tmp_path / "z.tif", placed(axis_labels=("z", "y", "x"), units=("um", "um", "um")))
    assert read_image(stack).axes == "ZYX"
    assert read_image(stack).pixel_size["Z"] == PixelSize(2.0, "µm")
    flat = exported(tmp_path / "flat.tif", Labels(STACK[0]))
    np.testing.assert_array_equal(tifffile.imread(flat), STACK[0])
    np.testing.assert_array_equal(stored(exported(tmp_path / "flat.zarr", Labels(STACK[0]))), STACK[0])


def test_an_ome_zarr_keeps_labels_axes_pixel_size_and_confidences(tmp_path):
    path = exported(tmp_path / "labels.ome.zarr", placed(), scores=SCORES, names=NAMES)
    np.testing.assert_array_equal(stored(path), STACK)
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
        "mean_confidence": 0.5,
        "worst_confidence": 0.5,
        "worst_frame": 0,
        "mean_area_px": 10.0,
    }
    assert (second["name"], second["mean_confidence"], second["worst_frame"]) == ("nucleus", 0.5, 1)
    # Not scored: what its labels say.
    assert third == {"label-value": 7, "name": "drawn", "n_frames": 2, "mean_area_px": 3.0}


def test_labels_without_an_object_have_no_properties(tmp_path):
    path = exported(tmp_path / "labels.zarr", Labels(np.zeros_like(STACK)))
    assert image_label(path) == {}
    assert not stored(path).any()


def test_frames_are_read_one_by_one(tmp_path):
    array = ReadFrameByFrame(STACK)
    labels = export.LabelsToExport(array, "TYX", {})
    assert [*export_labels(tmp_path / "labels.tif", labels)] == [ExportProgress(i, 3) for i in (1, 2, 3)]
    assert array.most == 1


@pytest.mark.parametrize("chunks", [(2, 8, 12), ((2, 1), (8,), (12,))], ids=["zarr", "dask"])
def test_frames_that_share_chunks_are_read_together_within_limits(tmp_path, monkeypatch, chunks):
    array = ReadFrameByFrame(STACK, chunks)
    labels = export.LabelsToExport(array, "TYX", {})
    list(export_labels(tmp_path / "a.tif", labels))
    assert array.most == 2
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), STACK)
    array.most = 0
    monkeypatch.setattr(export, "MAX_READ_BYTES", STACK[0].nbytes)
    list(export_labels(tmp_path / "b.tif", labels))
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
@pytest.mark.parametrize("name", ["labels.tif", "labels.zarr"])
def test_labels_kept_elsewhere_than_in_memory_are_written_in_the_order_of_the_data(tmp_path, kept, name):
    path = exported(tmp_path / name, Labels(kept()))
    np.testing.assert_array_equal(stored(path) if path.is_dir() else tifffile.imread(path), STACK)


@pytest.mark.parametrize("name", ["labels.tif", "labels.zarr"])
def test_an_export_given_up_leaves_the_finished_frames_beside_the_final_name(tmp_path, name):
    export = export_labels(tmp_path / name, labels_to_export(placed()))
    next(export)
    export.close()
    (partial,) = tmp_path.iterdir()
    assert ".partial." in partial.name
    found = stored(partial) if partial.is_dir() else tifffile.imread(partial)
    np.testing.assert_array_equal(found[0], STACK[0])
    assert not found[1:].any()


@pytest.mark.parametrize("name", ["labels.tif", "labels.zarr"])
def test_an_existing_file_is_refused_at_once_and_replaced_when_told(tmp_path, name):
    path = exported(tmp_path / name, placed(np.zeros_like(STACK)))
    with pytest.raises(ImageFileError, match="exists already"):
        export_labels(path, labels_to_export(placed()))
    exported(path, placed(), overwrite=True)
    np.testing.assert_array_equal(stored(path) if path.is_dir() else tifffile.imread(path), STACK)


def test_negative_labels_are_refused(tmp_path):
    with pytest.raises(OptionError, match="do not fit into uint32"):
        exported(tmp_path / "labels.tif", Labels(STACK.astype(int) - 1))
    assert not list(tmp_path.iterdir())


def test_without_zarr_an_ome_zarr_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(OptionError, match="zarr is not installed"):
        export_labels(tmp_path / "labels.zarr", labels_to_export(placed()))


# All of it


@pytest.mark.parametrize("label_format", LabelFormat)
def test_a_piece_of_work_is_four_files(tmp_path, label_format):
    folder = tmp_path / "work"
    assert [*export_work(folder, label_format=label_format)][-1] == ExportProgress(3, 3)
    paths = export_paths(folder, label_format)
    assert sorted(folder.iterdir()) == sorted((paths.labels, paths.scores, paths.objects, paths.prompts))
    is_zarr = label_format is LabelFormat.OME_ZARR
    np.testing.assert_array_equal(stored(paths.labels) if is_zarr else tifffile.imread(paths.labels), STACK)
    assert not is_zarr or len(image_label(paths.labels)["properties"]) == 3
    pd.testing.assert_frame_equal(pd.read_csv(paths.scores), SCORES)
    assert read_prompts(paths.prompts) == PROMPTS


def test_the_table_of_objects_has_all_that_were_scored_or_are_in_the_labels(tmp_path):
    scores = score_table([score(2, 0, 0.75), score(2, 1, 0.25), score(5, 1, 0.1, 0)])
    list(export_work(tmp_path, scores=scores))
    assert (tmp_path / "objects.csv").read_text().splitlines() == [
        "index,name,n_frames,mean_confidence,worst_confidence,worst_frame,mean_area_px",
        "1,,1,,,,4.0",
        "2,nucleus,2,0.5,0.25,1,10.0",
        "5,,0,0.1,0.1,1,0.0",
        "7,drawn,2,,,,3.0",
    ]


def test_work_without_scores_and_prompts_can_be_exported(tmp_path):
    list(export_work(tmp_path, scores=score_table([]), prompts=PromptFile(PromptSet()), names=None))
    assert pd.read_csv(tmp_path / "scores.csv").empty
    assert pd.read_csv(tmp_path / "objects.csv")["n_frames"].tolist() == [1, 3, 2]
    assert not read_prompts(tmp_path / "prompts.json").prompts


@pytest.mark.parametrize("name", ["labels.tif", "scores.csv", "objects.csv", "prompts.json"])
def test_any_file_in_the_way_is_refused_before_anything_is_written(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ImageFileError, match=f"{name} exists already"):
        export_work(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    list(export_work(tmp_path, overwrite=True))
    assert len(list(tmp_path.iterdir())) == 4
    assert (tmp_path / name).read_bytes() != b"mine"


def test_work_given_up_touches_no_finished_file(tmp_path):
    list(export_work(tmp_path))
    former = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    export = export_work(tmp_path, placed(STACK + 1), scores=score_table([]), overwrite=True)
    next(export)
    export.close()
    partial = tmp_path / "labels.tif.partial.tif"
    assert tifffile.imread(partial)[0].all()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path != partial} == former


def test_the_label_image_gets_its_name_last(tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise ImageFileError("No space left on device")

    monkeypatch.setattr(export, "write_prompts", refused)
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
