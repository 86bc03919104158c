"""What is drawn with the mouse, before it is a prompt of any object."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_sam2.layers.grid import LayerGrid


class Kind(Enum):
    """What can be drawn, by napari's name of the shape."""

    POINT = "point"
    BOX = "rectangle"
    LASSO = "polygon"
    SCRIBBLE = "path"

    def outline(self, path: Sequence[NDArray[np.float64]], grid: LayerGrid) -> NDArray[np.float64]:
        """Return the vertices of what the mouse draws on a path.

        Parameters
        ----------
        path : sequence of ndarray
            Where the mouse was, in data coordinates of the layer, each (d,).
        grid : LayerGrid
            How the image is read.

        Returns
        -------
        ndarray
            (N, d): the corners of the upright rectangle between both ends, or the path itself.
        """
        if self is not Kind.BOX:
            return np.array(path)
        corners = np.array([path[0], path[0], path[-1], path[-1]])
        corners[1, grid.column_axis], corners[3, grid.column_axis] = (
            path[-1][grid.column_axis],
            path[0][grid.column_axis],
        )
        return corners


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One thing that was drawn.

    Attributes
    ----------
    kind : Kind
        What.
    outline : ndarray
        Its vertices, data coordinates of our layers, (N, d); a point has one.
    is_positive : bool
        Whether it says what is of the object, or what is not.
    """

    kind: Kind
    outline: NDArray[np.float64]
    is_positive: bool = True
