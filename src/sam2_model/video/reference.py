"""The published predictor's policy, with its history: earlier masks stick, corrections fade, passes mix.

Only needed to reproduce published results: nothing of the default path is here, and nothing of this is there.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sam2_model.errors import ConfigError, PromptError
from sam2_model.mask_ops import PROMPT_LOGIT_LIMIT
from sam2_model.memory_bank import Direction, Recall
from sam2_model.sam2 import ImageFeatures
from sam2_model.video.answers import PromptAnswers
from sam2_model.video.memory import VideoMemory
from sam2_model.video.passes import Visit
from sam2_model.video.state import FrameMemory, FramePrompt, ObjectTrack, VideoState


@dataclass(slots=True)
class ReferenceTrack(ObjectTrack):
    """A track with its history.

    Attributes
    ----------
    visited : dict
        Frame to the direction of its last visit.
    pending : dict
        Frame to memory, for prompts answered since the last visit: not to be recalled before the next.
    """

    visited: dict[int, Direction] = field(default_factory=dict)
    pending: dict[int, FrameMemory] = field(default_factory=dict)

    def admit_pending(self, *, corrections_condition: bool) -> None:
        """Move the answers given since the last visit to the frames that may be recalled.

        A correction of a visited frame counts as followed unless `corrections_condition`, and is dropped where the
        frame conditions already.
        """
        corrections = [f for f in self.pending if f in self.visited and not corrections_condition]
        for frame in corrections:
            self.tracked[frame] = self.pending.pop(frame)
        self.conditioning |= self.pending
        self.pending.clear()
        for frame in self.conditioning:
            self.tracked.pop(frame, None)


class ReferencePolicy:
    """Answers start from earlier masks, prompts are recalled from the next visit on, and every visit computes anew.

    Parameters
    ----------
    memory : VideoMemory
        Reads and writes memories.
    """

    track_type = ReferenceTrack

    def __init__(self, memory: VideoMemory) -> None:
        self.memory = memory
        self.answers = PromptAnswers(memory, as_drawn=False)

    def answer(
        self, state: VideoState, track: ObjectTrack, frame: int, prompt: FramePrompt, features: ImageFeatures
    ) -> FrameMemory:
        """Return what the network makes of a prompt together with the earlier mask and the memories of the frame."""
        track = _with_history(track)
        model = self.memory.model
        embedding = model.without_memory(features)
        if frame in track.visited:
            recalled = self._recall(state, track, frame, track.visited[frame])
            memories, pointers = self.memory.read(state, [track], recalled)
            if state.reach == 1:
                # In a video of one frame the reference divides zero by zero, and the object is lost.
                pointers = [pointer._replace(age=math.nan) for pointer in pointers]
            embedding = model.condition(features, memories, pointers)
        before = track.pending.get(frame) or track.conditioning.get(frame) or track.tracked.get(frame)
        if before is None:
            mask_logits = self.answers.mask_logits(state, prompt)
        else:
            mask_logits = before.mask.logits()[None, None].clamp(-PROMPT_LOGIT_LIMIT, PROMPT_LOGIT_LIMIT)
        output = self.answers.decode(state, prompt, embedding, features, mask_logits)
        return self.answers.judged(output, is_ambiguous=prompt.is_ambiguous)[0]

    def store_answer(self, state: VideoState, track: ObjectTrack, frame: int, memory: FrameMemory) -> None:
        """Keep an answer back until the next visit."""
        _with_history(track).pending[frame] = memory

    def remove_answer(self, state: VideoState, track: ObjectTrack, frame: int) -> None:
        """Drop an answer that was kept back; one that was recalled counts as followed from now on."""
        track = _with_history(track)
        track.pending.pop(frame, None)
        if frame in track.conditioning:
            track.tracked[frame] = track.conditioning.pop(frame)
            track.visited.pop(frame, None)

    def store_followed(self, track: ObjectTrack, frame: int, direction: Direction, memory: FrameMemory) -> None:
        """Store what was found on a frame, for good: a later pass either way may recall it."""
        track.tracked[frame] = memory

    def recalls(
        self, state: VideoState, frame: int, direction: Direction, object_ids: Sequence[int] | None
    ) -> dict[int, Recall | None]:
        """Return what each object recalls on a frame; None on prompted ones. Frames may be left out."""
        self._admit_pending(state)
        recalls: dict[int, Recall | None] = {}
        for object_id in list(state.objects) if object_ids is None else object_ids:
            track = _with_history(state.track_of(object_id))
            is_prompted = frame in track.conditioning
            recalls[object_id] = None if is_prompted else self._recall(state, track, frame, direction)
            track.visited[frame] = direction
        return recalls

    def visits(
        self, state: VideoState, directions: Sequence[Direction], start: int | None, stop: int | None
    ) -> Iterator[Visit]:
        """Yield the visits of passes that begin at `start`, or the first prompted frame, for all objects together."""
        self._admit_pending(state)
        for direction in directions:
            prompted = [frame for track in state.objects.values() for frame in track.conditioning]
            if not prompted:
                raise PromptError("No object has a prompted frame left to be followed from. Prompt at least one again.")
            first = min(prompted) if start is None else start
            frames = range(first, state.num_frames if stop is None else stop + 1)
            if direction is Direction.BACKWARD:
                # From frame 0 the reference yields nothing, not even the frame itself.
                frames = range(first, (stop or 0) - 1, -1) if first else range(0)
            for frame in frames:
                yield Visit(frame, tuple(state.objects), direction)

    def _recall(self, state: VideoState, track: ObjectTrack, frame: int, direction: Direction) -> Recall:
        """Return what an object recalls: prompted frames in the order of prompting, and frames of either direction."""
        return self.memory.recall(state, frame, direction, list(track.conditioning), set(track.tracked))

    def _admit_pending(self, state: VideoState) -> None:
        for track in state.objects.values():
            _with_history(track).admit_pending(corrections_condition=self.memory.options.corrections_condition)


def _with_history(track: ObjectTrack) -> ReferenceTrack:
    if not isinstance(track, ReferenceTrack):
        raise ConfigError("This state was begun under the repaired policy. Begin one with this predictor.")
    return track
