"""One image of a viewer in the hands of a model: prompts are read from layers, masks are written to layers.

Everything here runs on the viewer's thread but for the jobs, which run on the worker's; `post` brings their answers
over. No Qt: the console, the tests and the dock widget use the same object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.errors import NapariSam2Error, PromptError
from napari_sam2.history import History
from napari_sam2.label_edits import CommitPolicy, commit, read_frame, write_frame
from napari_sam2.layer_frames import frame_at, frames_of, grid_of
from napari_sam2.layer_results import new_labels_layer, object_colour, set_features
from napari_sam2.prompt_layers import PromptEdit, PromptLayers
from napari_sam2.prompts import MaskPrompt, PromptSet, Target
from napari_sam2.propagation import plan_propagation, remaining_steps, run
from napari_sam2.results import FrameResult, compose, feature_table, score_table
from napari_sam2.session import Session
from napari_sam2.worker import Answer, Failed, Finished, InferenceWorker
from napari_sam2.workspace_edits import MaskEdit, Overruling, OverrulingEdit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.history import Change
    from napari_sam2.predictor import Predictor
    from napari_sam2.prompts import Prompt
    from napari_sam2.propagation import DirectionName
    from napari_sam2.results import ObjectMask, ObjectScore

CURRENT_NAME, COMMITTED_NAME = "current_object", "committed_objects"

HISTORY_BYTES = 2**28
"""Memory that may be spent on undoing."""


class Activity(Enum):
    """What the model is doing."""

    READY = "ready"
    ANSWERING = "answering prompts"
    FOLLOWING = "following objects"


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


@dataclass(frozen=True, slots=True)
class _Planned:
    """What a propagation is about to do."""

    num_frames: int


@dataclass(slots=True)
class _Model:
    """A model that is loaded, and opens the stack, when the worker first needs it."""

    load: Callable[[], Predictor]
    frames: FrameStack
    predictor: Predictor | None = None
    session: Session | None = None

    def opened(self) -> Session:
        """Load the model and open the stack, on the worker's thread."""
        if self.session is None:
            self.predictor = self.load()
            self.session = Session(self.predictor, self.frames)
        return self.session


@dataclass(slots=True)
class _Asked:
    """A request on its way: what was asked, and what it has changed so far."""

    prompts: PromptSet
    activity: Activity
    edits: list[MaskEdit]


class Workspace:
    """Prompts in, masks out, for one image.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer; the prompt and result layers are added to it, and the point tool is chosen.
    image : napari.layers.Image
        The image, two- or three-dimensional. Its contrast limits are what the model sees, as they are now.
    load : callable
        Loads the model. Called on the worker's thread, when the first prompt is given.
    post : callable
        Called on the worker's thread with a function that is to be called on the viewer's thread.

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
    ) -> None:
        self.viewer, self.image = viewer, image
        self.grid = grid_of(image, viewer.dims.order)
        self.frames = frames_of(image, self.grid)
        self.current = new_labels_layer(image, self.grid, name=CURRENT_NAME)
        self.committed = new_labels_layer(image, self.grid, name=COMMITTED_NAME)
        self.prompt_layers = PromptLayers(image, self.colour_of)
        self.history = History(HISTORY_BYTES)
        self.status = Status()
        self._post = post
        self._masks: dict[int, dict[int, ObjectMask]] = {}
        self._scores: dict[int, dict[int, ObjectScore]] = {}
        self._prompts = PromptSet()
        self._overruled: Mapping[Target, Overruling] = {}
        self._asked: dict[int, _Asked] = {}
        self._model = _Model(load, self.frames)
        self._is_closed = False
        self._worker: InferenceWorker[FrameResult | _Planned] = InferenceWorker(
            lambda event: post(lambda: self._receive(event))
        )
        self._is_restoring = False
        self._last_state = self.prompt_layers.state()
        self._add_layers()

    # Layers ----------------------------------------------------------------------------------------------------------

    def _add_layers(self) -> None:
        points, shapes = self.prompt_layers.points, self.prompt_layers.shapes
        for layer in (self.committed, self.current, shapes, points):
            self.viewer.add_layer(layer)
        self.viewer.layers.selection.active = points
        points.mode = "add"
        for layer in (points, shapes):
            layer.events.data.connect(self._on_prompts)
        self.current.events.selected_label.connect(self._on_object)
        self.current.events.paint.connect(self._on_paint)

    @property
    def frame(self) -> int:
        """The frame that the viewer shows."""
        return frame_at(self.image, self.grid, self.viewer.dims.point)

    @property
    def object_id(self) -> int:
        """The object that the next prompt is of."""
        return self.prompt_layers.object_id

    def colour_of(self, object_id: int) -> tuple[float, float, float, float]:
        """Colour of an object in all layers: red, green, blue and alpha in [0, 1]."""
        return object_colour(self.current, object_id)

    def choose_object(self, object_id: int) -> None:
        """Let the next prompt be of an object."""
        self.current.selected_label = object_id

    def new_object(self) -> int:
        """Let the next prompt be of an object that has none yet, and return its id."""
        taken = {*self._prompts.object_ids, *(i for masks in self._masks.values() for i in masks)}
        taken |= set(np.unique(np.asarray(self.committed.data)).tolist())
        self.choose_object(max(taken, default=0) + 1)
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

    # Prompts ---------------------------------------------------------------------------------------------------------

    def _on_prompts(self, event: object) -> None:
        # napari announces an edit before and after; only what has happened can be read.
        if str(getattr(event, "action", "")).endswith("ing") or self._is_restoring:
            return
        self.prompt_layers.colour()
        state = self.prompt_layers.state()
        if not state.is_same(self._last_state):
            self.history.record("edit of prompts", [PromptEdit(self.prompt_layers, self._last_state, state)])
        self._last_state = state
        self.ask()

    def ask(self) -> None:
        """Read all prompts and let the model answer those that are new or changed."""
        try:
            prompts = self._read_prompts()
            if prompts:
                prompts.check(len(self.frames), self.frames.height, self.frames.width)
        except NapariSam2Error as error:
            self._tell(replace(self.status, message=str(error)))
            return
        self._forget_removed(prompts)
        self._prompts = prompts
        for number, asked in self._asked.items():
            if asked.activity is Activity.ANSWERING:
                self._worker.cancel(number)  # the new request asks for all that this one has not answered
        model = self._model
        self._submit(lambda: model.opened().apply(prompts), Activity.ANSWERING)

    def _read_prompts(self) -> PromptSet:
        """All that is said: what the layers hold, but for masks painted or approved in the place of it."""
        given = PromptSet(self.prompt_layers.read(self.image, self.grid, current_frame=self.frame))
        prompts: list[Prompt] = [p for p in given.prompts if p.target not in self._overruled]
        for target, overruling in self._overruled.items():
            later = (p for p in given.get(target, ()) if p not in overruling.prompts)
            prompts += [overruling.mask, *later]
        return PromptSet(prompts)

    def _on_paint(self) -> None:
        # napari announces a fill before it is in the data, so it is read when napari is done.
        frame = self.frame
        self._post(lambda: self._take_painting(frame))

    def _take_painting(self, frame: int) -> None:
        """Take what was painted over the masks of a frame for what the user says they are."""
        if self._is_closed:
            return
        painted = read_frame(self.current, self.grid, frame)
        expected = self._composed(frame)
        touched = np.unique(np.concatenate((painted[painted != expected], expected[painted != expected])))
        masks = {int(object_id): painted == object_id for object_id in touched if object_id}
        erased = [object_id for object_id, mask in masks.items() if not mask.any()]
        self._say_masks("painting", frame, {i: mask for i, mask in masks.items() if i not in erased})
        if erased:
            self.set_masks(frame, self._masks.get(frame, {}))
            named = ", ".join(map(str, erased))
            self._tell(
                replace(
                    self.status,
                    message=f"Nothing would be left of object {named} on this frame. To say that it is not here, give "
                    "it a negative point and nothing else; to drop it, take its prompts back.",
                )
            )

    def approve(self) -> None:
        """Let the masks on this frame be what the user says: certain, remembered, never computed again."""
        frame = self.frame
        plane = self._composed(frame)
        masks = {i: plane == i for i in self._masks.get(frame, {})}
        self._say_masks("approval", frame, {i: mask for i, mask in masks.items() if mask.any()})

    def _say_masks(self, name: str, frame: int, masks: Mapping[int, NDArray[np.bool_]]) -> None:
        if not masks:
            return
        said = {
            Target(i, frame): Overruling(MaskPrompt(i, frame, mask), self._prompts.get(Target(i, frame), ()))
            for i, mask in masks.items()
        }
        before, after = self._overruled, {**self._overruled, **said}
        self.history.record(name, [OverrulingEdit(self, before, after)])
        self.overrule(after)
        self.ask()

    def overrule(self, overruled: Mapping[Target, Overruling]) -> None:
        """Let these masks take the place of prompts; `ask` tells the model."""
        self._overruled = overruled

    def is_approved(self, object_id: int, frame: int) -> bool:
        """Whether the mask of an object on a frame is what the user said it is."""
        return Target(object_id, frame) in self._overruled

    def _forget_removed(self, prompts: PromptSet) -> None:
        """Take away masks whose prompt is gone, on the frame of the prompt, or everywhere if it was the last."""
        gone = {target for target in prompts.changed_since(self._prompts) if target not in prompts}
        lost = {target.object_id for target in gone} - set(prompts.object_ids)
        for frame, masks in list(self._masks.items()):
            left = {i: m for i, m in masks.items() if i not in lost and Target(i, frame) not in gone}
            if left.keys() != masks.keys():
                self.set_masks(frame, left)

    def clear_prompts(self) -> None:
        """Take back all that was said of the current object."""
        before = self.prompt_layers.state()
        after = self.prompt_layers.without(before, lambda object_id: object_id != self.object_id)
        left = {target: one for target, one in self._overruled.items() if target.object_id != self.object_id}
        said = OverrulingEdit(self, self._overruled, left)
        self.history.record("clearing of prompts", [said, PromptEdit(self.prompt_layers, before, after)])
        said.redo()
        self._restore(lambda: self.prompt_layers.restore(after))

    def _restore(self, step: Callable[[], object]) -> None:
        """Let layers be changed by us, not by the user, and ask once at the end."""
        self._is_restoring = True
        try:
            step()
        finally:
            self._is_restoring = False
        self._last_state = self.prompt_layers.state()
        self.current.refresh()
        self.committed.refresh()
        self.ask()

    # The model -------------------------------------------------------------------------------------------------------

    def _submit(self, job: Callable[[], Iterator[FrameResult | _Planned]], activity: Activity) -> None:
        self._asked[self._worker.submit(job)] = _Asked(self._prompts, activity, [])
        self._tell(Status(activity))

    def use_model(self, load: Callable[[], Predictor]) -> None:
        """Let another model answer: it is asked for every prompt, and follows anew when objects are followed again.

        Parameters
        ----------
        load : callable
            Loads it, on the worker's thread.
        """
        self._worker.cancel()
        for asked in self._asked.values():
            self.history.record("propagation", asked.edits)
        self._asked.clear()
        self._model = _Model(load, self.frames)
        self._tell(Status())
        if self._prompts:
            self.ask()

    @property
    def working_size(self) -> int | None:
        """Side in pixels of the image that the model sees; None as long as no model is loaded."""
        predictor = self._model.predictor
        return None if predictor is None else predictor.working_size(self.frames.height, self.frames.width)

    def propagate(
        self, direction: DirectionName = "both", *, start: int | None = None, stop: int | None = None
    ) -> None:
        """Follow the prompted objects, as far as that is not done already.

        Called again after `cancel` it goes on where it stopped; after a correction or a new object it follows that
        object alone.

        Parameters
        ----------
        direction : {"both", "forward", "backward"}
            Which way.
        start, stop : int, optional
            First and last frame; the whole stack when omitted.
        """
        prompts = self._prompts
        try:
            if not prompts:
                raise PromptError("There is nothing to follow yet. Click an object, drag a box or paint a mask first.")
            plan = plan_propagation(prompts, len(self.frames), direction=direction, start=start, stop=stop)
        except NapariSam2Error as error:
            self._tell(replace(self.status, message=str(error)))
            return

        model = self._model
        held = {(object_id, frame) for frame, masks in self._masks.items() for object_id in masks}

        def job() -> Iterator[FrameResult | _Planned]:
            session = model.opened()
            yield from session.apply(prompts)
            steps = remaining_steps(session, plan.steps, is_held=lambda object_id, frame: (object_id, frame) in held)
            yield _Planned(sum(step.is_reported for step in steps))
            yield from run(session, steps)

        self._submit(job, Activity.FOLLOWING)

    def cancel(self) -> None:
        """Stop before the next frame. What is finished stays; `propagate` goes on from there."""
        self._worker.cancel()

    def _receive(self, event: Answer[FrameResult | _Planned] | Finished | Failed) -> None:
        asked = self._asked.get(event.number)
        if asked is None:
            return
        match event:
            case Answer(item=_Planned(num_frames)):
                self._tell(replace(self.status, done=0, total=num_frames))
            case Answer(item=FrameResult() as result):
                self._take(asked, result)
            case Finished() | Failed():
                del self._asked[event.number]
                if asked.edits:
                    self.history.record("propagation", asked.edits)
                left = list(self._asked.values())
                activity = left[-1].activity if left else Activity.READY
                message = _sentence(event.error) if isinstance(event, Failed) else self.status.message
                self._tell(Status(activity, message=message))
                if not left:
                    set_features(self.current, feature_table(self.scores()))

    def _take(self, asked: _Asked, result: FrameResult) -> None:
        """Write an answer, but for objects whose prompts have changed since it was asked for."""
        fresh = {
            mask.object_id: mask
            for mask in result.objects
            if self._is_fresh(asked, Target(mask.object_id, result.frame))
        }
        before = self._masks.get(result.frame, {})
        if fresh:
            self.set_masks(result.frame, {**before, **fresh})
        if asked.activity is Activity.FOLLOWING and self.status.total:
            asked.edits.append(MaskEdit(self, result.frame, before, self._masks.get(result.frame, {})))
            self._tell(replace(self.status, done=self.status.done + 1))

    def _is_fresh(self, asked: _Asked, target: Target) -> bool:
        then, now = asked.prompts, self._prompts
        if target in then:
            return then[target] == now.get(target)
        return {t: then[t] for t in then if t.object_id == target.object_id} == {
            t: now[t] for t in now if t.object_id == target.object_id
        }

    def set_masks(self, frame: int, masks: Mapping[int, ObjectMask]) -> None:
        """Let these be the uncommitted masks of a frame, and show them."""
        before, known = self._masks.get(frame, {}), self._scores.get(frame, {})
        self._scores[frame] = {i: known[i] if before.get(i) is mask else mask.score(frame) for i, mask in masks.items()}
        self._masks[frame] = dict(masks)
        patch = write_frame(self.current, self.grid, frame, self._composed(frame))
        if patch is not None and frame == self.frame:
            self.current.refresh(extent=False, thumbnail=False, highlight=False)
        self.masks_changed.emit(frame)

    def _composed(self, frame: int) -> NDArray[np.unsignedinteger]:
        masks = tuple(self._masks.get(frame, {}).values())
        return compose(masks, self.grid.height, self.grid.width, self.current.data.dtype)

    # Results ---------------------------------------------------------------------------------------------------------

    def scores(self) -> pd.DataFrame:
        """Table of scores of everything that is not committed yet, as in `Segmentation.scores`."""
        return score_table(score for of_frame in self._scores.values() for score in of_frame.values())

    def scores_on(self, frame: int) -> Mapping[int, ObjectScore]:
        """Scores of the uncommitted masks of one frame, by object."""
        return self._scores.get(frame, {})

    @property
    def prompts(self) -> PromptSet:
        """All that is said now."""
        return self._prompts

    def next_doubtful(self, threshold: float = 0.5) -> int | None:
        """Show the next frame, going round, on which an object was found with less confidence; None without one."""
        scores = self.scores()
        doubtful = scores[(scores["confidence"] < threshold) & (scores["area_px"] > 0)]["frame"].unique().tolist()
        if not doubtful:
            return None
        here, count = self.frame, len(self.frames)
        frame = int(min(doubtful, key=lambda one: (one - here - 1) % count))
        self.show(frame)
        return frame

    def commit(self, policy: CommitPolicy = CommitPolicy.KEEP) -> None:
        """Move all masks to the committed objects, and their prompts away. One step to undo."""
        confidences = {
            frame: {object_id: score.confidence for object_id, score in scores.items()}
            for frame, scores in self._scores.items()
        }
        try:
            frames = sorted(self._masks)
            changes: list[Change] = list(
                commit(self.current, self.committed, self.grid, frames, policy, confidences=confidences)
            )
        except NapariSam2Error as error:
            self._tell(replace(self.status, message=str(error)))
            return
        edits = [MaskEdit(self, frame, self._masks[frame], {}) for frame in frames]
        before = self.prompt_layers.state()
        after = self.prompt_layers.without(before, lambda _: False)
        said = OverrulingEdit(self, self._overruled, {})
        self.history.record("commit", [*changes, *edits, said, PromptEdit(self.prompt_layers, before, after)])
        said.redo()
        self._masks.clear()
        self._scores.clear()
        for frame in frames:
            self.masks_changed.emit(frame)
        self._restore(lambda: self.prompt_layers.restore(after))
        self.new_object()

    def undo(self) -> None:
        """Take back the newest step: a prompt, a propagation, a commit."""
        self._restore(self.history.undo)

    def redo(self) -> None:
        """Make the step again that was taken back last."""
        self._restore(self.history.redo)

    def close(self, timeout_s: float | None = None) -> None:
        """Stop the model and forget it. The layers stay.

        Parameters
        ----------
        timeout_s : float, optional
            How long to wait for the frame in hand; as long as it takes when omitted.
        """
        self._is_closed = True
        for layer in (self.prompt_layers.points, self.prompt_layers.shapes):
            layer.events.data.disconnect(self._on_prompts)
        self.current.events.selected_label.disconnect(self._on_object)
        self.current.events.paint.disconnect(self._on_paint)
        self._asked.clear()
        self._worker.close(timeout_s)

    def _tell(self, status: Status) -> None:
        self.status = status
        self.changed.emit(status)


def _sentence(error: Exception) -> str:
    if isinstance(error, NapariSam2Error):
        return str(error)
    return (
        f"The model stopped with an unexpected error ({type(error).__name__}: {error}). Your work is kept; try again."
    )
