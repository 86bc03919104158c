"""What a weight file says about itself, read back and refused when it cannot be meant."""

import json
from dataclasses import replace

import pytest

from sam2_model.config import CONFIGS, NANO, with_image_size
from sam2_model.errors import CheckpointError
from sam2_model.weight_metadata import KEY, WeightMetadata, decode, encode


@pytest.mark.parametrize("config", [*CONFIGS.values(), with_image_size(NANO, 512)])
def test_metadata_comes_back_as_it_was_written(config):
    written = WeightMetadata("a name", config, {"slope": 1.5, "offset": -0.25})
    assert decode(encode(written)) == written


def test_a_model_that_was_not_calibrated_says_so():
    read = decode(encode(WeightMetadata("nano", NANO)))
    assert read is not None
    assert read.calibration is None


def test_a_calibration_cannot_be_changed_once_read():
    read = decode(encode(WeightMetadata("nano", NANO, {"slope": 1.0})))
    assert read is not None
    with pytest.raises(TypeError):
        read.calibration["slope"] = 2.0


def test_a_file_of_somebody_else_says_nothing():
    assert decode({"format": "pt"}) is None


def changed(**fields: object) -> dict[str, str]:
    return {KEY: json.dumps(json.loads(encode(WeightMetadata("nano", NANO))[KEY]) | fields)}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({KEY: "not JSON"}, "damaged"),
        ({KEY: "[1, 2]"}, "not an object"),
        ({KEY: "{}"}, "lacks 'stages'"),
        (changed(release="3.0"), "3.0"),
        (changed(image_size=250), "250"),
        (changed(stages=[1, 2, 3]), "stages"),
        (changed(stages=[1, 2, 3, 0]), "stages holds 0"),
        (changed(width=True), "width holds True"),
        (changed(width="128"), "width holds '128'"),
        (changed(memory_layers=-1), "memory_layers holds -1"),
        (changed(global_blocks=4), "global_blocks"),
        (changed(follows_masks=1), "follows_masks is 1"),
        (changed(view_px=48), "Views of 48 px"),
        (changed(view_px=0), "view_px holds 0"),
        (changed(calibration=[1.0]), "calibration"),
        (changed(calibration={"slope": "steep"}), "steep"),
        (changed(calibration={"slope": float("nan")}), "nan"),
    ],
)
def test_metadata_that_cannot_be_meant_is_refused_with_the_reason(metadata, reason):
    with pytest.raises(CheckpointError, match=reason):
        decode(metadata)


def test_the_first_block_may_attend_globally():
    config = replace(NANO, trunk=replace(NANO.trunk, global_blocks=(0, 4)))
    read = decode(encode(WeightMetadata("nano", config)))
    assert read is not None
    assert read.config == config
