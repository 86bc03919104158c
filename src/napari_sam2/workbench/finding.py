"""Where the next search for objects looks, as it is chosen, and what is said of what it has found. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import OptionError
from napari_sam2.inference.predictor import Search, ShownObject
from napari_sam2.layers.search_places import region_of, seeds_of, window_in_view
from napari_sam2.prompts import MaskPrompt

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
    examples : tuple of ShownObject
        What objects are compared with; empty if all are looked for.
    """

    area: Area | Shapes = Area.FRAME
    seeds: Points | Labels | None = None
    examples: tuple[ShownObject, ...] = ()

    def with_example(self, work: Workspace, *, is_wanted: bool) -> SearchPlaces:
        """Return the same places with the selected object as one more example, as it is on the frame that is shown.

        An object that has no mask there adds nothing, if there are examples already: they serve on the next image.

        Raises
        ------
        OptionError
            If there would be no example of what is wanted.
        """
        object_id, frame, grid = work.sources.own.object_id, work.frame, work.grid
        held = work.picture.held.on(frame).get(object_id)
        examples = self.examples
        if held is not None and held.score.area_px:
            inside, shape = held.mask.logits > 0, (grid.height, grid.width)
            mask = MaskPrompt(object_id, frame, inside, corner=held.mask.corner, shape=shape)
            frames = work.model_input.frames
            others = (one for one in examples if (one.frames, one.frame, one.mask) != (frames, frame, mask))
            examples = (*others, ShownObject(frames, frame, mask, is_wanted))
        if not any(one.is_wanted for one in examples):
            raise OptionError(
                "Select an object with a mask on this frame first, and all that is like it is found. Examples of what "
                "is not looked for come after that."
            )
        return replace(self, examples=examples)

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
                work.finder.search(frame, Search(seeds), examples=self.examples)
            case Area.VIEW:
                window = window_in_view(image, grid)
                work.finder.search(frame, Search(seeds, window), examples=self.examples)
            case layer:
                region = region_of(layer, image, grid, frame)
                rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
                window = (
                    slice(int(rows[0]), int(rows[-1]) + 1),
                    slice(int(columns[0]), int(columns[-1]) + 1),
                )
                work.finder.search(frame, Search(seeds, window), region, self.examples)


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
