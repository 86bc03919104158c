"""Times that were measured, times that are guessed, and the words for both."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_sam2.inference.speed import (
    EFFICIENCY,
    FRAME_COSTS,
    KEPT_TIMES,
    Activity,
    FrameTime,
    SpeedLog,
    estimate_seconds,
    estimate_sentence,
    measured_sentence,
)
from sam2_model.config import CONFIGS
from sam2_model.memory_bank import MAX_POINTERS
from sam2_model.sam2 import PointerMemory, Sam2, SpatialMemory


def time_of(seconds, *, source="nano", device="cpu", activity=Activity.FOLLOWING, size=256, objects=1):
    return FrameTime(source, device, activity, size, objects, seconds)


def test_the_median_is_typical_so_that_one_slow_frame_counts_for_nothing():
    log = SpeedLog()
    for seconds in (0.2, 0.3, 9.0):
        log.record(time_of(seconds))
    assert log.typical("nano", Activity.FOLLOWING) == time_of(0.3)


def test_what_was_not_measured_is_not_known():
    log = SpeedLog()
    log.record(time_of(0.2))
    assert log.typical("tiny", Activity.FOLLOWING) is None
    assert log.typical("nano", Activity.ANSWERING) is None
    assert log.typical("nano", Activity.FOLLOWING, "cuda:0") is None
    assert log.typical("nano", Activity.FOLLOWING, "cpu") is not None


def test_the_newest_circumstances_are_told_and_never_mixed_with_others():
    log = SpeedLog()
    log.record(time_of(0.1))
    log.record(time_of(5.0, size=1024, objects=4))
    assert log.typical("nano", Activity.FOLLOWING) == time_of(5.0, size=1024, objects=4)
    log.record(time_of(0.3))
    assert log.typical("nano", Activity.FOLLOWING).seconds == pytest.approx(0.2)


def test_old_times_are_forgotten():
    log = SpeedLog()
    for seconds in [9.0] * KEPT_TIMES + [1.0] * KEPT_TIMES:
        log.record(time_of(seconds))
    assert log.typical("nano", Activity.FOLLOWING).seconds == 1.0


@pytest.mark.parametrize(
    ("following", "answering", "sentence"),
    [
        (None, None, ""),
        (time_of(12.34), None, "12 s a frame with 1 object at 256 px: measured here"),
        (time_of(0.0731, objects=4), None, "73 ms a frame with 4 objects at 256 px: measured here"),
        (None, time_of(0.25), "250 ms an answer with 1 object at 256 px: measured here"),
        (
            time_of(1.5),
            time_of(0.25),
            "1.5 s a frame with 1 object at 256 px, 250 ms an answer: measured here",
        ),
    ],
)
def test_what_was_measured_in_words(following, answering, sentence):
    assert measured_sentence(following, answering) == sentence


def test_an_estimate_says_that_it_is_one_and_claims_one_digit():
    sentence = estimate_sentence(12.34, 1024)
    assert sentence == "about 10 s a frame with 1 object at 1024 px: estimated, not measured yet"


def test_an_estimate_is_the_work_over_the_rate_that_models_reach():
    cost = FRAME_COSTS["nano"][512]
    rate = 40e9
    seconds = sum(cost) * 1e9 / rate / EFFICIENCY
    assert estimate_seconds("nano", 512, rate) == pytest.approx(seconds)


@pytest.mark.parametrize(("name", "size"), [("mine.safetensors", 256), ("tiny", 512)])
def test_nothing_is_estimated_of_what_is_not_known(name, size):
    assert estimate_seconds(name, size, 40e9) is None


def counted(work):
    with FlopCounterMode(display=False) as counter:
        result = work()
    return counter.get_total_flops() / 2e9, result


OF_2_0 = [name for name in FRAME_COSTS if name.endswith("-2.0") and name != "tiny-2.0"]
"""They differ from those of 2.1 as `tiny-2.0` does from `tiny`: counted once."""


@pytest.mark.parametrize("name", OF_2_0)
def test_models_of_2_0_cost_what_those_of_2_1_do(name):
    assert FRAME_COSTS[name] == FRAME_COSTS[name.removesuffix("-2.0")]


@pytest.mark.parametrize(
    ("name", "size"), [(name, size) for name, costs in FRAME_COSTS.items() if name not in OF_2_0 for size in costs]
)
def test_the_table_of_costs_is_what_the_networks_compute(name, size):
    """Without numbers: tensors on the meta device have shapes alone."""
    config = CONFIGS[name]
    with torch.device("meta"):
        network = Sam2(config).eval().requires_grad_(False)
        frame, mask, is_present = torch.empty(1, 3, size, size), torch.empty(1, 1, size, size), torch.ones(1, 1) > 0
        # Views need values to be laid, so a network without them follows what is seen in one.
        seen_px = config.view_px or size
        follower = (
            Sam2(replace(config, view_px=None, follows_masks=False, has_instance_decoder=False))
            .eval()
            .requires_grad_(False)
        )
        seen = follower.encode_image(torch.empty(1, 3, seen_px, seen_px))
        last = torch.empty(1, 1, seen_px // 4, seen_px // 4) if config.follows_masks else None
        padding = torch.empty(1, 1, 2), torch.zeros(1, 1, dtype=torch.long)
        side = seen_px // 16
        memories = [
            SpatialMemory(torch.empty(1, config.memory_channels, side, side), slot)
            for slot in range(config.num_memories)
        ]
        pointers = [PointerMemory(torch.empty(1, config.width), 0.5)] * MAX_POINTERS
    image, features = counted(lambda: network.encode_image(frame))

    def follow():
        conditioned = follower.condition(seen, memories, pointers)
        follower.decode(conditioned, seen, *padding, last)
        network.encode_memory(features, mask, is_present)

    each_object, _ = counted(follow)
    assert FRAME_COSTS[name][size][0] == pytest.approx(image, abs=0.01)
    assert FRAME_COSTS[name][size][1] == pytest.approx(each_object, abs=0.01)
