"""How far apart pixels, slices and time points are, in units as people write them and as file formats know them."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

MICROMETRE = "\N{MICRO SIGN}m"

_PREFIXES = (
    ("Y", "yotta", 24),
    ("Z", "zetta", 21),
    ("E", "exa", 18),
    ("P", "peta", 15),
    ("T", "tera", 12),
    ("G", "giga", 9),
    ("M", "mega", 6),
    ("k", "kilo", 3),
    ("h", "hecto", 2),
    ("da", "deca", 1),
    ("", "", 0),
    ("d", "deci", -1),
    ("c", "centi", -2),
    ("m", "milli", -3),
    ("\N{MICRO SIGN}", "micro", -6),
    ("n", "nano", -9),
    ("p", "pico", -12),
    ("f", "femto", -15),
    ("a", "atto", -18),
    ("z", "zepto", -21),
    ("y", "yocto", -24),
)
_ANGSTROM = "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}"

# The units of OME's schema (UnitsLength and UnitsTime) in metres and seconds, by the symbols that it writes.
_LENGTHS = {f"{symbol}m": float(f"1e{power}") for symbol, _, power in _PREFIXES} | {
    _ANGSTROM: 1e-10,
    "thou": 2.54e-5,
    "li": 2.54e-2 / 12,
    "in": 2.54e-2,
    "ft": 0.3048,
    "yd": 0.9144,
    "mi": 1609.344,
    "ua": 1.495978707e11,
    "ly": 9.4607304725808e15,
    "pc": 3.0856775814913673e16,
    "pt": 2.54e-2 / 72,
}
_TIMES = {f"{symbol}s": float(f"1e{power}") for symbol, _, power in _PREFIXES} | {
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}

# Of these, the ones for which OME-Zarr has a name (from UDUNITS-2).
_NGFF_LENGTHS = {f"{symbol}m": f"{prefix}meter" for symbol, prefix, _ in _PREFIXES if prefix != "deca"} | {
    _ANGSTROM: "angstrom",
    "in": "inch",
    "ft": "foot",
    "yd": "yard",
    "mi": "mile",
    "pc": "parsec",
}
_NGFF_TIMES = {f"{symbol}s": f"{prefix}second" for symbol, prefix, _ in _PREFIXES if prefix != "deca"} | {
    "min": "minute",
    "h": "hour",
    "d": "day",
}

_LENGTH_NAMES = {
    f"{prefix}{name}": f"{symbol}m"
    for symbol, prefix, _ in _PREFIXES
    for name in ("meter", "metre", "meters", "metres")
} | {
    "micron": MICROMETRE,
    "microns": MICROMETRE,
    "a": _ANGSTROM,
    "angstrom": _ANGSTROM,
    "angstroms": _ANGSTROM,
    "\u00e5ngstr\u00f6m": _ANGSTROM,
    "inch": "in",
    "inches": "in",
    "foot": "ft",
    "feet": "ft",
    "yard": "yd",
    "yards": "yd",
    "mile": "mi",
    "miles": "mi",
    "mil": "thou",
    "line": "li",
    "point": "pt",
    "points": "pt",
    "parsec": "pc",
    "parsecs": "pc",
}
_TIME_NAMES = {
    f"{prefix}{name}": f"{symbol}s" for symbol, prefix, _ in _PREFIXES for name in ("second", "seconds", "sec", "secs")
} | {
    "msec": "ms",
    "usec": "\N{MICRO SIGN}s",
    "nsec": "ns",
    "mins": "min",
    "minute": "min",
    "minutes": "min",
    "hr": "h",
    "hrs": "h",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
}
_NO_UNITS = ("", "none", "pixel", "pixels", "px", "voxel", "voxels", "reference frame", "unknown")

_LONGEST_UNIT = 64
"""Characters. A longer text is no unit."""

_STEPS = {"m": 1.0, "mm": 1e-3, MICROMETRE: 1e-6, "nm": 1e-9, "pm": 1e-12, "fm": 1e-15}
_EVEN = 1e6
"""Sizes from 1 / 1e6 to 1e6 keep all their digits in an ImageJ TIFF, whose resolution is a quotient of integers."""


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Distance between two neighbours along an axis.

    Attributes
    ----------
    size : float
        The distance, above 0.
    unit : str
        A symbol of OME, for example "µm", "Å", "s" or "min"; or a word that a file has for a unit of its own.
    """

    size: float
    unit: str


def measured(axis: str, size: object, unit: object) -> PixelSize | None:
    """Return a pixel size from what a file gives.

    Parameters
    ----------
    axis : str
        The letter of the axis; T is measured in time, all others are lengths.
    size : object
        A number, or its digits. The sign does not count.
    unit : object
        Symbol or name, also as ImageJ writes it.

    Returns
    -------
    PixelSize or None
        None if it is no size: not a number above 0, or counted in pixels.
    """
    try:
        number = abs(float(str(size)))
    except ValueError:
        return None
    symbol = _symbol(axis, str(unit or ""))
    return PixelSize(number, symbol) if symbol and number > 0 and math.isfinite(number) else None


def ome_metadata(pixel_size: Mapping[str, PixelSize]) -> dict[str, float | str]:
    """Return pixel sizes as attributes of OME's `Pixels`; a unit that OME does not know is left out with a warning."""
    metadata: dict[str, float | str] = {}
    for axis, spacing in pixel_size.items():
        if spacing.unit not in _units(axis):
            logger.warning(
                "OME-TIFF has no unit %r: the pixel size %g along %s is left out.", spacing.unit, spacing.size, axis
            )
            continue
        name = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        metadata |= {name: spacing.size, f"{name}Unit": spacing.unit}
    return metadata


@dataclass(frozen=True, slots=True)
class ImageJCalibration:
    """Pixel sizes as an ImageJ TIFF has them.

    Attributes
    ----------
    resolution : (float, float) or None
        Pixels per unit along X and Y, for the TIFF tags. None if they are unknown.
    metadata : dict
        Lines of the description.
    """

    resolution: tuple[float, float] | None
    metadata: dict[str, float | str]


def imagej_calibration(pixel_size: Mapping[str, PixelSize]) -> ImageJCalibration:
    """Return pixel sizes for an ImageJ TIFF.

    Any unit is possible. X and Y of a size that its resolution cannot hold are given in another unit of length.
    """
    sizes = {axis: _evened(spacing) if axis in ("X", "Y") else spacing for axis, spacing in pixel_size.items()}
    metadata: dict[str, float | str] = {}
    resolution = None
    unit = sizes["X"].unit if "X" in sizes else None
    if unit is not None:
        metadata["unit"] = _imagej_unit(unit)
    if "X" in sizes and "Y" in sizes:
        resolution = (1 / sizes["X"].size, 1 / sizes["Y"].size)
    for axis, key in (("Y", "yunit"), ("Z", "zunit")):
        if axis in sizes and sizes[axis].unit != unit:
            metadata[key] = _imagej_unit(sizes[axis].unit)
    if "Z" in sizes:
        metadata["spacing"] = sizes["Z"].size
    if "T" in sizes:
        metadata["finterval"] = sizes["T"].size
        if sizes["T"].unit != "s":
            metadata["tunit"] = _imagej_unit(sizes["T"].unit)
    return ImageJCalibration(resolution, metadata)


def ngff_scale(axis: str, spacing: PixelSize) -> tuple[float, str]:
    """Return a pixel size for an axis of OME-Zarr: its scale, and the name of its unit.

    A unit that OME-Zarr has no name for is converted to one that it has; one that OME does not know stays as it is.
    """
    names = _NGFF_TIMES if axis == "T" else _NGFF_LENGTHS
    if spacing.unit in names:
        return spacing.size, names[spacing.unit]
    if spacing.unit not in _units(axis):
        return spacing.size, spacing.unit
    if axis == "T":
        return spacing.size * _TIMES[spacing.unit], names["s"]
    converted = _converted(spacing)
    return converted.size, names[converted.unit]


def _units(axis: str) -> Mapping[str, float]:
    return _TIMES if axis == "T" else _LENGTHS


def _symbol(axis: str, text: str) -> str:
    """Return OME's symbol of a unit, the text itself if it has none, nothing if it is no unit."""
    unit = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), text).strip()  # as ImageJ writes
    unit = unit.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}").replace("\N{ANGSTROM SIGN}", _ANGSTROM)
    name = unit.lower()
    if name in _NO_UNITS or len(unit) > _LONGEST_UNIT or not unit.isprintable():
        return ""
    known = _units(axis)
    if unit in known:
        return unit
    if unit.startswith("u") and f"\N{MICRO SIGN}{unit[1:]}" in known:
        return f"\N{MICRO SIGN}{unit[1:]}"
    return (_TIME_NAMES if axis == "T" else _LENGTH_NAMES).get(name, unit)


def _evened(spacing: PixelSize) -> PixelSize:
    if 1 / _EVEN <= spacing.size <= _EVEN or spacing.unit not in _LENGTHS:
        return spacing
    return _converted(spacing)


def _converted(spacing: PixelSize) -> PixelSize:
    """Return a length in the unit in which its number is from 1 to 1000, as far as there is one."""
    metres = spacing.size * _LENGTHS[spacing.unit]
    unit = next((unit for unit, step in _STEPS.items() if metres >= step), "fm")
    return PixelSize(metres / _STEPS[unit], unit)


def _imagej_unit(unit: str) -> str:
    name = {"in": "inch"}.get(unit, unit)
    # ImageJ reads ASCII alone and writes every other character in this way itself.
    return "".join(letter if letter.isascii() else f"\\u{ord(letter):04X}" for letter in name)
