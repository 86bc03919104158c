"""One picture of a result: slices with outlines, and a strip of confidence per object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize, hsv_to_rgb
from matplotlib.figure import Figure

from napari_sam2.colours import CONFIDENCE_RAMP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from napari_sam2.frames import FrameStack

BACKGROUND = "#16181d"
INK = "#e8e8e8"
FAINT = "#8b8f98"
_CONFIDENCE = LinearSegmentedColormap.from_list("confidence", CONFIDENCE_RAMP)

MAX_OBJECTS = 40
"""Rows of the confidence strip; the most doubtful objects are shown where there are more."""

_COLUMNS, _ROWS = 4, 2
_GOLDEN = 0.618033988749895


def draw_overview(
    path: Path,
    frames: FrameStack,
    labels: NDArray[np.unsignedinteger],
    scores: pd.DataFrame,
    *,
    title: str,
    frame_name: str = "frame",
    prompted: tuple[int, ...] = (),
) -> None:
    """Draw slices with coloured outlines above a strip of confidence per object.

    Parameters
    ----------
    path : Path
        A `.png` to write.
    frames : FrameStack
        The stack as the model saw it.
    labels : ndarray
        Shape (N, Y, X).
    scores : DataFrame
        From `Segmentation.scores`.
    title : str
        What is shown.
    frame_name : str
        "frame" of a time-lapse, "slice" of a z-stack.
    prompted : tuple of int
        Frames with prompts; they are marked.
    """
    figure = Figure(figsize=(12, 9.2), dpi=150, facecolor=BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.25, 1.0))[:, 0]
    for part in (top, bottom):
        part.set_facecolor(BACKGROUND)
    figure.suptitle(title, color=INK, fontsize=15, x=0.012, ha="left")
    shown = _chosen_frames(len(frames), labels, prompted)
    colours = _colours(scores["object_id"].unique())
    axes = top.subplots(_ROWS, _COLUMNS, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, frame in zip(axes, shown, strict=False):
        mark = "  \N{BLACK DIAMOND} prompts" if frame in prompted else ""
        _draw_frame(ax, frames[frame], labels[frame], colours, f"{frame_name} {frame}{mark}")
    _draw_strip(bottom.subplots(), scores, colours, len(frames), frame_name, prompted)
    figure.savefig(path, facecolor=BACKGROUND)


def _colours(object_ids: Iterable[int]) -> dict[int, NDArray[np.float64]]:
    """Return a colour for every object, as far as possible from those of the objects before it."""
    return {
        object_id: hsv_to_rgb((rank * _GOLDEN % 1.0, 0.55 + 0.3 * (rank % 2), 1.0))
        for rank, object_id in enumerate(sorted(object_ids))
    }


def _chosen_frames(count: int, labels: NDArray[np.unsignedinteger], prompted: tuple[int, ...]) -> list[int]:
    """Return the frames to show: evenly over those that hold objects, a prompted one among them."""
    found = [frame for frame in range(count) if labels[frame].any()] or list(range(count))
    number = min(_COLUMNS * _ROWS, len(found))
    chosen = {found[round(i)] for i in np.linspace(0, len(found) - 1, number)}
    if prompted and prompted[0] in found and not chosen.intersection(prompted):
        chosen.discard(min(chosen, key=lambda frame: abs(frame - prompted[0])))
        chosen.add(prompted[0])
    return sorted(chosen)


def _draw_frame(
    ax: Axes,
    image: NDArray[np.uint8],
    labels: NDArray[np.unsignedinteger],
    colours: Mapping[int, NDArray[np.float64]],
    title: str,
) -> None:
    ax.imshow(image, interpolation="nearest")
    for object_id in np.unique(labels[labels > 0]):
        # A border of background lets outlines close where an object touches the edge of the image.
        mask = np.pad(labels == object_id, 1).astype(float)
        y, x = np.arange(mask.shape[0]) - 1, np.arange(mask.shape[1]) - 1
        ax.contour(x, y, mask, levels=[0.5], colors=[colours[int(object_id)]], linewidths=1.6)
    ax.set_xlim(-0.5, image.shape[1] - 0.5)
    ax.set_ylim(image.shape[0] - 0.5, -0.5)
    ax.set_title(title, color=INK, fontsize=10, loc="left", pad=3)


def _draw_strip(
    ax: Axes,
    scores: pd.DataFrame,
    colours: Mapping[int, NDArray[np.float64]],
    num_frames: int,
    frame_name: str,
    prompted: tuple[int, ...],
) -> None:
    found = scores[scores["area_px"] > 0]
    worst = found.groupby("object_id")["confidence"].min().sort_values()
    object_ids = sorted(worst.index[:MAX_OBJECTS])
    strip = np.full((max(len(object_ids), 1), num_frames), np.nan)
    rows = {object_id: row for row, object_id in enumerate(object_ids)}
    for one in found.itertuples():
        if one.object_id in rows:
            strip[rows[one.object_id], one.frame] = one.confidence
    ax.set_facecolor("#23262d")
    image = ax.imshow(
        strip, aspect="auto", cmap=_CONFIDENCE, norm=Normalize(0, 1), interpolation="nearest", origin="upper"
    )
    ax.set_yticks(range(len(object_ids)), [str(i) for i in object_ids])
    for frame in prompted:
        ax.axvline(frame, color=INK, linewidth=1.0, linestyle=(0, (2, 2)))
    for row in np.arange(len(object_ids) - 1) + 0.5:
        ax.axhline(row, color=BACKGROUND, linewidth=1.5)
    ax.tick_params(colors=FAINT, length=0, labelsize=8)
    for label, object_id in zip(ax.get_yticklabels(), object_ids, strict=True):
        label.set_color(tuple(colours[object_id]))
        label.set_fontsize(8 if len(object_ids) <= 20 else 5)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel(frame_name, color=FAINT, fontsize=9)
    more = "" if len(worst) <= MAX_OBJECTS else f" (the {MAX_OBJECTS} most doubtful of {len(worst)})"
    title = f"confidence per object and {frame_name}{more}; empty where not found"
    ax.set_title(title, color=INK, fontsize=10, loc="left")
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.02, pad=0.01)
    bar.ax.tick_params(colors=FAINT, length=0, labelsize=8)
    bar.outline.set_visible(False)
