"""Where the next search for objects looks, as it is chosen, and what is said of what it has found. No Qt."""

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


@dataclass(frozen=True, slots=True)
class Found:
    """What the model has found by itself.

    Attributes
    ----------
    num_kept, num_found : int
        Proposals that would be added now, and all.
    frame : int or None
        The frame that they are on, if that is not the one that is shown.
    is_asked : bool
        Whether it is asked once more if so many shall be added.
    """

    num_kept: int
    num_found: int
    frame: int | None = None
    is_asked: bool = False


def found_sentence(found: Found) -> str:
    """Return how many objects were found, and what to do with them."""
    if found.frame is not None:
        are = "1 object is" if found.num_kept == 1 else f"{found.num_kept} objects are"
        return f"{are} found on frame {found.frame}, and not added."
    it = "it" if found.num_found == 1 else "them"
    if not found.num_kept:
        return (
            f"{_objects(found.num_found)} found, and none is kept: too doubtful, or there already. Move the slider to "
            f"more, or discard {it}."
        )
    count = _objects(found.num_kept)
    if found.is_asked:
        return f"{count} are very many for one table. Press once more to add them all, or move the slider to fewer."
    return f"{count} found. Add {'it' if found.num_kept == 1 else 'them'}? The sliders choose fewer or more."


def add_words(count: int) -> str:
    """Return what stands on the button that makes objects of what was found."""
    return f"Add {_objects(count)}"


def _objects(count: int) -> str:
    return f"{count} object{'s' * (count != 1)}"
