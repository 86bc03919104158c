"""Objects that come among others: which pixels they get. Plain label images, one frame at a time."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray


class CommitPolicy(Enum):
    """What becomes of a pixel that belongs to a committed object when another object is committed over it."""

    KEEP = "keep"
    OVERWRITE = "overwrite"
    BY_SCORE = "by score"


def merged_plane(
    committed: NDArray[np.integer],
    incoming: NDArray[np.integer],
    policy: CommitPolicy,
    *,
    confidence_of: Mapping[int, float] | None = None,
    locked: Collection[int] = (),
) -> NDArray[np.integer]:
    """Return the label image of one frame with incoming objects among committed ones.

    An object that is on both planes is replaced by what comes in, except under KEEP, which unites the two.

    Parameters
    ----------
    committed, incoming : ndarray of int, shape (Y, X)
        Labels; 0 is background, which is free and never comes in.
    policy : CommitPolicy
        What becomes of pixels that belong to one object already and now to another.
    confidence_of : mapping of int to float, optional
        For BY_SCORE: confidence of objects on this frame. Others are certain, having been made by the user. A
        committed object keeps its pixels against one that is no more confident.
    locked : collection of int
        Objects that neither lose nor receive a pixel.

    Returns
    -------
    ndarray of int64
        Shape (Y, X).
    """
    locked_ids = np.array(sorted(locked), np.int64)
    moving = (incoming > 0) & ~np.isin(incoming, locked_ids)
    result = committed.astype(np.int64)
    if policy is not CommitPolicy.KEEP:
        result[np.isin(result, np.unique(incoming[moving]))] = 0
    taken = (result > 0) & moving
    match policy:
        case CommitPolicy.KEEP:
            moving &= ~taken
        case CommitPolicy.OVERWRITE:
            moving &= ~np.isin(result, locked_ids)
        case CommitPolicy.BY_SCORE:
            is_better = _by_object(incoming[taken], confidence_of) > _by_object(result[taken], confidence_of)
            moving[taken] = is_better & ~np.isin(result[taken], locked_ids)
    result[moving] = incoming[moving]
    return result


def exported_plane(
    committed: NDArray[np.integer],
    shown: NDArray[np.integer],
    policy: CommitPolicy,
    *,
    confidence_of: Mapping[int, float] | None = None,
    locked: Collection[int] = (),
) -> NDArray[np.integer]:
    """Return the label image of all objects on one frame: committed ones, and among them those that are shown.

    What is shown gets the pixels that a commit would give it. Locked objects come as they are: their committed pixels
    are safe, and one that is not committed on this frame is no more left out than others.

    Parameters
    ----------
    committed, shown : ndarray of int, shape (Y, X)
        Labels of the committed objects, and of those that are not committed yet.
    policy, confidence_of, locked
        As in `merged_plane`.

    Returns
    -------
    ndarray of int64
        Shape (Y, X).
    """
    held = set(locked) & set(np.unique(committed).tolist())
    return merged_plane(committed, shown, policy, confidence_of=confidence_of, locked=held)


def _by_object(labels: NDArray[np.integer], confidence_of: Mapping[int, float] | None) -> NDArray[np.float64]:
    """Return the confidence of the object of each pixel."""
    ids, numbers = np.unique(labels, return_inverse=True)
    known = confidence_of or {}
    return np.array([known.get(int(object_id), 1.0) for object_id in ids], np.float64)[numbers]
