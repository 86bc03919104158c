import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam2_model.errors import ConfigError, FrameError
from sam2_model.preprocessing import WorkingImage
from sam2_model.training.annotated import (
    AnnotatedBatches,
    AnnotatedFrame,
    AnnotatedStack,
    annotated_frames,
    hold_out,
    runs,
    whole_frames,
)
from sam2_model.training.stages import Load, Stage
from tests.sam2_model.toy import HEIGHT, WIDTH, CountingFrames, toy_labels, toy_stack

STAGE = Stage("any", 1, 1e-3, ())
SIZE = 64


def seen_at(size: int) -> WorkingImage:
    return WorkingImage.stretched(HEIGHT, WIDTH, size)


def stack_of(
    count: int, *, labels: NDArray[np.integer] | None = None, size: int = SIZE, is_series: bool = True
) -> AnnotatedStack:
    given = toy_labels(count) if labels is None else labels
    return AnnotatedStack(frames=toy_stack(count), labels=given, working=seen_at(size), is_series=is_series)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def numbers(frames: tuple[AnnotatedFrame, ...]) -> list[int]:
    return [frame.frame for frame in frames]


def test_frames_without_objects_of_some_size_are_not_annotated() -> None:
    labels = toy_labels(4)
    labels[1] = 0
    labels[2] = 0
    labels[2, 5:7, 5:7] = 9
    labels[3, 40, 50] = 9
    found = annotated_frames([stack_of(4, labels=labels)])
    assert numbers(found) == [0, 3]
    assert found[1].ids.tolist() == [1, 2]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_annotated_frames_are_refused(count: int) -> None:
    labels = toy_labels(3)
    labels[count:] = 0
    with pytest.raises(FrameError, match=rf"working size: {count}\. Two are needed"):
        annotated_frames([stack_of(3, labels=labels)])


@pytest.mark.parametrize(
    ("lengths", "fraction", "held"),
    [
        ((10,), 0.2, [8, 9]),
        ((10,), 0.01, [8, 9]),
        ((3,), 0.01, [2]),
        ((2,), 0.9, [1]),
        ((10,), 0.99, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ((5, 5), 0.5, [0, 1, 2, 3, 4]),
    ],
)
def test_the_last_frames_of_a_series_are_held_out_together(
    lengths: tuple[int, ...], fraction: float, held: list[int]
) -> None:
    frames = annotated_frames([stack_of(length) for length in lengths])
    split = hold_out(frames, fraction, rng())
    assert numbers(split.held_out) == held
    assert len({frame.stack for frame in split.held_out}) == 1
    assert set(split.training) | set(split.held_out) == set(frames)
    assert not set(split.training) & set(split.held_out)


def test_single_images_are_held_out_at_random_by_seed() -> None:
    frames = annotated_frames([stack_of(1) for _ in range(10)])
    held = [set(map(id, hold_out(frames, 0.3, rng(seed)).held_out)) for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]
    assert [len(each) for each in held] == [3, 3, 3]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_a_fraction_outside_of_0_and_1_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        hold_out(annotated_frames([stack_of(3)]), fraction, rng())


def test_runs_end_at_gaps_and_at_the_end_of_a_stack_and_images_stand_alone() -> None:
    labels = toy_labels(5)
    labels[2] = 0
    stacks = [stack_of(5, labels=labels), stack_of(2), stack_of(3, is_series=False)]
    assert [numbers(run) for run in runs(annotated_frames(stacks))] == [[0, 1], [3, 4], [0, 1], [0], [1], [2]]


@pytest.mark.parametrize("load", [Load(64, 3, 4), Load(32, 2, 3), Load(64, 2, 3, 3)])
def test_masks_lie_on_the_objects_however_a_batch_is_turned(load: Load) -> None:
    source = AnnotatedBatches(annotated_frames([stack_of(5)]))
    for seed in range(20):
        batch = source(rng(seed), STAGE, load)
        N = load.clips * load.objects
        assert batch.images.shape == (load.frames, load.clips, 3, load.size, load.size)
        assert batch.masks.shape == (load.frames, N, 1, load.size, load.size)
        assert batch.labels.shape == (load.frames, load.clips, load.size, load.size)
        background = batch.labels == 0
        for n, clip in enumerate(batch.owner.tolist()):
            for t in range(load.frames):
                image, mask = batch.images[t, clip].mean(0), batch.masks[t, n, 0] > 0
                if t == 0 or mask.sum() > 16:
                    assert image[mask].mean() > image[background[t, clip]].mean() + 0.5


def test_objects_in_windows_are_about_as_large_as_in_prediction() -> None:
    stack = stack_of(2, size=128)
    frames = annotated_frames([stack])
    true = whole_frames(frames[:1], 2).masks[0].flatten(1).sum(1).max()
    largest = torch.stack(
        [
            AnnotatedBatches(frames)(rng(seed), STAGE, Load(64, 1, 2)).masks[0].flatten(1).sum(1).max()
            for seed in range(40)
        ]
    )
    assert true / 1.25**2 * 0.9 < largest.median() < true * 1.25**2
    assert largest.max() < true * 1.25**2 * 1.1


def test_the_same_seed_gives_the_same_batch_and_another_another() -> None:
    source = AnnotatedBatches(annotated_frames([stack_of(5)]))
    first, again, other = (source(rng(seed), STAGE, Load(64, 2, 3, 3)) for seed in (4, 4, 5))
    torch.testing.assert_close(first.images, again.images, rtol=0, atol=0)
    torch.testing.assert_close(first.masks, again.masks, rtol=0, atol=0)
    assert not torch.equal(first.images, other.images)


def test_clips_play_in_both_directions() -> None:
    counting = CountingFrames(toy_stack(5))
    stack = AnnotatedStack(frames=counting, labels=toy_labels(5), working=seen_at(SIZE), is_series=True)
    source = AnnotatedBatches(annotated_frames([stack]))
    steps = set()
    for seed in range(12):
        source(rng(seed), STAGE, Load(64, 1, 1, 3))
        steps.add(tuple(np.diff(counting.reads[-3:]).tolist()))
    assert steps == {(1, 1), (-1, -1)}


def test_clips_longer_than_any_series_are_refused() -> None:
    with pytest.raises(FrameError, match="no 3 successive annotated frames"):
        AnnotatedBatches(annotated_frames([stack_of(2)]))(rng(), STAGE, Load(64, 1, 1, 3))


def test_ids_in_the_billions_cost_no_memory() -> None:
    labels = toy_labels(2).astype(np.uint32) * 2_000_000_000
    batch = AnnotatedBatches(annotated_frames([stack_of(2, labels=labels)]))(rng(), STAGE, Load(64, 1, 2))
    assert batch.labels.max() <= 2
    assert batch.masks.any()


def test_whole_frames_are_what_prediction_sees() -> None:
    frames = annotated_frames([stack_of(3)])
    batch = whole_frames(frames[:2], most=5)
    assert batch.images.shape == (2, 1, 3, SIZE, SIZE)
    seen = seen_at(SIZE).image(toy_stack(3)[1], torch.device("cpu"))
    torch.testing.assert_close(batch.images[1], seen, rtol=0, atol=0)
    assert batch.masks.shape[1] == 2
    areas = batch.masks[0].flatten(1).sum(1) * (HEIGHT * WIDTH / SIZE**2)
    assert sorted(areas.tolist()) == pytest.approx([149, 193], rel=0.06)


@pytest.mark.parametrize("shape", [(24, 200), (200, 24), (24, 30)])
def test_frames_whose_proportions_are_kept_are_cut_and_seen_in_their_proportions(shape: tuple[int, int]) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = (np.hypot(y - shape[0] // 2, x - shape[1] // 2) < 10).astype(np.int32)[None]
    image = np.repeat(np.where(labels > 0, 250, 10).astype(np.uint8)[..., None], 3, -1)
    working = WorkingImage.in_proportion(*shape, 128)
    stack = AnnotatedStack(frames=image, labels=labels, working=working, is_series=False)
    frame = annotated_frames([stack, stack])[0]
    batches = AnnotatedBatches([frame])
    for batch in (whole_frames([frame], 1), *(batches(rng(seed), STAGE, Load(64, 1, 1)) for seed in range(8))):
        mask = batch.masks[0, 0, 0] > 0
        assert batch.images.shape[3:] == batch.masks.shape[3:]
        image = batch.images[0, 0].mean(0)
        assert image[mask].mean() > image[~mask].mean() + 1
        if not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()):
            rows, columns = (int(mask.any(axis).sum()) for axis in (1, 0))
            assert rows == pytest.approx(columns, abs=3), "a disc stays round"
    assert whole_frames([frame], 1).images.shape[3:] == working.size
