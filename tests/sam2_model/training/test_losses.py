import pytest
import torch

from sam2_model.mask_decoder import MaskDecoderOutput
from sam2_model.mask_ops import resize_logits
from sam2_model.training.losses import GRID, intersection_over_union, mask_loss, prompt_losses, target_of

SQUARE = torch.zeros(1, 1, 32, 32)
SQUARE[..., 8:20, 8:20] = 1


def answer(logits: torch.Tensor, presence: float = 5.0) -> MaskDecoderOutput:
    N = len(logits)
    return MaskDecoderOutput(
        logits.expand(N, 4, -1, -1), torch.ones(N, 4), torch.zeros(N, 4, 8), torch.full((N, 1), presence)
    )


def cells(masks: torch.Tensor) -> torch.Tensor:
    """Logits of masks whose outlines fall between cells."""
    return torch.nn.functional.avg_pool2d(masks, 4) * 2 - 1


def test_a_perfect_mask_costs_little() -> None:
    empty = mask_loss(torch.full((1, 1, 8, 8), -30.0), target_of(SQUARE, 4))
    assert mask_loss(cells(SQUARE) * 30, target_of(SQUARE, 4)).item() < 0.03 * empty.item()


def test_empty_full_and_wrong_masks_cost_more_than_a_rough_one() -> None:
    target = target_of(SQUARE, 4)
    rough = mask_loss(cells(SQUARE.roll(2, 3)) * 4, target)
    for wrong in (-4.0, 4.0):
        assert mask_loss(torch.full((1, 1, 8, 8), wrong), target) > rough


def test_a_mask_is_compared_where_prediction_interpolates_it() -> None:
    logits = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    far_apart = torch.zeros(1, 1, 32, 32)
    far_apart[..., 0, 0] = far_apart[..., -1, -1] = 1
    enlarged = resize_logits(logits, GRID, GRID)
    torch.testing.assert_close(target_of(far_apart, 4).sample(logits), enlarged)


def test_the_window_holds_the_object_and_not_the_far_corner() -> None:
    target = target_of(torch.nn.functional.pad(SQUARE, (0, 96, 0, 96)), 4)
    assert target.cover.sum().item() == pytest.approx((GRID / 2) ** 2, rel=0.1)
    assert target.outside[0, 0, 3, 3] == 0
    assert target.outside[0, 0, -1, -1] == 1


def test_the_grid_is_as_fine_for_a_small_object_as_for_a_large_one() -> None:
    large, small = torch.zeros(2, 1, 1, 256, 256)
    large[..., 64:192, 64:192] = 1
    small[..., 100:120, 100:120] = 1
    assert target_of(small, 4).cover.sum() == pytest.approx(target_of(large, 4).cover.sum().item(), rel=0.2)


def test_a_second_blob_costs_wherever_it_is() -> None:
    masks = torch.nn.functional.pad(SQUARE, (0, 96, 0, 96))
    near, far = masks.clone(), masks.clone()
    near[..., 8:20, 21:25] = 1
    far[..., 110:122, 100:104] = 1
    right, nearby, astray = (mask_loss(cells(m) * 8, target_of(masks, 4)).item() for m in (masks, near, far))
    assert min(nearby, astray) > 1.5 * right


def test_iou_counts_what_lies_outside_the_window_too() -> None:
    masks = torch.nn.functional.pad(SQUARE, (0, 96, 0, 96))
    twice = masks.clone()
    twice[..., 100:112, 100:112] = 1
    assert intersection_over_union(cells(masks), target_of(masks, 4)).item() == pytest.approx(1, abs=0.05)
    assert intersection_over_union(cells(twice), target_of(masks, 4)).item() == pytest.approx(1 / 2, abs=0.05)
    assert intersection_over_union(-cells(masks), target_of(masks, 4)).item() == pytest.approx(0, abs=0.05)


def test_finer_logits_that_say_the_same_cost_the_same_within_and_beyond_the_window() -> None:
    masks = torch.nn.functional.pad(SQUARE, (0, 96, 0, 96))
    coarse = cells(masks.roll(2, 3)) * 8
    coarse[..., 22:30, 20:28] = 3
    fine = resize_logits(coarse, 64, 64)
    costs = [mask_loss(logits, target_of(masks, stride)).item() for logits, stride in ((coarse, 4), (fine, 2))]
    assert costs[0] == pytest.approx(costs[1], rel=0.1)
    overlaps = [intersection_over_union(x, target_of(masks, stride)).item() for x, stride in ((coarse, 4), (fine, 2))]
    assert overlaps[0] == pytest.approx(overlaps[1], abs=0.05)


def test_an_absent_object_is_charged_for_its_presence_only() -> None:
    losses = prompt_losses(answer(torch.randn(1, 1, 8, 8)), target_of(torch.zeros(1, 1, 32, 32), 4))
    assert losses.mask == 0
    assert losses.iou == 0
    assert losses.presence > 4


def test_only_the_best_candidate_counts_fully() -> None:
    target = target_of(SQUARE, 4)
    good, bad = cells(SQUARE) * 10, torch.full((1, 1, 8, 8), -10.0)

    def cost(*candidates: torch.Tensor) -> float:
        output = answer(torch.cat([good, *candidates], 1))
        return prompt_losses(output, target).mask.item()

    assert cost(good, bad, bad) == pytest.approx(cost(bad, bad, good))
    assert cost(good, bad, bad) < 0.5 * cost(bad, bad, bad)
