"""Sessions, exports and tracks of the work on a bench, and work that is left over."""

import queue
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers._source import layer_source

from napari_sam2.files.images.reading import read_image
from napari_sam2.files.results_folder import LabelFormat
from napari_sam2.inference.time_left import Pace
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.saving.work_files import WorkFiles
from napari_sam2.sessions.sources import open_image
from napari_sam2.sessions.storage import read_session
from napari_sam2.workbench.workbench import Workbench
from tests.napari_sam2.bench import WorkbenchDriver
from tests.napari_sam2.fake_predictor import FakePredictor

SHAPE = (4, 24, 30)


class Desk(WorkbenchDriver):
    """A bench with a desk, in a viewer without a window."""

    def __init__(self, root, *names):
        self.viewer, self.posted = ViewerModel(), queue.Queue()
        for name in names:
            self.add(name)
        super().__init__(Workbench(self.viewer, load_model=lambda source: FakePredictor(), post=self.posted.put))
        self.desk = WorkFiles(self.bench, post=self.posted.put, root=root)

    def add(self, name, shape=SHAPE):
        return self.viewer.add_image(np.zeros(shape, np.uint8), contrast_limits=(0, 255), name=name)

    def settle(self):
        while not self.is_ready or self.desk.progress is not None:
            self.posted.get(timeout=10)()

    def worked(self):
        self.points.add([(1, 10, 8)])
        self.settle()
        self.propagate()
        self.settle()
        self.commit()
        self.points.add([(2, 16, 20)])
        self.settle()
        self.rename(1, "nucleus")
        return self

    def close(self):
        while not self.posted.empty():
            self.posted.get()()
        super().close()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "autosave", "stack")
    yield desk
    desk.close()


@pytest.fixture
def other(tmp_path):
    desk = Desk(tmp_path / "other", "stack")
    yield desk
    desk.close()


def test_a_saved_session_is_opened_in_another_viewer_with_all_that_was_chosen(desk, other, tmp_path):
    desk.worked()
    desk.set_choices(direction="forward", threshold=0.3)
    desk.desk.save(tmp_path / "work.sam2session")
    desk.settle()
    assert desk.desk.message.startswith("Saved")
    told = []
    other.on_choices(lambda: told.append(other.choices.direction))
    assert other.desk.open(tmp_path / "work.sam2session")
    assert told == ["forward"]
    assert other.choices.threshold == 0.3
    np.testing.assert_array_equal(other.committed(), desk.committed())
    np.testing.assert_array_equal(other.current(), desk.current())


def test_the_image_of_a_session_is_opened_from_its_file(desk, tmp_path, npe2pm):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros(SHAPE, np.uint8))
    with npe2pm.tmp_plugin(package="napari"):
        (image,) = desk.viewer.open(path, contrast_limits=(0, 255))
        desk.choose_image(image)
        desk.worked().desk.save(tmp_path / "work.sam2session")
        desk.settle()
        empty = Desk(tmp_path / "other")
        assert empty.desk.open(tmp_path / "work.sam2session"), empty.desk.message
        assert empty.chosen_image.source.path == str(path)
        np.testing.assert_array_equal(empty.committed(), desk.committed())
        empty.close()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda other: other.viewer.layers.clear(), "open that image"),
        (lambda other: other.points.add([(0, 5, 5)]), "has begun already"),
    ],
)
def test_a_session_that_cannot_be_opened_says_why_and_changes_nothing(desk, other, tmp_path, prepare, message):
    desk.worked().desk.save(tmp_path / "work.sam2session")
    desk.settle()
    prepare(other)
    if other.work is not None:
        other.settle()
    assert not other.desk.open(tmp_path / "work.sam2session")
    assert message in other.desk.message
    assert other.work is None or not other.committed().any()


def test_a_file_that_is_no_session_is_refused(desk, tmp_path):
    (tmp_path / "notes.sam2session").write_text("no zip")
    assert not desk.desk.open(tmp_path / "notes.sam2session")
    assert "no session" in desk.desk.message


@pytest.mark.parametrize(
    ("label_format", "name"), [(LabelFormat.TIFF, "labels.tif"), (LabelFormat.OME_ZARR, "labels.ome.zarr")]
)
def test_everything_is_exported_to_a_folder(desk, tmp_path, label_format, name):
    desk.worked().desk.export(tmp_path / "out", label_format)
    desk.settle()
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {name, "measurements.csv", "scores.csv", "objects.csv", "prompts.json"}
    assert (
        desk.desk.message
        == desk.message
        == (
            f"2 objects, 1 of them not committed, are in {tmp_path / 'out'}: {name}, measurements.csv, scores.csv, "
            "objects.csv, prompts.json."
        )
    )
    assert not desk.work.asker.status.is_problem
    scores = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    assert len(scores) == 1 + 4 + 1  # object 1, committed, on every frame; object 2 on one


def test_an_export_that_would_replace_something_is_refused(desk, tmp_path):
    desk.worked().desk.export(tmp_path / "out")
    desk.settle()
    desk.desk.export(tmp_path / "out")
    assert "exists" in desk.desk.message
    desk.desk.export(tmp_path / "out", overwrite=True)
    desk.settle()
    assert "2 objects" in desk.desk.message


@pytest.mark.parametrize(
    ("clicks", "commits", "sentence"),
    [
        ([(1, 10, 8)], False, "1 object, not committed, is in"),
        ([(1, 10, 8)], True, "1 object is in"),
        ([(1, 10, 8), (1, 16, 20)], False, "2 objects, not committed, are in"),
        ([(1, 10, 8), (1, 16, 20)], True, "2 objects are in"),
    ],
)
def test_an_export_tells_what_is_not_committed(desk, tmp_path, clicks, commits, sentence):
    for number, click in enumerate(clicks, 1):
        desk.choose(number)
        desk.points.add([click])
        desk.settle()
    if commits:
        desk.commit()
        desk.settle()
    desk.desk.export(tmp_path / "out")
    desk.settle()
    assert desk.desk.message.startswith(sentence)


def test_an_export_tells_that_hidden_objects_are_left_out(desk, tmp_path):
    for number, click in enumerate([(1, 10, 8), (1, 10, 22)], 1):
        desk.choose(number)
        desk.points.add([click])
        desk.settle()
    desk.hide(2)
    desk.desk.export(tmp_path / "out")
    desk.settle()
    assert desk.desk.message.startswith("1 object, not committed, is in")
    assert desk.desk.message.endswith("1 hidden object is left out.")


def test_what_is_being_answered_is_exported_too(desk, tmp_path):
    desk.points.add([(1, 10, 8)])
    desk.desk.export(tmp_path / "out")
    desk.settle()
    assert desk.desk.message.startswith("1 object, not committed")
    assert tifffile.imread(tmp_path / "out" / "labels.tif")[1, 10, 8] == 1


def test_there_is_something_to_export_once_something_was_said(desk):
    assert not desk.desk.can_export()
    assert "nothing to export yet" in desk.desk.message
    assert desk.desk.is_problem
    desk.points.add([(1, 10, 8)])
    assert desk.desk.can_export()
    desk.settle()
    desk.commit()
    desk.settle()
    assert desk.desk.can_export()


@pytest.mark.parametrize("policy", CommitPolicy)
def test_tables_count_the_labels_that_are_written(desk, tmp_path, policy):
    desk.set_choices(policy=policy)
    desk.worked()
    desk.committed_layer.data_setitem((np.full(9, 2), np.full(9, 16), np.arange(14, 23)), 1)  # drawn by hand
    desk.committed_layer.data_setitem((np.full(3, 3), np.full(3, 10), np.arange(7, 10)), 0)
    desk.settle()
    desk.desk.export(tmp_path / "out")
    desk.settle()
    labels = tifffile.imread(tmp_path / "out" / "labels.tif")
    measured, scores, objects = (
        pd.read_csv(tmp_path / "out" / f"{name}.csv") for name in ("measurements", "scores", "objects")
    )
    assert {(row.object_id, row.frame): row.area_in_labels_px for row in measured.itertuples()} == {
        (int(i), frame): int((labels[frame] == i).sum())
        for frame in range(SHAPE[0])
        for i in np.unique(labels[frame])
        if i
    }
    for row in scores.itertuples():
        assert row.area_in_labels_px == (labels[row.frame] == row.object_id).sum()
    for row in objects.itertuples():
        areas = (labels == row.index).sum((1, 2))
        assert row.mean_area_in_labels_px == areas[areas > 0].mean()


def test_intensities_are_measured_in_the_images_that_are_its_colours(desk, tmp_path):
    values = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
    first, second = (desk.viewer.add_image(values + shift, name=name) for shift, name in ((0, "DNA"), (7, "actin")))
    desk.choose_image(first)
    desk.use_channels((first, second))
    desk.points.add([(2, 10, 8)])
    desk.settle()
    desk.desk.export(tmp_path / "out")
    desk.settle()
    (row,) = pd.read_csv(tmp_path / "out" / "measurements.csv").to_dict("records")
    inside = tifffile.imread(tmp_path / "out" / "labels.tif")[2] == 1
    assert row["intensity_mean_DNA"] == values[2][inside].mean()
    assert row["intensity_sum_actin"] == (values[2][inside] + 7).sum()


def test_a_stack_followed_along_another_axis_is_measured_along_it(desk, tmp_path):
    values = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
    desk.viewer.dims.order = (1, 0, 2)
    rolled = desk.viewer.add_image(values, name="rolled")
    desk.choose_image(rolled)
    desk.points.add([(1, 10, 8)])  # on frame 10, row 1
    desk.settle()
    desk.desk.export(tmp_path / "out")
    desk.settle()
    labels = tifffile.imread(tmp_path / "out" / "labels.tif")
    (row,) = pd.read_csv(tmp_path / "out" / "measurements.csv").to_dict("records")
    (score,) = pd.read_csv(tmp_path / "out" / "scores.csv").to_dict("records")
    assert row["frame"] == score["frame"] == 10
    assert row["centroid_x_px"] == 8
    assert row["area_in_labels_px"] == score["area_in_labels_px"] == (labels == 1).sum()
    assert row["intensity_sum"] == values[labels == 1].sum()


def test_an_export_that_is_cancelled_stops_between_frames(desk, tmp_path):
    desk.worked().desk.export(tmp_path / "out")
    desk.desk.cancel()
    assert desk.desk.progress is None
    assert desk.desk.message == "Cancelled."
    assert desk.work.exported is None


def test_the_next_export_begins_where_the_last_one_went(desk, tmp_path):
    assert desk.desk.proposed_folder() == ""
    path = tmp_path / "images" / "stack.tif"
    with layer_source(path=str(path)):
        image = Image(np.zeros(SHAPE, np.uint8), contrast_limits=(0, 255), name="opened")
    desk.choose_image(desk.viewer.add_layer(image))
    assert desk.desk.proposed_folder() == str(path.parent)
    desk.worked().desk.export(tmp_path / "out")
    desk.settle()
    assert desk.desk.proposed_folder() == str(tmp_path / "out")


def test_tracks_are_added_as_a_layer(desk):
    desk.worked().desk.add_tracks()
    desk.settle()
    tracks = desk.viewer.layers["tracks"]
    assert len(tracks.data) == 5
    assert set(tracks.data[:, 0]) == {1, 2}


def test_work_of_a_closed_viewer_is_offered_taken_up_and_then_gone(desk, tmp_path):
    desk.worked()
    committed, current = desk.committed().copy(), desk.current().copy()
    desk.close()
    later = Desk(tmp_path / "autosave", "stack")
    (work,) = later.desk.left_over
    later.desk.take_up(work)
    np.testing.assert_array_equal(later.committed(), committed)
    np.testing.assert_array_equal(later.current(), current)
    assert later.desk.left_over == ()
    assert work.folder.exists()  # until what goes on from it is written
    later.close()
    assert not work.folder.exists()
    assert len(Desk(tmp_path / "autosave").desk.left_over) == 1  # written down anew


def test_work_that_is_discarded_is_gone_for_good(desk, tmp_path):
    desk.worked()
    desk.close()
    later = Desk(tmp_path / "autosave")
    later.desk.discard(later.desk.left_over[0])
    assert Desk(tmp_path / "autosave").desk.left_over == ()


def test_work_that_was_saved_and_closed_is_not_offered(desk, tmp_path):
    desk.worked().desk.save(tmp_path / "work.sam2session")
    desk.settle()
    desk.close()
    assert Desk(tmp_path / "autosave").desk.left_over == ()


def test_work_that_went_on_after_it_was_saved_is_offered(desk, tmp_path):
    desk.worked().desk.save(tmp_path / "work.sam2session")
    desk.settle()
    desk.points.add([(3, 5, 5)])
    desk.settle()
    desk.close()
    assert len(Desk(tmp_path / "autosave").desk.left_over) == 1


def test_work_that_was_exported_is_offered_with_where_it_is(desk, tmp_path):
    desk.worked().desk.export(tmp_path / "out")
    desk.settle()
    before = datetime.now(tz=UTC)
    desk.close()
    later = Desk(tmp_path / "autosave", "stack")
    (work,) = later.desk.left_over
    assert work.session.exported.folder == str(tmp_path / "out")
    assert work.session.exported.when <= before
    later.desk.take_up(work)
    assert later.work.exported == work.session.exported
    later.close()


def test_work_that_was_saved_before_it_was_exported_is_not_offered(desk, tmp_path):
    desk.worked().desk.save(tmp_path / "work.sam2session")
    desk.settle()
    desk.desk.export(tmp_path / "out")
    desk.settle()
    desk.close()
    assert Desk(tmp_path / "autosave").desk.left_over == ()


def test_work_that_is_put_off_is_offered_at_the_next_start(desk, tmp_path):
    desk.worked()
    desk.close()
    later = Desk(tmp_path / "autosave")
    later.desk.put_off()
    assert later.desk.left_over == ()
    assert len(Desk(tmp_path / "autosave").desk.left_over) == 1


def test_work_on_an_image_with_axes_of_length_one_goes_on_where_it_has_none(desk, tmp_path):
    desk.choose_image(desk.add("other", (1, *SHAPE)))
    desk.points.add([(0, 1, 10, 8)])
    desk.settle()
    desk.propagate()
    desk.settle()
    desk.commit()
    desk.desk.save(tmp_path / "work.sam2session")
    desk.settle()
    plain = Desk(tmp_path / "plain", "other")
    assert plain.desk.open(tmp_path / "work.sam2session"), plain.desk.message
    np.testing.assert_array_equal(plain.committed(), desk.committed()[0])
    plain.desk.export(tmp_path / "out")
    plain.settle()
    desk.desk.export(tmp_path / "out of five axes")
    desk.settle()
    written = [tifffile.imread(tmp_path / name / "labels.tif") for name in ("out", "out of five axes")]
    np.testing.assert_array_equal(*written)
    plain.close()


@pytest.mark.parametrize(
    ("shape", "saved_as", "axes"),
    [((3, 24, 30), {}, None), ((2, 24, 30), {"imagej": True, "metadata": {"axes": "CYX"}}, "TYX")],
    ids=["nobody knows", "channels, shown as frames"],
)
def test_a_session_says_what_the_axes_are_where_the_file_says_something_else(desk, tmp_path, shape, saved_as, axes):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint8), photometric="minisblack", **saved_as)
    with layer_source(path=str(path)):
        image = Image(np.zeros(shape, np.uint8), contrast_limits=(0, 255), name="planes")
    desk.choose_image(desk.viewer.add_layer(image))
    desk.points.add([(1, 10, 8)])
    desk.settle()
    desk.desk.save(tmp_path / "work.sam2session")
    desk.desk.export(tmp_path / "out")  # waits for nothing, and says so
    desk.settle()
    session = read_session(tmp_path / "work.sam2session")
    assert session.image.axes == axes
    assert open_image(session, tmp_path / "work.sam2session").file.label_shape == shape


def test_an_export_has_axes_and_pixel_size_of_the_file_of_the_image(desk, tmp_path):
    path = tmp_path / "stack.tif"
    spacing = {"axes": "ZYX", "unit": "um", "spacing": 1.5}
    tifffile.imwrite(path, np.zeros(SHAPE, np.uint8), imagej=True, resolution=(4, 4), metadata=spacing)
    with layer_source(path=str(path)):
        image = Image(np.zeros(SHAPE, np.uint8), contrast_limits=(0, 255), name="fiji")
    desk.choose_image(desk.viewer.add_layer(image))
    mine = desk.viewer.add_labels(np.zeros(SHAPE, np.uint8))
    desk.commit_into(mine)
    desk.worked().desk.export(tmp_path / "out")
    desk.settle()
    written = read_image(tmp_path / "out" / "labels.tif")
    assert written.axes == "ZYX"
    assert (written.pixel_size["Z"].size, written.pixel_size["X"].size) == (1.5, pytest.approx(0.25))
    path.unlink()
    desk.desk.export(tmp_path / "again", LabelFormat.OME_ZARR)
    desk.settle()
    assert desk.desk.message.endswith(f"Axes and pixel size are as the layer says: {path} could not be asked for them.")


def test_an_image_that_napari_cannot_open_is_said_in_a_sentence(desk, tmp_path, npe2pm):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros(SHAPE, np.uint8))
    with layer_source(path=str(path)):
        image = Image(np.zeros(SHAPE, np.uint8), contrast_limits=(0, 255), name="opened")
    desk.choose_image(desk.viewer.add_layer(image))
    desk.worked().desk.save(tmp_path / "work.sam2session")
    desk.settle()
    path.write_bytes(b"no image any more")
    with npe2pm.tmp_plugin(package="napari"):
        empty = Desk(tmp_path / "other")
        assert not empty.desk.open(tmp_path / "work.sam2session")
    assert "Open that image, then the session" in empty.desk.message
    empty.close()


def test_while_it_is_exported_it_is_told_how_long_that_takes(desk, tmp_path):
    times, left = iter(range(0, 1000, 5)), []
    desk.worked()
    desk.desk.pace = Pace(lambda: next(times))
    desk.desk.changed.connect(lambda: left.append((desk.desk.progress, desk.desk.seconds_left)))
    desk.desk.export(tmp_path / "out")
    desk.settle()
    assert ((SHAPE[0] - 1, SHAPE[0]), 5) in left
    assert left[0] == ((0, 0), None)
