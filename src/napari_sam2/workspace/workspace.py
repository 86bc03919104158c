"""One image of a viewer in the hands of a model: prompts are read from layers, masks are written to layers.

A workspace joins the rooms that do the work, and is what the console, the tests and the dock widget hold. No Qt.

- `prompt_sources` reads what is said, in our layers and in those of the user;
- `model_input` is what the model sees, and `asker` asks it and takes its answers;
- `result_layers` holds the masks, and draws them;
- `painting` reads what the user says by the brush, or by approving;
- `settling` commits, merges, deletes;
- `workspace_edits` and `history` take all of that back.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam2.errors import NapariSam2Error, OptionError
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.layers.grid import frame_at, grid_of, point_of
from napari_sam2.layers.prompt_layers import PromptEdit
from napari_sam2.layers.prompt_sources import PromptSources, painted_frames
from napari_sam2.layers.serving import default_grid
from napari_sam2.prompts import MAX_OBJECT_ID, Target
from napari_sam2.workspace.asking import Asker, Status
from napari_sam2.workspace.commits import Settling
from napari_sam2.workspace.edits import UserMaskEdit
from napari_sam2.workspace.history import History
from napari_sam2.workspace.model_input import ModelInput
from napari_sam2.workspace.objects import ObjectList
from napari_sam2.workspace.painting import followed_masks, overruling, read_painting, seen_masks
from napari_sam2.workspace.picture import ResultLayers
from napari_sam2.workspace.requests import Activity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Points, Shapes
    from napari.layers.base import Layer
    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.layers.prompt_layers import PromptLayers
    from napari_sam2.prompts import PromptSet
    from napari_sam2.results import ObjectScore
    from napari_sam2.sessions.steps import ModelUsed
    from napari_sam2.tracking.propagation import DirectionName
    from napari_sam2.workspace.commits import Settlement
    from napari_sam2.workspace.edits import MaskEdit
    from napari_sam2.workspace.held import Shown
    from napari_sam2.workspace.history import Change
    from napari_sam2.workspace.objects import ObjectNotes

HISTORY_BYTES = 2**28
"""Memory that may be spent on undoing."""


class Workspace:
    """Prompts in, masks out, for one image.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer; the prompt and result layers are added to it, and the point tool is chosen.
    image : napari.layers.Image
        The image, two- or three-dimensional. Its contrast limits are what the model sees, as they are when the first
        prompt is given.
    load : callable
        Loads the model. Called on the worker's thread, when the first prompt is given.
    post : callable
        Called on the worker's thread with a function that is to be called on the viewer's thread.
    level : int, optional
        Resolution level of a multiscale image to read; None means that of `default_grid`.

    Attributes
    ----------
    sight : ModelInput
        What the model sees.
    results : ResultLayers
        The masks that are held, and the layers of results.
    sources : PromptSources
        Where prompts are read from.
    objects : ObjectList
        Names of objects, and which are hidden and locked.
    history : History
        What can be undone.
    dialogue : Asker
        What the model was asked, and what it is doing.
    written : Path or None
        Where the work was written down until its panel was closed; None as long as it was not.
    made : tuple of napari.layers.Layer
        The layers that were made for the work, which begin with the one to commit into.

    Raises
    ------
    FrameError
        If the image has too many axes, or values that are no intensities.
    """

    changed = Signal(Status)
    """Something there is to show has changed."""

    masks_changed = Signal(int)
    """The uncommitted masks of a frame have changed."""

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        *,
        load: Callable[[], Predictor],
        post: Callable[[Callable[[], None]], None],
        level: int | None = None,
    ) -> None:
        self.viewer, self.image, self._post = viewer, image, post
        order = viewer.dims.order
        self.grid = default_grid(image, order) if level is None else grid_of(image, order, level=level)
        self.model_input = ModelInput(viewer, image, self.grid)
        self.results = ResultLayers(image, self.grid, lambda: self.frame)
        self.sources = PromptSources(image, self.grid, self.results.colour_of, lambda: self.frame)
        own = self.sources.own
        self.made: tuple[Labels, Labels, Shapes, Points] = (self.committed, self.current, own.shapes, own.points)
        self.objects = ObjectList()
        self.history = History(HISTORY_BYTES)
        self.written: Path | None = None
        self.asker = Asker(
            self.model_input, self.sources, self.results, self.objects, self.history, load=load, post=post
        )
        self._settling = Settling(self.sources, self.results, self.objects)
        self._add_layers()
        self._connect()

    # Layers ----------------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Labels:
        """The layer of the masks that are not committed."""
        return self.results.current

    @property
    def committed(self) -> Labels:
        """The layer that objects are committed into."""
        return self.results.committed

    @property
    def prompt_layers(self) -> PromptLayers:
        """The layers that the plugin has made for prompts."""
        return self.sources.own

    def _add_layers(self) -> None:
        for layer in self.made:
            self.viewer.add_layer(layer)
        points = self.prompt_layers.points
        self.viewer.layers.selection.active = points
        points.mode = "add"

    def _connect(self) -> None:
        self.sources.edited.connect(self._on_prompts)
        self.sources.spoken.connect(self.asker.ask_soon)
        self.model_input.contrast_changed.connect(self.asker.heed_contrast)
        self.asker.changed.connect(self.changed.emit)
        self.objects.changed.connect(self._on_notes)
        self.results.masks_changed.connect(self.masks_changed.emit)
        self.current.events.selected_label.connect(self._on_object)
        self.current.events.paint.connect(self._on_paint)
        self.committed.events.paint.connect(self._on_committed_paint)
        self.viewer.dims.events.current_step.connect(self._on_view)

    def _disconnect(self) -> None:
        self.sources.edited.disconnect(self._on_prompts)
        self.sources.spoken.disconnect(self.asker.ask_soon)
        self.model_input.contrast_changed.disconnect(self.asker.heed_contrast)
        self.asker.changed.disconnect(self.changed.emit)
        self.objects.changed.disconnect(self._on_notes)
        self.results.masks_changed.disconnect(self.masks_changed.emit)
        self.current.events.selected_label.disconnect(self._on_object)
        self.current.events.paint.disconnect(self._on_paint)
        self.committed.events.paint.disconnect(self._on_committed_paint)
        self.viewer.dims.events.current_step.disconnect(self._on_view)

    @property
    def frame(self) -> int:
        """The frame that the viewer shows."""
        return frame_at(self.image, self.grid, self.viewer.dims.point, self.viewer.layers.units)

    def show(self, frame: int) -> None:
        """Bring a frame onto the canvas."""
        if self.grid.frame_axis is not None:
            point = point_of(self.image, self.grid, frame, self.viewer.layers.units)
            axis = self.viewer.dims.ndim - self.image.ndim + self.grid.frame_axis
            self.viewer.dims.set_point(axis, point[self.grid.frame_axis])

    def _on_view(self) -> None:
        self.results.redraw(None if self.viewer.dims.ndisplay == 3 else [self.frame])

    # What the next prompt is of --------------------------------------------------------------------------------------

    @property
    def object_id(self) -> int:
        """The object that the next prompt is of."""
        return self.sources.object_id

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object there is anything of: a prompt, a mask, committed pixels; and the current one. Ascending."""
        return tuple(sorted({*self._in_hand(), *self.results.committed_ids, self.object_id}))

    def _in_hand(self) -> set[int]:
        """Objects with a prompt or a mask."""
        return {*self.prompts.object_ids, *self.asker.unknown, *self.results.held.object_ids}

    def colour_of(self, object_id: int) -> tuple[float, float, float, float]:
        """Colour of an object in all layers: red, green, blue and alpha in [0, 1]."""
        return self.results.colour_of(object_id)

    def choose_object(self, object_id: int) -> None:
        """Let the next prompt be of an object."""
        self.results.make_room([object_id])
        self.current.selected_label = object_id

    def new_object(self) -> int:
        """Let the next prompt be of an object that there is nothing of yet, and return its id."""
        taken = {*self._in_hand(), *self.results.committed_ids}
        highest = max(taken, default=0)
        # Numbers go on after the highest, unless it is the highest of all.
        free = highest + 1 if highest < MAX_OBJECT_ID else next(one for one in count(1) if one not in taken)
        self.choose_object(free)
        return self.object_id

    def toggle_polarity(self) -> None:
        """Let the next points be on the object if they were off it, and the other way round."""
        self.prompt_layers.toggle_polarity()
        self._announce()

    def _on_object(self) -> None:
        self.prompt_layers.choose_object(int(self.current.selected_label) or 1)
        self._announce()

    # What the model sees ---------------------------------------------------------------------------------------------

    @property
    def frames(self) -> FrameStack:
        """What the model sees."""
        return self.model_input.frames

    @property
    def channels(self) -> tuple[Image, ...]:
        """The images that it is made of: one, or what is red, green and blue."""
        return self.model_input.channels

    @property
    def sees_current_contrast(self) -> bool:
        """Whether the model sees the image as it is shown: contrast limits may have changed since the first prompt."""
        return self.model_input.is_current

    def use_channels(self, channels: Sequence[Image] = ()) -> None:
        """Let the model see one, two or three images as they are shown now; everything is asked again.

        Parameters and errors as in `ModelInput.choose`.
        """
        self.model_input.choose(channels)
        self.asker.look()

    # Prompts ---------------------------------------------------------------------------------------------------------

    @property
    def prompts(self) -> PromptSet:
        """All that is said now."""
        return self.asker.prompts

    def ask(self) -> None:
        """Read all prompts and let the model answer those that are new or changed."""
        self.asker.ask()

    def _on_prompts(self, edit: PromptEdit) -> None:
        if edit.before.is_same(edit.after):
            self.ask()
            return
        followed = list(self._keep_followed())
        lost = self.asker.ask()
        heeded = self.sources.heeded(edit)
        if heeded is not edit:
            self._post(self._drop_outside)  # napari is not done with what was drawn
        if followed or not heeded.before.is_same(heeded.after):
            self._record("edit of prompts", [heeded, *followed], lost)

    def _drop_outside(self) -> None:
        if not self.asker.is_closed:
            self.sources.drop_outside()

    def _keep_followed(self) -> Iterator[UserMaskEdit]:
        """Let clicks on masks that were followed correct them."""
        try:
            masks = followed_masks(self.results, self.prompts, self.sources.read())
        except NapariSam2Error:
            return  # what is wrong with the prompts is said when they are asked
        for frame, of_frame in masks.items():
            edit = overruling(self.sources, self.prompts, frame, of_frame)
            edit.redo()
            yield edit

    def mark_absent(self) -> None:
        """Say that the current object is not on this frame. One step to undo."""
        object_id, frame = self.object_id, self.frame
        if not set(self.prompts.frames_of(object_id)) - {frame}:
            self.complain(f"Object {object_id} is prompted on no other frame. Delete it, or prompt it where it is.")
            return
        target = Target(object_id, frame)
        left = {one: said for one, said in self.sources.user_masks.items() if one != target}
        before = self.prompt_layers.state()
        after = self.prompt_layers.state_with_absence(before, target, self.image, self.grid)
        unsaid = UserMaskEdit(self.sources, self.sources.user_masks, left)
        said = PromptEdit(self.prompt_layers, before, after)
        unsaid.redo()
        self._record("absence", [unsaid, said], self._restore(said.redo))

    def read_layer(self, layer: Layer) -> None:
        """Read a Points, Shapes or Labels layer of the user's own for prompts, too.

        Raises
        ------
        NapariSam2Error
            If it cannot be read; nothing has changed then.
        """
        if layer == self.committed or layer in self.made:
            raise OptionError(
                f"Layer {layer.name!r} is one the results or prompts of this work go into. Read prompts from another."
            )
        is_blank = self.object_id not in self._in_hand()
        self.sources.add(layer)
        self.ask()
        if is_blank and self.object_id in self._in_hand():
            self.new_object()

    def ignore_layer(self, layer: Layer) -> None:
        """Read a layer no more: what it said is not said any longer."""
        if layer in self.sources.others:
            self.sources.remove(layer)
            self.ask()

    def do_without(self, layer: Layer) -> None:
        """Read and look at a layer no more that has left the viewer."""
        self.ignore_layer(layer)
        if layer in self.channels:
            self.use_channels()
            self.complain(f"Image {layer.name!r} was removed. The model sees {self.image.name!r} alone now.")

    def clear_prompts(self) -> None:
        """Take back all that was said of the current object. One step to undo."""
        self._settle(lambda: self._settling.clear(self.object_id))

    # Masks that the user says are so ---------------------------------------------------------------------------------

    def approve(self) -> None:
        """Let the masks on this frame be what the user says: certain, remembered, never computed again."""
        self._overrule("approval", {self.frame: seen_masks(self.results, self.frame)})

    def is_approved(self, object_id: int, frame: int) -> bool:
        """Whether the mask of an object on a frame is what the user said it is."""
        return Target(object_id, frame) in self.sources.user_masks

    def _on_paint(self, event: object) -> None:
        # napari announces a fill before it is in the data, so it is read when napari is done.
        frames = self._painted_frames(event)
        self._post(lambda: self._take_paintings(frames))

    def _painted_frames(self, event: object) -> list[int]:
        """Frames that a stroke goes through: the one that is shown, unless the brush has three dimensions."""
        frames = painted_frames(getattr(event, "value", ()), self.grid)
        return [self.frame] if frames is None else sorted(frames)

    def _take_paintings(self, frames: Iterable[int]) -> None:
        if self.asker.is_closed:
            return
        paintings = {frame: read_painting(self.results, self.objects.notes, frame) for frame in frames}
        for frame in paintings:
            self.results.accept_strokes(frame)
        self._overrule("painting", {frame: painting.masks for frame, painting in paintings.items()})
        for frame, painting in paintings.items():
            if not painting.is_whole:
                self.results.set_masks(frame, self.results.held.on(frame))  # drawn again without the rest
                self.complain(painting.remark)

    def _overrule(self, name: str, masks: Mapping[int, Mapping[int, NDArray[np.bool_]]]) -> None:
        """Let masks, by frame and object, be what is said. One step to undo."""
        edits = []
        for frame, of_frame in masks.items():
            if of_frame:
                edits.append(overruling(self.sources, self.prompts, frame, of_frame))
                edits[-1].redo()
        if edits:
            self._record(name, edits, self.asker.ask())

    # The model -------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """What there is to show while the model works."""
        return self.asker.status

    @property
    def activity(self) -> Activity:
        """What the model is doing."""
        return self.asker.activity

    @property
    def working_size(self) -> int | None:
        """Side in pixels of the image that the model sees; None as long as no model is loaded."""
        return self.asker.working_size

    @property
    def model_used(self) -> ModelUsed | None:
        """The model that answers, once it is loaded."""
        return self.asker.model_used

    def warm_up(self) -> None:
        """Load the model before it is needed."""
        self.asker.warm_up()

    def use_model(self, load: Callable[[], Predictor]) -> None:
        """Let another model answer: it is asked for every prompt, and follows anew when objects are followed again.

        Parameters
        ----------
        load : callable
            Loads it, on the worker's thread.
        """
        self.asker.use_model(load)

    def propagate(
        self, direction: DirectionName = "both", *, start: int | None = None, stop: int | None = None
    ) -> None:
        """Follow the prompted objects that are not locked, as far as that is not done already.

        Called again after `cancel` it goes on where it stopped; after a correction or a new object it follows that
        object alone.

        Parameters
        ----------
        direction : {"both", "forward", "backward"}
            Which way.
        start, stop : int, optional
            First and last frame; the whole stack when omitted.
        """
        self.asker.propagate(direction, start=start, stop=stop)

    def cancel(self) -> None:
        """Stop before the next frame. What is finished stays; `propagate` goes on from there."""
        self.asker.cancel()

    # Results ---------------------------------------------------------------------------------------------------------

    def scores(self) -> pd.DataFrame:
        """Table of scores of everything that is not committed yet, as in `Segmentation.scores`."""
        return self.results.held.scores()

    def scores_on(self, frame: int) -> Mapping[int, ObjectScore]:
        """Scores of the uncommitted masks of one frame, by object."""
        return {object_id: held.score for object_id, held in self.results.held.on(frame).items()}

    def next_doubtful(self, threshold: float = 0.5) -> int | None:
        """Show the next frame, going round, on which an object was found with less confidence; None without one."""
        doubtful = self.results.held.doubtful_frames(threshold)
        if not doubtful.size:
            return None
        here, count = self.frame, len(self.frames)
        frame = int(min(doubtful.tolist(), key=lambda one: (one - here - 1) % count))
        self.show(frame)
        return frame

    @property
    def shown(self) -> Shown:
        """Which masks are to be seen, and are committed."""
        return self.results.shown

    def hide_below(self, confidence: float) -> None:
        """Hide masks below a confidence, without forgetting them; 0 shows all."""
        self._show(replace(self.shown, least_confidence=confidence))

    def _show(self, shown: Shown) -> None:
        self.results.show(shown)
        self._on_view()
        self._announce()

    def _on_notes(self, notes: ObjectNotes) -> None:
        self._show(replace(self.shown, hidden=notes.hidden))
        self.results.set_names(notes.names)
        if self.asker.waiting - notes.locked:
            self.ask()

    # What is settled -------------------------------------------------------------------------------------------------

    def use_target(self, layer: Labels) -> None:
        """Let objects be committed into a Labels layer of the user's own. Errors as in `Settling.check_target`."""
        self._settling.check_target(layer, self.prompts)
        self.committed.events.paint.disconnect(self._on_committed_paint)
        self.results.use_target(layer)
        layer.events.paint.connect(self._on_committed_paint)
        if self.object_id not in self._in_hand():
            self.new_object()
        self._announce()

    def _on_committed_paint(self, event: object) -> None:
        frames = self._painted_frames(event)
        self._post(lambda: self.results.touch(frames))

    def commit(self, policy: CommitPolicy = CommitPolicy.KEEP) -> None:
        """Move all masks that are shown and not locked to the committed objects, and prompts of which nothing is left.

        What the model is still answering is waited for. One step to undo.
        """
        self.asker.when_answered(lambda: self._commit(policy))

    def _commit(self, policy: CommitPolicy) -> None:
        if self._settle(lambda: self._settling.commit(self.prompts, policy)):
            self.new_object()

    def rename_object(self, object_id: int, name: str) -> None:
        """Give an object a name, or take it away with an empty one. One step to undo."""
        self._settle(lambda: self._settling.rename(object_id, name))

    def delete_object(self, *object_ids: int) -> None:
        """Drop all there is of objects: prompts, masks, committed pixels, names. One step to undo."""
        is_done = self._settle(lambda: self._settling.delete(self.prompts, object_ids))
        if is_done and self.object_id in object_ids:
            left = [one for one in self.object_ids if one != self.object_id]
            after = [one for one in left if one > self.object_id]
            self.choose_object((after or left[-1:] or [self.object_id])[0])

    def merge_objects(self, into: int, *others: int) -> None:
        """Make committed pixels of objects pixels of another, and drop their names. One step to undo.

        Masks that are not committed cannot be put together: each is what the model makes of the prompts of one object.
        """
        if self._settle(lambda: self._settling.merge(self.prompts, into, others)):
            self.choose_object(into)

    def _settle(self, step: Callable[[], Settlement | None]) -> bool:
        """Make a step, or say why it cannot be made; return whether anything has changed."""
        try:
            settlement = step()
        except NapariSam2Error as error:
            self.complain(str(error))
            return False
        if settlement is None:
            return False
        lost = self._restore(settlement.finish) if settlement.left else ()
        self._record(settlement.name, [*settlement.made, *settlement.left], lost)
        if settlement.remark:
            self.complain(settlement.remark)
        self._announce()
        return True

    # Undo ------------------------------------------------------------------------------------------------------------

    def _record(self, name: str, changes: Sequence[Change], lost: Sequence[MaskEdit] = ()) -> None:
        """Remember a step, after what a propagation has done until then.

        Masks that were lost by it come back with it, unless they are so many that nothing else could be undone.
        """
        self.asker.settle_history()
        is_bearable = sum(edit.num_bytes for edit in lost) <= HISTORY_BYTES // 2
        self.history.record(name, [*changes, *lost] if is_bearable else changes)

    def undo(self) -> None:
        """Take back the newest step: a prompt, a propagation, a commit. A propagation that runs is stopped."""
        if self.activity is not Activity.FOLLOWING or self.asker.break_off():
            self._restore(self.history.undo)

    def redo(self) -> None:
        """Make the step again that was taken back last."""
        self._restore(self.history.redo)

    def _restore(self, step: Callable[[], object]) -> tuple[MaskEdit, ...]:
        """Let layers be changed by us, not by the user, and ask once at the end; returns what `Asker.ask` does."""
        self.sources.restore(step)
        self.results.refresh()
        return self.asker.ask()

    # The end ---------------------------------------------------------------------------------------------------------

    def close(self, timeout_s: float | None = None) -> None:
        """Stop the model and forget it. The layers stay.

        Parameters
        ----------
        timeout_s : float, optional
            How long to wait for the frame in hand; as long as it takes when omitted.
        """
        self._disconnect()
        self.sources.close()
        self.model_input.close()
        self.asker.close(timeout_s)

    def reopen(self, *, load: Callable[[], Predictor], post: Callable[[Callable[[], None]], None]) -> None:
        """Go on after `close`, with a model that is loaded when it is needed; parameters as of the class."""
        self._post = post
        self.sources.reopen()
        self.model_input.reopen()
        self._connect()
        self.asker.open(load=load, post=post)

    def complain(self, message: str) -> None:
        """Show a sentence about something that cannot be done."""
        self.asker.complain(message)

    def _announce(self) -> None:
        """Tell that something there is to show has changed, beside the status."""
        self.changed.emit(self.status)
