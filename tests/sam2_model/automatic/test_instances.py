"""Instances on a network that is small and knows nothing: what is asked for is answered, where it was asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sam2_model.automatic.instances import InstancePredictor
from sam2_model.automatic.regions import Region
from sam2_model.errors import ConfigError
from sam2_model.sam2 import Sam2
from tests.sam2_model.seeded import seeded_frames, seeded_model
from tests.sam2_model.toy import TOY


@pytest.fixture(scope="module")
def network() -> Sam2:
    network = seeded_model(replace(TOY, view_px=64, has_instance_decoder=True))
    return network.requires_grad_(requires_grad=False)


def region_at(row: int, column: int, side: int = 4) -> Region:
    return Region((row, column), np.ones((side, side), np.bool_), (row + side // 2, column + side // 2))


def test_a_model_without_an_instance_decoder_is_refused():
    with pytest.raises(ConfigError, match="grid of points"):
        InstancePredictor(seeded_model(replace(TOY, view_px=64)))


def test_the_maps_have_a_cell_for_four_pixels(network):
    maps, regions = InstancePredictor(network).see(network.encode_image(seeded_frames(1, 128)))
    assert maps.object_logits.shape == maps.outline_logits.shape == (1, 1, 32, 32)
    assert maps.offsets.shape == (1, 2, 32, 32)
    assert isinstance(regions, tuple)


def test_each_region_is_answered_as_if_it_were_alone(network):
    predictor = InstancePredictor(network)
    features = network.encode_image(seeded_frames(1, 128))
    maps, _ = predictor.see(features)
    regions = [region_at(2, 3), region_at(20, 8), region_at(10, 22, 6)]
    together = list(predictor.segment(features, maps, regions))
    alone = [instance for region in regions for instance in predictor.segment(features, maps, [region])]
    assert together
    for one, other in zip(together, alone, strict=True):
        assert (one.corner, one.seed) == (other.corner, other.seed)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
        assert one.agreement == pytest.approx(other.agreement, abs=1e-4)
        assert 0 <= one.agreement <= 1
        assert 0 <= one.predicted_iou <= 1


def test_a_seed_is_answered_and_named_with_the_answer(network):
    predictor = InstancePredictor(network)
    features = network.encode_image(seeded_frames(1, 128))
    maps, _ = predictor.see(features)
    seeds = [(30.0, 40.0), (90.0, 100.0)]
    assert {one.seed for one in predictor.segment_seeds(features, maps, seeds)} <= set(seeds)


def test_a_mask_that_is_one_object_agrees_and_one_of_two_objects_does_not(network):
    from sam2_model.instance_decoder import InstanceMaps
    from sam2_model.training.instances import instance_target

    labels = torch.zeros(1, 128, 128, dtype=torch.int32)
    labels[:, 40:80, 20:60] = 1
    labels[:, 40:80, 60:100] = 2
    target = instance_target(labels)
    maps = InstanceMaps(8 * (2 * target.objects - 1), target.outlines, target.offsets)
    masks = torch.stack([labels == 1, labels > 0])
    one, both = InstancePredictor(network)._agreement(masks, maps).tolist()
    assert one > 0.95
    assert both < 0.6
