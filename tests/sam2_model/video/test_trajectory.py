"""Where an object is expected on the next frame."""

import pytest
import torch

from sam2_model.mask_ops import ABSENT_LOGIT
from sam2_model.memory_bank import Direction, recall
from sam2_model.video.predictor import VideoPredictor
from sam2_model.video.state import FramePrompt
from sam2_model.video.trajectory import expected_masks, moved_on
from tests.sam2_model.toy import FOLLOWER, disc_mask, toy_model, toy_stack

SIDE = 40


def square(top: int, left: int, side: int = 10) -> torch.Tensor:
    mask = torch.full((1, 1, SIDE, SIDE), -5.0)
    mask[..., top : top + side, left : left + side] = 5
    return mask


def place(mask: torch.Tensor) -> tuple[int, int]:
    row, column = (mask[0, 0] > 0).nonzero()[0].tolist()
    return row, column


NOBODY = torch.full((1, 1, SIDE, SIDE), ABSENT_LOGIT)


@pytest.mark.parametrize(
    ("before", "last", "ratio", "expected"),
    [
        pytest.param(square(10, 10), square(13, 6), 1.0, (16, 2), id="it goes on as it went"),
        pytest.param(square(10, 10), square(14, 10), 0.5, (16, 10), id="half the time, half the way"),
        pytest.param(square(10, 10), square(12, 10), 2.0, (16, 10), id="twice the time, twice the way"),
        pytest.param(square(0, 0), square(12, 0), 1.0, (22, 0), id="no further than its width"),
    ],
)
def test_an_object_is_expected_where_it_was_going(before, last, ratio, expected):
    moved = moved_on(last, before, ratio)
    assert moved.shape == last.shape
    assert place(moved) == expected


@pytest.mark.parametrize(
    ("before", "last"),
    [
        pytest.param(square(10, 10), square(11, 10), id="a small step is no movement"),
        pytest.param(square(10, 10), NOBODY, id="who is absent"),
        pytest.param(NOBODY, square(10, 10), id="who has just appeared"),
        pytest.param(square(19, 10), square(31, 10, 9), id="who would leave the frame"),
    ],
)
def test_an_object_is_expected_where_it_was(before, last):
    torch.testing.assert_close(moved_on(last, before, 1.0), last, rtol=0, atol=0)


def test_objects_move_by_themselves_and_masks_keep_their_values():
    last, before = torch.cat([square(20, 10), square(5, 25)]), torch.cat([square(16, 10), square(5, 25)])
    moved = moved_on(last, before, 1.0)
    torch.testing.assert_close(moved[0, :, 24:34], last[0, :, 20:30])
    torch.testing.assert_close(moved[1], last[1])


@pytest.mark.parametrize(("frame", "direction", "expected"), [(6, Direction.FORWARD, 24), (3, Direction.BACKWARD, 12)])
def test_the_movement_between_two_remembered_frames_goes_on_in_either_direction(frame, direction, expected):
    masks = {4: square(16, 10), 5: square(20, 10)}
    conditioning, tracked = ((4,), (5,)) if direction is Direction.FORWARD else ((5,), (4,))
    recalled = recall(frame, conditioning, tracked, direction, num_memories=4)
    assert place(expected_masks(recalled, frame, masks.__getitem__)) == (expected, 10)


def test_beside_a_single_remembered_frame_an_object_is_expected_where_it_was():
    recalled = recall(1, (0,), (), Direction.FORWARD, num_memories=4)
    torch.testing.assert_close(expected_masks(recalled, 1, {0: square(7, 8)}.__getitem__), square(7, 8))


def test_a_predictor_looks_for_an_object_where_it_is_expected(monkeypatch):
    network = toy_model(config=FOLLOWER)
    follow, seen = network.follow, []

    def watched(features, memories, pointers, expected):
        seen.append(expected)
        return follow(features, memories, pointers, expected)

    monkeypatch.setattr(network, "follow", watched)
    predictor = VideoPredictor(network)
    state = predictor.start(toy_stack(3))
    first, second = (
        predictor.prompt(state, frame, {1: FramePrompt(mask=disc_mask(row, 24, 9))}).low_res_logits[None]
        for frame, row in ((0, 14), (1, 22))
    )
    for _ in predictor.propagate(state, directions=(Direction.FORWARD,)):
        pass
    assert place(seen[0])[0] > place(second)[0] > place(first)[0]
    assert torch.equal(state.working.unpadded(seen[0]), moved_on(second, first, 1.0))
