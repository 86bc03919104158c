"""All prompts of the objects in one image: our layers, layers of the user's own, and masks painted or approved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.errors import OptionError, PromptError
from napari_sam2.layers.prompt_layers import LayersState, PromptLayers
from napari_sam2.layers.user_layers import UserLayer
from napari_sam2.prompt_checks import without_rivals
from napari_sam2.prompts import MaskPrompt, PromptSet, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from napari.layers import Image
    from napari.layers.base import Layer

    from napari_sam2.layers.grid import LayerGrid
    from napari_sam2.layers.prompt_layers import Colour
    from napari_sam2.prompts import Prompt


@dataclass(frozen=True, slots=True)
class UserMask:
    """The mask of a target as the user has painted or approved it, or has taken it from what a model found.

    Attributes
    ----------
    mask : MaskPrompt
        The mask; it tells if it was found.
    prompts : tuple of Prompt
        The prompts the target had then; the mask takes their place. Prompts given later refine it.
    """

    mask: MaskPrompt
    prompts: tuple[Prompt, ...]


class PromptSources:
    """All prompts of one image: from our layers, from the user's layers, and masks painted or approved.

    Parameters
    ----------
    image : napari.layers.Image
        The image.
    grid : LayerGrid
        How it is read.
    colour_of : callable
        Colour of an object, RGBA in [0, 1].
    current_frame : callable
        Returns the frame that the viewer shows.

    Attributes
    ----------
    own : PromptLayers
        The layers that the plugin has made.
    user_masks : mapping of Target to UserMask
        Masks painted, approved or found, which take the place of prompts.
    retired : frozenset of Prompt
        Prompts in the user's layers that are not used any more: of objects that are committed, for example. One that
        is changed is another prompt, and is used.
    remark : str
        What was left out when all was read last, and what to do; empty if nothing was.
    """

    edited = Signal(LayersState, LayersState)
    """The user has edited our layers: what they held before and hold now."""

    others_edited = Signal()
    """The user has edited, or is about to have edited, a layer of her own that is read for prompts."""

    def __init__(
        self, image: Image, grid: LayerGrid, colour_of: Callable[[int], Colour], current_frame: Callable[[], int]
    ) -> None:
        self._image, self._grid, self._current_frame = image, grid, current_frame
        self.own = PromptLayers(image, colour_of)
        self.user_masks: Mapping[Target, UserMask] = {}
        self.retired: frozenset[Prompt] = frozenset()
        self._others: list[UserLayer] = []
        self.remark = ""
        self._given: tuple[Prompt, ...] = ()
        self._is_restoring = False
        self._last_state = self.own.state()
        self._outside: tuple[dict[int, str], dict[int, str]] = ({}, {})
        for layer in (self.own.points, self.own.shapes):
            layer.events.data.connect(self._on_edit)

    @property
    def certain(self) -> frozenset[Target]:
        """Targets with a mask that the user has judged: painted, approved or corrected, and not merely found."""
        return frozenset(target for target, one in self.user_masks.items() if one.mask.found is None)

    def read(self) -> PromptSet:
        """Read all layers, and return their prompts with the user's masks in the place of those before them.

        What cannot be used is left out, and told by `dropped` and `remark`: prompts that lie nowhere in the image,
        second boxes and masks, and layers of the user's own that make no sense at present and count as before.

        Raises
        ------
        NapariSam2Error
            If a prompt in our layers makes no sense; the message names it.
        """
        own = self._read_own()
        theirs = self._read_others()
        # What was taken out of its layer is a new prompt when it comes back.
        self.retired = self.retired.intersection(theirs)
        self._given = (*own, *(prompt for prompt in theirs if prompt not in self.retired))
        return self.combined()

    def combined(self) -> PromptSet:
        """Return what `read` returns of layers that have not changed since, with the user's masks as they are now."""
        given = without_rivals(self._given)
        remarks = [*(other.remark for other in self._others), given.remark]
        prompts = given.prompts
        if self.user_masks:
            mixed = [p for p in prompts.prompts if p.target not in self.user_masks]
            for target, drawn in self.user_masks.items():
                later = (p for p in prompts.get(target, ()) if p not in drawn.prompts)
                mixed += [drawn.mask, *later]
            with_masks = without_rivals(mixed)
            prompts = with_masks.prompts
            remarks.append(with_masks.remark)
        self.remark = " ".join(filter(None, remarks))
        return prompts

    def _read_own(self) -> tuple[Prompt, ...]:
        self._outside = ({}, {})
        return self.own.read(self._image, self._grid, current_frame=self._current_frame(), outside=self._outside)

    def _read_others(self) -> tuple[Prompt, ...]:
        return tuple(prompt for other in self._others for prompt in other.read_or_last())

    @property
    def dropped(self) -> str:
        """What of our layers lay nowhere in the image when they were read last, in a sentence; empty if nothing."""
        sentences = [sentence for one in self._outside for sentence in one.values()]
        count, first = len(sentences), next(iter(sentences), "")
        if count < 2:
            return f"{first} It is dropped: prompts are drawn on the image." if count else ""
        return f"{count} prompts are dropped, because prompts are drawn on the image. The first: {first}"

    def without_dropped(self, state: LayersState) -> LayersState:
        """Return a state of our layers without what lay nowhere in the image when they were read last."""
        if any(self._outside):
            self._last_state = state = self.own.without_numbers(state, *self._outside)
        return state

    def drop_outside(self) -> None:
        """Take out of our layers what lies nowhere in the image."""
        self._read_own()
        numbers = [list(one) for one in self._outside]
        self._outside = ({}, {})
        self.restore(lambda: self.own.remove(*numbers))

    # Layers of the user's own ----------------------------------------------------------------------------------------

    @property
    def others(self) -> tuple[Layer, ...]:
        """Layers of the user's own that are read for prompts."""
        return tuple(other.layer for other in self._others)

    @property
    def prompts_of_others(self) -> tuple[Prompt, ...]:
        """Prompts of the user's layers when they were read last, retired or not."""
        return tuple(prompt for other in self._others for prompt in other.prompts)

    def others_with(self, object_ids: Collection[int]) -> tuple[Layer, ...]:
        """Return the user's layers that had prompts of one of these objects, retired or not."""
        return tuple(one.layer for one in self._others if any(prompt.object_id in object_ids for prompt in one.prompts))

    def add(self, layer: Layer) -> None:
        """Read a Points, Shapes or Labels layer for prompts, too, from the next reading on.

        Points and shapes that name no object are of the one that is current now. In a layer with fewer axes than the
        image, prompts stand on the frame that is shown now.

        Raises
        ------
        OptionError
            If it is a layer of another kind, or one of our own.
        NapariSam2Error
            If a prompt in it makes no sense, or contradicts those of other layers, or none of them lies in the image.
        """
        if layer in self.others:
            return
        if layer in (self.own.points, self.own.shapes):
            raise OptionError(f"Layer {layer.name!r} is read for prompts already. Choose one of your own.")
        other = UserLayer(layer, self._image, self._grid, self._current_frame(), self.own.object_id)
        found = other.read()
        if other.remark and not found:
            raise PromptError(f"Layer {layer.name!r} says nothing of this image. {other.remark}")
        try:
            PromptSet((*self._read_others(), *found))
        except PromptError as error:
            raise PromptError(f"Layer {layer.name!r} cannot be read beside the others. {error}") from error
        self._others.append(other)
        self._connect(other)

    def remove(self, layer: Layer) -> None:
        """Stop reading a layer for prompts; they are gone from the next reading on."""
        for other in self._others:
            if other.layer == layer:
                self._disconnect(other)
        self._others = [other for other in self._others if other.layer != layer]

    def _connect(self, other: UserLayer) -> None:
        other.layer.events.data.connect(self._on_other)
        if other.reader is None:
            other.layer.events.features.connect(self._on_other)
        else:
            other.layer.events.paint.connect(self._on_paint)
            other.layer.events.set_data.connect(self._on_redrawn)

    def _disconnect(self, other: UserLayer) -> None:
        other.layer.events.data.disconnect(self._on_other)
        if other.reader is None:
            other.layer.events.features.disconnect(self._on_other)
        else:
            other.layer.events.paint.disconnect(self._on_paint)
            other.layer.events.set_data.disconnect(self._on_redrawn)

    def _on_other(self, event: object) -> None:
        if not _is_coming(event):
            self.others_edited.emit()

    def _on_paint(self, event: object) -> None:
        for other in self._others:
            if other.reader is not None and other.layer == getattr(event, "source", None):
                other.reader.touch(painted_frames(getattr(event, "value", ()), self._grid))
        self.others_edited.emit()

    def _on_redrawn(self, event: object) -> None:
        # All that is seen of napari's undo: the layer is drawn again, as it is when another frame is shown.
        for other in self._others:
            if other.reader is not None and other.layer == getattr(event, "source", None):
                other.reader.touch([self._current_frame()])
                if not other.repeats():
                    self.others_edited.emit()

    # Our layers ------------------------------------------------------------------------------------------------------

    def _on_edit(self, event: object) -> None:
        if _is_coming(event) or self._is_restoring:
            return
        if str(getattr(event, "action", "")) == "added":
            self.own.points.selected_data = set()  # whose ring hides whether it is on the object or off it
        self.own.colour()
        before, self._last_state = self._last_state, self.own.state()
        self.edited.emit(before, self._last_state)

    def restore(self, step: Callable[[], object]) -> None:
        """Run a step that changes our layers, without telling it as an edit of the user's."""
        self._is_restoring = True
        try:
            step()
        finally:
            self._is_restoring = False
        self._last_state = self.own.state()

    def close(self) -> None:
        """Stop listening to all layers."""
        for layer in (self.own.points, self.own.shapes):
            layer.events.data.disconnect(self._on_edit)
        for other in self._others:
            self._disconnect(other)

    def reopen(self) -> None:
        """Listen to the layers again, as they are now."""
        self._last_state = self.own.state()
        for layer in (self.own.points, self.own.shapes):
            layer.events.data.connect(self._on_edit)
        for other in self._others:
            if other.reader is not None:
                other.reader.touch()
            self._connect(other)


def painted_frames(strokes: Iterable[object], grid: LayerGrid) -> set[int] | None:
    """Frames that strokes touch; None if that cannot be told. napari gives tuples that begin with indices."""
    if grid.frame_axis is None:
        return None
    frames: set[int] = set()
    for stroke in strokes:
        key = stroke[0] if isinstance(stroke, tuple) else ()
        where = key[grid.frame_axis] if len(key) == len(grid.shape) else None
        if isinstance(where, slice):
            frames.update(range(grid.num_frames)[where])
        elif where is not None:
            frames.update(np.unique(where).tolist())
        else:
            return None
    return frames


def _is_coming(event: object) -> bool:
    """Whether an edit is announced that has not happened yet: napari tells before and after."""
    return str(getattr(event, "action", "")).endswith("ing")
