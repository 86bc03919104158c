"""Trying a weight file and reporting what it is."""

import hashlib

import pytest
import torch

from sam2_model import registry, verification
from sam2_model.checkpoints import save_model
from sam2_model.config import NANO
from sam2_model.errors import CheckpointError
from sam2_model.sam2 import Sam2
from sam2_model.verification import verify

from .seeded import seeded_model
from .weight_layouts import published_bytes


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
