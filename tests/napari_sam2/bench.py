"""What a user does with the plugin and sees of it, in a user's words, for tests, scripts and benchmarks.

The drivers are the one place that knows where the product keeps what it shows. `Bench` is a workspace on a viewer
without a window, whose answers are handed over when a test says so.
"""

import queue
from dataclasses import replace

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from napari_sam2.inference.speed import Activity
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.layers.label_layers import object_colour
from napari_sam2.prompts import Target
from napari_sam2.saving.snapshot import restore, snapshot
from napari_sam2.workbench import commands
from napari_sam2.workbench.choices import Choices
from napari_sam2.workbench.tools import take_tool, tool_in_hand
from napari_sam2.workbench.workbench import Workbench
from napari_sam2.workspace.workspace import Workspace
from tests.napari_sam2.fake_predictor import FakePredictor

FRAMES, HEIGHT, WIDTH = 6, 24, 30
DEFAULT_CHOICES = Choices()


class WorkspaceDriver:
    """What a user does with one image and sees of it; `work` is its workspace, None if there is none."""

    # The model -------------------------------------------------------------------------------------------------------

    @property
    def activity(self):
        """What the status line says that the model is doing."""
        return self.work.asker.status.activity

    @property
    def is_ready(self):
        """Whether the status line says that the model has nothing to do."""
        return self.activity is Activity.READY

    @property
    def is_idle(self):
        """Whether nothing waits for the model or is on its way from it."""
        return self.is_ready and self.work.asker.queue.activity is Activity.READY

    @property
    def message(self):
        """The newest error or remark; empty if there is none."""
        return self.work.asker.status.message

    @property
    def frames_done(self):
        """Frames that the propagation has reached."""
        return self.work.asker.status.done

    @property
    def working_size(self):
        """Side in pixels of the image that the model sees; None as long as no model is loaded."""
        used = self.work.asker.queue.used
        return None if used is None else used.image_size

    def clear_message(self):
        """Forget the newest error or remark."""
        self.work.asker.complain("")

    def on_status(self, listener):
        """Call a function with the status whenever there is something new to show."""
        self.work.changed.connect(listener)

    def on_masks(self, listener):
        """Call a function with every frame whose uncommitted masks change."""
        self.work.picture.masks_changed.connect(listener)

    def warm_up(self):
        """Load the model before it is needed."""
        self.work.asker.queue.warm_up()

    def ask(self):
        """Read all prompts and let the model answer those that are new or changed."""
        self.work.asker.ask()

    def propagate(self, direction="both", **frames):
        """Follow the prompted objects, from `start` to `stop` if they are given."""
        self.work.asker.propagate(direction, **frames)

    def cancel(self):
        """Stop a propagation after the frame in hand."""
        self.work.asker.cancel()

    def use_model(self, load):
        """Let another model answer."""
        self.work.asker.use_model(load)

    def close(self, timeout_s=None):
        """Stop the model and forget it."""
        self.work.close(timeout_s)

    # The view --------------------------------------------------------------------------------------------------------

    @property
    def frame(self):
        """The frame that the viewer shows."""
        return self.work.frame

    def show(self, frame):
        """Bring a frame onto the canvas."""
        self.work.show(frame)

    def next_doubtful(self, threshold):
        """Show the next frame on which an object is less certain than a threshold; return it, or None."""
        return self.work.show_next_doubtful(threshold)

    def hide_below(self, confidence):
        """Hide masks below a confidence; 0 shows all."""
        self.work.hide_below(confidence)

    @property
    def least_confidence(self):
        """Confidence below which masks are hidden."""
        return self.work.picture.shown.least_confidence

    # The image -------------------------------------------------------------------------------------------------------

    @property
    def frames_seen(self):
        """The frames that the model sees."""
        return self.work.model_input.frames

    def see(self, frames):
        """Let the model see other frames than those of the image."""
        self.work.model_input.frames = frames

    @property
    def channels(self):
        """The images that the frames are made of."""
        return self.work.model_input.channels

    @property
    def level(self):
        """Resolution level that is read of a multiscale image."""
        return self.work.grid.level

    @property
    def sees_current_contrast(self):
        """Whether the model sees the image as it is shown."""
        return self.work.model_input.is_current

    def use_channels(self, channels=()):
        """Let the model see one, two or three images as they are shown now."""
        self.work.use_channels(channels)

    # Prompts ---------------------------------------------------------------------------------------------------------

    @property
    def prompts(self):
        """All prompts that the model was asked about."""
        return self.work.asker.prompts

    @property
    def points(self):
        """The plugin's Points layer of prompts."""
        return self.work.sources.own.points

    @property
    def shapes(self):
        """The plugin's Shapes layer of prompts."""
        return self.work.sources.own.shapes

    @property
    def polarity(self):
        """Whether the next points are "positive" or "negative"."""
        return self.work.sources.own.polarity

    @property
    def layers_read(self):
        """Layers of the user's own that are read for prompts."""
        return self.work.sources.others

    def set_prompts(self, prompts):
        """Let the plugin's prompt layers hold these prompts and no others, and ask the model."""
        layers = self.work.sources.own
        self.work.sources.restore(lambda: layers.restore(layers.state_of(prompts, self.work.grid)))
        self.ask()

    def toggle_polarity(self):
        """Let the next points be on the object if they were off it, and the other way round."""
        self.work.toggle_polarity()

    def another_mask(self):
        """Show the next of the model's masks of the last click of the current object on the frame that is shown."""
        self.work.show_another_mask()

    def clear_prompts(self):
        """Take back all prompts of the current object."""
        self.work.clear_prompts()

    def absent(self):
        """Say that the current object is not on the frame that is shown."""
        self.work.mark_absent()

    def approve(self):
        """Say that the masks on the frame that is shown are right."""
        self.work.approve()

    def approve_frame(self):
        self.work.approve_frame()

    def is_approved(self, object_id, frame):
        """Whether the mask of an object on a frame was painted or approved by the user."""
        return Target(object_id, frame) in self.work.sources.certain

    def read_layer(self, layer):
        """Read a layer of the user's own for prompts, too."""
        self.work.read_layer(layer)

    def ignore_layer(self, layer):
        """Read a layer no more."""
        self.work.ignore_layer(layer)

    # Objects ---------------------------------------------------------------------------------------------------------

    @property
    def object_id(self):
        """The object that the next prompt is of."""
        return self.work.sources.own.object_id

    @property
    def object_ids(self):
        """Every object there is anything of, and the current one."""
        return self.work.object_ids

    @property
    def notes(self):
        """Names of objects, and which are hidden and locked."""
        return self.work.objects.notes

    @property
    def hidden(self):
        """Objects that are hidden."""
        return self.notes.hidden

    @property
    def locked(self):
        """Objects that are locked."""
        return self.notes.locked

    def names(self):
        """Names by object."""
        return self.notes.names

    def name(self, object_id):
        """Name of an object; empty if it has none."""
        return self.notes.names.get(object_id, "")

    def colour_of(self, object_id):
        """Colour of an object in all layers."""
        return object_colour(self.current_layer, object_id)

    def choose(self, object_id):
        """Let the next prompt be of an object."""
        self.work.choose_object(object_id)

    def new_object(self):
        """Let the next prompt be of a new object; return its id."""
        return self.work.new_object()

    def rename(self, object_id, name):
        """Name an object, which can be undone."""
        self.work.rename_object(object_id, name)

    def note_name(self, object_id, name):
        """Name an object without a step to undo, as opening a session does."""
        self.work.objects.rename(object_id, name)

    def hide(self, *object_ids):
        """Hide objects."""
        self.work.objects.set_hidden(*object_ids, is_hidden=True)

    def unhide(self, *object_ids):
        """Show objects again."""
        self.work.objects.set_hidden(*object_ids, is_hidden=False)

    def lock(self, *object_ids):
        """Lock objects."""
        self.work.objects.set_locked(*object_ids, is_locked=True)

    def unlock(self, *object_ids):
        """Unlock objects."""
        self.work.objects.set_locked(*object_ids, is_locked=False)

    def merge(self, into, *others):
        """Make committed objects part of another."""
        self.work.merge_objects(into, *others)

    def delete(self, *object_ids):
        """Drop all there is of objects."""
        self.work.delete_object(*object_ids)

    # Masks -----------------------------------------------------------------------------------------------------------

    @property
    def current_layer(self):
        """The layer of masks that are not committed."""
        return self.work.picture.layer

    def current(self):
        """The labels of masks that are not committed, as an array."""
        return np.asarray(self.current_layer.data)

    def shown(self, object_id, frame):
        """Where an object is drawn on a frame, (Y, X) bool."""
        return self.current()[frame] == object_id

    def masks_on(self, frame):
        """Uncommitted masks of a frame by object, hidden ones too."""
        return self.work.picture.held.on(frame)

    @property
    def frames_with_masks(self):
        """Frames with uncommitted masks, ascending."""
        return self.work.picture.held.frames

    @property
    def objects_with_masks(self):
        """Objects with uncommitted masks, ascending."""
        return self.work.picture.held.object_ids

    def object_table(self):
        """Table of the objects with uncommitted masks."""
        return self.work.picture.held.features()

    def scores(self):
        """Table of scores of the uncommitted masks."""
        return self.work.picture.held.scores()

    def scores_on(self, frame):
        """Scores of the uncommitted masks of a frame by object."""
        return {object_id: held.score for object_id, held in self.masks_on(frame).items()}

    def confidence(self, object_id, frame):
        """Confidence in the uncommitted mask of an object on a frame."""
        return self.scores_on(frame)[object_id].confidence

    def area(self, object_id, frame):
        """Pixels of the uncommitted mask of an object on a frame."""
        return self.scores_on(frame)[object_id].area_px

    # What is committed -----------------------------------------------------------------------------------------------

    @property
    def committed_layer(self):
        """The layer that objects are committed into."""
        return self.work.committed.layer

    @property
    def made_layers(self):
        """The layers that the plugin has made, which begin with the one to commit into."""
        return self.work.made

    def committed(self):
        """The committed labels, as an array."""
        return np.asarray(self.committed_layer.data)

    @property
    def committed_ids(self):
        """Objects in the committed labels, ascending."""
        return self.work.committed.object_ids

    def commit(self, policy=CommitPolicy.KEEP):
        """Move all masks that are shown and not locked to the committed objects."""
        self.work.commit(policy)

    def commit_into(self, layer):
        """Let objects be committed into a Labels layer from now on."""
        self.work.use_target(layer)

    def merged_labels(self, policy=CommitPolicy.KEEP):
        """All objects, committed or not, in one array, as they are exported."""
        return self.work.committed.merged_with(self.work.picture, policy, self.locked)[:]

    def steps(self):
        """What the log of committed labels says once it is written down."""
        self.work.committed.write_log()
        return self.work.committed.log.steps

    @property
    def hand_edited_frames(self):
        """Committed frames that were changed by hand since the log was written down."""
        return self.work.committed.log.touched

    # Undo ------------------------------------------------------------------------------------------------------------

    @property
    def can_undo(self):
        """Whether there is a step to undo."""
        return self.work.history.can_undo

    def undo(self):
        """Take back the newest step."""
        self.work.undo()

    def redo(self):
        """Make the step again that was taken back last."""
        self.work.redo()

    # Sessions --------------------------------------------------------------------------------------------------------

    def snapshot(self, choices=DEFAULT_CHOICES):
        """Return the work as it is now, to be written as a session."""
        return snapshot(self.work, choices)

    def open_session(self, path):
        """Take up the work of a stored session; return what was chosen then."""
        return restore(self.work, path)


class WorkbenchDriver(WorkspaceDriver):
    """What a user does in one panel; what is chosen there counts, and errors become the message.

    `bench` is the workbench of the panel.
    """

    def __init__(self, bench):
        self.bench = bench

    @property
    def work(self):
        """The work on the chosen image; None if there is none."""
        return self.bench.workspace

    # Images ----------------------------------------------------------------------------------------------------------

    @property
    def chosen_image(self):
        """The chosen image; None if there is none."""
        return self.bench.image

    @property
    def why_no_work(self):
        """Why there is no work on the chosen image; empty if there is."""
        return self.bench.message

    def choose_image(self, image):
        """Work on an image."""
        self.bench.choose(image)

    def begin_anew(self):
        """Make new layers for the chosen image."""
        self.bench.begin_anew()

    def use_level(self, level):
        """Read a multiscale image on another level."""
        self.bench.use_level(level)

    def close(self):
        """Close the panel: all work stops."""
        self.bench.close()

    def detach(self):
        """Let go of a viewer that closes."""
        self.bench.detach()

    # Choices ---------------------------------------------------------------------------------------------------------

    @property
    def choices(self):
        """Model, direction, range, policy and threshold that are chosen."""
        return self.bench.choices

    def set_choices(self, **choices):
        """Choose a direction, a range, a policy or a threshold for what is done next."""
        self.bench.use_choices(replace(self.bench.choices, **choices))

    def recall_choices(self, choices):
        """Choose what a session has recorded."""
        self.bench.use_choices(choices)
        self.bench.choices_changed.emit()

    def on_choices(self, listener):
        """Call a function when something is chosen otherwise than by the user."""
        self.bench.choices_changed.connect(listener)

    def announce_status(self):
        """Let panels show how things stand."""
        self.bench.status_changed.emit(self.work.asker.status if self.work is not None else None)

    # The model -------------------------------------------------------------------------------------------------------

    @property
    def model(self):
        """The chosen model."""
        return self.bench.choices.model

    @model.setter
    def model(self, source):
        self.bench.choices = replace(self.bench.choices, model=source)

    @property
    def device(self):
        """The chosen device."""
        return self.bench.choices.device

    @property
    def device_in_use(self):
        """Where the chosen model computes; empty as long as it is not loaded."""
        return self.bench.models.devices.get((self.model, self.device), "")

    def use_model(self, source):
        """Choose a model by name or path."""
        self.set_choices(model=source)

    def use_device(self, name):
        """Choose where the model computes."""
        self.set_choices(device=name)

    def record_speed(self, time):
        """Let a model have taken a time."""
        self.bench.speeds.record(time)

    # Steps that go by what is chosen, or turn errors into the message ------------------------------------------------

    def propagate(self):
        """Follow the objects as chosen."""
        self.bench.run(commands.PROPAGATE)

    def commit(self):
        """Move all masks to the committed objects, under the chosen policy."""
        self.bench.run(commands.COMMIT)

    def next_doubtful(self):
        """Show the next frame that is doubtful by the chosen threshold."""
        self.bench.run(commands.NEXT_DOUBTFUL)

    def new_object(self):
        """Let the next prompt be of a new object, and on it."""
        self.bench.run(commands.NEW_OBJECT)

    def use_channels(self, channels=()):
        """Let the model see one, two or three images as they are shown now."""
        self.bench.do(lambda work: work.use_channels(channels))

    def read_layer(self, layer):
        """Read a layer of the user's own for prompts, too."""
        self.bench.do(lambda work: work.read_layer(layer))

    def ignore_layer(self, layer):
        """Read a layer no more."""
        self.bench.do(lambda work: work.ignore_layer(layer))

    def commit_into(self, layer):
        """Let objects be committed into a Labels layer from now on."""
        self.bench.do(lambda work: work.use_target(layer))

    # Tools and keys --------------------------------------------------------------------------------------------------

    @property
    def tool(self):
        """The tool in hand; None for anything that is not one of the plugin's."""
        return None if self.work is None else tool_in_hand(self.work)

    def take(self, tool):
        """Take a tool."""
        self.bench.do(lambda work: take_tool(work, tool))

    # The mouse and the keys ------------------------------------------------------------------------------------------

    def mouse(self, *path, button=1, modifiers=(), scale=10):
        """Press at the first place, move through the others and let go at the last, as napari tells of it.

        Places are world coordinates, or rows and columns on the frame that is shown; a pixel has `scale` pixels of the
        screen.
        """
        here = self.viewer.dims.point
        places = [place if len(place) == len(here) else (*here[:-2], *place) for place in path]
        event = MouseEvent(places[0], button, modifiers, scale)
        active = self.viewer.layers.selection.active
        told = [self.viewer] if active is None else [self.viewer, active]
        for kind, places_of_kind, tell in (
            ("mouse_press", places[:1], mouse_press_callbacks),
            ("mouse_move", places[1:], mouse_move_callbacks),
            ("mouse_release", places[-1:], mouse_release_callbacks),
        ):
            for place in places_of_kind:
                event.type = kind
                event.move(place)
                for one in told:
                    tell(one, event)

    def press(self, key):
        """Press a key on the layer that is active."""
        layer = self.viewer.layers.selection.active
        found = [bound for name, bound in layer.keymap.items() if str(name) == key]
        assert found, f"{key} is bound on none of {[str(name) for name in layer.keymap]}"
        found[0](layer)

    def press_every_key(self):
        """Do what each key of the plugin does, one after the other."""
        for command in commands.KEYED:
            self.bench.run(command)


class MouseEvent:
    """What napari tells of the mouse."""

    def __init__(self, position, button, modifiers, scale):
        self.button, self.modifiers, self.scale = button, modifiers, scale
        self.handled, self.is_dragging = False, True
        self.move(position)

    def move(self, position):
        self.position, self.pos = position, self.scale * np.array(position[-2:])


class Room(WorkbenchDriver):
    """A workbench whose answers are handed over when the test says so."""

    def __init__(self, *names, shape=(FRAMES, HEIGHT, WIDTH)):
        self.viewer, self.posted, self.fakes, self.loads = ViewerModel(), queue.Queue(), {}, []
        for name in names:
            self.add(name, shape)
        super().__init__(self.workbench())

    def workbench(self):
        """Another workbench on the same viewer."""
        return Workbench(self.viewer, load_model=self.load, post=self.posted.put)

    def add(self, name, shape=(FRAMES, HEIGHT, WIDTH)):
        return self.viewer.add_image(np.zeros(shape, np.uint8), contrast_limits=(0, 255), name=name)

    def load(self, source):
        self.loads.append(source)
        return self.fakes.setdefault(source, FakePredictor())

    def settle(self):
        while not self.is_ready:
            self.posted.get(timeout=10)()

    def click(self, frame, y, x):
        self.points.add([(frame, y, x)])
        self.settle()

    def hand_over(self):
        while not self.posted.empty():
            self.posted.get()()

    def layer_names(self):
        return [layer.name for layer in self.viewer.layers]


class Bench(WorkspaceDriver):
    """A workspace whose answers are handed over when the test says so."""

    def __init__(self, predictor, data=None, *, level=None, **image):
        self.predictor = predictor
        self.posted = queue.Queue()
        self.viewer = ViewerModel()
        data = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8) if data is None else data
        self.image = self.viewer.add_layer(Image(data, **{"contrast_limits": (0, 255)} | image))
        self.said = []
        self.work = Workspace(self.viewer, self.image, load=self.load, post=self.posted.put, level=level)
        self.on_status(lambda status: self.said.append(status))

    def load(self):
        if isinstance(self.predictor, Exception):
            raise self.predictor
        return self.predictor

    def settle(self):
        """Hand over answers until the model has said all."""
        while not self.is_ready:
            self.posted.get(timeout=10)()

    def click(self, frame, y, x):
        self.points.add([(frame, y, x)])
        self.settle()


def hand_over(bench):
    """Do what was put off until napari is done."""
    while not bench.posted.empty():
        bench.posted.get()()


def paint(bench, frame, where, label):
    """Paint pixels as the brush does."""
    bench.show(frame)
    y, x = np.nonzero(where)
    bench.current_layer.data_setitem((np.full(len(y), frame), y, x), label)
    bench.posted.get(timeout=10)()
    bench.settle()


def square(y, x, side=4):
    where = np.zeros((HEIGHT, WIDTH), np.bool_)
    where[y : y + side, x : x + side] = True
    return where
