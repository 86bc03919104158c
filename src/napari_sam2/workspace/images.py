"""The images of one viewer, the workspace of the one that is worked on, and what the user has chosen. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.errors import NapariSam2Error
from napari_sam2.inference.speed import SpeedLog
from napari_sam2.inference.timed_predictor import TimedPredictor
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.layers.reading import NEGATIVE
from napari_sam2.workspace.canvas_clicks import CanvasClicks, idle_click_sentence
from napari_sam2.workspace.choices import DEFAULTS, Choices
from napari_sam2.workspace.commands import bind_keys, unbind_keys
from napari_sam2.workspace.requests import Activity
from napari_sam2.workspace.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from napari.layers.base import Layer

    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.tracking.propagation import DirectionName
    from napari_sam2.workspace.choices import Preferences

IN_USE = "napari-sam2 in use"
"""Entry in the metadata of an image that a workbench works on: its id, so that a duplicate of it is free."""


PARKED = "napari-sam2 parked"
"""Entry in the metadata of an image whose panel was closed: the work on it, so that another panel goes on with it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Parked:
    """Work that waits for a panel. A duplicate of the image is another image, and has none."""

    work: Workspace | None = None

    def __deepcopy__(self, memo: object) -> _Parked:
        return _Parked()


class Tool(Enum):
    """What the mouse does on the canvas."""

    POINT_ON = "point on the object"
    POINT_OFF = "point off the object"
    BOX = "box"
    BRUSH = "brush"


class Workbench:
    """Keeps a workspace for the chosen image as images come and go; the buttons and keys of the plugin.

    An image that comes to an idle workbench is taken at once. An image that is chosen instead of another has a
    workspace of its own, and the other one is kept if anything was done in it.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer, or napari's proxy of one.
    load_model : callable
        Loads a model by name or path; given `device` too if one was chosen. Called on a worker's thread.
    post : callable
        Called on any thread with a function that is to be called on the viewer's thread, later.
    preferences : Preferences
        Model, device and threshold to begin with.

    Attributes
    ----------
    model : str or Path
        The chosen model.
    device : str
        The chosen device, as in `load_predictor`; `device_in_use` is where "auto" has led.
    speeds : SpeedLog
        How long models took.
    direction, start, stop, policy, threshold
        What the next propagation, commit or search for a doubtful frame is to do; as in `Workspace`.
    hides_doubtful : bool
        Whether masks below the threshold are hidden.
    image : napari.layers.Image or None
        The chosen image.
    workspace : Workspace or None
        Its workspace; None if there is none, and `message` says why.
    """

    images_changed = Signal()
    """Image layers came, went or were renamed, or another one was chosen."""

    workspace_changed = Signal()
    """There is another workspace, or none any more."""

    status_changed = Signal()
    """The workspace has something to show."""

    masks_changed = Signal(int)
    """The uncommitted masks of a frame of the workspace have changed."""

    view_changed = Signal()
    """Another frame is shown, another layer is active, or its mode is another one."""

    choices_changed = Signal()
    """Model, direction, range, policy or threshold were chosen otherwise than by the user."""

    begun = Signal(Workspace)
    """Work on an image has begun, or goes on after it was laid aside with the panel."""

    ended = Signal(Workspace)
    """Work on an image ends; its layers may stay."""

    closed = Signal()
    """All work has stopped, for good."""

    def __init__(
        self,
        viewer: ViewerModel,
        *,
        load_model: Callable[..., Predictor],
        post: Callable[[Callable[[], None]], None],
        preferences: Preferences = DEFAULTS,
    ) -> None:
        self.viewer = viewer
        self.model: str | Path = preferences.model
        self.device = preferences.device
        self.speeds = SpeedLog()
        self.direction: DirectionName = "both"
        self.start: int | None = None
        self.stop: int | None = None
        self.policy = CommitPolicy.KEEP
        self.threshold = preferences.threshold
        self.hides_doubtful = False
        self.image: Image | None = None
        self.workspace: Workspace | None = None
        self.message = ""
        self._load_model = load_model
        self._post = post
        self._devices: dict[tuple[str | Path, str], str] = {}
        self._loading = Lock()
        self._loaded: tuple[tuple[str | Path, str], TimedPredictor] | None = None
        self._kept: dict[object, Workspace] = {}
        self._levels: dict[object, int] = {}
        self._is_closed = False
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._on_layers)
        viewer.layers.events.renamed.connect(self._on_renamed)
        viewer.layers.selection.events.active.connect(self._on_view)
        viewer.dims.events.current_step.connect(self._on_view)
        self._clicks = CanvasClicks(viewer, self._on_click)
        self._idle_click = ""
        images = self.images()
        if images:
            active = viewer.layers.selection.active
            self.choose(active if active in images else images[-1])

    # Images ----------------------------------------------------------------------------------------------------------

    def images(self) -> list[Image]:
        """Image layers of the viewer, from the lowest to the uppermost."""
        from napari.layers import Image

        return [layer for layer in self.viewer.layers if isinstance(layer, Image)]

    def other_layers(self) -> list[Layer]:
        """Layers of the viewer that were not made for work on any image, from the lowest to the uppermost."""
        made = [layer for work in self._kept.values() for layer in layers_of(work)]
        return [layer for layer in self.viewer.layers if layer not in made]

    def choose(self, image: Image) -> None:
        """Work on an image: where that was left, or from the beginning."""
        if self.image == image and self.workspace is not None:
            return
        self._leave()
        self.message = ""
        if image.unique_id in self._kept:
            self._take_up(self._kept[image.unique_id])
            self.take(Tool.POINT_ON)
            return
        self.image = image
        if image.metadata.get(IN_USE) == image.unique_id:
            self.message = f"Image {image.name!r} is being worked on in another SAM 2 panel of this window."
        else:
            self._begin(image)
        self.images_changed.emit()
        self.workspace_changed.emit()

    def _take_up(self, work: Workspace) -> None:
        self.image, self.workspace = work.image, work
        self._hide_doubtful()
        self.images_changed.emit()
        self.workspace_changed.emit()

    def begin_anew(self) -> None:
        """Make new layers for the chosen image, after one of them was removed or the image was replaced."""
        if self.image is not None and self.workspace is None:
            self.image.metadata.pop(IN_USE, None)
            self.choose(self.image)

    def _begin(self, image: Image) -> None:
        parked = image.metadata.pop(PARKED, _Parked()).work
        if parked is not None and all(layer in self.viewer.layers for layer in _needed(parked)):
            work = parked
            work.reopen(load=self._loader(), post=self._post)
            for layer in (*work.sources.others, *work.channels):
                if layer not in self.viewer.layers:
                    work.do_without(layer)
        else:
            try:
                level = self._levels.get(image.unique_id)
                work = Workspace(self.viewer, image, load=self._loader(), post=self._post, level=level)
            except NapariSam2Error as error:
                self.message = str(error)
                return
        self.workspace = self._kept[image.unique_id] = work
        self._hide_doubtful()
        image.metadata[IN_USE] = image.unique_id
        image.events.data.connect(self._on_data)
        work.changed.connect(self._on_status)
        work.masks_changed.connect(self._on_masks)
        for layer in layers_of(work):
            bind_keys(layer, self)
            layer.events.mode.connect(self._on_view)
        self.begun.emit(work)

    def _leave(self) -> None:
        """Lay the workspace aside; where nothing was done, its layers go as they came."""
        work, self.workspace = self.workspace, None
        if work is not None and not is_touched(work):
            self._close(work)
            for layer in layers_of(work):
                if layer in self.viewer.layers:
                    self.viewer.layers.remove(layer)

    def _close(self, work: Workspace) -> None:
        self.ended.emit(work)
        del self._kept[work.image.unique_id]
        work.image.metadata.pop(IN_USE, None)
        work.image.events.data.disconnect(self._on_data)
        for layer in layers_of(work):
            unbind_keys(layer)
            layer.events.mode.disconnect(self._on_view)
        work.changed.disconnect(self._on_status)
        work.masks_changed.disconnect(self._on_masks)
        work.close(timeout_s=0)  # the frame in hand is finished without anybody waiting for it

    def _end(self, work: Workspace, message: str) -> None:
        """Stop work that has lost its ground."""
        self._close(work)
        if work is self.workspace:
            self.workspace, self.message = None, message
            self.workspace_changed.emit()

    def _on_layers(self, event: object) -> None:
        layer: Layer = getattr(event, "value", None)
        if getattr(event, "type", "") == "removed":
            self._on_removed(layer)
        elif self.workspace is None and layer in self.images():
            # Adding layers while napari is still busy with this one would upset their order.
            self._post(self._take_new_image)
        self.images_changed.emit()

    def _take_new_image(self) -> None:
        images = self.images()
        if not self._is_closed and self.workspace is None and images:
            self.choose(images[-1])

    def _on_removed(self, layer: Layer) -> None:
        for work in list(self._kept.values()):
            if layer == work.image:
                self._end(work, "")
            elif layer in _needed(work) and (layer in layers_of(work) or not self._returns(work)):
                self._end(work, f"Layer {layer.name!r} was removed, which ended the work on {work.image.name!r}.")
            elif layer not in layers_of(work):
                work.do_without(layer)
        if layer == self.image:
            self.image = None

    def _returns(self, work: Workspace) -> bool:
        """Commit into the layer that was made for it again, if it can be, because another one was removed."""
        if work.made[0] not in self.viewer.layers:
            return False
        name = work.committed.name
        try:
            work.use_target(work.made[0])
        except NapariSam2Error:
            return False
        work.complain(f"Layer {name!r} was removed. Objects are committed into {work.made[0].name!r} again.")
        return True

    def _on_renamed(self, event: object) -> None:
        self.images_changed.emit()

    def _on_data(self, event: object) -> None:
        image = getattr(event, "source", None)
        for work in list(self._kept.values()):
            if work.image == image:
                self._end(work, f"The data of {work.image.name!r} was replaced, which ended the work on it.")

    def close(self) -> None:
        """Stop all work and let go of the viewer. Layers stay, but for those in which nothing was done."""
        if not self._is_closed:
            self._leave()
            parked = list(self._kept.values())
            self.detach()
            for work in parked:
                work.image.metadata[PARKED] = _Parked(work)

    def detach(self) -> None:
        """Stop all work and let go of the viewer, which may be closing: its layers are not touched."""
        if self._is_closed:
            return
        self._is_closed = True
        self._clicks.close()
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed):
            event.disconnect(self._on_layers)
        events.renamed.disconnect(self._on_renamed)
        self.viewer.layers.selection.events.active.disconnect(self._on_view)
        self.viewer.dims.events.current_step.disconnect(self._on_view)
        for work in list(self._kept.values()):
            self._close(work)
        self.workspace = None
        self.closed.emit()
        for signal in (
            self.images_changed,
            self.workspace_changed,
            self.status_changed,
            self.masks_changed,
            self.view_changed,
            self.closed,
            self.choices_changed,
            self.begun,
            self.ended,
        ):
            signal.disconnect()

    # Choices ---------------------------------------------------------------------------------------------------------

    @property
    def choices(self) -> Choices:
        """What is chosen for the next step, as a session records it."""
        return Choices(str(self.model), self.direction, self.start, self.stop, self.policy, self.threshold)

    def choose_again(self, choices: Choices) -> None:
        """Let everything be chosen as it was when a session was recorded."""
        self.direction, self.start, self.stop = choices.direction, choices.start, choices.stop
        self.policy, self.threshold = choices.policy, choices.threshold
        if choices.model != str(self.model):
            self.use_model(choices.model)
        self._hide_doubtful()
        self.choices_changed.emit()

    # What the user does ----------------------------------------------------------------------------------------------

    def use_model(self, source: str | Path) -> None:
        """Choose a model by name or path; it answers all prompts again."""
        self.model = source
        for work in self._kept.values():
            work.use_model(self._loader())

    def use_device(self, name: str) -> None:
        """Choose where the model computes; it answers all prompts again."""
        self.device = name
        self.use_model(self.model)

    @property
    def device_in_use(self) -> str:
        """Where the chosen model computes; empty as long as it is not loaded, or if it does not say."""
        return self._devices.get((self.model, self.device), "")

    def _loader(self) -> Callable[[], Predictor]:
        return partial(self._load, self.model, self.device)

    def _load(self, source: str | Path, device: str) -> Predictor:
        """Give the model, on a worker's thread: the images of a viewer share the one that is loaded."""
        chosen = {} if device == "auto" else {"device": device}
        with self._loading:
            if self._loaded is None or self._loaded[0] != (source, device):
                self._loaded = None  # before there are two in memory
                predictor = TimedPredictor(self._load_model(source, **chosen), source, self.speeds)
                self._devices[source, device] = predictor.device
                self._loaded = (source, device), predictor
            return self._loaded[1]

    def use_channels(self, channels: Sequence[Image] = ()) -> None:
        """Let the model see one, two or three images as they are shown now, the chosen one when omitted."""
        self._try(lambda work: work.use_channels(channels))

    def use_level(self, level: int) -> None:
        """Read a multiscale image on another level. The layers are made anew, so nothing may have been done in them."""
        work = self.workspace
        if work is None or level == work.grid.level:
            return
        if is_touched(work):
            work.complain("Another level needs layers of another size. Commit or clear what there is, or open a copy.")
            return
        self._leave()
        self._levels[work.image.unique_id] = level
        self.choose(work.image)

    def read_layer(self, layer: Layer) -> None:
        """Read a layer of the user's own for prompts, too."""
        self._try(lambda work: work.read_layer(layer))

    def ignore_layer(self, layer: Layer) -> None:
        """Read a layer no more."""
        self._try(lambda work: work.ignore_layer(layer))

    def use_target(self, layer: Labels) -> None:
        """Commit objects into a Labels layer from now on."""
        self._try(lambda work: work.use_target(layer))

    def _try(self, step: Callable[[Workspace], None]) -> None:
        if self.workspace is not None:
            try:
                step(self.workspace)
            except NapariSam2Error as error:
                self.workspace.complain(str(error))

    def ask(self) -> None:
        """Read all prompts again."""
        if self.workspace is not None:
            self.workspace.ask()

    def propagate(self) -> None:
        """Follow the objects as chosen, unless that is being done."""
        if self.workspace is not None and self.workspace.status.activity is not Activity.FOLLOWING:
            self.workspace.propagate(self.direction, start=self.start, stop=self.stop)

    def cancel(self) -> None:
        """Stop after the frame in hand."""
        if self.workspace is not None:
            self.workspace.cancel()

    def commit(self) -> None:
        """Move all masks to the committed objects, under the chosen policy."""
        if self.workspace is not None:
            self.workspace.commit(self.policy)

    def approve(self) -> None:
        """Let the masks on this frame be right."""
        if self.workspace is not None:
            self.workspace.approve()

    def doubt(self, threshold: float, *, is_hidden: bool) -> None:
        """Let confidences below a threshold be doubtful, and hide the masks they belong to or show them."""
        self.threshold, self.hides_doubtful = threshold, is_hidden
        self._hide_doubtful()

    def _hide_doubtful(self) -> None:
        if self.workspace is not None:
            self.workspace.hide_below(self.threshold if self.hides_doubtful else 0.0)

    def mark_absent(self) -> None:
        """Let the current object not be on this frame."""
        if self.workspace is not None:
            self.workspace.mark_absent()

    def next_doubtful(self) -> None:
        """Show the next frame on which the confidence in an object is below the threshold."""
        if self.workspace is not None and self.workspace.next_doubtful(self.threshold) is None:
            self.workspace.complain(f"No object is less certain than {self.threshold:.2f} on any frame.")

    def new_object(self) -> None:
        """Let the next prompt be of a new object, and on it."""
        if self.workspace is not None:
            self.workspace.new_object()
            if self.workspace.prompt_layers.polarity == NEGATIVE:
                self.workspace.toggle_polarity()

    def choose_object(self, object_id: int) -> None:
        """Let the next prompt be of an object."""
        if self.workspace is not None and object_id != self.workspace.object_id:
            self.workspace.choose_object(object_id)

    def rename_object(self, object_id: int, name: str) -> None:
        """Give an object a name, or take it away with an empty one."""
        if self.workspace is not None:
            self.workspace.rename_object(object_id, name)

    def hide_object(self, *object_ids: int, is_hidden: bool) -> None:
        """Hide objects or show them again."""
        if self.workspace is not None:
            self.workspace.objects.set_hidden(*object_ids, is_hidden=is_hidden)

    def lock_object(self, *object_ids: int, is_locked: bool) -> None:
        """Lock objects or open them again."""
        if self.workspace is not None:
            self.workspace.objects.set_locked(*object_ids, is_locked=is_locked)

    def merge_objects(self, into: int, *others: int) -> None:
        """Make committed objects part of another."""
        if self.workspace is not None:
            self.workspace.merge_objects(into, *others)

    def delete_object(self, *object_ids: int) -> None:
        """Drop all there is of objects."""
        if self.workspace is not None:
            self.workspace.delete_object(*object_ids)

    def toggle_polarity(self) -> None:
        """Let the next points be on the object if they were off it, and the other way round."""
        if self.workspace is not None:
            self.workspace.toggle_polarity()

    def clear_prompts(self) -> None:
        """Take back all that was said of the current object."""
        if self.workspace is not None:
            self.workspace.clear_prompts()

    def undo(self) -> None:
        """Take back the newest step."""
        if self.workspace is not None:
            self.workspace.undo()

    def redo(self) -> None:
        """Make the step again that was taken back last."""
        if self.workspace is not None:
            self.workspace.redo()

    def show(self, frame: int) -> None:
        """Bring a frame onto the canvas."""
        if self.workspace is not None:
            self.workspace.show(frame)

    def take(self, tool: Tool) -> None:
        """Take a tool: its layer becomes the active one."""
        if self.workspace is None:
            return
        prompts = self.workspace.prompt_layers
        layer, mode = {
            Tool.POINT_ON: (prompts.points, "add"),
            Tool.POINT_OFF: (prompts.points, "add"),
            Tool.BOX: (prompts.shapes, "add_rectangle"),
            Tool.BRUSH: (self.workspace.current, "paint"),
        }[tool]
        self.viewer.layers.selection.active = layer
        layer.mode = mode
        if layer is prompts.points and (prompts.polarity == NEGATIVE) != (tool is Tool.POINT_OFF):
            self.workspace.toggle_polarity()

    @property
    def tool(self) -> Tool | None:
        """The tool in hand; None for anything that is not one of ours."""
        if self.workspace is None:
            return None
        prompts, active = self.workspace.prompt_layers, self.viewer.layers.selection.active
        if active == prompts.points and prompts.points.mode == "add":
            return Tool.POINT_OFF if prompts.polarity == NEGATIVE else Tool.POINT_ON
        if active == prompts.shapes and prompts.shapes.mode == "add_rectangle":
            return Tool.BOX
        if active == self.workspace.current and self.workspace.current.mode == "paint":
            return Tool.BRUSH
        return None

    def _on_view(self, event: object) -> None:
        active = self.viewer.layers.selection.active
        for work in self._kept.values():
            # Whoever selects a layer of other work wants to go on with that.
            if work is not self.workspace and active in layers_of(work):
                self._take_up(work)
        if self._idle_click and self.tool is not None:
            self._forget_idle_click()
        self.view_changed.emit()

    def _on_click(self, point: Sequence[float]) -> None:
        """Say so if a click did nothing; not while the status says how far a propagation is."""
        work = self.workspace
        if work is not None and work.status.activity is not Activity.FOLLOWING:
            sentence = idle_click_sentence(work, point)
            if sentence:
                self._idle_click = sentence
                work.complain(sentence)

    def _forget_idle_click(self) -> None:
        sentence, self._idle_click = self._idle_click, ""
        if self.workspace is not None and self.workspace.status.message == sentence:
            self.workspace.complain("")

    def _on_status(self, status: object) -> None:
        self.status_changed.emit()

    def _on_masks(self, frame: int) -> None:
        self.masks_changed.emit(frame)


def layers_of(work: Workspace) -> tuple[Layer, ...]:
    """Layers that a workspace has made."""
    return work.made


def _needed(work: Workspace) -> tuple[Layer, ...]:
    """Layers without which there is no work."""
    return (work.committed, *work.made[1:])


def is_touched(work: Workspace) -> bool:
    """Whether anything was drawn, painted, opened or answered in a workspace."""
    committed = work.committed.data
    if isinstance(committed, np.ndarray):
        is_empty = not committed.any()
    else:
        is_empty = getattr(committed, "nchunks_initialized", 1) == 0  # of zarr; other arrays are not searched
    return bool(work.prompts) or work.history.can_undo or work.history.can_redo or not is_empty
