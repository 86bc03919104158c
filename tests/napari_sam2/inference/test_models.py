"""The registry as the plugin and the command line see it."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam2.errors import ModelError
from napari_sam2.inference.machine import measure_machine
from napari_sam2.inference.models import (
    check_model,
    download_model,
    find_model,
    list_models,
    verify_model,
)
from napari_sam2.inference.sam2 import Sam2Predictor
from sam2_model.config import CONFIGS
from sam2_model.device import choose_device
from sam2_model.sam2 import Sam2
from sam2_model.weights.loading import LoadedModel, save_model


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    for cache in ("HF_HUB_CACHE", "HF_ASSETS_CACHE"):
        monkeypatch.setattr(f"huggingface_hub.constants.{cache}", str(tmp_path / cache))
    return tmp_path / "HF_ASSETS_CACHE" / "napari-sam2"


def test_the_embedded_model_comes_first_and_is_here():
    nano = list_models()[0]
    assert (nano.name, nano.release, nano.licence) == ("nano", "2.1", "BSD-3-Clause")
    assert nano.path is not None
    assert nano.size_bytes == nano.path.stat().st_size


def test_published_models_are_listed_before_they_are_fetched():
    models = {model.name: model for model in list_models()}
    assert len(models) == 9
    assert (models["tiny"].release, models["tiny-2.0"].release) == ("2.1", "2.0")
    assert models["large"].size_bytes == 898_083_611
    assert models["large"].licence == "Apache-2.0"
    assert models["large"].path is None


def test_fetched_models_are_listed_with_their_place(empty_cache):
    empty_cache.mkdir(parents=True)
    (empty_cache / "sam2_hiera_small.pt").write_bytes(b"weights")
    models = {model.name: model for model in list_models()}
    assert models["small-2.0"].path == empty_cache / "sam2_hiera_small.pt"


def test_an_unknown_model_cannot_be_downloaded():
    with pytest.raises(ModelError, match=r"'huge'.*tiny, small"):
        download_model("huge")


def test_downloading_the_embedded_model_says_where_it_is():
    assert download_model("nano") == list_models()[0].path


def test_the_embedded_model_is_sound():
    report = verify_model("nano")
    assert report.problem is None
    assert str(report).endswith("loads      yes")


def test_a_file_that_is_not_a_model_is_reported(tmp_path):
    (tmp_path / "page.pt").write_text("<html>")
    problem = verify_model(tmp_path / "page.pt").problem
    assert problem is not None
    assert "web page" in problem


def test_verifying_what_was_not_fetched_says_how_to_fetch_it():
    with pytest.raises(ModelError, match="models download tiny"):
        verify_model("tiny")


@pytest.mark.parametrize("name", ["nano", "tiny", "large-2.0"])
def test_the_working_size_is_known_before_torch_is_loaded(name):
    with torch.device("meta"):
        predictor = Sam2Predictor(LoadedModel(Sam2(CONFIGS[name]), name, "0" * 64))
    for height, width in ((100, 200), (256, 256), (300, 20), (20, 700), (3000, 3000)):
        assert find_model(name).working_size(height, width) == predictor.working_size(height, width)


def test_a_file_is_found_by_its_path_and_known_once_it_is_tried(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(list_models()[0].path.read_bytes())
    found = find_model(path)
    assert (found.name, found.path, found.size_bytes, found.licence) == (path.name, path, path.stat().st_size, "")
    assert (found.release, found.working_sizes) == ("", ())
    tried = check_model(path)
    assert (tried.path, tried.release, tried.working_sizes) == (path, "2.1", (256, 512, 1024))


def test_a_file_that_is_gone_is_told(tmp_path):
    for look in (find_model, check_model):
        with pytest.raises(ModelError, match=r"mine\.pt"):
            look(tmp_path / "mine.pt")


def test_a_file_that_is_no_model_is_told(tmp_path):
    (tmp_path / "page.pt").write_text("<html>")
    with pytest.raises(ModelError, match="web page"):
        check_model(tmp_path / "page.pt")


def test_a_folder_is_found_and_known_once_it_is_tried(tmp_path):
    folder = tmp_path / "sam2-mine"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(list_models()[0].path.read_bytes())
    found = find_model(folder)
    assert (found.name, found.path, found.size_bytes) == ("sam2-mine", folder, list_models()[0].size_bytes)
    assert check_model(folder).release == "2.1"


def test_weights_without_memory_do_not_say_their_release(tmp_path):
    network = Sam2(replace(CONFIGS["nano"], has_memory=False, follows_masks=False))
    save_model(tmp_path / "images.safetensors", network, name="images")
    tried = check_model(tmp_path / "images.safetensors")
    assert (tried.release, tried.working_sizes) == ("", (256, 512, 1024))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_is_no_model_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    for look in (find_model, verify_model, check_model):
        with pytest.raises(ModelError, match="is a pipe"):
            look(tmp_path / "pipe.pt")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.one_of(st.text(max_size=20), st.text("ab/.\0~", max_size=8), st.just("x" * 5000)))
def test_any_name_is_answered_with_a_report_or_a_sentence(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    try:
        assert verify_model(name).problem is None
    except ModelError as error:
        assert str(error)  # noqa: PT017


@pytest.fixture(scope="module")
def parts():
    """The embedded file: its metadata, its header without them, and its tensors."""
    content = list_models()[0].path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return json.loads(header.pop("__metadata__")["napari_sam2"]), header, content[8 + length :]


def write_mutated(path, data, parts):
    """Write the embedded file with something else in a field or two of its configuration or of its header."""
    metadata, header, tensors = copy.deepcopy(parts[0]), copy.deepcopy(parts[1]), parts[2]
    odd = st.one_of(
        st.sampled_from([0, -1, 1, 3, 10**6, 10**29, 0.5, True, None, "x", [], {}, [1, 2], [10**12]]), st.integers()
    )
    for _ in range(data.draw(st.integers(0, 2))):
        metadata[data.draw(st.sampled_from(sorted(metadata)))] = data.draw(odd)
    for _ in range(data.draw(st.integers(0, 2))):
        entry = header[data.draw(st.sampled_from(sorted(header)))]
        entry[data.draw(st.sampled_from(sorted(entry)))] = data.draw(odd)
    text = json.dumps(header | {"__metadata__": {"napari_sam2": json.dumps(metadata)}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + tensors)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_configuration_or_header_is_reported_and_not_raised(tmp_path, parts, data):
    write_mutated(tmp_path / "changed.safetensors", data, parts)
    report = verify_model(tmp_path / "changed.safetensors")
    assert (report.config is None) == (report.problem is not None)


def test_the_embedded_model_passes():
    assert check_model("nano") == find_model("nano")


def test_the_machine_is_measured():
    threads = torch.get_num_threads()
    try:
        machine = measure_machine()
    finally:
        torch.set_num_threads(threads)
    assert machine.devices[0] == str(choose_device("auto"))
    assert machine.multiply_adds_per_s > 1e8


def test_listing_models_loads_no_torch():
    code = "import sys; from napari_sam2.inference import models as m; m.list_models(); m.find_model('nano'); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
