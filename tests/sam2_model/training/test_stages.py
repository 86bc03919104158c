import pytest

from sam2_model.errors import ConfigError
from sam2_model.training.stages import Load, Stage, stage_at, total_steps

STAGES = (Stage("images", 2, 1e-3, (Load(64, 1, 2),)), Stage("clips", 2, 1e-3, (Load(64, 1, 2, 3),)))


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
