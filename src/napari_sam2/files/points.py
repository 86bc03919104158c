"""Points from tables, as napari and other programs save them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import PromptError
from napari_sam2.files.limits import read_limited

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

_COLUMNS = (("axis-0", "axis-1"), ("y", "x"), ("centroid_y_px", "centroid_x_px"))
"""Names of rows and columns: of napari's Points layers, of people, and of what is exported here."""


def read_points(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Return the points of a table, shape (N, 2): rows and columns in data pixels.

    Parameters
    ----------
    path : path
        CSV with a line of names, among them y and x, axis-0 and axis-1, or centroid_y_px and centroid_x_px.

    Raises
    ------
    ImageFileError
        If the file is missing or cannot be read.
    PromptError
        If it is no such table, or has points on several frames.
    """
    path = Path(path)
    try:
        text = read_limited(path).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise PromptError(f"{path}: this is no table of text ({error}). Save the points as CSV.") from error
    names = set(rows[0]) if rows else set()
    if "axis-2" in names:
        raise PromptError(
            f"{path}: the points have three axes, and an image has two. Save those of one frame, without it."
        )
    found = next((pair for pair in _COLUMNS if names.issuperset(pair)), None)
    if found is None:
        wanted = ", ".join(" and ".join(pair) for pair in _COLUMNS)
        raise PromptError(f"{path}: there are no points in this table. Name their columns, and give one: {wanted}.")
    return np.array([[_number(path, line, row[name]) for name in found] for line, row in enumerate(rows, 2)], float)


def _number(path: Path, line: int, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise PromptError(
            f"{path}: line {line} has {text!r} where a number should be. Correct or remove it."
        ) from error
