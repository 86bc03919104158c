"""How long the viewer stands still while a model works: gaps between the beats of a timer on the viewer's thread.

    python benchmarks/viewer_stall.py [--threads N] [--objects 8]

Needs a display: on a machine without one, run it under `xvfb-run -a -s "-screen 0 1600x1200x24"`, where the canvas is
drawn by the processor, which makes every number worse. The timer beats every 5 ms; whatever keeps the viewer from
serving it would keep it from serving the mouse.

Every stack is generated and followed twice: left alone, and while somebody steps through the frames without a break,
which is to be compared with stepping alone.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

import napari
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import QEventLoop, Qt, QTimer
from scipy import ndimage

from napari_sam2.inference.machine import measure_machine, use_cores
from napari_sam2.inference.predictor import Predictor
from napari_sam2.widgets.segment_widget import SegmentWidget
from sam2_model.imaginary.scenes import SceneOptions, make_scene
from tests.napari_sam2.bench import WorkbenchDriver

BEAT_MS = 5
STEP_MS = 40
"""Time between two frames when the user steps through them."""
QUIET_S, SETTLE_S = 4.0, 2.0
LONG_S = 0.1
SEED = 20
STACKS = ((256, 60), (512, 30))
"""Side in pixels and number of frames."""


class Heartbeat:
    """A timer on the viewer's thread that notes when it is served."""

    def __init__(self) -> None:
        self.beats: list[float] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(BEAT_MS)
        self._timer.timeout.connect(self._beat)

    def _beat(self) -> None:
        self.beats.append(time.perf_counter())

    def during(
        self, begin: Callable[[], object], is_over: Callable[[], bool], step: Callable[[], object] = int
    ) -> NDArray[np.float64]:
        """Begin something and let the viewer live until it is over; return the gaps between beats in seconds."""
        self.beats = [time.perf_counter()]
        loop = QEventLoop()
        look = QTimer()
        look.timeout.connect(lambda: loop.quit() if is_over() else None)
        look.start(2 * BEAT_MS)
        stepper = QTimer()
        stepper.timeout.connect(step)
        stepper.start(STEP_MS)
        self._timer.start()
        QTimer.singleShot(0, begin)
        loop.exec()
        for timer in (self._timer, look, stepper):
            timer.stop()
        return np.diff(self.beats)


@dataclass(frozen=True)
class Stack:
    """Frames, and where to click: frame, y, x."""

    image: NDArray[np.uint16]
    clicks: list[tuple[int, float, float]]


def stepping(viewer: napari.Viewer) -> Callable[[], None]:
    """Return a function that goes one frame on, and back at the ends."""
    count = int(viewer.dims.nsteps[0])
    frames = itertools.cycle([*range(count), *range(count - 2, 0, -1)])
    return lambda: viewer.dims.set_current_step(0, next(frames))


def after(seconds: float) -> Callable[[], bool]:
    """Return a function that says whether so much time has passed since."""
    until = time.perf_counter() + seconds
    return lambda: time.perf_counter() > until


def load(threads: int, source: str | Path, *, device: str = "auto") -> Predictor:
    """Load a model as the plugin does, but for the number of threads."""
    use_cores()
    from napari_sam2.inference.sam2 import load_predictor, use_threads

    use_threads(threads)
    return load_predictor(source, device=device)


def make_stack(side: int, num_frames: int, num_objects: int) -> Stack:
    """Generate a time-lapse; the clicks are in the middle of its largest objects, halfway."""
    rng = np.random.default_rng(SEED)
    options = SceneOptions(
        side, num_frames, pace=0.3, sections=0, radius_px=(side / 40, side / 16), families=("nuclei",)
    )
    scene = make_scene(rng, options)
    frame = num_frames // 2
    clicks = []
    sizes = np.bincount(scene.labels[frame].ravel())
    sizes[0] = 0
    for label in np.argsort(-sizes)[:num_objects]:
        depth = ndimage.distance_transform_edt(np.pad(scene.labels[frame] == label, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        clicks.append((frame, float(y), float(x)))
    return Stack(np.round(scene.frames * 4000).astype(np.uint16), clicks)


def open_viewer(stack: Stack) -> napari.Viewer:
    """Open a viewer with a stack."""
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.window.resize(1240, 800)
    viewer.add_image(stack.image, name="scene")
    viewer.dims.set_current_step(0, stack.clicks[0][0])
    return viewer


def row(what: str, gaps: NDArray[np.float64], frames: int | None = None) -> dict[str, object]:
    """Sum up gaps, in milliseconds."""
    half, most, nearly_all = np.percentile(gaps, (50, 95, 99)) * 1000
    return {
        "while": what,
        "seconds": gaps.sum(),
        "50 %": half,
        "95 %": most,
        "99 %": nearly_all,
        "longest": gaps.max() * 1000,
        f"% of time in gaps > {1000 * LONG_S:.0f} ms": 100 * gaps[gaps > LONG_S].sum() / gaps.sum(),
        "frames/s": np.nan if frames is None else frames / gaps.sum(),
    }


def measure(stack: Stack, threads: int, heart: Heartbeat) -> Iterator[dict[str, object]]:
    """Measure everything on one stack."""
    side, count = f"{stack.image.shape[1]} px", len(stack.clicks)
    name = f"{side}: stepping, without the plugin"
    viewer = open_viewer(stack)
    heart.during(int, after(SETTLE_S))
    yield row(name, heart.during(int, after(QUIET_S), stepping(viewer)))
    viewer.close()
    for is_stepping in (False, True):
        viewer = open_viewer(stack)
        widget = SegmentWidget(viewer, load_model=partial(load, threads))
        viewer.window.add_dock_widget(widget, name="SAM 2 Segment")
        panel = WorkbenchDriver(widget.bench)
        heart.during(int, after(SETTLE_S))
        step = stepping(viewer) if is_stepping else int
        name = f"{side}: stepping" if is_stepping else f"{side}: idle"
        yield row(name, heart.during(int, after(QUIET_S), step))
        panel.show(stack.clicks[0][0])
        first = f"{side}: first click{'' if 'torch' in sys.modules else ', loading torch'}"
        gaps = [
            heart.during(partial(click, panel, number, place), partial(is_ready, panel))
            for number, place in enumerate(stack.clicks, 1)
        ]
        if not is_stepping:
            yield row(first, gaps[0])
            yield row(f"{side}: clicks on {count - 1} others", np.concatenate(gaps[1:]))
        name = f"{side}: propagating{', stepping' if is_stepping else ''}"
        following = heart.during(panel.propagate, partial(is_ready, panel), step)
        if len(panel.frames_with_masks) != len(stack.image):
            raise SystemExit(f"Not all frames were answered: {panel.message}")
        yield row(name, following, len(stack.image) - 1)
        if is_stepping:
            name = f"{side}: stepping through the result"
            yield row(name, heart.during(int, after(QUIET_S), step))
        viewer.close()


def click(panel: WorkbenchDriver, number: int, place: tuple[int, float, float]) -> None:
    """Click an object."""
    panel.choose(number)
    panel.points.add([place])


def is_ready(panel: WorkbenchDriver) -> bool:
    """Say whether the model has nothing to do."""
    return panel.is_ready


def main() -> None:
    """Measure and print."""
    # Where the plugin writes work down while it is done, on Linux.
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, XDG_DATA_HOME=folder):
        run()


def run() -> None:
    """Measure and print, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="of the model; the plugin's choice when omitted")
    parser.add_argument("--objects", type=int, default=8)
    arguments = parser.parse_args()
    threads = arguments.threads or use_cores()
    heart = Heartbeat()
    rows = []
    for side, num_frames in STACKS:
        for one in measure(make_stack(side, num_frames, arguments.objects), threads, heart):
            rows.append(one)
            print(pd.DataFrame([one]).round(1).to_string(index=False, header=len(rows) == 1), flush=True)
    print()
    print(pd.DataFrame(rows).set_index("while").round(1).to_string(na_rep=""))
    machine = measure_machine()
    print(f"\n{arguments.objects} objects, {threads} threads. Gaps in ms; beats every {BEAT_MS} ms.")
    print(
        f"Matrix multiplication {machine.multiply_adds_per_s / 1e9:.0f} billion multiply-adds/s, "
        f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores."
    )


if __name__ == "__main__":
    main()
