"""What a weight file says about itself, read back and refused when it cannot be meant."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam2_model.config import CONFIGS, NANO, RANGES, with_image_size
from sam2_model.errors import CheckpointError
from sam2_model.weights.metadata import KEY, WeightMetadata, check_calibration, decode, encode


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


FIELDS = json.loads(encode(WeightMetadata("nano", NANO, {"slope": 1.0}))[KEY]) | {"has_memory": True}


def changed(**fields: object) -> dict[str, str]:
    return {KEY: json.dumps(json.loads(encode(WeightMetadata("nano", NANO))[KEY]) | fields)}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({KEY: "not JSON"}, "damaged"),
        ({KEY: "[1, 2]"}, "not an object"),
        ({KEY: "{}"}, "lacks 'embed_dim'"),
        ({KEY: "[" * 100_000 + "]" * 100_000}, "nested too deeply"),
        ({KEY: '{"width": 128, "width": 256}'}, "'width' occurs twice"),
        ({KEY: '{"calibration": {"slope": 1, "slope": 2}}'}, "'slope' occurs twice"),
        (changed(release="3.0"), "3.0"),
        (changed(image_size=250), "250"),
        (changed(stages=[1, 2, 3]), "stages"),
        (changed(stages=[1, 2, 3, 0]), "stages: 0 is not"),
        (changed(stages=[10**9, 1, 1, 1]), "stages: 1000000000 is not a whole number from 1 to 256"),
        (changed(stages=5), "stages is 5, not a list"),
        (changed(name=["x" * 1000]), "name is"),
        (changed(release=["2.1"]), "2.1"),
        (changed(embed_dim=47, num_heads=2), "num_heads is 2, which does not divide embed_dim, 47"),
        (changed(window_sizes=[7, 4, 8, 4]), "window_sizes"),
        (changed(global_blocks=[7]), "global_blocks holds 7"),
        (changed(global_blocks=[-1]), "global_blocks holds -1"),
        (changed(global_blocks=[True]), "global_blocks holds True"),
        (changed(global_blocks=list(range(7)) * 2), "global_blocks"),
        (changed(width=130), "width is 130"),
        (changed(width=48), "width is 48"),
        (changed(memory_channels=2), "memory_channels"),
        (changed(view_px=10**6), "view_px: 1000000"),
        (changed(image_size=8192), "8192 is above 4096"),
        (changed(image_size=256.0), "256.0"),
        (changed(image_size=True), "True"),
        (changed(has_memory=0), "has_memory is 0"),
        (changed(has_memory=False), "follows masks needs memory"),
        (changed(calibration={"slope": True}), "slope"),
        (changed(calibration={"slope": 10**400}), "401 digits"),
        (changed(width=True), "width: True is not"),
        (changed(width="128"), "width: '128' is not"),
        (changed(memory_layers=-1), "memory_layers: -1 is not"),
        (changed(global_blocks=4), "global_blocks"),
        (changed(follows_masks=1), "follows_masks is 1"),
        (changed(view_px=48), "Views of 48 px"),
        (changed(view_px=0), "view_px: 0 is not"),
        (changed(calibration=[1.0]), "calibration"),
        (changed(calibration={"slope": "steep"}), "steep"),
        (changed(calibration={"slope": float("nan")}), "NaN, which is not finite"),
    ],
)
def test_metadata_that_cannot_be_meant_is_refused_with_the_reason(metadata, reason):
    with pytest.raises(CheckpointError, match=reason):
        decode(metadata)


@pytest.mark.parametrize("field", RANGES)
@pytest.mark.parametrize("value", [-1, 0.5, True, "12", None, [], 10**9, 10**29, 10**30, float("nan"), float("inf")])
def test_no_number_of_a_configuration_is_believed_beyond_its_range(field, value):
    if field == "view_px" and value is None:
        return
    in_list = field in ("stages", "window_sizes", "position_grid")
    written = [value] * (2 if field == "position_grid" else 4) if in_list else value
    with pytest.raises(CheckpointError, match=rf"{field}|Image size|digits|not finite"):
        decode(changed(**{field: written}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(field=st.sampled_from(sorted(FIELDS)), value=JSON)
def test_any_value_of_any_field_is_metadata_or_a_sentence(field, value):
    try:
        read = decode(changed(**{field: value}))
    except CheckpointError as error:
        assert len(str(error)) < 500  # noqa: PT017
    else:
        assert read is not None


def test_a_calibration_too_large_for_a_number_is_told_in_python_too():
    with pytest.raises(ValueError, match="slope"):
        check_calibration({"slope": 10**400})


def test_a_model_without_memory_says_so():
    config = replace(NANO, has_memory=False, follows_masks=False)
    read = decode(encode(WeightMetadata("nano", config)))
    assert read is not None
    assert read.config == config


def test_the_first_block_may_attend_globally():
    config = replace(NANO, trunk=replace(NANO.trunk, global_blocks=(0, 4)))
    read = decode(encode(WeightMetadata("nano", config)))
    assert read is not None
    assert read.config == config
