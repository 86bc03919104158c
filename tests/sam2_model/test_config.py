"""The models known by name, and the sizes they work at."""

from dataclasses import FrozenInstanceError, replace

import pytest

from sam2_model.config import (
    BASE_PLUS,
    CONFIGS,
    LARGE,
    NANO,
    RANGES,
    SMALL,
    TINY,
    Release,
    Sam2Config,
    check_image_size,
    config_of,
    with_image_size,
)
from sam2_model.errors import ConfigError


def test_nano_and_four_sizes_of_two_releases_are_known():
    sizes = {"tiny", "small", "base-plus", "large"}
    assert set(CONFIGS) == {"nano"} | sizes | {f"{size}-2.0" for size in sizes}


@pytest.mark.parametrize(
    ("name", "trunk", "release"),
    [
        ("tiny", TINY, Release.V2_1),
        ("small", SMALL, Release.V2_1),
        ("base-plus", BASE_PLUS, Release.V2_1),
        ("large", LARGE, Release.V2_1),
        ("tiny-2.0", TINY, Release.V2_0),
        ("large-2.0", LARGE, Release.V2_0),
    ],
)
def test_a_published_name_stands_for_its_trunk_and_release(name, trunk, release):
    config = config_of(name)
    assert (config.trunk, config.release) == (trunk, release)
    assert (config.width, config.memory_channels, config.num_memories, config.image_size) == (256, 64, 7, 1024)


@pytest.mark.parametrize("trunk", [TINY, SMALL, BASE_PLUS, LARGE, NANO.trunk])
def test_global_blocks_lie_in_the_third_stage(trunk):
    first = sum(trunk.stages[:2])
    assert all(first <= block < first + trunk.stages[2] for block in trunk.global_blocks)


def test_an_unknown_name_is_answered_with_those_that_are_known():
    with pytest.raises(ConfigError, match=r"no model called 'huge'.*nano, tiny, small, base-plus, large, tiny-2\.0"):
        config_of("huge")


@pytest.mark.parametrize("size", [32, 64, 96, 256, 512, 1024])
def test_multiples_of_32_are_working_sizes(size):
    assert check_image_size(size) == size


@pytest.mark.parametrize(
    ("size", "cure"),
    [
        (-32, "Use 32 or more"),
        (0, "Use 32 or more"),
        (1, "Use 32 or more"),
        (33, "Use 32 or 64"),
        (1000, "Use 992 or 1024"),
    ],
)
def test_other_sizes_are_refused_with_the_nearest_that_work(size, cure):
    with pytest.raises(ConfigError, match=rf"Image size {size} is not .* {cure}\."):
        check_image_size(size)


@pytest.mark.parametrize("size", [4128, 10**9, 10**30, 64.0, True, "64", None])
def test_sizes_out_of_all_proportion_and_other_things_are_refused(size):
    with pytest.raises(ConfigError, match="Image size"):
        check_image_size(size)


def test_the_largest_working_size_is_one():
    assert check_image_size(4096) == 4096


@pytest.mark.parametrize("config", CONFIGS.values())
def test_every_known_model_lies_well_within_the_ranges(config):
    for name, (low, high) in RANGES.items():
        value = getattr(config, name, None) or getattr(config.trunk, name, None) or low
        for number in value if isinstance(value, tuple) else (value,):
            assert low <= number <= high / 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"width": 10**30}, "width: a number of about 31 digits"),
        ({"memory_layers": 0}, "memory_layers: 0"),
        ({"num_memories": 2.0}, "num_memories: 2.0"),
        ({"has_memory": 1}, "has_memory is 1"),
        ({"has_memory": False}, "needs memory"),
        ({"trunk": NANO.trunk, "view_px": None}, "needs views"),
    ],
)
def test_a_configuration_that_cannot_be_is_not_made(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        replace(NANO, **changes)


def test_a_trunk_that_cannot_be_is_not_made():
    with pytest.raises(ConfigError, match="stages"):
        replace(NANO.trunk, stages=[1, 2, 3, 1])
    with pytest.raises(ConfigError, match="does not divide"):
        replace(NANO.trunk, num_heads=5)


def test_another_working_size_changes_nothing_else():
    changed = with_image_size(NANO, 512)
    assert changed.image_size == 512
    assert with_image_size(changed, 256) == NANO
    with pytest.raises(ConfigError, match="100"):
        with_image_size(NANO, 100)


def test_a_configuration_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        NANO.width = 1  # type: ignore[misc]


def test_configurations_are_equal_by_value():
    assert Sam2Config(TINY) == CONFIGS["tiny"] != CONFIGS["tiny-2.0"]
