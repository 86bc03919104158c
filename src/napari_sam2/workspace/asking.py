"""What the model is asked about one image: prompts go out, and results become masks unless they are out of date.

Everything here runs on the viewer's thread; `requests` has the model on a thread of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam2.errors import NapariSam2Error, PromptError
from napari_sam2.inference.speed import Activity
from napari_sam2.inference.time_left import Pace
from napari_sam2.prompt_checks import check_prompts, listed, without_unknown
from napari_sam2.prompts import PromptSet, Target
from napari_sam2.tracking.propagation import plan_propagation
from napari_sam2.workspace.edits import edit_of_masks
from napari_sam2.workspace.held import HeldMask
from napari_sam2.workspace.requests import RequestQueue
from napari_sam2.workspace.sentences import lost_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.inference.speed import SpeedLog
    from napari_sam2.layers.prompt_sources import PromptSources
    from napari_sam2.results import FrameResult
    from napari_sam2.sessions.steps import ModelUsed
    from napari_sam2.tracking.propagation import DirectionName
    from napari_sam2.workspace.held import Snapshot
    from napari_sam2.workspace.history import Change, Edit, History
    from napari_sam2.workspace.model_input import ModelInput
    from napari_sam2.workspace.objects import ObjectList
    from napari_sam2.workspace.picture import Picture
    from napari_sam2.workspace.requests import Request


@dataclass(frozen=True, slots=True)
class Status:
    """What there is to show while the model works.

    Attributes
    ----------
    activity : Activity
        What the model is doing.
    is_looking : bool
        Whether the model looks at a frame for the first time, which takes much longer than to answer.
    done, total : int
        Frames of the propagation, while one runs and after it was cancelled.
    seconds_left : float or None
        How long the propagation takes yet; None if that is not known.
    message : str
        The newest error or remark, in a sentence; empty if there is none.
    is_problem : bool
        Whether the message tells of something that cannot be done, which nobody may overlook.
    is_of_place : bool
        Whether the message tells of the frame and the object that are chosen, and goes when others are.
    """

    activity: Activity = Activity.READY
    is_looking: bool = False
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    message: str = ""
    is_problem: bool = False
    is_of_place: bool = False


@dataclass(frozen=True, slots=True)
class _Propagation:
    """A propagation as it was asked for last."""

    direction: DirectionName = "both"
    start: int | None = None
    stop: int | None = None


class _Next(Enum):
    """What is done once all prompts are answered."""

    NOTHING = auto()
    GO_ON = auto()
    """The propagation goes on that new prompts have interrupted."""
    STEP = auto()
    """A step is done that needs all answers, such as a commit."""


class Asker:
    """Asks the model about prompts, and takes its results.

    Parameters
    ----------
    model_input : ModelInput
        What the model sees.
    sources : PromptSources
        Where prompts are read from.
    picture : Picture
        Where masks go.
    objects : ObjectList
        Which objects are locked: nothing is asked about them, and they get no results.
    history : History
        Where a propagation is recorded when it ends.
    load, post, speeds
        As in `open`.

    Attributes
    ----------
    queue : RequestQueue
        The requests to the model.
    prompts : PromptSet
        All that were asked about; of locked objects, those they had when they were locked.
    waiting : frozenset of int
        Locked objects that have other prompts by now.
    unknown : frozenset of int
        Objects with negative points only, which cannot be asked about.
    status : Status
        What there is to show.
    pace : Pace
        How fast the propagation goes.
    is_closed : bool
        Whether there is no model to ask any more.
    """

    changed = Signal(Status)
    """The status has changed, or something it is of."""

    def __init__(
        self,
        model_input: ModelInput,
        sources: PromptSources,
        picture: Picture,
        objects: ObjectList,
        history: History,
        *,
        load: Callable[[], Predictor],
        post: Callable[[Callable[[], None]], None],
        speeds: SpeedLog | None = None,
    ) -> None:
        self._model_input, self._sources, self._picture = model_input, sources, picture
        self._objects, self._history = objects, history
        self.prompts = PromptSet()
        self.waiting: frozenset[int] = frozenset()
        self.unknown: frozenset[int] = frozenset()
        self.status = Status()
        self.pace = Pace()
        self._standing = ""
        self._asks_soon = False
        self._next = _Next.NOTHING
        self._step: Callable[[], None] | None = None
        self._look: Callable[[], None] | None = None
        self._propagation = _Propagation()
        self._interrupted: list[Change] = []
        self.open(load=load, post=post, speeds=speeds)

    def open(
        self,
        *,
        load: Callable[[], Predictor],
        post: Callable[[Callable[[], None]], None],
        speeds: SpeedLog | None = None,
    ) -> None:
        """Begin, or go on after `close`.

        Parameters
        ----------
        load : callable
            Loads the model. Called on the worker's thread, when something is asked for the first time.
        post : callable
            Called on the worker's thread with a function that is to be called on the viewer's thread.
        speeds : SpeedLog, optional
            Where to write down how long frames took.
        """
        self._post = post
        frames, channels = self._model_input.frames, self._model_input.channel_numbers
        self.queue = RequestQueue(frames, channels=channels, load=load, post=post, asker=self, speeds=speeds)
        self.is_closed = False
        self._show(Status())

    def close(self, timeout_s: float | None = None) -> None:
        """Stop the model and forget it, as in `RequestQueue.close`."""
        self.is_closed = True
        self.queue.close(timeout_s)

    def resume(self, prompts: PromptSet) -> None:
        """Go on with prompts that were answered before. The model is not asked before it must be."""
        self.queue.look_at(self._model_input.frames, self._model_input.channel_numbers)
        self.prompts = prompts
        self._show(Status())

    # What answers, and what it sees ----------------------------------------------------------------------------------

    def use_model(self, load: Callable[[], Predictor]) -> None:
        """Let another model answer, which is loaded on the worker's thread; everything is asked again."""
        self._ask_anew(self.queue.use_model(load))

    def look(self) -> None:
        """Let the model see its input as it is now; everything is asked again."""
        self._ask_anew(self.queue.look_at(self._model_input.frames, self._model_input.channel_numbers))

    def on_contrast(self) -> None:
        """Let the model see the contrast of now, unless it was asked already: one mapping holds for all masks."""
        is_free = not self.prompts.prompts and self.queue.activity is Activity.READY and not self.queue.is_searched
        if is_free and not self._picture.held:
            self._model_input.look_again()
            self.queue.look_at(self._model_input.frames, self._model_input.channel_numbers)
        self._show(self.status)

    def _ask_anew(self, dropped: Iterable[Request]) -> None:
        self._record(dropped)
        self._next = _Next.NOTHING
        self._show(Status())
        if self.prompts:
            self.ask()

    # Prompts ---------------------------------------------------------------------------------------------------------

    def ask(self, read: PromptSet | None = None) -> tuple[Edit, ...]:
        """Let the model answer the prompts that are new or changed.

        Parameters
        ----------
        read : PromptSet, optional
            All prompts, if they were just read; they are read now when omitted.

        Returns
        -------
        tuple of Edit
            Followed masks that are lost by it: where a prompt is gone, or has come.
        """
        frames = self._model_input.frames
        try:
            read = self._sources.read() if read is None else read
            usable = without_unknown(self._but_for_locked(read))
            prompts = usable.prompts
            if prompts.prompts:
                check_prompts(prompts, len(frames), frames.height, frames.width)
        except NapariSam2Error as error:
            self.complain(str(error))
            return ()
        replaced = self._replaced(prompts)
        lost = [edit_of_masks(self._picture, replaced, {})] if replaced else []
        lost += self._forget_removed(prompts)
        self.prompts, self.unknown = prompts, usable.unknown
        if self._next is _Next.NOTHING and any(r.activity is Activity.FOLLOWING for r in self.queue.requests):
            # Whoever clicks wants to see the answer, not the rest of the stack first. It goes on after that.
            self.queue.cancel()
            self._next = _Next.GO_ON if prompts.prompts else _Next.NOTHING
        self.queue.answer(prompts)
        self._show(Status(Activity.ANSWERING, is_looking=self.status.is_looking))
        locked = self._objects.notes.locked
        self.waiting = (
            locked.intersection(target.object_id for target in read.changed_since(prompts)) if locked else locked
        )
        self._remark(usable.remark)
        return tuple(lost)

    def ask_soon(self) -> None:
        """Ask when napari is done: it tells of a fill before it is in the data, and of one edit several times."""
        if not self._asks_soon:
            self._asks_soon = True
            self._post(self._ask_now)

    def _ask_now(self) -> None:
        self._asks_soon = False
        if not self.is_closed:
            self.ask()

    def _remark(self, remark: str) -> None:
        """Show which prompts are not used; of those that stay so, once."""
        standing, before = " ".join(filter(None, (self._sources.remark, remark))), self._standing
        self._standing = standing
        news = [self._sources.dropped, standing if standing != before else ""]
        if self.waiting:
            news.append(
                f"Object {listed(self.waiting)} is locked. What is said of it now is answered when it is unlocked."
            )
        if any(news):
            self.complain(" ".join(filter(None, news)))

    def _but_for_locked(self, read: PromptSet) -> PromptSet:
        """Return prompts, with those of locked objects as they were when these were locked."""
        locked = self._objects.notes.locked
        if not locked:
            return read
        given = [prompt for prompt in read.prompts if prompt.object_id not in locked]
        return PromptSet([*given, *(prompt for prompt in self.prompts.prompts if prompt.object_id in locked)])

    def _replaced(self, prompts: PromptSet) -> Snapshot:
        """Return the followed masks that a new prompt on their frame replaces."""
        replaced: Snapshot = {}
        for target in prompts.keys() - self.prompts.keys():
            held = self._picture.held.on(target.frame).get(target.object_id)
            if held is not None:
                replaced.setdefault(target.frame, {})[target.object_id] = held
        return replaced

    def _forget_removed(self, prompts: PromptSet) -> Iterator[Edit]:
        """Remove masks whose prompt is gone: on its frame, or everywhere if it was the last; yield the edit."""
        gone = {target for target in prompts.changed_since(self.prompts) if target not in prompts}
        if not gone:
            return
        lost = {target.object_id for target in gone} - set(prompts.object_ids)
        before: Snapshot = {}
        left: Snapshot = {}
        for frame, masks in self._picture.held.snapshot().items():
            kept = {
                i: held
                for i, held in masks.items()
                if i not in lost and not (Target(i, frame) in gone and held.is_prompted)
            }
            if kept.keys() != masks.keys():
                before[frame], left[frame] = masks, kept
        if before:
            removal = edit_of_masks(self._picture, before, left)
            removal.redo()
            yield removal

    # Propagation -----------------------------------------------------------------------------------------------------

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
        self._propagation = _Propagation(direction, start, stop)
        self._follow()

    def _follow(self) -> None:
        wanted, locked = self._propagation, self._objects.notes.locked
        followed = PromptSet(prompt for prompt in self.prompts.prompts if prompt.object_id not in locked)
        try:
            if not followed and self.prompts:
                raise PromptError("All objects are locked. Unlock those that are to be followed.")
            if not followed:
                raise PromptError("There is nothing to follow yet. Click an object, drag a box or paint a mask first.")
            num_frames = len(self._model_input.frames)
            visits = plan_propagation(
                followed, num_frames, direction=wanted.direction, start=wanted.start, stop=wanted.stop
            )
        except NapariSam2Error as error:
            self.complain(str(error))
            return
        held = self._picture.held
        at_hand = {(object_id, frame) for frame in held.frames for object_id in held.on(frame)}
        request = self.queue.follow(self.prompts, visits, at_hand)
        request.edits += self._interrupted
        self._interrupted = []
        self._show(Status(Activity.FOLLOWING))

    def cancel(self) -> None:
        """Stop before the next frame. What is finished stays; `propagate` goes on from there."""
        self._forget_interrupted()
        self.queue.cancel()

    def _forget_interrupted(self) -> None:
        """Do not go on with a propagation that was interrupted; what it has done is a step of its own."""
        if self._next is _Next.GO_ON:
            self._next = _Next.NOTHING
        self._history.record("propagation", self._interrupted)
        self._interrupted = []

    def break_off(self) -> bool:
        """Stop a propagation at once and record what it has done until now; return whether that is anything."""
        dropped = self.queue.drop()
        has_news = any(request.edits for request in dropped)
        self._record(dropped)
        status = self.status
        self._show(Status(message=status.message, is_problem=status.is_problem, is_of_place=status.is_of_place))
        return has_news

    def when_answered(self, step: Callable[[], None]) -> None:
        """Do something once all prompts are answered, which may be now. Only the newest such thing is done."""
        if self.queue.activity is not Activity.ANSWERING:
            step()
            return
        self._forget_interrupted()
        self._next, self._step = _Next.STEP, step

    def after_answers(self, look: Callable[[], None]) -> None:
        """Look at the answers to all prompts before anything goes on; what is looked at may be asked anew.

        Unlike with `when_answered`, a propagation that was interrupted goes on after that. The newest look counts.
        """
        self._look = look

    # Results ---------------------------------------------------------------------------------------------------------

    def begin_following(self, num_frames: int) -> None:
        """Show that so many frames are going to be followed to."""
        self.pace.note(0, num_frames)
        self._show(replace(self.status, is_looking=False, done=0, total=num_frames))

    def begin_looking(self) -> None:
        """Show that a frame is being looked at for the first time."""
        self._show(replace(self.status, is_looking=True))

    def take(self, request: Request, result: FrameResult, model: ModelUsed) -> None:
        """Hold new masks of a frame, but for objects that are locked, or have other prompts since the request."""
        frame = result.frame
        before = dict(self._picture.held.on(frame))
        changed = self.prompts.changed_since(request.prompts)
        outdated = {target.object_id for target in changed}
        fresh = {}
        for mask in result.objects:
            target = Target(mask.object_id, frame)
            is_fresh = target not in changed if target in request.prompts else mask.object_id not in outdated
            if is_fresh and not self._is_locked_out(request, target):
                given = request.by_object.get(mask.object_id, ())
                fresh[mask.object_id] = HeldMask(mask, mask.score(frame), given, model)
        after = {**before, **fresh}
        if fresh:
            try:
                self._picture.set_masks(frame, after)
            except NapariSam2Error as error:  # somebody has given the picture other data
                self.queue.cancel()
                self.complain(str(error))
                return
        if request.is_planned:
            if fresh:
                request.edits.append(edit_of_masks(self._picture, {frame: before}, {frame: after}))
            done, total = self.status.done + 1, self.status.total
            self._show(replace(self.status, done=done, seconds_left=self.pace.note(done, total)))
        elif self.status.is_looking:
            self._show(replace(self.status, is_looking=False))

    def _is_locked_out(self, request: Request, target: Target) -> bool:
        """Whether an object may not have a result, being locked. Prompts given before it was are still answered."""
        if target.object_id not in self._objects.notes.locked:
            return False
        given, held = request.prompts.get(target, ()), self._picture.held.on(target.frame).get(target.object_id)
        is_answered = held is not None and given == tuple(one for one in held.prompts if one.frame == target.frame)
        return not given or is_answered

    def end(self, request: Request, message: str) -> None:
        """End a request; the message is empty, or tells what went wrong."""
        if self._next is _Next.GO_ON and request.activity is Activity.FOLLOWING:
            self._interrupted = request.edits  # one step together with what comes when it goes on
        else:
            self._record([request])
        activity, before = self.queue.activity, self.status
        shown = Status(activity, message=message, is_problem=True)
        if not message:
            shown = replace(before, activity=activity, is_looking=False, done=0, total=0, seconds_left=None)
        if request.activity is Activity.FOLLOWING and self._next is _Next.NOTHING:
            if activity is Activity.READY and before.done < before.total:
                kept = shown.message if shown.is_problem else ""
                shown = replace(shown, message=kept, done=before.done, total=before.total)
            elif not shown.message:
                lost = lost_sentence(self._picture.held, self.prompts)
                shown = replace(shown, message=lost, is_problem=False)
        self._show(shown)
        if activity is Activity.READY:
            self._picture.show_table(self._objects.notes.names)
        if activity is not Activity.ANSWERING and self._look is not None:
            look, self._look = self._look, None
            look()
        if self.queue.activity is not Activity.ANSWERING:
            self._do_next()

    def _do_next(self) -> None:
        what, self._next = self._next, _Next.NOTHING
        if what is _Next.GO_ON:
            self._follow()
        elif what is _Next.STEP and self._step is not None:
            self._step()

    def record_so_far(self) -> None:
        """Record what a running propagation has done so far, before another step comes after it."""
        self._record(self.queue.requests)

    def _record(self, requests: Iterable[Request]) -> None:
        for request in requests:
            if request.edits:
                self._history.record("propagation", request.edits)
                request.edits = []

    # What there is to show -------------------------------------------------------------------------------------------

    def complain(self, message: str) -> None:
        """Show a sentence about something that cannot be done."""
        self._show(replace(self.status, message=message, is_problem=bool(message), is_of_place=False))

    def tell(self, message: str, *, is_of_place: bool = False) -> None:
        """Show a sentence about something that was done, or that can be done next.

        Parameters
        ----------
        message : str
            The sentence.
        is_of_place : bool
            Whether it is about the frame that is shown and the current object: it goes when another is chosen.
        """
        self._show(replace(self.status, message=message, is_problem=False, is_of_place=is_of_place))

    def leave_place(self) -> None:
        """Take back what was told of the frame and the object that were chosen before."""
        if self.status.is_of_place:
            self.tell("")

    def _show(self, status: Status) -> None:
        self.status = status
        self.changed.emit(status)
