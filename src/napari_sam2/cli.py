"""The verbs of the shell. Each is the same function that Python users call; errors are sentences."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.errors import FrameError, NapariSam2Error, OptionError, SmallObjectWarning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from napari_sam2.frames import ContrastLimits
    from napari_sam2.image_files import ImageFile
    from napari_sam2.prompt_files import PromptFile
    from napari_sam2.sam2_predictor import ImageSize

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
    except MemoryError as error:
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
    try:
        arguments = _parser().parse_args(argv)
        logging.basicConfig(level=logging.WARNING, format="napari-sam2: %(message)s")
        # What it logs of a damaged file comes as an error of ours, in a sentence.
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("always", SmallObjectWarning)
            warnings.showwarning = _show_warning
            status: int = arguments.run(arguments)
            return status
    finally:
        sys.stdout.flush()  # a closed pipe shows here, and not when Python exits


# Verbs ---------------------------------------------------------------------------------------------------------------


def _segment(arguments: argparse.Namespace) -> int:
    """Segment one image."""
    from napari_sam2.batch import write_table
    from napari_sam2.label_files import LabelWriter

    image = _open(arguments)
    if image.has_frames:
        raise FrameError(f"{image.path} is a stack of {image.array.shape[0]} frames. Use napari-sam2 propagate.")
    spoken = _read_prompts(arguments)
    _check_outputs(arguments, image)

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
    with LabelWriter(
        arguments.output,
        shape=image.label_shape,
        dtype=result.labels.dtype,
        source=image,
        overwrite=arguments.overwrite,
    ) as writer:
        writer.write(0, result.labels)
    if arguments.scores is not None:
        write_table(arguments.scores, result.scores, overwrite=arguments.overwrite)
    found = int((result.features["n_frames"] > 0).sum())
    _say(f"{found} of {len(result.features)} objects found by {result.model}: {arguments.output}")
    return 0


def _propagate(arguments: argparse.Namespace) -> int:
    """Follow objects through a stack."""
    from napari_sam2.batch import propagate_into
    from napari_sam2.frames import FrameStack
    from napari_sam2.label_files import LabelWriter
    from napari_sam2.propagation import plan_propagation
    from napari_sam2.results import feature_table, label_dtype
    from napari_sam2.session import Session

    image = _open(arguments)
    if not image.has_frames:
        raise FrameError(f"{image.path} is a single image. Use napari-sam2 segment.")
    spoken = _read_prompts(arguments)
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
    _check_outputs(arguments, image)

    # Load torch, which takes seconds: not before everything is known to be good.
    from napari_sam2.api import warn_of_small_objects
    from napari_sam2.sam2_predictor import load_predictor

    model, image_size = _model(arguments, spoken)
    predictor = load_predictor(model, device=arguments.device, image_size=image_size)
    _warn_of_other_weights(arguments, spoken, predictor.sha256)
    warn_of_small_objects(prompts, predictor, frames)
    writer = LabelWriter(
        arguments.output,
        shape=image.label_shape,
        dtype=label_dtype(prompts.object_ids),
        source=image,
        overwrite=arguments.overwrite,
    )
    scores = propagate_into(
        writer,
        Session(predictor, frames),
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


def _finetune(arguments: argparse.Namespace) -> int:
    """Fine-tune a model on annotated images."""
    from napari_sam2.finetuning import finetune

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
    from napari_sam2.demo import FILES, check_folder, run_demo
    from napari_sam2.sam2_predictor import load_predictor

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
    from napari_sam2.models import list_models

    for model in list_models():
        where = str(model.path) if model.path else f"not on this machine: napari-sam2 models download {model.name}"
        _say(f"{model.name:14} SAM {model.release:4} {model.size_bytes / 1e6:6.0f} MB  {model.licence:13} {where}")
    return 0


def _download(arguments: argparse.Namespace) -> int:
    """Download a model's weights."""
    from tqdm import tqdm

    from napari_sam2.models import download_model

    with tqdm(unit="B", unit_scale=True, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = download_model(arguments.name, progress=show)
    _say(f"{arguments.name}: {path}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    """Say what a weight file is."""
    from napari_sam2.models import verify_model

    found = verify_model(arguments.path)
    _say(str(found))
    return 0 if found.problem is None else EXIT_ERROR


# What verbs share ----------------------------------------------------------------------------------------------------


def _open(arguments: argparse.Namespace) -> ImageFile:
    from napari_sam2.image_files import read_image

    return read_image(arguments.image, axes=arguments.axes, channel=arguments.channel)


def _read_prompts(arguments: argparse.Namespace) -> PromptFile:
    from napari_sam2.prompt_files import read_prompts

    return read_prompts(arguments.prompts, frame=arguments.frame)


def _check_outputs(arguments: argparse.Namespace, image: ImageFile) -> None:
    """Refuse outputs that cannot be written, or that would replace an input or each other."""
    from napari_sam2.atomic_files import check_replaceable
    from napari_sam2.label_files import check_label_path

    taken = {arguments.image.resolve(): "the image", arguments.prompts.resolve(): "--prompts"}
    for option, path in (("--output", arguments.output), ("--scores", arguments.scores)):
        if path is not None:
            other = taken.setdefault(path.resolve(), option)
            if other != option:
                raise OptionError(f"{path} is {other} and {option} at once, and would be lost. Choose another name.")
    check_label_path(arguments.output, source=image, overwrite=arguments.overwrite)
    if arguments.scores is not None:
        check_replaceable(arguments.scores, overwrite=arguments.overwrite)


def _contrast(arguments: argparse.Namespace, spoken: PromptFile) -> ContrastLimits | None:
    """Give the mapping asked for, else the one under which the prompts were given."""
    if arguments.contrast is None:
        return spoken.contrast_limits
    low, high = arguments.contrast
    return low, high


def _model(arguments: argparse.Namespace, spoken: PromptFile | None) -> tuple[str, ImageSize]:
    """Give model and working size as asked for, else as the prompts were given for; set the threads."""
    from napari_sam2.sam2_predictor import use_threads

    if arguments.threads is not None:
        use_threads(arguments.threads)
    name, size = "nano", None
    if spoken is not None and _is_their_model(arguments, spoken):
        name, size = spoken.model_name or name, spoken.image_size
    if arguments.image_size is not None:
        size = arguments.image_size
    return arguments.model or name, "auto" if size is None else size


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


# The command line ----------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    from napari_sam2 import __version__

    parser = argparse.ArgumentParser(
        prog="napari-sam2", description="Segment microscopy with SAM 2: prompts in, labels and confidences out."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    segment = verbs.add_parser("segment", help="segment one image")
    _add_input(segment, "IMAGE", "TIFF, NPY, PNG or JPEG")
    _add_model(segment)
    segment.set_defaults(run=_segment)

    propagate = verbs.add_parser("propagate", help="follow objects through a time-lapse or z-stack")
    _add_input(propagate, "STACK", "TIFF, NPY, or a folder of TIFF, PNG or JPEG frames")
    propagate.add_argument(
        "--direction", choices=("both", "forward", "backward"), default="both", help="default: outward from the prompts"
    )
    propagate.add_argument("--start", type=int, metavar="N", help="first frame to write (default: the first)")
    propagate.add_argument("--stop", type=int, metavar="N", help="last frame to write (default: the last)")
    _add_model(propagate)
    propagate.set_defaults(run=_propagate)

    finetune = verbs.add_parser("finetune", help="fine-tune a model on annotated images or stacks")
    _add_finetune(finetune)
    finetune.set_defaults(run=_finetune)

    demo = verbs.add_parser("demo", help="follow nuclei through an embedded z-stack, offline")
    demo.add_argument(
        "--output", type=Path, metavar="DIR", default=Path("napari-sam2-demo"), help="default: %(default)s"
    )
    demo.add_argument("--overwrite", action="store_true", help="replace the files of an earlier demo")
    _add_model(demo)
    demo.set_defaults(run=_demo)

    models = verbs.add_parser("models", help="list, download and verify models")
    models.set_defaults(run=_list_models)
    actions = models.add_subparsers(title="actions", metavar="ACTION")
    actions.add_parser("list", help="list the models there are (default)").set_defaults(run=_list_models)
    download = actions.add_parser("download", help="download a published model and check it")
    download.add_argument("name", metavar="NAME")
    download.set_defaults(run=_download)
    verify = actions.add_parser("verify", help="say what a weight file is and whether it can be used")
    verify.add_argument("path", metavar="PATH")
    verify.set_defaults(run=_verify)
    return parser


def _add_input(parser: argparse.ArgumentParser, name: str, kinds: str) -> None:
    parser.add_argument("image", type=Path, metavar=name, help=kinds)
    parser.add_argument(
        "--prompts", type=Path, required=True, metavar="P", help="JSON prompts, or a label image whose ids are masks"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="OUT", help="label image to write, .tif")
    parser.add_argument("--scores", type=Path, metavar="CSV", help="table of scores to write")
    parser.add_argument(
        "--frame", type=int, default=0, metavar="N", help="frame on which a 2-D label image stands (default: 0)"
    )
    _add_reading(parser)


def _add_finetune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", type=Path, metavar="IMAGES", help="image, stack, or folder of images")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="label image of the same shape, or folder of them")
    parser.add_argument(
        "--base", default="nano", metavar="NAME|PATH", help="model to start from (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="weights to write, .safetensors")
    parser.add_argument(
        "--data",
        choices=("auto", "stack", "images"),
        default="auto",
        help="what the frames are: one series in which an id stays with its object, or images by themselves (default: "
        "a file with frames is a series, a folder holds images)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="default: 300 for nano, 100 for other models")
    encoder = parser.add_mutually_exclusive_group()
    encoder.add_argument(
        "--freeze-encoder",
        action="store_const",
        const="frozen",
        dest="encoder",
        default="auto",
        help="keep the image trunk as it is (default for models other than nano)",
    )
    encoder.add_argument(
        "--train-encoder",
        action="store_const",
        const="trained",
        dest="encoder",
        help="train the image trunk too, slowly (default for nano)",
    )
    parser.add_argument(
        "--validation", type=float, default=0.2, metavar="FRACTION", help="frames held out to test on (default: 0.2)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides everything random (default: 0)")
    _add_reading(parser)
    _add_computing(parser)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    parser.add_argument("--axes", metavar="TYX", help="meaning of the axes, where the file does not say")
    parser.add_argument("--channel", type=int, metavar="N", help="the one channel to take, from 0")
    parser.add_argument(
        "--contrast", type=float, nargs=2, metavar=("LO", "HI"), help="intensities seen as black and white"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME|PATH", help="registry name or weight file (default: nano)")
    _add_computing(parser)


def _add_computing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the model")
    parser.add_argument("--image-size", type=int, metavar="PX", help="working size, a multiple of 32 (default: auto)")


if __name__ == "__main__":
    sys.exit(main())
