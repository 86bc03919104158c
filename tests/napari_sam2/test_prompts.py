import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from napari_sam2.errors import PromptError
from napari_sam2.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PromptSet,
    Target,
    is_absence,
)


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
    assert PromptSet([*clicks, PointPrompt(1, 5, 0, 0)]).on_frame(5) == {
        1: (PointPrompt(1, 5, 0, 0),),
        2: (clicks[0], clicks[2]),
    }
    assert list(PromptSet([*clicks, PointPrompt(1, 5, 0, 0)]).on_frame(5)) == [1, 2]
    assert prompts.on_frame(4) == {}
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


NEGATIVE = PointPrompt(1, 0, 1, 1, positive=False)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "There are no prompts"),
        ([PointPrompt(1, 3, 1, 1)], "there is no frame 3; the data has 3 frames"),
        ([PointPrompt(1, 0, -0.51, 1)], r"point \(y -0.51, x 1\) lies outside the image of 4 x 6 pixels"),
        ([PointPrompt(1, 0, 3.51, 1)], "lies outside"),
        ([PointPrompt(1, 0, 1, 5.6)], "lies outside"),
        ([BoxPrompt(1, 0, 4, 0, 9, 3)], "lies wholly outside the image of 4 x 6"),
        ([BoxPrompt(1, 0, 0, -9, 3, -1)], "lies wholly outside"),
        ([MaskPrompt(1, 0, BLOB.T)], r"the mask has shape \(6, 4\) and the image \(4, 6\)"),
        ([NEGATIVE, PointPrompt(1, 2, 1, 1, positive=False)], "Object 1 has only negative points on any frame"),
        ([PointPrompt(2**32, 0, 1, 1)], "Object id 4294967296 does not fit a label image"),
    ],
)
def test_prompts_that_do_not_fit_the_stack_are_refused(prompts, message):
    with pytest.raises(PromptError, match=message):
        PromptSet(prompts).check(3, 4, 6)


@pytest.mark.parametrize(
    "prompt",
    [
        PointPrompt(1, 2, -0.5, -0.5),
        PointPrompt(1, 0, 3.5, 5.5),
        PointPrompt(2**32 - 1, 0, 0, 0),
        BoxPrompt(1, 0, -7, -7, 0, 0),
        BoxPrompt(1, 0, 3, 5, 90, 90),
        MaskPrompt(1, 0, BLOB),
    ],
)
def test_prompts_that_reach_the_image_are_accepted(prompt):
    PromptSet([prompt]).check(3, 4, 6)


def test_negative_points_alone_mean_absence_on_a_frame_of_a_stack_and_nothing_in_an_image():
    PromptSet([NEGATIVE, PointPrompt(1, 2, 1, 1)]).check(3, 4, 6)
    with pytest.raises(PromptError, match="only negative points, so nothing says what it is"):
        PromptSet([NEGATIVE]).check(1, 4, 6, single_image=True)
    with pytest.raises(PromptError, match="one image, which is frame 0"):
        PromptSet([PointPrompt(1, 1, 1, 1)]).check(1, 4, 6, single_image=True)


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([NEGATIVE], True),
        ([NEGATIVE, NEGATIVE], True),
        ([NEGATIVE, PointPrompt(1, 0, 1, 1)], False),
        ([NEGATIVE, BoxPrompt(1, 0, 0, 0, 1, 1)], False),
        ([MaskPrompt(1, 0, BLOB)], False),
        ([], False),
    ],
)
def test_absence_is_negative_points_and_nothing_else(prompts, expected):
    assert is_absence(prompts) is expected


def test_prompts_are_found_by_object_in_the_order_given():
    first, second, third = PointPrompt(2, 5, 1, 1), PointPrompt(1, 0, 2, 2), PointPrompt(2, 0, 3, 3)
    assert PromptSet([first, second, third]).by_object() == {2: (first, third), 1: (second,)}
    assert PromptSet().by_object() == {}


def test_checking_many_prompts_looks_at_each_target_once():
    class Counting(PromptSet):
        looks = 0

        def __iter__(self):
            Counting.looks += 1
            return super().__iter__()

        def __getitem__(self, target):
            Counting.looks += 1
            return super().__getitem__(target)

    Counting(PointPrompt(i, frame, 5, 5) for i in range(1, 41) for frame in range(3)).check(3, 10, 10)
    assert Counting.looks <= 3 * 40


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((1, 1, 2, 2), (1, 1, 2, 2)),
        ((-30, 1, 2, 1e300), (-0.5, 1, 2, 5.5)),
        ((-9, -9, 99, 99), (-0.5, -0.5, 3.5, 5.5)),
        ((3.4, 1, 99, 2), (3.4, 1, 3.5, 2)),
    ],
)
def test_of_a_box_that_reaches_beyond_the_image_the_model_is_given_the_part_inside(corners, expected):
    box, click = BoxPrompt(3, 2, *corners), PointPrompt(3, 2, 1, 1)
    prompts = PromptSet([box, click])
    prompts.check(3, 4, 6)
    assert prompts.inside(4, 6) == PromptSet([BoxPrompt(3, 2, *expected), click])
    assert prompts.prompts == (box, click)


@pytest.mark.parametrize("corners", [(-5, 1, -0.5, 2), (3.5, 1, 9, 2), (1, 5.5, 2, 6), (1, -3, 2, -1)])
def test_a_box_wholly_outside_has_no_part_inside(corners):
    prompts = PromptSet([BoxPrompt(3, 0, *corners)])
    for ask in (lambda: prompts.check(1, 4, 6), lambda: prompts.inside(4, 6)):
        with pytest.raises(
            PromptError, match=r"Object 3 on frame 0: the box .* lies wholly outside the image of 4 x 6"
        ):
            ask()
