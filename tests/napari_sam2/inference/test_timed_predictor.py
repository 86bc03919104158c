"""A stopwatch on a model that draws discs."""

import numpy as np
import pytest

from napari_sam2.frames import FrameStack
from napari_sam2.inference.predictor import Direction, Predictor
from napari_sam2.inference.speed import SpeedLog, Work
from napari_sam2.inference.timed_predictor import TimedPredictor
from napari_sam2.prompts import MaskPrompt, PointPrompt
from tests.napari_sam2.fake_predictor import FakePredictor


@pytest.fixture
def log():
    return SpeedLog()


@pytest.fixture
def tracker(log, toy_movie):
    return TimedPredictor(FakePredictor(size=512), "nano", log).open(FrameStack(toy_movie))


def clicks(*object_ids, frame=0):
    return {i: (PointPrompt(i, frame, 2, 2),) for i in object_ids}


def test_it_stands_where_the_model_stands(log):
    fake = FakePredictor()
    timed = TimedPredictor(fake, "nano", log)
    assert isinstance(timed, Predictor)
    assert (timed.name, timed.sha256, timed.working_size(10, 10)) == (fake.name, fake.sha256, 256)
    assert timed.device == ""
    fake.device = "cuda:0"
    assert timed.device == "cuda:0"


def test_it_says_what_the_model_says(log, toy_movie, toy_image):
    fake = FakePredictor()
    timed = TimedPredictor(fake, "nano", log)
    tracker = timed.open(FrameStack(toy_movie))
    (mask,) = tracker.prompt(1, clicks(1, frame=1))
    (followed,) = tracker.follow(2, [1], Direction.FORWARD)
    assert mask.logits.max() > 0
    assert (followed.logits == mask.logits).all()
    tracker.forget(1, 1)
    timed.segment(np.zeros((8, 12, 3), np.uint8), clicks(1))
    assert [call[0] for call in fake.calls] == ["open", "prompt", "follow", "forget", "segment"]


def test_answers_are_timed_with_their_circumstances(log, tracker):
    tracker.prompt(0, clicks(1, 2))
    time = log.typical("nano", Work.ANSWERING)
    assert (time.source, time.working_size, time.num_objects) == ("nano", 512, 2)
    assert time.seconds > 0
    assert log.typical("nano", Work.FOLLOWING) is None


def test_frames_are_timed_with_their_circumstances(log, tracker):
    tracker.prompt(0, clicks(1, 2))
    tracker.follow(1, [1, 2], Direction.FORWARD)
    assert log.typical("nano", Work.FOLLOWING).num_objects == 2


def test_what_is_only_repeated_is_not_timed(log, tracker):
    tracker.prompt(0, clicks(1, 2))
    tracker.follow(0, [1, 2], Direction.FORWARD)
    assert log.typical("nano", Work.FOLLOWING) is None
    tracker.forget(2, 0)
    tracker.prompt(1, clicks(2, frame=1))
    tracker.follow(1, [1, 2], Direction.FORWARD)
    assert log.typical("nano", Work.FOLLOWING).num_objects == 1


def test_a_mask_that_the_user_drew_is_not_timed(log, tracker):
    tracker.prompt(0, {1: (MaskPrompt(1, 0, np.eye(8, 12, dtype=bool)),)})
    assert log.typical("nano", Work.ANSWERING) is None
