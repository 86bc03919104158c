import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from napari_sam2.errors import PromptError
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet, Target


def drawn(text):
    """Label image from a drawing: digits are ids, dots background."""
    return np.array([[int(pixel) if pixel != "." else 0 for pixel in row] for row in text.split()])


CELLS = drawn("""
    .11...
    .11.7.
    ....77
    22....
""")

BLOB = CELLS == 7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PointPrompt(0, 0, 1, 1), "Object id is 0. Use a whole number from 1"),
        (lambda: PointPrompt(-3, 0, 1, 1), "Object id is -3"),
        (lambda: PointPrompt(1.0, 0, 1, 1), "Object id is 1.0, of type float"),
        (lambda: PointPrompt(True, 0, 1, 1), "Object id is True, of type bool"),
        (lambda: PointPrompt(np.True_, 0, 1, 1), "of type bool"),
        (lambda: PointPrompt("1", 0, 1, 1), "Object id is '1', of type str"),
        (lambda: PointPrompt(1, -1, 1, 1), "Frame is -1. Use a whole number from 0"),
        (lambda: PointPrompt(1, None, 1, 1), "Frame is None"),
        (lambda: PointPrompt(1, 0, np.nan, 1), "Point coordinate y is nan"),
        (lambda: PointPrompt(1, 0, 1, np.inf), "Point coordinate x is inf"),
        (lambda: PointPrompt(1, 0, 10**400, 1), "Point coordinate y is inf"),
        (lambda: PointPrompt(1, 0, "4", 1), "Point coordinate y is '4', of type str"),
        (lambda: PointPrompt(1, 0, True, 1), "of type bool"),
        (lambda: PointPrompt(1, 0, 1, 1, positive="no"), "positive is 'no'. Use True or False"),
        (lambda: PointPrompt(1, 0, 1, 1, candidate=3), "candidate is 3. Use 0, 1 or 2, .* or None"),
        (lambda: PointPrompt(1, 0, 1, 1, candidate=-1), "candidate is -1. Use 0, 1 or 2"),
        (lambda: PointPrompt(1, 0, 1, 1, candidate=1.0), "candidate is 1.0. Use"),
        (lambda: PointPrompt(1, 0, 1, 1, candidate=True), "candidate is True. Use"),
        (lambda: PointPrompt(1, 0, 1, 1, candidate=np.True_), "candidate is .*True.* Use"),
        (lambda: PointPrompt(1, 0, 1, 1, candidate="1"), "candidate is '1'. Use"),
        (lambda: PointPrompt(1, 0, 1, 1, candidate=10**400), "candidate is 1000"),
        (lambda: PointPrompt(1, 0, 1, 1, positive=False, candidate=0), "Candidate 0 is chosen with a negative point"),
        (lambda: BoxPrompt(1, 0, 40, 1, 12, 9), r"Box \(y 40 to 12\) is upside down: y_min must be below y_max"),
        (lambda: BoxPrompt(1, 0, 1, 9, 2, 3), r"Box \(x 9 to 3\) is upside down"),
        (lambda: BoxPrompt(1, 0, 5, 1, 5, 9), "Box is empty: y_min and y_max are both 5"),
        (lambda: BoxPrompt(1, 0, 1, 7, 5, 7), "Box is empty: x_min and x_max are both 7"),
        (lambda: BoxPrompt(1, 0, 1, 2, np.nan, 7), "Box corner y_max is nan"),
        (lambda: BoxPrompt(0, 0, 1, 2, 3, 4), "Object id is 0"),
        (lambda: MaskPrompt(0, 0, BLOB), "Object id is 0"),
        (lambda: MaskPrompt(1, -1, BLOB), "Frame is -1"),
        (lambda: MaskPrompt(1, 0, BLOB.astype(int)), "Mask is of dtype int64. Make it boolean"),
        (lambda: MaskPrompt(1, 0, BLOB[None]), r"Mask has shape \(1, 4, 6\)"),
        (lambda: MaskPrompt(1, 0, ~np.ones((4, 6), bool)), r"Mask of shape \(4, 6\) is empty"),
        (lambda: MaskPrompt(1, 0, np.zeros((0, 6), bool)), r"Mask of shape \(0, 6\) is empty"),
        (lambda: MaskPrompt(1, 0, BLOB, corner=(1, 0), shape=(4, 6)), "does not fit into an image of shape"),
        (lambda: MaskPrompt(1, 0, BLOB, corner=(0, -1), shape=(9, 9)), "does not fit into an image of shape"),
    ],
)
def test_a_malformed_prompt_is_refused_with_its_value(make, message):
    with pytest.raises(PromptError, match=message):
        make()


def test_numpy_numbers_become_plain_ones():
    point = PointPrompt(np.uint16(3), np.int64(2), np.float32(1.5), np.int8(4), positive=np.False_)
    assert point == PointPrompt(3, 2, 1.5, 4.0, positive=False)
    assert [type(value) for value in (point.object_id, point.frame, point.y, point.x, point.positive)] == [
        int,
        int,
        float,
        float,
        bool,
    ]


def test_another_candidate_is_another_prompt():
    point = PointPrompt(1, 0, 2, 3)
    chosen = PointPrompt(1, 0, 2, 3, candidate=np.int8(2))
    assert (point.candidate, chosen.candidate, type(chosen.candidate)) == (None, 2, int)
    assert point != chosen
    assert PromptSet([chosen]).changed_since(PromptSet([point])) == {Target(1, 0)}


@pytest.mark.parametrize("prompt", [PointPrompt(3, 2, 1, 1), BoxPrompt(3, 2, 0, 0, 1, 1), MaskPrompt(3, 2, BLOB)])
def test_a_prompt_knows_its_target_and_cannot_be_changed(prompt):
    assert prompt.target == Target(3, 2)
    with pytest.raises(FrozenInstanceError):
        prompt.frame = 5
    assert pickle.loads(pickle.dumps(prompt)) == prompt


def test_targets_sort_by_object_then_frame():
    assert sorted([Target(2, 0), Target(1, 9), Target(1, 3)]) == [Target(1, 3), Target(1, 9), Target(2, 0)]


def test_a_mask_is_copied_and_read_only():
    mask = BLOB.copy()
    prompt = MaskPrompt(1, 0, mask)
    mask[:] = False
    np.testing.assert_array_equal(prompt.mask, BLOB)
    for array in (prompt.mask, prompt.crop):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = True


def test_masks_compare_and_hash_by_their_pixels():
    assert MaskPrompt(1, 0, BLOB) == MaskPrompt(1, 0, BLOB.copy())
    assert hash(MaskPrompt(1, 0, BLOB)) == hash(MaskPrompt(1, 0, np.asfortranarray(BLOB)))
    others = [MaskPrompt(2, 0, BLOB), MaskPrompt(1, 1, BLOB), MaskPrompt(1, 0, ~BLOB), MaskPrompt(1, 0, BLOB.T)]
    others += [MaskPrompt(1, 0, np.roll(BLOB, -1, axis=0)), MaskPrompt(1, 0, BLOB[:, :], corner=(0, 0), shape=(5, 6))]
    assert len({MaskPrompt(1, 0, BLOB), *others}) == 1 + len(others)
    assert PointPrompt(1, 0, 1, 1) != MaskPrompt(1, 0, BLOB)


def test_a_part_with_its_corner_is_the_same_mask_as_the_whole():
    assert MaskPrompt(1, 0, BLOB[1:, 3:], corner=(1, 3), shape=BLOB.shape) == MaskPrompt(1, 0, BLOB)


def test_a_mask_prompt_keeps_only_the_rectangle_of_its_object():
    mask = np.zeros((2048, 2048), bool)
    mask[1000:1003, 70:79] = True
    prompt = MaskPrompt(1, 0, mask)
    assert (prompt.shape, prompt.corner, prompt.extent) == ((2048, 2048), (1000, 70), (3, 9))
    assert len(prompt.bits) == 4
    np.testing.assert_array_equal(prompt.mask, mask)


def test_a_mask_moves_to_another_frame_with_replace():
    moved = replace(MaskPrompt(1, 0, BLOB), frame=4, mask=BLOB)
    assert moved == MaskPrompt(1, 4, BLOB)


def test_a_set_keeps_the_order_given_and_equal_points():
    clicks = [PointPrompt(2, 5, 1, 1), PointPrompt(1, 0, 2, 2), PointPrompt(2, 5, 1, 1), BoxPrompt(1, 3, 0, 0, 2, 2)]
    prompts = PromptSet(iter(clicks))
    assert prompts.prompts == tuple(clicks)
    assert prompts[Target(2, 5)] == (clicks[0], clicks[2])
    assert prompts.object_ids == (1, 2)
    assert prompts.frames_of(1) == (0, 3)
    assert prompts.frames_of(9) == ()
    assert len(prompts) == 3
    assert PromptSet(prompts) == prompts
    assert eval(repr(PromptSet(clicks))) == prompts


def test_a_set_is_equal_to_one_with_the_same_prompts_per_target():
    a, b, c = PointPrompt(1, 0, 1, 1), PointPrompt(2, 0, 1, 1), PointPrompt(1, 0, 2, 2)
    assert PromptSet([a, b, c]) == PromptSet([b, a, c])
    assert hash(PromptSet([a, b, c])) == hash(PromptSet([b, a, c]))
    assert PromptSet([a, b, c]) != PromptSet([c, b, a])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([BoxPrompt(1, 2, 0, 0, 1, 1), BoxPrompt(1, 2, 0, 0, 3, 3)], "Object 1 has 2 boxes on frame 2. Keep one"),
        ([MaskPrompt(4, 0, BLOB), MaskPrompt(4, 0, BLOB)], "Object 4 has 2 masks on frame 0. Unite them"),
        (PointPrompt(1, 0, 1, 1), r"Write \[prompt\]"),
        ([PointPrompt(1, 0, 1, 1), (3, 4)], "Item 1 of the prompts is of type tuple"),
    ],
)
def test_a_set_refuses_what_cannot_be_combined(prompts, message):
    with pytest.raises(PromptError, match=message):
        PromptSet(prompts)


def test_a_box_and_a_mask_and_points_live_on_one_target():
    prompts = PromptSet([BoxPrompt(1, 0, 0, 0, 1, 1), MaskPrompt(1, 0, BLOB), PointPrompt(1, 0, 1, 1)])
    assert len(prompts[Target(1, 0)]) == 3


def test_changes_are_what_was_added_changed_reordered_or_removed():
    stays, goes = PointPrompt(1, 0, 1, 1), PointPrompt(2, 0, 1, 1)
    first, second = PointPrompt(3, 0, 1, 1), PointPrompt(3, 0, 2, 2)
    before = PromptSet([stays, goes, first, second, MaskPrompt(4, 1, BLOB), MaskPrompt(5, 1, BLOB)])
    after = PromptSet(
        [stays, second, first, MaskPrompt(4, 1, BLOB.copy()), MaskPrompt(5, 1, ~BLOB), PointPrompt(6, 2, 0, 0)]
    )
    changed = frozenset({Target(2, 0), Target(3, 0), Target(5, 1), Target(6, 2)})
    assert after.changed_since(before) == changed
    assert before.changed_since(after) == changed
    assert before.changed_since(before) == frozenset()
    assert before.changed_since(PromptSet()) == frozenset(before)


def test_prompts_are_found_by_object_in_the_order_given():
    first, second, third = PointPrompt(2, 5, 1, 1), PointPrompt(1, 0, 2, 2), PointPrompt(2, 0, 3, 3)
    assert PromptSet([first, second, third]).by_object() == {2: (first, third), 1: (second,)}
    assert PromptSet().by_object() == {}
