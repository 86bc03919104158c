from dataclasses import replace

import numpy as np
import pytest
import torch

from sam2_model.imaginary.initialise import localise_memory
from sam2_model.imaginary.matching import match_memory
from sam2_model.imaginary.scene_batches import scene_batch
from sam2_model.imaginary.scenes import SceneOptions
from sam2_model.sam2 import PointerMemory, Sam2, SpatialMemory
from tests.sam2_model.small import SMALL

WIDER = replace(SMALL, width=64)


@pytest.fixture(scope="module")
def local() -> Sam2:
    torch.manual_seed(0)
    model = Sam2(WIDER).eval()
    localise_memory(model, scale=1.0)
    return model


@pytest.fixture(scope="module")
def matched() -> Sam2:
    torch.manual_seed(0)
    model = Sam2(WIDER).eval()
    localise_memory(model, scale=1.0)
    match_memory(model, seed=3)
    return model


@torch.no_grad()
def share_read_where_it_went(model: Sam2, scene: int) -> float:
    """How much a mask changes the place where its content has moved to, relative to the place where it was."""
    options = SceneOptions(size=256, families=("nuclei",), radius_px=(12.0, 25.0))
    images = scene_batch(np.random.default_rng(scene), options, clips=1, objects=1).images[0]
    before, after = images[..., 64:192, 64:192], images[..., 64:192, 16:144]  # three tokens to the right
    mask = torch.zeros(2, 1, 128, 128)
    mask[1, :, 48:80, 16:48] = 1
    memory = model.encode_memory(model.encode_image(before), mask, torch.ones(2, 1, dtype=torch.bool))
    empty, marked = model.condition(model.encode_image(after), [SpatialMemory(memory, 0)], [])
    difference = (marked - empty).norm(dim=0)  # (8, 8)
    return float(difference[3:5, 4:6].mean() / difference[3:5, 1:3].mean())


def test_what_has_moved_is_read_where_it_went(local: Sam2, matched: Sam2) -> None:
    before, after = (np.mean([share_read_where_it_went(m, scene) for scene in range(4)]) for m in (local, matched))
    assert after > 2 * before


@torch.no_grad()
def test_object_pointers_are_heard_everywhere_on_the_frame(local: Sam2, matched: Sam2) -> None:
    def quietest_effect(model: Sam2) -> float:
        torch.manual_seed(2)
        features = model.encode_image(torch.randn(1, 3, 128, 128))
        memory = SpatialMemory(model.encode_memory(features, torch.zeros(1, 1, 128, 128), torch.ones(1, 1) > 0), 0)
        one, other = (
            model.condition(features, [memory], [PointerMemory(pointer, 0.1)]) for pointer in torch.randn(2, 1, 64)
        )
        return float((one - other).norm(dim=1).min())

    assert quietest_effect(matched) > 10 * quietest_effect(local)


def test_the_same_seed_gives_the_same_weights(matched: Sam2) -> None:
    torch.manual_seed(0)
    again = Sam2(WIDER).eval()
    localise_memory(again, scale=1.0)
    match_memory(again, seed=3)
    for name, tensor in matched.state_dict().items():
        torch.testing.assert_close(tensor, again.state_dict()[name])
