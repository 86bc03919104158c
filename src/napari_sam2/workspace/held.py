"""The masks of a stack that are not committed yet: what each was computed from, how sure it is, and which are shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_sam2.results import FEATURE_COLUMNS, ObjectMask, ObjectScore, mean_where_any, score_table
from napari_sam2.sessions.steps import MaskSource, ModelUsed
from napari_sam2.workspace.outdated import PromptsUsed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_sam2.prompts import Prompt, PromptSet


@dataclass(frozen=True, slots=True, eq=False)
class HeldMask:
    """One object on one frame, and what decided it.

    Attributes
    ----------
    mask : ObjectMask
        The mask.
    score : ObjectScore
        How sure it is.
    prompts : tuple of Prompt
        All prompts of the object when it was computed.
    model : ModelUsed
        The model that computed it.
    """

    mask: ObjectMask
    score: ObjectScore
    prompts: tuple[Prompt, ...]
    model: ModelUsed

    @property
    def is_prompted(self) -> bool:
        """Whether there were prompts of the object on this frame; else it was followed there."""
        return any(prompt.frame == self.score.frame for prompt in self.prompts)


@dataclass(frozen=True, slots=True)
class Shown:
    """Which masks are shown. The others are kept, and are not committed.

    Attributes
    ----------
    hidden : frozenset of int
        Objects that are not shown.
    least_confidence : float
        Masks below this are not shown; 0 shows all.
    """

    hidden: frozenset[int] = frozenset()
    least_confidence: float = 0.0

    def includes(self, held: HeldMask) -> bool:
        """Return whether a mask is shown."""
        return held.mask.object_id not in self.hidden and held.score.confidence >= self.least_confidence


Snapshot = dict[int, dict[int, HeldMask]]
"""Masks by frame and object at one moment. Cheap to take, because the masks of a frame are replaced, never changed."""


class HeldMasks:
    """Masks by frame and object.

    Parameters
    ----------
    num_frames : int
        Length of the stack.
    """

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self._frames: dict[int, dict[int, HeldMask]] = {}
        self._rows: dict[int, _Row] = {}

    def __bool__(self) -> bool:
        return bool(self._frames)

    def __contains__(self, place: tuple[int, int]) -> bool:
        """Whether there is a mask of an object, the first number, on a frame, the second."""
        object_id, frame = place
        return object_id in self._frames.get(frame, {})

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames with a mask, ascending."""
        return tuple(sorted(self._frames))

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects with a mask on any frame, ascending."""
        return tuple(sorted(self._rows))

    def on(self, frame: int) -> Mapping[int, HeldMask]:
        """Return the masks of one frame, by object."""
        return self._frames.get(frame, {})

    def shown_on(self, frame: int, shown: Shown) -> tuple[ObjectMask, ...]:
        """Return the masks of one frame that are shown."""
        return tuple(held.mask for held in self.on(frame).values() if shown.includes(held))

    def parted(self, shown: Shown, locked: Collection[int]) -> tuple[Snapshot, Snapshot]:
        """Part masks that are shown, and not of locked objects, from the others.

        Returns
        -------
        before : dict
            All masks of the frames on which there are such masks, by frame and object.
        left : dict
            The others on these frames.
        """
        before: Snapshot = {}
        left: Snapshot = {}
        for frame in self.frames:
            masks = self._frames[frame]
            others = {i: one for i, one in masks.items() if i in locked or not shown.includes(one)}
            if len(others) < len(masks):
                before[frame], left[frame] = masks, others
        return before, left

    def set(self, frame: int, masks: Mapping[int, HeldMask]) -> None:
        """Replace the masks of a frame."""
        before = self._frames.pop(frame, {})
        if masks:
            self._frames[frame] = dict(masks)
        for object_id in before.keys() - masks.keys():
            row = self._rows[object_id]
            row.clear(frame)
            if not row.count:
                del self._rows[object_id]
        for object_id, held in masks.items():
            if before.get(object_id) is not held:
                if object_id not in self._rows:
                    self._rows[object_id] = _Row(self.num_frames)
                self._rows[object_id].put(frame, held)

    def count(self, frame: int, area_px: Mapping[int, int]) -> None:
        """Note how many pixels each object has in the labels of a frame, where its masks were put together."""
        for object_id in self.on(frame):
            self._rows[object_id].area_in_labels_px[frame] = area_px.get(object_id, 0)

    def scores(self) -> pd.DataFrame:
        """Table of scores of all masks, as in `Segmentation.scores`. Takes time in proportion to their number."""
        return score_table(self.iter_scores())

    def iter_scores(self, shown: Shown | None = None) -> Iterator[ObjectScore]:
        """Yield the scores of all masks, or of those that are shown, with the areas that were counted last."""
        for frame, masks in self._frames.items():
            for object_id, held in masks.items():
                if shown is None or shown.includes(held):
                    area_px = int(self._rows[object_id].area_in_labels_px[frame])
                    yield replace(held.score, area_in_labels_px=area_px)

    def features(self) -> pd.DataFrame:
        """Table of objects, as `results.feature_table` makes it of `scores`, without going through all masks."""
        return pd.DataFrame([self._rows[i].features(i) for i in self.object_ids], columns=FEATURE_COLUMNS)

    def confidences(self, object_id: int) -> NDArray[np.float32]:
        """Confidence of an object on every frame; NaN where it has no mask, or an empty one."""
        row = self._rows.get(object_id)
        if row is None:
            return np.full(self.num_frames, np.nan, np.float32)
        return np.where(row.area_px > 0, row.confidence, np.nan).astype(np.float32)

    def worst(self, object_id: int) -> tuple[float, int] | None:
        """Smallest confidence of an object where it was found, and its frame; None if it was found nowhere."""
        row = self._rows.get(object_id)
        if row is None:
            return None
        confidence = np.where(row.area_px > 0, row.confidence, np.inf)
        frame = int(confidence.argmin())
        return None if np.isinf(confidence[frame]) else (float(confidence[frame]), frame)

    def frames_lost(self, object_id: int) -> range:
        """Frames after the last one on which an object was found, else before the first, as far as it was looked for.

        Empty if it was found at both ends, or nowhere.
        """
        row = self._rows.get(object_id)
        found = np.flatnonzero(row.area_px > 0) if row is not None else np.zeros(0, np.intp)
        if row is None or not found.size:
            return range(0)
        looked = np.flatnonzero(row.area_px >= 0)
        after, before = looked[looked > found[-1]], looked[looked < found[0]]
        lost = after if after.size else before
        return range(int(lost[0]), int(lost[-1]) + 1) if lost.size else range(0)

    def outdated(self, object_id: int, prompts: tuple[Prompt, ...]) -> NDArray[np.bool_]:
        """Return on which frames there is a mask of an object from other prompts of it than these, all it has now.

        The mask of a prompted frame depends on the prompts of that frame alone.
        """
        row = self._rows.get(object_id)
        return np.zeros(self.num_frames, np.bool_) if row is None else row.used.outdated(prompts)

    def num_masks(self, object_id: int, frames: range | None = None) -> int:
        """Return on how many frames there is a mask of an object, or was looked for it; on all when none are given."""
        row = self._rows.get(object_id)
        if row is None:
            return 0
        return row.count if frames is None else int(np.count_nonzero(row.area_px[frames.start : frames.stop] >= 0))

    def snapshot(self) -> Snapshot:
        """All masks at this moment, by frame and object; whatever is set later does not reach it."""
        return dict(self._frames)


def sources_of(masks: Snapshot, current: PromptSet, shown: Shown | None = None) -> tuple[MaskSource, ...]:
    """Group masks by the prompts and the model that produced them.

    Parameters
    ----------
    masks : mapping
        From `HeldMasks.snapshot`.
    current : PromptSet
        All prompts as they are now. The mask of a prompted frame depends on the prompts of that frame alone, so it
        counts as computed from these if they are the same there.
    shown : Shown, optional
        Which masks; all when omitted.
    """
    today = current.by_object()
    states: dict[tuple[Prompt, ...], _ByFrame] = {}
    known: dict[int, _ByFrame] = {}  # by identity: the prompts of many masks are one and the same object

    def state(prompts: tuple[Prompt, ...]) -> _ByFrame:
        if id(prompts) not in known:
            known[id(prompts)] = states.setdefault(prompts, _ByFrame(prompts))
        return known[id(prompts)]

    frames: dict[tuple[int, int, ModelUsed], list[int]] = {}
    for frame in sorted(masks):
        for object_id, held in sorted(masks[frame].items()):
            if shown is not None and not shown.includes(held):
                continue
            then, now = state(held.prompts), state(today.get(object_id, ()))
            here = then.on.get(frame)
            source = now if here and here == now.on.get(frame) else then
            frames.setdefault((object_id, id(source.prompts), held.model), []).append(frame)
    return tuple(
        MaskSource(object_id, known[number].prompts, model, tuple(visited))
        for (object_id, number, model), visited in frames.items()
    )


class _ByFrame:
    """Prompts of one object, by frame."""

    __slots__ = ("on", "prompts")

    def __init__(self, prompts: tuple[Prompt, ...]) -> None:
        self.prompts = prompts
        of: dict[int, list[Prompt]] = {}
        for prompt in prompts:
            of.setdefault(prompt.frame, []).append(prompt)
        self.on = {frame: tuple(given) for frame, given in of.items()}


class _Row:
    """Confidence and areas of one object on every frame, and what its masks were computed from."""

    __slots__ = ("area_in_labels_px", "area_px", "confidence", "count", "used")

    def __init__(self, num_frames: int) -> None:
        self.confidence = np.full(num_frames, np.nan)
        self.area_px = np.full(num_frames, -1, np.int64)  # -1: no mask
        self.area_in_labels_px = np.zeros(num_frames, np.int64)
        self.count = 0
        self.used = PromptsUsed(num_frames)

    def put(self, frame: int, held: HeldMask) -> None:
        self.count += self.area_px[frame] < 0
        self.confidence[frame], self.area_px[frame] = held.score.confidence, held.score.area_px
        self.area_in_labels_px[frame] = held.score.area_in_labels_px  # until it is counted
        self.used.put(frame, held.prompts)

    def clear(self, frame: int) -> None:
        self.count -= self.area_px[frame] >= 0
        self.confidence[frame], self.area_px[frame], self.area_in_labels_px[frame] = np.nan, -1, 0
        self.used.clear(frame)

    def features(self, object_id: int) -> tuple[int, int, float, float, float, int, float]:
        found = np.flatnonzero(self.area_px > 0)
        seen = found if found.size else np.flatnonzero(self.area_px == 0)
        confidence = self.confidence[seen]
        worst = int(confidence.argmin())
        return (
            object_id,
            found.size,
            mean_where_any(self.area_in_labels_px),
            float(confidence.mean()),
            float(confidence[worst]),
            int(seen[worst]),
            float(self.area_px[seen].mean()),
        )
