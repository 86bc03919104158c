"""A workspace as a session, and a session as a workspace again.

Taking a snapshot is cheap and happens on the viewer's thread; what is expensive is done where the snapshot is written,
on any thread.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import SessionError
from napari_sam2.files.atomic import check_apart
from napari_sam2.layers.label_layers import refresh_pixels
from napari_sam2.layers.planes import Planes
from napari_sam2.layers.prompt_sources import UserMask
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet, Target
from napari_sam2.sessions.document import Session
from napari_sam2.sessions.images import ImageUsed
from napari_sam2.sessions.steps import WorkLog
from napari_sam2.sessions.storage import iter_committed, iter_masks, read_session, write_session
from napari_sam2.workbench.choices import Choices
from napari_sam2.workspace.held import HeldMask, Snapshot, sources_of
from napari_sam2.workspace.objects import ObjectNotes

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from napari_sam2.frames import ContrastLimits
    from napari_sam2.prompts import Prompt
    from napari_sam2.results import ObjectMask
    from napari_sam2.sessions.document import Exported
    from napari_sam2.sessions.steps import ModelUsed
    from napari_sam2.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, eq=False)
class WorkSnapshot:
    """A workspace at one moment.

    Attributes
    ----------
    image : ImageUsed
        The image.
    contrast_limits : (float, float) or one pair per channel, optional
        What the model saw as black and white.
    choices : Choices
        What was chosen.
    prompts : PromptSet
        All prompts.
    overruled : mapping of Target to UserMask
        Masks painted, approved or found.
    notes : ObjectNotes
        Names of objects, and which are hidden and locked.
    least_confidence : float
        Confidence below which masks were not shown.
    drops_specks : bool
        Whether specks that remained of masks were dropped.
    exported : Exported or None
        The last export.
    masks : dict
        Masks that were held, by frame and object.
    log : WorkLog
        How the committed labels came about; a copy.
    committed : Planes
        The committed labels: not a copy, so they may be newer.
    """

    image: ImageUsed
    contrast_limits: ContrastLimits | None
    choices: Choices
    prompts: PromptSet
    user_masks: Mapping[Target, UserMask]
    notes: ObjectNotes
    least_confidence: float
    drops_specks: bool
    exported: Exported | None
    masks: Snapshot
    log: WorkLog
    committed: Planes

    def session(self) -> Session:
        """Return it as a session. Takes time in proportion to the masks and to what was painted."""
        self.log.record_touched(self.committed.__getitem__)
        choices, notes = self.choices, self.notes
        return Session(
            image=self.image,
            contrast_limits=self.contrast_limits,
            steps=self.log.steps,
            sources=sources_of(self.masks, self.prompts),
            prompts=self.prompts,
            approved=tuple(target for target, one in self.user_masks.items() if one.mask.found is None),
            replaced=PromptSet(p for one in self.user_masks.values() for p in one.prompts),
            names=notes.names,
            hidden=tuple(sorted(notes.hidden)),
            locked=tuple(sorted(notes.locked)),
            model=str(choices.model),
            direction=choices.direction,
            start=choices.start,
            stop=choices.stop,
            policy=choices.policy,
            threshold=choices.threshold,
            least_confidence=self.least_confidence,
            drops_specks=self.drops_specks,
            exported=self.exported,
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that anybody would miss."""
        return not (self.prompts or self.masks or self.log.steps or self.log.touched)

    def masks_on(self, frame: int) -> tuple[ObjectMask, ...]:
        """Masks that were held of a frame."""
        return tuple(held.mask for held in self.masks.get(frame, {}).values())

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write everything into one session file. Errors as in `write_session`.

        Raises
        ------
        OptionError
            If it would replace the image.
        """
        if self.image.path is not None:
            check_apart({"the session": Path(path)}, {"the image": self.image.path})
        masks = {frame: self.masks_on(frame) for frame in self.masks}
        write_session(path, self.session(), masks=masks, committed=self.committed, overwrite=overwrite)


def snapshot(work: Workspace, choices: Choices) -> WorkSnapshot:
    """Return everything in a workspace as it is now; on the viewer's thread."""
    return WorkSnapshot(
        image=_image_used(work),
        contrast_limits=work.model_input.frames.contrast_limits,
        choices=choices,
        prompts=work.asker.prompts,
        user_masks=dict(work.sources.user_masks),
        notes=work.objects.notes,
        least_confidence=work.picture.shown.least_confidence,
        drops_specks=work.picture.drops_specks,
        exported=work.exported,
        masks=work.picture.held.snapshot(),
        log=work.committed.log.copy(),
        committed=Planes(work.committed.layer.data, work.grid),
    )


def _image_used(work: Workspace) -> ImageUsed:
    image, grid = work.image, work.grid
    path = image.source.path
    array = image.data[grid.level] if image.multiscale else image.data
    natural = tuple(range(len(grid.plain_shape)))
    return ImageUsed(
        name=image.name,
        shape=grid.plain_shape,
        dtype=np.dtype(array.dtype).name,
        path=None if path is None else Path(path).absolute(),
        channels=work.model_input.channel_numbers,
        is_rgb=image.rgb,
        order=None if grid.plain_order == natural else grid.plain_order,
        level=grid.level,
    )


# Back again ----------------------------------------------------------------------------------------------------------


def restore(work: Workspace, path: str | os.PathLike[str]) -> Choices:
    """Load a session into a workspace in which nothing was done yet.

    Parameters
    ----------
    work : Workspace
        Of the image of the session.
    path : path
        A session file or folder.

    Returns
    -------
    Choices
        What was chosen then.

    Raises
    ------
    SessionError
        If the session is of another image, or damaged. Nothing has changed then, but for masks and labels on frames
        before the damaged one.
    ImageFileError
        If it cannot be read.
    """
    session = read_session(path)
    check_image(session.image, work)
    sources = {(one.object_id, frame): (one.prompts, one.model) for one in session.sources for frame in one.frames}
    for frame, plane in iter_committed(path):
        work.committed.load(frame, plane)
    work.committed.adopt(WorkLog(session.steps))
    work.objects.replace(ObjectNotes(session.names, frozenset(session.hidden), frozenset(session.locked)))
    work.hide_below(session.least_confidence)
    work.picture.drops_specks, work.exported = session.drops_specks, session.exported
    held = {frame: _held(frame, masks, sources) for frame, masks in iter_masks(path)}
    work.model_input.recall(session.contrast_limits)
    work.sources.user_masks, drawn = _masks_and_drawn(session)
    own = work.sources.own
    state = own.state_of(drawn, work.grid)
    work.sources.restore(lambda: own.restore(state))
    for frame, masks in held.items():
        work.picture.set_masks(frame, masks)
    work.picture.show_table(work.objects.notes.names)
    for layer in {work.picture.layer, work.committed.layer}:
        refresh_pixels(layer)
    work.asker.resume(session.prompts)
    return Choices(
        session.model,
        direction=session.direction,
        start=session.start,
        stop=session.stop,
        policy=session.policy,
        threshold=session.threshold,
    )


def check_image(used: ImageUsed, work: Workspace) -> None:
    """Refuse an image that is not the one of a session.

    Raises
    ------
    SessionError
        If shape, type or reading order differ.
    """
    here = _image_used(work)
    for what in ("shape", "dtype", "is_rgb", "order", "level"):
        then, now = getattr(used, what), getattr(here, what)
        if then != now:
            raise SessionError(
                f"The session is of image {used.name!r}, whose {what} is {then}, and {here.name!r} has {now}. Open the "
                "image of the session, shown in the same order of axes."
            )


def _masks_and_drawn(session: Session) -> tuple[dict[Target, UserMask], list[PointPrompt | BoxPrompt]]:
    """Return the masks of the user, and the prompts that are drawn in layers."""
    replaced: dict[Target, tuple[Prompt, ...]] = defaultdict(tuple)
    for prompt in session.replaced.prompts:
        replaced[prompt.target] += (prompt,)
    user_masks: dict[Target, UserMask] = {}
    drawn: list[PointPrompt | BoxPrompt] = []
    for prompt in (*session.replaced.prompts, *session.prompts.prompts):
        match prompt:
            case MaskPrompt():
                user_masks[prompt.target] = UserMask(prompt, replaced[prompt.target])
            case PointPrompt() | BoxPrompt():
                drawn.append(prompt)
    return user_masks, drawn


def _held(
    frame: int,
    masks: Sequence[ObjectMask],
    sources: Mapping[tuple[int, int], tuple[tuple[Prompt, ...], ModelUsed]],
) -> dict[int, HeldMask]:
    held = {}
    for mask in masks:
        # A mask that the document does not know was written after it, and is asked for again.
        if (mask.object_id, frame) in sources:
            held[mask.object_id] = HeldMask(mask, mask.score(frame), *sources[mask.object_id, frame])
    return held
