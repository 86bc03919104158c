"""What is settled about objects, and what an edit of it leaves alone."""

import pytest

from napari_sam2.errors import OptionError
from napari_sam2.workspace.objects import ObjectList, ObjectNotes


@pytest.fixture
def objects():
    return ObjectList()


@pytest.fixture
def told(objects):
    """All notes that were announced."""
    told = []
    objects.changed.connect(lambda notes: told.append(notes))
    return told


def test_a_name_is_given_trimmed_and_taken_away(objects):
    objects.rename(3, "  mother ")
    assert objects.notes.names[3] == "mother"
    objects.rename(3, " ")
    assert objects.notes == ObjectNotes()


def test_several_objects_are_hidden_and_locked_at_once(objects):
    objects.set_hidden(1, 2, 3, is_hidden=True)
    objects.set_hidden(2, is_hidden=False)
    objects.set_locked(5, 6, is_locked=True)
    objects.set_locked(6, is_locked=False)
    assert objects.notes == ObjectNotes(hidden=frozenset({1, 3}), locked=frozenset({5}))


def test_every_change_is_announced_once_and_nothing_else(objects, told):
    objects.rename(1, "a")
    objects.rename(1, "a ")
    objects.set_hidden(1, 2, is_hidden=True)
    objects.set_hidden(2, is_hidden=True)
    objects.set_locked(1, is_locked=False)
    assert told == [ObjectNotes({1: "a"}), ObjectNotes({1: "a"}, hidden=frozenset({1, 2}))]


def test_what_is_settled_about_an_object_goes_as_a_whole():
    notes = ObjectNotes({1: "a", 2: "b"}, frozenset({1, 2}), frozenset({1}))
    assert notes.without(1) == ObjectNotes({2: "b"}, frozenset({2}))
    assert notes.without(9) == notes
    assert notes.without(1, 2) == ObjectNotes()


def test_locked_objects_are_refused_by_number_and_others_are_not():
    notes = ObjectNotes(locked=frozenset({12, 3, 5}))
    notes.refuse_locked([1, 2])
    with pytest.raises(OptionError, match=r"Object 3, 12 is locked\. Unlock it"):
        notes.refuse_locked([12, 1, 3])


BEFORE = ObjectNotes({1: "a", 2: "b"}, frozenset({1}), frozenset({2}))


@pytest.mark.parametrize(
    ("after", "now", "expected"),
    [
        (BEFORE.without(1), ObjectNotes({2: "c"}), ObjectNotes({1: "a", 2: "c"}, frozenset({1}))),
        (BEFORE.without(2), ObjectNotes({1: "a"}), ObjectNotes({1: "a", 2: "b"}, locked=frozenset({2}))),
        (ObjectNotes({1: "x", 2: "b"}, BEFORE.hidden), ObjectNotes({1: "x"}), ObjectNotes({1: "a"}, locked={2})),
        (ObjectNotes({1: "a", 2: "b", 3: "new"}), ObjectNotes({3: "new"}), ObjectNotes({}, {1}, {2})),
    ],
    ids=["the name and eye of one", "the name and lock of another", "a new name", "a first name"],
)
def test_an_edit_is_taken_back_without_what_was_settled_since(after, now, expected):
    assert now.edited(after, BEFORE) == expected
