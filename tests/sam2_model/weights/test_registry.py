"""What is published, where it lies, and whether it is what it claims to be."""

import hashlib
import json
from pathlib import Path

import pytest

from sam2_model.config import CONFIGS
from sam2_model.errors import CheckpointError, ConfigError
from sam2_model.weights.registry import (
    EMBEDDED,
    PUBLISHED,
    check_genuine,
    embedded_path,
    find_local,
    note_on_name,
    published_name,
    published_weights,
    sha256_of,
)
from tests.sam2_model.weight_layouts import published_bytes


def test_every_configured_model_is_embedded_or_published():
    assert {EMBEDDED, *PUBLISHED} == set(CONFIGS)


def test_every_entry_has_the_release_of_its_configuration():
    for name, weights in PUBLISHED.items():
        assert weights.name == name
        assert weights.release is CONFIGS[name].release


def test_no_two_files_share_a_name_a_checksum_or_a_repository():
    for attribute in ("filename", "sha256", "repo_id", "size_bytes"):
        assert len({getattr(weights, attribute) for weights in PUBLISHED.values()}) == len(PUBLISHED)
    assert all(len(weights.sha256) == 64 for weights in PUBLISHED.values())


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("tiny", "https://hub/facebook/sam2.1-hiera-tiny/resolve/main/sam2.1_hiera_tiny.pt"),
        ("base-plus", "https://hub/facebook/sam2.1-hiera-base-plus/resolve/main/sam2.1_hiera_base_plus.pt"),
        ("large-2.0", "https://hub/facebook/sam2-hiera-large/resolve/main/sam2_hiera_large.pt"),
    ],
)
def test_the_address_follows_the_hub(name, url):
    assert published_weights(name).url("https://hub") == url


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'huge'.*tiny, small, base-plus, large, tiny-2.0"):
        published_weights("huge")


def test_weights_that_were_not_fetched_are_not_found(tmp_path):
    assert find_local("tiny", cache_dir=tmp_path) is None


def test_weights_in_the_cache_are_found_by_name(tmp_path):
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    path.write_bytes(b"anything")
    assert find_local("tiny", cache_dir=tmp_path) == path


def test_weights_another_program_fetched_from_the_hub_are_found(tmp_path, monkeypatch):
    repository = tmp_path / "hub" / "models--facebook--sam2.1-hiera-tiny"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    (snapshot / "sam2.1_hiera_tiny.pt").write_bytes(b"anything")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    assert find_local("tiny") == snapshot / "sam2.1_hiera_tiny.pt"


def test_looking_for_weights_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    assert find_local("tiny") is None
    assert list(tmp_path.iterdir()) == []


def test_the_embedded_weights_lie_in_the_package():
    assert embedded_path().parent.parent.name == "sam2_model"
    assert find_local(EMBEDDED) == embedded_path()


def test_the_checksum_of_a_folder_is_that_of_its_weight_files_end_to_end(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-2.safetensors").write_bytes(b"second")
    (tmp_path / "model-1.safetensors").write_bytes(b"first")
    index = {"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert sha256_of(tmp_path) == hashlib.sha256(b"firstsecond").hexdigest()
    (tmp_path / "model.safetensors").write_bytes(b"whole")
    assert sha256_of(tmp_path) == sha256_of(tmp_path / "model.safetensors") == hashlib.sha256(b"whole").hexdigest()


def test_genuine_weights_are_told_by_their_checksum(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    assert check_genuine(path, published_bytes(b"weights")) == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize(("content", "difference"), [(b"weights and more", "16 bytes.*has 7"), (b"Weights", "SHA-256")])
def test_tampered_weights_are_refused_with_the_difference_and_the_cure(tmp_path, content, difference):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"not the published 'tiny'.*{difference}.*models download tiny"):
        check_genuine(path, published_bytes(b"weights"))


def test_a_published_file_is_told_by_its_checksum_whatever_it_is_called():
    assert published_name(published_weights("small").sha256) == "small"
    assert published_name("0" * 64) is None


def test_a_file_named_like_a_published_one_gets_a_note_unless_it_is_that_one():
    genuine = published_weights("small")
    assert note_on_name(Path(genuine.filename), genuine.sha256) is None
    assert note_on_name(Path("mine.pt"), "0" * 64) is None
    assert "named like the published 'small'" in (note_on_name(Path(genuine.filename), "0" * 64) or "")
