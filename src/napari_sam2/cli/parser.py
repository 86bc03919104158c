"""The command line: verbs and their options. What they do is in `cli.verbs`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

_SHOWN = 60


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; the result of parsing has the verb that was asked for in `verb`."""
    from napari_sam2 import __version__

    parser = argparse.ArgumentParser(
        prog="napari-sam2", description="Segment microscopy with SAM 2: prompts in, labels and confidences out."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB", dest="verb")

    segment = verbs.add_parser("segment", help="segment one image")
    _add_input(segment, "IMAGE", "TIFF, NPY, PNG or JPEG")
    _add_model(segment)

    propagate = verbs.add_parser("propagate", help="follow objects through a time-lapse or z-stack")
    _add_input(propagate, "STACK", "TIFF, NPY, or a folder of TIFF, PNG or JPEG frames")
    propagate.add_argument(
        "--direction", choices=("both", "forward", "backward"), default="both", help="default: outward from the prompts"
    )
    propagate.add_argument("--start", type=int, metavar="N", help="first frame to write (default: the first)")
    propagate.add_argument("--stop", type=int, metavar="N", help="last frame to write (default: the last)")
    _add_model(propagate)

    everything = verbs.add_parser("everything", help="find all objects of one image, without prompts")
    _add_everything(everything)

    replay = verbs.add_parser("replay", help="compute the labels of a saved session again")
    replay.add_argument(
        "session", type=_path, metavar="SESSION", help="a .sam2session file, or the folder of a session"
    )
    _add_outputs(replay)
    replay.add_argument("--image", type=_path, metavar="PATH", help="where the image is, if not where it was")
    replay.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    _add_machine(replay)

    finetune = verbs.add_parser("finetune", help="fine-tune a model on annotated images or stacks")
    _add_finetune(finetune)

    demo = verbs.add_parser("demo", help="follow nuclei through an embedded z-stack, offline")
    demo.add_argument(
        "--output", type=_path, metavar="DIR", default=Path("napari-sam2-demo"), help="default: %(default)s"
    )
    demo.add_argument("--overwrite", action="store_true", help="replace the files of an earlier demo")
    _add_model(demo)

    models = verbs.add_parser("models", help="list, download and verify models")
    actions = models.add_subparsers(title="actions", metavar="ACTION", dest="action")
    actions.add_parser("list", help="list the models there are (default)")
    download = actions.add_parser("download", help="download a published model and check it")
    download.add_argument("name", metavar="NAME")
    verify = actions.add_parser("verify", help="say what a weight file is and whether it can be used")
    verify.add_argument("path", type=_name, metavar="PATH")
    return parser


def _path(text: str) -> Path:
    """Return a path that the system takes, whether there is something or not."""
    return Path(_name(text))


def _name(text: str) -> str:
    try:
        os.lstat(text)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # what is missing or forbidden is told where it is used
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise argparse.ArgumentTypeError(f"{shown!r} is no name of a file here: {reason}. Choose another") from error
    return text


def _add_input(parser: argparse.ArgumentParser, name: str, kinds: str) -> None:
    parser.add_argument("image", type=_path, metavar=name, help=kinds)
    parser.add_argument(
        "--prompts",
        type=_path,
        required=True,
        metavar="P",
        help="JSON prompts, or a label image whose ids are masks, or a folder of label images, one a frame",
    )
    _add_outputs(parser)
    parser.add_argument("--frame", type=int, metavar="N", help="frame on which one label image stands (default: 0)")
    _add_split(parser, "; in a stack a piece goes on where it touches one on the next frame")
    _add_reading(parser)


def _add_split(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument(
        "--split",
        action="store_true",
        help=f"of a label image, make each separate piece an object, as for a mask of 0 and 255 of many cells{more}",
    )


def _add_everything(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=_path, metavar="IMAGE", help="TIFF, NPY, PNG or JPEG, of any size")
    _add_outputs(parser)
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument(
        "--seeds",
        type=_path,
        metavar="FILE",
        help="where the objects are: CSV of points with columns y and x, JSON prompts, or a label image of which every "
        "id is one (default: the model finds them)",
    )
    seeds.add_argument(
        "--seed-channel", type=int, metavar="N", help="where the objects are: at the bright spots of this channel"
    )
    parser.add_argument(
        "--seed-spacing", type=float, metavar="PX", help="least distance between two bright spots (default: 10)"
    )
    parser.add_argument(
        "--like",
        type=_path,
        metavar="P",
        help="find what looks like these objects: JSON prompts or a label image; one with negative points alone is "
        "what is not wanted",
    )
    parser.add_argument("--like-image", type=_path, metavar="IMAGE", help="image that these are on (default: the same)")
    _add_split(parser)
    parser.add_argument(
        "--least-score", type=float, metavar="S", help="smallest score, 0 to 1; less finds more (default: 0.6)"
    )
    parser.add_argument(
        "--size-bias",
        type=float,
        metavar="B",
        help="of two masks that overlap, -1 takes rather the smaller one, 1 rather the larger one (default: 0.0)",
    )
    parser.add_argument("--smallest-px", type=int, metavar="PX", help="smallest area of an object (default: 12)")
    parser.add_argument("--largest-px", type=int, metavar="PX", help="largest area of an object (default: no limit)")
    parser.add_argument(
        "--most-overlap", type=float, metavar="F", help="part of an object that better ones may take (default: 0.3)"
    )
    parser.add_argument(
        "--least-likeness", type=float, metavar="L", help="smallest likeness to --like, 0 to 1 (default: 0.5)"
    )
    _add_reading(parser)
    _add_model(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=_path, required=True, metavar="OUT", help="label image to write, .tif or .zarr"
    )
    parser.add_argument("--scores", type=_path, metavar="CSV", help="table of scores to write")


def _add_finetune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", type=_path, metavar="IMAGES", help="image, stack, or folder of images")
    parser.add_argument("labels", type=_path, metavar="LABELS", help="label image of the same shape, or folder of them")
    parser.add_argument(
        "--base", type=_name, default="nano", metavar="NAME|PATH", help="model to start from (default: %(default)s)"
    )
    parser.add_argument("--output", type=_path, required=True, metavar="FILE", help="weights to write, .safetensors")
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
    parser.add_argument(
        "--complete",
        action="store_true",
        help="every object on an annotated frame has a label: a model that finds objects by itself learns from the "
        "background, too",
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
    parser.add_argument(
        "--model",
        type=_name,
        metavar="NAME|PATH",
        help="registry name, weight file or folder of weights (default: nano)",
    )
    _add_computing(parser)


def _add_computing(parser: argparse.ArgumentParser) -> None:
    _add_machine(parser)
    parser.add_argument(
        "--image-size", type=int, metavar="PX", help="working size, a multiple of 32 up to 4096 (default: auto)"
    )


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the model")
