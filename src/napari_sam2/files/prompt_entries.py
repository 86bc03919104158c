"""Prompts as objects of JSON, in the files of prompts and of sessions."""

from __future__ import annotations

from dataclasses import asdict, replace

from napari_sam2.errors import PromptError
from napari_sam2.files.json_fields import FieldError, Fields, brief, within
from napari_sam2.files.mask_runs import MaskRuns, runs_from, runs_of
from napari_sam2.prompts import BoxPrompt, MaskPrompt, ModelScores, PointPrompt, Prompt

LARGEST_TOTAL = 2**32
"""Pixels, counted in this way, of all masks of one document; each takes a bit."""

_POINT = ("object_id", "frame", "y", "x")
_BOX = ("object_id", "frame", "y_min", "x_min", "y_max", "x_max")
_MASK = ("object_id", "frame", "shape", "runs")
_SCORES = ("predicted_iou", "object_score", "stability", "mean_logit")


def prompts_from_entries(entries: list[object], shape: tuple[int, int] | None = None) -> tuple[Prompt, ...]:
    """Return the prompts that `entry_of` has turned into entries.

    Parameters
    ----------
    entries : list
        Objects of JSON.
    shape : (int, int), optional
        Rows and columns of the image; masks have this shape.

    Raises
    ------
    PromptError
        If one is no prompt, a field is missing, misspelt or wrong, or masks are too large; the message tells which.
    """
    read: list[Prompt | MaskRuns] = []
    total = 0
    for index, entry in enumerate(entries):
        try:
            one = _prompt_from(entry, shape)
        except (FieldError, PromptError) as error:
            raise PromptError(f"entry {index} of the prompts: {error}") from error
        read.append(one)
        total += one.num_pixels if isinstance(one, MaskRuns) else 0
        if total > LARGEST_TOTAL:
            raise PromptError(
                f"entry {index} of the prompts: with it, the masks have more than {LARGEST_TOTAL:,} pixels together. "
                "Divide them among several files."
            )
    # None is unpacked before all are known to fit.
    return tuple(one.unpacked() if isinstance(one, MaskRuns) else one for one in read)


def _prompt_from(entry: object, shape: tuple[int, int] | None) -> Prompt | MaskRuns:
    if not isinstance(entry, dict):
        raise FieldError(f'this is {brief(entry)}. Write {{"kind": ..., "object_id": ..., ...}}.')
    match entry.get("kind"):
        case "point":
            fields = Fields(entry, ("kind", *_POINT), ("positive", "candidate"))
            positive, candidate = fields.get("positive", True), fields.get("candidate")
            return PointPrompt(*(fields[name] for name in _POINT), positive=positive, candidate=candidate)
        case "box":
            fields = Fields(entry, ("kind", *_BOX))
            return BoxPrompt(*(fields[name] for name in _BOX))
        case "mask":
            fields = Fields(entry, ("kind", *_MASK), ("found",))
            found = _scores_from(fields["found"]) if "found" in fields else None
            return replace(runs_from(*(fields[name] for name in _MASK), expected=shape), found=found)
        case kind:
            raise FieldError(f'"kind" is {brief(kind)}. Use "point", "box" or "mask".')


def _scores_from(entry: object) -> ModelScores:
    with within("found"):
        fields = Fields(entry, _SCORES)
        iou, score, stability = (fields.share(name, 0.0) for name in _SCORES[:-1])  # all are there
        return ModelScores(iou, score, stability, fields.number("mean_logit"))


def entry_of(prompt: Prompt) -> dict[str, object]:
    """Return a prompt as an object of JSON, masks as run lengths."""
    match prompt:
        case PointPrompt():
            # As before where none was chosen: versions without the choice read that, too.
            chosen = () if prompt.candidate is None else ("candidate",)
            return {"kind": "point"} | {name: getattr(prompt, name) for name in (*_POINT, "positive", *chosen)}
        case BoxPrompt():
            return {"kind": "box"} | {name: getattr(prompt, name) for name in _BOX}
        case MaskPrompt(object_id=object_id, frame=frame, shape=shape, found=found):
            mask = {"kind": "mask", "object_id": object_id, "frame": frame, "shape": shape, "runs": runs_of(prompt)}
            # As before for a mask of the user's: versions that know no other read that, too.
            return mask if found is None else mask | {"found": asdict(found)}
