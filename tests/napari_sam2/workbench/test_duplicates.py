"""Objects that are the same thing are found, and only where something has changed."""

import numpy as np
import pytest

from napari_sam2.results import ObjectMask
from napari_sam2.sessions.steps import ModelUsed
from napari_sam2.workbench import duplicates
from napari_sam2.workbench.duplicates import Duplicate, DuplicateFinder, duplicates_sentence
from napari_sam2.workspace.held import HeldMask
from tests.napari_sam2.conftest import drawn

MODEL = ModelUsed("fake", "f" * 64, 256)


def held(object_id, drawing, corner=(0, 0)):
    mask = ObjectMask(object_id, corner, np.where(drawn(drawing), 5, -5).astype(np.float32), 0.9, 1.0)
    return HeldMask(mask, mask.score(0), (), MODEL)


DISC = """
    .1111.
    111111
    111111
    .1111.
"""
NEARLY_DISC = """
    .1111.
    11111.
    111111
    .1111.
"""
HALF_DISC = """
    .11...
    111...
    111...
    .11...
"""


def pairs(*masks):
    return [
        (one.first, one.second) for one in DuplicateFinder().find({0: {one.mask.object_id: one for one in masks}}, 0)
    ]


def test_masks_that_lie_on_each_other_are_the_same():
    assert pairs(held(4, DISC), held(5, DISC)) == [(4, 5)]
    assert pairs(held(7, NEARLY_DISC), held(2, DISC)) == [(2, 7)]


def test_parts_and_neighbours_are_not():
    assert pairs(held(4, DISC), held(5, HALF_DISC)) == []
    assert pairs(held(4, DISC), held(5, DISC, corner=(0, 2))) == []
    assert pairs(held(4, DISC), held(5, DISC, corner=(0, 60))) == []
    assert pairs(held(4, DISC)) == []


def test_windows_may_lie_apart_though_the_masks_are_one():
    wide = held(4, "..........\n...1111...\n..111111..\n..111111..\n...1111...\n..........")
    assert pairs(wide, held(5, DISC, corner=(1, 2))) == [(4, 5)]
    assert pairs(held(5, DISC, corner=(1, 2)), wide) == [(4, 5)]


def test_empty_masks_are_no_duplicates():
    assert pairs(held(1, "...\n..."), held(2, "...\n...")) == []


def test_of_three_that_are_the_same_each_pair_is_told():
    assert pairs(held(1, DISC), held(2, DISC), held(3, DISC)) == [(1, 2), (1, 3), (2, 3)]


@pytest.fixture
def masks():
    """Objects 4 and 5 on five frames; they are the same on frames 1 to 3."""
    far = {4: held(4, DISC), 5: held(5, DISC, corner=(0, 60))}
    return {0: far} | {frame: {4: held(4, DISC), 5: held(5, DISC)} for frame in (1, 2, 3)} | {4: dict(far)}


def test_frames_are_told_and_objects_can_be_left_out(masks):
    finder = DuplicateFinder()
    assert finder.find(masks, 0) == (Duplicate(4, 5, (1, 2, 3)),)
    assert finder.find(masks, 0, left_out=[5]) == ()
    assert not finder.is_behind(masks)


def test_frames_that_have_changed_are_looked_at_again_and_no_others(masks, monkeypatch):
    finder, looked_at = DuplicateFinder(), []
    finder.find(masks, 0)
    compare = duplicates._pairs_on
    monkeypatch.setattr(duplicates, "_pairs_on", lambda of_frame: looked_at.append(of_frame) or compare(of_frame))
    changed = {**masks, 2: masks[0]}
    del changed[3]
    assert finder.find(changed, 0) == (Duplicate(4, 5, (1,)),)
    assert looked_at == [masks[0]]


def test_much_work_is_done_in_parts_beginning_where_one_is(masks, monkeypatch):
    monkeypatch.setattr(duplicates, "MASKS_AT_ONCE", 2)
    finder = DuplicateFinder()
    found = []
    while finder.is_behind(masks):
        found.append(finder.find(masks, 3))
    assert found[0] == (Duplicate(4, 5, (3,)),)
    assert found[-1] == (Duplicate(4, 5, (1, 2, 3)),)
    assert len(found) == 5


@pytest.mark.parametrize(
    ("found", "is_stack", "expected"),
    [
        ([], True, ""),
        (
            [Duplicate(4, 5, (3,))],
            True,
            "Objects 4 and 5 are the same on frame 3: delete one, or press X where it is not there.",
        ),
        (
            [Duplicate(4, 5, (3, 4))],
            True,
            "Objects 4 and 5 are the same on frames 3 to 4: delete one, or press X where it is not there.",
        ),
        (
            [Duplicate(4, 5, (3, 9))],
            True,
            "Objects 4 and 5 are the same on 2 frames from 3 on: delete one, or press X where it is not there.",
        ),
        (
            [Duplicate(4, 5, (0,)), Duplicate(7, 8, (0,))],
            False,
            "Objects 4 and 5 are the same: delete one of them. 1 more pair is alike.",
        ),
        (
            [Duplicate(4, 5, (0,)), Duplicate(7, 8, (0,)), Duplicate(7, 9, (0,))],
            False,
            "Objects 4 and 5 are the same: delete one of them. 2 more pairs are alike.",
        ),
    ],
)
def test_it_is_said_which_and_where(found, is_stack, expected):
    assert duplicates_sentence(found, is_stack=is_stack) == expected
