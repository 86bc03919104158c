import gc
import io
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings

from napari_sam2.errors import FrameError, ImageFileError, OptionError
from napari_sam2.files.images.arrays import LazyFrames, UncompressedFile
from napari_sam2.files.images.reading import read_image, read_label_image
from napari_sam2.files.images.tiff import open_tiff
from napari_sam2.files.pixel_sizes import PixelSize
from tests.napari_sam2.mutated_bytes import mutated

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


@pytest.mark.parametrize(("compression", "kind"), [(None, UncompressedFile), ("zlib", LazyFrames)])
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


@pytest.mark.parametrize("unit", ["um", "micron", "Micrometers", "\\u00B5m"])
def test_imagej_pixel_sizes_are_kept(tmp_path, unit):
    metadata = {"axes": "ZYX", "unit": unit, "spacing": 1.5}
    path = written(tmp_path / "z.tif", STACK, imagej=True, resolution=(4, 5), metadata=metadata)
    micrometres = {axis: PixelSize(size, MICROMETRE) for axis, size in (("Z", 1.5), ("Y", 0.2), ("X", 0.25))}
    assert read_image(path).pixel_size == micrometres
    path = written(tmp_path / "t.tif", STACK, imagej=True, metadata={"axes": "TYX", "finterval": 30.0})
    assert read_image(path).pixel_size == {"T": PixelSize(30.0, "s")}


def test_imagej_units_that_differ_by_axis_are_kept(tmp_path):
    metadata = {"axes": "ZYX", "unit": "um", "yunit": "nm", "zunit": "\\u00C5", "spacing": 1.5}
    path = written(tmp_path / "z.tif", STACK, imagej=True, resolution=(4, 5), metadata=metadata)
    assert read_image(path).pixel_size == {
        "Z": PixelSize(1.5, "\u00c5"),
        "Y": PixelSize(0.2, "nm"),
        "X": PixelSize(0.25, MICROMETRE),
    }
    metadata = {"axes": "TYX", "finterval": 5.0, "tunit": "minutes"}
    path = written(tmp_path / "t.tif", STACK, imagej=True, metadata=metadata)
    assert read_image(path).pixel_size == {"T": PixelSize(5.0, "min")}


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


def stored(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


WHOLE = [stored(STACK, **options) for options in LAYOUTS]
WHOLE += [stored(STACK, bigtiff=True), stored(STACK, tile=(16, 16)), stored(STACK, compression="lzma")]
WHOLE += [stored(STACK > 9, photometric="minisblack", compression="zlib")]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutated(WHOLE))
def test_a_damaged_file_raises_nothing_but_our_errors(tmp_path, data):
    path = tmp_path / "bad.tif"
    path.write_bytes(data)
    try:
        image = read_image(path)
        if image.has_frames:
            image.array[0]
    except (ImageFileError, FrameError, OptionError) as error:
        assert str(path) in str(error)  # noqa: PT017


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"ome": True, "metadata": {"axes": "TYX"}}])
def test_a_file_replaced_while_it_is_read_stops_the_reading(tmp_path, options):
    path = written(tmp_path / "stack.tif", STACK, **options)
    image = read_image(path)
    np.testing.assert_array_equal(image.array[0], STACK[0])
    path.write_text("hello" * 9999)
    with pytest.raises(ImageFileError, match=r"stack\.tif has changed since it was opened"):
        image.array[4]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("alpha", [True, False])
def test_two_samples_of_a_pixel_are_grey_with_alpha_or_two_channels(tmp_path, compression, planarconfig, alpha):
    both = np.stack([STACK, STACK // 2], -1 if planarconfig == "contig" else 1)
    options = {"photometric": "minisblack", "planarconfig": planarconfig, "compression": compression}
    options["extrasamples"] = ["unassalpha" if alpha else "unspecified"]
    image = read_image(written(tmp_path / "stack.tif", both, **options))
    single = read_image(written(tmp_path / "image.tif", both[1], **options))
    if alpha:
        assert (image.axes, single.axes) == ("TYX", "YX")
        np.testing.assert_array_equal(image.array[2], STACK[2])
        np.testing.assert_array_equal(np.asarray(single.array), STACK[1])
    else:
        assert (image.axes, image.channel_axis, single.axes) == ("TCYX", 1, "CYX")
        np.testing.assert_array_equal(image.array[2], [STACK[2], STACK[2] // 2])
        np.testing.assert_array_equal(np.asarray(single.array), [STACK[1], STACK[1] // 2])


def test_many_samples_of_grey_are_channels_and_one_is_chosen(tmp_path):
    five = np.stack([STACK + channel for channel in range(5)], -1)
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    path = written(tmp_path / "five.tif", five, **options)
    with pytest.raises(OptionError, match=r"has 5 channels.*Choose one of 0 to 4"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, channel=3).array[1], STACK[1] + 3)
    path = written(tmp_path / "four.tif", five[..., :4], extrasamples=["unspecified"] * 3, **options)
    with pytest.raises(OptionError, match="has 4 channels"):
        read_image(path)
    assert read_image(written(tmp_path / "three.tif", five[..., :3], **options)).axes == "TYXS"
    path = written(tmp_path / "rgb.tif", five, photometric="rgb", planarconfig="contig")
    np.testing.assert_array_equal(read_image(path, channel=4).array[1], STACK[1] + 4)


def test_colours_that_are_not_red_green_blue_are_refused_by_name(tmp_path):
    path = written(tmp_path / "a.tif", np.zeros((25, 30, 4), np.uint8), photometric="separated")
    with pytest.raises(ImageFileError, match=r"holds CMYK colours.*Save it as RGB or grey"):
        read_image(path)


@pytest.mark.parametrize("metadata", [None, {}])
def test_three_planes_of_unknown_meaning_are_refused_with_both_axes(tmp_path, metadata):
    path = written(tmp_path / "a.tif", STACK[:3], photometric="minisblack", metadata=metadata)
    with pytest.raises(OptionError, match=r"\(3, 25, 30\).*--axes TYX for time points.*--axes CYX for channels"):
        read_image(path)
    assert read_image(path, axes="TYX").axes == "TYX"
    assert read_image(path, axes="CYX").axes == "CYX"
    assert read_label_image(path).axes == "TYX"


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"ome": True, "metadata": {"axes": "TYX"}},
        {"metadata": {"axes": "TYX"}, "photometric": "minisblack"},
    ],
)
def test_three_planes_that_the_file_names_are_taken_as_named(tmp_path, options):
    assert read_image(written(tmp_path / "a.tif", STACK[:3], **options)).axes == "TYX"


# LZW, JPEG, JPEG 2000, Zstandard: of these, only what Python itself knows can be read without the extra.
@pytest.mark.parametrize("compression", [5, 7, 34712, 50000])
def test_a_compression_that_needs_a_package_names_the_extra_that_brings_it(tmp_path, compression):
    path = written(tmp_path / "stack.tif", STACK, compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for page in tif.pages:
            page.tags["Compression"].overwrite(compression)
    with pytest.raises(ImageFileError, match=r'pip install "napari-sam2\[codecs\]"|cannot be read'):
        read_image(path)


def test_the_extra_that_messages_name_exists():
    extras = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert extras["codecs"] == ["imagecodecs"]
    assert any("codecs" in requirement for requirement in extras["all"])
