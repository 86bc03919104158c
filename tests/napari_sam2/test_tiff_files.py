import gc

import numpy as np
import pytest
import tifffile

from napari_sam2.errors import FrameError, ImageFileError, OptionError
from napari_sam2.file_arrays import LazyFrames, MappedFile, PixelSize
from napari_sam2.image_files import read_image
from napari_sam2.tiff_files import open_tiff

STACK = np.random.default_rng(0).integers(0, 60_000, (5, 25, 30), dtype=np.uint16)
MICROMETRE = "\N{MICRO SIGN}m"


def written(path, array, **options):
    tifffile.imwrite(path, array, **options)
    return path


@pytest.mark.parametrize(
    ("options", "axes"),
    [
        ({}, "TYX"),
        ({"compression": "zlib"}, "TYX"),
        ({"tile": (16, 16), "compression": "zlib"}, "TYX"),
        ({"byteorder": ">"}, "TYX"),
        ({"bigtiff": True}, "TYX"),
        ({"metadata": None}, "TYX"),
        ({"metadata": {"axes": "ZYX"}}, "ZYX"),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, "ZYX"),
        ({"imagej": True, "metadata": {"axes": "TYX"}}, "TYX"),
        ({"ome": True, "metadata": {"axes": "ZYX"}}, "ZYX"),
        ({"ome": True, "metadata": {"axes": "TYX"}, "compression": "zlib"}, "TYX"),
    ],
)
def test_every_layout_of_a_stack_is_read_frame_by_frame(tmp_path, options, axes):
    image = read_image(written(tmp_path / "stack.tif", STACK, **options))
    assert (image.axes, image.array.shape, image.array.dtype.kind) == (axes, STACK.shape, "u")
    assert image.is_ome is bool(options.get("ome"))
    for frame in (3, 0, 2):
        np.testing.assert_array_equal(image.array[frame, :, :], STACK[frame])
    np.testing.assert_array_equal(np.asarray(image.array), STACK)


@pytest.mark.parametrize(("compression", "kind"), [(None, MappedFile), ("zlib", LazyFrames)])
def test_pixels_stay_in_the_file_and_no_file_stays_open(tmp_path, compression, kind):
    path = written(tmp_path / "stack.tif", STACK, compression=compression)
    array = open_tiff(path).array
    assert isinstance(array, kind)
    array[1, :, :]
    gc.collect()
    path.rename(tmp_path / "elsewhere.tif")
    with pytest.raises(ImageFileError, match="There is no file"):
        array[1, :, :]


@pytest.mark.parametrize("shape", [(25, 30), (1, 30), (25, 1), (1, 1)])
def test_a_single_page_is_a_single_image(tmp_path, shape):
    page = STACK[0][: shape[0], : shape[1]]
    for compression in (None, "zlib"):
        image = read_image(written(tmp_path / "image.tif", page, compression=compression))
        assert (image.axes, image.array.shape) == ("YX", shape)
        np.testing.assert_array_equal(np.asarray(image.array), page)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_colours_come_last_however_they_are_stored(tmp_path, compression, planarconfig):
    colours = np.random.default_rng(1).integers(0, 256, (5, 25, 30, 3), dtype=np.uint8)
    stored = colours if planarconfig == "contig" else np.moveaxis(colours, -1, 1)
    options = {"photometric": "rgb", "planarconfig": planarconfig, "compression": compression}
    image = read_image(written(tmp_path / "colours.tif", stored, **options))
    assert image.axes == "TYXS"
    np.testing.assert_array_equal(image.array[2, :, :, :], colours[2])
    single = read_image(written(tmp_path / "colour.tif", stored[1], **options))
    assert single.axes == "YXS"
    np.testing.assert_array_equal(np.asarray(single.array), colours[1])


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"imagej": True, "metadata": {"axes": "TZCYX"}}, (5, 1, 2, 25, 30)),
        ({"ome": True, "metadata": {"axes": "TCYX"}}, (5, 2, 25, 30)),
        ({"ome": True, "metadata": {"axes": "TCYX"}, "compression": "zlib"}, (5, 2, 25, 30)),
    ],
)
def test_hyperstacks_with_channels_are_kept_whole_or_reduced_to_one(tmp_path, options, shape):
    both = np.stack([STACK, STACK // 2], axis=1)
    path = written(tmp_path / "channels.tif", both.reshape(shape), **options)
    image = read_image(path)
    assert (image.axes, image.channel_axis, image.label_shape) == ("TCYX", 1, STACK.shape)
    np.testing.assert_array_equal(image.array[3, :, :, :], both[3])
    np.testing.assert_array_equal(read_image(path, channel=1).array[2, :, :], STACK[2] // 2)
    with pytest.raises(OptionError, match="There is no channel 2"):
        read_image(path, channel=2)


def test_time_points_of_volumes_are_refused_with_the_cure(tmp_path):
    path = written(tmp_path / "tz.tif", STACK[:4].reshape(2, 2, 1, 25, 30), imagej=True, metadata={"axes": "TZCYX"})
    with pytest.raises(FrameError, match=r"2 along T and 2 along Z.*save a single time point"):
        read_image(path)
    assert read_image(path, axes="CTYX").axes == "TCYX"


def test_axes_override_what_the_file_says(tmp_path):
    path = written(tmp_path / "wrong.tif", STACK, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(OptionError, match=r"has 5 channels.*or say with axes that they are frames"):
        read_image(path)
    assert read_image(path, axes="ZYX").axes == "ZYX"


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"], ids=["um", "micron", "escaped"])
def test_imagej_pixel_sizes_are_kept(tmp_path, unit):
    metadata = {"axes": "ZYX", "unit": unit, "spacing": 1.5}
    path = written(tmp_path / "z.tif", STACK, imagej=True, resolution=(4, 5), metadata=metadata)
    micrometres = {axis: PixelSize(size, MICROMETRE) for axis, size in (("Z", 1.5), ("Y", 0.2), ("X", 0.25))}
    assert read_image(path).pixel_size == micrometres
    path = written(tmp_path / "t.tif", STACK, imagej=True, metadata={"axes": "TYX", "finterval": 30.0})
    assert read_image(path).pixel_size == {"T": PixelSize(30.0, "s")}


def test_ome_pixel_sizes_are_kept_with_their_units(tmp_path):
    metadata = {"axes": "TYX", "PhysicalSizeX": 325.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.4}
    metadata |= {"TimeIncrement": 5, "TimeIncrementUnit": "min"}
    path = written(tmp_path / "t.ome.tif", STACK, ome=True, metadata=metadata)
    assert read_image(path).pixel_size == {
        "T": PixelSize(5.0, "min"),
        "Y": PixelSize(0.4, MICROMETRE),
        "X": PixelSize(325.0, "nm"),
    }


def test_a_resolution_is_a_pixel_size_only_with_a_unit(tmp_path):
    path = written(tmp_path / "cm.tif", STACK, resolution=(100, 100), resolutionunit="CENTIMETER")
    assert read_image(path).pixel_size == {axis: PixelSize(0.01, "cm") for axis in "YX"}
    assert (
        read_image(written(tmp_path / "none.tif", STACK, resolution=(100, 100), resolutionunit="NONE")).pixel_size == {}
    )


def test_a_file_of_several_images_is_refused(tmp_path):
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(STACK)
        writer.write(STACK[0, :9])
    with pytest.raises(ImageFileError, match=r"holds 2 images \(\(5, 25, 30\), \(9, 30\)\)"):
        read_image(path)


LAYOUTS = [
    {},
    {"compression": "zlib"},
    {"imagej": True, "metadata": {"axes": "TYX"}},
    {"ome": True, "metadata": {"axes": "TYX"}},
    {"ome": True, "metadata": {"axes": "TYX"}, "compression": "zlib"},
    {"metadata": None},
]


@pytest.mark.filterwarnings("ignore")  # tifffile may warn of what it finds in a damaged file
@pytest.mark.parametrize("options", LAYOUTS)
def test_a_file_cut_anywhere_is_refused_or_whole_but_never_shorter(tmp_path, options):
    whole = written(tmp_path / "whole.tif", STACK, **options).read_bytes()
    path = tmp_path / "cut.tif"
    for length in [*range(1, 1200, 7), *range(1200, len(whole), 211)]:
        path.write_bytes(whole[:length])
        try:
            image = read_image(path)
        except (ImageFileError, OptionError) as error:
            assert str(path) in str(error)  # noqa: PT017 - most lengths are refused, some cut off nothing that matters
        else:
            np.testing.assert_array_equal(np.asarray(image.array), STACK)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", LAYOUTS)
def test_a_corrupted_header_raises_nothing_but_our_errors(tmp_path, options):
    whole = written(tmp_path / "whole.tif", STACK, **options).read_bytes()
    path = tmp_path / "bad.tif"
    random = np.random.default_rng(0)
    for _ in range(300):
        bad = bytearray(whole)
        for position in random.integers(0, 700, 4):
            bad[position] = random.integers(256)
        path.write_bytes(bad)
        try:
            image = read_image(path)
            if image.has_frames:
                image.array[0]
        except (ImageFileError, FrameError, OptionError) as error:
            assert str(path) in str(error)  # noqa: PT017


def test_an_unknown_compression_says_what_to_install(tmp_path):
    path = written(tmp_path / "stack.tif", STACK, compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for page in tif.pages:
            page.tags["Compression"].overwrite(34712)  # JPEG 2000
    with pytest.raises(ImageFileError, match=r"pip install imagecodecs|cannot be read"):
        read_image(path)
