"""The verbs of the shell. Each is the same function that Python users call; errors are sentences."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.cli.parser import make_parser
from napari_sam2.errors import BinaryMaskWarning, FrameError, NapariSam2Error, SmallObjectWarning, is_out_of_memory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from typing import TextIO

    from napari_sam2.files.images.reading import ImageFile
    from napari_sam2.files.prompts import PromptFile
    from napari_sam2.frames import ContrastLimits
    from napari_sam2.inference.sam2 import ImageSize
    from napari_sam2.sessions.document import Session

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
        _say(_with_notes(str(error), error), sys.stderr)
        return EXIT_ERROR
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        remedy = "The memory is full. Use a smaller --image-size or model, or cut the stack to the part that matters."
        _say(_with_notes(remedy, error), sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt as error:
        _say(_with_notes("Stopped.", error), sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has read enough. Files are written before anything is said.
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
            warnings.showwarning = _show_warning
            action = getattr(arguments, "action", None)
            return _VERBS[arguments.verb if action is None else f"{arguments.verb} {action}"](arguments)
    finally:
        sys.stdout.flush()  # a closed pipe shows here, and not when Python exits


# Verbs ---------------------------------------------------------------------------------------------------------------


def _segment(arguments: argparse.Namespace) -> int:
    """Segment one image."""
    from napari_sam2.files.label_zarr import ZarrLabelWriter
    from napari_sam2.files.labels import open_label_writer
    from napari_sam2.tracking.batch import write_table

    image = _open(arguments)
    if image.has_frames:
        raise FrameError(f"{image.path} is a stack of {image.array.shape[0]} frames. Use napari-sam2 propagate.")
    spoken = _read_prompts(arguments, image)
    _check_outputs(arguments, image, {"--prompts": arguments.prompts})

    # Loads torch, which takes seconds: not before the files are known to be good.
    from napari_sam2.api import segment

    model, image_size = _model(arguments, spoken)
    result = segment(
        image.array,
        spoken.prompts.prompts,
        model=model,
        device=arguments.device,
        image_size=image_size,
        contrast_limits=_contrast(arguments, spoken),
        channel_axis=image.channel_axis,
        rgb=image.axes.endswith("S"),
    )
    _warn_of_other_weights(arguments, spoken, result.model_sha256)
    with open_label_writer(
        arguments.output,
        shape=image.label_shape,
        dtype=result.labels.dtype,
        source=image,
        overwrite=arguments.overwrite,
    ) as writer:
        writer.write(0, result.labels)
        if isinstance(writer, ZarrLabelWriter):
            writer.describe(result.features)
    if arguments.scores is not None:
        write_table(arguments.scores, result.scores, overwrite=arguments.overwrite)
    found = int((result.features["n_frames"] > 0).sum())
    _say(f"{found} of {len(result.features)} objects found by {result.model}: {arguments.output}")
    return 0


def _propagate(arguments: argparse.Namespace) -> int:
    """Follow objects through a stack."""
    from napari_sam2.files.labels import open_label_writer
    from napari_sam2.frames import FrameStack
    from napari_sam2.results import feature_table, label_dtype
    from napari_sam2.tracking.batch import propagate_into
    from napari_sam2.tracking.propagation import plan_propagation
    from napari_sam2.tracking.stack import TrackedStack

    image = _open(arguments)
    if not image.has_frames:
        raise FrameError(f"{image.path} is a single image. Use napari-sam2 segment.")
    spoken = _read_prompts(arguments, image)
    prompts = spoken.prompts
    frames = FrameStack(
        image.array,
        contrast_limits=_contrast(arguments, spoken),
        channel_axis=image.channel_axis,
        rgb=image.axes.endswith("S"),
    )
    prompts.check(len(frames), frames.height, frames.width)
    plan = plan_propagation(
        prompts, len(frames), direction=arguments.direction, start=arguments.start, stop=arguments.stop
    )
    _check_outputs(arguments, image, {"--prompts": arguments.prompts})

    # Load torch, which takes seconds: not before everything is known to be good.
    from napari_sam2.api import warn_of_small_objects
    from napari_sam2.inference.sam2 import load_predictor

    model, image_size = _model(arguments, spoken)
    predictor = load_predictor(model, device=arguments.device, image_size=image_size)
    _warn_of_other_weights(arguments, spoken, predictor.sha256)
    warn_of_small_objects(prompts, predictor, frames)
    session = TrackedStack(predictor, frames)  # refuses a model that cannot follow, before there is an output
    writer = open_label_writer(
        arguments.output,
        shape=image.label_shape,
        dtype=label_dtype(prompts.object_ids),
        source=image,
        overwrite=arguments.overwrite,
    )
    scores = propagate_into(
        writer,
        session,
        prompts,
        plan,
        scores_path=arguments.scores,
        overwrite=arguments.overwrite,
    )
    features = feature_table(scores)
    _say(
        f"{len(features)} objects followed over {scores['frame'].nunique()} frames by {predictor.name}, "
        f"mean confidence {features['mean_confidence'].mean():.2f}: {arguments.output}"
    )
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    """Compute the labels of a saved session again."""
    from napari_sam2.files.labels import open_label_writer
    from napari_sam2.sessions.replay import dtype_replayed, frames_replayed, models_used, replay
    from napari_sam2.sessions.sources import load_model_used, open_image
    from napari_sam2.sessions.storage import read_session
    from napari_sam2.tracking.batch import TurnedWriter, replay_into

    session = read_session(arguments.session)
    image = open_image(session, arguments.session, path=arguments.image)
    _check_outputs(arguments, image.file, {"the session": arguments.session} | _models_of(session))
    _use_threads(arguments)
    replayed = replay(
        session, image.frames, lambda model: load_model_used(model, arguments.session, device=arguments.device)
    )
    writer = open_label_writer(
        arguments.output,
        shape=image.file.label_shape,
        dtype=dtype_replayed(session),
        source=image.file,
        overwrite=arguments.overwrite,
    )
    order, frames = session.image.order, frames_replayed(session)
    scores = replay_into(
        writer if order is None else TurnedWriter(writer, order),
        replayed,
        len(frames),
        scores_path=arguments.scores,
        overwrite=arguments.overwrite,
    )
    models = " and ".join(dict.fromkeys(model.name for model in models_used(session))) or "no model"
    _say(f"{scores['object_id'].nunique()} objects on {len(frames)} frames, by {models}: {arguments.output}")
    return 0


def _finetune(arguments: argparse.Namespace) -> int:
    """Fine-tune a model on annotated images."""
    from napari_sam2.inference.models import use_cores
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
    _say(
        f"Held out: {held_out.outlines} outlines on {held_out.frames} frames\n{done.table.round(2).to_string()}\n"
        f"{done.base}, step {done.best_step} of {done.steps}, on {training.outlines} outlines on {training.frames} "
        f"frames: {done.path}"
    )
    if not done.is_better:
        _say(
            f"On the held-out frames it is no better than {done.base}. Annotate more frames, or take more --steps.",
            sys.stderr,
        )
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    """Show the whole way on embedded data."""
    from napari_sam2.cli.demo import FILES, check_folder, run_demo
    from napari_sam2.inference.sam2 import load_predictor

    check_folder(arguments.output, overwrite=arguments.overwrite)
    model, image_size = _model(arguments, None)
    predictor = load_predictor(model, device=arguments.device, image_size=image_size)
    report = run_demo(arguments.output, predictor, overwrite=arguments.overwrite)
    table = report.features.rename(columns={"index": "nucleus", "n_frames": "slices"})
    columns = ["nucleus", "slices", "mean_confidence", "worst_confidence", "mean_area_px", "dice_inside", "dice"]
    _say(table[columns].round(2).to_string(index=False))
    _say(f"\n{report.verdict}\nFiles in {report.folder}: {', '.join(FILES)}")
    return 0


def _list_models(arguments: argparse.Namespace) -> int:
    """List the models there are."""
    from napari_sam2.inference.models import list_models

    for model in list_models():
        where = str(model.path) if model.path else f"not on this machine: napari-sam2 models download {model.name}"
        _say(f"{model.name:14} SAM {model.release:4} {model.size_bytes / 1e6:6.0f} MB  {model.licence:13} {where}")
    return 0


def _download(arguments: argparse.Namespace) -> int:
    """Download a model's weights."""
    from tqdm import tqdm

    from napari_sam2.inference.models import download_model

    with tqdm(unit="B", unit_scale=True, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = download_model(arguments.name, progress=show)
    _say(f"{arguments.name}: {path}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    """Say what a weight file is."""
    from napari_sam2.inference.models import verify_model

    found = verify_model(arguments.path)
    _say(str(found))
    return 0 if found.problem is None else EXIT_ERROR


_VERBS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "segment": _segment,
    "propagate": _propagate,
    "replay": _replay,
    "finetune": _finetune,
    "demo": _demo,
    "models": _list_models,
    "models list": _list_models,
    "models download": _download,
    "models verify": _verify,
}


# What verbs share ----------------------------------------------------------------------------------------------------


def _open(arguments: argparse.Namespace) -> ImageFile:
    from napari_sam2.files.images.reading import read_image

    return read_image(arguments.image, axes=arguments.axes, channel=arguments.channel)


def _read_prompts(arguments: argparse.Namespace, image: ImageFile) -> PromptFile:
    from napari_sam2.files.prompts import read_prompts

    rows, columns = image.label_shape[-2:]
    return read_prompts(arguments.prompts, frame=arguments.frame, shape=(rows, columns), split=arguments.split)


def _check_outputs(arguments: argparse.Namespace, image: ImageFile, inputs: Mapping[str, Path]) -> None:
    """Refuse outputs that cannot be written, or that would replace an input or each other."""
    from napari_sam2.files.atomic import check_apart, check_replaceable
    from napari_sam2.files.labels import check_label_output

    outputs = {"--output": arguments.output, "--scores": arguments.scores}
    check_apart(
        {option: path for option, path in outputs.items() if path is not None},
        {"the image": image.path, **inputs, **_model_file(arguments)},
    )
    check_label_output(arguments.output, source=image, overwrite=arguments.overwrite)
    if arguments.scores is not None:
        check_replaceable(arguments.scores, overwrite=arguments.overwrite)


def _models_of(session: Session) -> dict[str, Path]:
    """Give the weight files that a session names."""
    from napari_sam2.sessions.replay import models_used

    sources = (model.source for model in models_used(session))
    return {f"the model {source}": Path(source) for source in sources if source is not None}


def _model_file(arguments: argparse.Namespace) -> dict[str, Path]:
    """Give the place of the model, which is there if it was not asked for by a name of the registry."""
    model = getattr(arguments, "model", None)
    return {} if model is None else {"the model": Path(model)}


def _contrast(arguments: argparse.Namespace, spoken: PromptFile) -> ContrastLimits | None:
    """Give the mapping asked for, else the one under which the prompts were given."""
    if arguments.contrast is None:
        return spoken.contrast_limits
    low, high = arguments.contrast
    return low, high


def _model(arguments: argparse.Namespace, spoken: PromptFile | None) -> tuple[str, ImageSize]:
    """Give model and working size as asked for, else as the prompts were given for; set the threads."""
    _use_threads(arguments)
    name, size = "nano", None
    if spoken is not None and _is_their_model(arguments, spoken):
        name, size = spoken.model_name or name, spoken.image_size
    if arguments.image_size is not None:
        size = arguments.image_size
    return arguments.model or name, "auto" if size is None else size


def _use_threads(arguments: argparse.Namespace) -> None:
    from napari_sam2.inference.sam2 import use_threads

    if arguments.threads is not None:
        use_threads(arguments.threads)


def _is_their_model(arguments: argparse.Namespace, spoken: PromptFile) -> bool:
    """Whether the model is the one for which the prompts were given; a working size belongs to its model."""
    return arguments.model in (None, spoken.model_name)


def _warn_of_other_weights(arguments: argparse.Namespace, spoken: PromptFile, sha256: str) -> None:
    if _is_their_model(arguments, spoken) and spoken.model_sha256 not in (None, sha256):
        _say(
            f"The prompts were given for other weights of {spoken.model_name} (SHA-256 {spoken.model_sha256}, not "
            f"{sha256}); results may differ.",
            sys.stderr,
        )


def _say(text: str, stream: TextIO | None = None) -> None:
    stream = stream or sys.stdout
    stream.write(f"napari-sam2: {text}\n" if stream is sys.stderr else f"{text}\n")


def _with_notes(text: str, error: BaseException) -> str:
    return " ".join((text, *getattr(error, "__notes__", ())))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _say(str(message), sys.stderr)
