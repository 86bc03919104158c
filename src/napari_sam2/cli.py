"""The verbs of the shell. Each is the same function that Python users call; errors are sentences."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.errors import FrameError, NapariSam2Error, SmallObjectWarning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from napari_sam2.frames import FrameStack
    from napari_sam2.image_files import ImageFile
    from napari_sam2.predictor import Predictor
    from napari_sam2.prompt_files import PromptFile

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status: 0, 1 after an error, 2 for a wrong command line, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="napari-sam2: %(message)s")
    with warnings.catch_warnings():
        warnings.simplefilter("always", SmallObjectWarning)
        warnings.showwarning = _show_warning
        try:
            status: int = arguments.run(arguments)
        except NapariSam2Error as error:
            _say(str(error), sys.stderr)
            return EXIT_ERROR
        except KeyboardInterrupt:
            _say("Stopped. Finished frames are kept in the .partial files beside the output.", sys.stderr)
            return EXIT_INTERRUPTED
    return status


# Verbs -----------------------------------------------------------------------------------------------------------------


def _segment(arguments: argparse.Namespace) -> int:
    """Segment one image."""
    from napari_sam2.api import segment
    from napari_sam2.atomic_files import check_replaceable
    from napari_sam2.batch import write_table
    from napari_sam2.label_files import LabelWriter
    from napari_sam2.results import label_dtype

    image = _open(arguments)
    if image.has_frames:
        raise FrameError(f"{image.path} is a stack of {image.array.shape[0]} frames. Use napari-sam2 propagate.")
    spoken = _read_prompts(arguments)
    if arguments.scores is not None:
        check_replaceable(arguments.scores, overwrite=arguments.overwrite)
    writer = LabelWriter(
        arguments.output,
        shape=image.label_shape,
        dtype=label_dtype(spoken.prompts.object_ids),
        source=image,
        overwrite=arguments.overwrite,
    )
    with writer:
        result = segment(
            image.array,
            spoken.prompts.prompts,
            model=_predictor(arguments, spoken),
            contrast_limits=_contrast(arguments, spoken),
            channel_axis=image.channel_axis,
            rgb=image.axes.endswith("S"),
        )
        writer.write(0, result.labels)
    if arguments.scores is not None:
        write_table(arguments.scores, result.scores, overwrite=arguments.overwrite)
    found = int((result.features["n_frames"] > 0).sum())
    _say(f"{found} of {len(result.features)} objects found by {result.model}: {arguments.output}")
    return 0


def _propagate(arguments: argparse.Namespace) -> int:
    """Follow objects through a stack."""
    from napari_sam2.api import warn_of_small_objects
    from napari_sam2.atomic_files import check_replaceable
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
    frames: FrameStack = FrameStack(
        image.array,
        contrast_limits=_contrast(arguments, spoken),
        channel_axis=image.channel_axis,
        rgb=image.axes.endswith("S"),
    )
    prompts.check(len(frames), frames.height, frames.width)
    plan = plan_propagation(
        prompts, len(frames), direction=arguments.direction, start=arguments.start, stop=arguments.stop
    )
    if arguments.scores is not None:
        check_replaceable(arguments.scores, overwrite=arguments.overwrite)
    predictor = _predictor(arguments, spoken)
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


def _demo(arguments: argparse.Namespace) -> int:
    """Show the whole way on embedded data."""
    from napari_sam2.demo import FILES, PROMPTED_SLICE, run_demo

    report = run_demo(arguments.output, _predictor(arguments, None), overwrite=arguments.overwrite)
    table = report.features.rename(columns={"index": "nucleus", "n_frames": "slices"})
    columns = ["nucleus", "slices", "mean_confidence", "worst_confidence", "worst_frame", "mean_area_px", "dice"]
    _say(table[columns].round(2).to_string(index=False))
    _say(
        f"\nMean Dice against the annotation, away from the prompted slice {PROMPTED_SLICE}: {report.mean_dice:.2f}"
        f"\nFiles in {report.folder}: {', '.join(FILES)}"
    )
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

        def show(done: int, total: int | None) -> None:
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
    return 0


# What verbs share --------------------------------------------------------------------------------------------------------


def _open(arguments: argparse.Namespace) -> ImageFile:
    from napari_sam2.image_files import read_image

    return read_image(arguments.image, axes=arguments.axes, channel=arguments.channel)


def _read_prompts(arguments: argparse.Namespace) -> PromptFile:
    from napari_sam2.prompt_files import read_prompts

    return read_prompts(arguments.prompts, frame=arguments.frame)


def _contrast(arguments: argparse.Namespace, spoken: PromptFile) -> object:
    """The mapping asked for, else the one under which the prompts were given."""
    return spoken.contrast_limits if arguments.contrast is None else tuple(arguments.contrast)


def _predictor(arguments: argparse.Namespace, spoken: PromptFile | None) -> Predictor:
    """Load the model asked for, else the one for which the prompts were given."""
    from napari_sam2.sam2_predictor import load_predictor, use_threads

    if arguments.threads is not None:
        use_threads(arguments.threads)
    name = arguments.model or (spoken and spoken.model_name) or "nano"
    size = arguments.image_size or (spoken and spoken.image_size) or "auto"
    predictor = load_predictor(name, device=arguments.device, image_size=size)
    if spoken is not None and spoken.model_sha256 not in (None, predictor.sha256) and arguments.model is None:
        _say(
            f"The prompts were given for other weights of {name} ({spoken.model_sha256}); results may differ.",
            sys.stderr,
        )
    return predictor


def _say(text: str, stream: TextIO | None = None) -> None:
    stream = stream or sys.stdout
    stream.write(f"napari-sam2: {text}\n" if stream is sys.stderr else f"{text}\n")


def _show_warning(message: Warning | str, *_: object) -> None:
    _say(str(message), sys.stderr)


# The command line --------------------------------------------------------------------------------------------------------


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

    demo = verbs.add_parser("demo", help="follow nuclei through an embedded z-stack, offline")
    demo.add_argument("--output", type=Path, metavar="DIR", default=Path("napari-sam2-demo"), help="default: %(default)s")
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
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    parser.add_argument("--axes", metavar="TYX", help="meaning of the axes, where the file does not say")
    parser.add_argument("--channel", type=int, metavar="N", help="the one channel to take, from 0")
    parser.add_argument(
        "--frame", type=int, default=0, metavar="N", help="frame on which a 2-D label image stands (default: 0)"
    )
    parser.add_argument(
        "--contrast", type=float, nargs=2, metavar=("LO", "HI"), help="intensities seen as black and white"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME|PATH", help="registry name or weight file (default: nano)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the model")
    parser.add_argument("--image-size", type=int, metavar="PX", help="working size, a multiple of 32 (default: auto)")


if __name__ == "__main__":
    sys.exit(main())
