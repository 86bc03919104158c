"""From names and files to networks, and back."""

import hashlib
import json
import logging
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sam2_model.config import CONFIGS, NANO, with_image_size
from sam2_model.errors import CheckpointError, ConfigError
from sam2_model.image_predictor import ImagePredictor
from sam2_model.sam2 import Sam2
from sam2_model.video.predictor import VideoPredictor
from sam2_model.weights import loading, registry
from sam2_model.weights.files import read_weights
from sam2_model.weights.loading import LoadedModel, load_model, save_model
from sam2_model.weights.metadata import KEY, WeightMetadata, encode
from tests.sam2_model.seeded import seeded_model
from tests.sam2_model.weight_layouts import published_bytes, shapes_of, to_transformers_layout

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def nano() -> Sam2:
    return seeded_model(NANO)


@pytest.fixture(scope="module")
def tiny() -> Sam2:
    return seeded_model(CONFIGS["tiny"])


@pytest.fixture
def state(nano: Sam2) -> State:
    return dict(nano.state_dict())


def is_same(network: Sam2, state: State) -> bool:
    loaded = network.state_dict()
    return loaded.keys() == state.keys() and all(torch.equal(loaded[key], state[key].float()) for key in state)


# Loading --------------------------------------------------------------------------------------------------------------


def test_a_saved_model_comes_back_with_everything_it_was(tmp_path, nano, state):
    path = tmp_path / "mine.safetensors"
    nano_512 = Sam2(with_image_size(NANO, 512))
    nano_512.load_state_dict(state)
    save_model(path, nano_512, name="mine", calibration={"slope": 2.0})
    loaded = load_model(path)
    assert is_same(loaded.network, state)
    assert loaded.config == with_image_size(NANO, 512)
    assert (loaded.name, loaded.calibration) == ("mine", {"slope": 2.0})
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.device == torch.device("cpu")


def test_a_loaded_network_only_predicts(tmp_path, nano):
    save_model(tmp_path / "mine.safetensors", nano, name="mine")
    network = load_model(tmp_path / "mine.safetensors").network
    assert not network.training
    assert all(not parameter.requires_grad for parameter in network.parameters())
    assert all(tensor.device.type == "cpu" for tensor in (*network.parameters(), *network.buffers()))
    with torch.inference_mode():
        features = network.encode_image(torch.zeros(1, 3, 64, 64))
    assert torch.equal(features.embedding, nano.eval().encode_image(torch.zeros(1, 3, 64, 64)).embedding)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_kept_in_half_precision_are_float32_in_the_network(tmp_path, nano, state, dtype):
    path = tmp_path / "half.safetensors"
    save_model(path, nano, name="half", dtype=dtype)
    assert {tensor.dtype for tensor in read_weights(path).tensors.values()} == {dtype}
    network = load_model(path).network
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
    assert is_same(network, {key: tensor.to(dtype) for key, tensor in state.items()})


@pytest.mark.parametrize("content", [lambda state: {"model": state}, lambda state: state])
def test_a_pytorch_file_is_read_in_metas_way_and_bare(tmp_path, state, content):
    torch.save(content(state), tmp_path / "weights.pt")
    loaded = load_model(str(tmp_path / "weights.pt"))
    assert is_same(loaded.network, state)
    assert loaded.config == NANO
    assert loaded.calibration is None


@pytest.mark.parametrize("name", ["tiny", "tiny-2.0"])
def test_the_layout_of_transformers_is_read(tmp_path, name):
    state = seeded_model(CONFIGS[name]).state_dict()
    save_file(to_transformers_layout(state), tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == CONFIGS[name]
    assert is_same(loaded.network, state)


IMAGE_KEYS = ("vision_encoder", "prompt_encoder", "mask_decoder", "no_memory_embedding", "shared_image_embedding")


def test_a_folder_as_transformers_saves_models_is_read_whole_and_in_shards(tmp_path, tiny):
    state = {key: tensor.half() for key, tensor in tiny.state_dict().items()}  # half as much to write
    theirs = to_transformers_layout(state)
    whole, parts = tmp_path / "sam2.1-hiera-tiny", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        (folder / "config.json").write_text('{"model_type": "sam2_video"}')
    save_file(theirs, whole / "model.safetensors", metadata={"format": "pt"})
    shard_of = {key: f"model-0000{1 + (i % 3)}-of-00003.safetensors" for i, key in enumerate(theirs)}
    for name in set(shard_of.values()):
        save_file(
            {key: theirs[key] for key in theirs if shard_of[key] == name}, parts / name, metadata={"format": "pt"}
        )
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shard_of}))
    loaded = load_model(whole)
    assert (loaded.name, loaded.config) == ("sam2.1-hiera-tiny", CONFIGS["tiny"])
    assert loaded.sha256 == registry.sha256_of(whole / "model.safetensors")
    assert is_same(loaded.network, state)
    assert is_same(load_model(str(parts)).network, state)
    (parts / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"incomplete: model-00002-of-00003\.safetensors"):
        load_model(parts)


def test_weights_of_transformers_image_model_segment_as_those_of_the_whole_model(tmp_path, tiny):
    theirs = to_transformers_layout(tiny.state_dict())
    images = {key: tensor for key, tensor in theirs.items() if key.startswith(IMAGE_KEYS)}
    del images["prompt_encoder.shared_embedding.positional_embedding"]  # tied, so the library leaves it out
    save_file(images, tmp_path / "model.safetensors", metadata={"format": "pt"})
    network = load_model(tmp_path).network
    assert not network.config.has_memory
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    answers = []
    for model in (network, tiny):
        predictor = ImagePredictor(model, image_size=64)
        answers.append(predictor.predict(predictor.embed(image), points=[[20, 30]]).low_res_logits)
    assert torch.equal(*answers)
    with pytest.raises(ConfigError, match=r"no memory.*cannot follow"):
        VideoPredictor(network)


def test_an_image_model_is_saved_and_comes_back(tmp_path, state):
    network = Sam2(replace(NANO, has_memory=False, follows_masks=False))
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    save_model(tmp_path / "images.safetensors", network, name="images")
    loaded = load_model(tmp_path / "images.safetensors")
    assert loaded.config == network.config
    assert is_same(loaded.network, network.state_dict())


def test_weights_that_change_while_they_are_read_are_refused(tmp_path, nano, monkeypatch):
    path = tmp_path / "mine.safetensors"
    save_model(path, nano, name="mine")

    def read_and_change(given: Path) -> object:
        content = read_weights(given)
        given.write_bytes(b"other")
        return content

    monkeypatch.setattr(loading, "read_weights", read_and_change)
    with pytest.raises(CheckpointError, match="changed while it was read"):
        load_model(path)


def test_a_fine_tune_for_another_size_loads_with_its_training_state_beside_it(tmp_path, tiny):
    path = tmp_path / "MedSAM2.pt"
    torch.save({"model": tiny.state_dict(), "optimizer": {"state": {}, "lr": [1e-4]}, "epoch": 7}, path)
    loaded = load_model(path, image_size=512)
    assert loaded.config == with_image_size(CONFIGS["tiny"], 512)
    assert loaded.name == "MedSAM2"
    assert load_model(path).config.image_size == 1024


def test_the_file_may_be_rewritten_while_the_network_lives(tmp_path, nano, state):
    path = tmp_path / "mine.safetensors"
    save_model(path, nano, name="mine")
    network = load_model(path).network
    path.write_bytes(bytes(path.stat().st_size))
    assert is_same(network, state)


def test_a_loaded_model_is_returned_as_it_is(nano):
    model = LoadedModel(nano, "nano", "0" * 64)
    assert load_model(model, device="cpu", image_size=512) is model
    with pytest.raises(FrozenInstanceError):
        model.name = "other"


def test_an_image_size_the_model_cannot_work_at_is_refused(tmp_path, nano):
    save_model(tmp_path / "mine.safetensors", nano, name="mine")
    with pytest.raises(ConfigError, match="250"):
        load_model(tmp_path / "mine.safetensors", image_size=250)


# Names ----------------------------------------------------------------------------------------------------------------


def test_the_embedded_model_loads_by_name():
    loaded = load_model("nano")
    assert (loaded.name, loaded.config) == ("nano", NANO)


@pytest.mark.usefixtures("empty_cache")
def test_a_published_model_that_was_not_fetched_is_not_fetched_behind_your_back():
    with pytest.raises(CheckpointError, match=r"SAM 2.0 tiny, 156 MB.*napari-sam2 models download tiny-2.0"):
        load_model("tiny-2.0")


def test_a_published_model_that_was_fetched_loads_by_name(empty_cache, monkeypatch, state):
    path = empty_cache / "sam2.1_hiera_tiny.pt"
    torch.save({"model": state}, path)
    genuine = published_bytes(path.read_bytes(), filename=path.name)
    monkeypatch.setattr(registry, "PUBLISHED", {"tiny": genuine})
    monkeypatch.setattr(loading, "PUBLISHED", {"tiny": genuine})
    loaded = load_model("tiny")
    assert (loaded.name, loaded.sha256) == ("tiny", genuine.sha256)


def test_a_published_model_that_was_changed_is_refused_before_it_is_opened(empty_cache, monkeypatch):
    (empty_cache / "sam2.1_hiera_tiny.pt").write_bytes(b"changed")
    monkeypatch.setattr(loading, "read_weights", None)
    with pytest.raises(CheckpointError, match="not the published 'tiny'"):
        load_model("tiny")


def test_a_name_that_is_neither_a_model_nor_a_file_is_answered_with_the_models():
    with pytest.raises(CheckpointError, match=r"neither a model nor a file called 'huge'.*nano, tiny, small"):
        load_model("huge")


def test_a_file_with_the_name_of_a_model_is_reached_by_its_path(tmp_path, monkeypatch, nano):
    monkeypatch.chdir(tmp_path)
    save_model("tiny", nano, name="mine")
    assert load_model("./tiny").config == NANO
    assert load_model(Path("tiny")).config == NANO


def test_a_file_named_like_a_published_one_is_loaded_with_a_note(tmp_path, state, caplog):
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": state}, path)
    with caplog.at_level(logging.WARNING):
        load_model(path)
    assert "named like the published 'tiny' but has another SHA-256" in caplog.text


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="There is no file"):
        load_model(tmp_path / "gone.pt")


# Files that do not fit ------------------------------------------------------------------------------------------------


def without(state: State, *keys: str) -> State:
    return {key: tensor for key, tensor in state.items() if key not in keys}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: without(s, "no_obj_ptr", "no_mem_embed"), r"2 missing \(no_mem_embed, no_obj_ptr\)"),
        (lambda s: without(s, "no_obj_embed_spatial"), r"1 missing \(no_obj_embed_spatial\)"),
        (lambda s: {k: t for k, t in s.items() if "norm" not in k}, r"\d\d missing \((\S+, ){4}\S+ and \d+ more\)"),
        (lambda s: s | {"lora.weight": torch.zeros(3)}, r"1 unexpected \(lora.weight\)"),
        (
            lambda s: s | {"no_obj_ptr": torch.zeros(1, 5)},
            r"1 of another shape \(no_obj_ptr \(1, 5\) instead of",
        ),
        (lambda s: s | {"no_obj_ptr": torch.zeros(1, 128, dtype=torch.int8)}, "torch.int8.*Quantised"),
        (lambda s: s | {"no_obj_ptr": torch.full((1, 128), 1e300, dtype=torch.float64)}, "not finite as torch.float32"),
        (lambda s: s | {"no_obj_ptr": torch.full((1, 128), torch.nan)}, "no_obj_ptr holds values that are not finite"),
        (lambda s: {f"detector.{k}": t for k, t in s.items()}, "SAM 3"),
    ],
)
def test_weights_that_do_not_fit_are_told_by_what_differs(tmp_path, state, change, complaint):
    path = tmp_path / "weights.pt"
    torch.save({"model": change(state)}, path)
    with pytest.raises(CheckpointError, match=rf"{path} cannot be used\. .*{complaint}"):
        load_model(path)


def test_weights_that_do_not_fit_are_told_which_model_they_resemble(tmp_path, state):
    torch.save({"model": without(state, "no_obj_ptr")}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"resembles SAM 2.1 nano"):
        load_model(tmp_path / "weights.pt")


def test_metadata_is_believed_rather_than_the_shapes(tmp_path, nano, state):
    save_model(tmp_path / "mine.safetensors", nano, name="mine")
    metadata = json.loads(read_weights(tmp_path / "mine.safetensors").metadata[KEY])
    save_file(state, tmp_path / "other.safetensors", metadata={KEY: json.dumps(metadata | {"num_heads": 2})})
    assert load_model(tmp_path / "other.safetensors").config.trunk.num_heads == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"stages": [10**9, 1, 1, 1]},
        {"memory_layers": 10**9},
        {"width": 130},
        {"width": 256},
        {"stages": [256, 256, 256, 256]},
        {"memory_layers": 64},
        {"embed_dim": 1024},
        {"num_memories": 64},
        {"memory_feedforward": 65_536},
    ],
)
def test_metadata_that_contradicts_the_tensors_is_refused(tmp_path, state, fields):
    metadata = json.loads(encode(WeightMetadata("nano", NANO))[KEY]) | fields
    save_file(state, tmp_path / "mine.safetensors", metadata={KEY: json.dumps(metadata)})
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_model(tmp_path / "mine.safetensors")


# Saving ---------------------------------------------------------------------------------------------------------------


def test_saved_weights_carry_metas_names(tmp_path, nano, state):
    save_model(tmp_path / "mine.safetensors", nano, name="mine")
    assert shapes_of(read_weights(tmp_path / "mine.safetensors").tensors) == shapes_of(state)


def test_an_existing_file_is_kept_unless_it_may_be_replaced(tmp_path, nano):
    path = tmp_path / "mine.safetensors"
    path.write_text("precious")
    with pytest.raises(CheckpointError, match="exists already"):
        save_model(path, nano, name="mine")
    assert path.read_text() == "precious"
    save_model(path, nano, name="mine", overwrite=True)
    assert load_model(path).config == NANO


@pytest.mark.parametrize(("value", "dtype"), [(torch.inf, torch.float32), (1e6, torch.float16)])
def test_weights_that_are_not_finite_in_the_file_are_not_written(tmp_path, state, value, dtype):
    network = Sam2(NANO)
    network.load_state_dict(state | {"no_obj_ptr": torch.full((1, 128), value)})
    with pytest.raises(CheckpointError, match="no_obj_ptr holds values that are not finite"):
        save_model(tmp_path / "mine.safetensors", network, name="mine", dtype=dtype)
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_that_is_not_finite_is_not_written(tmp_path, nano):
    with pytest.raises(CheckpointError, match="slope"):
        save_model(tmp_path / "mine.safetensors", nano, name="mine", calibration={"slope": torch.nan})
