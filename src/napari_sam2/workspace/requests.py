"""Requests to the model from a viewer, and its results: one thread, one model, requests that know what they asked for.

Requests are made on the viewer's thread, and `post` brings results back to it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from napari_sam2.inference.background import BackgroundJob, Failed, JobInParts, JobThread, Reported
from napari_sam2.inference.speed import Activity, FrameTime
from napari_sam2.prompts import Target
from napari_sam2.results import FrameResult
from napari_sam2.sessions.steps import ModelUsed
from napari_sam2.tracking.propagation import remaining_visits, run
from napari_sam2.tracking.stack import TrackedStack
from napari_sam2.workspace.sentences import error_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.background import Event
    from napari_sam2.inference.predictor import FoundPart, Predictor, Search, ShownObject
    from napari_sam2.inference.speed import SpeedLog
    from napari_sam2.prompts import Prompt, PromptSet
    from napari_sam2.workspace.asking import Asker
    from napari_sam2.workspace.history import Change
    from sam2_model.video.passes import Visit


@dataclass(frozen=True, slots=True)
class _Looking:
    """A frame is looked at for the first time."""


_Item = int | FrameResult | _Looking
"""What a job reports: how many frames a propagation has left to do; results, and what takes long before them."""


@dataclass(slots=True, eq=False)
class Request:
    """A request on its way.

    Attributes
    ----------
    prompts : PromptSet
        All prompts when it was made.
    activity : Activity
        Whether prompts are answered or objects followed.
    by_object : mapping
        The prompts by object: one tuple for all masks of an object, so that these can be compared by identity.
    edits : list of Change
        What its results have changed so far.
    is_planned : bool
        Whether the results that come now are of frames that are followed to.
    """

    prompts: PromptSet
    activity: Activity
    by_object: Mapping[int, tuple[Prompt, ...]] = field(init=False)
    edits: list[Change] = field(default_factory=list)
    is_planned: bool = False
    job: BackgroundJob[_Item, None] = field(init=False)

    def __post_init__(self) -> None:
        self.by_object = self.prompts.by_object()


@dataclass(slots=True)
class _Model:
    """One model on the thread that owns it, and the stack in its hands. Loaded when the first request is answered."""

    load: Callable[[], Predictor]
    frames: FrameStack
    channels: tuple[int, ...]
    speeds: SpeedLog | None
    predictor: Predictor | None = None
    stack: TrackedStack | None = None
    used: ModelUsed | None = None

    def opened(self) -> TrackedStack:
        """Load the model and open the stack, on the thread of the model."""
        if self.stack is None:
            predictor = self.load()
            frames = self.frames
            size = predictor.working_size(frames.height, frames.width)
            limits = frames.contrast_limits
            self.used = ModelUsed(
                name=predictor.name,
                sha256=predictor.sha256,
                image_size=size,
                source=predictor.source,
                contrast_limits=limits,
                channels=self.channels,
                framing=predictor.framing,
                drops_islands=predictor.drops_islands,
            )
            self.stack = TrackedStack(predictor, frames)
            self.predictor = predictor
        return self.stack

    def report_all(
        self,
        results: Iterable[FrameResult],
        activity: Activity,
        prompts: PromptSet,
        report: Callable[[_Item], None],
    ) -> None:
        """Report results as they come, and write down how long the objects of each took that had to be computed."""
        start = time.perf_counter()
        for result in results:
            seconds = time.perf_counter() - start
            if activity is Activity.ANSWERING:
                computed = sum(mask.is_computed for mask in result.objects)
            else:  # where there are prompts the result is repeated
                computed = sum(Target(mask.object_id, result.frame) not in prompts for mask in result.objects)
            if computed and self.speeds is not None and self.predictor is not None and self.used is not None:
                device = str(getattr(self.predictor, "device", ""))
                size = self.used.image_size
                self.speeds.record(FrameTime(self.predictor.source, device, activity, size, computed, seconds))
            report(result)
            start = time.perf_counter()


class RequestQueue:
    """Requests to a model about one stack, answered one after the other.

    Parameters
    ----------
    frames : FrameStack
        The stack.
    channels : tuple of int
        Which channels of the file they show, for the record; empty if that is not known, or all.
    load : callable
        Loads the model. Called on the thread of the model, when the first request is answered.
    post : callable
        Called on that thread with a function that is to be called on the viewer's thread.
    asker : Asker
        Takes the results.
    speeds : SpeedLog, optional
        Where to write down how long frames took.
    """

    def __init__(
        self,
        frames: FrameStack,
        *,
        channels: tuple[int, ...] = (),
        load: Callable[[], Predictor],
        post: Callable[[Callable[[], None]], None],
        asker: Asker,
        speeds: SpeedLog | None = None,
    ) -> None:
        self._asker, self._post = asker, post
        self._model = _Model(load, frames, channels, speeds)
        self._thread = JobThread()
        self._warming: BackgroundJob[_Item, None] | None = None
        self._search: JobInParts[FoundPart] | None = None
        self._lose: Callable[[], None] | None = None
        self.requests: list[Request] = []
        """Requests that have not ended, the oldest first."""

    @property
    def activity(self) -> Activity:
        """What the model does for the newest request."""
        return self.requests[-1].activity if self.requests else Activity.READY

    @property
    def used(self) -> ModelUsed | None:
        """The model that answers, once it is loaded."""
        return self._model.used

    def warm_up(self) -> None:
        """Load the model before it is needed; what goes wrong is told when it is."""
        model = self._model

        def work(report: object) -> None:
            model.opened()

        self._warming = BackgroundJob(work, lambda event: None, self._post)
        self._thread.submit(self._warming)

    def answer(self, prompts: PromptSet) -> None:
        """Request the masks of all prompts that are new or changed."""
        for request in self.requests:
            if request.activity is Activity.ANSWERING:
                request.job.cancel()  # the new request is for all that this one has not answered
        model = self._model

        def work(report: Callable[[_Item], None]) -> None:
            answers = model.opened().apply(prompts, look=lambda frame: report(_Looking()))
            model.report_all(answers, Activity.ANSWERING, prompts, report)

        self._submit(Request(prompts, Activity.ANSWERING), work)

    def follow(self, prompts: PromptSet, visits: Sequence[Visit], held: Container[tuple[int, int]]) -> Request:
        """Request what is left to do of planned visits; `held` has objects and frames whose masks are still at hand."""
        model = self._model

        def work(report: Callable[[_Item], None]) -> None:
            stack = model.opened()
            answers = stack.apply(prompts, look=lambda frame: report(_Looking()))
            model.report_all(answers, Activity.ANSWERING, prompts, report)
            left = remaining_visits(stack, visits, is_held=lambda object_id, frame: (object_id, frame) in held)
            report(sum(visit.is_reported for visit in left))
            model.report_all(run(stack, left), Activity.FOLLOWING, prompts, report)

        return self._submit(Request(prompts, Activity.FOLLOWING), work)

    def search(
        self,
        frame: int,
        search: Search,
        tell: Callable[[Event[FoundPart, None]], None],
        lose: Callable[[], None],
        *,
        examples: Sequence[ShownObject] = (),
    ) -> JobInParts[FoundPart]:
        """Request what the model finds by itself in a frame, beside all else that is requested.

        Parameters
        ----------
        frame : int
            The frame.
        search : Search
            What is looked for.
        tell : callable
            As in `JobInParts`.
        lose : callable
            As in `keep_found`.
        examples : sequence of ShownObject
            What objects are compared with; the model describes them first.
        """
        self.leave_search()
        self.keep_found(lose)
        model = self._model

        def find() -> Iterator[FoundPart]:
            model.opened()
            predictor = model.predictor
            assert predictor is not None
            like = tuple(example.described(predictor) for example in examples)
            return predictor.propose(model.frames, frame, replace(search, like=like))

        self._search = JobInParts(find, self._thread.submit, self._post, tell)
        return self._search

    def keep_found(self, lose: Callable[[], None]) -> None:
        """Keep what a search has found: `lose` is called if another model answers, or sees something else."""
        self._lose = lose

    @property
    def is_searched(self) -> bool:
        """Whether somebody keeps what a search finds, or has found."""
        return self._lose is not None

    def leave_search(self) -> None:
        """Forget the last search: nobody keeps what it finds."""
        if self._search is not None:
            self._search.drop()
        self._search = self._lose = None

    def _lose_search(self) -> None:
        lose = self._lose
        self.leave_search()
        if lose is not None:
            lose()

    def cancel(self) -> None:
        """Stop after the frame in hand."""
        for request in self.requests:
            request.job.cancel()

    def drop(self) -> list[Request]:
        """Stop after the frame in hand, of which nothing is told any more; return the requests that end so."""
        dropped, self.requests = self.requests, []
        for request in dropped:
            request.job.drop()
        return dropped

    def use_model(self, load: Callable[[], Predictor]) -> list[Request]:
        """Let another model answer from now on, and return the requests that are dropped."""
        self._model = _Model(load, self._model.frames, self._model.channels, self._model.speeds)
        self._lose_search()
        return self.drop()

    def look_at(self, frames: FrameStack, channels: tuple[int, ...] = ()) -> list[Request]:
        """Let the model see other frames from now on, and return the requests that are dropped."""
        loaded, load = self._model.predictor, self._model.load
        self._model = _Model(load if loaded is None else lambda: loaded, frames, channels, self._model.speeds)
        self._lose_search()
        return self.drop()

    def close(self, timeout_s: float | None = None) -> None:
        """Stop the model and forget it; wait for the frame in hand as long as it takes when no time is given."""
        self.drop()
        self.leave_search()
        if self._warming is not None:
            self._warming.cancel()
        self._thread.close(timeout_s)
        self._model = _Model(_closed, self._model.frames, self._model.channels, None)

    def _submit(self, request: Request, work: Callable[[Callable[[_Item], None]], None]) -> Request:
        request.job = BackgroundJob(work, partial(self._receive, request), self._post)
        self.requests.append(request)
        self._thread.submit(request.job)
        return request

    def _receive(self, request: Request, event: Event[_Item, None]) -> None:
        match event:
            case Reported(int() as num_frames):
                request.is_planned = True
                self._asker.begin_following(num_frames)
            case Reported(_Looking()):
                self._asker.begin_looking()
            case Reported(FrameResult() as result):
                assert self._model.used is not None
                self._asker.take(request, result, self._model.used)
            case _:
                self.requests.remove(request)
                self._asker.end(request, error_sentence(event.error) if isinstance(event, Failed) else "")


def _closed() -> Predictor:
    raise RuntimeError("The model was closed. Make another queue of requests.")
