"""Prompts carried through a stack or a stream by memory (Ravi et al. 2024, sections 3 and 4)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2_model.config import LARGEST_WHOLE, Framing, check_image_size
from sam2_model.device import inference
from sam2_model.errors import ConfigError, FrameError, PromptError
from sam2_model.memory_bank import Direction, Recall
from sam2_model.preprocessing import WorkingImage, check_image
from sam2_model.sam2 import ImageFeatures, Sam2
from sam2_model.video.crops import Corner, Crops, moved, steps
from sam2_model.video.memory import VideoMemory
from sam2_model.video.options import Policy, VideoOptions
from sam2_model.video.reference import ReferencePolicy
from sam2_model.video.repaired import RepairedPolicy
from sam2_model.video.state import (
    FeatureCache,
    FrameMemory,
    FramePrediction,
    FramePrompt,
    FrameSource,
    ObjectTrack,
    PromptsByObject,
    VideoState,
    WindowedFrames,
)
from sam2_model.video.trajectory import expected_masks
from sam2_model.views import NOT_SEEN


class VideoPredictor:
    """Prompt objects on frames and follow them. All it learns goes into the `VideoState` it is given.

    Parameters
    ----------
    model : Sam2
        The network, on the device it should run on.
    image_size : int, optional
        Longer side of the working image, a multiple of 32; the model's own when omitted.
    framing : Framing
        Whether models with views keep the proportions of a frame; the others never do. With `Framing.NATIVE`, stacks of
        frames with a side of more than 1024 px are seen in crops, of `image_size` px: each object in one round it,
        which has to take no more than half of its sides. Streams and the reference policy see frames whole.
    options : VideoOptions, optional
        Policy and variations.

    Raises
    ------
    ConfigError
        If the working size is not a multiple of 32 up to 4096, or the model has no memory.
    """

    def __init__(
        self,
        model: Sam2,
        *,
        image_size: int | None = None,
        framing: Framing = Framing.WHOLE,
        options: VideoOptions | None = None,
    ) -> None:
        if not model.config.has_memory:
            raise ConfigError(
                "These weights have no memory: they segment images and cannot follow objects through a stack. Segment "
                "frame by frame, or use weights of the whole SAM 2."
            )
        self.model = model
        self.image_size = check_image_size(model.config.image_size if image_size is None else image_size)
        self.framing = framing
        self.options = options or VideoOptions()
        self.memory = VideoMemory(model, self.options, self._features)
        self.policy: RepairedPolicy | ReferencePolicy = RepairedPolicy(self.memory)
        if self.options.policy is Policy.REFERENCE:
            self.policy = ReferencePolicy(self.memory)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    # Frames ----------------------------------------------------------------------------------------------------------

    def start(self, frames: FrameSource) -> VideoState:
        """Return the state of a stack on which work begins. Only the first frame is read, for its size.

        Raises
        ------
        FrameError
            If there is no frame, or the first is not (H, W, 3) uint8.
        """
        if not len(frames):
            raise FrameError("The stack has no frames.")
        if isinstance(frames, WindowedFrames):
            height, width = frames.height, frames.width
        else:
            height, width, _ = check_image(frames[0]).shape
        if self._sees_crops(height, width):
            crops = Crops(height, width, self.image_size)
            state = self._begun(*crops.size, frames, len(frames))
            state.crops = crops
            return state
        return self._begun(height, width, frames, len(frames))

    def _sees_crops(self, height: int, width: int) -> bool:
        is_large = max(height, width) > LARGEST_WHOLE
        return is_large and self.framing is Framing.NATIVE and self.options.policy is Policy.REPAIRED

    def start_stream(self, height: int, width: int) -> VideoState:
        """Return the state of a stream of live frames of a known size in pixels; feed them to `step`."""
        return self._begun(height, width, None, 0)

    def _begun(self, height: int, width: int, frames: FrameSource | None, num_frames: int) -> VideoState:
        working = WorkingImage.of(self.model.config, self.framing, height, width, self.image_size)
        return VideoState(working, frames, num_frames, FeatureCache(self.options.cached_frames))

    def features(self, state: VideoState, frame: int) -> ImageFeatures:
        """Return the features of a frame, or of its first crop: encoded now, or from the cache of the state.

        Raises
        ------
        FrameError
            If the frame does not exist, has another size than the first, or belongs to a stream and is gone.
        """
        return self._features(state, frame, (0, 0))

    def _features(self, state: VideoState, frame: int, corner: Corner) -> ImageFeatures:
        state.check_frame(frame)
        features = state.features.get(frame, corner)
        if features is None:
            if state.frames is None:
                raise FrameError(
                    f"Frame {frame} of the stream is no longer at hand; the newest is {state.num_frames - 1}. "
                    f"Prompt that one."
                )
            features = self._encode(state, _part(state, state.frames, frame, corner), frame)
            state.features.put(frame, features, corner)
        return features

    def _encode(self, state: VideoState, image: NDArray[np.uint8], frame: int) -> ImageFeatures:
        if check_image(image).shape[:2] != (state.working.height, state.working.width):
            raise FrameError(
                f"Frame {frame} has {image.shape[0]} x {image.shape[1]} pixels; the others have "
                f"{state.height} x {state.width}. All frames must have one size."
            )
        with inference(self.device):
            return self.model.encode_image(state.working.image(image, self.device))

    # Prompts ---------------------------------------------------------------------------------------------------------

    def prompt(self, state: VideoState, frame: int, prompts: PromptsByObject) -> FramePrediction:
        """Return the masks of objects that are prompted on one frame, and remember them.

        Parameters
        ----------
        state : VideoState
            Changed in place. Under the repaired policy a prompt replaces the earlier one of the object on this frame,
            and what was followed of the object is forgotten, because it would come out differently now.
        frame : int
            The frame.
        prompts : mapping
            Object id to `FramePrompt`; each is all that is known from the user of that object on this frame.

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
        found: dict[int, FrameMemory] = {}
        for corner, here in _by_corner(state, prompts).items():
            found |= self._prompt(state, frame, corner, here)
        return self._prediction(state, frame, tuple(prompts), [found[object_id] for object_id in prompts])

    def _prompt(
        self, state: VideoState, frame: int, corner: Corner, prompts: PromptsByObject
    ) -> dict[int, FrameMemory]:
        """Answer prompts in one crop, or in the whole of a frame that is seen whole, and remember the answers."""
        features = self._features(state, frame, corner)
        memories: dict[int, FrameMemory] = {}
        with inference(self.device):
            masks = {i: prompt for i, prompt in prompts.items() if prompt.is_mask_alone}
            given = self.policy.answers.given_masks(state, masks, features)
            for object_id, prompt in prompts.items():
                track = state.objects.setdefault(object_id, self.policy.track_type())
                answer = given.get(object_id) or self.policy.answer(state, track, frame, prompt, features)
                memory = replace(self.policy.answers.without_holes(answer), corner=corner)
                track.prompts[frame] = prompt.is_absence
                self.policy.store_answer(state, track, frame, memory)
                memories[object_id] = memory
        return memories

    def forget_prompt(self, state: VideoState, object_id: int, frame: int) -> None:
        """Remove the prompt of an object on a frame, and the object itself if it was the last.

        Raises
        ------
        PromptError
            If there is no such prompt.
        """
        track = state.track_of(object_id)
        if frame not in track.prompts:
            raise PromptError(f"Object {object_id} has no prompt on frame {frame}.")
        del track.prompts[frame]
        self.policy.remove_answer(state, track, frame)
        if not track.prompts:
            del state.objects[object_id]

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
        for visit in self.policy.visits(state, directions, start, stop):
            # All that can be followed by now: objects may have come or gone since the pass was planned.
            prediction = self.visit(state, visit.frame, visit.direction)
            if prediction.object_ids and visit.is_reported:
                yield prediction

    def visit(
        self, state: VideoState, frame: int, direction: Direction, object_ids: Sequence[int] | None = None
    ) -> FramePrediction:
        """Follow objects to one frame, and return their masks there; prompted objects keep their answers.

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
        return self._visit(state, frame, direction, self.policy.recalls(state, frame, direction, object_ids))

    def step(self, state: VideoState, image: NDArray[np.uint8]) -> FramePrediction:
        """Follow every object to the next live frame, (H, W, 3) uint8, and return their masks there.

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
        recalls = self.policy.recalls(state, frame, Direction.FORWARD, None)
        features = self._encode(state, image, frame)
        state.num_frames += 1
        state.features.put(frame, features)
        return self._visit(state, frame, Direction.FORWARD, recalls)

    def _visit(
        self, state: VideoState, frame: int, direction: Direction, recalls: Mapping[int, Recall | None]
    ) -> FramePrediction:
        groups: dict[tuple[Recall, Corner], list[ObjectTrack]] = defaultdict(list)
        for object_id, recalled in recalls.items():
            if recalled is not None:
                track = state.objects[object_id]
                groups[recalled, _expected_corner(state, track.memory(recalled.nearest(frame)))].append(track)
        size = self.options.max_batch
        with inference(self.device):
            for (recalled, corner), tracks in groups.items():
                for i in range(0, len(tracks), size):
                    self._follow(state, tracks[i : i + size], frame, direction, recalled, corner)
        memories = [state.objects[object_id].memory(frame) for object_id in recalls]
        return self._prediction(state, frame, tuple(recalls), memories)

    def _follow(
        self,
        state: VideoState,
        tracks: Sequence[ObjectTrack],
        frame: int,
        direction: Direction,
        recalled: Recall,
        corner: Corner,
    ) -> None:
        """Follow objects that recall the same frames to a frame, and put what is found there into their tracks."""
        features = self._features(state, frame, corner)
        remembered, pointers = self.memory.read(state, tracks, recalled, corner)

        def masks_on(other: int) -> Tensor:
            memories = [track.memory(other) for track in tracks]
            stride = self.model.mask_stride
            masks = [moved(m.mask.logits(), *steps(m.corner, corner, stride), outside=NOT_SEEN) for m in memories]
            return torch.stack(masks)[:, None]  # (B, 1, h, w)

        expected = expected_masks(recalled, frame, masks_on)
        output = self.model.follow(features, remembered, pointers, expected)
        memories = self.policy.answers.judged(output, is_ambiguous=True)
        logits = torch.stack([m.mask.logits() for m in memories])[:, None]  # (B, 1, h, w)
        spatial = self.memory.write(features, logits, memories, binarises=False)
        for track, memory, own in zip(tracks, memories, spatial, strict=True):
            whole = self.policy.answers.without_holes(memory)
            known = replace(whole, spatial=own, direction=direction, corner=corner)
            self.policy.store_followed(track, frame, direction, known)

    def _prediction(
        self, state: VideoState, frame: int, object_ids: tuple[int, ...], memories: Sequence[FrameMemory]
    ) -> FramePrediction:
        empty = torch.zeros(0, device=self.device)
        size = [side // self.model.mask_stride for side in state.working.size]
        logits = torch.stack([m.mask.logits() for m in memories]) if memories else empty.view(0, *size)
        return FramePrediction(
            frame,
            object_ids,
            state.working.unpadded(logits),
            torch.stack([m.predicted_iou for m in memories]) if memories else empty,
            torch.stack([m.object_score_logit for m in memories]) if memories else empty,
            state.height,
            state.width,
            tuple(memory.corner for memory in memories),
            (state.working.height, state.working.width),
        )


def _part(state: VideoState, frames: FrameSource, frame: int, corner: Corner) -> NDArray[np.uint8]:
    """Return a crop of a frame, of which no more is read where that is possible; or all of it, if it is seen whole."""
    if state.crops is None:
        return frames[frame]
    if isinstance(frames, WindowedFrames):
        return state.crops.read(partial(frames.window, frame), corner)
    whole = frames[frame]
    return state.crops.read(lambda rows, columns: whole[rows, columns], corner)


def _by_corner(state: VideoState, prompts: PromptsByObject) -> dict[Corner, dict[int, FramePrompt]]:
    """Return prompts by the crop that each is seen in, in the pixels of that crop.

    Raises
    ------
    PromptError
        If one takes too much of a crop.
    """
    if state.crops is None:
        return {(0, 0): dict(prompts)}
    seen: dict[Corner, dict[int, FramePrompt]] = defaultdict(dict)
    for object_id, prompt in prompts.items():
        corner = state.crops.holding(*prompt.extent())
        if corner is None:
            raise PromptError(
                f"Object {object_id} takes more than half of a crop of {state.crops.side} px. See frames whole."
            )
        seen[corner][object_id] = prompt.within(corner, state.crops.size)
    return seen


def _expected_corner(state: VideoState, last: FrameMemory) -> Corner:
    """Return the corner of the crop in which an object is looked for, from where it was last."""
    if state.crops is None:
        return last.corner
    middle = last.mask.middle()
    if middle is None:
        return last.corner
    (top, left), (down, right) = last.corner, state.working.scale
    rows, columns = last.mask.size
    row = top + (middle[0] + 0.5) * (state.working.size[0] / rows) / down
    column = left + (middle[1] + 0.5) * (state.working.size[1] / columns) / right
    return state.crops.nearest(row, column)
