"""How things stand on a workbench, read for `advice`: what takes time is remembered until it changes. No Qt."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.inference.speed import Activity
from napari_sam2.prompts import BoxPrompt, PointPrompt, Target
from napari_sam2.workbench.advice import Doing, Facts, Unclear
from napari_sam2.workbench.duplicates import DuplicateFinder
from napari_sam2.workbench.finding import Found
from napari_sam2.workbench.reach import Reach
from napari_sam2.workbench.tools import tool_in_hand
from napari_sam2.workspace.outdated import outdated_masks
from napari_sam2.workspace.questions import open_question

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam2.workbench.choices import Choices
    from napari_sam2.workbench.workbench import Workbench
    from napari_sam2.workspace.held import Snapshot
    from napari_sam2.workspace.workspace import Workspace


class FactsReader:
    """Reads facts of one workbench, as often as anybody likes.

    Attributes
    ----------
    is_behind : bool
        Whether some masks were not compared yet: who reads again soon gets to know more.
    """

    def __init__(self) -> None:
        self.is_behind = False
        self._work: Workspace | None = None
        self._forget(None)

    def _forget(self, work: Workspace | None) -> None:
        self._work, self._reach, self._duplicates = work, Reach(), DuplicateFinder()
        self._seen: tuple[object, ...] = ()
        self._masks: Snapshot = {}
        self._judged = Facts()

    def read(self, bench: Workbench, work: Workspace) -> Facts:
        """Read the facts of the work in hand."""
        if work is not self._work:
            self._forget(work)
        status, choices, offered = work.asker.status, bench.choices, bench.offered
        facts = Facts(
            mode=choices.click_mode,
            tool=tool_in_hand(work),
            selected=work.sources.own.object_id,
            is_stack=work.grid.frame_axis is not None,
            may_be_channels=_may_be_channels(work),
            image=work.image.name,
            offered="" if offered is None else offered.name,
            doing=_doing(work),
            model=choices.model.name if isinstance(choices.model, Path) else choices.model,
            done=status.done,
            total=status.total,
            seconds_left=status.seconds_left,
            message=status.message,
            is_problem=status.is_problem,
            is_asked=open_question(work) is not None,
            is_begun=bool(work.asker.prompts) or bool(work.picture.held),
            found=_found(work),
            not_found=work.finder.remark,
        )
        if facts.doing is Doing.SEARCHING:
            finder = work.finder
            facts = replace(facts, done=finder.done, total=finder.total, seconds_left=finder.seconds_left)
        self.is_behind = False
        if facts.message or facts.found or facts.not_found or facts.doing is not Doing.NOTHING:
            return facts  # the rest is not asked for, and changes with every frame
        if not facts.is_begun:
            committed = work.committed
            return replace(facts, num_committed=len(committed.object_ids), committed_into=committed.layer.name)
        return self._with_masks(facts, work, choices)

    def _with_masks(self, facts: Facts, work: Workspace, choices: Choices) -> Facts:
        prompts, notes, masks = work.asker.prompts, work.objects.notes, work.picture.held.snapshot()
        reach = self._reach.read(prompts, work.grid.num_frames, notes.locked, choices)
        seen = (prompts, notes, reach, choices.threshold)
        is_same = self._seen and all(one is other for one, other in zip(seen, self._seen, strict=True))
        if not (is_same and _are_same(masks, self._masks)):
            self._seen, self._masks = seen, masks
            self._judged = _judged(work, reach, choices.threshold) if facts.is_stack else Facts()
        duplicates = self._duplicates.find(masks, work.frame, left_out=notes.hidden)
        self.is_behind = self._duplicates.is_behind(masks)
        judged = self._judged
        return replace(
            facts,
            unclear=_unclear(work, choices.threshold),
            duplicates=duplicates,
            is_followed=judged.is_followed,
            outdated=judged.outdated,
            unfollowed=judged.unfollowed,
            num_doubtful=judged.num_doubtful,
        )


def _doing(work: Workspace) -> Doing:
    status = work.asker.status
    is_ready = status.activity is Activity.READY
    if is_ready and not work.finder.is_searching:
        return Doing.NOTHING
    if work.asker.queue.used is None:
        return Doing.LOADING
    if is_ready:
        return Doing.SEARCHING
    if status.is_looking:
        return Doing.LOOKING
    return Doing.FOLLOWING if status.activity is Activity.FOLLOWING else Doing.ANSWERING


def _found(work: Workspace) -> Found | None:
    finder = work.finder
    if finder.frame is None:
        return None
    elsewhere = finder.frame if finder.frame != work.frame else None
    return Found(len(finder.kept), finder.num_found, elsewhere, is_asked=finder.is_asked)


def _may_be_channels(work: Workspace) -> bool:
    """Whether nothing tells if three planes are frames or channels."""
    axis = work.grid.frame_axis
    if axis is None or work.grid.num_frames != 3:  # red, green and blue would be three
        return False
    name = work.image.axis_labels[axis]
    return not name.strip("-0123456789")  # what napari calls an axis that nobody has named


def _are_same(masks: Snapshot, before: Snapshot) -> bool:
    """Whether masks are the same: those of a frame are replaced, never changed."""
    return len(masks) == len(before) and all(before.get(frame) is of_frame for frame, of_frame in masks.items())


def _judged(work: Workspace, reach: Mapping[int, range], threshold: float) -> Facts:
    """Judge the masks of a stack."""
    held, prompts = work.picture.held, work.asker.prompts
    num_prompted = Counter(target.object_id for target in prompts)
    outdated = outdated_masks(held, reach, prompts.by_object())
    return Facts(
        is_followed=any(held.num_masks(one) > num_prompted[one] for one in held.object_ids),
        outdated=tuple(
            one
            for is_outdated, (one, frames) in zip(outdated, reach.items(), strict=True)
            if is_outdated[frames.start : frames.stop].any()
        ),
        unfollowed=tuple(one for one, frames in reach.items() if held.num_masks(one, frames) < len(frames)),
        num_doubtful=len(work.doubts(threshold)),
    )


def _unclear(work: Workspace, threshold: float) -> Unclear | None:
    """Return the mask of the current object on this frame, if clicks or a box alone have not made it clear."""
    here = Target(work.sources.own.object_id, work.frame)
    given = work.asker.prompts.get(here, ())
    held = work.picture.held.on(here.frame).get(here.object_id)
    clicks = [prompt for prompt in given if isinstance(prompt, PointPrompt)]
    is_box = len(given) == 1 and isinstance(given[0], BoxPrompt)
    is_clicks = len(clicks) == len(given) and any(click.positive for click in clicks)
    if held is None or not (is_box or is_clicks):
        return None
    score = held.score
    if not score.area_px:
        return Unclear(here.object_id, None, len(clicks))
    return Unclear(here.object_id, score.confidence, len(clicks)) if score.confidence < threshold else None
