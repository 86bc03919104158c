"""One image of a viewer in work with a model: prompts are read from layers, masks are written to layers. No Qt.

A workspace makes the parts that do the work and does what needs several of them; whoever needs one part holds it:

- `sources` reads prompts, from our layers and those of the user;
- `model_input` is what the model sees, and `asker` asks it and takes its results;
- `picture` holds the masks and shows them; `committed` holds the labels they are committed into;
- `finder` has what the model finds by itself, before objects are made of it;
- `display` draws masks and prompts at the zoom of the canvas;
- `objects` has names, and which objects are hidden and locked;
- `history` takes steps back.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam2.errors import NapariSam2Error, OptionError
from napari_sam2.inference.speed import Activity
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.layers.grid import default_grid, grid_of
from napari_sam2.layers.label_layers import object_colour, refresh_pixels
from napari_sam2.layers.places import frame_at, point_of
from napari_sam2.layers.prompt_sources import PromptSources, painted_frames
from napari_sam2.prompts import MAX_OBJECT_ID, Target
from napari_sam2.workspace.asking import Asker, Status
from napari_sam2.workspace.candidates import CandidateCycle
from napari_sam2.workspace.committed import Committed
from napari_sam2.workspace.display import Display
from napari_sam2.workspace.doubt import find_doubts
from napari_sam2.workspace.edits import edit_of_drawn, edit_of_user_masks
from napari_sam2.workspace.finding import Finder
from napari_sam2.workspace.history import History
from napari_sam2.workspace.model_input import ModelInput
from napari_sam2.workspace.object_actions import ObjectActions
from napari_sam2.workspace.objects import ObjectList
from napari_sam2.workspace.painting import edit_of_given, followed_masks, read_painting, seen_masks
from napari_sam2.workspace.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from napari.layers.base import Layer
    from numpy.typing import NDArray

    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.inference.speed import SpeedLog
    from napari_sam2.layers.prompt_layers import LayersState
    from napari_sam2.prompts import PromptSet
    from napari_sam2.sessions.document import Exported
    from napari_sam2.workspace.doubt import Doubts
    from napari_sam2.workspace.history import Change, Edit
    from napari_sam2.workspace.object_actions import ObjectAction
    from napari_sam2.workspace.objects import ObjectNotes
    from napari_sam2.workspace.questions import Question

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
    speeds : SpeedLog, optional
        Where to write down how long frames took.

    Attributes
    ----------
    grid : LayerGrid
        How the image is read as frames.
    model_input, picture, committed, sources, display, objects, history, asker, finder
        The parts; see above.
    question : Question or None
        What was asked last before a drawing becomes a prompt.
    written : Path or None
        Where the work was written down until its panel was closed; None as long as it was not.
    exported : Exported or None
        The last export of the work.
    made : tuple of napari.layers.Layer
        The layers that were made for the work, which begin with the one to commit into.

    Raises
    ------
    FrameError
        If the image has too many axes, or values that are no intensities.
    """

    changed = Signal(Status)
    """Something there is to show has changed."""

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        *,
        load: Callable[[], Predictor],
        post: Callable[[Callable[[], None]], None],
        level: int | None = None,
        speeds: SpeedLog | None = None,
    ) -> None:
        self.viewer, self.image, self._post = viewer, image, post
        order = viewer.dims.order
        self.grid = default_grid(image, order) if level is None else grid_of(image, order, level=level)
        self.model_input = ModelInput(viewer, image, self.grid)
        self.picture = Picture(image, self.grid, lambda: self.frame)
        self.committed = Committed(image, self.grid)
        current = self.picture.layer
        self.sources = PromptSources(image, self.grid, lambda one: object_colour(current, one), lambda: self.frame)
        own = self.sources.own
        self.made: tuple[Layer, ...] = (self.committed.made, current, own.shapes, own.points)
        self.objects = ObjectList()
        masks, held = (self.committed.made, current), self.picture.held
        self.display = Display(viewer, image, self.grid, own, masks, is_answered=lambda *place: place in held)
        self.history = History(HISTORY_BYTES)
        self.question: Question | None = None
        self._before_new: tuple[Sequence[int], int] = ((), 0)
        self.written: Path | None = None
        self.exported: Exported | None = None
        self.asker: Asker = Asker(
            self.model_input,
            self.sources,
            self.picture,
            self.objects,
            self.history,
            load=load,
            post=post,
            speeds=speeds,
        )
        self.finder = Finder(viewer, image, self.asker, self.picture, self.committed)
        self._actions = ObjectActions(self.sources, self.picture, self.committed, self.objects)
        self._cycle = CandidateCycle(self.asker, own, image, self.picture, self.objects, self.history)
        for layer in self.made:
            viewer.add_layer(layer)
        viewer.layers.selection.active = own.points
        own.points.mode = "add"
        self._connect()

    def _signals(self) -> Iterator[tuple[object, Callable[..., object]]]:
        """Signals of the parts and layers, and what listens to them."""
        yield self.sources.edited, self._on_prompts
        yield self.sources.others_edited, self.asker.ask_soon
        yield self.model_input.contrast_changed, self.asker.on_contrast
        yield self.asker.changed, self.changed.emit
        yield self.objects.changed, self._on_notes
        yield self.picture.layer.events.selected_label, self._on_object
        yield self.picture.layer.events.paint, self._on_paint
        yield self.committed.layer.events.paint, self._on_committed_paint
        yield self.viewer.dims.events.current_step, self._on_step
        yield self.picture.masks_changed, self.display.prompts.show_answered
        yield self.picture.masks_changed, self.finder.on_masks
        yield self.committed.changed, self._on_committed
        yield self.finder.changed, self._on_finder

    def _connect(self) -> None:
        for signal, listener in self._signals():
            signal.connect(listener)  # type: ignore[attr-defined]
        self.display.open()

    def _disconnect(self) -> None:
        for signal, listener in self._signals():
            signal.disconnect(listener)  # type: ignore[attr-defined]
        self.display.close()

    # What is in view -------------------------------------------------------------------------------------------------

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

    def show_next_doubtful(self, threshold: float = 0.5) -> Target | None:
        """Show the next doubtful mask after the current object on this frame, going round, and choose its object.

        Masks of the user, and of hidden or locked objects, are not doubtful.

        Parameters
        ----------
        threshold : float
            Masks with less confidence are doubtful.

        Returns
        -------
        Target or None
            The object and the frame; None without any.
        """
        found = self.doubts(threshold).after(Target(self.sources.own.object_id, self.frame))
        if found is not None:
            self.show(found.frame)
            self.choose_object(found.object_id)
        return found

    def doubts(self, threshold: float) -> Doubts:
        """Return all doubtful masks."""
        notes = self.objects.notes
        return find_doubts(
            self.picture.held, threshold, certain=self.sources.certain, left_out=notes.hidden | notes.locked
        )

    def _on_step(self) -> None:
        self.asker.leave_place()
        self.finder.forget_remark()
        self._on_view()

    def _on_finder(self) -> None:
        self.changed.emit(self.asker.status)

    def _on_committed(self, frames: frozenset[int]) -> None:
        # Told while labels are being written: they are looked at when that is done.
        frame = self.finder.frame
        if frame is not None and frame in frames:
            self._post(partial(self.finder.on_masks, frame))

    def _on_view(self) -> None:
        self.picture.redraw(None if self.viewer.dims.ndisplay == 3 else [self.frame])

    def hide_below(self, confidence: float) -> None:
        """Hide masks below a confidence, without forgetting them; 0 shows all."""
        self.picture.show(replace(self.picture.shown, least_confidence=confidence))
        self._on_view()
        self.changed.emit(self.asker.status)

    def _on_notes(self, notes: ObjectNotes) -> None:
        self.picture.show(replace(self.picture.shown, hidden=notes.hidden))
        self._on_view()
        self.picture.show_table(notes.names)
        self.committed.show_table(notes.names)
        self.changed.emit(self.asker.status)
        if self.asker.waiting - notes.locked:
            self.asker.ask()

    # What the next prompt is of --------------------------------------------------------------------------------------

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object there is anything of: a prompt, a mask, committed pixels; and the current one. Ascending."""
        return tuple(sorted({*self._in_hand(), *self.committed.object_ids, self.sources.own.object_id}))

    def has_anything_of(self, object_id: int) -> bool:
        """Whether there is a prompt, a mask or committed pixels of an object."""
        return object_id in self._in_hand() or object_id in self.committed.object_ids

    def _in_hand(self) -> set[int]:
        """Objects with a prompt or a mask."""
        return {*self.asker.prompts.object_ids, *self.asker.unknown, *self.picture.held.object_ids}

    def choose_object(self, object_id: int) -> None:
        """Set the object that the next prompt is of."""
        self.picture.make_room([object_id])
        self.picture.layer.selected_label = object_id

    def new_object(self) -> int:
        """Make the next prompt one of an object that there is nothing of yet, and return its id."""
        free = next(self._free_ids())
        self._before_new = (free,), self.sources.own.object_id
        self.choose_object(free)
        return free

    def _free_ids(self) -> Iterator[int]:
        """Yield the numbers of objects that there is nothing of yet: after the highest, then those between."""
        taken = {*self._in_hand(), *self.committed.object_ids}
        highest = max(taken, default=0)
        yield from range(highest + 1, MAX_OBJECT_ID + 1)
        yield from (one for one in range(1, highest) if one not in taken)

    def add_found(self) -> None:
        """Make objects of what the model has found and is kept. One step to undo. Errors as in `Finder`."""
        if not self.finder.confirm():
            self.finder.changed.emit()
            return
        free, before = list(islice(self._free_ids(), len(self.finder.kept))), self.sources.own.object_id
        adding, taking = self.finder.edits_of_adding(self.sources, free)
        self.picture.make_room(free)
        adding.redo()
        taking.redo()
        self._before_new = free, before
        self._record("adding of what was found", [adding], (*self.asker.ask(), taking))

    def toggle_polarity(self) -> None:
        """Switch between points on the object and points off it, for the next ones."""
        self.sources.own.toggle_polarity()
        self.changed.emit(self.asker.status)

    def _on_object(self) -> None:
        self.asker.leave_place()
        self.sources.own.choose_object(int(self.picture.layer.selected_label) or 1)
        self.display.prompts.show_answered()
        self.changed.emit(self.asker.status)

    # Prompts ---------------------------------------------------------------------------------------------------------

    def _on_prompts(self, before: LayersState, after: LayersState) -> None:
        if before.is_same(after):
            self.asker.ask()
            return
        self.finder.forget_remark()
        followed: list[Edit] = []
        lost: tuple[Edit, ...] = ()
        try:
            prompts = self.sources.read()
        except NapariSam2Error as error:
            self.asker.complain(str(error))
        else:
            followed = self._keep_followed(prompts)
            lost = self.asker.ask(self.sources.combined() if followed else prompts)
        kept = self.sources.without_dropped(after)
        if kept is not after:
            self._post(self._drop_outside)  # napari is not done with what was drawn
        if followed or kept is after or not before.is_same(kept):
            self._record("edit of prompts", [edit_of_drawn(self.sources, before, kept), *followed], lost)

    def _drop_outside(self) -> None:
        if not self.asker.is_closed:
            self.sources.drop_outside()

    def _keep_followed(self, prompts: PromptSet) -> list[Edit]:
        """Make masks that were followed to frames of new clicks masks of the user: the clicks correct them."""
        asked = self.asker.prompts
        return self._put_in_place(followed_masks(self.picture, asked, prompts), asked)

    def _put_in_place(self, masks: Mapping[int, Mapping[int, NDArray[np.bool_]]], prompts: PromptSet) -> list[Edit]:
        """Put masks, by frame and object, in the place of prompts, and return the edits."""
        edits: list[Edit] = []
        for frame, of_frame in masks.items():
            if of_frame:
                edits.append(edit_of_given(self.sources, prompts, frame, of_frame))
                edits[-1].redo()
        return edits

    def mark_absent(self) -> None:
        """Record that the current object is not on this frame. One step to undo."""
        object_id, frame = self.sources.own.object_id, self.frame
        if not set(self.asker.prompts.frames_of(object_id)) - {frame}:
            self.asker.complain(
                f"Object {object_id} is prompted on no other frame. Delete it, or prompt it where it is."
            )
            return
        target, own = Target(object_id, frame), self.sources.own
        left = {one: mask for one, mask in self.sources.user_masks.items() if one != target}
        before = own.state()
        after = own.state_with_absence(before, target, self.image, self.grid)
        unmasked, drawn = edit_of_user_masks(self.sources, left), edit_of_drawn(self.sources, before, after)
        unmasked.redo()
        self._record("absence", [unmasked, drawn], self._restore(drawn.redo))

    def show_another_mask(self) -> None:
        """Show the next of the model's masks of the last click of the current object on this frame."""
        target = Target(self.sources.own.object_id, self.frame)
        self._cycle.show_next(target, self._restore, lambda choice: self._record("another mask", [choice]))

    def read_layer(self, layer: Layer) -> None:
        """Read a Points, Shapes or Labels layer of the user's own for prompts, too.

        Raises
        ------
        NapariSam2Error
            If it cannot be read; nothing has changed then.
        """
        if layer == self.committed.layer or layer in self.made:
            raise OptionError(
                f"Layer {layer.name!r} is one the results or prompts of this work go into. Read prompts from another."
            )
        current = self.sources.own.object_id
        is_blank = current not in self._in_hand()
        self.sources.add(layer)
        self.asker.ask()
        if is_blank and current in self._in_hand():
            self.new_object()

    def ignore_layer(self, layer: Layer) -> None:
        """Stop reading a layer for prompts; those it had are gone."""
        if layer in self.sources.others:
            self.sources.remove(layer)
            self.asker.ask()

    def do_without(self, layer: Layer) -> None:
        """Drop a layer that was removed from the viewer."""
        self.ignore_layer(layer)
        if layer == self.finder.preview.layer:
            self.finder.leave()
        if layer in self.model_input.channels:
            self.use_channels()
            self.asker.complain(f"Image {layer.name!r} was removed. The model sees {self.image.name!r} alone now.")

    def use_channels(self, channels: Sequence[Image] = ()) -> None:
        """Let the model see one, two or three images as they are shown now; everything is asked again.

        Parameters and errors as in `ModelInput.choose`.
        """
        self.model_input.choose(channels)
        self.asker.look()

    # Masks of the user -----------------------------------------------------------------------------------------------

    def approve(self) -> None:
        """Make the mask of the current object on this frame the user's: certain, remembered, never computed again."""
        object_id, masks = self.sources.own.object_id, seen_masks(self.picture, self.frame)
        if object_id in masks:
            self._use_masks("approval", {self.frame: {object_id: masks[object_id]}})
        else:
            self.asker.complain(f"Object {object_id} has no mask here that could be approved. Select another object.")

    def approve_frame(self) -> None:
        """Make all masks of this frame the user's, as `approve` does with one."""
        self._use_masks("approval", {self.frame: seen_masks(self.picture, self.frame)})

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
        paintings = {frame: read_painting(self.picture, self.objects.notes, frame) for frame in frames}
        for frame in paintings:
            self.picture.accept_strokes(frame)
        self._use_masks("painting", {frame: painting.masks for frame, painting in paintings.items()})
        for frame, painting in paintings.items():
            if not painting.is_whole:
                self.picture.set_masks(frame, self.picture.held.on(frame))  # drawn again without the rest
                self.asker.complain(painting.remark)

    def _use_masks(self, name: str, masks: Mapping[int, Mapping[int, NDArray[np.bool_]]]) -> None:
        """Make masks, by frame and object, those of the user. One step to undo."""
        edits = self._put_in_place(masks, self.asker.prompts)
        if edits:
            self._record(name, edits, self.asker.ask())

    # Committed labels, and whole objects -----------------------------------------------------------------------------

    def use_target(self, layer: Labels) -> None:
        """Commit into a Labels layer of the user's own. Errors as in `ObjectActions.check_target`."""
        self._actions.check_target(layer, self.image, self.asker.prompts)
        self.committed.layer.events.paint.disconnect(self._on_committed_paint)
        self.committed.use_layer(layer)
        layer.events.paint.connect(self._on_committed_paint)
        if self.sources.own.object_id not in self._in_hand():
            self.new_object()
        self.changed.emit(self.asker.status)

    def _on_committed_paint(self, event: object) -> None:
        frames = self._painted_frames(event)

        def take() -> None:
            self.committed.touch(frames)
            self.committed.show_table(self.objects.notes.names)

        self._post(take)

    def commit(self, policy: CommitPolicy = CommitPolicy.KEEP) -> None:
        """Move all masks that are shown and not locked to the committed objects, and prompts of which nothing is left.

        What the model is still answering is waited for. One step to undo.
        """
        before = self.asker.status

        def commit_and_go_on() -> None:
            if self._do(lambda: self._actions.commit(self.asker.prompts, policy)):
                self.new_object()
                if before.activity is Activity.FOLLOWING and before.done < before.total:
                    self.asker.complain(
                        f"The propagation was stopped at {before.done} of {before.total} frames, and what there was by "
                        "then is committed. Undo, and Propagate goes on."
                    )

        self.asker.when_answered(commit_and_go_on)

    def clear_prompts(self) -> None:
        """Take back all prompts of the current object. One step to undo."""
        self._do(lambda: self._actions.clear(self.sources.own.object_id))

    def rename_object(self, object_id: int, name: str) -> None:
        """Give an object a name, or take it away with an empty one. One step to undo."""
        self._do(lambda: self._actions.rename(object_id, name))

    def delete_object(self, *object_ids: int) -> None:
        """Drop all there is of objects: prompts, masks, committed pixels, names. One step to undo."""
        is_done = self._do(lambda: self._actions.delete(self.asker.prompts, object_ids))
        current = self.sources.own.object_id
        if is_done and current in object_ids:
            left = [one for one in self.object_ids if one != current]
            after = [one for one in left if one > current]
            self.choose_object((after or left[-1:] or [current])[0])

    def merge_objects(self, into: int, *others: int) -> None:
        """Make committed pixels of objects pixels of another, and drop their names. One step to undo.

        Masks that are not committed cannot be put together: each is what the model makes of the prompts of one object.
        """
        if self._do(lambda: self._actions.merge(self.asker.prompts, into, others)):
            self.choose_object(into)

    def _do(self, act: Callable[[], ObjectAction | None]) -> bool:
        """Do something to objects, or tell why it cannot be done; return whether anything has changed."""
        try:
            done = act()
        except NapariSam2Error as error:
            self.asker.complain(str(error))
            return False
        if done is None:
            return False
        lost = self._restore(done.finish) if done.left else ()
        self._record(done.name, [*done.made, *done.left], lost)
        if done.remark:
            self.asker.complain(done.remark)
        self.changed.emit(self.asker.status)
        return True

    # Undo ------------------------------------------------------------------------------------------------------------

    def _record(self, name: str, changes: Sequence[Change], lost: Sequence[Edit] = ()) -> None:
        """Record a step, after what a propagation has done until then.

        Masks that were lost by it come back with it, unless they are so many that nothing else could be undone.
        """
        self.asker.record_so_far()
        is_bearable = sum(edit.num_bytes for edit in lost) <= HISTORY_BYTES // 2
        self.history.record(name, [*changes, *lost] if is_bearable else changes)

    def undo(self) -> None:
        """Take back the newest step: a prompt, a propagation, a commit. A propagation that runs is stopped.

        With the first prompt of a new object goes the object: the one that was selected before is selected again.
        """
        if self.asker.status.activity is not Activity.FOLLOWING or self.asker.break_off():
            self._restore(self.history.undo)
            new, before = self._before_new
            current = self.sources.own.object_id
            if current in new and not self.has_anything_of(current):
                # Else the next click would be of an object that nobody wants any more.
                self.choose_object(before if before in self.object_ids else new[0])

    def redo(self) -> None:
        """Make the step again that was taken back last."""
        self._restore(self.history.redo)

    def _restore(self, step: Callable[[], object]) -> tuple[Edit, ...]:
        """Run a step that changes layers without being an edit of the user's, and ask at its end as `Asker.ask`."""
        self.sources.restore(step)
        self.display.prompts.show_answered()
        for layer in {self.picture.layer, self.committed.layer, self.committed.made}:
            refresh_pixels(layer)
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
        self.finder.end()
        self.sources.close()
        self.model_input.close()
        self.asker.close(timeout_s)

    def reopen(
        self,
        *,
        load: Callable[[], Predictor],
        post: Callable[[Callable[[], None]], None],
        speeds: SpeedLog | None = None,
    ) -> None:
        """Go on after `close`, with a model that is loaded when it is needed; parameters as of the class."""
        self._post = post
        self.sources.reopen()
        self.model_input.reopen()
        self._connect()
        self.asker.open(load=load, post=post, speeds=speeds)
