"""Keys on the plugin's own layers. There they come before napari's; other layers keep theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers.base import Layer


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes
    ----------
    name : str
        As napari spells it.
    command : str
        What it calls.
    meaning : str
        What it does, for the list of keys.
    replaces : str
        What the key does on layers of these types that are not the plugin's; empty for nothing.
    """

    name: str
    command: str
    meaning: str
    replaces: str = ""


KEYS = (
    Key("S", "ask", "segment this frame again", "select points or shapes"),
    Key("Shift-S", "propagate", "propagate, or go on with it"),
    Key("T", "toggle_polarity", "include or exclude with the next points", "add a path (shapes)"),
    Key("M", "new_object", "new object", "new label (labels)"),
    Key("N", "next_doubtful", "next doubtful frame"),
    Key("Y", "approve", "yes: approve the masks of this frame"),
    Key("X", "mark_absent", "the object is not on this frame", "swap with the background (labels)"),
    Key("C", "commit", "commit all objects"),
    Key("Shift-C", "clear_prompts", "clear the prompts of this object"),
    Key("Control-Z", "undo", "undo", "undo painting (labels)"),
    Key("Control-Shift-Z", "redo", "redo", "redo painting (labels)"),
)


def bind_keys(layer: Layer, commands: object) -> None:
    """Bind every key on one layer.

    Parameters
    ----------
    layer : napari.layers.Layer
        The layer.
    commands : object
        Has the methods that `Key.command` names, without arguments.
    """
    for key in KEYS:
        layer.bind_key(key.name, _ignoring_layer(getattr(commands, key.command)), overwrite=True)


def unbind_keys(layer: Layer) -> None:
    """Give a layer napari's keys back."""
    for key in KEYS:
        layer.bind_key(key.name, None)


def shown(key: Key) -> str:
    """Name of a key as people read it."""
    return key.name.replace("Control", "Ctrl").replace("-", "+")


def _ignoring_layer(command: Callable[[], object]) -> Callable[[Layer], None]:
    def pressed(layer: Layer) -> None:
        command()

    return pressed
