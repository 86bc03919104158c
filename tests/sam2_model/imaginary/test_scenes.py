from itertools import pairwise

import numpy as np
import pytest

from sam2_model.errors import ConfigError
from sam2_model.imaginary.scenes import FAMILIES, Scene, SceneOptions, make_scene


def scene(seed: int, **options: object) -> Scene:
    return make_scene(np.random.default_rng(seed), SceneOptions(**{"size": 64, "frames": 3} | options))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_pictures_in_range_with_labelled_objects(family: str) -> None:
    scenes = [scene(seed, families=(family,)) for seed in range(4)]
    for made in scenes:
        assert made.frames.shape == made.labels.shape == (3, 64, 64)
        assert made.frames.dtype == np.float32
        assert made.labels.dtype == np.int32
        assert made.frames.min() >= 0
        assert made.frames.max() <= 1
        assert made.frames.std() > 0
    assert any(made.labels.any() for made in scenes)


def test_the_same_seed_gives_the_same_scene_and_another_seed_another() -> None:
    first, again, other = scene(7), scene(7), scene(8)
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.frames, other.frames)


def test_an_id_stands_for_the_same_object_in_every_frame() -> None:
    options = {"families": ("nuclei",), "sections": 0.0, "pace": 0.2, "frames": 4}
    overlaps = []
    for seed in range(6):
        labels = scene(seed, **options).labels
        for now, later in pairwise(labels):
            for label in np.intersect1d(now[now > 0], later[later > 0]):
                a, b = now == label, later == label
                if min(a.sum(), b.sum()) > 40:
                    overlaps.append((a & b).sum() / min(a.sum(), b.sum()))
    assert np.median(overlaps) > 0.8


def test_sections_make_bodies_appear_and_vanish() -> None:
    births = deaths = 0
    for seed in range(6):
        labels = scene(seed, sections=1.0, frames=8, families=("nuclei",)).labels
        first, last = set(np.unique(labels[0])), set(np.unique(labels[-1]))
        births += len(last - first)
        deaths += len(first - last)
    assert births > 0
    assert deaths > 0


def test_labels_lie_where_the_light_is() -> None:
    differences = []
    for seed in range(8):
        made = scene(seed, families=("nuclei",), frames=1, size=96)
        inside = made.labels > 0
        if inside.any() and not inside.all():
            differences.append(abs(made.frames[inside].mean() - made.frames[~inside].mean()))
    assert np.median(differences) > 0.2


def test_an_unknown_family_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="nuclei"):
        scene(0, families=("galaxies",))


def test_a_scene_without_frames_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 frame"):
        scene(0, frames=0)
