"""Masks that are older than a prompt of their object: what they were computed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.prompts import PromptSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from napari_sam2.prompts import Prompt
    from napari_sam2.workspace.held import HeldMasks


class PromptsUsed:
    """From which prompts of one object its mask of each frame was computed, and whether these are others by now.

    Prompts are told apart by identity, because those of many masks are one and the same tuple; only different tuples
    are compared, once for all of their masks.

    Parameters
    ----------
    num_frames : int
        Length of the stack.
    """

    __slots__ = ("_counts", "_now", "_number", "_prompts", "_right")

    def __init__(self, num_frames: int) -> None:
        self._number = np.zeros(num_frames, np.int64)  # the `id` of the prompts, which are kept; 0 without a mask
        self._prompts: dict[int, tuple[Prompt, ...]] = {}
        self._counts: dict[int, int] = {}
        self._now: tuple[Prompt, ...] = ()
        self._right: dict[int, tuple[int, ...] | None] = {}

    def put(self, frame: int, prompts: tuple[Prompt, ...]) -> None:
        """Note from which prompts the mask of a frame was computed."""
        self.clear(frame)
        number = id(prompts)
        self._number[frame] = number
        self._prompts[number] = prompts
        self._counts[number] = self._counts.get(number, 0) + 1

    def clear(self, frame: int) -> None:
        """Forget the mask of a frame."""
        number, self._number[frame] = int(self._number[frame]), 0
        if number:
            self._counts[number] -= 1
            if not self._counts[number]:
                del self._counts[number], self._prompts[number]
                self._right.pop(number, None)

    def outdated(self, now: tuple[Prompt, ...]) -> NDArray[np.bool_]:
        """Return on which frames there is a mask from other prompts than those of now."""
        if now is not self._now:
            self._now, self._right = now, {}
        outdated = np.zeros(len(self._number), np.bool_)
        for number, then in self._prompts.items():
            if number not in self._right:
                self._right[number] = _frames_right(then, now)
            right = self._right[number]
            if right is not None:
                is_older = self._number == number
                is_older[list(right)] = False
                outdated |= is_older
        return outdated


def _frames_right(then: tuple[Prompt, ...], now: tuple[Prompt, ...]) -> tuple[int, ...] | None:
    """Frames of which the mask is right though it was computed from earlier prompts; None for all.

    The mask of a prompted frame depends on the prompts of that frame alone.
    """
    if then is now or then == now:
        return None
    here, there = PromptSet(then), PromptSet(now)
    return tuple(target.frame for target, given in here.items() if there.get(target) == given)


def outdated_masks(
    held: HeldMasks, object_ids: Iterable[int], prompts: Mapping[int, tuple[Prompt, ...]]
) -> NDArray[np.bool_]:
    """Return where masks are older than a prompt of their object: one row per object, one column per frame.

    Parameters
    ----------
    held : HeldMasks
        The masks.
    object_ids : iterable of int
        Which objects; one without a prompt has nothing that could be newer.
    prompts : mapping
        All prompts as they are now, from `PromptSet.by_object`.
    """
    none = np.zeros(held.num_frames, np.bool_)
    rows = [held.outdated(one, prompts[one]) if one in prompts else none for one in object_ids]
    return np.array(rows, np.bool_).reshape(-1, held.num_frames)
