from dataclasses import replace

import pytest
import torch

from sam2_model.config import Sam2Config
from sam2_model.training.steps import Interaction, clip_losses, image_losses
from tests.sam2_model.small import SMALL, small_batch, small_model


def test_a_few_steps_on_one_image_lower_the_loss() -> None:
    batch, user = small_batch(1, frames=1), Interaction(corrections=0, boxes=1.0, rough_masks=0.0)
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    history = []
    for _ in range(25):
        loss = image_losses(model, batch, user, torch.Generator().manual_seed(0)).mask
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.7 * history[0]


@pytest.mark.parametrize("mask_prompts", [0.0, 1.0])
@pytest.mark.parametrize("seed", [0, 1])  # objects are looked at from close by, or only found
@pytest.mark.parametrize(
    "config", [SMALL, replace(SMALL, view_px=64, follows_masks=True)], ids=["plain", "follows masks"]
)
def test_memory_attention_and_memory_encoder_receive_gradient_from_clips(
    config: Sam2Config, seed: int, mask_prompts: float
) -> None:
    model = small_model(config)
    user = Interaction(mask_prompts=mask_prompts, second_prompts=1.0)
    batch = small_batch(2, frames=3, size=2 * (config.view_px or 32))
    clip_losses(model, batch, user, torch.Generator().manual_seed(seed)).total.backward()
    for part in (model.memory_attention, model.memory_encoder, model.obj_ptr_proj):
        gradients = [p.grad for p in part.parameters()]
        assert all(g is not None and g.isfinite().all() for g in gradients)
        assert max(float(g.abs().max()) for g in gradients if g is not None) > 0


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_the_masks_of_a_second_frame_leave_frames_to_be_followed(frames: int) -> None:
    model, user = small_model(), Interaction(mask_prompts=1.0, second_prompts=1.0)
    for seed in range(5):
        losses = clip_losses(model, small_batch(seed, frames), user, torch.Generator().manual_seed(seed))
        assert losses.total.isfinite()
