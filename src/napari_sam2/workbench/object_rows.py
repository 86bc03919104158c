"""What the table of objects shows of each object. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2.layers.label_layers import object_colour

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_sam2.prompts import Target
    from napari_sam2.results import ObjectScore
    from napari_sam2.workspace.workspace import Workspace

Colour = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One object.

    Attributes
    ----------
    object_id : int
        Its id.
    colour : tuple of float
        Its colour in all layers: red, green, blue and alpha in [0, 1].
    name : str
        Its name; empty if it has none.
    is_hidden, is_locked, is_committed, is_in_work : bool
        Whether its uncommitted masks are not shown, whether nothing may change it, whether it has committed pixels,
        whether it has prompts or masks that are not committed.
    prompted : tuple of int
        Frames with prompts, ascending.
    doubt : (float, int) or None
        The smallest confidence of its masks, or else of those that were committed, and its frame; None if it was found
        nowhere.
    """

    object_id: int
    colour: Colour
    name: str = ""
    is_hidden: bool = False
    is_locked: bool = False
    is_committed: bool = False
    is_in_work: bool = False
    prompted: tuple[int, ...] = ()
    doubt: tuple[float, int] | None = None

    @property
    def can_hide(self) -> bool:
        """Whether hiding means anything: what is committed is hidden with its layer."""
        return self.is_in_work or self.is_hidden or not self.is_committed


class RowReader:
    """Reads the rows of a workspace, as often as anybody likes: what takes time is remembered until it changes."""

    def __init__(self) -> None:
        self._colormap: object = None
        self._colours: dict[int, Colour] = {}
        self._scores: object = None
        self._doubts: dict[int, tuple[float, int]] = {}

    def read(self, work: Workspace) -> tuple[ObjectRow, ...]:
        """Read one row per object, ascending."""
        layer, held, notes = work.picture.layer, work.picture.held, work.objects.notes
        if layer.colormap is not self._colormap:
            self._colormap, self._colours = layer.colormap, {}
        scores = work.committed.scores
        if scores is not self._scores:
            self._scores, self._doubts = scores, _doubts(scores)
        prompted: dict[int, list[int]] = {}
        for target in work.asker.prompts:
            prompted.setdefault(target.object_id, []).append(target.frame)
        committed, in_hand = set(work.committed.object_ids), {*held.object_ids, *prompted}
        return tuple(
            ObjectRow(
                object_id=one,
                colour=self._colour(work, one),
                name=notes.names.get(one, ""),
                is_hidden=one in notes.hidden,
                is_locked=one in notes.locked,
                is_committed=one in committed,
                is_in_work=one in in_hand,
                prompted=tuple(sorted(prompted.get(one, ()))),
                doubt=self._doubt(work, one),
            )
            for one in work.object_ids
        )

    def _colour(self, work: Workspace, object_id: int) -> Colour:
        if object_id not in self._colours:
            self._colours[object_id] = object_colour(work.picture.layer, object_id)
        return self._colours[object_id]

    def _doubt(self, work: Workspace, object_id: int) -> tuple[float, int] | None:
        worst = work.picture.held.worst(object_id)
        return self._doubts.get(object_id) if worst is None else worst


def _doubts(scores: Mapping[Target, ObjectScore]) -> dict[int, tuple[float, int]]:
    doubts: dict[int, tuple[float, int]] = {}
    for target, score in scores.items():
        known = doubts.get(target.object_id)
        if score.area_px and (known is None or (score.confidence, target.frame) < known):
            doubts[target.object_id] = score.confidence, target.frame
    return doubts


def prompts_text(row: ObjectRow, *, is_stack: bool) -> str:
    """Return where an object has prompts, and whether it is committed, in a few characters."""
    frames = _listed(row.prompted) if is_stack else "prompted" * bool(row.prompted)
    return ", ".join(filter(None, (frames, "committed" * row.is_committed)))


def doubt_text(row: ObjectRow, *, is_stack: bool) -> str:
    """Return the smallest confidence of an object and, on a stack, its frame, in a few characters."""
    if row.doubt is None:
        return ""
    confidence, frame = row.doubt
    return f"{confidence:.2f}" + f" on {frame}" * is_stack


def _listed(frames: Sequence[int]) -> str:
    return ", ".join(map(str, frames)) if len(frames) < 4 else f"{len(frames)} frames"
