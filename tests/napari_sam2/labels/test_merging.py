import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sam2.labels.merging import CommitPolicy, exported_plane, merged_plane
from tests.napari_sam2.conftest import drawn

COMMITTED = "11.22.33.."
INCOMING = ".44422.334"


@pytest.mark.parametrize(
    ("policy", "options", "expected"),
    [
        (CommitPolicy.KEEP, {}, "1142223334"),
        (CommitPolicy.OVERWRITE, {}, "144422.334"),
        (CommitPolicy.KEEP, {"locked": {1, 2}}, "11422.3334"),
        (CommitPolicy.OVERWRITE, {"locked": {1}}, "114422.334"),
        (CommitPolicy.OVERWRITE, {"locked": {2}}, "14422..334"),
        (CommitPolicy.OVERWRITE, {"locked": {4}}, "11..22.33."),
        (CommitPolicy.OVERWRITE, {"locked": {1, 2, 3, 4}}, COMMITTED),
        (CommitPolicy.BY_SCORE, {"confidence_of": {1: 0.5, 2: 0.5, 4: 0.9}}, "144422.334"),
        (CommitPolicy.BY_SCORE, {"confidence_of": {1: 0.9, 4: 0.5}}, "114422.334"),
        (CommitPolicy.BY_SCORE, {"confidence_of": {1: 0.5, 4: 0.5}}, "114422.334"),
        (CommitPolicy.BY_SCORE, {"confidence_of": {4: 0.9}}, "114422.334"),
        (CommitPolicy.BY_SCORE, {"confidence_of": {1: 0.5}}, "144422.334"),
        (CommitPolicy.BY_SCORE, {}, "114422.334"),
        (CommitPolicy.BY_SCORE, {"confidence_of": {1: 0.1, 4: 0.9}, "locked": {1}}, "114422.334"),
        (CommitPolicy.BY_SCORE, {"confidence_of": {1: 0.1, 4: 0.9}, "locked": {4}}, "11..22.33."),
    ],
)
def test_policies(policy, options, expected):
    merged = merged_plane(drawn(COMMITTED), drawn(INCOMING), policy, **options)
    np.testing.assert_array_equal(merged, drawn(expected))


PLANES = arrays(np.uint8, (4, 5), elements=st.integers(0, 4))


@given(committed=PLANES, incoming=PLANES, policy=st.sampled_from(CommitPolicy), locked=st.sets(st.integers(1, 4)))
def test_locked_objects_neither_lose_nor_receive_a_pixel(committed, incoming, policy, locked):
    before = committed.copy(), incoming.copy()
    confidence_of = {1: 0.3, 2: 0.6, 3: 0.6}
    merged = merged_plane(committed, incoming, policy, confidence_of=confidence_of, locked=locked)
    for object_id in locked:
        np.testing.assert_array_equal(merged == object_id, committed == object_id)
    np.testing.assert_array_equal(merged[(committed == 0) & (incoming == 0)], 0)
    np.testing.assert_array_equal(committed, before[0])
    np.testing.assert_array_equal(incoming, before[1])


@given(committed=PLANES, incoming=PLANES)
def test_keeping_never_changes_a_committed_pixel(committed, incoming):
    merged = merged_plane(committed, incoming, CommitPolicy.KEEP)
    np.testing.assert_array_equal(merged[committed > 0], committed[committed > 0])


@pytest.mark.parametrize(
    ("locked", "expected"),
    [
        ({4}, "144422.334"),
        ({1}, "114422.334"),
        ({3, 4}, "14442233.4"),
        ({1, 2, 3, 4}, "11422.33.4"),
    ],
    ids=["shown alone", "committed alone", "shown and committed", "all"],
)
def test_an_export_holds_locked_objects_too_and_keeps_their_committed_pixels(locked, expected):
    policy = CommitPolicy.OVERWRITE
    exported = exported_plane(drawn(COMMITTED), drawn(INCOMING), policy, locked=locked)
    np.testing.assert_array_equal(exported, drawn(expected))


def test_an_export_without_locks_is_what_a_commit_would_leave():
    for policy in CommitPolicy:
        merged = merged_plane(drawn(COMMITTED), drawn(INCOMING), policy, confidence_of={1: 0.5, 4: 0.9})
        exported = exported_plane(drawn(COMMITTED), drawn(INCOMING), policy, confidence_of={1: 0.5, 4: 0.9})
        np.testing.assert_array_equal(exported, merged)
