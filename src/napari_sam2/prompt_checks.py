"""Checks of prompts: what is refused on an image, what is left out with a sentence, and what the model is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import PromptError
from napari_sam2.prompts import MAX_OBJECT_ID, BoxPrompt, MaskPrompt, PointPrompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_sam2.prompts import Prompt, Target

FEW_PIXELS = 16
"""Area in working pixels below which an object is less than one cell of the model's masks."""

_MOST_NAMED = 5


def check_prompts(prompts: PromptSet, num_frames: int, height: int, width: int, *, single_image: bool = False) -> None:
    """Refuse prompts that cannot be answered on a stack of this size.

    Parameters
    ----------
    prompts : PromptSet
        The prompts.
    num_frames, height, width : int
        Size of the stack, or of the image with `num_frames` 1.
    single_image : bool
        Whether the data is one image rather than a stack. On a stack, an object may have only negative points on a
        frame (it is absent there) as long as it has a positive prompt on another.

    Raises
    ------
    PromptError
        If there are no prompts; if a frame does not exist, a point or a whole box lies outside, or a mask has another
        shape; if an object has negative points only; if an object id does not fit a label image.
    """
    if not prompts.prompts:
        raise PromptError("There are no prompts. Give at least one point, box or mask.")
    for prompt in prompts.prompts:
        if prompt.object_id > MAX_OBJECT_ID:
            raise PromptError(
                f"Object id {prompt.object_id} does not fit a label image (at most {MAX_OBJECT_ID}). Renumber it."
            )
        if prompt.frame >= num_frames:
            what = "one image, which is frame 0" if single_image else f"{num_frames} frames, numbered from 0"
            raise PromptError(
                f"{_named(prompt)}: there is no frame {prompt.frame}; the data has {what}. Correct the frame."
            )
        _check_inside(prompt, height, width)
    for object_id, given in sorted(prompts.by_object().items()):
        if is_absence(given):
            where = "" if single_image else " on any frame"
            raise PromptError(
                f"Object {object_id} has only negative points{where}, so nothing says what it is. "
                "Add a positive point, a box or a mask."
            )


def prompts_inside(prompts: PromptSet, height: int, width: int) -> PromptSet:
    """Return the prompts as the model is given them on an image of this size, in pixels: boxes end at its border.

    Raises
    ------
    PromptError
        If a box lies wholly outside.
    """
    given = tuple(p.inside(height, width) if isinstance(p, BoxPrompt) else p for p in prompts.prompts)
    return prompts if given == prompts.prompts else PromptSet(given)


def is_absence(prompts: Iterable[Prompt]) -> bool:
    """Whether the prompts of one target mean that the object is absent there: negative points and nothing else."""
    prompts = tuple(prompts)
    return bool(prompts) and all(isinstance(prompt, PointPrompt) and not prompt.positive for prompt in prompts)


def too_small_at(prompts: PromptSet, scale_y: float, scale_x: float) -> tuple[int, ...]:
    """Return the objects of which, by their boxes and masks, only a few pixels remain when the image is resized.

    Parameters
    ----------
    prompts : PromptSet
        Prompts in data pixels; points say nothing about size.
    scale_y, scale_x : float
        Working pixels per data pixel.

    Returns
    -------
    tuple of int
        Object ids, ascending.
    """
    small = set()
    for prompt in prompts.prompts:
        match prompt:
            case BoxPrompt():
                area: float = (prompt.y_max - prompt.y_min + 1) * (prompt.x_max - prompt.x_min + 1)
            case MaskPrompt():
                area = int(np.count_nonzero(prompt.crop))
            case PointPrompt():
                continue
        if area * scale_y * scale_x < FEW_PIXELS:
            small.add(prompt.object_id)
    return tuple(sorted(small))


@dataclass(frozen=True, slots=True)
class Usable:
    """Prompts that can be answered.

    Attributes
    ----------
    prompts : PromptSet
        The prompts.
    remark : str
        Which others there were, why they are left out, and what to do; empty if there were none.
    unknown : frozenset of int
        Objects without a usable prompt.
    """

    prompts: PromptSet
    remark: str = ""
    unknown: frozenset[int] = frozenset()


def without_rivals(prompts: Iterable[Prompt]) -> Usable:
    """Return the prompts with one box and one mask of an object on a frame: the first of each counts."""
    kept: list[Prompt] = []
    taken: set[tuple[type[Prompt], Target]] = set()
    rivals: dict[tuple[type[Prompt], Target], int] = {}
    for prompt in prompts:
        place = type(prompt), prompt.target
        if isinstance(prompt, BoxPrompt | MaskPrompt) and place in taken:
            rivals[place] = rivals.get(place, 1) + 1
            continue
        taken.add(place)
        kept.append(prompt)
    remarks = []
    for (kind, target), count in list(rivals.items())[:_MOST_NAMED]:
        name, cure = ("boxes", "Delete the others") if kind is BoxPrompt else ("masks", "Unite them")
        remarks.append(
            f"Object {target.object_id} has {count} {name} on frame {target.frame}, and the first one counts. "
            f"{cure}, or make them another object (M)."
        )
    return Usable(PromptSet(kept), " ".join(remarks))


def without_unknown(prompts: PromptSet) -> Usable:
    """Return the prompts without objects that have negative points alone."""
    known = {one.object_id for one in prompts.prompts if not isinstance(one, PointPrompt) or one.positive}
    unknown = set(prompts.object_ids) - known
    if not unknown:
        return Usable(prompts)
    few = sorted(unknown)[:_MOST_NAMED]
    named = f"Object {listed(few)}{' and others' if len(few) < len(unknown) else ''}"
    return Usable(
        PromptSet(prompt for prompt in prompts.prompts if prompt.object_id in known),
        f"{named} has only negative points, so nothing says what it is. Add a positive point (T), a box or a mask.",
        frozenset(unknown),
    )


def listed(object_ids: Iterable[int]) -> str:
    """Return object ids as a sentence names them, ascending: "1, 4, 7"."""
    return ", ".join(map(str, sorted(object_ids)))


def _check_inside(prompt: Prompt, height: int, width: int) -> None:
    match prompt:
        case PointPrompt(y=y, x=x):
            if not (-0.5 <= y <= height - 0.5 and -0.5 <= x <= width - 0.5):
                raise PromptError(
                    f"{_named(prompt)}: the point (y {y:g}, x {x:g}) lies outside the image of {height} x {width} "
                    "pixels. Move it inside; coordinates are (y, x) in data pixels."
                )
        case BoxPrompt():
            prompt.inside(height, width)
        case MaskPrompt():
            if prompt.shape != (height, width):
                raise PromptError(
                    f"{_named(prompt)}: the mask has shape {prompt.shape} and the image {(height, width)}. "
                    "Give a mask of the image's own shape."
                )


def _named(prompt: Prompt) -> str:
    return f"Object {prompt.object_id} on frame {prompt.frame}"
