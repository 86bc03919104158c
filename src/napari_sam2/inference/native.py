"""Stacks of large frames: objects in crops as long as these hold them, and in whole frames where they do not."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.frame_prompts import frame_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_sam2.inference.predictor import Tracker
    from napari_sam2.prompts import Prompt
    from napari_sam2.results import ObjectMask
    from sam2_model.memory_bank import Direction
    from sam2_model.video.crops import Corner, Crops

_REACHED_PX = 4
"""Pixels of a mask on the border of a crop from which on the object is taken to go on beyond it."""


def is_cut(mask: ObjectMask, crops: Crops, corner: Corner) -> bool:
    """Whether a mask reaches a border of its crop beyond which the frame goes on."""
    (top, left), (rows, columns) = corner, crops.size
    ys, xs = (places + first for places, first in zip(np.nonzero(mask.logits > 0), mask.corner, strict=True))
    reached = ys <= top, ys >= top + rows - 1, xs <= left, xs >= left + columns - 1
    is_open = crops.open_sides(corner)
    return sum(int(side.sum()) for side, goes_on in zip(reached, is_open, strict=True) if goes_on) >= _REACHED_PX


class NativeTracker:
    """One stack of large frames.

    What answers a prompt, a crop or the whole frame, depends on the frame and its prompts alone; and how an object is
    followed depends on whether it has a prompt anywhere that the whole frame answers.

    Parameters
    ----------
    closely : Tracker
        Answers and follows in crops.
    open_whole : callable
        Opens a tracker that sees frames whole.
    crops : Crops
        The crops.
    """

    def __init__(self, closely: Tracker, open_whole: Callable[[], Tracker], crops: Crops) -> None:
        self._closely = closely
        self._open_whole = open_whole
        self._crops = crops
        self._given: dict[int, dict[int, tuple[Prompt, ...]]] = defaultdict(dict)  # by object and frame: all prompts
        self._large: dict[int, set[int]] = defaultdict(set)  # by object: frames that answer whole
        self._told: dict[int, dict[int, tuple[Prompt, ...]]] = defaultdict(dict)  # prompts that `_whole` has

    @cached_property
    def _whole(self) -> Tracker:
        return self._open_whole()

    def prompt(self, frame: int, prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Replace all prompts of some objects on a frame, and return their masks, in order."""
        corners = {
            object_id: self._crops.holding(*frame_prompt(given).extent()) for object_id, given in prompts.items()
        }
        fitting = {object_id: prompts[object_id] for object_id, corner in corners.items() if corner is not None}
        masks = {mask.object_id: mask for mask in self._closely.prompt(frame, fitting)} if fitting else {}
        for object_id, given in prompts.items():
            corner = corners[object_id]
            if corner is None or is_cut(masks[object_id], self._crops, corner):
                if corner is not None or self._is_close(object_id, frame):
                    self._closely.forget(object_id, frame)
                self._large[object_id].add(frame)
            else:
                self._large[object_id].discard(frame)
            self._given[object_id][frame] = given
            answered = self._tell_whole(object_id)
            if frame in self._large[object_id]:
                masks[object_id] = answered[frame]
        return tuple(masks[object_id] for object_id in prompts)

    def _is_close(self, object_id: int, frame: int) -> bool:
        return frame in self._given[object_id] and frame not in self._large[object_id]

    def _tell_whole(self, object_id: int) -> dict[int, ObjectMask]:
        """Give or take an object's prompts to or from the tracker of whole frames; return what it newly answered."""
        wanted = dict(self._given[object_id]) if self._large[object_id] else {}
        told, self._told[object_id] = self._told[object_id], wanted
        for frame in told.keys() - wanted.keys():
            self._whole.forget(object_id, frame)
        answered = {}
        for frame, given in wanted.items():
            if told.get(frame) is not given:
                (answered[frame],) = self._whole.prompt(frame, {object_id: given})
        return answered

    def has_seen(self, frame: int) -> bool:
        """Whether something of a frame was encoded and is kept."""
        return self._closely.has_seen(frame) or ("_whole" in vars(self) and self._whole.has_seen(frame))

    def forget(self, object_id: int, frame: int) -> None:
        """Forget the prompts of an object on a frame."""
        if self._is_close(object_id, frame):
            self._closely.forget(object_id, frame)
        self._large[object_id].discard(frame)
        del self._given[object_id][frame]
        self._tell_whole(object_id)

    def follow(self, frame: int, object_ids: Sequence[int], direction: Direction) -> tuple[ObjectMask, ...]:
        """Follow objects to a frame, next to the last one visited; masks of prompted objects are repeated."""
        whole = [object_id for object_id in object_ids if self._large[object_id]]
        close = [i for i in object_ids if not self._large[i] or self._is_close(i, frame)]
        masks = self._whole.follow(frame, whole, direction) if whole else ()
        if close:
            masks += self._closely.follow(frame, close, direction)
        found = {mask.object_id: mask for mask in masks}
        return tuple(found[object_id] for object_id in object_ids)
