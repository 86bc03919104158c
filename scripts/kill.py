"""Kill the product in the middle of its work, again and again, and look for what was lost.

    python scripts/kill.py [--kills 100] [--seed 0]

A third of the kills each: a propagation that writes labels and scores, a session that is saved over an older one, and
the autosave of a commit. The process gets SIGKILL, SIGTERM or (propagation) SIGINT at a random moment. After every
kill it is checked that no input has changed, that the final name holds the old or the new content or nothing, that
what was finished can be read and is right, and that the same work can be done again at once, without touching what
the killed process left. Prints what it found, and exits with the number of kills that lost anything.

Needs fork: Linux or macOS. The model is the one that the tests use: it draws what it is told.
"""

import argparse
import io
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

os.environ.update(OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS="1", QT_QPA_PLATFORM="offscreen")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import tifffile

from napari_sam2.cli import verbs
from napari_sam2.inference import sam2
from napari_sam2.saving.autosave import Autosaver, left_over
from napari_sam2.sessions.document import Session
from napari_sam2.sessions.images import ImageUsed
from napari_sam2.sessions.storage import iter_committed, read_session, write_session
from tests.napari_sam2.bench import Bench
from tests.napari_sam2.fake_predictor import FakePredictor

FRAMES = 40


def killed(work: Callable[[], object], after_s: float, number: int) -> bool:
    """Run something in a process of its own and end that after a time; whether it was still at work."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(after_s)
    at_work = os.waitpid(child, os.WNOHANG)[0] == 0
    if at_work:
        os.kill(child, number)
        os.waitpid(child, 0)
    return at_work


def propagate(*options: str) -> int:
    """Follow the objects in the present folder, in silence."""
    sam2.load_predictor = lambda *_, **__: FakePredictor(  # type: ignore[assignment]
        before_follow=lambda _: time.sleep(0.002)
    )
    command = "propagate stack.npy --prompts prompts.tif --output labels.tif --scores scores.csv"
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return verbs.main([*command.split(), *options])


def kill_a_propagation(chance: random.Random, duration_s: float, expected: np.ndarray) -> tuple[bool, str]:
    """Kill one; say whether it was at work, and what was lost."""
    with tempfile.TemporaryDirectory() as made:
        os.chdir(made)
        inputs = write_inputs()
        number = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        at_work = killed(propagate, chance.uniform(0, duration_s * 1.1), number)
        if {name: Path(name).read_bytes() for name in inputs} != inputs:
            return at_work, "an input has changed"
        if Path("labels.tif").exists() and not np.array_equal(tifffile.imread("labels.tif"), expected):
            return at_work, "the final name holds something else"
        left = {path: path.read_bytes() for path in Path().glob("*.partial*")}
        useful = {path for path in left if path.suffix == ".tif" and _frames(path)}
        for path in useful:
            labels = tifffile.imread(path)
            if any(not np.array_equal(labels[frame], expected[frame]) for frame in _frames(path)):
                return at_work, f"{path} holds wrong frames"
        if propagate("--overwrite") != 0 or not np.array_equal(tifffile.imread("labels.tif"), expected):
            return at_work, "it could not be done again"
        if any(not path.exists() or path.read_bytes() != left[path] for path in useful):
            return at_work, "finished frames are gone"
        strays = set(Path().glob("labels.tif.partial*")) - useful
        return at_work, f"strays: {strays}" if strays else ""


def _frames(path: Path) -> list[int]:
    try:
        return [frame for frame, plane in enumerate(tifffile.imread(path)) if plane.any()]
    except (tifffile.TiffFileError, ValueError):
        return []


def write_inputs() -> dict[str, bytes]:
    """Write a stack and prompts into the present folder, and return what is in them."""
    np.save("stack.npy", np.random.default_rng(0).integers(0, 999, (FRAMES, 64, 64), dtype=np.uint16))
    labels = np.zeros((64, 64), np.uint8)
    labels[5:20, 5:20], labels[30:50, 30:60] = 1, 2
    tifffile.imwrite("prompts.tif", labels)
    return {name: Path(name).read_bytes() for name in ("stack.npy", "prompts.tif")}


def kill_a_save(chance: random.Random, duration_s: float) -> tuple[bool, str]:
    """Kill the saving of a session over another one."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "work.sam2session"
        save(path, "old")
        number = chance.choice([signal.SIGKILL, signal.SIGTERM])
        at_work = killed(lambda: save(path, "new"), chance.uniform(0, duration_s * 1.1), number)
        planes = dict(iter_committed(path))
        if read_session(path).model not in ("old", "new") or len(planes) != FRAMES:
            return at_work, "the session is incomplete"
        if any(not np.array_equal(plane, PLANES[frame]) for frame, plane in planes.items()):
            return at_work, "labels have changed"
        save(path, "next")
        strays = [stray.name for stray in path.parent.iterdir() if stray != path]
        return at_work, f"strays: {strays}" if strays else ""


PLANES = {frame: np.random.default_rng(frame).integers(0, 9, (200, 200), dtype=np.uint16) for frame in range(FRAMES)}


def save(path: Path, model: str) -> None:
    """Save a session that says the name of a model."""
    session = Session(image=ImageUsed(name="i", shape=(FRAMES, 200, 200), dtype="uint8"), model=model)
    write_session(path, session, committed=PLANES, overwrite=True)


def kill_an_autosave(chance: random.Random, duration_s: float) -> tuple[bool, str]:
    """Kill the writing of a commit, and of the undoing of it."""
    with tempfile.TemporaryDirectory() as made:
        root, ready, undo = Path(made), Path(made) / "ready", chance.random() < 0.5

        def work() -> None:
            bench = Bench(FakePredictor())
            saver = Autosaver(bench.work, root / "work", take=bench.snapshot, post=bench.posted.put, interval_s=0.001)
            bench.click(2, 10, 8)
            bench.propagate()
            bench.settle()
            saver.wait_until_written()
            if undo:
                bench.commit()
                bench.settle()
                saver.wait_until_written()
            ready.touch()
            bench.undo() if undo else bench.commit()
            bench.settle()
            saver.wait_until_written()
            os._exit(0)

        child = os.fork()
        if child == 0:
            try:
                work()
            finally:
                os._exit(1)
        while not ready.exists():
            if os.waitpid(child, os.WNOHANG)[0]:
                raise SystemExit("The work to be killed has failed before it began.")
            time.sleep(0.0005)
        time.sleep(chance.uniform(0, duration_s))
        at_work = os.waitpid(child, os.WNOHANG)[0] == 0
        if at_work:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        (found,) = left_over(root / "work")
        bench = Bench(FakePredictor())
        try:
            bench.open_session(found.folder)
            seen = (bench.committed() > 0) | (bench.current() > 0)
            lost = int((~seen.any((1, 2))).sum())
            return at_work, f"{lost} frames are empty" if lost else ""
        finally:
            bench.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, look, and return how many kills lost anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    chance, home = random.Random(arguments.seed), Path.cwd()
    with tempfile.TemporaryDirectory() as made:
        os.chdir(made)
        write_inputs()
        propagate()  # with what is imported on the way
        begun = time.perf_counter()
        propagate("--overwrite")
        propagation_s, expected = time.perf_counter() - begun, tifffile.imread("labels.tif")
        save(Path("a.sam2session"), "old")
        begun = time.perf_counter()
        save(Path("a.sam2session"), "new")
        save_s = time.perf_counter() - begun
        os.chdir(home)
    ways: dict[str, Callable[[], tuple[bool, str]]] = {
        "propagation": lambda: kill_a_propagation(chance, propagation_s, expected),
        "save": lambda: kill_a_save(chance, save_s),
        "autosave": lambda: kill_an_autosave(chance, 0.06),
    }
    bad = 0
    for number, (name, kill) in enumerate(ways.items()):
        count: Counter[str] = Counter()
        for _ in range(len(range(number, arguments.kills, len(ways)))):
            at_work, lost = kill()
            os.chdir(home)
            count["at work" if at_work else "done before"] += 1
            if lost:
                bad += 1
                print(f"  {name}: {lost}", flush=True)
        print(f"{name}: {count.total()} kills, {count['at work']} of them at work", flush=True)
    print(f"{bad} of {arguments.kills} kills lost something")
    return bad


if __name__ == "__main__":
    sys.exit(main())
