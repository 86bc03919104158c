import torch

from sam2_model.automatic.likeness import likeness, object_features
from sam2_model.sam2 import ImageFeatures


def image_of_two_kinds() -> ImageFeatures:
    """Features whose left half differs from the right one."""
    fine, middle, embedding = torch.zeros(1, 2, 16, 16), torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 4, 4)
    for level in (fine, middle, embedding):
        half = level.shape[-1] // 2
        level[:, 0, :, :half] = 1.0
        level[:, 1, :, half:] = 1.0
    return ImageFeatures(fine, middle, embedding)


def masks_at(*columns: int) -> torch.Tensor:
    masks = torch.zeros(len(columns), 1, 64, 64, dtype=torch.bool)
    for mask, column in zip(masks, columns, strict=True):
        mask[:, 16:32, column : column + 16] = True
    return masks


def test_objects_of_one_kind_are_alike_and_others_are_not():
    features = object_features(image_of_two_kinds(), masks_at(0, 16, 48))
    areas = torch.full((3,), 256.0)
    alike = likeness(features, areas, features[:1], areas[:1])[:, 0]
    assert alike[:2].min() > 0.999
    assert alike[2] < 0.1


def test_features_have_unit_length_even_of_an_object_smaller_than_a_cell():
    masks = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    masks[..., 20, 20] = True
    torch.testing.assert_close(object_features(image_of_two_kinds(), masks).norm(dim=1), torch.ones(1))


def test_size_counts_less_than_looks_and_in_both_directions():
    features = object_features(image_of_two_kinds(), masks_at(0))
    one, four = torch.tensor([100.0]), torch.tensor([400.0])
    larger, smaller = likeness(features, four, features, one), likeness(features, one, features, four)
    torch.testing.assert_close(larger, smaller)
    assert 0.8 < float(larger) < 1.0


def test_likeness_stays_between_0_and_1():
    features = object_features(image_of_two_kinds(), masks_at(0, 48))
    areas = torch.tensor([1.0, 1e9])
    alike = likeness(features, areas, features, areas)
    assert alike.min() >= 0
    assert alike.max() <= 1
