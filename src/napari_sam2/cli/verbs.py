"""The verbs of the shell. Each is the same function that Python users call; errors are sentences."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING

from napari_sam2.cli.inputs import (
    check_outputs,
    files_of_models,
    load_model,
    open_output,
    read_everything,
    read_inputs,
    set_threads,
)
from napari_sam2.cli.parser import make_parser
from napari_sam2.cli.terminal import print_err, print_error, print_out, print_warning, progress_bar
from napari_sam2.errors import BinaryMaskWarning, NapariSam2Error, SmallObjectWarning, is_out_of_memory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from napari_sam2.cli.inputs import Inputs
    from napari_sam2.inference.predictor import Predictor
    from napari_sam2.tracking.batch import Job

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status: 0, 1 after an error, 130 after Ctrl-C.

    Raises
    ------
    SystemExit
        With 2 for a wrong command line, with 0 for `--help` and `--version`.
    """
    try:
        return _run(argv)
    except NapariSam2Error as error:
        print_error(str(error), error)
        return EXIT_ERROR
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        remedy = "The memory is full. Use a smaller --image-size or model, or cut the stack to the part that matters."
        print_error(remedy, error)
        return EXIT_ERROR
    except KeyboardInterrupt as error:
        print_error("Stopped.", error)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has read enough. Files are written before anything is printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(argv: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter of a file's name must not spoil work that is done.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = make_parser().parse_args(argv)
        logging.basicConfig(level=logging.WARNING, format="napari-sam2: %(message)s")
        # What it logs of a damaged file comes as an error of ours, in a sentence.
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            for kind in (SmallObjectWarning, BinaryMaskWarning):
                warnings.simplefilter("always", kind)
            warnings.showwarning = print_warning
            action = getattr(arguments, "action", None)
            return _VERBS[arguments.verb if action is None else f"{arguments.verb} {action}"](arguments)
    finally:
        sys.stdout.flush()  # a closed pipe shows here, and not when Python exits


# Verbs ---------------------------------------------------------------------------------------------------------------


def _segment(arguments: argparse.Namespace) -> int:
    """Segment one image."""
    from napari_sam2.results import feature_table
    from napari_sam2.tracking.batch import image_job

    given = read_inputs(arguments, stack=False)
    predictor, scores = _run_into_files(arguments, given, image_job(given.frames, given.prompt_file.prompts))
    features = feature_table(scores)
    found = int((features["n_frames"] > 0).sum())
    print_out(f"{found} of {len(features)} objects found by {predictor.name}: {arguments.output}")
    return 0


def _propagate(arguments: argparse.Namespace) -> int:
    """Follow objects through a stack."""
    from napari_sam2.results import feature_table
    from napari_sam2.tracking.batch import stack_job

    given = read_inputs(arguments, stack=True)
    job = stack_job(
        given.frames,
        given.prompt_file.prompts,
        direction=arguments.direction,
        start=arguments.start,
        stop=arguments.stop,
    )
    with progress_bar("frames") as show:
        predictor, scores = _run_into_files(arguments, given, job, show)
    features = feature_table(scores)
    print_out(
        f"{len(features)} objects followed over {scores['frame'].nunique()} frames by {predictor.name}, "
        f"mean confidence {features['mean_confidence'].mean():.2f}: {arguments.output}"
    )
    return 0


def _run_into_files(
    arguments: argparse.Namespace, given: Inputs, job: Job, progress: Callable[[int, int], None] | None = None
) -> tuple[Predictor, pd.DataFrame]:
    """Run a job into the outputs of a verb. Torch, which takes seconds to load, waits until all else is checked."""
    from napari_sam2.tracking.batch import run_job

    check_outputs(arguments, given.image, {"--prompts": arguments.prompts})
    return run_job(
        job,
        lambda: load_model(arguments, given.prompt_file),
        lambda dtype: open_output(arguments, given.image, dtype),
        scores_path=arguments.scores,
        overwrite=arguments.overwrite,
        progress=progress,
    )


def _everything(arguments: argparse.Namespace) -> int:
    """Find all objects of one image."""
    from napari_sam2.tracking.everything import run_everything

    image, job = read_everything(arguments)
    files = {"--seeds": arguments.seeds, "--like": arguments.like, "--like-image": arguments.like_image}
    check_outputs(arguments, image, {option: path for option, path in files.items() if path is not None})
    with progress_bar("parts") as show:
        found = run_everything(
            job,
            lambda: load_model(arguments),
            lambda dtype: open_output(arguments, image, dtype),
            scores_path=arguments.scores,
            overwrite=arguments.overwrite,
            progress=show,
        )
    count = len(found.features)
    print_out(f"{count} {'object' if count == 1 else 'objects'} found by {found.predictor.name}: {arguments.output}")
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    """Compute the labels of a saved session again."""
    from napari_sam2.files.labels import TurnedWriter
    from napari_sam2.sessions.replay import dtype_replayed, frames_replayed, models_used, replay
    from napari_sam2.sessions.sources import load_model_used, open_image
    from napari_sam2.sessions.storage import read_session
    from napari_sam2.tracking.batch import write_labels

    session = read_session(arguments.session)
    image = open_image(session, arguments.session, path=arguments.image)
    check_outputs(arguments, image.file, {"the session": arguments.session} | files_of_models(session))
    set_threads(arguments)
    replayed = replay(
        session, image.frames, lambda model: load_model_used(model, arguments.session, device=arguments.device)
    )
    writer = open_output(arguments, image.file, dtype_replayed(session))
    order, frames = session.image.order, frames_replayed(session)
    with progress_bar("frames") as show:
        scores = write_labels(
            writer if order is None else TurnedWriter(writer, order),
            replayed,
            len(frames),
            scores_path=arguments.scores,
            overwrite=arguments.overwrite,
            progress=show,
        )
    models = " and ".join(dict.fromkeys(model.name for model in models_used(session))) or "no model"
    print_out(f"{scores['object_id'].nunique()} objects on {len(frames)} frames, by {models}: {arguments.output}")
    return 0


def _finetune(arguments: argparse.Namespace) -> int:
    """Fine-tune a model on annotated images."""
    from napari_sam2.inference.machine import use_cores
    from napari_sam2.training.finetune import finetune

    use_cores()  # hours beside other work: threads that wait shall not spin
    done = finetune(
        arguments.images,
        arguments.labels,
        arguments.output,
        base=arguments.base,
        data=arguments.data,
        steps=arguments.steps,
        encoder=arguments.encoder,
        validation=arguments.validation,
        is_complete=arguments.complete,
        seed=arguments.seed,
        device=arguments.device,
        threads=arguments.threads,
        image_size="auto" if arguments.image_size is None else arguments.image_size,
        axes=arguments.axes,
        channel=arguments.channel,
        contrast_limits=arguments.contrast,
        overwrite=arguments.overwrite,
    )
    held_out, training = done.held_out, done.training
    print_out(
        f"Held out: {held_out.outlines} outlines on {held_out.frames} frames\n{done.table.round(2).to_string()}\n"
        f"{done.base}, step {done.best_step} of {done.steps}, on {training.outlines} outlines on {training.frames} "
        f"frames: {done.path}"
    )
    if not done.is_better:
        print_err(
            f"On the held-out frames it is no better than {done.base}. Annotate more frames, or take more --steps."
        )
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    """Follow nuclei through an embedded stack."""
    from napari_sam2.cli.demo import FILES, run_demo, verdict

    with progress_bar("frames") as show:
        features = run_demo(
            arguments.output, lambda: load_model(arguments), overwrite=arguments.overwrite, progress=show
        )
    table = features.rename(columns={"index": "nucleus", "n_frames": "slices"})
    columns = ["nucleus", "slices", "mean_confidence", "worst_confidence", "mean_area_px", "dice_inside", "dice"]
    print_out(table[columns].round(2).to_string(index=False))
    print_out(f"\n{verdict(features)}\nFiles in {arguments.output}: {', '.join(FILES)}")
    return 0


def _list_models(arguments: argparse.Namespace) -> int:
    """List the models there are."""
    from napari_sam2.inference.models import list_models

    for model in list_models():
        where = str(model.path) if model.path else f"not on this machine: napari-sam2 models download {model.name}"
        print_out(f"{model.name:14} SAM {model.release:4} {model.size_bytes / 1e6:6.0f} MB  {model.licence:13} {where}")
    return 0


def _download(arguments: argparse.Namespace) -> int:
    """Download a model's weights."""
    from napari_sam2.inference.models import download_model

    with progress_bar("B", scale=True) as show:
        path = download_model(arguments.name, progress=show)
    print_out(f"{arguments.name}: {path}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    """Print what a weight file is."""
    from napari_sam2.inference.models import verify_model

    found = verify_model(arguments.path)
    print_out(str(found))
    return 0 if found.problem is None else EXIT_ERROR


_VERBS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "segment": _segment,
    "propagate": _propagate,
    "everything": _everything,
    "replay": _replay,
    "finetune": _finetune,
    "demo": _demo,
    "models": _list_models,
    "models list": _list_models,
    "models download": _download,
    "models verify": _verify,
}
