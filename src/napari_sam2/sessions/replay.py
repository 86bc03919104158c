"""Labels of a session, computed again from its image, its prompts and its steps."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.errors import SessionError
from napari_sam2.labels.composing import compose, label_dtype
from napari_sam2.labels.merging import exported_plane, merged_plane
from napari_sam2.labels.values import areas_of
from napari_sam2.prompt_checks import check_prompts
from napari_sam2.prompts import MAX_OBJECT_ID, PromptSet, Target
from napari_sam2.sessions.steps import Commit, HandEdit, MaskSource, Renumbering
from napari_sam2.tracking.propagation import LabelFrame, plan_propagation, run
from napari_sam2.tracking.stack import TrackedStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.results import ObjectMask, ObjectScore
    from napari_sam2.sessions.document import Session
    from napari_sam2.sessions.steps import ModelUsed, Origin
    from sam2_model.video.passes import Visit


_Masks = dict["Origin", "ObjectMask"]
"""Masks of one frame, by what they depend on."""


def frames_replayed(session: Session) -> tuple[int, ...]:
    """Return the frames that a replay gives, ascending; all others are empty."""
    edited = {frame for step in session.steps if isinstance(step, HandEdit) for frame in step.planes}
    return tuple(sorted(edited.union(*(source.frames for source in _sources(session)))))


def models_used(session: Session) -> tuple[ModelUsed, ...]:
    """Return the models that a replay needs, in the order in which they were used first."""
    return tuple(dict.fromkeys(source.model for source in _sources(session)))


def replay(
    session: Session,
    frames_of: Callable[[ModelUsed], FrameStack],
    predictor_of: Callable[[ModelUsed], Predictor],
) -> Iterator[LabelFrame]:
    """Compute all masks of a session again, and repeat its commits, renumberings and hand edits.

    Masks that are held and shown come on top, as a commit would put them. Objects are followed together as far as
    possible, and a frame is given as soon as it is complete: in one run that takes little memory, while objects whose
    prompts changed after their masks were computed take further runs, and their masks wait for these.

    Parameters
    ----------
    session : Session
        The session.
    frames_of : callable
        Returns its image as a model saw it: the same channels under the same intensity mapping.
    predictor_of : callable
        Loads a model. All are loaded before any mask is computed.

    Returns
    -------
    iterator of LabelFrame
        Each frame of `frames_replayed` once, in no particular order: the labels, of the type `dtype_replayed`, and
        the newest score of each object that is left on it.

    Raises
    ------
    SessionError
        If the session is empty, does not fit the stack, or a model is not the one that was used.
    PromptError
        If its prompts cannot be answered on this stack.
    """
    _check(session)
    stacks = {model: _fitting(frames_of(model), session) for model in models_used(session)}
    predictors = {model: _checked(predictor_of(model), model, frames) for model, frames in stacks.items()}
    return _replayed(session, {model: (predictor, stacks[model]) for model, predictor in predictors.items()})


def dtype_replayed(session: Session) -> np.dtype[np.unsignedinteger]:
    """Return the type of the labels that a replay gives."""
    labels = {source.object_id for source in _sources(session)}
    for step in session.steps:
        match step:
            case Renumbering(new=new):
                labels.add(new)
            case HandEdit(planes=planes):
                labels |= {int(packed.unpack().max()) for packed in planes.values()}
    return label_dtype(labels)


def _replayed(session: Session, opened: Mapping[ModelUsed, tuple[Predictor, FrameStack]]) -> Iterator[LabelFrame]:
    wanted = _wanted(session)
    outstanding = dict.fromkeys(frames_replayed(session), 0)
    for source in wanted:
        for frame in source.frames:
            outstanding[frame] += 1
    finished = _Finisher(session)
    for frame in [frame for frame, count in outstanding.items() if not count]:
        yield finished(frame, {})
    held: dict[int, _Masks] = {}
    for model, (predictor, frames) in opened.items():
        of_model = [source for source in wanted if source.model == model]
        for source, frame, mask in _computed(TrackedStack(predictor, frames), of_model):
            held.setdefault(frame, {})[source.origin] = mask
            outstanding[frame] -= 1
            if not outstanding[frame]:
                yield finished(frame, held.pop(frame))


def _sources(session: Session) -> Iterator[MaskSource]:
    for step in session.steps:
        if isinstance(step, Commit):
            yield from step.sources
    yield from session.sources


def _wanted(session: Session) -> list[MaskSource]:
    """Return the sources of all masks that are needed; those of one origin are one source, with the frames of all."""
    frames: dict[Origin, set[int]] = {}
    for source in _sources(session):
        frames.setdefault(source.origin, set()).update(source.frames)
    return [MaskSource(*origin, tuple(sorted(needed))) for origin, needed in frames.items()]


# Refusals ------------------------------------------------------------------------------------------------------------


def _check(session: Session) -> None:
    """Refuse a session that contradicts itself."""
    num_frames, height, width = session.image.frame_shape
    if not frames_replayed(session):
        raise SessionError(
            "The session holds no labels: no mask was computed, nothing was committed. Open it in the viewer and go on."
        )
    beyond = [frame for frame in frames_replayed(session) if frame >= num_frames]
    if beyond:
        raise SessionError(
            f"The session has labels on frame {beyond[0]}, and its image has {num_frames} frames, numbered from 0. "
            "Use another copy of it."
        )
    for step in session.steps:
        for frame, packed in step.planes.items() if isinstance(step, HandEdit) else ():
            if packed.shape != (height, width):
                raise SessionError(
                    f"Frame {frame} was edited by hand with {packed.shape[0]} x {packed.shape[1]} pixels, and the "
                    f"frames of the image have {height} x {width}. Use another copy of the session."
                )
            _check_labels(packed.unpack(), frame)
    for source in _sources(session):
        check_prompts(PromptSet(source.prompts), num_frames, height, width)


def _fitting(frames: FrameStack, session: Session) -> FrameStack:
    found = len(frames), frames.height, frames.width
    if found != session.image.frame_shape:
        raise SessionError(
            f"The stack has {found[0]} frames of {found[1]} x {found[2]} pixels, and the session was made on "
            "{} of {} x {}. Give the image that it was made with.".format(*session.image.frame_shape)
        )
    return frames


def _check_labels(plane: NDArray[np.integer], frame: int) -> None:
    for label in (int(plane.min()), int(plane.max())):
        if not 0 <= label <= MAX_OBJECT_ID:
            raise SessionError(
                f"Frame {frame} was edited by hand and holds the label {label}, and labels go from 0 to "
                f"{MAX_OBJECT_ID}. Renumber it in the viewer and save the session again."
            )


def _checked(predictor: Predictor, model: ModelUsed, frames: FrameStack) -> Predictor:
    if predictor.sha256.lower() != model.sha256.lower():
        raise SessionError(
            f"The session was made with the weights of {model.name} that have the SHA-256 {model.sha256}, and those of "
            f"{predictor.name} have {predictor.sha256}; the result would be another one. Get the weights back that "
            "were used."
        )
    size = predictor.working_size(frames.height, frames.width)
    if size != model.image_size:
        raise SessionError(
            f"The session was made with {model.name} at a working size of {model.image_size} px, and it is loaded at "
            f"{size} px. Load it at the size that was used."
        )
    if predictor.framing is not model.framing:
        raise SessionError(
            f"The masks of the session were made by {model.name} with the framing {model.framing.value!r}, and it is "
            f"loaded with {predictor.framing.value!r}. Load it with framing={model.framing.value!r}."
        )
    if predictor.drops_islands != model.drops_islands:
        did, does = ("without", "with") if model.drops_islands else ("with", "without")
        raise SessionError(
            f"The masks of the session were made by {model.name} {did} islands that no click touched, and it is loaded "
            f"to make them {does} these. Load it with drops_islands={model.drops_islands}."
        )
    return predictor


# Masks ---------------------------------------------------------------------------------------------------------------


def _computed(stack: TrackedStack, wanted: Iterable[MaskSource]) -> Iterator[tuple[MaskSource, int, ObjectMask]]:
    """Yield each mask of the sources of one model, with its source and frame."""
    known: dict[Target, ObjectMask] = {}
    for sources, returning in _runs(wanted):
        needed = {object_id: set(source.frames) for object_id, source in sources.items()}
        prompts = PromptSet(prompt for source in sources.values() for prompt in source.prompts)
        for target, mask in _answered(stack, prompts, known, returning):
            if target.frame in needed[target.object_id]:
                yield sources[target.object_id], target.frame, mask
        followed = {i: frames.difference(prompts.frames_of(i)) for i, frames in needed.items()}
        for result in run(stack, _visits(prompts, followed, len(stack.frames))):
            for mask in result.objects:
                if result.frame in followed[mask.object_id]:
                    yield sources[mask.object_id], result.frame, mask


def _runs(wanted: Iterable[MaskSource]) -> Iterator[tuple[dict[int, MaskSource], set[int]]]:
    """Yield one source of each object at a time, and the objects that have another one in the next run.

    An object has one state of its prompts at a time. Between runs the model is given what is different and no more, as
    in the viewer.
    """
    states: dict[int, list[MaskSource]] = {}
    for source in wanted:
        states.setdefault(source.object_id, []).append(source)
    for each in states.values():
        each.sort(key=lambda source: len(source.prompts))  # mostly prompts were added, and few are asked twice so
    for number in range(max(map(len, states.values()), default=0)):
        sources = {object_id: each[number] for object_id, each in states.items() if number < len(each)}
        yield sources, {object_id for object_id in sources if number + 1 < len(states[object_id])}


def _answered(
    stack: TrackedStack, prompts: PromptSet, known: dict[Target, ObjectMask], returning: set[int]
) -> Iterator[tuple[Target, ObjectMask]]:
    """Yield the mask of each target. A target whose prompts are those of the run before is not asked again.

    `known` holds the masks of the run before, and afterwards those of the objects that return in the next.
    """
    unasked = set(prompts)
    for result in stack.apply(prompts):
        for mask in result.objects:
            target = Target(mask.object_id, result.frame)
            unasked.remove(target)
            if mask.object_id in returning:
                known[target] = mask
            yield target, mask
    for target in sorted(unasked):
        yield target, known[target]
    for target in [target for target in known if target.object_id not in returning]:
        del known[target]


def _visits(prompts: PromptSet, followed: Mapping[int, set[int]], num_frames: int) -> tuple[Visit, ...]:
    """Return the visits on the way to the frames that are needed of each object, beside those that were prompted."""
    of_followed = PromptSet(prompt for prompt in prompts.prompts if followed[prompt.object_id])
    if not of_followed:
        return ()
    visits = []
    for visit in plan_propagation(of_followed, num_frames):
        step = visit.direction.value
        on_the_way = tuple(i for i in visit.object_ids if any(step * (f - visit.frame) >= 0 for f in followed[i]))
        if on_the_way:
            is_reported = any(visit.frame in followed[object_id] for object_id in on_the_way)
            visits.append(replace(visit, object_ids=on_the_way, is_reported=is_reported))
    return tuple(visits)


# Labels --------------------------------------------------------------------------------------------------------------


class _Finisher:
    """Makes the labels of a frame from its masks, by all steps in order."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shape = session.image.frame_shape[1:]
        self._dtype = dtype_replayed(session)

    def __call__(self, frame: int, masks: _Masks) -> LabelFrame:
        session = self._session
        plane: NDArray[np.integer] = np.zeros(self._shape, np.int64)
        scores: dict[int, ObjectScore] = {}
        num_specks = 0
        for step in session.steps:
            match step:
                case Commit(sources=sources, policy=policy, locked=locked):
                    coming = self._coming(frame, sources, masks, drops_specks=step.drops_specks)
                    num_specks += coming.num_specks
                    confidence_of = _confidence_of({**scores, **coming.scores})
                    plane = merged_plane(plane, coming.labels, policy, confidence_of=confidence_of, locked=locked)
                    scores |= {i: score for i, score in coming.scores.items() if i not in locked}
                case Renumbering(old=old, new=new, frames=where):
                    if where is None or frame in where:
                        plane[plane == old] = new
                        scores.pop(old, None)
                case HandEdit(planes=planes):
                    if frame in planes:
                        plane = planes[frame].unpack().astype(np.int64)
                        scores = {}  # what was edited by hand is certain
        shown = [source for source in session.sources if source.object_id not in session.hidden]
        coming = self._coming(frame, shown, masks, session.least_confidence, drops_specks=session.drops_specks)
        num_specks += coming.num_specks
        scores |= coming.scores
        plane = exported_plane(
            plane, coming.labels, session.policy, confidence_of=_confidence_of(scores), locked=session.locked
        )
        areas = areas_of(plane)
        counted = (replace(scores[i], area_in_labels_px=areas.get(i, 0)) for i in sorted(scores))
        return LabelFrame(frame, plane.astype(self._dtype), tuple(counted), num_specks)

    def _coming(
        self,
        frame: int,
        sources: Iterable[MaskSource],
        masks: _Masks,
        least_confidence: float = 0.0,
        *,
        drops_specks: bool,
    ) -> _Coming:
        found = {source.object_id: source for source in sources if _has(source, frame)}
        scored = [(masks[source.origin], masks[source.origin].score(frame)) for source in found.values()]
        scored = [(mask, score) for mask, score in scored if score.confidence >= least_confidence]
        composed = compose(
            [mask for mask, _ in scored],
            *self._shape,
            self._dtype,
            prompts_of=lambda object_id: (one for one in found[object_id].prompts if one.frame == frame),
            drops_specks=drops_specks,
        )
        return _Coming(composed.labels, {score.object_id: score for _, score in scored}, composed.num_specks)


@dataclass(frozen=True, slots=True, eq=False)
class _Coming:
    """Masks of one frame as labels, and how sure they are, by object."""

    labels: NDArray[np.unsignedinteger]
    scores: dict[int, ObjectScore]
    num_specks: int


def _confidence_of(scores: Mapping[int, ObjectScore]) -> dict[int, float]:
    return {object_id: score.confidence for object_id, score in scores.items()}


def _has(source: MaskSource, frame: int) -> bool:
    place = bisect_left(source.frames, frame)
    return place < len(source.frames) and source.frames[place] == frame
