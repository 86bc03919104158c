"""The training loop: seeded step by step, so that an interrupted run continues exactly as if it had not been."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from sam2_model.config import Sam2Config
from sam2_model.errors import CheckpointError
from sam2_model.sam2 import Sam2
from sam2_model.training.batches import Batch, scene_batch
from sam2_model.training.dense import DenseHead
from sam2_model.training.losses import Losses
from sam2_model.training.parallel import average_gradients, rank
from sam2_model.training.stages import Load, Stage, stage_at, total_steps
from sam2_model.training.steps import clip_losses, image_losses

_WEIGHT_DECAY = 0.02
_CLIP_NORM = 1.0
_AVERAGE = 0.998

BatchSource = Callable[[np.random.Generator, Stage, Load], Batch]
"""Where the batches of a stage come from; everything random about them comes from the generator."""


@dataclass(slots=True, eq=False)
class TrainingState:
    """Everything a run needs to go on.

    Attributes
    ----------
    model : Sam2
        The weights being trained.
    average : Sam2
        Their running average, which is what gets validated and exported.
    head : DenseHead or None
        Throw-away head that helps the image encoder to learn; None where not every object is annotated.
    optimizer : torch.optim.Optimizer
        Two groups: the trunk, and the rest.
    seed : int
        With the step number it decides everything random about a step.
    step : int
        Steps done.
    best_score : float
        Best validation score so far.
    """

    model: Sam2
    average: Sam2
    head: DenseHead | None
    optimizer: torch.optim.Optimizer
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
    mask, iou, presence, dense : float
        Losses; `dense` is 0 in a step of clips.
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
    dense: float
    gradient_norm: float
    memory_gradient: float
    seconds: float


def draw_scenes(rng: np.random.Generator, stage: Stage, load: Load) -> Batch:
    """Make a batch of imaginary scenes, as the stage describes them."""
    return scene_batch(rng, replace(stage.scenes, size=load.size, frames=load.frames), load.clips, load.objects)


def start_training(model: Sam2, seed: int) -> TrainingState:
    """State of a run from the beginning, with a throw-away head."""
    return _start(model, seed, DenseHead(model.config.width))


def start_fine_tuning(model: Sam2, seed: int) -> TrainingState:
    """State of a run on annotated frames; parameters that ask for no gradient stay as they are."""
    return _start(model, seed, None)


def _start(model: Sam2, seed: int, head: DenseHead | None) -> TrainingState:
    trunk = list(model.image_encoder.trunk.parameters())
    ids = {id(p) for p in trunk}
    rest = [p for p in (*model.parameters(), *(head.parameters() if head else ())) if id(p) not in ids]
    optimizer = torch.optim.AdamW([{"params": trunk}, {"params": rest}], lr=0.0, weight_decay=_WEIGHT_DECAY)
    average = deepcopy(model).eval().requires_grad_(requires_grad=False)
    return TrainingState(model.train(), average, head, optimizer, seed)


def train(state: TrainingState, stages: tuple[Stage, ...], source: BatchSource = draw_scenes) -> Iterator[StepReport]:
    """Train until the stages are over.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    stages : tuple of Stage
        The curriculum, from its first step.
    source : callable
        Where batches come from.

    Yields
    ------
    StepReport
        One per step. Closing the generator between steps leaves the state valid.
    """
    last = total_steps(stages)
    while state.step < last:
        stage, local = stage_at(stages, state.step)
        yield _step(state, stage, local, source)


def _step(state: TrainingState, stage: Stage, local: int, source: BatchSource) -> StepReport:
    started = perf_counter()
    rng = np.random.default_rng([state.seed, state.step])
    seed = int(rng.integers(2**62))
    load = stage.loads[rng.integers(len(stage.loads))]
    if rank():  # the same load in every process, so that none waits for another; scenes and clicks of its own
        rng = np.random.default_rng([state.seed, state.step, rank()])
        seed = int(rng.integers(2**62))
    losses = _losses(state, stage, source(rng, stage, load), torch.Generator().manual_seed(seed))
    state.optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    average_gradients([p for group in state.optimizer.param_groups for p in group["params"]])
    norm = float(nn.utils.clip_grad_norm_(state.model.parameters(), _CLIP_NORM))
    rate = stage.rate_at(local)
    for group, factor in zip(state.optimizer.param_groups, (stage.trunk_rate, 1.0), strict=True):
        group["lr"] = rate * factor
    if np.isfinite(norm):
        state.optimizer.step()
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
        dense=float(torch.as_tensor(losses.dense).detach()),
        gradient_norm=norm,
        memory_gradient=_largest_gradient(state.model.memory_attention),
        seconds=perf_counter() - started,
    )


def _losses(state: TrainingState, stage: Stage, batch: Batch, generator: torch.Generator) -> Losses:
    if len(batch.images) == 1:
        return image_losses(state.model, batch, stage.user, generator, state.head)
    return clip_losses(state.model, batch, stage.user, generator)


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
        "head": state.head.state_dict() if state.head else {},
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "seed": state.seed,
        "step": state.step,
        "best_score": state.best_score,
    }
    torch.save(contents, partial)
    partial.replace(path)


def load_state(path: Path, config: Sam2Config) -> TrainingState:
    """Read a run back.

    Parameters
    ----------
    path : Path
        A file written by `save_state`.
    config : Sam2Config
        The model it belongs to.

    Returns
    -------
    TrainingState
        Continues exactly where the run stopped.

    Raises
    ------
    CheckpointError
        If the file belongs to another model or is not a training state.
    """
    contents = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(contents, dict) or "optimizer" not in contents:
        raise CheckpointError(f"{path} is not the state of a training run. Start from weights with --weights instead.")
    model = Sam2(config)
    _load_strictly(model, contents["model"], path)
    start = start_training if contents["head"] else start_fine_tuning
    state = start(model, int(contents["seed"]))
    _load_strictly(state.average, contents["average"], path)
    if state.head:
        state.head.load_state_dict(contents["head"])
    state.optimizer.load_state_dict(contents["optimizer"])
    state.step, state.best_score = int(contents["step"]), float(contents["best_score"])
    return state


def _load_strictly(model: Sam2, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path} belongs to another model: {error}") from error
