import struct
import zipfile
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_sam2.errors import SessionError
from napari_sam2.prompts import ModelScores
from napari_sam2.results import ObjectMask
from napari_sam2.sessions.arrays import masks_from, packed_masks, packed_plane, plane_from

SHAPE = (8, 12)
NOISE = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
MASKS = (ObjectMask(7, (2, 3), NOISE, 0.5, 0.25), ObjectMask(3, (0, 1), NOISE[:1], 1.0, 1.0, is_given=True))
FOUND = ObjectMask(9, (1, 1), NOISE, 0.5, 0.25, found=ModelScores(0.5, 0.25, 0.75, 3.1))
PLANE = np.arange(96, dtype=np.uint32).reshape(SHAPE)


def unpacked(content, unpack=plane_from, shape=SHAPE):
    return unpack(BytesIO(content), 4, shape)


def npy(header, data=b""):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def npz(**members):
    """An archive of bytes that are members as they are, or of arrays."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            with archive.open(f"{name}.npy", "w") as file:
                if isinstance(member, bytes):
                    file.write(member)
                else:
                    np.lib.format.write_array(file, np.asarray(member))
    return buffer.getvalue()


def masks_with(**changed):
    with np.load(BytesIO(packed_masks(MASKS))) as stored:
        return npz(**(dict(stored) | changed))


HEADER = "{'descr': '<u4', 'fortran_order': False, 'shape': %s}"


def test_what_the_model_said_is_stored_of_masks_that_it_found_alone():
    again = unpacked(packed_masks((*MASKS, FOUND)), masks_from)
    assert [mask.found for mask in again] == [None, None, FOUND.found]
    np.testing.assert_array_equal(again[2].logits, FOUND.logits)
    with np.load(BytesIO(packed_masks(MASKS))) as stored:
        assert "found" not in stored  # versions without found masks read it
    assert [mask.found for mask in unpacked(packed_masks(MASKS), masks_from)] == [None, None]


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy("{'descr': '<u4', 'fortran_order': False, 'shape': (8, 12"), "Use another copy"),
        (npy(HEADER % "(1000000, 10000000)"), r"shape \(1000000, 10000000\), and shape \(8, 12\) is needed"),
        (npy(HEADER % "(99999999999999999999, 3)"), "99999999999999999999"),
        (npy(HEADER % "(-8, -12)", bytes(384)), "is needed"),
        (npy(HEADER % "(8, 12)", bytes(100)), "claims 384 bytes and has"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (8, 12)}", bytes(999)), "dtype object"),
        (npy("{'descr': '<V9', 'fortran_order': False, 'shape': (8, 12)}", bytes(999)), "is needed"),
        (b"\x93NUMPY\x09\x00", "NPY version 9.0"),
        (PLANE[:7], r"shape \(7, 12\)"),
        (PLANE.astype(float), "float64"),
        (PLANE.astype(int) - 1, "label -1"),
        (PLANE.astype(np.int64) + 2**32, "label 4294967296"),
    ],
)
def test_labels_that_do_not_fit_their_frame_are_refused(member, message):
    with pytest.raises(SessionError, match=f"committed labels of frame 4 are damaged.*{message}"):
        unpacked(npz(plane=member))


def test_a_frame_larger_than_what_is_stored_takes_no_memory_for_it():
    content = npz(plane=npy(HEADER % "(60000, 60000)", bytes(10**6)))
    with pytest.raises(SessionError, match="claims 14,400,000,000 bytes and has"):
        unpacked(content, shape=(60_000, 60_000))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": np.array([[2, 3, 4, 5], [8, 0, 1, 5]])}, "lies outside the frame of 8 x 12"),
        ({"window": np.array([[2, 3, 4, 5], [-1, 0, 1, 5]])}, "lies outside the frame"),
        ({"window": np.array([[2, 3, 4, 5], [0, 0, 2**62, 4]])}, "lies outside the frame"),
        ({"window": np.array([[2, 3, 4, 5]])}, "window is of dtype"),
        ({"object_id": np.array([7, 7])}, "each once"),
        ({"object_id": np.array([0, 7])}, "object ids go from 1"),
        ({"object_id": np.array([2**40, 7])}, "object ids go from 1"),
        ({"object_id": np.array([7.0, 3.0])}, "object_id is of dtype float64"),
        ({"score": np.full((2, 2), np.nan)}, "a score is not finite"),
        ({"logits": np.full(25, np.inf, np.float32)}, "a logit is not finite"),
        ({"logits": np.zeros(24, np.float32)}, "logits is of dtype"),
        ({"logits": np.zeros((5, 5), np.float32)}, "logits is of dtype"),
        ({"is_given": np.zeros(2, np.uint8)}, "is_given is of dtype"),
    ],
)
def test_masks_that_do_not_fit_their_frame_are_refused(changed, message):
    with pytest.raises(SessionError, match=f"masks of frame 4 are damaged.*{message}"):
        unpacked(masks_with(**changed), masks_from)


def test_an_archive_that_claims_more_than_it_can_hold_is_refused():
    content = bytearray(packed_plane(PLANE))
    start = content.index(b"PK\x01\x02")
    content[start + 24 : start + 28] = struct.pack("<I", 2**31)
    with pytest.raises(SessionError, match="claims 2,147,483,648 bytes and holds"):
        unpacked(bytes(content))


def test_an_encrypted_archive_is_refused():
    content = bytearray(packed_plane(PLANE))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(SessionError, match="is encrypted"):
        unpacked(bytes(content))


def test_an_archive_with_a_name_twice_is_refused():
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("plane.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("plane.npy", b"")
    with pytest.raises(SessionError, match=r"'plane.npy' twice"):
        unpacked(buffer.getvalue())


anything = arrays.arrays(
    st.sampled_from(["?", "u1", "<i4", ">i8", "u8", "f2", "f4", "f8", "c8", "U2"]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
headers = st.builds(
    "{{'descr': '{}', 'fortran_order': {}, 'shape': {}}}".format,
    st.sampled_from(["<u4", "|O", "<f8", ">i2", "<M8[s]", "x", "|S999999999"]),
    st.sampled_from(["True", "False", "0", "[]"]),
    st.lists(st.integers(-2, 2**70), max_size=3).map(tuple) | st.sampled_from(["(", "()", "(8, 12)", "None", "((((("]),
)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_only_errors_of_ours_leave_whatever_is_stored_of_a_frame(data):
    members = headers.map(npy) | st.binary(max_size=80) | anything
    match data.draw(st.integers(0, 2)):
        case 0:
            content = npz(plane=data.draw(members))
        case 1:
            names = st.sampled_from(["object_id", "window", "score", "is_given", "found", "logits"])
            content = masks_with(**data.draw(st.dictionaries(names, members, min_size=1, max_size=2)))
        case _:
            content = bytearray(data.draw(st.sampled_from([packed_plane(PLANE), packed_masks(MASKS)])))
            for _ in range(data.draw(st.integers(1, 4))):
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for unpack in (plane_from, masks_from):
        with suppress(SessionError):
            unpacked(bytes(content), unpack)
