"""Masks that somebody should look at: which are doubtful, and which of them comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.prompts import Target
from napari_sam2.workspace.confidence import confidence_table

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from napari_sam2.workspace.held import HeldMasks


@dataclass(frozen=True, slots=True, eq=False)
class Doubts:
    """All doubtful masks.

    Attributes
    ----------
    object_ids : tuple of int
        The objects that may be doubtful, ascending.
    is_doubtful : ndarray
        (frames, objects) bool.
    """

    object_ids: tuple[int, ...]
    is_doubtful: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(np.count_nonzero(self.is_doubtful))

    def after(self, place: Target) -> Target | None:
        """Return the next doubtful mask after a place, by frame, then by object, going round; None without any."""
        found = np.flatnonzero(self.is_doubtful)
        if not found.size:
            return None
        count = len(self.object_ids)
        behind = place.frame * count + np.searchsorted(self.object_ids, place.object_id, side="right")
        frame, number = divmod(int(found[np.searchsorted(found, behind) % found.size]), count)
        return Target(self.object_ids[number], frame)


def find_doubts(
    held: HeldMasks, threshold: float, *, certain: Collection[Target] = (), left_out: Collection[int] = ()
) -> Doubts:
    """Find masks of objects that were found with less confidence than a threshold.

    Parameters
    ----------
    held : HeldMasks
        The masks.
    threshold : float
        Confidence, in [0, 1].
    certain : collection of Target
        Masks of the user, who has judged them.
    left_out : collection of int
        Objects that are not looked at: hidden or locked ones.
    """
    table = confidence_table(held, [one for one in held.object_ids if one not in left_out])
    is_doubtful = np.ascontiguousarray((table.values < threshold).T)
    column_of = {object_id: column for column, object_id in enumerate(table.object_ids)}
    for target in certain:
        if target.object_id in column_of:
            is_doubtful[target.frame, column_of[target.object_id]] = False
    return Doubts(table.object_ids, is_doubtful)


def doubt_sentence(target: Target, confidence: float, *, is_stack: bool, approve_key: str) -> str:
    """Return why somebody should look at a mask, and what to do."""
    where = f" on frame {target.frame}" if is_stack else ""
    return (
        f"Object {target.object_id} is doubtful{where} ({confidence:.2f}): click to correct it, {approve_key} if it is "
        "right."
    )
