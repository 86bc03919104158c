import logging
import math

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_sam2.files.images.reading import read_image
from napari_sam2.files.label_tiff import TiffLabelWriter
from napari_sam2.files.pixel_sizes import PixelSize, imagej_calibration, measured, ngff_scale, ome_metadata

MICRO, ANGSTROM = "\N{MICRO SIGN}", "\u00c5"

# UnitsLength and UnitsTime of OME's schema, without pixel and reference frame.
OME_LENGTHS = (
    f"Ym Zm Em Pm Tm Gm Mm km hm dam m dm cm mm {MICRO}m nm pm fm am zm ym {ANGSTROM} thou li in ft yd mi ua ly pc pt"
).split()
OME_TIMES = f"Ys Zs Es Ps Ts Gs Ms ks hs das s ds cs ms {MICRO}s ns ps fs as zs ys min h d".split()
# Of OME-Zarr: https://ngff.openmicroscopy.org/0.5/, axes metadata.
NGFF_PREFIXES = "yotta zetta exa peta tera giga mega kilo hecto deci centi milli micro nano pico femto atto zepto yocto"
NGFF_UNITS = {f"{prefix}{unit}" for prefix in ["", *NGFF_PREFIXES.split()] for unit in ("meter", "second")} | {
    *("angstrom", "foot", "inch", "mile", "parsec", "yard", "day", "hour", "minute"),
}


def stored(folder, pixel_size, name, axes="TYX"):
    with TiffLabelWriter(folder / name, shape=(2, 5, 6), dtype=np.uint16, axes=axes, pixel_size=pixel_size) as writer:
        writer.write(0, np.ones((5, 6), np.uint16))
    return read_image(folder / name).pixel_size


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
def test_every_unit_of_ome_is_read_back_as_it_was_written(tmp_path, name, axes):
    firsts = OME_TIMES if axes == "TYX" else OME_LENGTHS
    for number, first in enumerate(firsts):
        length = OME_LENGTHS[number % len(OME_LENGTHS)]
        pixel_size = {axes[0]: PixelSize(2.5, first), "Y": PixelSize(0.65, length), "X": PixelSize(0.325, length)}
        (tmp_path / f"{number}").mkdir()
        assert stored(tmp_path / f"{number}", pixel_size, name, axes) == pixel_size


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("micrometers", f"{MICRO}m"),
        ("Micrometre", f"{MICRO}m"),
        ("microns", f"{MICRO}m"),
        ("um", f"{MICRO}m"),
        ("\u03bcm", f"{MICRO}m"),
        ("\\u00B5m", f"{MICRO}m"),
        (" nanometer ", "nm"),
        ("Angstrom", ANGSTROM),
        ("\u212b", ANGSTROM),
        ("A", ANGSTROM),
        ("inch", "in"),
        ("Mm", "Mm"),
        ("mm", "mm"),
        ("furlong", "furlong"),
    ],
)
def test_units_of_length_are_known_by_many_names(text, symbol):
    assert measured("X", "0.5", text) == PixelSize(0.5, symbol)


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("sec", "s"),
        ("Seconds", "s"),
        ("msec", "ms"),
        ("us", f"{MICRO}s"),
        ("minutes", "min"),
        ("hr", "h"),
        ("days", "d"),
    ],
)
def test_units_of_time_are_known_by_many_names(text, symbol):
    assert measured("T", 5, text) == PixelSize(5.0, symbol)


@pytest.mark.parametrize(
    ("size", "unit"),
    [
        (1.0, "pixel"),
        (1.0, "Pixels"),
        (1.0, "reference frame"),
        (1.0, ""),
        (1.0, None),
        (1.0, "x" * 999),
        (1.0, "a\nb"),
        (0, "nm"),
        ("nan", "nm"),
        ("inf", "nm"),
        ("9" * 400, "nm"),
        (None, "nm"),
        ([1], "nm"),
    ],
)
def test_what_is_no_size_is_none(size, unit):
    assert measured("X", size, unit) is None


@given(st.text(), st.text(), st.sampled_from("TX"))
def test_any_text_is_a_size_or_none(size, unit, axis):
    found = measured(axis, size, unit)
    assert found is None or (found.size > 0 and math.isfinite(found.size) and found.unit)


def test_imagej_is_told_only_what_differs_from_its_custom():
    size = PixelSize(0.5, f"{MICRO}m")
    same = imagej_calibration({"T": PixelSize(5.0, "s"), "Z": size, "Y": size, "X": size})
    assert same.metadata == {"unit": "\\u00B5m", "spacing": 0.5, "finterval": 5.0}
    assert same.resolution == (2.0, 2.0)
    other = imagej_calibration({"T": PixelSize(5.0, "min"), "Z": PixelSize(20.0, "nm"), "X": size})
    assert other.metadata == {
        "unit": "\\u00B5m",
        "zunit": "nm",
        "spacing": 20.0,
        "finterval": 5.0,
        "tunit": "min",
    }


def test_a_size_along_z_alone_is_read_back(tmp_path):
    pixel_size = {"Z": PixelSize(2.0, "nm")}
    assert stored(tmp_path, pixel_size, "a.tif", "ZYX") == pixel_size


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [
        (2.7e-10, "m", PixelSize(270.0, "pm")),
        (6.5e-8, "m", PixelSize(65.0, "nm")),
        (4e9, "nm", PixelSize(4.0, "m")),
        (5e-7, "mi", PixelSize(804.672, f"{MICRO}m")),
    ],
)
def test_a_size_beyond_imagejs_resolution_is_written_in_another_unit(tmp_path, size, unit, expected):
    found = stored(tmp_path, {axis: PixelSize(size, unit) for axis in "YX"}, "a.tif")["X"]
    assert found.unit == expected.unit
    assert found.size == pytest.approx(expected.size, rel=1e-12)


def test_a_unit_that_ome_does_not_know_is_left_out_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert ome_metadata({"X": PixelSize(3.0, "furlong"), "Y": PixelSize(3.0, "nm")}) == {
            "PhysicalSizeY": 3.0,
            "PhysicalSizeYUnit": "nm",
        }
    assert "no unit 'furlong': the pixel size 3 along X is left out" in caplog.text


def test_ome_zarr_is_told_every_unit_by_its_name():
    for axis, units in (("X", OME_LENGTHS), ("T", OME_TIMES)):
        said = {unit: ngff_scale(axis, PixelSize(1.0, unit)) for unit in units}
        assert {name for _, name in said.values()} <= NGFF_UNITS
        assert {unit for unit, (scale, _) in said.items() if scale != 1.0} <= {
            "dam", "thou", "li", "ua", "ly", "pt", "das"
        }  # fmt: skip
    assert ngff_scale("X", PixelSize(2.7, ANGSTROM)) == (2.7, "angstrom")
    assert ngff_scale("T", PixelSize(200.0, f"{MICRO}s")) == (200.0, "microsecond")


@pytest.mark.parametrize(
    ("axis", "size", "scale", "name"),
    [
        ("X", PixelSize(2.0, "dam"), 20.0, "meter"),
        ("X", PixelSize(2.0, "thou"), 50.8, "micrometer"),
        ("X", PixelSize(72.0, "pt"), 25.4, "millimeter"),
        ("X", PixelSize(2.0, "ua"), 2.991957414e11, "meter"),
        ("T", PixelSize(2.0, "das"), 20.0, "second"),
        ("X", PixelSize(2.0, "furlong"), 2.0, "furlong"),
    ],
)
def test_a_unit_without_a_name_in_ome_zarr_is_converted(axis, size, scale, name):
    found, unit = ngff_scale(axis, size)
    assert unit == name
    assert found == pytest.approx(scale, rel=1e-12)


def test_a_pixel_size_of_a_file_reaches_ome_zarr(tmp_path):
    zarr = pytest.importorskip("zarr")
    from napari_sam2.files.label_zarr import ZarrLabelWriter

    metadata = {"axes": "TYX", "unit": "\\u00C5", "finterval": 5.0, "tunit": "min"}
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((2, 5, 6), np.uint8), imagej=True, resolution=(4, 2), metadata=metadata
    )
    source = read_image(tmp_path / "a.tif")
    with ZarrLabelWriter(tmp_path / "a.zarr", shape=(2, 5, 6), dtype=np.uint8, source=source) as writer:
        writer.write(0, np.ones((5, 6), np.uint8))
    (scales,) = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["ome"]["multiscales"]
    assert [axis["unit"] for axis in scales["axes"]] == ["minute", "angstrom", "angstrom"]
    assert scales["datasets"][0]["coordinateTransformations"][0]["scale"] == [5.0, 0.5, 0.25]
