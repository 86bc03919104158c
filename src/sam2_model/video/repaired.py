"""The default policy: a result depends on frames and prompts alone, never on what was clicked or followed before."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sam2_model.errors import FrameError, PromptError
from sam2_model.memory_bank import MAX_POINTERS, Direction, Recall
from sam2_model.sam2 import ImageFeatures
from sam2_model.video.answers import PromptAnswers
from sam2_model.video.memory import VideoMemory
from sam2_model.video.passes import Visit, plan_visits
from sam2_model.video.state import FrameMemory, FramePrompt, ObjectTrack, VideoState

BARELY_PRESENT = 0.01
"""Lowest object score, as a logit, where the user has shown the object."""


class RepairedPolicy:
    """Prompts replace each other, every prompted frame is recalled, and a pass recalls its own frames only.

    Parameters
    ----------
    memory : VideoMemory
        Reads and writes memories.
    """

    track_type = ObjectTrack

    def __init__(self, memory: VideoMemory) -> None:
        self.memory = memory
        self.answers = PromptAnswers(memory, as_drawn=True)

    def answer(
        self, state: VideoState, track: ObjectTrack, frame: int, prompt: FramePrompt, features: ImageFeatures
    ) -> FrameMemory:
        """Return what the network makes of a prompt by itself; clicks that only exclude are not put to it."""
        if prompt.is_absence:
            return self.answers.absence(features)
        embedding = self.memory.model.without_memory(features)
        output = self.answers.decode(state, prompt, embedding, features, self.answers.mask_logits(state, prompt))
        # A user who shows where an object is does not ask whether it is there.
        output = replace(output, object_score_logit=output.object_score_logit.clamp(min=BARELY_PRESENT))
        return self.answers.judged(output, is_ambiguous=prompt.is_ambiguous, candidate=prompt.candidate)[0]

    def store_answer(self, state: VideoState, track: ObjectTrack, frame: int, memory: FrameMemory) -> None:
        """Replace the answer on a frame, and drop what was followed of the object: it would come out differently."""
        _forget_followed(state, track)
        track.conditioning[frame] = memory
        if state.frames is None:
            self.memory.write_prompted(state, [track], frame)  # now: later the frame may be gone

    def remove_answer(self, state: VideoState, track: ObjectTrack, frame: int) -> None:
        """Drop the answer on a frame, and what was followed of the object."""
        track.conditioning.pop(frame, None)
        _forget_followed(state, track)

    def store_followed(self, track: ObjectTrack, frame: int, direction: Direction, memory: FrameMemory) -> None:
        """Store what was found on a frame, and drop what no later frame of the pass can recall.

        So a state does not grow with its stack.
        """
        track.tracked[frame] = memory
        for old, before in list(track.tracked.items()):
            age = direction.value * (frame - old)
            if before.direction is not direction or age < self.memory.model.config.num_memories - 1:
                continue
            if age >= MAX_POINTERS:
                del track.tracked[old]
            elif before.spatial is not None:
                track.tracked[old] = replace(before, spatial=None)

    def recalls(
        self, state: VideoState, frame: int, direction: Direction, object_ids: Sequence[int] | None
    ) -> dict[int, Recall | None]:
        """Return what each object recalls on a frame; None where the frame is prompted or was just followed to."""
        if object_ids is None:
            object_ids = [i for i, track in state.objects.items() if _leads_to(track, frame, direction)]
        recalls: dict[int, Recall | None] = {}
        for object_id in object_ids:
            track = state.track_of(object_id)
            if frame in track.conditioning or _is_followed(track, frame, direction):
                recalls[object_id] = None
            else:
                _check_next(track, object_id, frame, direction)
                recalls[object_id] = self.recall(state, track, frame, direction)
        return recalls

    def recall(self, state: VideoState, track: ObjectTrack, frame: int, direction: Direction) -> Recall:
        """Return what an object recalls: prompted frames in order of time, and frames of the same direction only."""
        # The order of clicks must not matter, and neither must what a pass the other way has left.
        tracked = {f for f in track.tracked if _is_followed(track, f, direction)}
        return self.memory.recall(state, frame, direction, sorted(track.conditioning), tracked)

    def visits(
        self, state: VideoState, directions: Sequence[Direction], start: int | None, stop: int | None
    ) -> Iterator[Visit]:
        """Drop what was followed before, then yield the visits that follow every object into the range."""
        first, last = start or 0, state.num_frames - 1 if stop is None else stop
        if first > last:
            raise FrameError(f"The range from {first} to {last} is empty: start must not come after stop. Swap them.")
        for track in state.objects.values():
            track.tracked.clear()
        for direction in directions:
            # Planned when the pass begins, for objects may come and go between two frames.
            origins = {i: track.origin for i, track in state.objects.items() if track.origin is not None}
            if not origins:
                raise PromptError("Every prompt says where an object is not. Show each object on one frame at least.")
            yield from plan_visits(origins, (direction,), first, last)


def _forget_followed(state: VideoState, track: ObjectTrack) -> None:
    """Drop what was followed of an object before its prompts changed."""
    if state.frames is not None:  # a stream cannot be followed again, so there it stays
        track.tracked.clear()


def _leads_to(track: ObjectTrack, frame: int, direction: Direction) -> bool:
    """Return whether a frame lies on the way on which an object is followed in a direction."""
    return track.origin is not None and direction.value * (frame - track.origin) >= 0


def _is_followed(track: ObjectTrack, frame: int, direction: Direction) -> bool:
    """Return whether a frame was reached this way since the prompts last changed, so that its memory holds."""
    return frame in track.tracked and track.tracked[frame].direction is direction


def _check_next(track: ObjectTrack, object_id: int, frame: int, direction: Direction) -> None:
    """Refuse to leave frames out: what an object remembers would then depend on how it got here."""
    way = direction.name.lower()
    if not _leads_to(track, frame, direction):
        raise FrameError(
            f"Object {object_id} is not followed {way} to frame {frame}: from the first frame where it was shown "
            f"({track.origin}) objects are followed forward, and backward only before it."
        )
    # Prompted frames need no visit, so look past them; nothing older than the pointers' reach is recalled.
    for before in range(frame - direction.value, frame - direction.value * MAX_POINTERS, -direction.value):
        if before == track.origin or _is_followed(track, before, direction):
            return
        if before not in track.conditioning:
            raise FrameError(
                f"Object {object_id} cannot be followed {way} to frame {frame} yet: visit frame {before} first, "
                f"beginning next to frame {track.origin}, where it was shown first."
            )
