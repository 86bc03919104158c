"""Which masks are doubtful, and which of them comes next."""

import pytest

from napari_sam2.prompts import Target
from napari_sam2.workspace.doubt import doubt_sentence, find_doubts
from napari_sam2.workspace.held import HeldMasks
from tests.napari_sam2.bench import Bench
from tests.napari_sam2.fake_predictor import FakePredictor
from tests.napari_sam2.workspace.test_confidence import held_masks

ROWS = [0.2, 0.9, None, 0.3], [0.3, 0.9, "", 0.9], [0.4, 0.9, 0.1, 0.2]
"""Confidence of objects 1, 2, 3 on four frames."""


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (Target(1, 0), Target(2, 0)),
        (Target(2, 0), Target(3, 0)),
        (Target(3, 0), Target(3, 2)),
        (Target(1, 1), Target(3, 2)),
        (Target(3, 2), Target(1, 3)),
        (Target(1, 3), Target(3, 3)),
        (Target(3, 3), Target(1, 0)),
        (Target(9, 3), Target(1, 0)),
    ],
)
def test_the_next_doubt_is_of_the_same_frame_then_of_later_ones_and_goes_round(here, there):
    assert find_doubts(held_masks(*ROWS), 0.5).after(here) == there


def test_masks_of_the_user_and_objects_that_are_left_out_are_not_doubtful():
    doubts = find_doubts(held_masks(*ROWS), 0.5, certain=[Target(3, 2), Target(8, 0)], left_out=[2])
    assert len(doubts) == 4
    assert doubts.after(Target(1, 0)) == Target(3, 0)
    assert doubts.after(Target(3, 0)) == Target(1, 3)


def test_without_doubt_there_is_no_next():
    assert find_doubts(held_masks(*ROWS), 0.05).after(Target(1, 0)) is None
    assert find_doubts(HeldMasks(3), 0.5).after(Target(1, 0)) is None


def test_it_is_said_why_and_what_to_do_and_of_frames_only_in_a_stack():
    assert doubt_sentence(Target(2, 14), 0.284, is_stack=True, approve_key="Y") == (
        "Object 2 is doubtful on frame 14 (0.28): click to correct it, Y if it is right."
    )
    assert doubt_sentence(Target(2, 0), 0.284, is_stack=False, approve_key="Y") == (
        "Object 2 is doubtful (0.28): click to correct it, Y if it is right."
    )


@pytest.fixture
def bench():
    """Two objects that were followed through six frames, none of them sure."""
    bench = Bench(FakePredictor())
    bench.click(2, 6, 6)
    bench.new_object()
    bench.click(2, 16, 20)
    bench.propagate()
    bench.settle()
    bench.show(4)
    bench.choose(1)
    yield bench
    bench.close()


def test_the_object_is_chosen_as_well_as_the_frame(bench):
    places = []
    for _ in range(4):
        bench.next_doubtful(0.99)
        places.append((bench.object_id, bench.frame))
    assert places == [(2, 4), (1, 5), (2, 5), (1, 0)]


def test_hidden_and_locked_objects_and_approved_masks_are_not_visited(bench):
    bench.hide(2)
    assert bench.next_doubtful(0.99) == Target(1, 5)
    bench.approve()
    bench.settle()
    bench.show(4)
    assert bench.next_doubtful(0.99) == Target(1, 0)
    bench.unhide(2)
    bench.lock(1)
    assert bench.next_doubtful(0.99) == Target(2, 0)


def test_what_is_told_of_a_doubtful_mask_goes_with_the_next_step_away_from_it(bench):
    def tell():
        bench.work.asker.tell("This mask is doubtful.", is_of_place=True)

    for leave in (lambda: bench.show(0), lambda: bench.choose(2)):
        tell()
        leave()
        assert bench.message == ""
    bench.work.asker.complain("This stays.")
    bench.show(3)
    assert bench.message == "This stays."
