"""SAM 2, assembled from the boxes of the paper's figure 3 (Ravi et al. 2024). Stateless: values in, values out.

Attributes that own parameters keep Meta's spelling (`sam_mask_decoder`, `maskmem_tpos_enc`, ...): together they
are the file format that every published checkpoint and every fine-tune uses. Everything else has a name of ours.
Gradients flow; predictors enter `torch.inference_mode` around it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sam2_model.config import STRIDE, Release, Sam2Config
from sam2_model.image_encoder import ImageEncoder
from sam2_model.instance_decoder import InstanceDecoder, InstanceMaps
from sam2_model.layers import MLP
from sam2_model.mask_decoder import MaskDecoder, MaskDecoderOutput
from sam2_model.mask_ops import PROMPT_LOGIT_LIMIT, as_logits, fit_mask
from sam2_model.memory_attention import MemoryAttention
from sam2_model.memory_encoder import MemoryEncoder
from sam2_model.position_encoding import sine_map, sine_time
from sam2_model.prompt_encoder import MASK_STRIDE, PointLabel, PromptEncoder
from sam2_model.views import (
    VIEW_STRIDE,
    Extent,
    Ladder,
    View,
    extent_of_masks,
    extent_of_points,
    is_inside,
    look,
    nowhere,
)


@dataclass(frozen=True, slots=True, eq=False)
class ImageFeatures:
    """What the image encoder makes of B images: all that prompts and memories need.

    Attributes
    ----------
    fine : Tensor
        Shape (B, C / 8, H / 4, W / 4).
    middle : Tensor
        Shape (B, C / 4, H / 8, W / 8).
    embedding : Tensor
        Shape (B, C, H / 16, W / 16).
    """

    fine: Tensor
    middle: Tensor
    embedding: Tensor

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the embedding."""
        return self.embedding.shape[2], self.embedding.shape[3]

    def map(self, change: Callable[[Tensor], Tensor]) -> "ImageFeatures":
        """Return the features with all levels changed in the same way."""
        return ImageFeatures(change(self.fine), change(self.middle), change(self.embedding))

    def rows(self, index: Tensor) -> "ImageFeatures":
        """Return the features of some images, in the order of their numbers (N,)."""
        return self.map(lambda level: level[index])


class SpatialMemory(NamedTuple):
    """One remembered frame of B objects."""

    features: Tensor  # (B, Cm, h, w)
    slot: int  # row of the temporal embedding


class PointerMemory(NamedTuple):
    """One object pointer of B objects."""

    pointer: Tensor  # (B, C)
    age: float  # distance to the current frame, as a fraction of the bank's reach


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What the decoder is asked: B prompts and where to look. Each tensor may be a batch of one, shared by all."""

    embedding: Tensor  # (B, C, h, w)
    features: ImageFeatures
    points: Tensor | None = None  # (B, N, 2)
    labels: Tensor | None = None  # (B, N)
    mask_logits: Tensor | None = None  # (B, 1, k h, k w), for any whole k

    def rows(self, chosen: Tensor) -> "_Question":
        """Return the question about some of the prompts, chosen by number."""

        def some(x: Tensor) -> Tensor:
            return x if len(x) == 1 else x[chosen]

        prompts = (x if x is None else some(x) for x in (self.points, self.labels, self.mask_logits))
        return _Question(some(self.embedding), self.features.map(some), *prompts)

    def within(self, view: View) -> "_Question":
        """Return the same question about views."""
        points = None if self.points is None else view.shift(self.points)
        mask_logits = None if self.mask_logits is None else view.cut(self.mask_logits)  # the prompt encoder resizes it
        return _Question(view.crop(self.embedding), self.features.map(view.crop), points, self.labels, mask_logits)


class Sam2(nn.Module):
    """The network. Its parameters are named as in Meta's checkpoints.

    Parameters
    ----------
    config : Sam2Config
        Trunk, release and widths.
    """

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.config = config
        C = config.width
        self.image_encoder = ImageEncoder(config.trunk, C)
        self.sam_prompt_encoder = PromptEncoder(C, config.field_px)
        self.sam_mask_decoder = MaskDecoder(C, config.neighbour_blocks)
        if config.has_memory:  # first, for the order in which saved states of optimisers count parameters
            self.maskmem_tpos_enc = nn.Parameter(torch.zeros(config.num_memories, 1, 1, config.memory_channels))
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, C))
        if config.has_memory:
            self._add_memory()
        if config.has_instance_decoder:
            self.instance_decoder = InstanceDecoder(C)

    def _add_memory(self) -> None:
        """Add what remembers objects and follows them."""
        config = self.config
        C, Cm = config.width, config.memory_channels
        self.memory_attention = MemoryAttention(C, Cm, config.memory_layers, config.memory_feedforward)
        self.memory_encoder = MemoryEncoder(C, Cm)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=MASK_STRIDE, stride=MASK_STRIDE)
        self.obj_ptr_proj = MLP((C, C, C, C))
        # Never read; in the files because the reference once had a use for it.
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, C))
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, C))
        if config.release is Release.V2_1:
            self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, Cm))
            self.obj_ptr_tpos_proj = nn.Linear(C, Cm)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.no_mem_embed.device

    # Image encoder ---------------------------------------------------------------------------------------------------

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Return the features of normalised images (B, 3, H, W); H and W are multiples of 32."""
        fine, middle, embedding = self.image_encoder(images)
        return ImageFeatures(self.sam_mask_decoder.conv_s0(fine), self.sam_mask_decoder.conv_s1(middle), embedding)

    # Instance decoder ------------------------------------------------------------------------------------------------

    def decode_instances(self, features: ImageFeatures) -> InstanceMaps:
        """Return where objects are in images, if the model has an instance decoder."""
        maps: InstanceMaps = self.instance_decoder(features.fine, features.middle, features.embedding)
        return maps

    # Memory attention ------------------------------------------------------------------------------------------------

    def without_memory(self, features: ImageFeatures) -> Tensor:
        """Return the embedding of a frame that recalls nothing, (B, C, h, w)."""
        return features.embedding + self.no_mem_embed.view(1, -1, 1, 1)

    def condition(
        self, features: ImageFeatures, memories: Sequence[SpatialMemory], pointers: Sequence[PointerMemory]
    ) -> Tensor:
        """Return the embedding of a frame conditioned on what is remembered of B objects.

        Parameters
        ----------
        features : ImageFeatures
            One frame; a batch of one is shared by all objects.
        memories : sequence of SpatialMemory
            At least one.
        pointers : sequence of PointerMemory
            May be empty.

        Returns
        -------
        Tensor
            Shape (B, C, h, w).
        """
        embedding = features.embedding
        C, h, w = embedding.shape[1:]
        positions = sine_map(h, w, C, like=embedding)
        memory, memory_positions = self._memory_tokens(memories)
        pointer, pointer_positions = self._pointer_tokens(pointers, like=memory)
        conditioned: Tensor = self.memory_attention(
            embedding,
            positions,
            torch.cat((memory, pointer), dim=1),
            torch.cat((memory_positions, pointer_positions), dim=1),
            pointer_tokens=pointer.shape[1],
        )
        return conditioned

    def _memory_tokens(self, memories: Sequence[SpatialMemory]) -> tuple[Tensor, Tensor]:
        """Return tokens of remembered frames and their positions, (B, M * h * w, Cm) and (1, M * h * w, Cm)."""
        dtype = self.maskmem_tpos_enc.dtype  # memories may be stored more coarsely than they are read
        tokens = torch.cat([m.features.to(dtype).flatten(2).transpose(1, 2) for m in memories], dim=1)
        Cm, h, w = memories[0].features.shape[1:]
        place = sine_map(h, w, Cm, like=tokens).flatten(1).T  # (h * w, Cm)
        # Where and when, the same for all objects, which share the frames that they recall: hence a batch of one.
        positions = torch.cat([place + self.maskmem_tpos_enc[m.slot, 0] for m in memories])[None]
        return tokens, positions

    def _pointer_tokens(self, pointers: Sequence[PointerMemory], like: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens of object pointers and their positions, (B, P * C / Cm, Cm) and (1, P * C / Cm, Cm)."""
        Cm = self.config.memory_channels
        per_pointer = self.config.width // Cm
        if not pointers:
            return like[:, :0], like[:1, :0]
        tokens = torch.stack([p.pointer for p in pointers], dim=1)  # (B, P, C)
        # A pointer is wider than a memory's token and is cut into several, which all get its one age.
        tokens = tokens.reshape(len(tokens), -1, Cm).to(like.dtype)  # (B, P * C / Cm, Cm)
        if self.config.release is Release.V2_0:
            return tokens, torch.zeros_like(tokens[:1])
        age = torch.tensor([p.age for p in pointers], device=like.device)
        positions = self.obj_ptr_tpos_proj(sine_time(age, self.config.width).to(like.dtype))  # (P, Cm)
        return tokens, positions.repeat_interleave(per_pointer, dim=0)[None]

    def follow(
        self,
        features: ImageFeatures,
        memories: Sequence[SpatialMemory],
        pointers: Sequence[PointerMemory],
        expected: Tensor,
    ) -> MaskDecoderOutput:
        """Return the masks of B objects on a frame, decoded from what is remembered of them.

        Models that follow masks (`Sam2Config.follows_masks`) are shown where an object is expected: it is looked for
        in a view round that place, in which the memories are recalled, too, and in the whole frame if it is not there.

        Parameters
        ----------
        features : ImageFeatures
            The frame; a batch of one is shared by all objects.
        memories, pointers : sequence
            As in `condition`.
        expected : Tensor
            Shape (B, 1, H / `mask_stride`, W / `mask_stride`), mask logits from `trajectory.expected_masks`.
        """
        view_px = self.config.view_px
        if not self.config.follows_masks or view_px is None:
            return self.decode_without_prompt(self.condition(features, memories, pointers), features)

        def decode(objects: Tensor, view: View, shown: Tensor | None) -> MaskDecoderOutput:
            seen = features.map(lambda x: view.crop(x if len(x) == 1 else x[objects]))
            remembered = [SpatialMemory(view.crop(m.features[objects]), m.slot) for m in memories]
            tokens = [PointerMemory(p.pointer[objects], p.age) for p in pointers]
            mask = view.crop((expected if shown is None else shown)[objects])
            return self.decode_without_prompt(self.condition(seen, remembered, tokens), seen, mask)

        ladder = Ladder(view_px, features.grid, closest_px=view_px)
        known = extent_of_masks(is_inside(expected), self.working_size(features))
        return look(decode, known, ladder, seeks=True)

    # Prompt encoder and mask decoder ---------------------------------------------------------------------------------

    def decode(
        self,
        embedding: Tensor,  # (B, C, h, w)
        features: ImageFeatures,
        points: Tensor | None = None,  # (B, N, 2)
        labels: Tensor | None = None,  # (B, N)
        mask_logits: Tensor | None = None,  # (B, 1, h', w')
        *,
        closely: bool = True,
        extent: Extent | None = None,
    ) -> MaskDecoderOutput:
        """Return the masks of B prompts; in a model with views, each is decoded in one of its own.

        Parameters
        ----------
        embedding : Tensor
            Shape (B, C, h, w), from `without_memory` or `condition`. A batch of one is shared by all prompts.
        features : ImageFeatures
            The frame, for its finer levels.
        points, labels, mask_logits : Tensor, optional
            As in `PromptEncoder.forward`.
        closely : bool
            Whether an object that turns out to be small is looked at again from close by.
        extent : Extent, optional
            Where the objects lie, which says how closely they are looked at; what the prompts tell of it when omitted.
        """
        question = _Question(embedding, features, points, labels, mask_logits)
        if self.config.view_px is None:
            return self._decode(question)
        if mask_logits is not None:
            question = replace(question, mask_logits=fit_mask(mask_logits, self.mask_size(features)))
        if extent is None:
            extent = nowhere(len(embedding), embedding.device)
            if points is not None and labels is not None:
                extent |= extent_of_points(points, labels)
            if question.mask_logits is not None:
                extent |= extent_of_masks(is_inside(question.mask_logits), self.working_size(features))
        return self._look(question, extent, closely=closely)

    def decode_without_prompt(
        self, embedding: Tensor, features: ImageFeatures, expected: Tensor | None = None
    ) -> MaskDecoderOutput:
        """Return the masks of B objects that are followed, not prompted.

        Parameters
        ----------
        embedding : Tensor
            Shape (B, C, h, w), from `condition`.
        features : ImageFeatures
            The frame, for its finer levels.
        expected : Tensor, optional
            As in `follow`. Read where the configuration says `follows_masks`: there an object is first looked for where
            it is expected, and in the whole frame if it is not found.
        """
        question = _Question(embedding, features, *self._no_points(embedding))
        if self.config.view_px is None:
            return self._decode(question)
        known = nowhere(len(embedding), embedding.device)
        if self.config.follows_masks and expected is not None:
            question = replace(question, mask_logits=expected.clamp(-PROMPT_LOGIT_LIMIT, PROMPT_LOGIT_LIMIT))
            known = extent_of_masks(is_inside(expected), self.working_size(features))
        return self._look(question, known, seeks=True)

    def _no_points(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points and labels that stand for no prompt of B objects, (B, 1, 2) and (B, 1)."""
        # The reference sends an explicit padding point, so two of them reach the decoder; the weights know no other.
        B = len(like)
        return like.new_zeros(B, 1, 2), torch.full((B, 1), PointLabel.PADDING, device=like.device)

    def _look(
        self, question: _Question, extent: Extent, *, seeks: bool = False, closely: bool = True
    ) -> MaskDecoderOutput:
        """Return the masks of objects, each decoded in the closest view that holds it."""

        def decode(objects: Tensor, view: View, shown: Tensor | None) -> MaskDecoderOutput:
            asked = question.rows(objects)
            if shown is not None:
                mask_logits = shown[objects].clamp(-PROMPT_LOGIT_LIMIT, PROMPT_LOGIT_LIMIT)
                asked = replace(asked, mask_logits=mask_logits)
            return self._decode(asked.within(view))

        assert self.config.view_px is not None
        ladder = Ladder(self.config.view_px, question.features.grid)
        return look(decode, extent, ladder, seeks=seeks, closely=closely)

    def _decode(self, question: _Question) -> MaskDecoderOutput:
        """Return the masks of prompts, decoded in one look at the whole of a small frame, or of views."""
        features, grid = question.features, question.features.grid
        sparse, dense = self.sam_prompt_encoder(grid, question.points, question.labels, question.mask_logits)
        image_positions = self.sam_prompt_encoder.image_positions(grid)
        output: MaskDecoderOutput = self.sam_mask_decoder(
            question.embedding, image_positions, features.middle, features.fine, sparse, dense
        )
        return output

    # Object pointers -------------------------------------------------------------------------------------------------

    def object_pointer(self, token: Tensor, is_present: Tensor) -> Tensor:
        """Return the object pointers (B, C) of mask tokens (B, C); an absent object gets the learned one.

        Parameters
        ----------
        token : Tensor
            Shape (B, C).
        is_present : Tensor
            Shape (B, 1), bool.
        """
        return torch.where(is_present, self.obj_ptr_proj(token), self.no_obj_ptr)

    def decode_mask(self, features: ImageFeatures, mask: Tensor) -> MaskDecoderOutput:
        """Return what the decoder makes of masks (B, 1, H, W) of 0 and 1 that a user gave on a frame."""
        # Read on the bare embedding, as the reference does: neither memory nor the no-memory vector.
        question = _Question(features.embedding, features, *self._no_points(mask), self.mask_downsample(mask))
        if self.config.view_px is None:
            return self._decode(question)
        # A second look would describe what the model sees there, not what was given.
        return self._look(question, extent_of_masks(mask > 0, self.working_size(features)), closely=False)

    def mask_pointer(self, features: ImageFeatures, mask: Tensor) -> Tensor:
        """Return the object pointers (B, C) of masks (B, 1, H, W) of 0 and 1 that a user gave on a frame."""
        output = self.decode_mask(features, mask)
        is_present = (output.object_score_logit > 0) & mask.flatten(1).any(1, keepdim=True)
        return self.object_pointer(output.mask_tokens[:, 0], is_present)

    # Memory encoder --------------------------------------------------------------------------------------------------

    def encode_memory(self, features: ImageFeatures, mask: Tensor, is_present: Tensor) -> Tensor:
        """Return the spatial memories of B objects on a frame.

        Parameters
        ----------
        features : ImageFeatures
            The frame; a batch of one is shared by all objects.
        mask : Tensor
            Shape (B, 1, H, W), at the working size, in [0, 1].
        is_present : Tensor
            Shape (B, 1), bool.

        Returns
        -------
        Tensor
            Shape (B, Cm, h, w).
        """
        memory: Tensor = self.memory_encoder(features.embedding, as_logits(mask))
        if self.config.release is Release.V2_1:
            absent = (~is_present).to(memory.dtype)  # (B, 1)
            memory = memory + (absent * self.no_obj_embed_spatial)[:, :, None, None]
        return memory

    @property
    def mask_stride(self) -> int:
        """Pixels of the working image per cell of the mask logits of a frame."""
        return MASK_STRIDE if self.config.view_px is None else VIEW_STRIDE

    def mask_size(self, features: ImageFeatures) -> tuple[int, int]:
        """Return the rows and columns of the mask logits of a frame."""
        height, width = self.working_size(features)
        return height // self.mask_stride, width // self.mask_stride

    def working_size(self, features: ImageFeatures) -> tuple[int, int]:
        """Return the height and width of the working image behind features, in pixels."""
        rows, columns = features.grid
        return rows * STRIDE, columns * STRIDE
