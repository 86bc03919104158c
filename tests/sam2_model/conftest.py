"""What tests of the model share."""

from pathlib import Path

import pytest

from sam2_model.sam2 import Sam2
from sam2_model.weights import registry

from .toy import toy_model


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for downloads that holds nothing, in place of the user's; the hub's cache is empty too."""
    for cache in ("HF_HUB_CACHE", "HF_ASSETS_CACHE"):
        monkeypatch.setattr(f"huggingface_hub.constants.{cache}", str(tmp_path / cache))
    folder = registry.default_cache_dir()
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def network() -> Sam2:
    """The tiny network, on which objects are there."""
    return toy_model()
