import torch

from sam2_model.prompt_encoder import PointLabel
from sam2_model.training.prompting import box_around, click_inside, correction_clicks, first_prompts, rough_masks


def two_squares() -> torch.Tensor:
    masks = torch.zeros(2, 1, 32, 32)
    masks[0, 0, 4:12, 6:10] = 1
    masks[1, 0, 20:30, 16:30] = 1
    return masks


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_clicks_fall_inside_their_masks() -> None:
    masks, generator = two_squares(), seeded()
    for _ in range(20):
        for mask, (x, y) in zip(masks, click_inside(generator, masks)[:, 0].long().tolist(), strict=True):
            assert mask[0, y, x] == 1


def test_an_exact_box_includes_both_end_pixels() -> None:
    box = box_around(seeded(), two_squares(), looseness=0.0)
    assert box.tolist() == [[[6, 4], [9, 11]], [[16, 20], [29, 29]]]


def test_a_sloppy_box_stays_in_the_image_and_upright() -> None:
    masks, generator = two_squares(), seeded()
    for _ in range(20):
        box = box_around(generator, masks, looseness=0.5)
        assert box.min() >= 0
        assert box.max() <= 31
        assert (box[:, 1] > box[:, 0]).all()


def test_first_prompts_are_clicks_with_padding_or_boxes() -> None:
    masks = two_squares()
    _, clicks = first_prompts(seeded(), masks, boxes=0.0)
    _, boxes = first_prompts(seeded(), masks, boxes=1.0)
    assert clicks.tolist() == [[PointLabel.POSITIVE, PointLabel.PADDING]] * 2
    assert boxes.tolist() == [[PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT]] * 2


def test_corrections_are_positive_where_something_is_missing_and_negative_where_there_is_too_much() -> None:
    masks = two_squares()
    nothing, everything = torch.full((2, 1, 8, 8), -5.0), torch.full((2, 1, 8, 8), 5.0)
    _, labels = correction_clicks(seeded(), nothing, masks)
    assert (labels == PointLabel.POSITIVE).all()
    points, labels = correction_clicks(seeded(), everything, masks)
    assert (labels == PointLabel.NEGATIVE).all()
    for mask, (x, y) in zip(masks, points[:, 0].long().tolist(), strict=True):
        assert mask[0, y, x] == 0


def test_a_perfect_prediction_gets_one_more_positive_click() -> None:
    masks = torch.zeros(1, 1, 32, 32)
    masks[..., :16, :] = 1
    logits = torch.where(torch.arange(8)[:, None] < 4, 5.0, -5.0).expand(1, 1, 8, 8)
    _, labels = correction_clicks(seeded(), logits, masks)
    assert labels.tolist() == [[PointLabel.POSITIVE]]


def test_a_rough_mask_resembles_the_mask() -> None:
    masks = two_squares()
    rough = rough_masks(seeded(), masks)
    assert rough.shape == (2, 1, 8, 8)
    assert rough.abs().max() <= 10
    assert (rough[1, 0, 5:7, 4:7] > 0).all()
    assert (rough[1, 0, :4] < 0).all()
