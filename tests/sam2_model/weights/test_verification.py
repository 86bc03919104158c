"""Trying a weight file and reporting what it is."""

import hashlib
import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from sam2_model.config import NANO
from sam2_model.errors import CheckpointError
from sam2_model.sam2 import Sam2
from sam2_model.weights import registry, verification
from sam2_model.weights.loading import save_model
from sam2_model.weights.metadata import KEY, WeightMetadata, encode
from sam2_model.weights.verification import verify
from tests.sam2_model.seeded import seeded_model
from tests.sam2_model.weight_layouts import published_bytes


@pytest.fixture(scope="module")
def nano() -> Sam2:
    return seeded_model(NANO)


def test_a_good_file_is_reported_with_what_it_is(tmp_path, nano):
    path = tmp_path / "mine.safetensors"
    save_model(path, nano, name="mine")
    report = verify(path)
    assert report.config == NANO
    assert (report.published_as, report.note, report.problem) == (None, None, None)
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.size_bytes == path.stat().st_size


def test_what_is_wrong_with_a_file_is_reported_not_raised(tmp_path):
    path = tmp_path / "sam2.1_hiera_small.pt"
    path.write_text("<html>")
    report = verify(path)
    assert report.config is None
    assert report.problem is not None
    assert "web page" in report.problem
    assert report.note is not None
    assert "published 'small'" in report.note


def test_a_published_file_is_reported_as_such(tmp_path, nano, monkeypatch):
    path = tmp_path / "renamed.pt"
    torch.save({"model": nano.state_dict()}, path)
    genuine = published_bytes(path.read_bytes(), "small")
    monkeypatch.setattr(registry, "PUBLISHED", {"small": genuine})
    assert verify(path).published_as == "small"


def test_a_changed_file_of_a_published_model_is_reported_and_not_opened(empty_cache, monkeypatch):
    (empty_cache / "sam2.1_hiera_tiny.pt").write_bytes(b"changed")
    monkeypatch.setattr(verification, "load_network", None)
    report = verify("tiny")
    assert report.problem is not None
    assert "not the published 'tiny'" in report.problem


def test_verifying_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="There is no file"):
        verify(tmp_path / "gone.pt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match="is a pipe"):
        verify(tmp_path / "pipe.pt")


def test_an_empty_file_is_reported(tmp_path):
    (tmp_path / "empty.pt").write_bytes(b"")
    assert "is empty" in (verify(tmp_path / "empty.pt").problem or "")


def test_a_folder_is_reported_like_the_file_in_it(tmp_path, nano):
    path = tmp_path / "model.safetensors"
    save_model(path, nano, name="mine")
    report, of_file = verify(tmp_path), verify(path)
    assert (report.path, report.config, report.problem) == (tmp_path, NANO, None)
    assert (report.sha256, report.size_bytes) == (of_file.sha256, of_file.size_bytes)


def test_weights_without_memory_are_reported_as_such(tmp_path, nano):
    images = Sam2(replace(NANO, has_memory=False, follows_masks=False))
    images.load_state_dict(nano.state_dict(), strict=False)
    save_model(tmp_path / "images.safetensors", images, name="images")
    lines = str(verify(tmp_path / "images.safetensors")).splitlines()
    assert "model      SAM 2 nano for images, working size 256" in lines
    assert any(line.startswith("follows    no: ") for line in lines)


@pytest.mark.parametrize(
    "fields", [{"embed_dim": 10**30}, {"image_size": 10**6}, {"num_heads": 7}, {"calibration": {"a": 10**400}}]
)
def test_an_absurd_configuration_does_not_load(tmp_path, nano, fields):
    metadata = json.loads(encode(WeightMetadata("mine", NANO))[KEY]) | fields
    save_file(dict(nano.state_dict()), tmp_path / "mine.safetensors", metadata={KEY: json.dumps(metadata)})
    assert "metadata is damaged" in (verify(tmp_path / "mine.safetensors").problem or "")


def test_a_report_reads_as_a_few_lines(tmp_path, nano):
    save_model(tmp_path / "mine.safetensors", nano, name="mine")
    report = verify(tmp_path / "mine.safetensors")
    assert str(report).splitlines() == [
        f"file       {tmp_path / 'mine.safetensors'} ({report.size_bytes / 1e6:.1f} MB)",
        f"SHA-256    {report.sha256}",
        "published  no",
        "model      SAM 2.1 nano, working size 256",
        "loads      yes",
    ]


def test_the_report_of_a_broken_file_ends_with_the_reason(tmp_path):
    (tmp_path / "sam2.1_hiera_small.pt").write_text("<html>")
    lines = str(verify(tmp_path / "sam2.1_hiera_small.pt")).splitlines()
    assert lines[-2].startswith("note       sam2.1_hiera_small.pt is named like")
    assert lines[-1].startswith("loads      no: ")
    assert "web page" in lines[-1]
