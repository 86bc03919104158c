"""Training from nothing, on generated scenes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sam2_model.errors import CheckpointError
from sam2_model.imaginary.curriculum import CURRICULUM
from sam2_model.imaginary.scene_batches import SceneStage, draw_scenes
from sam2_model.sam2 import Sam2
from sam2_model.training.loop import TrainingState, load_state, save_state, start_training, train
from sam2_model.training.stages import Load
from tests.sam2_model.small import SMALL, small_model

STAGES = (
    SceneStage("images", 2, 1e-3, (Load(64, 1, 2),), warm_up=1),
    SceneStage("clips", 2, 1e-3, (Load(64, 1, 2, 3),), warm_up=1),
)


def started(model: Sam2, seed: int) -> TrainingState:
    return start_training(model, seed)


def weights(state: TrainingState) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in state.model.parameters()])


def test_an_interrupted_run_continues_exactly_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = started(small_model(), seed=5)
    run = train(whole, STAGES, draw_scenes)
    next(run), next(run), next(run)
    save_state(whole, tmp_path / "state.pt")
    resumed = started(Sam2(SMALL), seed=0)
    load_state(resumed, tmp_path / "state.pt")
    last, resumed_last = next(run), next(train(resumed, STAGES, draw_scenes))
    assert resumed_last == replace(last, seconds=resumed_last.seconds)
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)


def test_training_ends_with_the_last_stage() -> None:
    reports = list(train(started(small_model(), seed=1), STAGES, draw_scenes))
    assert [r.stage for r in reports] == ["images", "images", "clips", "clips"]
    assert [r.memory_gradient > 0 for r in reports] == [False, False, True, True]


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    save_state(started(small_model(), seed=1), tmp_path / "state.pt")
    for config in (replace(SMALL, width=64), replace(SMALL, neighbour_blocks=1)):
        other = started(Sam2(config), seed=1)
        with pytest.raises(CheckpointError, match="another model"):
            load_state(other, tmp_path / "state.pt")


def test_a_stage_may_prepare_the_model_before_its_first_step() -> None:
    prepared = []
    stages = (STAGES[0], replace(STAGES[1], prepare=lambda model, seed: prepared.append((model, seed))))
    state = started(small_model(), seed=3)
    assert [len(prepared) for _ in train(state, stages, draw_scenes)] == [0, 0, 1, 1]
    assert prepared == [(state.model, 3)]


def test_every_load_of_the_curriculum_fits_the_model() -> None:
    for stage in CURRICULUM:
        for load in stage.loads:
            assert load.size % 32 == 0
