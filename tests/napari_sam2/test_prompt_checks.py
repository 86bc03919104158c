"""Mistakes among prompts are left out and told, and the others are heeded."""

import numpy as np

from napari_sam2.prompt_checks import without_rivals, without_unknown
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet

MASK = np.eye(3, dtype=np.bool_)


def off(object_id, frame=0):
    return PointPrompt(object_id, frame, 1, 1, positive=False)


def test_the_first_box_and_the_first_mask_of_an_object_on_a_frame_count():
    boxes = [BoxPrompt(1, 0, 0, 0, size, size) for size in (1, 2, 3)]
    masks = [MaskPrompt(1, 0, MASK), MaskPrompt(1, 0, ~MASK), MaskPrompt(1, 1, MASK)]
    points = [PointPrompt(1, 0, 1, 1)] * 2
    heeded = without_rivals([*boxes, *masks, *points])
    assert heeded.prompts.prompts == (boxes[0], masks[0], masks[2], *points)
    assert "Object 1 has 3 boxes on frame 0, and the first one counts. Delete the others" in heeded.remark
    assert "Object 1 has 2 masks on frame 0" in heeded.remark


def test_prompts_without_a_mistake_are_heeded_without_a_word():
    prompts = [PointPrompt(1, 0, 1, 1), off(1), BoxPrompt(2, 0, 0, 0, 1, 1), off(2, frame=3)]
    assert without_rivals(prompts).remark == ""
    heeded = without_unknown(PromptSet(prompts))
    assert (heeded.prompts.prompts, heeded.remark, heeded.unknown) == (tuple(prompts), "", frozenset())


def test_an_object_of_which_only_negative_points_are_said_is_left_out():
    heeded = without_unknown(PromptSet([off(1), off(1, frame=2), PointPrompt(2, 0, 1, 1)]))
    assert heeded.prompts.object_ids == (2,)
    assert heeded.unknown == {1}
    assert heeded.remark.startswith("Object 1 has only negative points")


def test_of_many_mistakes_a_few_are_named():
    heeded = without_unknown(PromptSet([off(number) for number in range(1, 301)]))
    assert len(heeded.unknown) == 300
    assert heeded.remark.startswith("Object 1, 2, 3, 4, 5 and others has only")
    boxes = [BoxPrompt(number, 0, 0, 0, size, size) for number in range(1, 301) for size in (1, 2)]
    assert without_rivals(boxes).remark.count("has 2 boxes") == 5
