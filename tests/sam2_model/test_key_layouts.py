"""The rules between two spellings, against the recorded list and against every model."""

import pytest
import torch

from sam2_model.config import CONFIGS
from sam2_model.key_layouts import is_transformers_layout, meta_key, to_meta_layout

from .weight_layouts import TRANSFORMERS_KEYS, blueprint, shapes_of, to_transformers_layout


def test_the_recorded_list_names_every_parameter_of_tiny():
    assert TRANSFORMERS_KEYS.keys() == blueprint("tiny").state_dict().keys()
    assert len(TRANSFORMERS_KEYS) == 471


def test_the_rules_give_every_recorded_pair():
    pairs = {other: key for key, other in TRANSFORMERS_KEYS.items() if "[" not in other}
    assert len(pairs) == 467
    assert {other: meta_key(other) for other in pairs} == pairs


@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - {"nano"}))
def test_every_model_comes_back_from_the_other_spelling(name):
    state = blueprint(name).state_dict()
    other = to_transformers_layout(state)
    assert is_transformers_layout(other)
    assert shapes_of(to_meta_layout(other)) == shapes_of(state)


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
