import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from napari.layers import Image, Labels

from napari_sam2.errors import FrameError, OptionError
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.layers import label_edits
from napari_sam2.layers.grid import grid_of
from napari_sam2.layers.label_edits import commit, delete_object, merge_objects, write_frame
from napari_sam2.workspace.history import History
from tests.napari_sam2.conftest import DRAWING, drawn

TOY = drawn(DRAWING)
SHAPE = (4, *TOY.shape)
IMAGE = Image(np.zeros(SHAPE, np.uint8))
GRID = grid_of(IMAGE)

STORES = {
    "numpy": lambda labels: labels.copy(),
    "transposed numpy": lambda labels: labels.transpose(2, 1, 0).copy().transpose(2, 1, 0),
    "zarr": lambda labels: zarr.array(labels, chunks=(1, 5, 5)),
}


@pytest.fixture(params=STORES.values(), ids=STORES)
def layer(request):
    """The toy drawing on frame 1 of a stack."""
    labels = np.zeros(SHAPE, np.uint16)
    labels[1] = TOY
    return Labels(request.param(labels), name="cells")


def pixels(layer):
    return np.array(layer.data[:])


# Patches


def test_a_frame_is_written_into_the_array_of_the_layer(layer):
    array, before = layer.data, pixels(layer)
    patch = write_frame(layer, GRID, 2, TOY * 2)
    assert layer.data is array
    np.testing.assert_array_equal(pixels(layer)[2], TOY * 2)
    np.testing.assert_array_equal(pixels(layer)[[0, 1, 3]], before[[0, 1, 3]])
    assert patch.frame == 2


def test_a_patch_is_undone_and_redone_any_number_of_times(layer):
    before = pixels(layer)
    patch = write_frame(layer, GRID, 1, np.flip(TOY))
    after = pixels(layer)
    assert not np.array_equal(before, after)
    for _ in range(2):
        patch.undo()
        np.testing.assert_array_equal(pixels(layer), before)
        patch.redo()
        np.testing.assert_array_equal(pixels(layer), after)


def test_writing_what_is_there_makes_no_patch(layer):
    assert write_frame(layer, GRID, 1, TOY) is None


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1), (1, 2, 0)])
def test_a_frame_of_a_rolled_stack_is_written_as_it_is_shown(layer, order):
    grid = grid_of(IMAGE, order)
    plane = np.arange(grid.height * grid.width).reshape(grid.height, grid.width)
    patch = write_frame(layer, grid, 3, plane)
    np.testing.assert_array_equal(pixels(layer).transpose(order)[3], plane)
    np.testing.assert_array_equal(grid.plane(layer.data, 3), plane)
    patch.undo()
    assert not grid.plane(layer.data, 3)[2:, 2:].all()


def test_a_single_image_has_one_frame_to_write():
    layer = Labels(np.zeros(TOY.shape, np.uint16))
    patch = write_frame(layer, grid_of(Image(np.zeros(TOY.shape))), 0, TOY)
    np.testing.assert_array_equal(layer.data, TOY)
    patch.undo()
    assert not layer.data.any()


def test_what_was_painted_over_an_edit_survives_its_undo_and_redo(layer):
    patch = write_frame(layer, GRID, 0, TOY)
    by_hand = np.array(layer.data[0])
    by_hand[1, 2:4] = 8
    layer.data[0] = by_hand
    patch.undo()
    np.testing.assert_array_equal(pixels(layer)[0], np.where(by_hand == 8, 8, 0))
    patch.redo()
    np.testing.assert_array_equal(pixels(layer)[0], by_hand)


@settings(max_examples=30, deadline=None)
@given(
    before=arrays(np.uint32, (5, 6), elements=st.integers(0, 2**32 - 1)),
    after=arrays(np.uint32, (5, 6), elements=st.integers(0, 2**32 - 1)),
)
def test_any_labels_are_restored(before, after):
    layer = Labels(before.copy())
    patch = write_frame(layer, grid_of(Image(np.zeros((5, 6)))), 0, after)
    np.testing.assert_array_equal(layer.data, after)
    if patch:
        patch.undo()
    np.testing.assert_array_equal(layer.data, before)


def test_a_patch_costs_bytes_in_proportion_to_the_changed_pixels():
    grid = grid_of(Image(np.zeros((2000, 2000), np.uint8)))
    scattered = np.random.default_rng(0)
    sizes = []
    for count in (10, 1000, 100_000):
        layer = Labels(np.zeros((2000, 2000), np.uint32))
        plane = np.zeros(4_000_000, np.uint32)
        plane[scattered.choice(plane.size, count, replace=False)] = 7
        sizes.append(write_frame(layer, grid, 0, plane.reshape(2000, 2000)).num_bytes)
    assert sizes[0] < 200
    assert sizes[1] < 5 * 1000
    assert sizes[2] < 5 * 100_000


def test_an_object_costs_far_less_than_its_pixels():
    layer = Labels(np.zeros((500, 500), np.uint32))
    y, x = np.mgrid[:500, :500]
    disc = (np.hypot(y - 250, x - 250) < 100) * 5
    patch = write_frame(layer, grid_of(Image(np.zeros((500, 500)))), 0, disc)
    assert patch.num_bytes < np.count_nonzero(disc) / 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Labels(np.zeros((3, 8, 12), int)), r"has shape \(3, 8, 12\), and \(4, 8, 12\) is needed"),
        (lambda: Labels([np.zeros(SHAPE, int), np.zeros((4, 4, 6), int)], multiscale=True), "is multiscale"),
        (lambda: Labels(da.zeros(SHAPE, dtype=int)), r"\(Array\) cannot be written"),
        (lambda: Labels(np.broadcast_to(np.zeros((), int), SHAPE)), r"\(ndarray\) cannot be written"),
        (
            lambda: Labels(zarr.open_array(zarr.array(np.zeros(SHAPE, int)).store, mode="r")),
            r"\(Array\) cannot be written",
        ),
    ],
    ids=["shape", "multiscale", "dask", "read-only numpy", "read-only zarr"],
)
def test_a_layer_that_cannot_be_written_is_refused(make, message):
    with pytest.raises(FrameError, match=message):
        write_frame(make(), GRID, 0, TOY)


@pytest.mark.parametrize(
    ("plane", "message"),
    [
        (TOY[:4], r"Labels of shape \(4, 12\) were given for frame 0"),
        (TOY.astype(int) * 40_000, "Label 80000|Label 120000"),
        (-TOY.astype(int), "Label -3 does not fit"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_nothing_is_written(layer, plane, message):
    before = pixels(layer)
    with pytest.raises(FrameError, match=message):
        write_frame(layer, GRID, 0, plane)
    np.testing.assert_array_equal(pixels(layer), before)


def test_a_patch_does_not_fit_data_of_another_shape():
    layer = Labels(np.zeros(SHAPE, np.uint16))
    patch = write_frame(layer, GRID, 0, TOY)
    layer.data = np.zeros((2, 8, 12), np.uint16)
    with pytest.raises(FrameError, match="Use a layer that was made for this image"):
        patch.undo()


def test_a_patch_fits_its_layer_converted_to_a_wider_type_and_no_narrower_one():
    layer = Labels(np.zeros(SHAPE, np.uint16), name="cells")
    patch = write_frame(layer, GRID, 0, TOY)
    layer.data = layer.data.astype(np.uint32)
    patch.undo()
    assert not layer.data.any()
    layer.data = layer.data.astype(np.uint8)
    with pytest.raises(FrameError, match="'cells' is of dtype uint8 now, and an edit of uint16 may not fit"):
        patch.redo()


# Commit, delete, merge


def test_committing_moves_objects_and_is_one_step_of_the_history(layer):
    target = Labels(np.zeros(SHAPE, np.uint32))
    history = History(2**20)
    history.record("Commit", commit(layer, target, GRID, range(4), CommitPolicy.KEEP))
    np.testing.assert_array_equal(target.data[1], TOY)
    assert not pixels(layer).any()
    assert history.undo() == "Commit"
    assert not target.data.any()
    np.testing.assert_array_equal(pixels(layer)[1], TOY)
    history.redo()
    np.testing.assert_array_equal(target.data[1], TOY)
    assert not pixels(layer).any()


def test_only_the_given_frames_are_committed():
    current = Labels(np.stack([TOY] * 4))
    target = Labels(np.zeros(SHAPE, np.uint16))
    patches = commit(current, target, GRID, [0, 2], CommitPolicy.KEEP)
    assert [frame for frame in range(4) if target.data[frame].any()] == [0, 2]
    assert [frame for frame in range(4) if current.data[frame].any()] == [1, 3]
    assert [patch.frame for patch in patches] == [0, 0, 2, 2]


def test_locked_objects_stay_where_they_are(layer):
    target = Labels(np.zeros(SHAPE, np.uint16))
    commit(layer, target, GRID, range(4), CommitPolicy.OVERWRITE, locked=[2])
    np.testing.assert_array_equal(target.data[1], np.where(TOY == 2, 0, TOY))
    np.testing.assert_array_equal(pixels(layer)[1], np.where(TOY == 2, TOY, 0))


def test_committing_by_score_takes_the_confidences_of_each_frame():
    current = Labels(np.full((2, 2, 2), 5, np.uint16))
    target = Labels(np.full((2, 2, 2), 6, np.uint16))
    confidences = {0: {5: 0.9, 6: 0.2}, 1: {5: 0.2, 6: 0.9}}
    grid = grid_of(Image(np.zeros((2, 2, 2))))
    commit(current, target, grid, range(2), CommitPolicy.BY_SCORE, confidences=confidences)
    np.testing.assert_array_equal(target.data[:, 0, 0], [5, 6])
    assert not current.data.any()


def test_nothing_to_commit_is_no_change():
    empty = Labels(np.zeros(SHAPE, np.uint16))
    assert commit(empty, Labels(np.zeros(SHAPE, np.uint16)), GRID, range(4), CommitPolicy.KEEP) == []


def test_a_layer_is_not_committed_into_itself(layer):
    with pytest.raises(OptionError, match="'cells' cannot be committed into itself"):
        commit(layer, layer, GRID, range(4), CommitPolicy.KEEP)


def test_a_commit_that_fails_half_way_changes_nothing():
    current = Labels(np.stack([TOY] * 4).astype(np.uint32))
    current.data[2, 0, 0] = 70_000
    before = current.data.copy()
    target = Labels(np.zeros(SHAPE, np.uint16))
    with pytest.raises(FrameError, match="Label 70000 does not fit"):
        commit(current, target, GRID, range(4), CommitPolicy.KEEP)
    assert not target.data.any()
    np.testing.assert_array_equal(current.data, before)


def test_a_commit_that_is_interrupted_changes_nothing(monkeypatch):
    current = Labels(np.stack([TOY] * 4))
    target = Labels(np.zeros(SHAPE, np.uint16))
    written = []

    def interrupted(layer, grid, frame, plane):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(frame)
        return write_frame(layer, grid, frame, plane)

    monkeypatch.setattr(label_edits, "write_frame", interrupted)
    with pytest.raises(KeyboardInterrupt):
        commit(current, target, GRID, range(4), CommitPolicy.KEEP)
    assert not target.data.any()
    assert current.data.all(axis=(1, 2)).sum() == 0
    np.testing.assert_array_equal(current.data, np.stack([TOY] * 4))


def test_deleting_an_object_is_undone(layer):
    before = pixels(layer)
    patches = delete_object(layer, GRID, 3)
    np.testing.assert_array_equal(pixels(layer), np.where(before == 3, 0, before))
    assert len(patches) == 1
    patches[0].undo()
    np.testing.assert_array_equal(pixels(layer), before)


def test_merging_gives_the_pixels_of_one_object_to_another(layer):
    before = pixels(layer)
    patches = merge_objects(layer, GRID, into=1, other=2)
    np.testing.assert_array_equal(pixels(layer), np.where(before == 2, 1, before))
    assert [patch.frame for patch in patches] == [1]


def test_an_object_can_be_deleted_from_some_frames_alone():
    layer = Labels(np.stack([TOY] * 4))
    delete_object(layer, GRID, 1, frames=[0, 3])
    assert [bool((layer.data[frame] == 1).any()) for frame in range(4)] == [False, True, True, False]


@pytest.mark.parametrize(
    "edit",
    [
        lambda layer: delete_object(layer, GRID, 0),
        lambda layer: merge_objects(layer, GRID, into=1, other=0),
        lambda layer: merge_objects(layer, GRID, into=0, other=1),
    ],
)
def test_the_background_is_no_object(layer, edit):
    with pytest.raises(OptionError, match="object ids start at 1"):
        edit(layer)
