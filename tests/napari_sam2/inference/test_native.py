"""Large frames: who answers and who follows, crops or the whole frame; and what a click on a small cell is worth."""

import numpy as np
import pytest

from napari_sam2.frames import FrameStack
from napari_sam2.inference.models import automatic_size
from napari_sam2.inference.native import NativeTracker, is_cut
from napari_sam2.inference.sam2 import Sam2Predictor
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.results import ObjectMask
from sam2_model.config import CONFIGS, Framing
from sam2_model.memory_bank import Direction
from sam2_model.sam2 import Sam2
from sam2_model.video.crops import Crops
from sam2_model.weights.loading import LoadedModel
from tests.napari_sam2.fake_predictor import FakePredictor

CROPS = Crops(40, 400, 32)
SMALL, LARGE = BoxPrompt(1, 0, 5, 100, 15, 110), BoxPrompt(1, 0, 5, 100, 15, 140)
STACK = FrameStack(np.zeros((5, 40, 400), np.uint8), contrast_limits=(0, 1))


class Both:
    """A native tracker over two that draw; `calls` of each say what it was asked for."""

    def __init__(self, stack=STACK):
        self.close, self.whole = FakePredictor(), FakePredictor()
        self.tracker = NativeTracker(self.close.open(stack), lambda: self.whole.open(stack), CROPS)
        self.close.calls.clear()

    def prompt(self, frame, box, object_id=1):
        given = {object_id: (BoxPrompt(object_id, frame, box.y_min, box.x_min, box.y_max, box.x_max),)}
        (mask,) = self.tracker.prompt(frame, given)
        return mask

    def follow(self, frame, *object_ids):
        return self.tracker.follow(frame, object_ids, Direction.FORWARD)


def verbs(predictor):
    return [call[:2] for call in predictor.calls]


def test_what_a_crop_holds_is_answered_and_followed_there_and_frames_are_not_seen_whole():
    both = Both()
    both.prompt(0, SMALL)
    both.follow(1, 1)
    assert verbs(both.close) == [("prompt", 0), ("follow", 1)]
    assert both.whole.calls == []
    assert both.tracker.has_seen(0)
    assert not both.tracker.has_seen(2)


def test_what_a_crop_does_not_hold_is_answered_and_followed_in_whole_frames():
    both = Both()
    mask = both.prompt(0, LARGE)
    assert (mask.logits > 0).sum() == 11 * 41
    both.follow(1, 1)
    assert both.close.calls == []
    assert verbs(both.whole) == [("open", 5), ("prompt", 0), ("follow", 1)]


def test_a_mask_that_reaches_the_border_of_its_crop_is_answered_in_the_whole_frame():
    both = Both()
    reaching = ObjectMask(1, (0, 80), np.ones((20, 32), np.float32), 1.0, 1.0)
    both.tracker._closely.prompt = lambda frame, prompts: (reaching,)
    both.tracker._closely.said[1, 0] = ()
    mask = both.prompt(0, SMALL)
    assert verbs(both.whole) == [("open", 5), ("prompt", 0)]
    assert (mask.logits > 0).sum() == 11 * 11
    assert both.close.calls[-1] == ("forget", 1, 0)


@pytest.mark.parametrize("order", [(0, 3), (3, 0)])
def test_an_object_that_is_large_somewhere_is_followed_in_whole_frames_whatever_came_first(order):
    boxes = {0: SMALL, 3: LARGE}
    both = Both()
    answers = {frame: both.prompt(frame, boxes[frame]) for frame in order}
    assert {frame: int((mask.logits > 0).sum()) for frame, mask in answers.items()} == {0: 121, 3: 451}
    assert set(verbs(both.close)) == {("prompt", 0)}, "small where it was prompted so"
    assert {call[1] for call in both.whole.calls if call[0] == "prompt"} == {0, 3}
    both.close.calls.clear()
    both.follow(1, 1)
    assert both.whole.calls[-1][:2] == ("follow", 1)
    assert both.close.calls == []
    both.follow(0, 1)
    assert both.close.calls[-1][:2] == ("follow", 0), "the answer of the crop is repeated"


def test_an_object_whose_large_prompt_is_taken_back_is_followed_in_crops_again():
    both = Both()
    both.prompt(0, SMALL)
    both.prompt(3, LARGE)
    both.tracker.forget(1, 3)
    assert sorted(call[2] for call in both.whole.calls if call[0] == "forget") == [0, 3]
    both.follow(1, 1)
    assert both.close.calls[-1][:2] == ("follow", 1)
    both.prompt(0, LARGE)
    assert both.close.calls[-1] == ("forget", 1, 0)
    both.prompt(0, SMALL)
    both.follow(1, 1)
    assert both.close.calls[-1][:2] == ("follow", 1)


def test_objects_are_returned_in_the_order_in_which_they_were_asked_for():
    both = Both()
    for object_id, box in ((1, SMALL), (2, LARGE), (3, SMALL)):
        both.prompt(0, box, object_id)
    assert [mask.object_id for mask in both.follow(1, 3, 2, 1)] == [3, 2, 1]


@pytest.mark.parametrize(
    ("corner", "mask", "cut"),
    [
        ((0, 80), (0, 90, 10, 4), False),  # the frame's own border
        ((0, 80), (28, 90, 4, 4), True),
        ((0, 80), (28, 90, 4, 3), False),  # three pixels
        ((0, 80), (10, 80, 6, 4), True),
        ((0, 80), (10, 106, 6, 6), True),
        ((0, 0), (10, 0, 6, 6), False),
        ((16, 80), (36, 90, 4, 4), False),
    ],
)
def test_a_mask_is_cut_where_the_frame_goes_on(corner, mask, cut):
    top, left, rows, columns = mask
    found = ObjectMask(1, (top, left), np.ones((rows, columns), np.float32), 1.0, 1.0)
    assert is_cut(found, CROPS, corner) is cut


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("nano", (1024, 700), 1024),
        ("nano", (1025, 700), 512),
        ("nano", (60, 9000), 512),
        ("tiny", (4000, 4000), 1024),
    ],
)
def test_frames_beyond_the_largest_size_are_seen_in_crops(name, shape, size):
    loaded = LoadedModel(Sam2(CONFIGS[name]).eval() if name == "nano" else _Unbuilt(name), name, "0" * 64)
    predictor = Sam2Predictor(loaded)
    assert predictor.working_size(*shape) == size
    crops = predictor.crops(*shape)
    assert crops == (Crops(*shape, size) if max(shape) > 1024 else None)
    if crops is not None:
        assert predictor.scale(*shape) == (1.0, 1.0)
    for framing in (Framing.WHOLE, Framing.SQUARE):
        assert Sam2Predictor(loaded, framing=framing).crops(*shape) is None
    again = Sam2Predictor(loaded, image_size=size, framing=Framing.NATIVE)
    assert again.crops(*shape) == crops, "what is recorded gives the same again"


class _Unbuilt:
    device = "cpu"

    def __init__(self, name):
        self.config = CONFIGS[name]


def test_a_model_of_another_single_size_has_crops_of_that_size():
    assert automatic_size((256, 512, 1024), 1025, 3) == 512
    assert automatic_size((768,), 5000, 5000) == 768
    assert automatic_size((768,), 1024, 5) == 768


# The embedded model

PLACE, SIDE = (1100, 1210), 1500


@pytest.fixture(scope="module")
def field():
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.full((SIDE, SIDE), 20.0)
    for middle in np.random.default_rng(0).uniform(0, SIDE, (120, 2)):
        if np.hypot(*(middle - PLACE)) > 40:
            image += np.where(np.hypot(y - middle[0], x - middle[1]) < 10, 110, 0)
    truth = np.hypot((y - PLACE[0]) / 8, (x - PLACE[1]) / 10) < 1
    return (image + 130 * truth).clip(0, 255).astype(np.uint8), truth


def overlap(mask, truth):
    found = np.zeros_like(truth)
    found[tuple(slice(a, a + n) for a, n in zip(mask.corner, mask.logits.shape, strict=True))] = mask.logits > 0
    return (found & truth).sum() / (found | truth).sum()


def test_a_small_cell_in_a_large_field_is_found_by_a_click_and_followed(nano, field):
    image, truth = field
    frames = FrameStack(np.stack([image, np.roll(image, 6, 1)]), contrast_limits=(0, 255))
    click = {1: (PointPrompt(1, 0, *PLACE),)}
    (alone,) = nano.segment(frames[0], click)
    tracker = nano.open(frames)
    (answer,) = tracker.prompt(0, click)
    (followed,) = tracker.follow(1, (1,), Direction.FORWARD)
    assert overlap(alone, truth) > 0.75
    assert overlap(answer, truth) > 0.75
    assert overlap(followed, np.roll(truth, 6, 1)) > 0.7


def test_what_takes_more_than_half_a_crop_is_answered_in_the_whole_frame(nano):
    image = np.full((700, 1400, 3), 30, np.uint8)
    image[100:500, 300:900] = 190
    truth = image[..., 0] > 100
    box = {1: (BoxPrompt(1, 0, 100, 300, 499, 899),)}
    (alone,) = nano.segment(image, box)
    (tracked,) = nano.open(FrameStack(image[None])).prompt(0, box)
    assert overlap(alone, truth) > 0.85
    assert overlap(tracked, truth) > 0.85


def test_a_mask_that_is_given_is_returned_as_it_is_and_remembered(nano, field):
    image, truth = field
    tracker = nano.open(FrameStack(np.stack([image, image]), contrast_limits=(0, 255)))
    (given,) = tracker.prompt(0, {1: (MaskPrompt(1, 0, truth),)})
    (followed,) = tracker.follow(1, (1,), Direction.FORWARD)
    assert given.is_given
    assert overlap(given, truth) == 1
    assert overlap(followed, truth) > 0.75
