import pytest
import torch

from sam2_model.imaginary.initialise import (
    embedding_scale,
    localise_memory,
    localise_prompts,
    quieten_embedding,
    soften_start,
)
from sam2_model.prompt_encoder import PointLabel
from sam2_model.sam2 import Sam2, SpatialMemory
from tests.sam2_model.small import SMALL


@pytest.fixture
def model() -> Sam2:
    torch.manual_seed(0)
    return Sam2(SMALL)


def test_a_soft_start_believes_in_objects_and_shouts_no_masks(model: Sam2) -> None:
    soften_start(model)
    features = model.encode_image(torch.randn(1, 3, 64, 64))
    points, labels = torch.full((2, 1, 2), 20.0), torch.ones(2, 1, dtype=torch.long)
    output = model.decode(model.without_memory(features), features, points, labels)
    assert (output.object_score_logit > 3).all()
    assert output.mask_logits.abs().max() < 5


def test_a_quiet_embedding_changes_neither_memories_nor_conditioning(model: Sam2) -> None:
    images, mask = torch.randn(1, 3, 64, 64), torch.rand(2, 1, 64, 64).round()

    def conditioned() -> torch.Tensor:
        features = model.encode_image(images)
        memory = model.encode_memory(features, mask, torch.ones(2, 1, dtype=torch.bool))
        return model.condition(features, [SpatialMemory(memory, 0)], [])

    with torch.no_grad():
        before, loud = conditioned(), embedding_scale(model, images)
        quieten_embedding(model, 4.0)
        after = conditioned() * 4.0
    assert embedding_scale(model, images) == pytest.approx(loud / 4)
    # The faint positions that memory attention adds are not scaled along.
    assert torch.nn.functional.cosine_similarity(before.flatten(), after.flatten(), dim=0) > 0.95


def test_localised_heads_pair_a_prompt_with_the_token_at_its_place(model: Sam2) -> None:
    localise_prompts(model)
    attention = model.sam_mask_decoder.transformer.layers[0].cross_attn_image_to_token
    encoder = model.sam_prompt_encoder
    point = torch.tensor([[[5 * 16 + 7.5, 2 * 16 + 7.5]]])  # the middle of a token
    labels = torch.full((1, 1), PointLabel.POSITIVE)
    click = encoder.embed_points(point, labels, (8, 8))[0, :1] - encoder.point_embeddings[1].weight  # (1, C)
    grid = encoder.image_positions((8, 8)).flatten(1).T  # (64, C)
    local = attention.q_proj.out_features // 2
    logits = (attention.q_proj(grid)[:, :local] * attention.k_proj(click)[:, :local]).sum(1)
    assert int(logits.argmax()) == 2 * 8 + 5


def test_localised_memory_attention_reads_the_mask_at_its_own_place(model: Sam2) -> None:
    def effect_of_mask() -> tuple[float, float]:
        torch.manual_seed(1)
        features = model.encode_image(torch.randn(1, 3, 128, 128))
        mask = torch.zeros(2, 1, 128, 128)
        mask[1, :, 32:64, 32:64] = 1
        memory = model.encode_memory(features, mask, torch.ones(2, 1, dtype=torch.bool))
        empty, marked = model.condition(features, [SpatialMemory(memory, 0)], [])
        difference = (marked - empty).norm(dim=0)  # (8, 8)
        here = difference[2:4, 2:4].mean().item()
        return here, difference[6:, 6:].mean().item()

    localise_memory(model, scale=1.0)
    with torch.no_grad():
        here, elsewhere = effect_of_mask()
    assert here > 3 * elsewhere
