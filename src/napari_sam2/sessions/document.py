"""A session as a value, and the JSON document it becomes: all that the labels on the screen depend on.

Prompts and models stand in tables and are referred to by number, because many masks come from the same ones. Frames
edited by hand are referred to by checksum and kept beside the document.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from napari_sam2.files.prompt_entries import entry_of
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.prompts import PromptSet, Target
from napari_sam2.sessions.images import ImageUsed, image_entry, without_unknown
from napari_sam2.sessions.steps import Commit, HandEdit, MaskSource, ModelUsed, PackedPlane, Renumbering, Step
from sam2_model.config import Framing

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from napari_sam2.frames import ContrastLimits
    from napari_sam2.prompts import Prompt
    from napari_sam2.tracking.propagation import DirectionName

FORMAT = "napari-sam2 session"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Exported:
    """Results of work that were written.

    Attributes
    ----------
    folder : str
        The folder in which they are.
    when : datetime
        When that was done, with its time zone.
    """

    folder: str
    when: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Saved work: the prompts, the masks and labels that came of them, and what was chosen.

    Attributes
    ----------
    image : ImageUsed
        The image.
    contrast_limits : (float, float) or one pair per channel, optional
        Intensities that the model sees as black and white now; None for 8-bit RGB, which it sees as it is.
    steps : tuple of Step
        How the committed labels came about.
    sources : tuple of MaskSource
        Where the masks come from that are held and not committed, hidden ones included.
    prompts : PromptSet
        All prompts there are now. A mask that was painted or approved stands in the place of earlier prompts.
    approved : tuple of Target
        Targets of which the mask among `prompts` was painted or approved.
    replaced : PromptSet
        The earlier prompts of these targets, which are still drawn in the layers.
    names : mapping of int to str
        Names given to objects.
    hidden, locked : tuple of int
        Objects that are not shown, and those that may not change.
    model : str
        The chosen model: registry name or path.
    direction : {"both", "forward", "backward"}
        How objects are followed.
    start, stop : int, optional
        First and last frame; the whole stack when None.
    policy : CommitPolicy
        How objects are committed.
    threshold : float
        Confidence below which a frame is doubtful.
    least_confidence : float
        Confidence below which a mask is not shown.
    drops_specks : bool
        Whether specks that remain of masks beside others are dropped where masks are shown and committed (see
        `compose`); before there was a choice they were kept.
    exported : Exported, optional
        The last export of this work.
    """

    image: ImageUsed
    contrast_limits: ContrastLimits | None = None
    steps: tuple[Step, ...] = ()
    sources: tuple[MaskSource, ...] = ()
    prompts: PromptSet = field(default_factory=PromptSet)
    approved: tuple[Target, ...] = ()
    replaced: PromptSet = field(default_factory=PromptSet)
    names: Mapping[int, str] = field(default_factory=dict)
    hidden: tuple[int, ...] = ()
    locked: tuple[int, ...] = ()
    model: str = "nano"
    direction: DirectionName = "both"
    start: int | None = None
    stop: int | None = None
    policy: CommitPolicy = CommitPolicy.KEEP
    threshold: float = 0.5
    least_confidence: float = 0.0
    drops_specks: bool = False
    exported: Exported | None = None


def planes_of(session: Session) -> dict[str, PackedPlane]:
    """Return the frames edited by hand, by checksum."""
    edits = (step for step in session.steps if isinstance(step, HandEdit))
    return {plane.digest: plane for edit in edits for plane in edit.planes.values()}


# Writing -------------------------------------------------------------------------------------------------------------


def to_json(session: Session, folder: Path, *, state: int = 0) -> str:
    """Return a session as JSON, without the frames edited by hand.

    Parameters
    ----------
    session : Session
        The session.
    folder : Path
        Where the document is going to be. An image in it or below is found again when the folder is moved.
    state : int
        Number of the state of the folder that the document belongs to; see `sessions.storage`.
    """
    tables = _Tables()
    sources = _Lines(tables.source_entry(source) for source in session.sources)
    steps = _Lines(tables.step_entry(step) for step in session.steps)
    prompts, replaced = ([tables.prompts.number(p) for p in s.prompts] for s in (session.prompts, session.replaced))
    parts: dict[str, object] = {
        "format": FORMAT,
        "version": VERSION,
        "state": state or None,
        "image": image_entry(session.image, folder),
        "contrast_limits": session.contrast_limits,
        "model": session.model,
        "direction": session.direction,
        "start": session.start,
        "stop": session.stop,
        "policy": session.policy.value,
        "threshold": session.threshold,
        "least_confidence": session.least_confidence,
        "drops_specks": session.drops_specks or None,
        "exported": None if session.exported is None else _exported_entry(session.exported),
        "names": {str(object_id): name for object_id, name in session.names.items()},
        "hidden": session.hidden,
        "locked": session.locked,
        "models": _Lines(_model_entry(model) for model in tables.models.values),
        "prompts": _Lines(entry_of(prompt) for prompt in tables.prompts.values),
        "said": prompts,
        "approved": [(target.object_id, target.frame) for target in session.approved],
        "replaced": replaced,
        "takes": sources,
        "steps": steps,
    }
    lines = (f"  {json.dumps(name)}: {_text(part)}" for name, part in parts.items() if part is not None)
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _exported_entry(exported: Exported) -> dict[str, object]:
    return {"folder": exported.folder, "when": exported.when.isoformat()}


_Value = TypeVar("_Value", bound="Hashable")


class _Table(Generic[_Value]):
    """Values in the order in which they were first met."""

    def __init__(self) -> None:
        self.values: list[_Value] = []
        self._numbers: dict[_Value, int] = {}

    def number(self, value: _Value) -> int:
        if value not in self._numbers:
            self._numbers[value] = len(self.values)
            self.values.append(value)
        return self._numbers[value]


class _Tables:
    """What sources of masks and steps refer to."""

    def __init__(self) -> None:
        self.prompts: _Table[Prompt] = _Table()
        self.models: _Table[ModelUsed] = _Table()

    def source_entry(self, source: MaskSource) -> dict[str, object]:
        prompts = [self.prompts.number(prompt) for prompt in source.prompts]
        model, frames = self.models.number(source.model), _ranges(source.frames)
        return {"object_id": source.object_id, "model": model, "prompts": prompts, "frames": frames}

    def step_entry(self, step: Step) -> dict[str, object]:
        match step:
            case Commit(sources=sources, policy=policy, locked=locked):
                entries = [self.source_entry(source) for source in sources]
                how = {"drops_specks": True} if step.drops_specks else {}
                return {"kind": "commit", "policy": policy.value, "locked": locked, **how, "takes": entries}
            case Renumbering(old=old, new=new, frames=frames):
                where = {} if frames is None else {"frames": _ranges(frames)}
                return {"kind": "renumbering", "old": old, "new": new, **where}
            case HandEdit(planes=planes):
                entered = {
                    str(frame): {"shape": plane.shape, "dtype": plane.dtype, "sha256": plane.digest}
                    for frame, plane in planes.items()
                }
                return {"kind": "hand edit", "planes": entered}


def _model_entry(model: ModelUsed) -> dict[str, object]:
    entry = without_unknown(asdict(model) | {"framing": model.framing.value})
    if model.framing is Framing.SQUARE:
        del entry["framing"]  # here and below, as in sessions of before, which do not say
    if not model.drops_islands:
        del entry["drops_islands"]
    return entry


class _Lines(list[object]):
    """A list of which every entry has a line: a file a person can read, and a version control system compare."""


def _text(part: object) -> str:
    if isinstance(part, _Lines) and part:
        return "[\n    " + ",\n    ".join(json.dumps(entry) for entry in part) + "\n  ]"
    return json.dumps(part)


def _ranges(frames: Sequence[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as ranges, both ends included."""
    ranges: list[tuple[int, int]] = []
    for frame in frames:
        if ranges and ranges[-1][1] == frame - 1:
            ranges[-1] = (ranges[-1][0], frame)
        else:
            ranges.append((frame, frame))
    return ranges
