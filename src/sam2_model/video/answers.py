"""From the prompts of a frame to what is remembered of its objects: masks given, clicks and boxes, absence."""

from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2_model.mask_decoder import MaskDecoderOutput, best_candidate, numbered_candidate, single_mask
from sam2_model.mask_ops import ABSENT_LOGIT, as_logits, as_low_res_logits, fill_holes
from sam2_model.prompt_encoder import PointLabel
from sam2_model.sam2 import ImageFeatures
from sam2_model.video.memory import VideoMemory
from sam2_model.video.state import FrameMemory, FramePrompt, PromptsByObject, VideoState
from sam2_model.video.stored_masks import StoredMask

HOLE_LOGIT = 0.1
"""Mask logit given to filled holes."""

_SURE_LOGIT = 10.0
"""Object score, as a logit, of a mask that is given; its negative, of an absence."""


class PromptAnswers:
    """Prompts on one frame, put to the network and turned into memories.

    Parameters
    ----------
    memory : VideoMemory
        The network and its options; writes the masks that are remembered at once.
    as_drawn : bool
        Whether a mask given by a user keeps what is thinner than a working pixel, and is remembered at the resolution
        of the working image; else it is remembered at that of its logits, when it is first recalled.
    """

    def __init__(self, memory: VideoMemory, *, as_drawn: bool) -> None:
        self.memory = memory
        self.model = memory.model
        self.options = memory.options
        self.as_drawn = as_drawn

    def given_masks(
        self, state: VideoState, prompts: PromptsByObject, features: ImageFeatures
    ) -> dict[int, FrameMemory]:
        """Return the memories of masks that are the answers themselves, by object id."""
        memories: dict[int, FrameMemory] = {}
        for start in range(0, len(prompts), self.options.max_batch):
            some = dict(islice(prompts.items(), start, start + self.options.max_batch))
            given = [prompt.mask for prompt in some.values() if prompt.mask is not None]
            mask = torch.cat([self._working_mask(state, one) for one in given])
            logits = as_low_res_logits(mask, self.model.mask_stride)  # (B, 1, h, w)
            score = torch.where(mask.flatten(1).any(1), _SURE_LOGIT, -_SURE_LOGIT)  # (B,)
            pointer = self.model.mask_pointer(features, mask)  # (B, C)
            answers = [
                FrameMemory(StoredMask.of(logits[i, 0]), mask.new_ones(()), score[i], pointer[i])
                for i in range(len(some))
            ]
            if self.as_drawn:
                # At the resolution of the logits a small object would fade from memory.
                spatial = self.memory.write(
                    features, as_logits(mask), answers, binarises=self.options.binarises_prompted
                )
                answers = [replace(memory, spatial=own) for memory, own in zip(answers, spatial, strict=True)]
            memories |= dict(zip(some, answers, strict=True))
        return memories

    def absence(self, features: ImageFeatures) -> FrameMemory:
        """Return the memory of an object that the user says is not on the frame."""
        like = features.embedding
        return FrameMemory(
            mask=StoredMask.of(like.new_full(self.model.mask_size(features), ABSENT_LOGIT, dtype=torch.float32)),
            predicted_iou=like.new_ones((), dtype=torch.float32),
            object_score_logit=like.new_full((), -_SURE_LOGIT, dtype=torch.float32),
            pointer=self.model.no_obj_ptr[0],
        )

    def mask_logits(self, state: VideoState, prompt: FramePrompt) -> Tensor | None:
        """Return the mask from which clicks or a box start, as logits (1, 1, h, w); None without one."""
        if prompt.mask is None:
            return None
        return as_low_res_logits(self._working_mask(state, prompt.mask), self.model.mask_stride)

    def decode(
        self,
        state: VideoState,
        prompt: FramePrompt,
        embedding: Tensor,  # (1, C, h, w)
        features: ImageFeatures,
        mask_logits: Tensor | None,  # (1, 1, h, w)
    ) -> MaskDecoderOutput:
        """Return the network's four masks for the clicks and the box of a prompt."""
        xy, labels = prompt.points, prompt.labels
        if prompt.box is not None:
            xy = np.concatenate((prompt.box.reshape(2, 2), xy))
            labels = np.concatenate(((PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT), labels))
        points = torch.from_numpy(xy.astype(np.float32)).to(embedding.device)[None]  # (1, N, 2)
        points = state.working.points(points)
        kinds = torch.from_numpy(labels.astype(np.int64)).to(embedding.device)[None]  # (1, N)
        return self.model.decode(embedding, features, points, kinds, mask_logits)

    def judged(
        self, output: MaskDecoderOutput, *, is_ambiguous: bool, candidate: int | None = None
    ) -> list[FrameMemory]:
        """Return one memory per object: the mask chosen out of the decoder's four, empty where the object is absent.

        Parameters
        ----------
        output : MaskDecoderOutput
            Of B objects.
        is_ambiguous : bool
            Whether the best of the three candidates is chosen, or the single mask.
        candidate : int, optional
            Which candidate is chosen in any case.
        """
        if candidate is not None:
            chosen = numbered_candidate(output, candidate)
        elif is_ambiguous:
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

    def without_holes(self, memory: FrameMemory) -> FrameMemory:
        """Return a memory whose mask has its small holes filled, where the options ask for that."""
        if not self.options.hole_area:
            return memory
        logits = memory.mask.logits()
        filled = fill_holes(logits.cpu().numpy(), self.options.hole_area, HOLE_LOGIT)
        return replace(memory, mask=StoredMask.of(torch.from_numpy(filled).to(logits.device)))

    def _working_mask(self, state: VideoState, mask: NDArray[np.bool_]) -> Tensor:
        """Return a mask of a user at the size of the working image, (1, 1, H, W)."""
        pixels = torch.from_numpy(mask).to(self.model.device)[None, None]
        return state.working.mask(pixels, keeps_thin=self.as_drawn)
