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
    box = box_around(seeded(), two_squares(), sloppiest=0.0)
    assert box.tolist() == [[[6, 4], [9, 11]], [[16, 20], [29, 29]]]


def test_a_sloppy_box_stays_in_the_image_and_upright() -> None:
    masks, generator = two_squares(), seeded()
    for _ in range(20):
        box = box_around(generator, masks, sloppiest=0.5)
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


def test_an_object_without_pixels_gets_a_point_somewhere_and_disturbs_no_other() -> None:
    masks, generator = torch.zeros(4, 1, 32, 32), seeded()
    masks[1, 0, 5, 7] = masks[2, 0, 9:11, 9:11] = 1
    for _ in range(20):
        points = click_inside(generator, masks)[:, 0]
        assert points[1].tolist() == [7, 5]
        assert 9 <= points[2].min() <= points[2].max() <= 10
        assert 0 <= points.min() <= points.max() <= 31
    assert click_inside(generator, torch.zeros(2, 1, 32, 32)).shape == (2, 1, 2)


def test_identical_masks_are_corrected_nowhere_outside() -> None:
    masks = torch.zeros(1, 1, 64, 64)
    masks[..., 17:47, 9:39] = 1
    logits = torch.nn.functional.avg_pool2d(masks, 4) * 2 - 1
    for seed in range(20):
        points, _ = correction_clicks(torch.Generator().manual_seed(seed), logits, masks)
        assert (points >= 5).all()
        assert (points <= 50).all()


def test_a_rough_mask_resembles_the_mask_whatever_its_size() -> None:
    masks = torch.zeros(2, 1, 256, 256)
    masks[0, 0, 100:124, 40:64] = 1
    masks[1, 0, 60:220, 80:240] = 1
    small = torch.nn.functional.max_pool2d(masks, 4) > 0
    overlap = []
    for seed in range(40):
        rough = rough_masks(torch.Generator().manual_seed(seed), masks)
        assert rough.shape == (2, 1, 64, 64)
        assert rough.unique().tolist() == [-10, 10]
        painted = rough > 0
        overlap.append((painted & small).sum((1, 2, 3)) / (painted | small).sum((1, 2, 3)))
    mean = torch.stack(overlap).mean(0)
    assert ((mean > 0.55) & (mean < 0.85)).all()
