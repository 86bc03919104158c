"""Questions to the model from a viewer, and its answers: one thread, one model, requests that know what they asked.

Questions are asked on the viewer's thread, and `post` brings answers back to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from napari_sam2.errors import NapariSam2Error
from napari_sam2.inference.background import Answer, Failed, Finished, InferenceWorker
from napari_sam2.results import FrameResult
from napari_sam2.sessions.steps import ModelUsed
from napari_sam2.tracking.propagation import remaining_steps, run
from napari_sam2.tracking.stack import TrackedStack

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.prompts import Prompt, PromptSet
    from napari_sam2.tracking.propagation import PropagationPlan
    from napari_sam2.workspace.history import Change


class Activity(Enum):
    """What the model is doing."""

    READY = "ready"
    ANSWERING = "answering prompts"
    FOLLOWING = "following objects"


@dataclass(slots=True)
class Request:
    """A question on its way.

    Attributes
    ----------
    prompts : PromptSet
        What was said when it was asked.
    activity : Activity
        What kind of question it is.
    edits : list of Change
        What its answers have changed so far; kept by whoever takes them.
    is_planned : bool
        Whether the answers that come now are those of frames that are followed to.
    is_broken_off : bool
        Whether frames that are followed to are not wanted any more.
    """

    prompts: PromptSet
    activity: Activity
    edits: list[Change] = field(default_factory=list)
    is_planned: bool = False
    is_broken_off: bool = False
    _by_object: dict[int, tuple[Prompt, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self._by_object = self.prompts.by_object()

    def prompts_of(self, object_id: int) -> tuple[Prompt, ...]:
        """All prompts of one object, in order; always the same tuple for the same object, empty for an unknown one."""
        return self._by_object.get(object_id, ())


class Asker(Protocol):
    """Whoever asks, told of everything on the viewer's thread."""

    def begin_following(self, num_frames: int) -> None:
        """Take note that so many frames are going to be answered."""

    def take(self, request: Request, result: FrameResult, model: ModelUsed) -> None:
        """Take the answer for one frame."""

    def end(self, request: Request, message: str) -> None:
        """Take note that a request has ended; the message is empty, or says what went wrong."""


@dataclass(frozen=True, slots=True)
class _Planned:
    num_frames: int


_Item = _Planned | FrameResult


@dataclass(slots=True)
class _Model:
    """A model that is loaded, and opens the stack, when the worker first needs it."""

    load: Callable[[], Predictor]
    frames: FrameStack
    channels: tuple[int, ...]
    predictor: Predictor | None = None
    session: TrackedStack | None = None
    used: ModelUsed | None = None

    def opened(self) -> TrackedStack:
        """Load the model and open the stack, on the worker's thread."""
        if self.session is None:
            predictor = self.load()
            size = predictor.working_size(self.frames.height, self.frames.width)
            self.used = ModelUsed(
                predictor.name,
                predictor.sha256,
                size,
                predictor.source,
                self.frames.contrast_limits,
                self.channels,
            )
            self.session = TrackedStack(predictor, self.frames)
            self.predictor = predictor
        return self.session


class RequestQueue:
    """One stack in the hands of a model.

    Parameters
    ----------
    frames : FrameStack
        The stack.
    channels : tuple of int
        Which channels of the file they show, for the record; empty if that is not known, or all.
    load : callable
        Loads the model. Called on the worker's thread, when the first question is asked.
    post : callable
        Called on the worker's thread with a function that is to be called on the viewer's thread.
    asker : Asker
        Who is told.
    """

    def __init__(
        self,
        frames: FrameStack,
        *,
        channels: tuple[int, ...] = (),
        load: Callable[[], Predictor],
        post: Callable[[Callable[[], None]], None],
        asker: Asker,
    ) -> None:
        self._frames, self._channels = frames, channels
        self._asker = asker
        self._model = _Model(load, frames, channels)
        self._requests: dict[int, Request] = {}
        self._worker: InferenceWorker[_Item] = InferenceWorker(lambda event: post(lambda: self._receive(event)))

    @property
    def activity(self) -> Activity:
        """What the model is doing for the newest request."""
        newest = next(reversed(self._requests.values()), None)
        return Activity.READY if newest is None else newest.activity

    @property
    def requests(self) -> tuple[Request, ...]:
        """Questions on their way, the oldest first."""
        return tuple(self._requests.values())

    @property
    def working_size(self) -> int | None:
        """Side in pixels of the image that the model sees; None as long as no model is loaded."""
        return None if self._model.used is None else self._model.used.image_size

    @property
    def model_used(self) -> ModelUsed | None:
        """The model, once it is loaded."""
        return self._model.used

    def warm_up(self) -> None:
        """Load the model before it is needed; what goes wrong is said when it is."""
        model = self._model

        def job() -> Iterator[_Item]:
            model.opened()
            yield from ()

        self._worker.submit(job)

    def answer(self, prompts: PromptSet) -> None:
        """Ask for the masks of all prompts that are new or changed."""
        for number, request in self._requests.items():
            if request.activity is Activity.ANSWERING:
                self._worker.cancel(number)  # the new request asks for all that this one has not answered
        model = self._model
        self._submit(lambda: model.opened().apply(prompts), prompts, Activity.ANSWERING)

    def follow(self, prompts: PromptSet, plan: PropagationPlan, held: Container[tuple[int, int]]) -> None:
        """Ask for what is left to do of a plan; `held` has objects and frames whose masks are still at hand."""
        model = self._model

        def job() -> Iterator[_Item]:
            session = model.opened()
            yield from session.apply(prompts)
            steps = remaining_steps(session, plan.steps, is_held=lambda object_id, frame: (object_id, frame) in held)
            yield _Planned(sum(step.is_reported for step in steps))
            yield from run(session, steps)

        self._submit(job, prompts, Activity.FOLLOWING)

    def cancel(self) -> None:
        """Stop before the next frame."""
        self._worker.cancel()

    def use_model(self, load: Callable[[], Predictor]) -> tuple[Request, ...]:
        """Let another model answer from now on, and return the requests that will not be answered any more."""
        self._worker.cancel()
        dropped = self.requests
        self._requests.clear()
        self._model = _Model(load, self._frames, self._channels)
        return dropped

    def look_at(self, frames: FrameStack, channels: tuple[int, ...] = ()) -> tuple[Request, ...]:
        """Let the model see other frames from now on; returns what `use_model` returns."""
        self._frames, self._channels = frames, channels
        loaded, load = self._model.predictor, self._model.load
        return self.use_model(load if loaded is None else lambda: loaded)

    def close(self, timeout_s: float | None = None) -> None:
        """Stop the model and forget it; wait for the frame in hand as long as it takes when no time is given."""
        self._requests.clear()
        self._worker.close(timeout_s)
        self._model = _Model(_closed, self._frames, self._channels)

    def _submit(self, job: Callable[[], Iterator[_Item]], prompts: PromptSet, activity: Activity) -> None:
        self._requests[self._worker.submit(job)] = Request(prompts, activity)

    def _receive(self, event: Answer[_Item] | Finished | Failed) -> None:
        request = self._requests.get(event.number)
        if request is None:
            return
        match event:
            case Answer(item=_Planned(num_frames)):
                request.is_planned = True
                self._asker.begin_following(num_frames)
            case Answer(item=FrameResult() as result):
                assert self._model.used is not None
                self._asker.take(request, result, self._model.used)
            case Finished() | Failed():
                del self._requests[event.number]
                self._asker.end(request, _sentence(event.error) if isinstance(event, Failed) else "")


def _closed() -> Predictor:
    raise RuntimeError("The model was closed. Make another inference.")


def _sentence(error: Exception) -> str:
    if isinstance(error, NapariSam2Error):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory is full. Use a smaller model, or follow fewer objects at a time. Your work is kept."
    return (
        f"The model stopped with an unexpected error ({type(error).__name__}: {error}). Your work is kept; try again."
    )
