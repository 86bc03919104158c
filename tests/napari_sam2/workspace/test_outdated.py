"""Which masks are older than a prompt, as far as *Propagate* follows their object again."""

import numpy as np
import pytest

from napari_sam2.prompts import PointPrompt, PromptSet
from napari_sam2.workspace.held import HeldMasks
from napari_sam2.workspace.outdated import PromptsUsed, outdated_masks
from tests.napari_sam2.bench import FRAMES, Bench
from tests.napari_sam2.fake_predictor import FakePredictor
from tests.napari_sam2.workspace.test_held import held


def point(frame, x=1.0, object_id=1):
    return PointPrompt(object_id, frame, 1.0, x)


# What masks were computed from ---------------------------------------------------------------------------------------


def frames_outdated(used, *now):
    return np.flatnonzero(used.outdated(now)).tolist()


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ([point(0)], [point(0)], []),
        ([point(0)], [point(0, 2)], [0, 1, 2, 3]),
        ([point(0)], [point(0), point(3)], [1, 2, 3]),
        ([point(0), point(3)], [point(0)], [1, 2, 3]),
        ([point(0), point(3)], [point(0), point(3), point(3, 2)], [1, 2, 3]),
        ([point(0), point(3)], [point(3), point(0)], [1, 2]),
    ],
)
def test_followed_masks_depend_on_all_prompts_and_masks_of_prompted_frames_on_those_of_the_frame(then, now, expected):
    used = PromptsUsed(5)
    for frame in range(4):
        used.put(frame, tuple(then))
    assert frames_outdated(used, *now) == expected


def test_what_is_put_and_cleared_later_counts():
    used, old, new = PromptsUsed(4), (point(0),), (point(0), point(2))
    for frame in range(4):
        used.put(frame, old)
    assert frames_outdated(used, *new) == [1, 2, 3]
    used.put(1, new)
    used.put(2, new)
    used.clear(3)
    used.clear(3)
    assert frames_outdated(used, *new) == []
    assert frames_outdated(used, *old) == [1, 2]


def test_prompts_that_no_mask_is_from_any_more_are_not_kept():
    used = PromptsUsed(2)
    for x in range(50):
        used.put(0, (point(0, x),))
    assert len(used._prompts) == 1


def test_objects_without_masks_or_prompts_have_nothing_outdated():
    masks = HeldMasks(3)
    masks.set(1, {2: held(2, 1, prompts=(point(0, object_id=2),))})
    table = outdated_masks(masks, (1, 2, 3), PromptSet([point(0), point(1, object_id=2)]).by_object())
    np.testing.assert_array_equal(table, [[False] * 3, [False, True, False], [False] * 3])
    assert not outdated_masks(masks, (1, 2, 3), {}).any()
    assert outdated_masks(masks, (), {}).shape == (0, 3)


# With a model --------------------------------------------------------------------------------------------------------


@pytest.fixture
def fake():
    return FakePredictor()


@pytest.fixture
def bench(fake):
    """Objects 1 and 2, followed from frame 2 to both ends."""
    bench = Bench(fake)
    bench.click(2, 6, 6)
    bench.new_object()
    bench.click(2, 16, 20)
    bench.propagate()
    bench.settle()
    yield bench
    bench.close()


def outdated(bench):
    """Objects and frames whose masks are older than a prompt."""
    ids = bench.objects_with_masks
    table = outdated_masks(bench.work.picture.held, ids, bench.prompts.by_object())
    return {(ids[row], int(frame)) for row, frame in np.argwhere(table)}


def of_object(object_id, *frames):
    return {(object_id, frame) for frame in frames}


def correct(bench):
    bench.choose(1)
    bench.click(4, 6, 8)


def take_back(bench):
    correct(bench)
    bench.undo()
    bench.settle()


def approve(bench):
    bench.show(4)
    bench.approve_frame()
    bench.settle()


def approve_one(bench):
    bench.choose(2)
    bench.show(4)
    bench.approve()
    bench.settle()


def say_absent(bench):
    bench.choose(2)
    bench.show(5)
    bench.absent()
    bench.settle()


def add_object(bench):
    bench.new_object()
    bench.click(3, 3, 25)


def correct_where_it_was_clicked(bench):
    bench.choose(2)
    bench.click(2, 17, 20)


STEPS = {
    correct: of_object(1, 0, 1, 3, 5),
    take_back: set(),
    approve: of_object(1, 0, 1, 3, 5) | of_object(2, 0, 1, 3, 5),
    approve_one: of_object(2, 0, 1, 3, 5),
    say_absent: of_object(2, 0, 1, 3, 4),
    add_object: set(),
    correct_where_it_was_clicked: of_object(2, 0, 1, 3, 4, 5),
}


@pytest.mark.parametrize("step", STEPS)
def test_what_is_older_than_a_prompt_is_followed_again_and_nothing_is_older_afterwards(bench, fake, step):
    step(bench)
    assert outdated(bench) == STEPS[step]
    fake.calls.clear()
    bench.propagate()
    bench.settle()
    followed = {(one, call[1]) for call in fake.calls if call[0] == "follow" for one in call[2]}
    assert followed >= STEPS[step]
    assert outdated(bench) == set()


def test_nothing_is_older_after_following_and_before_any_step(bench):
    assert outdated(bench) == set()
    assert len(bench.masks_on(FRAMES - 1)) == 2
