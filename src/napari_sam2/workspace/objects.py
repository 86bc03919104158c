"""The user's notes on objects: their names, which are hidden and which are locked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from psygnal import Signal

from napari_sam2.errors import OptionError
from napari_sam2.prompt_checks import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class ObjectNotes:
    """The notes on all objects at one moment.

    Attributes
    ----------
    names : mapping of int to str
        Names by object; objects without one are not in it.
    hidden : frozenset of int
        Objects whose uncommitted masks are not shown, and not committed.
    locked : frozenset of int
        Objects that neither lose nor receive a pixel, by committing, following or painting.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    hidden: frozenset[int] = frozenset()
    locked: frozenset[int] = frozenset()

    def refuse_locked(self, object_ids: Iterable[int]) -> None:
        """Refuse to change objects that are locked.

        Raises
        ------
        OptionError
            If one of them is.
        """
        locked = self.locked.intersection(object_ids)
        if locked:
            raise OptionError(f"Object {listed(locked)} is locked. Unlock it in the table of objects first.")

    def without(self, *object_ids: int) -> Self:
        """Return the notes without those about some objects."""
        names = {i: name for i, name in self.names.items() if i not in object_ids}
        return replace(
            self,
            names=names,
            hidden=self.hidden.difference(object_ids),
            locked=self.locked.difference(object_ids),
        )

    def edited(self, before: ObjectNotes, after: ObjectNotes) -> Self:
        """Return the notes after an edit that made `after` of `before`; what it did not touch stays as it is."""
        touched = {i for i in before.names.keys() | after.names.keys() if before.names.get(i) != after.names.get(i)}
        names = {i: name for i, name in self.names.items() if i not in touched}
        names |= {i: after.names[i] for i in touched if i in after.names}
        return replace(
            self,
            names=names,
            hidden=(self.hidden - (before.hidden - after.hidden)) | (after.hidden - before.hidden),
            locked=(self.locked - (before.locked - after.locked)) | (after.locked - before.locked),
        )


class ObjectList:
    """The notes on all objects. It tells when they change.

    Attributes
    ----------
    notes : ObjectNotes
        The notes now. Changed through the methods alone.
    """

    changed = Signal(ObjectNotes)

    def __init__(self) -> None:
        self.notes = ObjectNotes()

    def replace(self, notes: ObjectNotes) -> None:
        """Replace the notes and announce the change."""
        if notes != self.notes:
            self.notes = notes
            self.changed.emit(notes)

    def rename(self, object_id: int, name: str) -> None:
        """Give an object a name, or take it away with an empty one."""
        named = {**self.notes.names, object_id: name.strip()}
        self.replace(replace(self.notes, names={i: one for i, one in named.items() if one}))

    def set_hidden(self, *object_ids: int, is_hidden: bool) -> None:
        """Hide objects or show them again."""
        hidden = self.notes.hidden.union(object_ids) if is_hidden else self.notes.hidden.difference(object_ids)
        self.replace(replace(self.notes, hidden=hidden))

    def set_locked(self, *object_ids: int, is_locked: bool) -> None:
        """Lock objects or unlock them."""
        locked = self.notes.locked.union(object_ids) if is_locked else self.notes.locked.difference(object_ids)
        self.replace(replace(self.notes, locked=locked))
