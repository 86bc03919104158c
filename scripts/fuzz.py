"""Damaged and hostile input at every door of the product: only errors of ours may leave it, in time and in memory.

    python scripts/fuzz.py [--inputs 5000] [--seed 0] [--doors tiff npy ...] [--keep FOLDER]

Every door gets valid files with a few changes. Each door is tried in a process of its own, whose memory is limited; an
input that takes too long ends that process, and the next begins behind it. Prints a table, and exits with the number
of inputs that ended in another way than with a result or a typed error, or changed a file that they were given.

raw: another exception than one of ours. hang: longer than the limit. memory: more than the limit above what a process
of this door takes for valid input. harmed: a file beside the input was changed, removed or added.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import resource
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

os.environ.update(OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS="1")

import numpy as np
import tifffile
from PIL import Image

LIMIT_S = 20.0
LIMIT_MB = 1500
ADDRESS_SPACE_MB = 12_000

NUMBERS = (b"0", b"-1", b"1", b"3", b"65536", b"4294967296", b"9" * 20, b"9" * 400, b"1e400", b"NaN", b"-0.5")
TOKENS = (
    b"[" * 5000,
    b"{" * 50,
    b'""',
    b"null",
    b"true",
    b'"\xff"',
    b"\x00",
    b'{"a":1,"a":2}',
    b"1" * 5000,
    b"\\ud800",
)
OUTCOMES = ("result", "typed", "raw", "hang", "memory", "harmed")


# Doors ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Door:
    """A way into the product.

    Attributes
    ----------
    valid : callable
        Fills an empty folder with a valid input, and returns the files in it that may be changed.
    enter : callable
        Uses what is in the folder as a user would.
    share : int
        How many of the inputs it gets, relative to the other doors.
    """

    valid: Callable[[Path, random.Random], list[Path]]
    enter: Callable[[Path], object]
    share: int = 1


def _stack() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, (4, 24, 30), dtype=np.uint16)


def _labels() -> np.ndarray:
    labels = np.zeros((24, 30), np.uint16)
    labels[4:12, 5:14], labels[14:20, 16:25] = 1, 2
    return labels


def _valid_tiff(folder: Path, chance: random.Random) -> list[Path]:
    options: list[dict[str, object]] = [
        {"metadata": {"axes": "TYX"}},
        {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um", "spacing": 2.0}, "resolution": (4, 4)},
        {"ome": True, "metadata": {"axes": "TYX", "PhysicalSizeX": 0.5, "TimeIncrement": 2.0}},
        {"compression": "zlib", "metadata": {"axes": "TYX"}},
        {"compression": "zlib", "predictor": True, "tile": (16, 16), "bigtiff": True},
    ]
    tifffile.imwrite(folder / "a.tif", _stack(), **chance.choice(options))
    return [folder / "a.tif"]


def _valid_npy(folder: Path, chance: random.Random) -> list[Path]:
    np.save(folder / "a.npy", np.asfortranarray(_stack()) if chance.random() < 0.3 else _stack())
    return [folder / "a.npy"]


def _valid_picture(folder: Path, chance: random.Random) -> list[Path]:
    suffix, mode = chance.choice([(".png", "L"), (".png", "P"), (".png", "RGB"), (".jpg", "RGB"), (".png", "I;16")])
    pixels = _labels().astype(np.uint8)
    picture = Image.fromarray(_labels()) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    picture.save(folder / f"a{suffix}")
    return [folder / f"a{suffix}"]


def _valid_folder(folder: Path, chance: random.Random) -> list[Path]:
    (folder / "frames").mkdir()
    is_tiff = chance.random() < 0.5
    for number in range(3):
        if is_tiff:
            tifffile.imwrite(folder / "frames" / f"t{number}.tif", _stack()[number])
        else:
            Image.fromarray(_labels().astype(np.uint8)).save(folder / "frames" / f"t{number}.png")
    return sorted((folder / "frames").iterdir())


def _prompts() -> dict[str, object]:
    return {
        "format": "napari-sam2 prompts",
        "version": 1,
        "model": {"name": "nano", "sha256": "f" * 64},
        "contrast_limits": [0, 4000],
        "image_size": 256,
        "prompts": [
            {"kind": "point", "object_id": 1, "frame": 0, "y": 8.0, "x": 9.0, "positive": True},
            {"kind": "box", "object_id": 2, "frame": 1, "y_min": 14, "x_min": 16, "y_max": 20, "x_max": 25},
            {"kind": "mask", "object_id": 3, "frame": 0, "shape": [24, 30], "runs": [31, 5, 684]},
        ],
    }


def _valid_prompts(folder: Path, chance: random.Random) -> list[Path]:
    (folder / "p.json").write_text(json.dumps(_prompts()))
    return [folder / "p.json"]


def _valid_label_prompts(folder: Path, chance: random.Random) -> list[Path]:
    labels = _labels()
    match chance.randrange(4):
        case 0:
            path = folder / "p.tif"
            tifffile.imwrite(path, labels.astype(chance.choice([np.uint8, np.float32, np.uint32])))
        case 1:
            path = folder / "p.png"
            Image.fromarray(labels.astype(np.uint8)).convert("P").save(path)
        case 2:
            path = folder / "p.npy"
            np.save(path, labels * chance.choice([1, 255]))
        case _:
            path = folder / "p.tif"
            tifffile.imwrite(path, np.stack([labels] * 3), compression="zlib")
    return [path]


def _session_folder(folder: Path) -> Path:
    from napari_sam2.prompts import PointPrompt, PromptSet
    from napari_sam2.results import ObjectMask
    from napari_sam2.sessions.document import Session
    from napari_sam2.sessions.images import ImageUsed
    from napari_sam2.sessions.steps import HandEdit, MaskSource, ModelUsed, PackedPlane
    from napari_sam2.sessions.storage import write_committed, write_document, write_masks

    prompts = PromptSet([PointPrompt(1, 0, 8, 9), PointPrompt(2, 1, 16, 20)])
    source = MaskSource(1, prompts.prompts[:1], ModelUsed("nano", "f" * 64, 256), (0, 1, 2))
    session = Session(
        image=ImageUsed(name="i", shape=(3, 24, 30), dtype="uint16"),
        prompts=prompts,
        sources=(source,),
        steps=(HandEdit({0: PackedPlane.pack(_labels())}),),
        names={1: "one"},
    )
    write_document(folder, session)
    write_masks(folder, 0, [ObjectMask(1, (2, 3), np.ones((4, 5), np.float32), 0.9, 0.8, is_given=False)])
    write_committed(folder, 1, _labels())
    return folder


def _valid_session_folder(folder: Path, chance: random.Random) -> list[Path]:
    (folder / "work").mkdir()
    _session_folder(folder / "work")
    document = folder / "work" / "session.json"
    others = [path for path in (folder / "work").rglob("*") if path.is_file() and path != document]
    return [document] if chance.random() < 0.6 else others


def _valid_session_file(folder: Path, chance: random.Random) -> list[Path]:
    with tempfile.TemporaryDirectory() as made, zipfile.ZipFile(folder / "work.sam2session", "w") as archive:
        work = _session_folder(Path(made))
        for path in sorted(work.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(work))
    return [folder / "work.sam2session"]


@cache
def _safetensors_weights() -> bytes:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from sam2_model.weights.loading import save_model
    from tests.sam2_model.toy import toy_model

    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "w.safetensors"
        save_model(path, toy_model(), name="toy")
        return path.read_bytes()


@cache
def _torch_weights() -> bytes:
    import torch

    from sam2_model import load_model

    made = io.BytesIO()
    torch.save({"model": load_model("nano", device="cpu").network.state_dict()}, made)
    return made.getvalue()


def _valid_weights(folder: Path, chance: random.Random) -> list[Path]:
    (folder / "w.safetensors").write_bytes(_safetensors_weights())
    return [folder / "w.safetensors"]


def _valid_torch_weights(folder: Path, chance: random.Random) -> list[Path]:
    (folder / "w.pt").write_bytes(_torch_weights())
    return [folder / "w.pt"]


def _valid_command(folder: Path, chance: random.Random) -> list[Path]:
    np.save(folder / "i.npy", _stack()[0])
    (folder / "p.json").write_text(json.dumps(_prompts() | {"prompts": [_prompts()["prompts"][0]]}))  # type: ignore[index]
    odd = ["0", "-1", "7", "1e9", "nan", "9" * 30, "é\udcff", "a\x00b", "n" * 300, "", ".", "..", "/", "YX", "YXQ"]
    options = ["--threads", "--image-size", "--channel", "--frame", "--axes", "--device"]
    options += ["--output", "--scores", "--prompts"]
    given = {"--prompts": "p.json", "--output": "o.tif", "--image-size": "64"}
    for option in chance.sample(options, chance.randint(1, 3)):
        given[option] = chance.choice(odd)
    words = ["segment", "i.npy", *(part for pair in given.items() for part in pair)]
    (folder / "command.json").write_text(json.dumps(words))
    return []


def _read(path: Path, **options: object) -> None:
    from napari_sam2.files.images.reading import read_image

    frames = read_image(path, **options).frames()  # type: ignore[arg-type]
    for frame in range(min(len(frames), 4)):
        frames[frame]


def _read_only_file(folder: Path) -> None:
    (path,) = (one for one in folder.iterdir() if not one.name.startswith("command"))
    _read(path)


def _read_prompts(folder: Path) -> None:
    from napari_sam2.files.prompts import read_prompts
    from napari_sam2.prompt_checks import check_prompts

    (path,) = folder.iterdir()
    check_prompts(read_prompts(path).prompts, 3, 24, 30)


def _read_session(folder: Path) -> None:
    from napari_sam2.sessions.storage import iter_committed, iter_masks, read_session

    (path,) = folder.iterdir()
    read_session(path)
    for _ in iter_masks(path):
        pass
    for _ in iter_committed(path):
        pass


def _verify(folder: Path) -> None:
    from napari_sam2.inference.models import verify_model
    from sam2_model.weights.loading import load_model

    (path,) = folder.iterdir()
    verify_model(path)
    load_model(path, device="cpu")


def _run_command(folder: Path) -> None:
    from napari_sam2.cli.verbs import main

    os.chdir(folder)
    words = json.loads((folder / "command.json").read_text())
    # Bytes underneath, as a terminal has them: what cannot be printed shows.
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    # argparse ends a wrong command line with SystemExit.
    with redirect_stdout(printed), redirect_stderr(printed), suppress(SystemExit):
        main(words)


DOORS = {
    "tiff": Door(_valid_tiff, _read_only_file, 5),
    "npy": Door(_valid_npy, _read_only_file, 3),
    "picture": Door(_valid_picture, _read_only_file, 3),
    "folder": Door(_valid_folder, _read_only_file, 3),
    "prompts": Door(_valid_prompts, _read_prompts, 5),
    "label prompts": Door(_valid_label_prompts, _read_prompts, 3),
    "session folder": Door(_valid_session_folder, _read_session, 5),
    "session file": Door(_valid_session_file, _read_session, 3),
    "safetensors": Door(_valid_weights, _verify, 4),
    "torch file": Door(_valid_torch_weights, _verify, 2),
    "command": Door(_valid_command, _run_command, 2),
}


# Changes -------------------------------------------------------------------------------------------------------------


def change(content: bytes, chance: random.Random) -> bytes:
    """Change a file in one to four places."""
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if document is not None and chance.random() < 0.6:
        for _ in range(chance.randint(1, 2)):
            document = _changed_json(document, chance)
        return json.dumps(document).encode()
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        _change_bytes(data, chance)
    return bytes(data)


def _changed_json(value: object, chance: random.Random) -> object:
    odd = [None, True, -1, 0, 10**400, 1e308, "", "x" * 300, [], {}, [[[]]], 2**63, 9_999_999, "\ud800", [0] * 1000]
    odd = [*odd, "../../../etc/passwd", -0.5, 10**4000]
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        match chance.randrange(8):
            case 0:
                return {name: one for name, one in value.items() if name != key}
            case 1:
                return value | {str(chance.choice(odd))[:50]: chance.choice(odd)}
            case _:
                return value | {key: _changed_json(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        index = chance.randrange(len(value))
        match chance.randrange(8):
            case 0:
                return value[:index] + value[index + 1 :]
            case 1:
                return value + value[index:] * 3
            case _:
                return [*value[:index], _changed_json(value[index], chance), *value[index + 1 :]]
    return chance.choice(odd)


def _change_bytes(data: bytearray, chance: random.Random) -> None:
    reach = min(len(data), chance.choice([64, 700, 10**9, 10**9]))
    place = chance.randrange(reach) if reach else 0
    match chance.randrange(8):
        case 0:
            data[place : place + 1] = bytes([chance.randrange(256)])
        case 1:
            size = chance.choice([1, 2, 4, 8])
            number = chance.choice([0, 1, 2, 2**15, 2 ** (8 * size - 1), 2 ** (8 * size) - 1])
            data[place : place + size] = number.to_bytes(size + 1, "little")[:size]
        case 2:
            found = [match.span() for match in re.finditer(rb"\d+", bytes(data[:4000]))]
            if found:
                first, last = chance.choice(found)
                data[first:last] = chance.choice(NUMBERS)
        case 3:
            del data[place:]
        case 4:
            del data[place : place + chance.randint(1, 60)]
        case 5:
            data[place:place] = chance.randbytes(chance.randint(1, 60))
        case 6:
            data[place:place] = chance.choice(TOKENS)
        case _:
            data[place:place] = data[place : place + chance.randint(1, 300)]


# Processes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """How one input ended."""

    number: int
    outcome: str
    message: str = ""


def try_all(name: str, numbers: range, seed: int, pipe: Connection) -> None:
    """Try inputs at a door, and send a report of each; in a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_MB << 20,) * 2)
    warnings.simplefilter("ignore")
    import logging

    logging.disable(logging.CRITICAL)
    import torch

    torch.set_num_threads(1)
    door = DOORS[name]
    _try(door, seed, None)  # what valid input takes
    used = _peak_mb()
    for number in numbers:
        outcome, message = _try(door, seed, number)
        taken, used = _peak_mb() - used, _peak_mb()
        if taken > LIMIT_MB and outcome in ("result", "typed"):
            outcome, message = "memory", f"{taken:.0f} MB; {message}"
        pipe.send(Report(number, outcome, message))


def _try(door: Door, seed: int, number: int | None) -> tuple[str, str]:
    from napari_sam2.errors import NapariSam2Error
    from sam2_model.errors import Sam2Error

    start = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as made:
        folder = make_input(door, seed, number, Path(made))
        before = _contents(folder)
        outcome, message = "result", ""
        try:
            door.enter(folder)
        except (NapariSam2Error, Sam2Error) as error:
            outcome, message = "typed", str(error)
        except BaseException as error:  # noqa: BLE001  whatever leaves a door is what is looked for
            outcome, message = "raw", f"{type(error).__name__}: {error}"
        finally:
            os.chdir(start)
        after = _contents(folder)
        if any(after.get(path) != content for path, content in before.items()):
            outcome = "harmed"
        return outcome, message[:300]


def make_input(door: Door, seed: int, number: int | None, folder: Path) -> Path:
    """Make an input in a folder; None is a valid one."""
    chance = random.Random(f"{seed} {number}")
    files = door.valid(folder, chance)
    if number is not None and files:
        path = chance.choice(files)
        path.write_bytes(change(path.read_bytes(), chance))
    return folder


def _contents(folder: Path) -> dict[Path, str]:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def reports(name: str, count: int, seed: int) -> Iterator[Report]:
    """Try a number of inputs at a door, in as many processes as it takes."""
    context, begin = multiprocessing.get_context("spawn"), 0
    while begin < count:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=try_all, args=(name, range(begin, count), seed, sender), daemon=True)
        process.start()
        sender.close()
        limit_s = 120.0  # the first takes its imports along
        while begin < count:
            try:
                if not receiver.poll(limit_s):
                    yield Report(begin, "hang", f"more than {limit_s:.0f} s")
                    begin += 1
                    break
                report = receiver.recv()
            except EOFError:
                yield Report(begin, "raw", "the process died")
                begin += 1
                break
            yield report
            begin, limit_s = report.number + 1, LIMIT_S
        process.kill()
        process.join()


def main(argv: Sequence[str] | None = None) -> int:
    """Try all doors, print a table, and return how many inputs ended badly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=5000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--doors", nargs="+", choices=DOORS, default=list(DOORS))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep inputs that ended badly there")
    arguments = parser.parse_args(argv)
    shares = sum(DOORS[name].share for name in arguments.doors)
    total: Counter[str] = Counter()
    print(f"{'':14}" + "".join(f"{outcome:>8}" for outcome in OUTCOMES))
    for name in arguments.doors:
        count: Counter[str] = Counter()
        for report in reports(name, -(-arguments.inputs * DOORS[name].share // shares), arguments.seed):
            count[report.outcome] += 1
            if report.outcome not in ("result", "typed"):
                print(f"  {name} {report.number}: {report.outcome} {report.message}", flush=True)
                if arguments.keep is not None:
                    kept = arguments.keep / f"{name.replace(' ', '-')}-{report.number}"
                    kept.mkdir(parents=True, exist_ok=True)
                    make_input(DOORS[name], arguments.seed, report.number, kept)
        print(f"{name:14}" + "".join(f"{count[outcome]:8}" for outcome in OUTCOMES), flush=True)
        total += count
    print(f"{'all':14}" + "".join(f"{total[outcome]:8}" for outcome in OUTCOMES))
    return total.total() - total["result"] - total["typed"]


if __name__ == "__main__":
    sys.exit(min(main(), 99))
