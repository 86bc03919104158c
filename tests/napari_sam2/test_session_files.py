import json
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from napari_sam2.errors import ImageFileError, SessionError
from napari_sam2.partial_files import this_host
from napari_sam2.prompts import PromptSet
from napari_sam2.results import ObjectMask
from napari_sam2.session_documents import ImageUsed, SessionFile
from napari_sam2.session_files import (
    StoredFrames,
    frames_stored,
    iter_committed,
    iter_masks,
    read_committed,
    read_masks,
    read_session,
    write_committed,
    write_document,
    write_masks,
    write_session,
)
from napari_sam2.work_log import HandEdit, PackedPlane
from tests.napari_sam2.sessions import sessions

SESSION = SessionFile(image=ImageUsed(name="cells", shape=(5, 8, 12), dtype="uint16"))
NOISE = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
MASKS = (
    ObjectMask(7, (2, 3), NOISE, 0.1 + 0.2, 1 / 3),
    ObjectMask(2**32 - 1, (0, 0), np.zeros((0, 0), np.float32), 1.0, 0.0, is_given=True),
    ObjectMask(3, (0, 1), NOISE[:1], 0.5, 0.25, is_given=True),
)
PLANE = np.arange(96, dtype=np.uint32).reshape(8, 12)


def edited(*planes):
    return SessionFile(image=SESSION.image, steps=(HandEdit(dict(enumerate(map(PackedPlane.pack, planes)))),))


def assert_same_masks(masks, expected):
    assert len(masks) == len(expected)
    for one, other in zip(masks, expected, strict=True):
        assert (one.object_id, one.corner, one.is_given) == (other.object_id, other.corner, other.is_given)
        assert (one.predicted_iou, one.object_score) == (other.predicted_iou, other.object_score)
        assert (one.logits.dtype, one.logits.shape) == (np.float32, other.logits.shape)
        np.testing.assert_array_equal(one.logits, other.logits)


def in_a_file(folder):
    path = folder / "work.sam2session"
    write_session(path, SESSION, masks={12: MASKS, 3: MASKS[:1], 4: ()}, committed={12: PLANE, 5: PLANE * 0})
    return path


def in_a_folder(folder):
    write_document(folder, SESSION)
    write_masks(folder, 12, MASKS)
    write_masks(folder, 3, MASKS[:1])
    write_masks(folder, 4, ())
    write_committed(folder, 12, PLANE)
    write_committed(folder, 5, PLANE * 0)
    return folder


@pytest.fixture(params=[in_a_file, in_a_folder])
def stored(request, tmp_path):
    """A session of which masks and labels of some frames are stored."""
    return request.param(tmp_path)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(sessions)
def test_a_session_is_read_back_exactly_from_a_file_and_from_a_folder(tmp_path_factory, session):
    folder = tmp_path_factory.mktemp("sessions")
    write_session(folder / "work.sam2session", session)
    write_document(folder / "work", session)
    assert read_session(folder / "work.sam2session") == session
    assert read_session(folder / "work") == session


def test_masks_and_labels_are_read_back_exactly(stored):
    assert read_session(stored) == SESSION
    assert frames_stored(stored) == StoredFrames(masks=(3, 12), committed=(12,))
    assert_same_masks(read_masks(stored, 12), MASKS)
    assert_same_masks(read_masks(stored, 3), MASKS[:1])
    plane = read_committed(stored, 12)
    np.testing.assert_array_equal(plane, PLANE)
    assert plane.dtype == PLANE.dtype


def test_frames_of_which_nothing_is_stored_are_empty(stored):
    assert read_masks(stored, 4) == ()
    assert read_masks(stored, 999_999_999) == ()
    assert read_committed(stored, 5) is None


def test_all_frames_are_read_in_order(stored):
    found = dict(iter_masks(stored))
    assert list(found) == [3, 12]
    assert_same_masks(found[12], MASKS)
    ((frame, plane),) = iter_committed(stored)
    assert frame == 12
    np.testing.assert_array_equal(plane, PLANE)


def test_a_session_without_anything_stored_has_no_frames(tmp_path):
    write_session(tmp_path / "work.sam2session", SESSION)
    assert frames_stored(tmp_path / "work.sam2session") == StoredFrames((), ())
    assert list(iter_masks(tmp_path / "work.sam2session")) == []


def test_a_file_is_a_zip_of_a_folder(stored, tmp_path):
    if stored.is_dir():
        stored = shutil.make_archive(str(tmp_path.parent / "zipped"), "zip", stored)
    else:
        with zipfile.ZipFile(stored) as archive:
            archive.extractall(tmp_path / "unzipped")
        stored = tmp_path / "unzipped"
    assert read_session(stored) == SESSION
    assert frames_stored(stored) == StoredFrames(masks=(3, 12), committed=(12,))
    assert_same_masks(read_masks(stored, 12), MASKS)


def test_masks_are_asked_for_one_frame_at_a_time(tmp_path):
    asked = []

    class Lazy(dict):
        def __getitem__(self, frame):
            asked.append(frame)
            return MASKS

    write_session(tmp_path / "a.sam2session", SESSION, masks=Lazy.fromkeys((2, 1)))
    assert asked == [1, 2]


# The file


def test_an_existing_file_is_replaced_only_when_allowed(tmp_path):
    path = tmp_path / "work.sam2session"
    path.write_text("precious")
    with pytest.raises(ImageFileError, match="exists already"):
        write_session(path, SESSION)
    assert path.read_text() == "precious"
    write_session(path, SESSION, overwrite=True)
    assert read_session(path) == SESSION


def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path):
    class Failing(dict):
        def __getitem__(self, frame):
            raise OSError("no space left")

    with pytest.raises(ImageFileError, match="no space left"):
        write_session(tmp_path / "a.sam2session", SESSION, masks=Failing.fromkeys((1,)))
    assert list(tmp_path.iterdir()) == []


# The folder


def test_a_document_takes_the_place_of_the_one_before_and_leaves_the_frames(tmp_path):
    in_a_folder(tmp_path)
    later = SessionFile(image=SESSION.image, names={1: "nucleus"})
    write_document(tmp_path, later)
    assert read_session(tmp_path) == later
    assert_same_masks(read_masks(tmp_path, 12), MASKS)


def test_frames_that_became_empty_are_removed(tmp_path):
    in_a_folder(tmp_path)
    write_masks(tmp_path, 12, (), state=1)
    write_committed(tmp_path, 12, PLANE * 0, state=1)
    write_document(tmp_path, SESSION, state=1)
    assert frames_stored(tmp_path) == StoredFrames(masks=(3,), committed=())
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["000003.npz"]


def test_masks_and_labels_count_from_the_moment_at_which_the_document_says_so(tmp_path):
    in_a_folder(tmp_path)
    write_masks(tmp_path, 12, MASKS[:1], state=1)
    write_masks(tmp_path, 3, (), state=1)
    write_committed(tmp_path, 5, PLANE, state=1)
    write_committed(tmp_path, 12, PLANE + 1, state=1)
    assert frames_stored(tmp_path) == StoredFrames(masks=(3, 12), committed=(12,))
    assert_same_masks(read_masks(tmp_path, 12), MASKS)
    np.testing.assert_array_equal(read_committed(tmp_path, 12), PLANE)
    write_document(tmp_path, SESSION, state=1)
    assert frames_stored(tmp_path) == StoredFrames(masks=(12,), committed=(5, 12))
    assert_same_masks(read_masks(tmp_path, 12), MASKS[:1])
    np.testing.assert_array_equal(read_committed(tmp_path, 12), PLANE + 1)
    assert len(list(tmp_path.glob("*/*"))) == 3


def test_what_a_killed_save_left_goes_with_the_next_one(tmp_path):
    path = tmp_path / "work.sam2session"
    write_session(path, SESSION)
    host, whole = this_host(), path.read_bytes()
    cut = tmp_path / f"{path.name}.partial.{host}-999999999-1.sam2session"
    complete = tmp_path / f"{path.name}.partial.{host}-999999999-2.sam2session"
    cut.write_bytes(whole[:-20])
    complete.write_bytes(whole)
    write_session(path, SESSION, overwrite=True)
    assert not cut.exists()
    assert complete.read_bytes() == whole


def test_frames_edited_by_hand_are_written_once_and_removed_when_nothing_refers_to_them(tmp_path):
    write_document(tmp_path, edited(PLANE, PLANE + 1))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "planes").iterdir()}
    assert len(before) == 2
    write_document(tmp_path, edited(PLANE, PLANE + 1, PLANE))
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "planes").iterdir()} == before
    write_document(tmp_path, edited(PLANE))
    assert [path.stem for path in (tmp_path / "planes").iterdir()] == [PackedPlane.pack(PLANE).digest]
    assert read_session(tmp_path) == edited(PLANE)


def test_what_a_crash_left_half_written_is_not_read(tmp_path):
    in_a_folder(tmp_path)
    (tmp_path / "masks" / "000004.partial.123.npz").write_bytes(b"half")
    (tmp_path / "masks" / "notes.txt").write_text("mine")
    assert frames_stored(tmp_path).masks == (3, 12)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "work").write_text("a file")
    for write in (
        lambda: write_document(tmp_path / "work", SESSION),
        lambda: write_masks(tmp_path / "work", 0, MASKS),
        lambda: write_committed(tmp_path / "work", 0, PLANE),
    ):
        with pytest.raises(ImageFileError, match="cannot be written"):
            write()


# Damage


def test_a_missing_session_is_refused(tmp_path):
    with pytest.raises(ImageFileError, match="There is no session"):
        read_session(tmp_path / "none.sam2session")


def test_what_is_no_session_is_refused(tmp_path):
    (tmp_path / "text.sam2session").write_text("hello")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    (tmp_path / "empty").mkdir()
    for name in ("text.sam2session", "other.zip", "empty"):
        with pytest.raises(SessionError, match=f"{name} is no session"):
            read_session(tmp_path / name)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_document_that_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "session.json").write_bytes(content)
    with pytest.raises(SessionError, match=r"session\.json is not JSON"):
        read_session(tmp_path)


def test_a_mistake_in_a_document_is_said_with_the_name_of_the_session(tmp_path):
    write_document(tmp_path, SESSION)
    document = json.loads((tmp_path / "session.json").read_text())
    (tmp_path / "session.json").write_text(json.dumps(document | {"policy": "mine"}))
    with pytest.raises(SessionError, match=f"{tmp_path.name}: \"policy\" is 'mine'"):
        read_session(tmp_path)


def test_a_frame_edited_by_hand_that_is_gone_or_damaged_is_refused(tmp_path):
    write_document(tmp_path, edited(PLANE))
    (path,) = (tmp_path / "planes").iterdir()
    path.write_bytes(b"something else")
    with pytest.raises(SessionError, match="is damaged"):
        read_session(tmp_path)
    path.unlink()
    with pytest.raises(SessionError, match=f"it lacks {path.name}"):
        read_session(tmp_path)


@pytest.mark.parametrize("length", [0, 10, 200])
def test_a_file_that_was_cut_is_refused(tmp_path, length):
    path = in_a_file(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SessionError, match="damaged"):
        read_session(path)


def test_masks_that_are_damaged_are_refused(tmp_path):
    in_a_folder(tmp_path)
    path = tmp_path / "masks" / "000012.npz"
    whole = path.read_bytes()
    write_committed(tmp_path, 1, PLANE)
    for content in (b"", whole[:50], whole[:-50], (tmp_path / "committed" / "000001.npz").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(SessionError, match="masks of frame 12 are damaged"):
            read_masks(tmp_path, 12)


def test_masks_whose_windows_do_not_fit_are_refused(tmp_path):
    write_document(tmp_path, SESSION)
    write_masks(tmp_path, 0, MASKS)
    path = tmp_path / "masks" / "000000.npz"
    stored = dict(np.load(path))
    for name, value in (("logits", stored["logits"][:-1]), ("window", stored["window"][:1]), ("is_given", np.ones(1))):
        np.savez(path, **(stored | {name: value}))
        with pytest.raises(SessionError, match="masks of frame 0 are damaged"):
            read_masks(tmp_path, 0)


def test_labels_that_are_damaged_are_refused(tmp_path):
    in_a_folder(tmp_path)
    path = tmp_path / "committed" / "000012.npz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SessionError, match="committed labels of frame 12 are damaged"):
        read_committed(tmp_path, 12)
    np.savez(path, plane=np.zeros(3, np.float32))
    with pytest.raises(SessionError, match="float32"):
        read_committed(tmp_path, 12)


def test_no_code_is_run_that_a_file_brings_along(tmp_path):
    in_a_folder(tmp_path)
    for kind, read, name in (("masks", read_masks, "logits"), ("committed", read_committed, "plane")):
        path = tmp_path / kind / "000012.npz"
        np.savez(path, **(dict(np.load(path)) | {name: np.array([PromptSet()], object)}))
        with pytest.raises(SessionError, match="damaged"):
            read(tmp_path, 12)
