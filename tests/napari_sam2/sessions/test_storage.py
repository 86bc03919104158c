import json
import os
import shutil
import warnings
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam2.errors import ImageFileError, NapariSam2Error, SessionError
from napari_sam2.files.partial import this_host
from napari_sam2.prompts import PromptSet
from napari_sam2.results import ObjectMask
from napari_sam2.sessions import storage
from napari_sam2.sessions.document import Session, to_json
from napari_sam2.sessions.images import ImageUsed
from napari_sam2.sessions.replay import dtype_replayed, frames_replayed
from napari_sam2.sessions.steps import HandEdit, PackedPlane
from napari_sam2.sessions.storage import (
    iter_committed,
    iter_masks,
    read_session,
    write_committed,
    write_document,
    write_masks,
    write_session,
)
from tests.napari_sam2.any_json import ANY_JSON
from tests.napari_sam2.drawn_sessions import sessions

SESSION = Session(image=ImageUsed(name="cells", shape=(20, 8, 12), dtype="uint16"))
NOISE = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
MASKS = (
    ObjectMask(7, (2, 3), NOISE, 0.1 + 0.2, 1 / 3),
    ObjectMask(2**32 - 1, (0, 0), np.zeros((0, 0), np.float32), 1.0, 0.0, is_given=True),
    ObjectMask(3, (0, 1), NOISE[:1], 0.5, 0.25, is_given=True),
)
PLANE = np.arange(96, dtype=np.uint32).reshape(8, 12)


def edited(*planes):
    return Session(image=SESSION.image, steps=(HandEdit(dict(enumerate(map(PackedPlane.pack, planes)))),))


def frames_stored(path):
    """Frames of which there are masks, and frames of which there are labels."""
    return [frame for frame, _ in iter_masks(path)], [frame for frame, _ in iter_committed(path)]


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
    assert frames_stored(stored) == ([3, 12], [12])
    masks = dict(iter_masks(stored))
    assert_same_masks(masks[12], MASKS)
    assert_same_masks(masks[3], MASKS[:1])
    ((_, plane),) = iter_committed(stored)
    np.testing.assert_array_equal(plane, PLANE)
    assert plane.dtype == PLANE.dtype


def test_all_frames_are_read_in_order(stored):
    found = dict(iter_masks(stored))
    assert list(found) == [3, 12]
    assert_same_masks(found[12], MASKS)
    ((frame, plane),) = iter_committed(stored)
    assert frame == 12
    np.testing.assert_array_equal(plane, PLANE)


def test_a_session_without_anything_stored_has_no_frames(tmp_path):
    write_session(tmp_path / "work.sam2session", SESSION)
    assert frames_stored(tmp_path / "work.sam2session") == ([], [])
    assert list(iter_masks(tmp_path / "work.sam2session")) == []


def test_a_file_is_a_zip_of_a_folder(stored, tmp_path):
    if stored.is_dir():
        stored = shutil.make_archive(str(tmp_path.parent / "zipped"), "zip", stored)
    else:
        with zipfile.ZipFile(stored) as archive:
            archive.extractall(tmp_path / "unzipped")
        stored = tmp_path / "unzipped"
    assert read_session(stored) == SESSION
    assert frames_stored(stored) == ([3, 12], [12])
    assert_same_masks(dict(iter_masks(stored))[12], MASKS)


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
    later = Session(image=SESSION.image, names={1: "nucleus"})
    write_document(tmp_path, later)
    assert read_session(tmp_path) == later
    assert_same_masks(dict(iter_masks(tmp_path))[12], MASKS)


def test_frames_that_became_empty_are_removed(tmp_path):
    in_a_folder(tmp_path)
    write_masks(tmp_path, 12, (), state=1)
    write_committed(tmp_path, 12, PLANE * 0, state=1)
    write_document(tmp_path, SESSION, state=1)
    assert frames_stored(tmp_path) == ([3], [])
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["000003.npz"]


def test_masks_and_labels_count_from_the_moment_at_which_the_document_says_so(tmp_path):
    in_a_folder(tmp_path)
    write_masks(tmp_path, 12, MASKS[:1], state=1)
    write_masks(tmp_path, 3, (), state=1)
    write_committed(tmp_path, 5, PLANE, state=1)
    write_committed(tmp_path, 12, PLANE + 1, state=1)
    assert frames_stored(tmp_path) == ([3, 12], [12])
    assert_same_masks(dict(iter_masks(tmp_path))[12], MASKS)
    np.testing.assert_array_equal(dict(iter_committed(tmp_path))[12], PLANE)
    write_document(tmp_path, SESSION, state=1)
    assert frames_stored(tmp_path) == ([12], [5, 12])
    assert_same_masks(dict(iter_masks(tmp_path))[12], MASKS[:1])
    np.testing.assert_array_equal(dict(iter_committed(tmp_path))[12], PLANE + 1)
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
    assert [frame for frame, _ in iter_masks(tmp_path)] == [3, 12]


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
            list(iter_masks(tmp_path))


def test_masks_whose_windows_do_not_fit_are_refused(tmp_path):
    write_document(tmp_path, SESSION)
    write_masks(tmp_path, 0, MASKS)
    path = tmp_path / "masks" / "000000.npz"
    stored = dict(np.load(path))
    for name, value in (("logits", stored["logits"][:-1]), ("window", stored["window"][:1]), ("is_given", np.ones(1))):
        np.savez(path, **(stored | {name: value}))
        with pytest.raises(SessionError, match="masks of frame 0 are damaged"):
            list(iter_masks(tmp_path))


def test_labels_that_are_damaged_are_refused(tmp_path):
    in_a_folder(tmp_path)
    path = tmp_path / "committed" / "000012.npz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SessionError, match="committed labels of frame 12 are damaged"):
        list(iter_committed(tmp_path))
    np.savez(path, plane=np.zeros(3, np.float32))
    with pytest.raises(SessionError, match="float32"):
        list(iter_committed(tmp_path))


def test_no_code_is_run_that_a_file_brings_along(tmp_path):
    in_a_folder(tmp_path)
    for kind, read, name in (("masks", iter_masks, "logits"), ("committed", iter_committed, "plane")):
        path = tmp_path / kind / "000012.npz"
        np.savez(path, **(dict(np.load(path)) | {name: np.array([PromptSet()], object)}))
        with pytest.raises(SessionError, match="damaged"):
            list(read(tmp_path))


@pytest.mark.parametrize(("frame", "read"), [(20, iter_masks), (20, iter_committed), (10**9, iter_committed)])
def test_frames_beyond_the_stack_are_refused(tmp_path, frame, read):
    write_document(tmp_path, SESSION)
    write_masks(tmp_path, frame, MASKS)
    write_committed(tmp_path, frame, PLANE)
    with pytest.raises(SessionError, match=f"of frame {frame}, and the image has 20 frames, numbered from 0"):
        list(read(tmp_path))


def test_masks_and_labels_of_another_size_than_the_frames_are_refused(tmp_path):
    write_document(tmp_path, Session(image=ImageUsed(name="cells", shape=(20, 5, 7), dtype="uint16")))
    write_masks(tmp_path, 0, MASKS)
    write_committed(tmp_path, 0, PLANE)
    with pytest.raises(SessionError, match="a mask lies outside the frame of 5 x 7 pixels"):
        list(iter_masks(tmp_path))
    with pytest.raises(SessionError, match=r"shape \(8, 12\), and shape \(5, 7\) is needed"):
        list(iter_committed(tmp_path))


def archive_of(path, *members, method=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_an_archive_with_a_name_twice_is_refused(tmp_path):
    text = to_json(SESSION, tmp_path)
    path = archive_of(tmp_path / "a.sam2session", ("session.json", text), ("session.json", text))
    with pytest.raises(SessionError, match=r"it holds 'session.json' twice"):
        read_session(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_napari_sam2_does_not_write_is_refused(tmp_path, method):
    path = archive_of(tmp_path / "a.sam2session", ("session.json", to_json(SESSION, tmp_path)), method=method)
    with pytest.raises(SessionError, match="encrypted or compressed in another way"):
        read_session(path)


def test_an_encrypted_document_is_refused(tmp_path):
    path = archive_of(tmp_path / "a.sam2session", ("session.json", to_json(SESSION, tmp_path)))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(SessionError, match="encrypted"):
        read_session(path)


def test_a_document_that_unpacks_to_more_than_a_document_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "LARGEST_DOCUMENT", 1000)
    long = to_json(SESSION, tmp_path) + " " * 1000
    path = archive_of(tmp_path / "a.sam2session", ("session.json", long), method=zipfile.ZIP_DEFLATED)
    with pytest.raises(SessionError, match=r"session.json is larger than 1,000 bytes"):
        read_session(path)


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    write_document(tmp_path, SESSION)
    path = tmp_path / "session.json"
    path.write_text(path.read_text().replace("{", '{"model": "tiny", ', 1))
    with pytest.raises(SessionError, match=r"session.json is not JSON \(the key 'model' occurs twice\)"):
        read_session(tmp_path)


@pytest.mark.parametrize("pipe", ["work.sam2session", "work/session.json", "work/masks/000000.npz"])
def test_nobody_waits_for_a_pipe(tmp_path, pipe):
    folder = tmp_path / "work"
    write_document(folder, SESSION)
    (folder / "masks").mkdir()
    (tmp_path / pipe).unlink(missing_ok=True)
    os.mkfifo(tmp_path / pipe)
    with pytest.raises((SessionError, ImageFileError), match=r"no file|pipe"):
        list(iter_masks(tmp_path / pipe.split("/")[0]))


@pytest.mark.parametrize("name", ["9" * 5000, "0" * 7 + ".s" + "9" * 5000])
def test_a_frame_whose_number_has_no_end_is_no_frame(tmp_path, name):
    path = archive_of(
        tmp_path / "a.sam2session", ("session.json", to_json(SESSION, tmp_path)), (f"masks/{name}.npz", b"")
    )
    assert list(iter_masks(path)) == []


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(sessions, st.data())
def test_only_errors_of_ours_leave_whatever_a_document_says(tmp_path_factory, session, data):
    folder = tmp_path_factory.getbasetemp() / "hostile"
    write_document(folder, session)
    document = json.loads((folder / "session.json").read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        place = document
        while True:
            key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
            if not (isinstance(place[key], dict | list) and place[key]) or data.draw(st.integers(0, 4)) == 0:
                place[key] = data.draw(ANY_JSON)
                break
            place = place[key]
    (folder / "session.json").write_text(json.dumps(document))
    with suppress(SessionError):
        read = read_session(folder)
        frames_replayed(read)
        dtype_replayed(read)
        write_document(folder, read)
        assert read_session(folder) == read


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_only_errors_of_ours_leave_whatever_a_file_holds(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "hostile.sam2session"
    write_session(path, edited(PLANE), masks={3: MASKS}, committed={3: PLANE}, overwrite=True)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([None, None, len(content) // 2, -10]))])
    for read in (read_session, lambda path: list(iter_masks(path)), lambda path: list(iter_committed(path))):
        with suppress(NapariSam2Error):
            read(path)
