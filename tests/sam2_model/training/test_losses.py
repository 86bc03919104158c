import pytest
import torch

from sam2_model.mask_decoder import MaskDecoderOutput
from sam2_model.training.dense import dense_target
from sam2_model.training.losses import intersection_over_union, mask_loss, prompt_losses, target_of

SQUARE = torch.zeros(1, 1, 32, 32)
SQUARE[..., 8:20, 8:20] = 1


def answer(logits: torch.Tensor, presence: float = 5.0) -> MaskDecoderOutput:
    N = len(logits)
    return MaskDecoderOutput(
        logits.expand(N, 4, -1, -1), torch.ones(N, 4), torch.zeros(N, 4, 8), torch.full((N, 1), presence)
    )


def test_a_perfect_mask_costs_next_to_nothing() -> None:
    target = target_of(SQUARE, 4)
    assert mask_loss((target.cover * 2 - 1) * 30, target).item() < 0.01


@pytest.mark.parametrize("cell_px", [2, 4])
def test_empty_full_and_wrong_masks_cost_more_than_a_rough_one(cell_px: int) -> None:
    target = target_of(SQUARE, cell_px)
    rough = mask_loss((target_of(SQUARE.roll(2, 3), cell_px).cover * 2 - 1) * 4, target)
    for wrong in (-4.0, 4.0):
        assert mask_loss(torch.full_like(target.cover, wrong), target) > rough


def test_the_window_holds_the_object_and_not_the_far_corner() -> None:
    target = target_of(SQUARE, 4)
    assert target.window[target.cover > 0].min() == 1
    corner = target_of(torch.nn.functional.pad(SQUARE, (0, 64, 0, 64)), 4).window[0, 0, -1, -1]
    assert 0 < corner < 0.1


def test_iou_of_a_half_covered_square_is_a_half() -> None:
    target = target_of(SQUARE, 4).cover
    half = target.clone()
    half[..., :, 2:4] = 0
    assert intersection_over_union(half - 0.5, target).item() == pytest.approx(1 / 3)


def test_an_absent_object_is_charged_for_its_presence_only() -> None:
    losses = prompt_losses(answer(torch.randn(1, 1, 8, 8)), target_of(torch.zeros(1, 1, 32, 32), 4))
    assert losses.mask == 0
    assert losses.iou == 0
    assert losses.presence > 4


def test_only_the_best_candidate_counts_fully() -> None:
    target = target_of(SQUARE, 4)
    good, bad = (target.cover * 2 - 1) * 10, torch.full_like(target.cover, -10.0)

    def cost(*candidates: torch.Tensor) -> float:
        output = answer(torch.cat([good, *candidates], 1))
        return prompt_losses(output, target).mask.item()

    assert cost(good, bad, bad) == pytest.approx(cost(bad, bad, good))
    assert cost(good, bad, bad) < 0.5 * cost(bad, bad, bad)


def test_dense_targets_point_at_the_middle_and_mark_outlines() -> None:
    labels = torch.zeros(2, 32, 32, dtype=torch.int32)
    labels[0, 8:24, 8:24] = 1
    labels[1, 8:24, 8:16] = 1
    labels[1, 8:24, 16:24] = 2
    target = dense_target(labels)
    assert target.objects[0, 0].sum() == 16
    assert (target.offsets[0, 0, 2, 2:6] > 0).all()
    assert (target.offsets[0, 1, 2:6, 5] < 0).all()
    assert target.offsets[:, :, 0, 0].abs().max() == 0
    assert target.outlines[0, 0, 4, 4] == 0
    assert target.outlines[1, 0, 4, 4] == 1
    assert target.offsets[1, 1, 4, 3] < 0
