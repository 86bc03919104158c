"""Other masks of the last click: the model has three for each, and shows the one that it thinks best."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import OptionError
from napari_sam2.prompts import NUM_CANDIDATES, PointPrompt
from napari_sam2.workspace.history import Edit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Image

    from napari_sam2.layers.prompt_layers import LayersState, PromptLayers
    from napari_sam2.prompts import Prompt, Target
    from napari_sam2.results import ObjectMask
    from napari_sam2.sessions.steps import ModelUsed
    from napari_sam2.workspace.asking import Asker
    from napari_sam2.workspace.held import HeldMask
    from napari_sam2.workspace.history import Change, History
    from napari_sam2.workspace.objects import ObjectList
    from napari_sam2.workspace.picture import Picture

ALIKE = 0.98
"""Overlap (intersection over union) from which on two masks look the same."""

_ORDER = (None, *range(NUM_CANDIDATES))
"""The model's own choice, then its masks by number, and round again."""


@dataclass(slots=True, eq=False)
class _Choice:
    """A choice of a mask, as a step to undo. What was chosen may change until it is answered."""

    layers: PromptLayers
    before: LayersState
    after: LayersState
    step: Edit = field(init=False)

    def __post_init__(self) -> None:
        num_bytes = self.before.num_bytes + self.after.num_bytes
        undo, redo = (lambda: self.layers.restore(self.before)), (lambda: self.layers.restore(self.after))
        self.step = Edit(undo, redo, num_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """A search for a mask that looks different: the click, what was seen before, and what is left to try."""

    click: PointPrompt
    seen: HeldMask
    own: ObjectMask | None  # what the model chose by itself, if that was seen
    choice: _Choice
    left: tuple[int | None, ...]
    restore: Callable[[Callable[[], object]], object]


class CandidateCycle:
    """Shows one mask of a click after the other, and leaves out those that look like one that was shown.

    Parameters
    ----------
    asker : Asker
        Is told what is shown, and asks the model.
    layers : PromptLayers
        Has the clicks.
    image : napari.layers.Image
        The image they lie on.
    picture : Picture
        Has the masks.
    objects : ObjectList
        Tells which objects are locked.
    history : History
        Where a choice is a step, and is none if all masks look the same.
    """

    def __init__(
        self,
        asker: Asker,
        layers: PromptLayers,
        image: Image,
        picture: Picture,
        objects: ObjectList,
        history: History,
    ) -> None:
        self._asker, self._layers, self._image, self._picture = asker, layers, image, picture
        self._objects, self._history = objects, history
        self._own: tuple[tuple[tuple[Prompt, ...], ModelUsed], ObjectMask] | None = None

    def show_next(
        self,
        target: Target,
        restore: Callable[[Callable[[], object]], object],
        record: Callable[[Change], object],
    ) -> None:
        """Show the next mask of the last click of an object on a frame, or tell why there is none. One step to undo.

        Parameters
        ----------
        target : Target
            The object and the frame.
        restore : callable
            Runs a step that changes layers, and asks the model about what they hold then.
        record : callable
            Records a step that was made.
        """
        try:
            self._objects.notes.refuse_locked([target.object_id])
        except OptionError as error:
            self._asker.complain(str(error))
            return
        given = self._asker.prompts.get(target, ())
        click = next((one for one in reversed(given) if isinstance(one, PointPrompt)), None)
        seen = self._picture.held.on(target.frame).get(target.object_id)
        before = self._layers.state()
        named = f"object {target.object_id} on this frame"
        if click is None:
            self._asker.tell(
                f"There is no click of {named}. Click it, and A shows another mask of it.", is_of_place=True
            )
        elif not click.positive:
            self._asker.tell(
                f"The last click of {named} excludes. A shows other masks of a click that includes.", is_of_place=True
            )
        elif self._layers.state_with_candidate(before, click, None, self._image, self._picture.grid) is None:
            self._asker.tell(
                f"The last point of {named} is of a scribble or of a layer of your own. Click the object, and A shows "
                "another mask of it.",
                is_of_place=True,
            )
        elif seen is None or not _answers(seen, given):
            self._asker.tell(
                f"The last click of {named} is not answered yet. Press A once its mask is there.", is_of_place=True
            )
        else:
            known = _without_choice(given), seen.model
            if click.candidate is None:
                self._own = known, seen.mask
            own = self._own[1] if self._own is not None and self._own[0] == known else None
            choice = _Choice(self._layers, before, before)
            place = _ORDER.index(click.candidate)
            left = (*_ORDER[place + 1 :], *_ORDER[:place])
            self._try(_Search(click, seen, own, choice, left, restore))
            record(choice.step)

    def _try(self, search: _Search) -> None:
        """Show the next mask that is left, and look at it when it is there."""
        choice, candidate = search.choice, search.left[0]
        after = self._layers.state_with_candidate(
            choice.before, search.click, candidate, self._image, self._picture.grid
        )
        assert after is not None  # it was found there before
        choice.after = after
        search.restore(choice.step.redo)
        self._asker.tell(
            "This is the mask that the model thinks best. A shows another."
            if candidate is None
            else f"Another mask of the last click, {candidate + 1} of {NUM_CANDIDATES}. A shows the next.",
            is_of_place=True,
        )
        self._asker.after_answers(lambda: self._judge(search))

    def _judge(self, search: _Search) -> None:
        """Go on to the next mask if the one that has come looks like one that was shown."""
        click, choice, candidate = search.click, search.choice, search.left[0]
        found = self._picture.held.on(click.frame).get(click.object_id)
        is_undone = not self._layers.state().is_same(choice.after)
        if found is None or found is search.seen or is_undone:
            return
        shown = [search.seen.mask] if search.own is None or candidate is None else [search.seen.mask, search.own]
        if found.score.area_px and not any(overlap(found.mask, one) >= ALIKE for one in shown):
            return
        if search.left[1:]:
            self._try(replace(search, left=search.left[1:]))
            return
        choice.after = choice.before
        search.restore(choice.step.redo)
        self._history.withdraw(choice.step)
        self._asker.tell(
            "The model has no other mask of the last click. Correct this one with a click, or drag a box round the "
            "object.",
            is_of_place=True,
        )


def overlap(one: ObjectMask, other: ObjectMask) -> float:
    """Return the intersection over union of two masks of one frame, in [0, 1]; 1 if both are empty."""
    inside = [mask.logits > 0 for mask in (one, other)]
    areas = [np.count_nonzero(mask) for mask in inside]
    starts = [max(mask.corner[axis] for mask in (one, other)) for axis in (0, 1)]
    ends = [min(mask.corner[axis] + mask.logits.shape[axis] for mask in (one, other)) for axis in (0, 1)]
    if any(start >= end for start, end in zip(starts, ends, strict=True)):
        return float(not any(areas))
    parts = [
        mask[tuple(slice(starts[axis] - corner[axis], ends[axis] - corner[axis]) for axis in (0, 1))]
        for mask, corner in zip(inside, (one.corner, other.corner), strict=True)
    ]
    common = np.count_nonzero(parts[0] & parts[1])
    union = sum(areas) - common
    return common / union if union else 1.0


def _answers(held: HeldMask, given: Sequence[Prompt]) -> bool:
    """Whether a mask is the answer to prompts, whichever of the model's masks is chosen in them."""
    frame = held.score.frame
    return _without_choice([one for one in held.prompts if one.frame == frame]) == _without_choice(given)


def _without_choice(prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
    return tuple(replace(one, candidate=None) if isinstance(one, PointPrompt) else one for one in prompts)
