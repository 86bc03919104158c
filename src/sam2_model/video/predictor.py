"""Prompts carried through a stack or a stream by memory (Ravi et al. 2024, sections 3 and 4)."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2_model.config import check_image_size
from sam2_model.device import inference
from sam2_model.errors import ConfigError, FrameError, PromptError
from sam2_model.mask_decoder import MaskDecoderOutput, best_candidate, single_mask
from sam2_model.mask_ops import ABSENT_LOGIT, PROMPT_LOGIT_LIMIT, as_logits, as_low_res_logits, fill_holes
from sam2_model.memory_bank import MAX_POINTERS, Direction, Recall
from sam2_model.preprocessing import check_image, to_model_image, to_model_mask, to_model_points
from sam2_model.prompt_encoder import PointLabel
from sam2_model.sam2 import ImageFeatures, Sam2
from sam2_model.video.memory import VideoMemory
from sam2_model.video.options import Policy, VideoOptions
from sam2_model.video.state import (
    FeatureCache,
    FrameMemory,
    FramePrediction,
    FramePrompt,
    FrameSource,
    ObjectTrack,
    PromptsByObject,
    VideoState,
)
from sam2_model.video.stored_masks import StoredMask
from sam2_model.video.trajectory import expected_masks

HOLE_LOGIT = 0.1
"""Mask logit given to filled holes."""

BARELY_PRESENT = 0.01
"""Lowest object score, as a logit, where the user has shown the object."""


class VideoPredictor:
    """Prompt objects on frames and follow them. All it learns goes into the `VideoState` it is given.

    Parameters
    ----------
    model : Sam2
        The network, on the device it should run on.
    image_size : int, optional
        Side of the square working image, a multiple of 32; the model's own when omitted.
    options : VideoOptions, optional
        Policy and variations.

    Raises
    ------
    ConfigError
        If the working size is not a multiple of 32 up to 4096, or the model has no memory.
    """

    def __init__(self, model: Sam2, *, image_size: int | None = None, options: VideoOptions | None = None) -> None:
        if not model.config.has_memory:
            raise ConfigError(
                "These weights have no memory: they segment images and cannot follow objects through a stack. Segment "
                "frame by frame, or use weights of the whole SAM 2."
            )
        self.model = model
        self.image_size = check_image_size(model.config.image_size if image_size is None else image_size)
        self.options = options or VideoOptions()
        self.memory = VideoMemory(model, self.options, self.features)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.no_mem_embed.device

    @property
    def _keeps_history(self) -> bool:
        return self.options.policy is Policy.REFERENCE

    # Frames ----------------------------------------------------------------------------------------------------------

    def start(self, frames: FrameSource) -> VideoState:
        """Begin work on a stack. Only the first frame is read, for its size; none is encoded yet.

        Raises
        ------
        FrameError
            If there is no frame, or the first is not (H, W, 3) uint8.
        """
        if not len(frames):
            raise FrameError("The stack has no frames.")
        height, width, _ = check_image(frames[0]).shape
        return VideoState(height, width, frames, len(frames), FeatureCache(self.options.cached_frames))

    def start_stream(self, height: int, width: int) -> VideoState:
        """Begin work on live frames of a known size; feed them to `step`."""
        return VideoState(height, width, None, 0, FeatureCache(self.options.cached_frames))

    def features(self, state: VideoState, frame: int) -> ImageFeatures:
        """Encode a frame, or return what the cache holds of it.

        Raises
        ------
        FrameError
            If the frame does not exist, has another size than the first, or belongs to a stream and is gone.
        """
        state.check_frame(frame)

        def encode(index: int) -> ImageFeatures:
            if state.frames is None:
                raise FrameError(
                    f"Frame {index} of the stream is no longer at hand; the newest is {state.num_frames - 1}. "
                    f"Prompt that one."
                )
            return self._encode(state, state.frames[index], index)

        return state.features.get(frame, encode)

    def _encode(self, state: VideoState, image: NDArray[np.uint8], frame: int) -> ImageFeatures:
        if check_image(image).shape[:2] != (state.height, state.width):
            raise FrameError(
                f"Frame {frame} has {image.shape[0]} x {image.shape[1]} pixels; the others have "
                f"{state.height} x {state.width}. All frames must have one size."
            )
        with inference(self.device):
            return self.model.encode_image(to_model_image(image, self.image_size, self.device))

    # Prompts ---------------------------------------------------------------------------------------------------------

    def prompt(self, state: VideoState, frame: int, prompts: PromptsByObject) -> FramePrediction:
        """Say where objects are on one frame, and see what the model makes of it.

        Parameters
        ----------
        state : VideoState
            Changed in place. Under the repaired policy a prompt replaces what was said of the object on this frame
            before, and what was followed of it is forgotten, because it would come out differently now.
        frame : int
            Which frame.
        prompts : mapping
            Object id to `FramePrompt`; each the whole of what is said of that object on this frame.

        Raises
        ------
        FrameError
            If the frame does not exist.
        PromptError
            If there is no prompt or one of them cannot be answered. Nothing has changed then.
        """
        state.check_frame(frame)
        if not prompts:
            raise PromptError("There is no prompt: give at least one object's.")
        for prompt in prompts.values():
            prompt.check(state.height, state.width)
        features = self.features(state, frame)
        answers: list[FrameMemory] = []
        with inference(self.device):
            given = self._given_masks({i: prompt for i, prompt in prompts.items() if prompt.is_mask_alone}, features)
            for object_id, prompt in prompts.items():
                track = state.objects.setdefault(object_id, ObjectTrack())
                answer = given.get(object_id)
                if answer is None:
                    answer = self._answer(state, track, frame, prompt, features)
                memory = self._without_holes(answer)
                track.prompts[frame] = prompt.is_absence
                answers.append(memory)
                if self._keeps_history:
                    track.pending[frame] = memory
                    continue
                _forget_followed(state, track)
                track.conditioning[frame] = memory
                if state.frames is None:
                    self.memory.write_prompted(state, [track], frame)  # now: later the frame may be gone
        return self._prediction(state, frame, tuple(prompts), answers)

    def forget_prompt(self, state: VideoState, object_id: int, frame: int) -> None:
        """Take back what was said of an object on a frame; without any prompt left the object is forgotten.

        Raises
        ------
        PromptError
            If there is no such prompt.
        """
        track = state.track_of(object_id)
        if frame not in track.prompts:
            raise PromptError(f"Object {object_id} has no prompt on frame {frame}.")
        del track.prompts[frame]
        if self._keeps_history:
            track.pending.pop(frame, None)
            if frame in track.conditioning:
                track.tracked[frame] = track.conditioning.pop(frame)
                track.visited.pop(frame, None)
        else:
            track.conditioning.pop(frame, None)
            _forget_followed(state, track)
        if not track.prompts:
            del state.objects[object_id]

    def _answer(
        self, state: VideoState, track: ObjectTrack, frame: int, prompt: FramePrompt, features: ImageFeatures
    ) -> FrameMemory:
        """Return what the model makes of a prompt; mostly its spatial memory is not written yet."""
        if prompt.is_absence and not self._keeps_history:
            return self._absent(features)
        embedding = self.model.without_memory(features)
        mask_logits = None
        if prompt.mask is not None:
            mask_logits = as_low_res_logits(self._as_mask(prompt.mask), self.model.mask_stride)
        if self._keeps_history:
            if frame in track.visited:
                recalled = self.memory.recall(state, track, frame, track.visited[frame])
                embedding = self.model.condition(features, *self.memory.read(state, [track], recalled))
            before = track.pending.get(frame) or track.conditioning.get(frame) or track.tracked.get(frame)
            if before is not None:
                mask_logits = before.mask_logits[None, None].clamp(-PROMPT_LOGIT_LIMIT, PROMPT_LOGIT_LIMIT)
        points, labels = self._as_points(state, prompt)
        output = self.model.decode(embedding, features, points, labels, mask_logits)
        if not self._keeps_history:
            # Whoever shows where an object is does not ask whether it is there.
            output = replace(output, object_score_logit=output.object_score_logit.clamp(min=BARELY_PRESENT))
        return self._judge(output, is_ambiguous=labels.shape[1] <= 1)[0]

    def _as_points(self, state: VideoState, prompt: FramePrompt) -> tuple[Tensor, Tensor]:
        """Box corners, then points, in working pixels (1, N, 2), and their labels (1, N)."""
        xy, labels = prompt.points, prompt.labels
        if prompt.box is not None:
            xy = np.concatenate((prompt.box.reshape(2, 2), xy))
            labels = np.concatenate(((PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT), labels))
        points = torch.from_numpy(xy.astype(np.float32)).to(self.device)[None]
        points = to_model_points(points, state.height, state.width, self.image_size)
        return points, torch.from_numpy(labels.astype(np.int64)).to(self.device)[None]

    def _as_mask(self, mask: NDArray[np.bool_]) -> Tensor:
        """Mask of a user at the working size, (1, 1, S, S)."""
        pixels = torch.from_numpy(mask).to(self.device)[None, None]
        return to_model_mask(pixels, self.image_size, keeps_thin=not self._keeps_history)

    def _given_masks(self, prompts: PromptsByObject, features: ImageFeatures) -> dict[int, FrameMemory]:
        """Remember masks that are the answers themselves, some objects at a time."""
        memories: dict[int, FrameMemory] = {}
        for start in range(0, len(prompts), self.options.max_batch):
            some = list(islice(prompts.items(), start, start + self.options.max_batch))
            mask = torch.cat([self._as_mask(prompt.mask) for _, prompt in some if prompt.mask is not None])
            logits = as_low_res_logits(mask, self.model.mask_stride)  # (B, 1, h, w)
            score = torch.where(mask.flatten(1).any(1), 10.0, -10.0)  # (B,)
            pointer = self.model.mask_pointer(features, mask)  # (B, C)
            answers = [
                FrameMemory(StoredMask.of(logits[i, 0]), mask.new_ones(()), score[i], pointer[i])
                for i in range(len(some))
            ]
            if not self._keeps_history:
                # As they were drawn: at the resolution of the logits a small object would fade from memory.
                spatial = self.memory.write(
                    features, as_logits(mask), answers, binarises=self.options.binarises_prompted
                )
                answers = [replace(memory, spatial=own) for memory, own in zip(answers, spatial, strict=True)]
            memories |= {object_id: memory for (object_id, _), memory in zip(some, answers, strict=True)}
        return memories

    def _absent(self, features: ImageFeatures) -> FrameMemory:
        """Remember an object that the user says is not on the frame."""
        like = features.embedding
        return FrameMemory(
            mask=StoredMask.of(like.new_full(self.model.mask_size(features), ABSENT_LOGIT, dtype=torch.float32)),
            predicted_iou=like.new_ones((), dtype=torch.float32),
            object_score_logit=like.new_full((), -10.0, dtype=torch.float32),
            pointer=self.model.no_obj_ptr[0],
        )

    def _judge(self, output: MaskDecoderOutput, *, is_ambiguous: bool) -> list[FrameMemory]:
        """Choose one mask per object out of the decoder's four, and empty it where the object is absent."""
        if is_ambiguous:
            chosen = best_candidate(output)
        else:
            chosen = single_mask(output, stability_fallback=self.options.stability_fallback)
        score = output.object_score_logit.float()  # (B, 1)
        is_present = score > 0
        logits = torch.where(is_present[..., None, None], chosen.mask_logits, ABSENT_LOGIT)  # (B, 1, h, w)
        pointer = self.model.object_pointer(chosen.token, is_present)  # (B, C)
        return [
            FrameMemory(StoredMask.of(logits[i, 0]), chosen.predicted_iou[i, 0], score[i, 0], pointer[i])
            for i in range(len(logits))
        ]

    def _without_holes(self, memory: FrameMemory) -> FrameMemory:
        if not self.options.hole_area:
            return memory
        filled = fill_holes(memory.mask_logits.cpu().numpy(), self.options.hole_area, HOLE_LOGIT)
        return replace(memory, mask=StoredMask.of(torch.from_numpy(filled).to(self.device)))

    # Following -------------------------------------------------------------------------------------------------------

    def propagate(
        self,
        state: VideoState,
        *,
        directions: Sequence[Direction] = (Direction.FORWARD, Direction.BACKWARD),
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[FramePrediction]:
        """Follow every prompted object through the stack.

        Parameters
        ----------
        state : VideoState
            Changed in place: each visited frame adds one memory per object.
        directions : sequence of Direction
            Passes to make, in this order. A backward pass holds the objects that were not yet shown.
        start, stop : int, optional
            First and last frame to yield; the whole stack when omitted. Under the repaired policy frames outside are
            still followed where the way from the prompts leads through them, so a range never changes an answer.
            Under the reference policy a pass begins at `start`, and goes as far as `stop` or the end.

        Yields
        ------
        FramePrediction
            One per visited frame and direction, with the objects that were followed there. Closing the generator
            stops between frames and leaves `state` valid.

        Raises
        ------
        PromptError
            If no object has been shown on any frame.
        FrameError
            If a frame does not exist, the range is empty, or `state` is a stream, whose past frames are gone.
        """
        if state.frames is None:
            raise FrameError("A stream cannot be followed again. Feed its next frame to `step`.")
        for frame in (start, stop):
            if frame is not None:
                state.check_frame(frame)
        if not any(track.prompts for track in state.objects.values()):
            raise PromptError("No object has a prompt. Prompt at least one on any frame first.")
        if self._keeps_history:
            self._settle(state)
            for direction in directions:
                for frame in _reference_frames(state, direction, start, stop):
                    yield self.visit(state, frame, direction)
            return
        first, last = start or 0, state.num_frames - 1 if stop is None else stop
        if first > last:
            raise FrameError(f"The range from {first} to {last} is empty: start must not come after stop. Swap them.")
        yield from self._propagate_repaired(state, directions, first, last)

    def _propagate_repaired(
        self, state: VideoState, directions: Sequence[Direction], first: int, last: int
    ) -> Iterator[FramePrediction]:
        for track in state.objects.values():
            track.tracked.clear()
        for direction in directions:
            for frame in _repaired_frames(state, direction, first, last):
                prediction = self.visit(state, frame, direction)
                if prediction.object_ids and first <= frame <= last:
                    yield prediction

    def visit(
        self, state: VideoState, frame: int, direction: Direction, object_ids: Sequence[int] | None = None
    ) -> FramePrediction:
        """Take one step: follow objects to a frame, or repeat there what prompts have said.

        Under the repaired policy a frame that an object was just followed to is not computed again.

        Parameters
        ----------
        state : VideoState
            Changed in place.
        frame : int
            The frame next to one that was prompted or visited, seen along `direction`.
        direction : Direction
            Which way the objects are followed.
        object_ids : sequence of int, optional
            Which objects; all that can be followed this way when omitted.

        Raises
        ------
        FrameError
            If the frame does not exist, or, under the repaired policy, an object is not followed there this way, or
            was not yet followed to the frame before it.
        PromptError
            If an object has no prompt.
        """
        state.check_frame(frame)
        if self._keeps_history:
            self._settle(state)
        if object_ids is None:
            object_ids = [i for i, track in state.objects.items() if self._can_follow(track, frame, direction)]
        groups: dict[Recall, list[ObjectTrack]] = defaultdict(list)
        for object_id in object_ids:
            track = state.track_of(object_id)
            if frame not in track.conditioning and not self._is_followed(track, frame, direction):
                self._check_next(track, object_id, frame, direction)
                groups[self.memory.recall(state, track, frame, direction)].append(track)
            if self._keeps_history:
                track.visited[frame] = direction
        size = self.options.max_batch
        with inference(self.device):
            for recalled, tracks in groups.items():
                for i in range(0, len(tracks), size):
                    self._follow(state, tracks[i : i + size], frame, direction, recalled)
        memories = [state.objects[object_id].memory(frame) for object_id in object_ids]
        return self._prediction(state, frame, tuple(object_ids), memories)

    def _settle(self, state: VideoState) -> None:
        for track in state.objects.values():
            track.settle(corrections_condition=self.options.corrections_condition)

    def step(self, state: VideoState, image: NDArray[np.uint8]) -> FramePrediction:
        """Take the next live frame, (H, W, 3) uint8, and follow every object to it.

        Prompts may then be given on it. See `VideoState.reach` for how pointers are dated in a stream.

        Raises
        ------
        FrameError
            If the frame has another shape, `state` is not a stream, or, under the repaired policy, an object was first
            shown on an older frame and not followed since (`visit` does that). The frame is then not taken.
        """
        if state.frames is not None:
            raise FrameError("This is a stack, not a stream. Begin a stream with `start_stream`.")
        frame = state.num_frames
        for object_id, track in state.objects.items():
            if self._can_follow(track, frame, Direction.FORWARD):
                self._check_next(track, object_id, frame, Direction.FORWARD)
        features = self._encode(state, image, frame)
        state.num_frames += 1
        state.features.put(frame, features)
        return self.visit(state, frame, Direction.FORWARD)

    def _check_next(self, track: ObjectTrack, object_id: int, frame: int, direction: Direction) -> None:
        """Refuse to leave frames out: what an object remembers would then depend on how it got here."""
        if self._keeps_history:
            return
        way = direction.name.lower()
        if not self._can_follow(track, frame, direction):
            raise FrameError(
                f"Object {object_id} is not followed {way} to frame {frame}: from the first frame where it was shown "
                f"({track.origin}) objects are followed forward, and backward only before it."
            )
        # Prompted frames need no visit, so look past them; nothing older than the pointers' reach is recalled.
        for before in range(frame - direction.value, frame - direction.value * MAX_POINTERS, -direction.value):
            if before == track.origin or self._is_followed(track, before, direction):
                return
            if before not in track.conditioning:
                raise FrameError(
                    f"Object {object_id} cannot be followed {way} to frame {frame} yet: visit frame {before} first, "
                    f"beginning next to frame {track.origin}, where it was shown first."
                )

    def _is_followed(self, track: ObjectTrack, frame: int, direction: Direction) -> bool:
        """Whether a frame was reached this way since the prompts last changed, so that its memory still holds."""
        return not self._keeps_history and frame in track.tracked and track.tracked[frame].direction is direction

    def _can_follow(self, track: ObjectTrack, frame: int, direction: Direction) -> bool:
        if self._keeps_history:
            return True
        return track.origin is not None and direction.value * (frame - track.origin) >= 0

    def _follow(
        self,
        state: VideoState,
        tracks: Sequence[ObjectTrack],
        frame: int,
        direction: Direction,
        recalled: Recall,
    ) -> None:
        """Follow objects of equal recall to a frame and remember them there."""
        features = self.features(state, frame)
        remembered, pointers = self.memory.read(state, tracks, recalled)

        def masks_on(other: int) -> Tensor:
            return torch.stack([track.memory(other).mask_logits for track in tracks])[:, None]  # (B, 1, h, w)

        expected = expected_masks(recalled, frame, masks_on)
        memories = self._judge(self.model.follow(features, remembered, pointers, expected), is_ambiguous=True)
        logits = torch.stack([m.mask_logits for m in memories])[:, None]  # (B, 1, h, w)
        spatial = self.memory.write(features, logits, memories, binarises=False)
        for track, memory, own in zip(tracks, memories, spatial, strict=True):
            track.tracked[frame] = replace(self._without_holes(memory), spatial=own, direction=direction)
            if not self._keeps_history:
                self.memory.drop_unreachable(track, frame, direction)

    def _prediction(
        self, state: VideoState, frame: int, object_ids: tuple[int, ...], memories: Sequence[FrameMemory]
    ) -> FramePrediction:
        side = self.image_size // self.model.mask_stride
        empty = torch.zeros(0, device=self.device)
        return FramePrediction(
            frame,
            object_ids,
            torch.stack([m.mask_logits for m in memories]) if memories else empty.view(0, side, side),
            torch.stack([m.predicted_iou for m in memories]) if memories else empty,
            torch.stack([m.object_score_logit for m in memories]) if memories else empty,
            state.height,
            state.width,
        )


def _forget_followed(state: VideoState, track: ObjectTrack) -> None:
    """Forget what was followed of an object before its prompts changed."""
    if state.frames is not None:  # a stream cannot be followed again, so there it stays
        track.tracked.clear()


def _repaired_frames(state: VideoState, direction: Direction, start: int, stop: int) -> range:
    """Frames of a pass: from the first origin it meets to the end of the range."""
    origins = [track.origin for track in state.objects.values() if track.origin is not None]
    if not origins:
        raise PromptError("Every prompt says where an object is not. Show each object on one frame at least.")
    if direction is Direction.FORWARD:
        return range(min(origins), stop + 1)
    return range(max(origins), start - 1, -1)


def _reference_frames(state: VideoState, direction: Direction, start: int | None, stop: int | None) -> range:
    """Frames of a pass of the reference: every object from one start, in one go."""
    prompted = [frame for track in state.objects.values() for frame in track.conditioning]
    if not prompted:
        raise PromptError("No object has a prompted frame left to be followed from. Prompt at least one again.")
    first = min(prompted) if start is None else start
    if direction is Direction.FORWARD:
        return range(first, state.num_frames if stop is None else stop + 1)
    if first == 0:
        return range(0)  # the reference yields nothing here, not even the frame itself
    return range(first, (stop or 0) - 1, -1)
