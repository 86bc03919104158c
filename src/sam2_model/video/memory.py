"""Reading and writing what objects leave behind: from recalled frames to tokens, from masks to memories."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sam2_model.config import STRIDE
from sam2_model.errors import FrameError, PromptError
from sam2_model.mask_ops import resize_logits
from sam2_model.memory_bank import Direction, Recall, recall
from sam2_model.sam2 import ImageFeatures, PointerMemory, Sam2, SpatialMemory
from sam2_model.video.crops import Corner, moved, steps
from sam2_model.video.options import VideoOptions
from sam2_model.video.state import FrameMemory, ObjectTrack, VideoState


class VideoMemory:
    """Memories of objects in a `VideoState`, through the network that reads and writes them.

    Parameters
    ----------
    model : Sam2
        The network.
    options : VideoOptions
        How memories are recalled, written and stored.
    features_of : callable
        Returns the features of a frame of a state, or of its crop with a corner.
    """

    def __init__(
        self, model: Sam2, options: VideoOptions, features_of: Callable[[VideoState, int, Corner], ImageFeatures]
    ) -> None:
        self.model = model
        self.options = options
        self.features_of = features_of

    def recall(
        self,
        state: VideoState,
        frame: int,
        direction: Direction,
        conditioning: Sequence[int],
        tracked: Collection[int],
    ) -> Recall:
        """Return what a frame recalls of one object: parameters as in `memory_bank.recall`, numbers of this model.

        Raises
        ------
        PromptError
            If there is no prompted frame.
        """
        if not conditioning:
            raise PromptError("An object has no prompted frame left to be followed from. Prompt it again.")
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
        self, state: VideoState, tracks: Sequence[ObjectTrack], recalled: Recall, corner: Corner = (0, 0)
    ) -> tuple[list[SpatialMemory], list[PointerMemory]]:
        """Return the memories of B objects that recall the same frames, stacked frame by frame.

        Parameters
        ----------
        state : VideoState
            Changed in place: memories of prompted frames that were not written yet are.
        tracks : sequence of ObjectTrack
            The objects.
        recalled : Recall
            The frames, and where in time each stands.
        corner : tuple of int
            Of the crop in which they are recalled. Memories of others are moved to it, by whole tokens.
        """
        # Objects that recall the same frames have as many tokens each, in one order: so they make one batch.
        for memory in recalled.memories:
            self.write_prompted(state, tracks, memory.frame)
        memories = [
            SpatialMemory(torch.stack([_spatial(track, m.frame, corner) for track in tracks]), m.slot)
            for m in recalled.memories
        ]
        # In a video of one frame, which recalls itself at age 0, the reach leaves nothing to divide by.
        longest = max(state.reach - 1, 1)
        pointers = [
            PointerMemory(torch.stack([track.memory(p.frame).pointer for track in tracks]), p.age / longest)
            for p in recalled.pointers
        ]
        return memories, pointers

    def write_prompted(self, state: VideoState, tracks: Sequence[ObjectTrack], frame: int) -> None:
        """Write the spatial memories of a prompted frame into its tracks, unless they are there."""
        # Put off until a frame is first recalled: a click is answered sooner, and most clicks are corrected.
        pending = [t for t in tracks if t.memory(frame).spatial is None and t.memory(frame).direction is None]
        for corner in dict.fromkeys(track.memory(frame).corner for track in pending):
            here = [track for track in pending if track.memory(frame).corner == corner]
            memories = [track.memory(frame) for track in here]
            logits = torch.stack([m.mask.logits() for m in memories])[:, None]  # (B, 1, h, w)
            features = self.features_of(state, frame, corner)
            spatial = self.write(features, logits, memories, binarises=self.options.binarises_prompted)
            for track, memory, own in zip(here, memories, spatial, strict=True):
                track.replace_memory(frame, replace(memory, spatial=own))

    def write(
        self, features: ImageFeatures, mask_logits: Tensor, memories: Sequence[FrameMemory], *, binarises: bool
    ) -> Tensor:
        """Return spatial memories of B objects on one frame.

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


def _spatial(track: ObjectTrack, frame: int, corner: Corner) -> Tensor:
    memory = track.memory(frame)
    spatial = memory.spatial
    if spatial is None:
        raise FrameError(f"The memory of frame {frame} is gone. Follow the object again from its prompt.")
    return moved(spatial, *steps(memory.corner, corner, STRIDE))
