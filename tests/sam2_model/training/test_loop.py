from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sam2_model.config import HieraConfig, Sam2Config
from sam2_model.errors import CheckpointError, ConfigError
from sam2_model.imaginary.initialise import soften_start
from sam2_model.imaginary.scenes import SceneOptions
from sam2_model.imaginary.stages import CURRICULUM, Load, Stage, stage_at, total_steps
from sam2_model.imaginary.validation import ValidationOptions, validate
from sam2_model.sam2 import Sam2
from sam2_model.training.batches import MIN_AREA_PX, Batch, scene_batch
from sam2_model.training.loop import TrainingState, load_state, save_state, start_training, train
from sam2_model.training.steps import Interaction, clip_losses, image_losses

TOY = Sam2Config(
    HieraConfig(16, 1, (1, 1, 1, 1), (2,), window_sizes=(4, 2, 4, 2)),
    width=32,
    memory_channels=16,
    memory_layers=1,
    memory_feedforward=32,
    num_memories=3,
    image_size=64,
)
STAGES = (
    Stage("images", 2, 1e-3, (Load(64, 1, 2),), warm_up=1),
    Stage("clips", 2, 1e-3, (Load(64, 1, 2, 3),), warm_up=1),
)


@pytest.fixture
def model() -> Sam2:
    torch.manual_seed(0)
    made = Sam2(TOY)
    soften_start(made)
    return made


def one_batch(seed: int, frames: int, size: int = 64) -> Batch:
    options = SceneOptions(size=size, frames=frames, families=("nuclei",), sections=0.0, radius_px=(8.0, 14.0))
    return scene_batch(np.random.default_rng(seed), options, clips=1, objects=3)


def weights(state: TrainingState) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in state.model.parameters()])


def test_a_batch_asks_for_objects_that_are_there() -> None:
    batch = one_batch(0, frames=2)
    assert batch.images.shape == (2, 1, 3, 64, 64)
    assert batch.masks.shape == (2, 3, 1, 64, 64)
    assert batch.owner.tolist() == [0, 0, 0]
    assert (batch.masks[0].flatten(1).sum(1) >= MIN_AREA_PX).all()


def test_a_few_steps_on_one_image_lower_the_loss(model: Sam2) -> None:
    batch, user = one_batch(1, frames=1), Interaction(corrections=0, boxes=1.0, rough_masks=0.0)
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
@pytest.mark.parametrize("config", [TOY, replace(TOY, view_px=64, follows_masks=True)], ids=["plain", "follows masks"])
def test_memory_attention_and_memory_encoder_receive_gradient_from_clips(
    config: Sam2Config, seed: int, mask_prompts: float
) -> None:
    torch.manual_seed(0)
    model = Sam2(config)
    soften_start(model)
    user = Interaction(mask_prompts=mask_prompts, second_prompts=1.0)
    batch = one_batch(2, frames=3, size=2 * (config.view_px or 32))
    clip_losses(model, batch, user, torch.Generator().manual_seed(seed)).total.backward()
    for part in (model.memory_attention, model.memory_encoder, model.obj_ptr_proj):
        gradients = [p.grad for p in part.parameters()]
        assert all(g is not None and g.isfinite().all() for g in gradients)
        assert max(float(g.abs().max()) for g in gradients if g is not None) > 0


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_the_masks_of_a_second_frame_leave_frames_to_be_followed(model: Sam2, frames: int) -> None:
    user = Interaction(mask_prompts=1.0, second_prompts=1.0)
    for seed in range(5):
        losses = clip_losses(model, one_batch(seed, frames), user, torch.Generator().manual_seed(seed))
        assert losses.total.isfinite()


def test_an_interrupted_run_continues_exactly_as_an_uninterrupted_one(model: Sam2, tmp_path: Path) -> None:
    whole = start_training(model, seed=5)
    run = train(whole, STAGES)
    next(run), next(run), next(run)
    save_state(whole, tmp_path / "state.pt")
    resumed = load_state(tmp_path / "state.pt", TOY)
    last, resumed_last = next(run), next(train(resumed, STAGES))
    assert resumed_last == replace(last, seconds=resumed_last.seconds)
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)


def test_training_ends_with_the_last_stage(model: Sam2) -> None:
    reports = list(train(start_training(model, seed=1), STAGES))
    assert [r.stage for r in reports] == ["images", "images", "clips", "clips"]
    assert [r.memory_gradient > 0 for r in reports] == [False, False, True, True]


def test_a_state_of_another_model_is_refused(model: Sam2, tmp_path: Path) -> None:
    save_state(start_training(model, seed=1), tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="another model"):
        load_state(tmp_path / "state.pt", replace(TOY, width=64))


def test_validation_gives_the_same_scores_twice(model: Sam2) -> None:
    options = ValidationOptions(image_sizes=(64,), images=1, clips=2, clip_size=64, objects=2)
    model.eval()
    assert validate(model, options) == validate(model, options)


def test_the_learning_rate_warms_up_and_falls() -> None:
    stage = Stage("any", 100, 1.0, (Load(64, 1, 1),), warm_up=10)
    rates = [stage.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9], abs=0.03)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_stages_follow_each_other_and_end() -> None:
    assert stage_at(STAGES, 1)[0].name == "images"
    assert stage_at(STAGES, 2) == (STAGES[1], 0)
    with pytest.raises(ConfigError, match="4 steps"):
        stage_at(STAGES, total_steps(STAGES))


def test_every_load_of_the_curriculum_fits_the_model() -> None:
    for stage in CURRICULUM:
        for load in stage.loads:
            assert load.size % 32 == 0
