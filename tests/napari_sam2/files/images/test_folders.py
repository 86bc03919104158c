import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam2.errors import ImageFileError
from napari_sam2.files.images.reading import read_image, read_label_image
from napari_sam2.files.pixel_sizes import PixelSize

FRAME = np.arange(30, dtype=np.uint16).reshape(5, 6)
MICROMETRE = "\N{MICRO SIGN}m"


def fill(folder, names, **options):
    for number, name in enumerate(names):
        tifffile.imwrite(folder / name, FRAME + number, **options)


def test_frames_that_agree_give_their_pixel_size(tmp_path):
    metadata = {"unit": "um", "finterval": 2.5, "tunit": "min", "spacing": 3.0}
    fill(tmp_path, ["0.tif", "1.tif"], imagej=True, resolution=(4, 2), metadata=metadata)
    sizes = {"Y": PixelSize(0.5, MICROMETRE), "X": PixelSize(0.25, MICROMETRE)}
    assert read_image(tmp_path).pixel_size == {"T": PixelSize(2.5, "min")} | sizes
    assert read_image(tmp_path, axes="ZYX").pixel_size == {"Z": PixelSize(3.0, MICROMETRE)} | sizes


def test_a_pixel_size_in_which_frames_differ_is_left_out_with_a_warning(tmp_path, caplog):
    metadata = {"unit": "um"}
    fill(tmp_path, ["0.tif", "1.tif"], imagej=True, resolution=(4, 2), metadata=metadata)
    fill(tmp_path, ["2.tif"], imagej=True, resolution=(4, 4), metadata=metadata)
    with caplog.at_level(logging.WARNING):
        assert read_image(tmp_path).pixel_size == {"X": PixelSize(0.25, MICROMETRE)}
    assert "2.tif differ in the pixel size along Y, which is left out" in caplog.text


CHANNELS = [
    [f"img_c{c}_t{t:03}.tif" for c in range(2) for t in range(3)],
    [f"t{t}_ch0{c}.tif" for c in range(3) for t in range(2)],
    [f"exp1_w{c}{name}_s1_t{t}.TIF" for c, name in ((1, "GFP"), (2, "mCherry")) for t in range(2)],
    [f"Channel-{c} frame {t}.tif" for c in range(2) for t in range(2)],
    [f"c7_ch{c}_{t}.tif" for c in range(2) for t in range(2)],
]


@pytest.mark.parametrize("names", CHANNELS, ids=range(len(CHANNELS)))
def test_two_channels_in_one_folder_are_refused_with_the_cure(tmp_path, names):
    fill(tmp_path, names)
    with pytest.raises(ImageFileError, match=r"in [23] channels by the names.*Move the files of each channel into"):
        read_image(tmp_path)


NO_CHANNELS = [
    ["c0.tif", "c1.tif", "c2.tif"],
    ["img_c0_t0.tif", "img_c0_t1.tif"],
    ["img_c0_t0.tif", "img_c1_t1.tif", "img_c2_t2.tif"],
    ["img_c0_t0.tif", "img_c0_t1.tif", "img_c1_t0.tif"],
    ["abc0_1.tif", "abc1_1.tif", "abc0_2.tif", "abc1_2.tif"],
    ["0.tif", "c1_0.tif"],
]


@pytest.mark.parametrize("names", NO_CHANNELS, ids=range(len(NO_CHANNELS)))
def test_names_that_may_mean_something_else_are_frames(tmp_path, names):
    fill(tmp_path, names)
    assert read_image(tmp_path).array.shape == (len(names), 5, 6)


def test_folders_in_a_folder_without_frames_are_named(tmp_path):
    for name in ("ch00", "ch01"):
        (tmp_path / name).mkdir()
        fill(tmp_path / name, ["0.tif", "1.tif"])
    with pytest.raises(
        ImageFileError, match=r"holds no .* files, and folders \(ch00, ch01\)\. Choose one with the frames"
    ):
        read_image(tmp_path)
    assert read_image(tmp_path / "ch01").axes == "TYX"


def test_a_folder_that_may_not_be_listed_is_refused(tmp_path, monkeypatch):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(ImageFileError, match="may not be read: permission is denied"):
        read_image(tmp_path)


def test_numbers_of_any_length_and_script_sort_names(tmp_path):
    names = ["f2.tif", "f10.tif", f"f{'1' * 100}.tif", "f\u00b2.tif", "f\u0663.tif"]
    fill(tmp_path, names)
    first = [int(read_image(tmp_path).array[frame, 0, 0]) for frame in range(3)]
    assert first == [0, 1, 2]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"photometric": "minisblack", "tile": (16, 16)}])
def test_a_frame_that_is_replaced_is_not_read_on(tmp_path, options):
    fill(tmp_path, ["0.tif", "1.tif"], **options)
    image = read_image(tmp_path)
    np.testing.assert_array_equal(image.array[1], FRAME + 1)
    tifffile.imwrite(tmp_path / "1.tif", FRAME + 9)
    np.testing.assert_array_equal(image.array[0], FRAME)
    with pytest.raises(ImageFileError, match=r"1\.tif has changed since it was opened"):
        image.array[1]


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_samples_of_frames_mean_what_they_mean_in_one_file(tmp_path, planarconfig):
    both = np.stack([FRAME, FRAME + 1], -1 if planarconfig == "contig" else 0)
    options = {"photometric": "minisblack", "planarconfig": planarconfig}
    for name in ("0.tif", "1.tif"):
        tifffile.imwrite(tmp_path / name, both, extrasamples=["unassalpha"], **options)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path).array), [FRAME, FRAME])
    for name in ("0.tif", "1.tif"):
        tifffile.imwrite(tmp_path / name, both, extrasamples=["unspecified"], **options)
    image = read_image(tmp_path)
    assert image.axes == "TCYX"
    np.testing.assert_array_equal(image.array[1], [FRAME, FRAME + 1])


def test_a_folder_of_label_frames_is_read_as_labels(tmp_path):
    Image.fromarray(FRAME.astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(FRAME.astype(np.uint8) + 1).save(tmp_path / "b.png")
    labels = read_label_image(tmp_path)
    assert (labels.axes, labels.array.shape) == ("TYX", (2, 5, 6))
    assert read_label_image(tmp_path, axes="ZYX").axes == "ZYX"
