"""The images of one viewer, the workspace of the one in work, and what the user has chosen. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.errors import NapariSam2Error
from napari_sam2.inference.speed import Activity, SpeedLog
from napari_sam2.workbench.choices import DEFAULTS, remember_click_mode
from napari_sam2.workbench.commands import bind_keys, unbind_keys
from napari_sam2.workbench.finding import SearchPlaces
from napari_sam2.workbench.models import ModelCache
from napari_sam2.workbench.mouse import CanvasClicks, DrawingMouse
from napari_sam2.workbench.tools import Tool, idle_click_sentence, take_tool, tool_in_hand
from napari_sam2.workspace.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image
    from napari.layers.base import Layer
    from napari.utils.events import EventEmitter

    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.workbench.choices import Choices, ClickMode
    from napari_sam2.workbench.commands import Command

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
    choices : Choices
        What is chosen to begin with.

    Attributes
    ----------
    choices : Choices
        What is chosen for the next steps. Changed through `choose` alone.
    places : SearchPlaces
        Where the next search for objects looks.
    models : ModelCache
        Loads the models, and knows where they compute.
    speeds : SpeedLog
        How long models took.
    image : napari.layers.Image or None
        The chosen image.
    workspace : Workspace or None
        Its workspace; None if there is none, for the reason in `message`.
    is_refused : bool
        Whether there is none because the image cannot be worked on as it is; beginning anew would not help.
    """

    images_changed = Signal()
    """Image layers came, went or were renamed, or another one was chosen."""

    workspace_changed = Signal()
    """There is another workspace, or none any more."""

    status_changed = Signal(object)
    """The workspace has something to show: its status."""

    masks_changed = Signal(int)
    """The uncommitted masks of a frame of the workspace have changed."""

    view_changed = Signal()
    """Another frame is shown, another layer is active, or its mode is another one."""

    choices_changed = Signal()
    """Something was chosen otherwise than by the user."""

    export_wanted = Signal()
    """The user wants to export the work in hand."""

    finding_wanted = Signal()
    """The user lets the model find objects."""

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
        choices: Choices = DEFAULTS,
    ) -> None:
        self.viewer = viewer
        self.choices: Choices = choices
        self.places: SearchPlaces = SearchPlaces()
        self.models = ModelCache(load_model)
        self.speeds = SpeedLog()
        self.image: Image | None = None
        self.workspace: Workspace | None = None
        self.message = ""
        self.is_refused = False
        self._post = post
        self._kept: dict[object, Workspace] = {}
        self._mice: dict[object, DrawingMouse] = {}
        self._levels: dict[object, int] = {}
        self._is_closed = False
        for event in self._layer_events():
            event.connect(self._on_layers)
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
        made = [layer for work in self._kept.values() for layer in (*work.made, *work.display.outlines.layers)]
        made += [work.finder.preview.layer for work in self._kept.values() if work.finder.preview.layer is not None]
        return [layer for layer in self.viewer.layers if layer not in made]

    @property
    def offered(self) -> Image | None:
        """Image that the user has added or selected while the work is on another; None without one."""
        work, active = self.workspace, self.viewer.layers.selection.active
        if work is None or active in (work.image, *work.model_input.channels):
            return None
        return next((image for image in self.images() if image == active), None)

    def use_offered(self) -> None:
        """Work on the image that is offered."""
        if self.offered is not None:
            self.choose(self.offered)

    def choose(self, image: Image) -> None:
        """Work on an image: where that was left, or from the beginning."""
        if self.image == image and self.workspace is not None:
            return
        self._leave()
        self.message, self.is_refused = "", False
        if image.unique_id in self._kept:
            self._take_up(self._kept[image.unique_id])
            take_tool(self._kept[image.unique_id], Tool.POINT_ON)
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
        self.use_choices(self.choices)
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
            work.reopen(load=self.models.loader(self.choices), post=self._post, speeds=self.speeds)
            for layer in (*work.sources.others, *work.model_input.channels):
                if layer not in self.viewer.layers:
                    work.do_without(layer)
        else:
            try:
                work = Workspace(
                    self.viewer,
                    image,
                    load=self.models.loader(self.choices),
                    post=self._post,
                    level=self._levels.get(image.unique_id),
                    speeds=self.speeds,
                )
            except NapariSam2Error as error:
                self.message, self.is_refused = str(error), True
                return
        self.workspace = self._kept[image.unique_id] = work
        self._mice[image.unique_id] = DrawingMouse(work, self.do, lambda: self.choices.click_mode)
        self.use_choices(self.choices)
        image.metadata[IN_USE] = image.unique_id
        image.events.data.connect(self._on_data)
        work.changed.connect(self.status_changed.emit)
        work.finder.changed.connect(self._on_finder)
        work.picture.masks_changed.connect(self.masks_changed.emit)
        for layer in work.made:
            bind_keys(layer, self.run)
            layer.events.mode.connect(self._on_view)
        self.begun.emit(work)

    def _leave(self) -> None:
        """Lay the workspace aside; where nothing was done, its layers go as they came."""
        work, self.workspace = self.workspace, None
        if work is not None and not is_touched(work):
            self._close(work)
            work.display.outlines.hide()
            work.finder.leave()
            for layer in work.made:
                if layer in self.viewer.layers:
                    self.viewer.layers.remove(layer)

    def _close(self, work: Workspace) -> None:
        self.ended.emit(work)
        del self._kept[work.image.unique_id]
        self._mice.pop(work.image.unique_id).close()
        work.image.metadata.pop(IN_USE, None)
        work.image.events.data.disconnect(self._on_data)
        for layer in work.made:
            unbind_keys(layer)
            layer.events.mode.disconnect(self._on_view)
        work.changed.disconnect(self.status_changed.emit)
        work.finder.changed.disconnect(self._on_finder)
        work.picture.masks_changed.disconnect(self.masks_changed.emit)
        work.close(timeout_s=0)  # the frame in hand is finished without anybody waiting for it

    def _end(self, work: Workspace, message: str) -> None:
        """Stop work that has lost its ground."""
        self._close(work)
        work.display.outlines.hide()
        work.finder.leave()
        if work is self.workspace:
            self.workspace, self.message = None, message
            self.workspace_changed.emit()

    def _layer_events(self) -> tuple[EventEmitter, ...]:
        events = self.viewer.layers.events
        return events.inserted, events.removed, events.renamed

    def _on_layers(self, event: object) -> None:
        layer, what = getattr(event, "value", None), getattr(event, "type", "")
        if what == "removed":
            self._on_removed(layer)
        elif what == "inserted" and self.workspace is None and layer in self.images():
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
            elif layer in _needed(work) and (layer in work.made or not self._returns(work)):
                self._end(work, f"Layer {layer.name!r} was removed, which ended the work on {work.image.name!r}.")
            elif layer not in work.made:
                work.do_without(layer)
        if layer in (self.places.area, self.places.seeds):
            self.places = SearchPlaces()
        if layer == self.image:
            self.image = None
            if self.is_refused:
                self.message, self.is_refused = "", False

    def _returns(self, work: Workspace) -> bool:
        """Commit into the layer that was made for it again, if it can be, because another one was removed."""
        if work.made[0] not in self.viewer.layers:
            return False
        name = work.committed.layer.name
        try:
            work.use_target(work.made[0])
        except NapariSam2Error:
            return False
        work.asker.complain(f"Layer {name!r} was removed. Objects are committed into {work.made[0].name!r} again.")
        return True

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
            for work in parked:
                work.finder.leave()
            self.detach()
            for work in parked:
                work.image.metadata[PARKED] = _Parked(work)

    def detach(self) -> None:
        """Stop all work and let go of the viewer, which may be closing: its layers are not touched."""
        if self._is_closed:
            return
        self._is_closed = True
        self._clicks.close()
        for event in self._layer_events():
            event.disconnect(self._on_layers)
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
            self.export_wanted,
            self.finding_wanted,
            self.masks_changed,
            self.view_changed,
            self.closed,
            self.choices_changed,
            self.begun,
            self.ended,
        ):
            signal.disconnect()

    # What the user does ----------------------------------------------------------------------------------------------

    def run(self, command: Command) -> None:
        """Do a command to the work in hand; nothing without work."""
        self.do(lambda work: command.act(work, self))

    def do(self, step: Callable[[Workspace], object]) -> None:
        """Do something to the work in hand, and show why if it cannot be done; nothing without work."""
        if self.workspace is not None:
            try:
                step(self.workspace)
            except NapariSam2Error as error:
                self.workspace.asker.complain(str(error))

    def use_choices(self, choices: Choices) -> None:
        """Replace what is chosen. Another model or device answers all prompts again."""
        before, self.choices = self.choices, choices
        if (before.model, before.device) != (choices.model, choices.device):
            for work in self._kept.values():
                work.asker.use_model(self.models.loader(choices))
        if self.workspace is not None:
            self.workspace.display.use(choices.look)
            self.workspace.finder.choose(choices.kept)
            self.workspace.hide_below(choices.threshold if choices.hides_doubtful else 0.0)

    def use_click_mode(self, mode: ClickMode) -> None:
        """Let clicks beside all masks be something else, from now on and in the next panel."""
        self.use_choices(replace(self.choices, click_mode=mode))
        remember_click_mode(mode)
        self.choices_changed.emit()

    def use_level(self, level: int) -> None:
        """Read a multiscale image on another level. The layers are made anew, so nothing may have been done in them."""
        work = self.workspace
        if work is None or level == work.grid.level:
            return
        if is_touched(work):
            work.asker.complain(
                "Another level needs layers of another size. Commit, clear or discard what there is, or open a copy."
            )
            return
        self._leave()
        self._levels[work.image.unique_id] = level
        self.choose(work.image)

    def _on_finder(self) -> None:
        # Not by way of the work: what is found is no part of what is saved.
        self.status_changed.emit(None if self.workspace is None else self.workspace.asker.status)

    def _on_view(self, event: object) -> None:
        active = self.viewer.layers.selection.active
        for work in self._kept.values():
            # Whoever selects a layer of other work wants to go on with that.
            if work is not self.workspace and active in work.made:
                self._take_up(work)
        if self._idle_click and self.workspace is not None and tool_in_hand(self.workspace) is not None:
            self._forget_idle_click()
        self.view_changed.emit()

    def _on_click(self, point: Sequence[float]) -> None:
        """Show why a click did nothing, if so; not while the status shows how far a propagation is."""
        work = self.workspace
        if work is not None and work.asker.status.activity is not Activity.FOLLOWING:
            sentence = idle_click_sentence(work, point) if self.offered is None else ""
            if sentence:
                self._idle_click = sentence
                work.asker.complain(sentence)

    def _forget_idle_click(self) -> None:
        sentence, self._idle_click = self._idle_click, ""
        if self.workspace is not None and self.workspace.asker.status.message == sentence:
            self.workspace.asker.complain("")


def _needed(work: Workspace) -> tuple[Layer, ...]:
    """Layers without which there is no work."""
    return (work.committed.layer, *work.made[1:])


def is_touched(work: Workspace) -> bool:
    """Return whether anything was drawn, painted, opened, answered or found in a workspace."""
    committed = work.committed.layer.data
    if isinstance(committed, np.ndarray):
        is_empty = not committed.any()
    else:
        is_empty = getattr(committed, "nchunks_initialized", 1) == 0  # of zarr; other arrays are not searched
    is_found = work.finder.frame is not None
    return is_found or bool(work.asker.prompts) or work.history.can_undo or work.history.can_redo or not is_empty
