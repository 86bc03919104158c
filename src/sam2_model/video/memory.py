"""Reading and writing what objects leave behind: from recalled frames to tokens, from masks to memories."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sam2_model.errors import FrameError, PromptError
from sam2_model.mask_ops import resize_logits
from sam2_model.memory_bank import MAX_POINTERS, Direction, Recall, recall
from sam2_model.sam2 import ImageFeatures, PointerMemory, Sam2, SpatialMemory
from sam2_model.video.options import Policy, VideoOptions
from sam2_model.video.state import FrameMemory, ObjectTrack, VideoState

FeaturesOf = Callable[[VideoState, int], ImageFeatures]
"""Where the features of a frame come from."""


class VideoMemory:
    """Memories of objects in a `VideoState`, through the network that reads and writes them."""

    def __init__(self, model: Sam2, options: VideoOptions, features_of: FeaturesOf) -> None:
        self.model = model
        self.options = options
        self.features_of = features_of

    def recall(self, state: VideoState, track: ObjectTrack, frame: int, direction: Direction) -> Recall:
        """Choose what an object remembers when it is followed to a frame."""
        if not track.conditioning:
            raise PromptError("An object has no prompted frame left to be followed from. Prompt it again.")
        if self.options.policy is Policy.REFERENCE:
            conditioning, tracked = list(track.conditioning), set(track.tracked)
        else:
            # In order of time, and never what the other pass has left: the order of clicks must not matter.
            conditioning = sorted(track.conditioning)
            tracked = {f for f, memory in track.tracked.items() if memory.direction is direction}
        return recall(
            frame,
            conditioning,
            tracked,
            direction,
            num_memories=self.model.config.num_memories,
            reach=state.reach,
            max_conditioning=self.options.max_conditioning,
        )

    def read(
        self, state: VideoState, tracks: Sequence[ObjectTrack], recalled: Recall
    ) -> tuple[list[SpatialMemory], list[PointerMemory]]:
        """Read what objects of equal recall remember."""
        for memory in recalled.memories:
            self.write_prompted(state, tracks, memory.frame)
        memories = [
            SpatialMemory(torch.stack([_spatial(track, m.frame) for track in tracks]), m.slot)
            for m in recalled.memories
        ]
        pointers = [
            PointerMemory(
                torch.stack([track.memory(p.frame).pointer for track in tracks]), self._share(p.age, state.reach)
            )
            for p in recalled.pointers
        ]
        return memories, pointers

    def _share(self, age: int, reach: int) -> float:
        """Age of a pointer as a fraction of the bank's reach."""
        if reach > 1:
            return age / (reach - 1)
        # In a video of one frame the reference divides zero by zero, and the object is lost.
        return math.nan if self.options.policy is Policy.REFERENCE else 0.0

    def write_prompted(self, state: VideoState, tracks: Sequence[ObjectTrack], frame: int) -> None:
        """Write the spatial memories of a prompted frame, put off until now because clicks should be fast."""
        pending = [t for t in tracks if t.memory(frame).spatial is None and t.memory(frame).direction is None]
        if not pending:
            return
        memories = [track.memory(frame) for track in pending]
        logits = torch.stack([m.mask_logits for m in memories])[:, None]  # (B, 1, h, w)
        features = self.features_of(state, frame)
        spatial = self.write(features, logits, memories, binarises=self.options.binarises_prompted)
        for track, memory, own in zip(pending, memories, spatial, strict=True):
            track.replace_memory(frame, replace(memory, spatial=own))

    def write(
        self, features: ImageFeatures, mask_logits: Tensor, memories: Sequence[FrameMemory], *, binarises: bool
    ) -> Tensor:
        """Spatial memories of B objects on one frame.

        Parameters
        ----------
        features : ImageFeatures
            The frame.
        mask_logits : Tensor
            Shape (B, 1, h, w), at any resolution.
        memories : sequence of FrameMemory
            The objects, for whether they are there.
        binarises : bool
            Whether the masks are remembered as black and white.

        Returns
        -------
        Tensor
            Shape (B, Cm, h / 16, w / 16), in the precision that the options ask for.
        """
        logits = resize_logits(mask_logits, *self.model.working_size(features))  # (B, 1, H, W)
        mask = (logits > 0).float() if binarises else logits.sigmoid()
        is_present = torch.stack([m.object_score_logit for m in memories])[:, None] > 0  # (B, 1)
        spatial = self.model.encode_memory(features, mask, is_present)
        return spatial if self.options.memory_dtype is None else spatial.to(self.options.memory_dtype)

    def drop_unreachable(self, track: ObjectTrack, frame: int, direction: Direction) -> None:
        """Forget what no later frame of a pass can recall, so that a state does not grow with its stack."""
        for old, memory in list(track.tracked.items()):
            age = direction.value * (frame - old)
            if memory.direction is not direction or age < self.model.config.num_memories - 1:
                continue
            if age >= MAX_POINTERS:
                del track.tracked[old]
            elif memory.spatial is not None:
                track.tracked[old] = replace(memory, spatial=None)


def _spatial(track: ObjectTrack, frame: int) -> Tensor:
    spatial = track.memory(frame).spatial
    if spatial is None:
        raise FrameError(f"The memory of frame {frame} is gone. Follow the object again from its prompt.")
    return spatial
