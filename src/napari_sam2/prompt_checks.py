"""Which of the prompts that are said can be heeded, and sentences about the others: one mistake stops nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2.prompts import BoxPrompt, MaskPrompt, PromptSet, is_absence, listed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_sam2.prompts import Prompt, Target

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Heeded:
    """Prompts that can be answered.

    Attributes
    ----------
    prompts : PromptSet
        The prompts.
    remark : str
        Which others there were, why they are not heeded, and what to do; empty if there were none.
    unknown : frozenset of int
        Objects of which nothing is heeded.
    """

    prompts: PromptSet
    remark: str = ""
    unknown: frozenset[int] = frozenset()


def without_rivals(prompts: Iterable[Prompt]) -> Heeded:
    """Heed one box and one mask of an object on a frame, the first that is said of each."""
    kept: list[Prompt] = []
    taken: set[tuple[type[Prompt], Target]] = set()
    rivals: dict[tuple[type[Prompt], Target], int] = {}
    for prompt in prompts:
        place = type(prompt), prompt.target
        if isinstance(prompt, BoxPrompt | MaskPrompt) and place in taken:
            rivals[place] = rivals.get(place, 1) + 1
            continue
        taken.add(place)
        kept.append(prompt)
    remarks = []
    for (kind, target), count in list(rivals.items())[:_MOST_NAMED]:
        name, cure = ("boxes", "Delete the others") if kind is BoxPrompt else ("masks", "Unite them")
        remarks.append(
            f"Object {target.object_id} has {count} {name} on frame {target.frame}, and the first one counts. "
            f"{cure}, or make them another object (M)."
        )
    return Heeded(PromptSet(kept), " ".join(remarks))


def without_unknown(prompts: PromptSet) -> Heeded:
    """Heed the objects of which something says what they are, and not only where they are not."""
    known = {target.object_id for target, given in prompts.items() if not is_absence(given)}
    unknown = set(prompts.object_ids) - known
    if not unknown:
        return Heeded(prompts)
    few = sorted(unknown)[:_MOST_NAMED]
    named = f"Object {listed(few)}{' and others' if len(few) < len(unknown) else ''}"
    return Heeded(
        PromptSet(prompt for prompt in prompts.prompts if prompt.object_id in known),
        f"{named} has only negative points, so nothing says what it is. Add a positive point (T), a box or a mask.",
        frozenset(unknown),
    )
