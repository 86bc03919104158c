"""Which model weights belong to, from names and shapes alone."""

import json
from dataclasses import replace

import pytest

from sam2_model.config import CONFIGS
from sam2_model.errors import CheckpointError
from sam2_model.weights.recognition import model_name, model_title, recognise
from tests.sam2_model.weight_layouts import DATA, blueprint, shapes_of

RECORDED = json.loads((DATA / "sam2_state_dict_shapes.json").read_text())
NAMES = {"t": "tiny", "s": "small", "b+": "base-plus", "l": "large"}


@pytest.mark.parametrize("recorded", RECORDED)
def test_each_published_model_is_recognised_by_its_recorded_shapes(recorded):
    release, size = recorded[:3], recorded[3:]
    expected = NAMES[size] if release == "2.1" else f"{NAMES[size]}-2.0"
    shapes = {key: tuple(shape) for key, shape in RECORDED[recorded].items()}
    config = recognise(shapes)
    assert config == CONFIGS[expected]
    assert model_name(config) == expected
    assert model_title(config) == f"SAM {release} {NAMES[size]}"


def test_the_embedded_model_is_recognised_without_metadata():
    assert recognise(shapes_of(blueprint("nano").state_dict())) == CONFIGS["nano"]


def test_one_tensor_of_2_1_is_enough_for_2_1():
    shapes = shapes_of(blueprint("small").state_dict())
    del shapes["obj_ptr_tpos_proj.weight"], shapes["obj_ptr_tpos_proj.bias"]
    assert recognise(shapes) == CONFIGS["small"]


def test_a_lost_block_still_shows_which_model_it_was():
    shapes = shapes_of(blueprint("tiny").state_dict())
    shapes = {key: shape for key, shape in shapes.items() if ".blocks.6." not in key}
    assert recognise(shapes) == CONFIGS["tiny"]


@pytest.mark.parametrize(
    ("keys", "model"),
    [
        (["detector.backbone.vision_backbone.trunk.pos_embed", "tracker.maskmem_tpos_enc"], "SAM 3"),
        (["detector_model.vision_encoder.backbone.x", "tracker_model.mask_decoder.x"], "SAM 3"),
        (["image_encoder.trunk.body.stem.0.c.weight", "spatial_perceiver.latents"], "EdgeTAM"),
        (["image_encoder.blocks.0.norm1.weight", "mask_decoder.iou_token.weight"], "the first SAM"),
        (["vision_encoder.layers.0.attn.qkv.weight", "mask_decoder.iou_token.weight"], "the first SAM in the layout"),
        (["image_encoder.layers.0.conv.weight", "prompt_encoder.no_mask_embed.weight"], "derived from it"),
    ],
)
def test_another_model_is_named(keys, model):
    with pytest.raises(CheckpointError, match=f"{model}.*another network"):
        recognise(dict.fromkeys(keys, (1,)))


@pytest.mark.parametrize("name", ["tiny", "large-2.0"])
def test_weights_without_memory_are_those_of_a_model_for_images(name):
    shapes = shapes_of(blueprint(name).state_dict())
    kept = ("image_encoder", "sam_prompt_encoder", "sam_mask_decoder", "no_mem_embed")
    config = recognise({key: shape for key, shape in shapes.items() if key.startswith(kept)})
    assert config == replace(CONFIGS[name.removesuffix("-2.0")], has_memory=False)
    assert model_title(config) == f"SAM 2 {name.removesuffix('-2.0')} for images"


def test_a_plain_vision_transformer_is_named():
    shapes = {
        "image_encoder.trunk.pos_embed": (1, 1025, 384),
        "image_encoder.trunk.patch_embed.proj.weight": (384, 3, 16, 16),
        "image_encoder.trunk.blocks.0.norm1.weight": (384,),
        "memory_attention.norm.weight": (256,),
    }
    with pytest.raises(CheckpointError, match="EfficientTAM"):
        recognise(shapes)


def test_something_else_altogether_is_told_by_its_first_tensors():
    with pytest.raises(CheckpointError, match=r"2 tensors \(the first: conv1.weight, fc.weight\)"):
        recognise({"fc.weight": (1000, 512), "conv1.weight": (64, 3, 7, 7)})


def test_a_trunk_of_unknown_width_is_answered_with_the_known_ones():
    shapes = shapes_of(blueprint("tiny").state_dict())
    shapes["image_encoder.trunk.patch_embed.proj.weight"] = (77, 3, 7, 7)
    with pytest.raises(CheckpointError, match=r"77 channels.*48 \(nano\), 96 \(tiny\)"):
        recognise(shapes)
