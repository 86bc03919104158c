"""The assembled network: its parameters are the file format, gradients reach them, and it keeps nothing."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sam2_model.config import CONFIGS, NANO, Release
from sam2_model.prompt_encoder import PointLabel
from sam2_model.sam2 import PointerMemory, Sam2, SpatialMemory

from .seeded import seeded, seeded_model
from .toy import TOY

SHAPES = Path(__file__).parents[1] / "data" / "sam2_state_dict_shapes.json"
FIXTURES = {
    "tiny": "2.1t",
    "small": "2.1s",
    "base-plus": "2.1b+",
    "large": "2.1l",
    "tiny-2.0": "2.0t",
    "small-2.0": "2.0s",
    "base-plus-2.0": "2.0b+",
    "large-2.0": "2.0l",
}


@pytest.fixture(scope="module")
def published() -> dict[str, dict[str, list[int]]]:
    shapes: dict[str, dict[str, list[int]]] = json.loads(SHAPES.read_text())
    return shapes


@pytest.mark.parametrize("name", FIXTURES)
def test_keys_and_shapes_are_those_of_the_published_model(name, published):
    with torch.device("meta"):
        network = Sam2(CONFIGS[name])
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == published[FIXTURES[name]]


def test_every_published_model_has_its_configuration(published):
    assert set(FIXTURES.values()) == set(published)
    assert set(FIXTURES) == set(CONFIGS) - {"nano"}


def test_nano_has_6_02_million_parameters():
    with torch.device("meta"):
        network = Sam2(NANO)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 6.02


def loss_of_everything(network: Sam2) -> torch.Tensor:
    """A number that depends on all the network can say: prompts of every kind, a mask given, memories, absence."""
    features = network.encode_image(seeded((1, 3, 64, 64), "image"))
    kinds = [PointLabel.NEGATIVE, PointLabel.POSITIVE, PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT]
    points, labels = seeded((2, 4, 2), "points").abs() * 20, torch.tensor([kinds, kinds])
    mask = (seeded((2, 1, 64, 64), "mask") > 0).float()
    is_present = torch.tensor([[True], [False]])
    clicked = network.decode(network.without_memory(features), features, points, labels)
    refined = network.decode(network.without_memory(features), features, mask_logits=clicked.mask_logits[:, :1])
    memory = network.encode_memory(features, clicked.mask_logits[:, :1].sigmoid().repeat(1, 1, 4, 4), is_present)
    pointer = network.object_pointer(clicked.mask_tokens[:, 0], is_present) + network.mask_pointer(features, mask)
    slots = range(network.config.num_memories)
    conditioned = network.condition(features, [SpatialMemory(memory, i) for i in slots], [PointerMemory(pointer, 0.4)])
    said = [clicked, refined, network.decode_without_prompt(conditioned, features)]
    return torch.stack(
        [
            x.square().mean()
            for output in said
            for x in (output.mask_logits, output.predicted_iou, output.object_score_logit)
        ]
    ).sum()


@pytest.mark.parametrize("release", Release)
def test_gradients_reach_every_parameter_that_is_read(release):
    network = seeded_model(replace(TOY, release=release)).train()
    loss_of_everything(network).backward()
    untouched = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    # A bias of keys shifts all scores of a query alike, so softmax hides it: its gradient is rounding, if any.
    untouched = {name for name in untouched if not name.endswith("k_proj.bias")}
    assert untouched == {"no_mem_pos_enc"}, "it is in the files, and nothing reads it"
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_using_the_network_leaves_no_trace_in_it():
    network = seeded_model(TOY)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in network.named_modules()}
    with torch.inference_mode():
        first = loss_of_everything(network)
        network.encode_image(seeded((2, 3, 96, 64), "other image"))
        second = loss_of_everything(network)
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert {name: set(vars(module)) for name, module in network.named_modules()} == attributes
    assert {name for name, _ in network.named_buffers()} == {
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    }


def test_training_mode_computes_the_same():
    network = seeded_model(TOY)
    with torch.inference_mode():
        assert torch.equal(loss_of_everything(network), loss_of_everything(network.train()))


def test_release_2_1_adds_three_tensors():
    keys = {release: set(Sam2(replace(TOY, release=release)).state_dict()) for release in Release}
    assert keys[Release.V2_1] - keys[Release.V2_0] == {
        "no_obj_embed_spatial",
        "obj_ptr_tpos_proj.weight",
        "obj_ptr_tpos_proj.bias",
    }
    assert keys[Release.V2_0] < keys[Release.V2_1]


def test_release_2_0_neither_dates_pointers_nor_marks_absence():
    network = seeded_model(replace(TOY, release=Release.V2_0))
    with torch.inference_mode():
        features = network.encode_image(seeded((1, 3, 64, 64), "image"))
        memory = [SpatialMemory(seeded((1, 8, 4, 4), "memory"), 0)]
        recent, old = (
            network.condition(features, memory, [PointerMemory(seeded((1, 32), "pointer"), age)]) for age in (0.1, 0.9)
        )
        assert torch.equal(recent, old)
        mask = torch.zeros(1, 1, 64, 64)
        there, gone = (network.encode_memory(features, mask, torch.tensor([[present]])) for present in (True, False))
        assert torch.equal(there, gone)


def test_release_2_1_dates_pointers_and_marks_absence():
    network = seeded_model(TOY)
    with torch.inference_mode():
        features = network.encode_image(seeded((1, 3, 64, 64), "image"))
        memory = [SpatialMemory(seeded((1, 8, 4, 4), "memory"), 0)]
        recent, old = (
            network.condition(features, memory, [PointerMemory(seeded((1, 32), "pointer"), age)]) for age in (0.1, 0.9)
        )
        assert not torch.allclose(recent, old)
        mask = torch.zeros(1, 1, 64, 64)
        there, gone = (network.encode_memory(features, mask, torch.tensor([[present]])) for present in (True, False))
        torch.testing.assert_close(gone - there, network.no_obj_embed_spatial.view(1, -1, 1, 1).expand_as(there))


def test_an_empty_mask_has_the_pointer_of_an_absent_object():
    network = seeded_model(TOY)
    with torch.inference_mode():
        network.sam_mask_decoder.pred_obj_score_head.layers[2].bias.add_(100)
        features = network.encode_image(seeded((1, 3, 64, 64), "image"))
        masks = torch.zeros(2, 1, 64, 64)
        masks[1, 0, :20] = 1
        pointers = network.mask_pointer(features, masks)
    assert torch.equal(pointers[0], network.no_obj_ptr[0])
    assert not torch.equal(pointers[1], network.no_obj_ptr[0])


def test_memories_may_be_stored_more_coarsely_than_they_are_read():
    network = seeded_model(TOY)
    with torch.inference_mode():
        features = network.encode_image(seeded((1, 3, 64, 64), "image"))
        memory = seeded((1, 8, 4, 4), "memory").bfloat16()
        coarse, fine = (network.condition(features, [SpatialMemory(m, 0)], []) for m in (memory, memory.float()))
    assert coarse.dtype is torch.float32
    assert torch.equal(coarse, fine)


GLOBALS = """
import random
import numpy as np
import torch

def switches():
    b = torch.backends
    return (
        torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"), torch.get_num_threads(), torch.get_float32_matmul_precision(),
        b.cudnn.enabled, b.cudnn.benchmark, b.cudnn.deterministic, b.cudnn.allow_tf32, b.cuda.matmul.allow_tf32,
        b.cuda.flash_sdp_enabled(), b.cuda.math_sdp_enabled(), b.cuda.mem_efficient_sdp_enabled(),
        b.mkldnn.enabled, torch.are_deterministic_algorithms_enabled(), torch.initial_seed(),
    )

before = switches()
import sam2_model
assert switches() == before, "import"
random_state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
network = sam2_model.Sam2(sam2_model.Sam2Config(
    sam2_model.HieraConfig(16, 1, (1, 1, 1, 1), (2,), window_sizes=(4, 4, 4, 4)), width=32, memory_channels=8,
    memory_layers=1, memory_feedforward=32, num_memories=2, image_size=32))
assert switches() == before, "construction"
torch.set_rng_state(random_state[0])
video = sam2_model.VideoPredictor(network)
state = video.start(np.zeros((2, 20, 20, 3), np.uint8))
video.prompt(state, 0, {1: sam2_model.FramePrompt(points=np.ones((1, 2), np.float32), labels=np.ones(1, np.int64))})
assert len(list(video.propagate(state))) == 3
predictor = sam2_model.ImagePredictor(network)
predictor.predict(predictor.embed(np.zeros((20, 20, 3), np.uint8)), points=[[3, 3]])
assert switches() == before, "use"
assert torch.equal(torch.get_rng_state(), random_state[0]) and random.getstate() == random_state[1]
assert (np.random.get_state()[1] == random_state[2]).all()
"""


def test_importing_and_using_it_touches_nothing_global():
    ran = subprocess.run([sys.executable, "-c", GLOBALS], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
