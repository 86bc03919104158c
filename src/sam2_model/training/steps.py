"""One look at a batch: prompts on single images, or objects followed through clips, with corrections.

Batches and the simulated user stay on the CPU, whose random numbers are the same everywhere; what the model is shown
is moved to where the model is.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sam2_model.mask_decoder import MaskDecoderOutput, best_candidate, single_mask
from sam2_model.mask_ops import ABSENT_LOGIT, PROMPT_LOGIT_LIMIT, as_low_res_logits, resize_logits
from sam2_model.memory_bank import MAX_POINTERS, Direction, recall
from sam2_model.sam2 import ImageFeatures, PointerMemory, Sam2, SpatialMemory
from sam2_model.training.batches import Batch
from sam2_model.training.instances import instance_loss
from sam2_model.training.losses import Losses, mean_losses, prompt_losses, target_of
from sam2_model.training.prompting import correction_clicks, first_prompts, rough_masks
from sam2_model.video.trajectory import expected_masks

_SECOND_LOOKS = 0.85
"""Share of the steps in which prompted objects are looked at again from close by; the others teach to find them."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """What the simulated user does.

    Attributes
    ----------
    boxes : float
        Fraction of the first prompts that are boxes; the others are clicks.
    rough_masks : float
        Probability that a step starts from a hasty mask together with the first prompts.
    corrections : int
        Correction clicks after the first prompt. A stage names the most; each step draws how many there are.
    mask_prompts : float
        Probability that the objects of a clip are given by their masks on the first frame.
    second_prompts : float
        Probability that the masks of a later frame of a clip are given, too: frames before it recall it as well.
    true_memories : float
        Probability that a clip remembers true masks instead of predicted ones.
    shown_masks : float
        Probability that corrections are given together with the mask that they correct. Otherwise all clicks are
        given at once and without it, as they are when an answer must not depend on earlier ones.
    """

    boxes: float = 0.45
    rough_masks: float = 0.15
    corrections: int = 2
    mask_prompts: float = 0.6
    second_prompts: float = 0.3
    true_memories: float = 0.0
    shown_masks: float = 0.4


def image_losses(model: Sam2, batch: Batch, user: Interaction, generator: torch.Generator) -> Losses:
    """Return the losses of prompts on the objects of single images, averaged over the first prompt and corrections.

    Gradients flow into all of the model but the memory. Of the batch only the first frame is used. A model with an
    instance decoder is charged for what that says of the images, too.
    """
    masks = batch.masks[0]
    encoded = model.encode_image(batch.images[0].to(model.device))
    features = encoded.rows(batch.owner)
    embedding = model.without_memory(features)
    starts_rough = torch.rand((), generator=generator) < user.rough_masks
    shown = rough_masks(generator, masks).to(model.device) if starts_rough else None
    losses = mean_losses(list(_interact(model, embedding, features, masks, user, generator, shown).losses))
    if not model.config.has_instance_decoder:
        return losses
    maps = model.decode_instances(encoded)
    return replace(losses, instances=instance_loss(maps, batch.labels[0], is_complete=batch.is_complete))


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    output: MaskDecoderOutput
    losses: tuple[Losses, ...]


def _interact(
    model: Sam2,
    embedding: Tensor,
    features: ImageFeatures,
    masks: Tensor,
    user: Interaction,
    generator: torch.Generator,
    shown: Tensor | None,
) -> _Answer:
    """Return the answer to first prompts and correction clicks, with the previous answer shown as a mask or not."""
    device = model.device
    target = target_of(masks, model.mask_stride).to(device)
    points, labels = (x.to(device) for x in first_prompts(generator, masks, user.boxes))
    if shown is not None:
        points, labels = _with_correction(generator, points, labels, shown, masks)
    # Finding an object is learnt as well as outlining it once its size is known.
    closely = bool(torch.rand((), generator=generator) < _SECOND_LOOKS)
    output = model.decode(embedding, features, points, labels, shown, closely=closely)
    losses = [prompt_losses(output, target)]
    shows_masks = bool(torch.rand((), generator=generator) < user.shown_masks)
    for number in range(user.corrections):
        chosen = single_mask(output, stability_fallback=False) if number else best_candidate(output)
        answer = chosen.mask_logits.detach().clamp(-PROMPT_LOGIT_LIMIT, PROMPT_LOGIT_LIMIT)
        points, labels = _with_correction(generator, points, labels, answer, masks)
        output = model.decode(embedding, features, points, labels, answer if shows_masks else shown, closely=closely)
        losses.append(prompt_losses(output, target))
    return _Answer(output, tuple(losses))


def _with_correction(
    generator: torch.Generator, points: Tensor, labels: Tensor, shown: Tensor, masks: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the points and labels with one more click, where the masks that are shown, (N, 1, h, w), are wrong."""
    more_points, more_labels = correction_clicks(generator, shown.cpu(), masks)
    return torch.cat([points, more_points.to(points.device)], 1), torch.cat([labels, more_labels.to(labels.device)], 1)


@dataclass(slots=True, eq=False)
class _Bank:
    """What a clip remembers so far, for all its objects at once."""

    reach: int = MAX_POINTERS
    memories: dict[int, Tensor] = field(default_factory=dict)
    pointers: dict[int, Tensor] = field(default_factory=dict)
    masks: dict[int, Tensor] = field(default_factory=dict)
    conditioning: list[int] = field(default_factory=list)

    def follow(self, model: Sam2, features: ImageFeatures, frame: int) -> MaskDecoderOutput:
        """Return the masks of all objects on a frame, decoded from what is remembered, as in prediction."""
        tracked = set(self.memories) - set(self.conditioning)
        chosen = recall(frame, self.conditioning, tracked, Direction.FORWARD, num_memories=model.config.num_memories)
        memories = [SpatialMemory(self.memories[m.frame], m.slot) for m in chosen.memories]
        pointers = [PointerMemory(self.pointers[p.frame], p.age / (self.reach - 1)) for p in chosen.pointers]
        return model.follow(features, memories, pointers, expected_masks(chosen, frame, self.masks.__getitem__))


def _encoded_frames(model: Sam2, batch: Batch) -> list[ImageFeatures]:
    """Return the features of each frame of clips, one row per object."""
    T, B = batch.images.shape[:2]
    encoded = model.encode_image(batch.images.flatten(0, 1).to(model.device))
    return [encoded.rows(batch.owner + t * B) for t in range(T)]


def clip_losses(model: Sam2, batch: Batch, user: Interaction, generator: torch.Generator) -> Losses:
    """Return the losses of objects of clips that are prompted on the first frame and followed through the others.

    They are averaged over the frames whose masks were predicted, and gradients flow through the memories. The clips
    have two frames or more.
    """
    frames = _encoded_frames(model, batch)
    T, device = len(frames), model.device
    # A short stack has a short reach, an open one the full reach; both are met in prediction.
    is_short = bool(torch.rand((), generator=generator) < 0.5)
    bank = _Bank(T if is_short else MAX_POINTERS)
    losses = _start(model, frames[0], batch.masks[0], user, generator, bank)
    remembers_truth = bool(torch.rand((), generator=generator) < user.true_memories)
    if T > 2 and torch.rand((), generator=generator) < user.second_prompts:
        later = int(torch.randint(1, T, (), generator=generator))
        losses.append(_remember_truth(model, frames[later], batch.masks[later], bank, later))
    for t in range(1, T):
        if t in bank.conditioning:
            continue
        masks = batch.masks[t]
        target = target_of(masks, model.mask_stride).to(device)
        output = bank.follow(model, frames[t], t)
        losses.append(prompt_losses(output, target))
        if t < T - 1:
            _remember(model, frames[t], output, masks.to(device) if remembers_truth else None, bank, t)
    return mean_losses(losses)


def _start(
    model: Sam2, features: ImageFeatures, masks: Tensor, user: Interaction, generator: torch.Generator, bank: _Bank
) -> list[Losses]:
    """Prompt the first frame by masks or by points, and return its losses."""
    if torch.rand((), generator=generator) < user.mask_prompts:
        return [_remember_truth(model, features, masks, bank, 0)]
    bank.conditioning.append(0)
    answer = _interact(model, model.without_memory(features), features, masks, user, generator, None)
    _remember(model, features, answer.output, None, bank, 0)
    return [mean_losses(list(answer.losses))]


def _remember_truth(model: Sam2, features: ImageFeatures, masks: Tensor, bank: _Bank, frame: int) -> Losses:
    """Add a frame whose masks are given to the bank, and return the losses of recognising them."""
    target = target_of(masks, model.mask_stride).to(model.device)
    masks = masks.to(model.device)
    is_present = masks.flatten(1).any(1, keepdim=True)
    bank.conditioning.append(frame)
    bank.memories[frame] = model.encode_memory(features, masks, is_present)
    bank.masks[frame] = as_low_res_logits(masks, model.mask_stride)
    output = model.decode_mask(features, masks)
    bank.pointers[frame] = model.object_pointer(output.mask_tokens[:, 0], is_present)
    return prompt_losses(output, target)


def _remember(
    model: Sam2, features: ImageFeatures, output: MaskDecoderOutput, truth: Tensor | None, bank: _Bank, frame: int
) -> None:
    """Add a frame to the bank: its true masks, or what was predicted."""
    best = best_candidate(output)
    height, width = model.working_size(features)
    is_present = output.object_score_logit > 0
    mask, logits = resize_logits(best.mask_logits, height, width).sigmoid(), best.mask_logits.detach()
    if truth is not None:
        mask, is_present = truth, truth.flatten(1).any(1, keepdim=True)
        logits = as_low_res_logits(truth, model.mask_stride)
    elif frame in bank.conditioning:
        mask = (mask > 0.5).float()
    mask = mask * is_present[..., None, None]
    bank.masks[frame] = torch.where(is_present[..., None, None], logits, ABSENT_LOGIT)
    bank.memories[frame] = model.encode_memory(features, mask, is_present)
    bank.pointers[frame] = model.object_pointer(best.token, is_present)


def follow(model: Sam2, batch: Batch) -> list[MaskDecoderOutput]:
    """Return the masks of objects followed through clips from true masks on the first frame, as in prediction.

    The clips have two frames or more; there is one answer for each frame after the first.
    """
    frames = _encoded_frames(model, batch)
    bank = _Bank(min(len(frames), MAX_POINTERS))
    masks = batch.masks[0].to(model.device)
    bank.conditioning.append(0)
    bank.memories[0] = model.encode_memory(frames[0], masks, masks.flatten(1).any(1, keepdim=True))
    bank.pointers[0] = model.mask_pointer(frames[0], masks)
    bank.masks[0] = as_low_res_logits(masks, model.mask_stride)
    outputs = []
    for t in range(1, len(frames)):
        output = bank.follow(model, frames[t], t)
        _remember(model, frames[t], output, None, bank, t)
        outputs.append(output)
    return outputs
