"""The training loop: seeded step by step, so that an interrupted run continues exactly as if it had not been."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from sam2_model.errors import CheckpointError, ConfigError
from sam2_model.sam2 import Sam2
from sam2_model.training.batches import Batch
from sam2_model.training.losses import Losses
from sam2_model.training.parallel import average_gradients, rank
from sam2_model.training.stages import Load, StageT, stage_at, total_steps
from sam2_model.training.steps import Interaction, clip_losses, image_losses

_WEIGHT_DECAY = 0.02
_CLIP_NORM = 1.0
_AVERAGE = 0.998
_LEAST_RANK = 16

BatchSource = Callable[[np.random.Generator, StageT, Load], Batch]
"""Returns a batch of a stage; everything random about it comes from the generator."""


@dataclass(slots=True, eq=False)
class TrainingState:
    """Everything a run needs to go on.

    Attributes
    ----------
    model : Sam2
        The weights being trained.
    average : Sam2
        Their running average, which is what gets validated and exported.
    optimizers : tuple of torch.optim.Optimizer
        Their parameter groups say whether they hold parameters of the trunk (`is_trunk`).
    seed : int
        With the step number it decides everything random about a step.
    step : int
        Steps done.
    best_score : float
        Best validation score so far.
    """

    model: Sam2
    average: Sam2
    optimizers: tuple[torch.optim.Optimizer, ...]
    seed: int
    step: int = 0
    best_score: float = -1.0


@dataclass(frozen=True, slots=True)
class StepReport:
    """What happened in one step.

    Attributes
    ----------
    step : int
        Steps done, this one included.
    stage : str
        Name of the stage.
    size, frames : int
        Side of the images in pixels, and frames per clip.
    mask, iou, presence, instances : float
        Losses; `instances` is 0 in a step of clips.
    gradient_norm : float
        Before clipping.
    memory_gradient : float
        Largest gradient in the memory attention; 0 in a step of single images.
    seconds : float
        Wall time.
    """

    step: int
    stage: str
    size: int
    frames: int
    mask: float
    iou: float
    presence: float
    instances: float
    gradient_norm: float
    memory_gradient: float
    seconds: float


def start_training(model: Sam2, seed: int) -> TrainingState:
    """Return the state of a run from nothing.

    Raises
    ------
    ConfigError
        If torch is older than the optimiser this needs.
    """
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(f"Training a model needs torch 2.9 or newer, not {torch.__version__}. Fine-tuning does not.")
    # Embeddings and tokens are tables of vectors; linear layers map vectors to vectors.
    linear = {m.weight for m in model.modules() if isinstance(m, nn.Linear)}
    parameters = list(model.parameters())
    matrices = [p for p in parameters if p in linear and min(p.shape) >= _LEAST_RANK]
    others = [p for p in parameters if p not in set(matrices)]
    trunk = set(model.image_encoder.trunk.parameters())
    # Orthogonal updates (Jordan et al. 2024), of the size that Adam's would have: the same rates serve both.
    muon = torch.optim.Muon(
        _groups(matrices, trunk), lr=0.0, weight_decay=_WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"
    )
    return _start(model, seed, (muon, _adam(others, trunk)))


def start_fine_tuning(model: Sam2, seed: int) -> TrainingState:
    """Return the state of a run on annotated frames; parameters that ask for no gradient stay as they are."""
    trunk = set(model.image_encoder.trunk.parameters())
    return _start(model, seed, (_adam(list(model.parameters()), trunk),))


def _start(model: Sam2, seed: int, optimizers: tuple[torch.optim.Optimizer, ...]) -> TrainingState:
    average = deepcopy(model).eval().requires_grad_(requires_grad=False)
    return TrainingState(model.train(), average, optimizers, seed)


def _groups(parameters: list[nn.Parameter], trunk: set[nn.Parameter]) -> list[dict[str, Any]]:
    """Return parameters of the trunk and others, as groups of an optimiser."""
    split = {is_trunk: [p for p in parameters if (p in trunk) == is_trunk] for is_trunk in (True, False)}
    return [{"params": params, "is_trunk": is_trunk} for is_trunk, params in split.items() if params]


def _adam(parameters: list[nn.Parameter], trunk: set[nn.Parameter]) -> torch.optim.AdamW:
    return torch.optim.AdamW(_groups(parameters, trunk), lr=0.0, weight_decay=_WEIGHT_DECAY)


def train(state: TrainingState, stages: Sequence[StageT], source: BatchSource[StageT]) -> Iterator[StepReport]:
    """Train until the stages are over.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    stages : sequence of Stage
        All of them, whichever step the state has reached.
    source : callable
        Returns the batches.

    Yields
    ------
    StepReport
        One per step. Closing the generator between steps leaves the state valid.
    """
    last = total_steps(stages)
    while state.step < last:
        stage, local = stage_at(stages, state.step)
        if stage.prepare is not None and local == 0:
            stage.prepare(state.model, state.seed)
            state.average.load_state_dict(state.model.state_dict())
        yield _step(state, stage, local, source)


def _step(state: TrainingState, stage: StageT, local: int, source: BatchSource[StageT]) -> StepReport:
    started = perf_counter()
    rng = np.random.default_rng([state.seed, state.step])
    seed = int(rng.integers(2**62))
    load = stage.loads[rng.integers(len(stage.loads))]
    user = replace(stage.user, corrections=int(rng.integers(stage.user.corrections + 1)))
    if rank():  # the same load and as many clicks in every process, so that none waits long; scenes of its own
        rng = np.random.default_rng([state.seed, state.step, rank()])
        seed = int(rng.integers(2**62))
    losses = _losses(state, user, source(rng, stage, load), torch.Generator().manual_seed(seed))
    for optimizer in state.optimizers:
        optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    groups = [group for optimizer in state.optimizers for group in optimizer.param_groups]
    average_gradients([p for group in groups for p in group["params"]])
    norm = float(nn.utils.clip_grad_norm_(state.model.parameters(), _CLIP_NORM))
    rate = stage.rate_at(local)
    for group in groups:
        group["lr"] = rate * (stage.trunk_rate if group["is_trunk"] else 1.0)
    if np.isfinite(norm):
        for optimizer in state.optimizers:
            optimizer.step()
    state.step += 1
    _update_average(state)
    return StepReport(
        step=state.step,
        stage=stage.name,
        size=load.size,
        frames=load.frames,
        mask=float(losses.mask.detach()),
        iou=float(losses.iou.detach()),
        presence=float(losses.presence.detach()),
        instances=float(torch.as_tensor(losses.instances).detach()),
        gradient_norm=norm,
        memory_gradient=_largest_gradient(state.model.memory_attention),
        seconds=perf_counter() - started,
    )


def _losses(state: TrainingState, user: Interaction, batch: Batch, generator: torch.Generator) -> Losses:
    if len(batch.images) == 1:
        return image_losses(state.model, batch, user, generator)
    return clip_losses(state.model, batch, user, generator)


def _update_average(state: TrainingState) -> None:
    # A young average follows closely, or it would remember the start for hundreds of steps.
    decay = min(_AVERAGE, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for mean, value in zip(state.average.state_dict().values(), state.model.state_dict().values(), strict=True):
            mean.lerp_(value, 1 - decay)


def _largest_gradient(module: nn.Module) -> float:
    gradients = [float(p.grad.abs().max()) for p in module.parameters() if p.grad is not None]
    return max(gradients, default=0.0)


def save_state(state: TrainingState, path: Path) -> None:
    """Write a run to a file, replacing it only when the new one is complete."""
    partial = path.with_name(path.name + ".partial")
    contents = {
        "model": state.model.state_dict(),
        "average": state.average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in state.optimizers],
        "seed": state.seed,
        "step": state.step,
        "best_score": state.best_score,
    }
    torch.save(contents, partial)
    partial.replace(path)


def load_state(state: TrainingState, path: Path) -> None:
    """Replace a state that has just been started by what `save_state` wrote: it goes on exactly where the run stopped.

    Raises
    ------
    CheckpointError
        If the file belongs to another model or is not a training state.
    """
    contents = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(contents, dict) or "optimizers" not in contents:
        raise CheckpointError(f"{path} is not the state of a training run. Start from weights with --weights instead.")
    modules = {"model": state.model, "average": state.average}
    for name, module in modules.items():
        try:
            module.load_state_dict(contents[name])
        except RuntimeError as error:
            raise CheckpointError(f"{path} belongs to another model: {error}") from error
    for optimizer, saved in zip(state.optimizers, contents["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    state.seed, state.step = int(contents["seed"]), int(contents["step"])
    state.best_score = float(contents["best_score"])
