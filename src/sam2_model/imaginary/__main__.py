"""Train `nano` from the command line: ``python -m sam2_model.imaginary --run training_runs/nano``."""

import argparse
import csv
import logging
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from threading import Event
from time import perf_counter, strftime

import numpy as np
import torch
from safetensors.torch import load_file

from sam2_model.config import NANO
from sam2_model.errors import Sam2Error
from sam2_model.imaginary.curriculum import CURRICULUM
from sam2_model.imaginary.initialise import (
    embedding_scale,
    localise_memory,
    localise_prompts,
    quieten_embedding,
    soften_start,
)
from sam2_model.imaginary.scene_batches import draw_scenes, scene_batch
from sam2_model.imaginary.scenes import SceneOptions
from sam2_model.imaginary.validation import ValidationOptions, as_row, validate
from sam2_model.sam2 import Sam2
from sam2_model.training.loop import StepReport, TrainingState, load_state, save_state, start_training, train
from sam2_model.training.parallel import any_of, join, rank
from sam2_model.training.stages import total_steps
from sam2_model.weights.loading import save_model

logger = logging.getLogger(__name__)

_QUIET = 0.6
"""Standard deviation of an embedding beside which positions still count."""


def main(arguments: list[str] | None = None) -> int:
    """Run or resume a training, and return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    torch.set_num_threads(options.threads)
    # Numbers too small to matter make a processor many times slower.
    torch.set_flush_denormal(True)
    options.run.mkdir(parents=True, exist_ok=True)
    join()
    try:
        state = _begin(options)
    except (Sam2Error, OSError) as error:
        logger.error("%s", error)
        return 1
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    _run(state, options, stop)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sam2_model.imaginary", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; a run found there is resumed")
    parser.add_argument("--weights", type=Path, help="safetensors file to start from; default: random weights")
    parser.add_argument("--export", type=Path, help="where the newest averaged weights go; default: in the run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first-step", type=int, default=0, help="skip the curriculum up to this step")
    parser.add_argument("--localise", action="store_true", help="let the attention of --weights start anew, locally")
    parser.add_argument("--threads", type=int, default=max((os.cpu_count() or 2) - 1, 1))
    parser.add_argument("--save-minutes", type=float, default=4.0)
    parser.add_argument("--validate-minutes", type=float, default=12.0)
    return parser


def _begin(options: argparse.Namespace) -> TrainingState:
    checkpoint = options.run / "state.pt"
    if checkpoint.exists():
        state = start_training(Sam2(NANO), options.seed)
        load_state(state, checkpoint)
        logger.info("resumed at step %d", state.step)
        return state
    torch.manual_seed(options.seed)
    model = Sam2(NANO)
    if options.weights:
        model.load_state_dict({name: tensor.float() for name, tensor in load_file(options.weights).items()})
    else:
        soften_start(model)
    if options.localise or not options.weights:
        _localise(model, options.seed)
    state = start_training(model, options.seed)
    state.step = options.first_step
    return state


def _localise(model: Sam2, seed: int) -> None:
    """Change the weights of a model so that attention begins with equal places."""
    images = scene_batch(np.random.default_rng(seed), SceneOptions(size=256), clips=4, objects=1).images[0]
    quieten_embedding(model, embedding_scale(model, images) / _QUIET)
    localise_prompts(model)
    localise_memory(model, _QUIET)


def _run(state: TrainingState, options: argparse.Namespace, stop: Event) -> None:
    """Train until the end of the curriculum, or until asked to stop; then save everything."""
    latest = options.export or options.run / "nano-latest.safetensors"
    saved = validated = perf_counter()
    reports: list[StepReport] = []
    for report in train(state, CURRICULUM, draw_scenes):
        reports.append(report)
        if any_of(stop.is_set()):  # all end with the same step, whoever was told to
            break
        if rank():
            continue
        now = perf_counter()
        if now - saved > options.save_minutes * 60:
            _save(state, options.run, latest, reports)
            saved = now
        if now - validated > options.validate_minutes * 60:
            _validate(state, options.run)
            validated = perf_counter()
    if rank():
        return
    _save(state, options.run, latest, reports)
    if state.step == total_steps(CURRICULUM):
        _validate(state, options.run)
        _save(state, options.run, latest, reports)


def _save(state: TrainingState, run: Path, latest: Path, reports: list[StepReport]) -> None:
    _log_steps(run / "steps.csv", reports)
    save_state(state, run / "state.pt")
    save_model(latest, state.average, name="nano", dtype=torch.float16, overwrite=True)


def _validate(state: TrainingState, run: Path) -> None:
    scores = validate(state.average, ValidationOptions())
    row = {"time": strftime("%H:%M:%S"), "step": state.step} | as_row(scores)
    _append(run / "validation.csv", [row])
    logger.info("validation %s", row)
    if scores.overall > state.best_score:
        state.best_score = scores.overall
        save_model(run / "nano-best.safetensors", state.average, name="nano", dtype=torch.float16, overwrite=True)


def _log_steps(path: Path, reports: list[StepReport]) -> None:
    if not reports:
        return
    _append(path, [{k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(r).items()} for r in reports])
    last, n = reports[-1], len(reports)
    mean_mask = sum(r.mask for r in reports) / n
    mean_seconds = sum(r.seconds for r in reports) / n
    logger.info("step %d %s mask loss %.3f, %.2f s a step", last.step, last.stage, mean_mask, mean_seconds)
    reports.clear()


def _append(path: Path, rows: list[dict[str, object]]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    raise SystemExit(main())
