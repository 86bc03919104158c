"""The session keeps the model in step with the prompts."""

import numpy as np
import pytest

from napari_sam2.errors import PromptError
from napari_sam2.frames import FrameStack
from napari_sam2.labels.composing import compose
from napari_sam2.prompts import BoxPrompt, PointPrompt, PromptSet, Target
from napari_sam2.tracking.stack import TrackedStack
from sam2_model.memory_bank import Direction
from tests.napari_sam2.fake_predictor import FakePredictor, FakeTracker

A0, A2 = PointPrompt(1, 0, 2, 1), PointPrompt(1, 2, 3, 1)
B0, B0_AGAIN = BoxPrompt(2, 0, 1, 6, 3, 9), PointPrompt(2, 0, 2, 8, positive=False)
C2 = PointPrompt(3, 2, 5, 2)


@pytest.fixture
def session(fake, toy_movie):
    session = TrackedStack(fake, FrameStack(toy_movie))
    fake.calls.clear()
    return session


def applied(session, *prompts):
    return list(session.apply(PromptSet(prompts)))


@pytest.mark.parametrize(
    ("before", "after", "calls"),
    [
        pytest.param([], [A0, B0], [("prompt", 0, (1, 2))], id="objects of one frame in one call"),
        pytest.param([], [C2, B0, A2], [("prompt", 0, (2,)), ("prompt", 2, (1, 3))], id="frames in order"),
        pytest.param([A0, B0], [A0, B0], [], id="nothing new"),
        pytest.param([A0, B0], [B0, A0], [], id="the order of objects says nothing"),
        pytest.param([A0, B0], [A0, B0, B0_AGAIN], [("prompt", 0, (2,))], id="only the changed object"),
        pytest.param([A0, B0, B0_AGAIN], [A0, B0_AGAIN, B0], [("prompt", 0, (2,))], id="the order of prompts does"),
        pytest.param([A0, A2, B0], [A0, B0], [("forget", 1, 2)], id="removed on a frame"),
        pytest.param([A0, B0], [B0], [("forget", 1, 0)], id="removed altogether"),
        pytest.param([A0, B0], [A2, B0], [("forget", 1, 0), ("prompt", 2, (1,))], id="moved to another frame"),
        pytest.param([A0], [C2], [("forget", 1, 0), ("prompt", 2, (3,))], id="replaced by another object"),
    ],
)
def test_only_what_changed_reaches_the_model(session, fake, before, after, calls):
    if before:
        applied(session, *before)
    fake.calls.clear()
    results = applied(session, *after)
    assert fake.calls == calls
    answered = [(result.frame, tuple(mask.object_id for mask in result.objects)) for result in results]
    assert answered == [call[1:] for call in calls if call[0] == "prompt"]
    assert session.prompts == PromptSet(after)


def test_prompts_of_a_target_reach_the_model_in_the_order_given(toy_movie):
    # A later box covers what an earlier click took away: order decides.
    take_away = PointPrompt(2, 0, 2, 8, positive=False)
    sizes = []
    for prompts in ([B0, take_away], [take_away, B0]):
        session = TrackedStack(FakePredictor(), FrameStack(toy_movie))
        (result,) = applied(session, *prompts)
        sizes.append(np.count_nonzero(compose(result.objects, 8, 12, np.dtype(np.uint16)).labels))
        assert dict(session.prompts) == {Target(2, 0): tuple(prompts)}
    assert sizes[0] < sizes[1] == 12


def test_closing_midway_leaves_the_rest_to_be_applied(session, fake):
    snapshot = PromptSet([A0, B0, A2, C2])
    applying = session.apply(snapshot)
    assert next(applying).frame == 0
    applying.close()
    assert session.prompts == PromptSet([A0, B0])
    assert [result.frame for result in session.apply(snapshot)] == [2]
    assert fake.calls == [("prompt", 0, (1, 2)), ("prompt", 2, (1, 3))]
    assert session.prompts == snapshot


def test_what_was_not_reached_of_an_older_snapshot_is_not_applied_with_a_newer(session, fake):
    applying = session.apply(PromptSet([A0, A2, C2]))
    next(applying)
    applying.close()
    fake.calls.clear()
    assert applied(session, A0, B0)
    assert fake.calls == [("prompt", 0, (2,))]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([A0, PointPrompt(2, 5, 1, 1)], "there is no frame 5"),
        ([A0, PointPrompt(2, 0, 1, 12)], "lies outside"),
        ([A0, PointPrompt(2, 0, 1, 1, positive=False)], "Object 2 has only negative points"),
    ],
)
def test_prompts_that_cannot_be_answered_change_nothing(session, fake, prompts, message):
    applied(session, A2)
    fake.calls.clear()
    with pytest.raises(PromptError, match=message):
        applied(session, *prompts)
    assert fake.calls == []
    assert session.prompts == PromptSet([A2])


def test_without_any_prompt_left_everything_is_forgotten(session, fake):
    applied(session, A0, B0)
    fake.calls.clear()
    assert applied(session) == []
    assert fake.calls == [("forget", 1, 0), ("forget", 2, 0)]
    assert session.prompts == PromptSet()


def test_a_model_that_fails_is_asked_again(session, fake, monkeypatch):
    applied(session, A0)

    def fail(tracker, frame, prompts):
        raise RuntimeError("no memory")

    with monkeypatch.context() as broken:
        broken.setattr(FakeTracker, "prompt", fail)
        with pytest.raises(RuntimeError, match="no memory"):
            applied(session, A0, C2)
    assert session.prompts == PromptSet([A0])
    fake.calls.clear()
    applied(session, A0, C2)
    assert fake.calls == [("prompt", 2, (3,))]


def test_following_is_handed_on(session, fake):
    applied(session, A0, B0)
    fake.calls.clear()
    result = session.follow(1, (2, 1), Direction.FORWARD)
    assert (result.frame, tuple(o.object_id for o in result.objects)) == (1, (2, 1))
    assert fake.calls == [("follow", 1, (2, 1), Direction.FORWARD)]


def test_a_box_that_reaches_beyond_the_image_is_asked_once(session, fake):
    box = BoxPrompt(1, 0, -30, 2, 4, 40)
    for _ in range(2):
        applied(session, box)
    assert fake.calls == [("prompt", 0, (1,))]
    assert session.prompts == PromptSet([box])


def test_a_frame_is_announced_before_it_is_looked_at_for_the_first_time(session, fake):
    looked = []

    def answer(*prompts):
        looked.clear()
        for result in session.apply(PromptSet(prompts), look=looked.append):
            assert result.frame in (*looked, 0)
        return looked

    assert answer(A0, B0) == [0]
    assert answer(A0, B0, B0_AGAIN) == []
    assert answer(A0, B0, A2) == [2]
