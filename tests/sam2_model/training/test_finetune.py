from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sam2_model.config import CONFIGS, NANO, with_image_size
from sam2_model.errors import ConfigError
from sam2_model.imaginary.initialise import soften_start
from sam2_model.preprocessing import WorkingImage
from sam2_model.sam2 import Sam2
from sam2_model.training.annotated import AnnotatedBatches, AnnotatedStack, Split, annotated_frames, hold_out
from sam2_model.training.finetune import (
    FOR_NANO,
    FOR_PUBLISHED,
    Progress,
    Recipe,
    fine_tune,
    recipe_for,
    score_held_out,
)
from sam2_model.training.loop import load_state, save_state, start_fine_tuning, train
from sam2_model.training.stages import Load, Stage
from tests.sam2_model.toy import HEIGHT, TOY, WIDTH, toy_labels, toy_stack

QUICK = Recipe(4, 1e-3, 0.5, (64,), 1, 2, 2, 3)


@pytest.fixture(scope="module")
def model() -> Sam2:
    torch.manual_seed(0)
    made = Sam2(TOY)
    soften_start(made)
    return made.eval().requires_grad_(requires_grad=False)


def seen_at(size: int) -> WorkingImage:
    return WorkingImage.stretched(HEIGHT, WIDTH, size)


def split_of(count: int, *, is_series: bool = True) -> Split:
    stack = AnnotatedStack(
        frames=toy_stack(count),
        labels=toy_labels(count),
        working=seen_at(64),
        is_series=is_series,
    )
    return hold_out(annotated_frames([stack]), 0.3, np.random.default_rng(0))


def weights(model: Sam2) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def last(model: Sam2, recipe: Recipe, seed: int = 0) -> Progress:
    return list(fine_tune(model, split_of(6), recipe, seed=seed))[-1]


def trained(progress: Progress) -> dict[str, torch.Tensor]:
    assert progress.best is not None
    return progress.best.state_dict()


def test_a_few_steps_teach_a_toy_that_can_be_memorised(model: Sam2) -> None:
    recipe = Recipe(60, 3e-3, 1.0, (64,), 2, 4, 2, 3)
    steps = list(fine_tune(model, split_of(6), recipe, seed=0))
    before, after = steps[0].scores, max((s.scores for s in steps[1:] if s.scores), key=lambda s: s.overall)
    assert before is not None
    assert after.box > before.box + 0.2
    assert after.overall > before.overall + 0.1
    losses = [s.loss for s in steps if s.loss is not None]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_every_step_is_reported_and_the_model_tested_before_the_first_and_after_the_last(model: Sam2) -> None:
    steps = list(fine_tune(model, split_of(6), replace(QUICK, steps=20), seed=0))
    assert [s.step for s in steps] == list(range(21))
    assert [s.step for s in steps if s.scores] == [0, *range(2, 21, 2)]
    assert (steps[0].best, steps[1].best) == (None, None)
    assert steps[-1].best is not None
    assert not steps[-1].best.training


def test_the_best_weights_score_what_was_reported_of_them(model: Sam2) -> None:
    split = split_of(6)
    steps = list(fine_tune(model, split, replace(QUICK, steps=16), seed=0))
    tested = [s.scores for s in steps[1:] if s.scores]
    assert steps[-1].best is not None
    assert score_held_out(steps[-1].best, split.held_out) == max(tested, key=lambda s: s.overall)


def test_the_model_that_was_given_is_not_changed(model: Sam2) -> None:
    before = weights(model)
    last(model, QUICK)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(p.requires_grad for p in model.parameters())
    assert model.config == TOY


@pytest.mark.parametrize("trunk_rate", [0.0, 0.5])
def test_a_frozen_trunk_stays_bit_by_bit_and_the_rest_learns(model: Sam2, trunk_rate: float) -> None:
    after = trained(last(model, replace(QUICK, trunk_rate=trunk_rate)))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, after[name])}
    assert any(name.startswith("image_encoder.trunk.") for name in changed) == (trunk_rate > 0)
    for part in ("image_encoder.neck.", "sam_mask_decoder.", "memory_attention.", "memory_encoder."):
        assert any(name.startswith(part) for name in changed)


def test_the_same_seed_gives_the_same_weights_and_another_others(model: Sam2) -> None:
    first, again, other = (trained(last(model, QUICK, seed)) for seed in (1, 1, 2))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not all(torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_images_teach_the_memory_nothing_and_following_is_not_tested(model: Sam2) -> None:
    steps = list(fine_tune(model, split_of(6, is_series=False), QUICK, seed=0))
    assert all(s.scores.next_frame is None for s in steps if s.scores)
    after = trained(steps[-1])
    assert torch.equal(after["maskmem_tpos_enc"], model.state_dict()["maskmem_tpos_enc"])
    assert all(s.scores.next_frame is not None for s in fine_tune(model, split_of(6), QUICK, seed=0) if s.scores)


def test_the_result_is_meant_for_the_largest_size_it_was_trained_at(model: Sam2) -> None:
    stacks = [
        AnnotatedStack(
            frames=toy_stack(2),
            labels=toy_labels(2),
            working=seen_at(size),
            is_series=True,
        )
        for size in (64, 96)
    ]
    split = hold_out(annotated_frames(stacks), 0.5, np.random.default_rng(0))
    best = list(fine_tune(model, split, replace(QUICK, steps=1), seed=0))[-1].best
    assert best is not None
    assert best.config == with_image_size(TOY, 96)


def test_nano_is_trained_whole_and_published_trunks_are_frozen() -> None:
    assert recipe_for(with_image_size(NANO, 512)) == FOR_NANO
    assert {recipe_for(config) for name, config in CONFIGS.items() if name != "nano"} == {FOR_PUBLISHED}
    assert FOR_NANO.trunk_rate > FOR_PUBLISHED.trunk_rate == 0


def test_no_steps_are_refused(model: Sam2) -> None:
    with pytest.raises(ConfigError, match="number of steps is 0"):
        next(fine_tune(model, split_of(6), replace(QUICK, steps=0), seed=0))


def test_the_state_of_a_fine_tuning_is_kept_and_read(model: Sam2, tmp_path: Path) -> None:
    network = Sam2(TOY)
    network.load_state_dict(model.state_dict())
    stages = (Stage("any", 3, 1e-3, (Load(64, 1, 2),)),)
    source = AnnotatedBatches(split_of(6).training)
    state = start_fine_tuning(network, 0)
    run = train(state, stages, source)
    next(run)
    save_state(state, tmp_path / "state.pt")
    resumed = start_fine_tuning(Sam2(TOY), 9)
    load_state(resumed, tmp_path / "state.pt")
    report, again = next(run), next(train(resumed, stages, source))
    assert again == replace(report, seconds=again.seconds)
