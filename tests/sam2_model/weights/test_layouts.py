"""The rules between two spellings, against the recorded list and against every model."""

import pytest
import torch

from sam2_model.config import CONFIGS
from sam2_model.errors import CheckpointError
from sam2_model.weights.layouts import is_transformers_layout, meta_key, to_meta_layout
from tests.sam2_model.weight_layouts import TRANSFORMERS_KEYS, blueprint, shapes_of, to_transformers_layout

FOURIER = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def test_the_recorded_list_names_every_parameter_of_tiny():
    assert TRANSFORMERS_KEYS.keys() == blueprint("tiny").state_dict().keys()
    assert len(TRANSFORMERS_KEYS) == 471


def test_the_rules_give_every_recorded_pair():
    pairs = {other: key for key, other in TRANSFORMERS_KEYS.items() if "[" not in other}
    assert len(pairs) == 467
    assert {other: meta_key(other) for other in pairs} == pairs


@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - {"nano"}))
def test_every_model_comes_back_from_the_other_spelling(name):
    state = blueprint(name).state_dict() | {FOURIER: torch.rand(2, 128)}
    other = to_transformers_layout(state)
    assert is_transformers_layout(other)
    assert shapes_of(to_meta_layout(other)) == shapes_of(state)


TRUNK = {"vision_encoder.backbone.pos_embed": torch.zeros(1)}
OF_IMAGES, OF_PROMPTS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)


@pytest.mark.parametrize("keys", [(OF_IMAGES,), (OF_PROMPTS,), (OF_IMAGES, OF_PROMPTS)])
def test_the_fourier_matrix_is_read_where_it_is(keys):
    matrix = torch.rand(2, 4)
    renamed = to_meta_layout(TRUNK | dict.fromkeys(keys, matrix))
    assert torch.equal(renamed[FOURIER], matrix)
    assert len(renamed) == 2


@pytest.mark.parametrize("other", [torch.rand(2, 4), torch.zeros(2, 4), torch.full((2, 4), torch.nan), torch.ones(1)])
def test_two_fourier_matrices_that_disagree_are_refused(other):
    with pytest.raises(CheckpointError, match=r"two copies of the Fourier matrix.*differ"):
        to_meta_layout(TRUNK | {OF_IMAGES: torch.ones(2, 4), OF_PROMPTS: other})


def test_a_parameter_in_both_spellings_is_refused():
    with pytest.raises(CheckpointError, match="no_mem_embed twice"):
        to_meta_layout(TRUNK | {"no_mem_embed": torch.ones(1), "no_memory_embedding": torch.ones(1)})


def test_the_rows_of_the_point_embedding_stay_in_order():
    points = torch.arange(8.0).reshape(4, 2)
    state = {"vision_encoder.backbone.pos_embed": torch.zeros(1), "prompt_encoder.point_embed.weight": points}
    renamed = to_meta_layout(state)
    for row in range(4):
        tensor = renamed[f"sam_prompt_encoder.point_embeddings.{row}.weight"]
        assert torch.equal(tensor, points[row : row + 1])


def test_metas_spelling_is_left_alone():
    state = blueprint("tiny-2.0").state_dict()
    assert not is_transformers_layout(state)
    assert to_meta_layout(state).keys() == state.keys()


def test_a_name_no_rule_knows_stays_as_it_is():
    assert meta_key("something.else.weight") == "something.else.weight"
