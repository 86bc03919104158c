"""Sentences of the panel: how things stand, what is asked, and the list of keys. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.workbench.advice import Advice, advise
from napari_sam2.workbench.commands import KEYED, NEW_OBJECT

if TYPE_CHECKING:
    from napari_sam2.workbench.facts import FactsReader
    from napari_sam2.workbench.workbench import Workbench


def status_advice(bench: Workbench, reader: FactsReader) -> Advice:
    """Return how things stand, and what to do."""
    work = bench.workspace
    if work is None:
        return Advice(bench.message or "Open an image to begin: a file, or File > Open Sample > SAM 2 for napari.")
    return advise(reader.read(bench, work))


def question_sentence(object_id: int) -> str:
    """Return what is asked about something that was drawn far from the mask of the selected object."""
    return (
        f"Is that another object? {NEW_OBJECT.shortcut} makes a new one of it. Click there again if it belongs to "
        f"object {object_id}."
    )


def keys_table() -> str:
    """Return the list of keys as rich text."""
    rows = "".join(
        f"<tr><td><b>{one.shortcut}</b>&nbsp;&nbsp;</td><td>{one.meaning}&nbsp;&nbsp;</td>"
        f"<td><i>{'instead of: ' + one.replaces if one.replaces else ''}</i></td></tr>"
        for one in KEYED
    )
    return (
        "<p>With one of the four layers of the plugin selected "
        "(point_prompts, prompts, current_object, committed_objects):</p>"
        f"<table>{rows}</table><p>On all other layers keys do what they always do.</p>"
    )
