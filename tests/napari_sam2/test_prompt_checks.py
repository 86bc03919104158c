"""Prompts that do not fit the image are refused; of others, mistakes are left out with a sentence."""

import numpy as np
import pytest

from napari_sam2.errors import PromptError
from napari_sam2.prompt_checks import check_prompts, is_absence, prompts_inside, without_rivals, without_unknown
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet

MASK = np.eye(4, 6, dtype=np.bool_)


def off(object_id, frame=0):
    return PointPrompt(object_id, frame, 1, 1, positive=False)


def test_the_first_box_and_the_first_mask_of_an_object_on_a_frame_count():
    boxes = [BoxPrompt(1, 0, 0, 0, size, size) for size in (1, 2, 3)]
    masks = [MaskPrompt(1, 0, MASK), MaskPrompt(1, 0, ~MASK), MaskPrompt(1, 1, MASK)]
    points = [PointPrompt(1, 0, 1, 1)] * 2
    usable = without_rivals([*boxes, *masks, *points])
    assert usable.prompts.prompts == (boxes[0], masks[0], masks[2], *points)
    assert "Object 1 has 3 boxes on frame 0, and the first one counts. Delete the others" in usable.remark
    assert "Object 1 has 2 masks on frame 0" in usable.remark


def test_prompts_without_a_mistake_are_left_as_they_are_without_a_word():
    prompts = [PointPrompt(1, 0, 1, 1), off(1), BoxPrompt(2, 0, 0, 0, 1, 1), off(2, frame=3)]
    assert without_rivals(prompts).remark == ""
    usable = without_unknown(PromptSet(prompts))
    assert (usable.prompts.prompts, usable.remark, usable.unknown) == (tuple(prompts), "", frozenset())


def test_an_object_of_which_only_negative_points_are_said_is_left_out():
    usable = without_unknown(PromptSet([off(1), off(1, frame=2), PointPrompt(2, 0, 1, 1)]))
    assert usable.prompts.object_ids == (2,)
    assert usable.unknown == {1}
    assert usable.remark.startswith("Object 1 has only negative points")


def test_of_many_mistakes_a_few_are_named():
    usable = without_unknown(PromptSet([off(number) for number in range(1, 301)]))
    assert len(usable.unknown) == 300
    assert usable.remark.startswith("Object 1, 2, 3, 4, 5 and others has only")
    boxes = [BoxPrompt(number, 0, 0, 0, size, size) for number in range(1, 301) for size in (1, 2)]
    assert without_rivals(boxes).remark.count("has 2 boxes") == 5


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
        ([MaskPrompt(1, 0, MASK.T)], r"the mask has shape \(6, 4\) and the image \(4, 6\)"),
        ([NEGATIVE, PointPrompt(1, 2, 1, 1, positive=False)], "Object 1 has only negative points on any frame"),
        ([PointPrompt(2**32, 0, 1, 1)], "Object id 4294967296 does not fit a label image"),
    ],
)
def test_prompts_that_do_not_fit_the_stack_are_refused(prompts, message):
    with pytest.raises(PromptError, match=message):
        check_prompts(PromptSet(prompts), 3, 4, 6)


@pytest.mark.parametrize(
    "prompt",
    [
        PointPrompt(1, 2, -0.5, -0.5),
        PointPrompt(1, 0, 3.5, 5.5),
        PointPrompt(2**32 - 1, 0, 0, 0),
        BoxPrompt(1, 0, -7, -7, 0, 0),
        BoxPrompt(1, 0, 3, 5, 90, 90),
        MaskPrompt(1, 0, MASK),
    ],
)
def test_prompts_that_reach_the_image_are_accepted(prompt):
    check_prompts(PromptSet([prompt]), 3, 4, 6)


def test_negative_points_alone_mean_absence_on_a_frame_of_a_stack_and_nothing_in_an_image():
    check_prompts(PromptSet([NEGATIVE, PointPrompt(1, 2, 1, 1)]), 3, 4, 6)
    with pytest.raises(PromptError, match="only negative points, so nothing says what it is"):
        check_prompts(PromptSet([NEGATIVE]), 1, 4, 6, single_image=True)
    with pytest.raises(PromptError, match="one image, which is frame 0"):
        check_prompts(PromptSet([PointPrompt(1, 1, 1, 1)]), 1, 4, 6, single_image=True)


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([NEGATIVE], True),
        ([NEGATIVE, NEGATIVE], True),
        ([NEGATIVE, PointPrompt(1, 0, 1, 1)], False),
        ([NEGATIVE, BoxPrompt(1, 0, 0, 0, 1, 1)], False),
        ([MaskPrompt(1, 0, MASK)], False),
        ([], False),
    ],
)
def test_absence_is_negative_points_and_nothing_else(prompts, expected):
    assert is_absence(prompts) is expected


def test_checking_many_prompts_looks_at_each_target_once():
    class Counting(PromptSet):
        looks = 0

        def __iter__(self):
            Counting.looks += 1
            return super().__iter__()

        def __getitem__(self, target):
            Counting.looks += 1
            return super().__getitem__(target)

    prompts = Counting(PointPrompt(i, frame, 5, 5) for i in range(1, 41) for frame in range(3))
    check_prompts(prompts, 3, 10, 10)
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
    check_prompts(prompts, 3, 4, 6)
    assert prompts_inside(prompts, 4, 6) == PromptSet([BoxPrompt(3, 2, *expected), click])
    assert prompts.prompts == (box, click)


@pytest.mark.parametrize("corners", [(-5, 1, -0.5, 2), (3.5, 1, 9, 2), (1, 5.5, 2, 6), (1, -3, 2, -1)])
def test_a_box_wholly_outside_has_no_part_inside(corners):
    prompts = PromptSet([BoxPrompt(3, 0, *corners)])
    for ask in (lambda: check_prompts(prompts, 1, 4, 6), lambda: prompts_inside(prompts, 4, 6)):
        with pytest.raises(
            PromptError, match=r"Object 3 on frame 0: the box .* lies wholly outside the image of 4 x 6"
        ):
            ask()
