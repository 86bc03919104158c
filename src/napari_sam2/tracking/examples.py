"""Objects that are shown to a model as examples: of what is looked for, and of what is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_sam2.errors import PromptError
from napari_sam2.inference.predictor import Example
from napari_sam2.prompt_checks import check_prompts, is_absence, prompts_inside
from napari_sam2.prompts import MaskPrompt, PointPrompt, PromptSet

if TYPE_CHECKING:
    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.prompts import Prompt
    from napari_sam2.results import ObjectMask


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Objects on one image that are prompted to be examples, checked before a model is loaded.

    Attributes
    ----------
    frames : FrameStack
        The image.
    prompts : PromptSet
        Prompts that can be answered on it, by which a model finds the objects.
    unwanted : frozenset of int
        Objects that are examples of what is not looked for.
    """

    frames: FrameStack
    prompts: PromptSet
    unwanted: frozenset[int] = frozenset()

    def masks(self, predictor: Predictor) -> tuple[ObjectMask, ...]:
        """Return the masks of the objects, by ascending id.

        Raises
        ------
        ModelError
            If the model fails.
        PromptError
            If the model finds nothing where one of them is prompted.
        """
        given = prompts_inside(self.prompts, self.frames.height, self.frames.width).by_object()
        masks = predictor.segment(self.frames[0], dict(sorted(given.items())))
        for mask in masks:
            if not (mask.logits > 0).any():
                raise PromptError(
                    f"{predictor.name} finds no object where example {mask.object_id} is. Draw a box round the object, "
                    "or give its mask."
                )
        return masks

    def examples(self, predictor: Predictor, masks: Iterable[ObjectMask]) -> tuple[Example, ...]:
        """Return what the objects, whose masks these are, look like to a model.

        Raises
        ------
        ModelError
            If the model fails.
        """
        shape = (self.frames.height, self.frames.width)
        given = [MaskPrompt(one.object_id, 0, one.logits > 0, corner=one.corner, shape=shape) for one in masks]
        described = predictor.describe(self.frames, 0, given)
        return tuple(
            replace(example, is_wanted=one.object_id not in self.unwanted)
            for one, example in zip(given, described, strict=True)
        )


def parted(like: Iterable[Prompt | Example] | None) -> tuple[tuple[Prompt, ...] | None, tuple[Example, ...]]:
    """Return what of given examples are prompts, and what was described before; no prompts if there is anything else.

    Raises
    ------
    PromptError
        If something else is given.
    """
    if like is None:
        return None, ()
    if not isinstance(like, Iterable):
        raise PromptError(f"Examples come as a list, and this is a single {type(like).__name__}. Write [example].")
    given = tuple(like)
    described = tuple(one for one in given if isinstance(one, Example))
    prompts = PromptSet(one for one in given if not isinstance(one, Example)).prompts
    return (None if described and not prompts else prompts), described


def shown_on(frames: FrameStack, prompts: Iterable[Prompt]) -> Shown:
    """Return prompts on an image as examples: each object is one, with negative points alone of what is not looked for.

    Raises
    ------
    PromptError
        If there are none, or they cannot be answered on this image.
    """
    given = PromptSet(prompts)
    unwanted = frozenset(object_id for object_id, of in given.by_object().items() if is_absence(of))
    # What is not looked for is an object, too: to the model, a click on it is one on an object.
    asked = PromptSet(
        replace(one, positive=True) if isinstance(one, PointPrompt) and one.object_id in unwanted else one
        for one in given.prompts
    )
    check_prompts(asked, 1, frames.height, frames.width, single_image=True)
    return Shown(frames, asked, unwanted)
