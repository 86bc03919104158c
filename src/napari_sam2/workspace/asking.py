"""The dialogue with a model about one image: what is said is asked, and answers become masks unless they are outdated.

Everything here runs on the viewer's thread; `inference` has the model on a thread of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam2.errors import NapariSam2Error, PromptError
from napari_sam2.prompt_checks import without_unknown
from napari_sam2.prompts import PromptSet, Target, listed
from napari_sam2.tracking.propagation import plan_propagation
from napari_sam2.workspace.edits import MaskEdit
from napari_sam2.workspace.held import HeldMask
from napari_sam2.workspace.lost_objects import lost_sentence
from napari_sam2.workspace.requests import Activity, RequestQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.layers.prompt_sources import PromptSources
    from napari_sam2.results import FrameResult
    from napari_sam2.sessions.steps import ModelUsed
    from napari_sam2.tracking.propagation import DirectionName
    from napari_sam2.workspace.history import Change, History
    from napari_sam2.workspace.model_input import ModelInput
    from napari_sam2.workspace.objects import ObjectList
    from napari_sam2.workspace.picture import ResultLayers
    from napari_sam2.workspace.requests import Request


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


class Asker:
    """What was asked and what was answered; an `inference.Asker`.

    Parameters
    ----------
    sight : ModelInput
        What the model sees.
    sources : PromptSources
        Where prompts are read from.
    results : ResultLayers
        Where masks go.
    objects : ObjectList
        Which objects are locked: they are not asked about, and get no answers.
    history : History
        Where a propagation is recorded when it ends.
    load, post : callable
        As in `open`.

    Attributes
    ----------
    prompts : PromptSet
        All that was asked; of locked objects, what was said when they were locked.
    waiting : frozenset of int
        Locked objects of which something else is said by now.
    unknown : frozenset of int
        Objects of which is said where they are not, and nothing else; they are not asked about.
    status : Status
        What there is to show.
    is_closed : bool
        Whether there is no model to ask any more.
    """

    changed = Signal(Status)
    """The status has changed, or something it is of."""

    def __init__(
        self,
        model_input: ModelInput,
        sources: PromptSources,
        results: ResultLayers,
        objects: ObjectList,
        history: History,
        *,
        load: Callable[[], Predictor],
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        self._sight, self._sources, self._results = model_input, sources, results
        self._objects, self._history = objects, history
        self.prompts = PromptSet()
        self.waiting: frozenset[int] = frozenset()
        self.unknown: frozenset[int] = frozenset()
        self.status = Status()
        self._standing = ""
        self._asks_soon = False
        self._next: Callable[[], None] | None = None
        self._follow_on: Callable[[], None] = self.cancel
        self._interrupted: list[Change] = []
        self.open(load=load, post=post)

    def open(self, *, load: Callable[[], Predictor], post: Callable[[Callable[[], None]], None]) -> None:
        """Begin, or go on after `close`.

        Parameters
        ----------
        load : callable
            Loads the model. Called on the worker's thread, when something is asked for the first time.
        post : callable
            Called on the worker's thread with a function that is to be called on the viewer's thread.
        """
        self._post = post
        numbers = self._sight.channel_numbers
        self._inference = RequestQueue(self._sight.frames, channels=numbers, load=load, post=post, asker=self)
        self.is_closed = False
        self._tell(Status())

    def close(self, timeout_s: float | None = None) -> None:
        """Stop the model and forget it, as in `RequestQueue.close`."""
        self.is_closed = True
        self._inference.close(timeout_s)

    def resume(self, prompts: PromptSet) -> None:
        """Go on with what was asked and answered before. The model is not asked before it must be."""
        self._inference.look_at(self._sight.frames, self._sight.channel_numbers)
        self.prompts = prompts
        self._tell(Status())

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
        """Let another model answer, which is loaded on the worker's thread; everything is asked again."""
        self._ask_anew(self._inference.use_model(load))

    def look(self) -> None:
        """Let the model see what is in sight by now; everything is asked again."""
        self._ask_anew(self._inference.look_at(self._sight.frames, self._sight.channel_numbers))

    def heed_contrast(self) -> None:
        """Let the model see the contrast of now, unless it was asked already: one mapping holds for all masks."""
        if not self.prompts and self.activity is Activity.READY and not self._results.held:
            self._sight.look_again()
            self._inference.look_at(self._sight.frames, self._sight.channel_numbers)
        self._tell(self.status)

    def _ask_anew(self, dropped: Iterable[Request]) -> None:
        self._record(dropped)
        self._tell(Status())
        if self.prompts:
            self.ask()

    # Questions -------------------------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Load the model before it is needed: the first click then neither waits nor stalls the viewer."""
        self._inference.warm_up()

    def ask(self) -> tuple[MaskEdit, ...]:
        """Read all prompts and let the model answer those that are new or changed.

        Returns
        -------
        tuple of MaskEdit
            Followed masks that are lost by it: where a prompt is gone, or has come.
        """
        frames = self._sight.frames
        try:
            said = self._sources.read()
            heeded = without_unknown(self._but_for_locked(said))
            prompts = heeded.prompts
            if prompts:
                prompts.check(len(frames), frames.height, frames.width)
        except NapariSam2Error as error:
            self.complain(str(error))
            return ()
        lost = (*self._replaced(prompts), *self._forget_removed(prompts))
        self.prompts, self.unknown = prompts, heeded.unknown
        if self._is_following() and self._next is None:
            # Whoever clicks wants to see the answer, not the rest of the stack first. It goes on after that.
            self._inference.cancel()
            self._next = self._follow_on if prompts else None
        self._inference.answer(prompts)
        self._tell(Status(Activity.ANSWERING))
        locked = self._objects.notes.locked
        self.waiting = locked.intersection(target.object_id for target in said.changed_since(prompts))
        self._remark(heeded.remark)
        return lost

    def _remark(self, remark: str) -> None:
        """Say what is not heeded of all that is said: of what stays so, once."""
        standing, before = " ".join(filter(None, (self._sources.remark, remark))), self._standing
        self._standing = standing
        news = [self._sources.dropped, standing if standing != before else ""]
        if self.waiting:
            news.append(
                f"Object {listed(self.waiting)} is locked. What is said of it now is answered when it is unlocked."
            )
        if any(news):
            self.complain(" ".join(filter(None, news)))

    def _is_following(self) -> bool:
        requests = self._inference.requests
        return any(one.activity is Activity.FOLLOWING and not one.is_broken_off for one in requests)

    def ask_soon(self) -> None:
        """Ask when napari is done: it tells of a fill before it is in the data, and of one edit several times."""
        if not self._asks_soon:
            self._asks_soon = True
            self._post(self._ask_now)

    def _ask_now(self) -> None:
        self._asks_soon = False
        if not self.is_closed:
            self.ask()

    def _but_for_locked(self, said: PromptSet) -> PromptSet:
        """Return what is said, and of locked objects what was said when they were locked."""
        locked = self._objects.notes.locked
        if not locked:
            return said
        given = [prompt for prompt in said.prompts if prompt.object_id not in locked]
        return PromptSet([*given, *(prompt for prompt in self.prompts.prompts if prompt.object_id in locked)])

    def _replaced(self, prompts: PromptSet) -> Iterator[MaskEdit]:
        """Tell masks that were followed to frames on which there are prompts only now."""
        for target in prompts.keys() - self.prompts.keys():
            held = self._results.held.on(target.frame).get(target.object_id)
            if held is not None:
                yield MaskEdit(self._results, target.frame, {target.object_id: held}, {})

    def _forget_removed(self, prompts: PromptSet) -> Iterator[MaskEdit]:
        """Take away masks whose prompt is gone, on the frame of the prompt, or everywhere if it was the last."""
        gone = {target for target in prompts.changed_since(self.prompts) if target not in prompts}
        if not gone:
            return
        lost = {target.object_id for target in gone} - set(prompts.object_ids)
        for frame in self._results.held.frames:
            masks = self._results.held.on(frame)
            left = {
                i: held
                for i, held in masks.items()
                if i not in lost and not (Target(i, frame) in gone and held.is_prompted)
            }
            if left.keys() != masks.keys():
                self._results.set_masks(frame, left)
                yield MaskEdit(self._results, frame, masks, left)

    def propagate(self, direction: DirectionName, *, start: int | None, stop: int | None) -> None:
        """Follow the prompted objects that are not locked, as far as that is not done already."""
        self._follow_on = partial(self.propagate, direction, start=start, stop=stop)
        locked = self._objects.notes.locked
        followed = PromptSet(prompt for prompt in self.prompts.prompts if prompt.object_id not in locked)
        try:
            if not followed and self.prompts:
                raise PromptError("All objects are locked. Unlock those that are to be followed.")
            if not followed:
                raise PromptError("There is nothing to follow yet. Click an object, drag a box or paint a mask first.")
            plan = plan_propagation(followed, len(self._sight.frames), direction=direction, start=start, stop=stop)
        except NapariSam2Error as error:
            self.complain(str(error))
            return
        held = self._results.held
        at_hand = {(object_id, frame) for frame in held.frames for object_id in held.on(frame)}
        self._inference.follow(self.prompts, plan, at_hand)
        self._inference.requests[-1].edits.extend(self._interrupted)
        self._interrupted = []
        self._tell(Status(Activity.FOLLOWING))

    def cancel(self) -> None:
        """Stop before the next frame. What is finished stays; `propagate` goes on from there."""
        if self._next is self._follow_on:
            self._next = None
            self._history.record("propagation", self._interrupted)
            self._interrupted = []
        self._inference.cancel()

    def break_off(self) -> bool:
        """Stop a propagation and record what it has done until now, if anything; the frame in hand is not wanted."""
        self._inference.cancel()
        has_news = any(request.edits for request in self._inference.requests)
        for request in self._inference.requests:
            request.is_broken_off = True
        self.settle_history()
        return has_news

    def when_answered(self, step: Callable[[], None]) -> None:
        """Do something once what was asked is answered, which may be now. Only the newest such thing is done."""
        if self.activity is Activity.ANSWERING:
            self._next = step
        else:
            step()

    # Answers ---------------------------------------------------------------------------------------------------------

    def begin_following(self, num_frames: int) -> None:
        """Take note that so many frames are going to be answered."""
        self._tell(replace(self.status, done=0, total=num_frames))

    def take(self, request: Request, result: FrameResult, model: ModelUsed) -> None:
        """Take an answer, but for objects that are locked or whose prompts have changed since it was asked for."""
        if request.is_planned and request.is_broken_off:
            return
        before = self._results.held.on(result.frame)
        changed = self.prompts.changed_since(request.prompts)
        outdated = {target.object_id for target in changed}
        fresh = {}
        for mask in result.objects:
            target = Target(mask.object_id, result.frame)
            is_fresh = target not in changed if target in request.prompts else mask.object_id not in outdated
            if is_fresh and not self._is_locked_out(request, target):
                said = request.prompts_of(mask.object_id)
                fresh[mask.object_id] = HeldMask(mask, mask.score(result.frame), said, model)
        if fresh:
            try:
                self._results.set_masks(result.frame, {**before, **fresh})
            except NapariSam2Error as error:  # somebody has given the picture other data
                self._inference.cancel()
                self.complain(str(error))
                return
        if request.is_planned:
            if fresh:
                request.edits.append(MaskEdit(self._results, result.frame, before, {**before, **fresh}))
            self._tell(replace(self.status, done=self.status.done + 1))

    def _is_locked_out(self, request: Request, target: Target) -> bool:
        """Whether an object may not have an answer, being locked. Prompts given before it was are still answered."""
        if target.object_id not in self._objects.notes.locked:
            return False
        said, held = request.prompts.get(target, ()), self._results.held.on(target.frame).get(target.object_id)
        is_answered = held is not None and said == tuple(one for one in held.prompts if one.frame == target.frame)
        return not said or is_answered

    def end(self, request: Request, message: str) -> None:
        """Take note that a request has ended; the message is empty, or says what went wrong."""
        if self._next is self._follow_on and request.activity is Activity.FOLLOWING:
            self._interrupted = request.edits  # one step together with what comes when it goes on
        else:
            self._record([request])
        message = message or self.status.message
        if request.activity is Activity.FOLLOWING and self._next is None:
            message = message or lost_sentence(self._results.held, self.prompts)
        self._tell(Status(self.activity, message=message))
        if self.activity is Activity.READY:
            self._results.set_features(self._objects.notes.names)
        if self._next is not None and self.activity is not Activity.ANSWERING:
            step, self._next = self._next, None
            step()

    def settle_history(self) -> None:
        """Record what a running propagation has done so far, before another step comes after it."""
        self._record(self._inference.requests)

    def _record(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self._history.record("propagation", request.edits)
            request.edits.clear()

    # What there is to show -------------------------------------------------------------------------------------------

    def complain(self, message: str) -> None:
        """Show a sentence about something that cannot be done."""
        self._tell(replace(self.status, message=message))

    def _tell(self, status: Status) -> None:
        self.status = status
        self.changed.emit(status)
