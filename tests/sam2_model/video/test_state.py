"""What may be said of an object, and what is kept while it is followed."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sam2_model.errors import ConfigError, FrameError, PromptError
from sam2_model.memory_bank import MAX_POINTERS
from sam2_model.preprocessing import WorkingImage
from sam2_model.video.options import Policy, VideoOptions
from sam2_model.video.state import FeatureCache, FramePrompt, ObjectTrack, VideoState
from tests.sam2_model.toy import HEIGHT, WIDTH, box, clicks, disc_mask, toy_stack

NAN = float("nan")


def state(count: int | None) -> VideoState:
    """Of a stack of so many frames, or of a stream."""
    frames = None if count is None else toy_stack(1).repeat(count, axis=0)
    return VideoState(WorkingImage.stretched(HEIGHT, WIDTH, 64), frames, count or 0, FeatureCache(2))


@pytest.mark.parametrize(
    "prompt",
    [
        clicks((0, 0), (WIDTH - 1, HEIGHT - 1), labels=(1, 0)),
        clicks((-0.5, WIDTH / 2)),  # a pixel reaches half a pixel around its centre
        box(3, 3, 3, 3),
        box(-10, -10, 5, 5),  # partly outside
        FramePrompt(mask=disc_mask(5, 5, 3)),
        FramePrompt(mask=disc_mask(5, 5, 3), points=np.ones((1, 2), np.float32), labels=np.zeros(1, np.int64)),
    ],
)
def test_what_can_be_answered_is_accepted(prompt):
    prompt.check(HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (FramePrompt(), "empty: give points, a box or a mask"),
        (clicks((NAN, 3)), "outside the frame"),
        (clicks((3, float("inf"))), "outside the frame"),
        (clicks((3, 4), (-1, 5)), r"Point \(y 5, x -1\) lies outside the frame of 48 x 60 pixels"),
        (clicks((60, 5)), "outside the frame"),
        (clicks((5, 48)), "outside the frame"),
        (clicks((5, 5), labels=(2,)), "label is 1"),
        (clicks((5, 5), labels=(-1,)), "label is 1"),
        (clicks((5, 5), labels=(1, 0)), "as many labels"),
        (FramePrompt(points=np.zeros((1, 3), np.float32), labels=np.ones(1, np.int64)), "as many labels"),
        (box(9, 3, 5, 8), r"Box \(y 3 to 8, x 9 to 5\) is upside down"),
        (box(3, 9, 8, 5), "upside down"),
        (box(3, 3, NAN, 5), "four finite numbers"),
        (FramePrompt(box=np.zeros(3, np.float32)), "four finite numbers"),
        (box(-9, 3, -4, 5), "outside the frame"),
        (box(61, 3, 64, 5), "outside the frame"),
        (FramePrompt(mask=np.zeros((HEIGHT, WIDTH), bool)), "mask prompt is empty"),
        (FramePrompt(mask=np.ones((WIDTH, HEIGHT), bool)), r"boolean of shape \(48, 60\)"),
        (FramePrompt(mask=np.ones((HEIGHT, WIDTH), np.uint8)), "this one is uint8"),
        (replace(clicks((5, 5)), candidate=3), "There is no candidate 3: use 0, 1 or 2"),
        (replace(clicks((5, 5)), candidate=-1), "There is no candidate -1"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_sentence(prompt, sentence):
    with pytest.raises(PromptError, match=sentence) as refused:
        prompt.check(HEIGHT, WIDTH)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("prompt", "is_absence"),
    [
        (clicks((5, 5), labels=(0,)), True),
        (clicks((5, 5), (6, 6), labels=(0, 0)), True),
        (clicks((5, 5), (6, 6), labels=(0, 1)), False),
        (box(3, 3, 5, 5), False),
        (FramePrompt(mask=disc_mask(5, 5, 3), points=np.ones((1, 2), np.float32), labels=np.zeros(1, np.int64)), False),
    ],
)
def test_only_negative_points_alone_mean_absence(prompt, is_absence):
    assert prompt.is_absence is is_absence


def test_an_object_begins_where_it_was_first_shown():
    assert ObjectTrack().origin is None
    assert ObjectTrack({2: True}).origin is None, "there it is absent"
    assert ObjectTrack({7: False, 2: True, 4: False}).origin == 4


@pytest.mark.parametrize(("count", "reach"), [(1, 1), (5, 5), (16, 16), (40, MAX_POINTERS), (None, MAX_POINTERS)])
def test_the_reach_of_pointers_is_the_length_of_a_short_stack(count, reach):
    assert state(count).reach == reach


@pytest.mark.parametrize(("count", "frame"), [(5, -1), (5, 5), (None, 0)])
def test_frames_that_do_not_exist_are_refused(count, frame):
    with pytest.raises(FrameError, match=f"There is no frame {frame}: "):
        state(count).check_frame(frame)
    state(5).check_frame(4)


def test_an_unknown_object_is_refused():
    with pytest.raises(PromptError, match="Object 3 has no prompt"):
        state(5).track_of(3)


def test_the_cache_drops_what_was_used_longest_ago():
    cache, missing = FeatureCache(2), []
    for frame in (0, 1, 0, 2, 0, 1):
        if cache.get(frame) is None:
            missing.append(frame)
            cache.put(frame, SimpleNamespace(frame=frame))
        assert cache.get(frame).frame == frame
    assert missing == [0, 1, 2, 1]


def test_asking_whether_features_are_kept_is_no_use_of_them():
    cache = FeatureCache(2)
    cache.put(0, SimpleNamespace())
    cache.put(1, SimpleNamespace())
    assert 0 in cache
    cache.put(2, SimpleNamespace())
    assert [frame in cache for frame in range(3)] == [False, True, True]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"max_conditioning": 0}, "max_conditioning is 0"),
        ({"cached_frames": 0}, "cached_frames is 0"),
        ({"max_batch": -1}, "max_batch is -1"),
        ({"hole_area": -1}, "hole_area is -1"),
    ],
)
def test_options_with_which_nothing_could_be_followed_are_refused(option, sentence):
    with pytest.raises(ConfigError, match=sentence):
        VideoOptions(**option)


def test_the_repaired_policy_is_the_default_and_the_reference_has_its_own_options():
    assert VideoOptions().policy is Policy.REPAIRED
    reference = VideoOptions.reference()
    assert (reference.policy, reference.max_conditioning, reference.hole_area) == (Policy.REFERENCE, None, 8)
