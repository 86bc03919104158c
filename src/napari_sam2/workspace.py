"""One image of a viewer in the hands of a model: prompts are read from layers, masks are written to layers.

Everything here runs on the viewer's thread; the model runs on a thread of its own (`inference`), and `post` brings its
answers over. No Qt: the console, the tests and the dock widget use the same object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.errors import FrameError, NapariSam2Error, OptionError, PromptError
from napari_sam2.held_masks import HeldMask, Shown, takes_of
from napari_sam2.history import History
from napari_sam2.inference import Activity, Inference
from napari_sam2.layer_choices import check_target, default_grid, lies_on, shared_id
from napari_sam2.layer_frames import frame_at, frames_of, frames_of_channels, grid_of
from napari_sam2.merging import CommitPolicy
from napari_sam2.object_list import ObjectList, ObjectNotes
from napari_sam2.prompt_layers import PromptEdit, PromptLayers
from napari_sam2.prompt_sources import Overruling, PromptSources
from napari_sam2.prompts import MaskPrompt, PromptSet, Target
from napari_sam2.propagation import plan_propagation
from napari_sam2.result_layers import ResultLayers
from napari_sam2.work_log import Commit, Renumbering
from napari_sam2.workspace_edits import CommittedEdit, MaskEdit, NotesEdit, OverrulingEdit, SettledEdit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Points, Shapes
    from napari.layers.base import Layer
    from numpy.typing import NDArray

    from napari_sam2.frames import ContrastLimits, FrameStack
    from napari_sam2.history import Change
    from napari_sam2.inference import Request
    from napari_sam2.label_edits import LabelPatch
    from napari_sam2.predictor import Predictor
    from napari_sam2.prompt_layers import LayersState
    from napari_sam2.prompts import Prompt
    from napari_sam2.propagation import DirectionName
    from napari_sam2.results import FrameResult, ObjectScore
    from napari_sam2.work_log import ModelUsed, Step, Take

HISTORY_BYTES = 2**28
"""Memory that may be spent on undoing."""


@dataclass(frozen=True, slots=True)
class Status:
    """What there is to show while the model works.

    Attributes
    ----------
    activity : Activity
        What the model is doing.
    done, total : int
        Frames of the propagation, while one runs.
    message : str
        The newest error or remark, in a sentence; empty if there is none.
    """

    activity: Activity = Activity.READY
    done: int = 0
    total: int = 0
    message: str = ""


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
    results : ResultLayers
        The masks that are held, and the layers of results.
    sources : PromptSources
        Where prompts are read from.
    objects : ObjectList
        Names of objects, and which are hidden and locked.
    frames : FrameStack
        What the model sees.
    channels : tuple of napari.layers.Image
        The images that it is made of: one, or what is red, green and blue.
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
        self.viewer, self.image = viewer, image
        order = viewer.dims.order
        self.grid = default_grid(image, order) if level is None else grid_of(image, order, level=level)
        self.frames = frames_of(image, self.grid)
        self.channels: tuple[Image, ...] = (image,)
        self.results = ResultLayers(image, self.grid)
        self.sources = PromptSources(image, self.grid, self.results.colour_of, lambda: self.frame)
        own = self.sources.own
        self.made: tuple[Labels, Labels, Shapes, Points] = (self.committed, self.current, own.shapes, own.points)
        self.objects = ObjectList()
        self.history = History(HISTORY_BYTES)
        self.status = Status()
        self._post = post
        self._prompts = PromptSet()
        self._is_closed = False
        self._waiting: frozenset[int] = frozenset()
        self._asks_soon = False
        self._commits_soon: CommitPolicy | None = None
        self._inference = Inference(self.frames, channels=self.channel_numbers, load=load, post=post, asker=self)
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
        self.sources.spoken.connect(self._ask_soon)
        self.objects.changed.connect(self._on_notes)
        self.results.masks_changed.connect(self.masks_changed.emit)
        self.current.events.selected_label.connect(self._on_object)
        self.current.events.paint.connect(self._on_paint)
        self.committed.events.paint.connect(self._on_committed_paint)
        self._heed_contrast()
        self.viewer.dims.events.current_step.connect(self._on_view)

    def _disconnect(self) -> None:
        self.sources.edited.disconnect(self._on_prompts)
        self.sources.spoken.disconnect(self._ask_soon)
        self.objects.changed.disconnect(self._on_notes)
        self.results.masks_changed.disconnect(self.masks_changed.emit)
        self.current.events.selected_label.disconnect(self._on_object)
        self.current.events.paint.disconnect(self._on_paint)
        self.committed.events.paint.disconnect(self._on_committed_paint)
        self._ignore_contrast()
        self.viewer.dims.events.current_step.disconnect(self._on_view)

    @property
    def frame(self) -> int:
        """The frame that the viewer shows."""
        return frame_at(self.image, self.grid, self.viewer.dims.point, self.viewer.layers.units)

    @property
    def object_id(self) -> int:
        """The object that the next prompt is of."""
        return self.sources.object_id

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object there is anything of: a prompt, a mask, committed pixels; and the current one. Ascending."""
        known = {*self._prompts.object_ids, *self.results.held.object_ids, *self.results.committed_ids}
        return tuple(sorted(known | {self.object_id}))

    def colour_of(self, object_id: int) -> tuple[float, float, float, float]:
        """Colour of an object in all layers: red, green, blue and alpha in [0, 1]."""
        return self.results.colour_of(object_id)

    def choose_object(self, object_id: int) -> None:
        """Let the next prompt be of an object."""
        self.current.selected_label = object_id

    def new_object(self) -> int:
        """Let the next prompt be of an object that there is nothing of yet, and return its id."""
        known = {*self._prompts.object_ids, *self.results.held.object_ids, *self.results.committed_ids}
        self.choose_object(max(known, default=0) + 1)
        return self.object_id

    def toggle_polarity(self) -> None:
        """Let the next points be on the object if they were off it, and the other way round."""
        self.prompt_layers.toggle_polarity()
        self._tell(self.status)

    def show(self, frame: int) -> None:
        """Bring a frame onto the canvas."""
        if self.grid.frame_axis is not None:
            world = self.image.data_to_world(self.grid.to_data([(frame, 0, 0)])[0])
            axis = self.viewer.dims.ndim - self.image.ndim + self.grid.frame_axis
            self.viewer.dims.set_point(axis, world[self.grid.frame_axis])

    def _on_object(self) -> None:
        self.prompt_layers.choose_object(int(self.current.selected_label) or 1)
        self._tell(self.status)

    def _on_view(self) -> None:
        frames = None if self.viewer.dims.ndisplay == 3 else [self.frame]
        if self.results.redraw(frames):
            self._refresh(self.current)

    def images(self) -> list[Image]:
        """Image layers of the viewer, from the lowest to the uppermost."""
        from napari.layers import Image

        return [layer for layer in self.viewer.layers if isinstance(layer, Image)]

    # What the model sees ---------------------------------------------------------------------------------------------

    def use_channels(self, channels: Sequence[Image] = ()) -> None:
        """Let the model see one, two or three images as red, green and blue, as they are shown now.

        Everything is asked again: a mask is of what the model saw.

        Parameters
        ----------
        channels : sequence of napari.layers.Image, optional
            Layers that lie on each other; the image alone when omitted, and so with its contrast limits of now.

        Raises
        ------
        FrameError
            If they do not lie on each other pixel by pixel.
        """
        chosen = tuple(channels) or (self.image,)
        for channel in chosen:
            if channel != self.image and not lies_on(channel, self.image, self.grid):
                raise FrameError(
                    f"Image {channel.name!r} does not lie on {self.image.name!r} pixel by pixel. "
                    "Choose channels of one shape, scale and position."
                )
        frames = self._frames_of(chosen)
        self._ignore_contrast()
        self.frames, self.channels = frames, chosen
        self._heed_contrast()
        self._end_requests(self._inference.look_at(self.frames, self.channel_numbers))
        if self._prompts:
            self.ask()

    @property
    def sees_current_contrast(self) -> bool:
        """Whether the model sees the image as it is shown: contrast limits may have changed since the first prompt."""
        return self.frames.contrast_limits == self._frames_of(self.channels).contrast_limits

    def _frames_of(self, channels: Sequence[Image]) -> FrameStack:
        return frames_of(channels[0], self.grid) if len(channels) == 1 else frames_of_channels(channels, self.grid)

    @property
    def channel_numbers(self) -> tuple[int, ...]:
        """Which channels of the file the model sees: napari makes a layer of each, in order. Empty if there is one."""
        path = self.image.source.path
        siblings = [one for one in self.images() if path is not None and one.source.path == path]
        if len(siblings) < 2:
            return ()
        return tuple(number for channel in self.channels for number, one in enumerate(siblings) if one == channel)

    def _heed_contrast(self) -> None:
        for channel in self.channels:
            channel.events.contrast_limits.connect(self._on_contrast)

    def _ignore_contrast(self) -> None:
        for channel in self.channels:
            channel.events.contrast_limits.disconnect(self._on_contrast)

    def _on_contrast(self) -> None:
        # One mapping for all frames, frozen at the first prompt.
        if not self._prompts and self.activity is Activity.READY and not self.results.held:
            self.frames = self._frames_of(self.channels)
            self._inference.look_at(self.frames, self.channel_numbers)
        self._tell(self.status)

    # Prompts ---------------------------------------------------------------------------------------------------------

    @property
    def prompts(self) -> PromptSet:
        """All that is said now."""
        return self._prompts

    def _on_prompts(self, edit: PromptEdit) -> None:
        if not edit.before.is_same(edit.after):
            self.history.record("edit of prompts", [edit])
        self.ask()

    def ask(self) -> None:
        """Read all prompts and let the model answer those that are new or changed."""
        try:
            said = self.sources.read()
            prompts = self._but_for_locked(said)
            if prompts:
                prompts.check(len(self.frames), self.frames.height, self.frames.width)
        except NapariSam2Error as error:
            self.complain(str(error))
            return
        self._forget_removed(prompts)
        self._prompts = prompts
        self._inference.answer(prompts)
        self._tell(Status(Activity.ANSWERING))
        self._waiting = frozenset(target.object_id for target in said.changed_since(prompts))
        if self._waiting:
            waiting = _listed(sorted(self._waiting))
            self.complain(f"Object {waiting} is locked. What is said of it now is answered when it is unlocked.")

    def _but_for_locked(self, said: PromptSet) -> PromptSet:
        """Return what is said, and of locked objects what was said when they were locked."""
        locked = self.objects.notes.locked
        if not locked:
            return said
        given = [prompt for prompt in said.prompts if prompt.object_id not in locked]
        return PromptSet([*given, *(prompt for prompt in self._prompts.prompts if prompt.object_id in locked)])

    def _ask_soon(self) -> None:
        # napari tells of a fill before it is in the data, and of one edit several times.
        if not self._asks_soon:
            self._asks_soon = True
            self._post(self._ask_now)

    def _ask_now(self) -> None:
        self._asks_soon = False
        if not self._is_closed:
            self.ask()

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
        is_blank = self._is_blank(self.object_id)
        self.sources.add(layer)
        self.ask()
        if is_blank and not self._is_blank(self.object_id):
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

    def _is_blank(self, object_id: int) -> bool:
        """Whether there is nothing of an object in hand."""
        return object_id not in (*self._prompts.object_ids, *self.results.held.object_ids)

    def _on_paint(self) -> None:
        # napari announces a fill before it is in the data, so it is read when napari is done.
        frame = self.frame
        self._post(lambda: self._take_painting(frame))

    def _take_painting(self, frame: int) -> None:
        """Take what was painted over the masks of a frame for what the user says they are."""
        if self._is_closed:
            return
        masks, notes = self.results.painted(frame), self.objects.notes
        unseen = {i for i, one in self.results.held.on(frame).items() if not self.shown.includes(one)} | notes.hidden
        locked, hidden = (sorted(masks.keys() & ids) for ids in (notes.locked, unseen - notes.locked))
        if locked:
            is_free = ~np.isin(self.results.composed(frame), locked)
            masks = {i: mask & is_free for i, mask in masks.items() if i not in locked}
        said = {i: mask for i, mask in masks.items() if mask.any() and i not in hidden}
        erased = sorted((masks.keys() - said.keys() - {*hidden}) & self.results.held.on(frame).keys())
        self._say_masks("painting", frame, said)
        if locked or erased or hidden:
            self._set_masks(frame, self.results.held.on(frame))
        if locked:
            self.complain(f"Object {_listed(locked)} is locked. Unlock it in the table of objects to paint on it.")
        if hidden:
            self.complain(f"Object {_listed(hidden)} is hidden on this frame. Show it before you paint on it.")
        if erased:
            self.complain(
                f"Nothing would be left of object {_listed(erased)} on this frame. To say that it is not here, give "
                "it a negative point and nothing else; to drop it, take its prompts back."
            )

    def approve(self) -> None:
        """Let the masks on this frame be what the user says: certain, remembered, never computed again."""
        frame = self.frame
        plane = self.results.composed(frame)
        masks = {held.object_id: plane == held.object_id for held in self.results.held.shown_on(frame, self.shown)}
        self._say_masks("approval", frame, {i: mask for i, mask in masks.items() if mask.any()})

    def _say_masks(self, name: str, frame: int, masks: Mapping[int, NDArray[np.bool_]]) -> None:
        if not masks:
            return
        before = self.sources.overruled
        said = {}
        for object_id, mask in masks.items():
            target = Target(object_id, frame)
            # What an earlier mask took the place of is still drawn, and does not come back.
            replaced = before[target].prompts if target in before else ()
            said[target] = Overruling(MaskPrompt(object_id, frame, mask), (*replaced, *self._prompts.get(target, ())))
        after = {**before, **said}
        self.history.record(name, [OverrulingEdit(self.sources, before, after)])
        self.sources.overruled = after
        self.ask()

    def is_approved(self, object_id: int, frame: int) -> bool:
        """Whether the mask of an object on a frame is what the user said it is."""
        return Target(object_id, frame) in self.sources.overruled

    def _forget_removed(self, prompts: PromptSet) -> None:
        """Take away masks whose prompt is gone, on the frame of the prompt, or everywhere if it was the last."""
        gone = {target for target in prompts.changed_since(self._prompts) if target not in prompts}
        if not gone:
            return
        lost = {target.object_id for target in gone} - set(prompts.object_ids)
        for frame in self.results.held.frames:
            masks = self.results.held.on(frame)
            left = {i: held for i, held in masks.items() if i not in lost and Target(i, frame) not in gone}
            if left.keys() != masks.keys():
                self._set_masks(frame, left)

    def clear_prompts(self) -> None:
        """Take back all that was said of the current object."""
        if self._refuses_locked([self.object_id]):
            return
        changes = self._unsay(lambda object_id: object_id == self.object_id)
        self.history.record("clearing of prompts", changes)
        self._redo(changes)

    def _unsay(self, is_over: Callable[[int], bool]) -> list[Change]:
        """Return changes that take all prompts of some objects back; to be made by `_redo`."""
        before = self.prompt_layers.state()
        after = self.prompt_layers.without(before, lambda object_id: not is_over(object_id))
        left = {target: one for target, one in self.sources.overruled.items() if not is_over(target.object_id)}
        settled = {prompt for prompt in self.sources.said_by_others if is_over(prompt.object_id)}
        return [
            SettledEdit(self.sources, self.sources.settled, self.sources.settled | settled),
            OverrulingEdit(self.sources, self.sources.overruled, left),
            PromptEdit(self.prompt_layers, before, after),
        ]

    # The model -------------------------------------------------------------------------------------------------------

    @property
    def activity(self) -> Activity:
        """What the model is doing."""
        return self._inference.activity

    @property
    def working_size(self) -> int | None:
        """Side in pixels of the image that the model sees; None as long as no model is loaded."""
        return self._inference.working_size

    @property
    def model_used(self) -> ModelUsed | None:
        """The model that answers, once it is loaded."""
        return self._inference.model_used

    def use_model(self, load: Callable[[], Predictor]) -> None:
        """Let another model answer: it is asked for every prompt, and follows anew when objects are followed again.

        Parameters
        ----------
        load : callable
            Loads it, on the worker's thread.
        """
        self._end_requests(self._inference.use_model(load))
        if self._prompts:
            self.ask()

    def _end_requests(self, dropped: Iterable[Request]) -> None:
        for request in dropped:
            self.history.record("propagation", request.edits)
        self._tell(Status())

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
        locked = self.objects.notes.locked
        followed = PromptSet(prompt for prompt in self._prompts.prompts if prompt.object_id not in locked)
        try:
            if not followed:
                raise PromptError("There is nothing to follow yet. Click an object, drag a box or paint a mask first.")
            plan = plan_propagation(followed, len(self.frames), direction=direction, start=start, stop=stop)
        except NapariSam2Error as error:
            self.complain(str(error))
            return
        held = self.results.held
        at_hand = {(object_id, frame) for frame in held.frames for object_id in held.on(frame)}
        self._inference.follow(self._prompts, plan, at_hand)
        self._tell(Status(Activity.FOLLOWING))

    def cancel(self) -> None:
        """Stop before the next frame. What is finished stays; `propagate` goes on from there."""
        self._inference.cancel()

    def begin_following(self, num_frames: int) -> None:
        """Take note that so many frames are going to be answered."""
        self._tell(replace(self.status, done=0, total=num_frames))

    def take(self, request: Request, result: FrameResult, model: ModelUsed) -> None:
        """Take an answer, but for objects that are locked or whose prompts have changed since it was asked for."""
        before = self.results.held.on(result.frame)
        changed = self._prompts.changed_since(request.prompts)
        outdated = {target.object_id for target in changed}
        fresh = {}
        for mask in result.objects:
            target = Target(mask.object_id, result.frame)
            is_fresh = target not in changed if target in request.prompts else mask.object_id not in outdated
            if is_fresh and not self._is_locked_out(request, target):
                said = request.prompts_of(mask.object_id)
                fresh[mask.object_id] = HeldMask(mask, mask.score(result.frame), said, model)
        if fresh:
            self._set_masks(result.frame, {**before, **fresh})
        if request.activity is Activity.FOLLOWING and self.status.total:
            request.edits.append(MaskEdit(self.results, result.frame, before, self.results.held.on(result.frame)))
            self._tell(replace(self.status, done=self.status.done + 1))

    def _is_locked_out(self, request: Request, target: Target) -> bool:
        """Whether an object may not have an answer, being locked. Prompts given before it was are still answered."""
        if target.object_id not in self.objects.notes.locked:
            return False
        said, held = request.prompts.get(target, ()), self.results.held.on(target.frame).get(target.object_id)
        is_answered = held is not None and said == tuple(one for one in held.prompts if one.frame == target.frame)
        return not said or is_answered

    def end(self, request: Request, message: str) -> None:
        """Take note that a request has ended; the message is empty, or says what went wrong."""
        self.history.record("propagation", request.edits)
        self._tell(Status(self.activity, message=message or self.status.message))
        if self.activity is Activity.READY:
            self.results.set_features(self.objects.notes.names)
        if self._commits_soon is not None and self.activity is not Activity.ANSWERING:
            policy, self._commits_soon = self._commits_soon, None
            self.commit(policy)

    def _set_masks(self, frame: int, masks: Mapping[int, HeldMask]) -> None:
        if self.results.set_masks(frame, masks) and frame == self.frame:
            self._refresh(self.current)

    def _refresh(self, layer: Labels) -> None:
        layer.refresh(extent=False, thumbnail=False, highlight=False)

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
        self._tell(self.status)

    def _on_notes(self, notes: ObjectNotes) -> None:
        self._show(replace(self.shown, hidden=notes.hidden))
        self.results.set_names(notes.names)
        if self._waiting - notes.locked:
            self.ask()

    def use_target(self, layer: Labels) -> None:
        """Let objects be committed into a Labels layer of the user's own.

        Raises
        ------
        OptionError
            If it does not lie on the image pixel by pixel, serves something else, or has an object with the number of
            one that is in work.
        FrameError
            If its data cannot be written.
        """
        check_target(layer, self.image, self.grid)
        if layer == self.current or layer in self.sources.others:
            use = "shows what is not committed" if layer == self.current else "is read for prompts"
            raise OptionError(f"Labels layer {layer.name!r} {use}. Choose another one to commit into.")
        self._refuse_namesakes(layer)
        self.committed.events.paint.disconnect(self._on_committed_paint)
        self.results.use_target(layer)
        layer.events.paint.connect(self._on_committed_paint)
        if self._is_blank(self.object_id):
            self.new_object()
        self._tell(self.status)

    def _refuse_namesakes(self, layer: Labels) -> None:
        # Whoever numbers prompts herself means the objects that have these numbers; ours are numbered by us.
        theirs = {prompt.object_id for prompt in self.sources.said_by_others}
        shared = shared_id(layer, self.grid, {*self._prompts.object_ids, *self.results.held.object_ids} - theirs)
        if shared is not None:
            raise OptionError(
                f"Labels layer {layer.name!r} has an object {shared} already, and so has the work in hand: they would "
                "become one. Commit that first, or clear its prompts."
            )

    def _on_committed_paint(self) -> None:
        frame = self.frame
        self._post(lambda: self.results.touch([frame]))

    def takes(self, *, is_shown: bool = False) -> tuple[Take, ...]:
        """Say what the masks were computed from: of all that are held, or of those that are shown."""
        prompts: dict[int, tuple[Prompt, ...]] = {}
        for prompt in self._prompts.prompts:
            prompts[prompt.object_id] = (*prompts.get(prompt.object_id, ()), prompt)
        return takes_of(self.results.held.snapshot(), prompts, self.shown if is_shown else None)

    def commit(self, policy: CommitPolicy = CommitPolicy.KEEP) -> None:
        """Move all masks that are shown and not locked to the committed objects, and prompts of which nothing is left.

        What the model is still answering is waited for. One step to undo.
        """
        if self.activity is Activity.ANSWERING:
            self._commits_soon = policy
            return
        locked, held, shown = self.objects.notes.locked, self.results.held, self.shown
        self.results.settle_log()
        step = Commit(self.takes(is_shown=True), policy, tuple(sorted(locked)))
        try:
            patches = self.results.commit(policy, locked)
        except NapariSam2Error as error:
            self.complain(str(error))
            return
        edits = []
        scores = dict(self.results.committed_scores)
        for frame in held.frames:
            before = held.on(frame)
            left = {i: one for i, one in before.items() if i in locked or not shown.includes(one)}
            edits.append(MaskEdit(self.results, frame, before, left))
            scores |= {Target(i, frame): one.score for i, one in before.items() if i not in left}
        kept = {object_id for edit in edits for object_id in edit.after} | locked
        said = self._unsay(lambda object_id: object_id not in kept)
        done = self._recorded(step, patches, scores)
        self.history.record("commit", [*patches, *edits, *said, done])
        self._redo([*edits, *said])
        self.new_object()

    def _recorded(
        self, step: Step, patches: Sequence[LabelPatch], scores: Mapping[Target, ObjectScore]
    ) -> CommittedEdit:
        """Write a step that was made into the log, and the scores that hold from now on."""
        frames = tuple(sorted({patch.frame for patch in patches if patch.layer is self.committed}))
        before = self.results.committed_scores
        self.results.log.record(step)
        self.results.set_committed_scores(scores, self.objects.notes.names)
        return CommittedEdit(self.results, frames, step, before, scores)

    def rename_object(self, object_id: int, name: str) -> None:
        """Give an object a name, or take it away with an empty one. One step to undo."""
        before = self.objects.notes
        self.objects.rename(object_id, name)
        if self.objects.notes != before:
            self.history.record("renaming", [NotesEdit(self.objects, before, self.objects.notes)])
            self._tell(self.status)

    def delete_object(self, *object_ids: int) -> None:
        """Drop all there is of objects: prompts, masks, committed pixels, names. One step to undo."""
        is_done = self._remove("deletion", [Renumbering(one, 0) for one in object_ids])
        if is_done and self.object_id in object_ids:
            left = [one for one in self.object_ids if one != self.object_id]
            after = [one for one in left if one > self.object_id]
            self.choose_object((after or left[-1:] or [self.object_id])[0])

    def merge_objects(self, into: int, *others: int) -> None:
        """Make committed pixels of objects pixels of another, and drop their names. One step to undo.

        Masks that are not committed cannot be put together: each is what the model makes of the prompts of one object.
        """
        given = [one for one in others if one != into]
        uncommitted = sorted({*self.results.held.object_ids, *self._prompts.object_ids}.intersection(given))
        if uncommitted:
            self.complain(f"Object {_listed(uncommitted)} is not committed yet. Commit it (C), then merge it.")
        elif self._remove("merging", [Renumbering(one, into) for one in given]):
            self.choose_object(into)

    def _remove(self, name: str, steps: Sequence[Renumbering]) -> bool:
        """Take objects away, or make their committed pixels another's; return whether there was anything to do."""
        gone = {step.old for step in steps}
        held, notes = self.results.held, self.objects.notes
        known = {*self._prompts.object_ids, *held.object_ids, *self.results.committed_ids, *notes.names, *notes.hidden}
        if not gone & known or self._refuses_locked({*gone, *(step.new for step in steps)}):
            return False
        self.results.settle_log()
        done: list[Change] = []
        try:
            for step in steps:
                done += self._renumbered(step)
        except NapariSam2Error as error:
            for change in reversed(done):
                change.undo()
            self.complain(str(error))
            return False
        changes: list[Change] = []
        for frame in held.frames:
            before = held.on(frame)
            left = {i: one for i, one in before.items() if i not in gone}
            if len(left) < len(before):
                changes.append(MaskEdit(self.results, frame, before, left))
        after = notes
        for object_id in gone:
            after = after.without(object_id)
        changes += [*self._unsay(gone.__contains__), NotesEdit(self.objects, notes, after)]
        self.history.record(name, [*done, *changes])
        self._redo(changes)
        return True

    def _renumbered(self, step: Renumbering) -> list[Change]:
        """Make a step in the committed labels; nothing if the object is not there."""
        results = self.results
        patches = results.merge(step.new, step.old) if step.new else results.delete(step.old)
        if not patches:
            return []
        scores = {target: one for target, one in results.committed_scores.items() if target.object_id != step.old}
        return [*patches, self._recorded(step, patches, scores)]

    def _refuses_locked(self, object_ids: Iterable[int]) -> bool:
        locked = sorted(self.objects.notes.locked.intersection(object_ids))
        if locked:
            self.complain(f"Object {_listed(locked)} is locked. Unlock it in the table of objects first.")
        return bool(locked)

    # Undo ------------------------------------------------------------------------------------------------------------

    def undo(self) -> None:
        """Take back the newest step: a prompt, a propagation, a commit."""
        self._restore(self.history.undo)

    def redo(self) -> None:
        """Make the step again that was taken back last."""
        self._restore(self.history.redo)

    def _redo(self, changes: Sequence[Change]) -> None:
        def step() -> None:
            for change in changes:
                change.redo()

        self._restore(step)

    def _restore(self, step: Callable[[], object]) -> None:
        """Let layers be changed by us, not by the user, and ask once at the end."""
        self.sources.restore(step)
        self._refresh(self.current)
        for layer in {self.committed, self.made[0]}:
            self._refresh(layer)
        self.ask()

    def resume(
        self,
        prompts: PromptSet,
        overruled: Mapping[Target, Overruling],
        drawn: LayersState,
        masks: Mapping[int, Mapping[int, HeldMask]],
        contrast_limits: ContrastLimits | None,
    ) -> None:
        """Go on with work that was laid aside: what was said and held then. The model is not asked before it must be.

        Parameters
        ----------
        prompts : PromptSet
            All that was said.
        overruled : mapping of Target to Overruling
            Masks painted or approved in the place of prompts.
        drawn : LayersState
            What our layers held.
        masks : mapping of int to mapping of int to HeldMask
            Masks by frame and object.
        contrast_limits : (float, float) or one pair per channel, optional
            What the model saw as black and white.
        """
        if contrast_limits is not None and len(self.channels) == 1:
            self.frames = frames_of(self.image, self.grid, contrast_limits=contrast_limits)
            self._inference.look_at(self.frames, self.channel_numbers)
        self.sources.overruled = overruled
        self.sources.restore(lambda: self.prompt_layers.restore(drawn))
        self._prompts = prompts
        for frame, held in masks.items():
            self.results.set_masks(frame, held)
        self.results.set_features(self.objects.notes.names)
        self._refresh(self.current)
        self._refresh(self.committed)
        self._tell(Status())

    # The end ---------------------------------------------------------------------------------------------------------

    def close(self, timeout_s: float | None = None) -> None:
        """Stop the model and forget it. The layers stay.

        Parameters
        ----------
        timeout_s : float, optional
            How long to wait for the frame in hand; as long as it takes when omitted.
        """
        self._is_closed = True
        self._disconnect()
        self.sources.close()
        self._inference.close(timeout_s)

    def reopen(self, *, load: Callable[[], Predictor], post: Callable[[Callable[[], None]], None]) -> None:
        """Go on after `close`, with a model that is loaded when it is needed; parameters as of the class."""
        self._post = post
        self._inference = Inference(self.frames, channels=self.channel_numbers, load=load, post=post, asker=self)
        self.sources.reopen()
        self._connect()
        self._is_closed = False
        self._tell(Status())

    def complain(self, message: str) -> None:
        """Show a sentence about something that cannot be done."""
        self._tell(replace(self.status, message=message))

    def _tell(self, status: Status) -> None:
        self.status = status
        self.changed.emit(status)


def _listed(object_ids: Sequence[int]) -> str:
    return ", ".join(map(str, object_ids))
