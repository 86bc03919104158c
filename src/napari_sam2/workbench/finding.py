"""Where the next search for objects looks, and what it begins from: what the user has chosen for it. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.predictor import Search
from napari_sam2.layers.search_places import region_of, seeds_of, window_in_view

if TYPE_CHECKING:
    from napari.layers import Labels, Points, Shapes

    from napari_sam2.workspace.workspace import Workspace


class Area(Enum):
    """A part of the frame that no layer says."""

    FRAME = "whole frame"
    VIEW = "what is in view"


@dataclass(frozen=True, slots=True, eq=False)
class SearchPlaces:
    """Where objects are looked for.

    Attributes
    ----------
    area : Area or Shapes
        Which part of the frame is searched; of a layer, what is inside its closed shapes.
    seeds : Points, Labels or None
        Marks objects of which each is found; None if the model looks for them.
    """

    area: Area | Shapes = Area.FRAME
    seeds: Points | Labels | None = None

    def search(self, work: Workspace) -> None:
        """Begin to search the frame that is shown.

        Raises
        ------
        NapariSam2Error
            If a layer says nothing of this frame, or nothing of it is in view.
        """
        image, grid, frame = work.image, work.grid, work.frame
        seeds = None if self.seeds is None else seeds_of(self.seeds, image, grid, frame)
        match self.area:
            case Area.FRAME:
                work.finder.search(frame, Search(seeds))
            case Area.VIEW:
                work.finder.search(frame, Search(seeds, window_in_view(image, grid)))
            case layer:
                region = region_of(layer, image, grid, frame)
                rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
                window = (
                    slice(int(rows[0]), int(rows[-1]) + 1),
                    slice(int(columns[0]), int(columns[-1]) + 1),
                )
                work.finder.search(frame, Search(seeds, window), region)
