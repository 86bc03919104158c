import io
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from napari_sam2.errors import FrameError, ImageFileError, NapariSam2Error
from napari_sam2.files.images.npy import open_npy
from napari_sam2.files.images.reading import read_image
from tests.napari_sam2.mutated_bytes import mutated

STACK = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)


def stored(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def with_header(path, header, *, version=1, pixels=99):
    text = header.encode("latin1")
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    path.write_bytes(b"\x93NUMPY" + bytes((version, 0)) + length + text + bytes(pixels))
    return path


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (1000000, 10000000), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999999999999, 3), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (-2, -3), }",
        f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({'9' * 5000}, 3), }}",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (2.0, 3), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': 'x', }",
        "{'descr': '<u2', 'fortran_order': False, }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '<U4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': [('a', '<u2'), ('b', '<f4')], 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '<u99', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (2, 3), }",
        "(" * 9000,
        "",
        "\xff\xfe\x00",
        "__import__('os')",
    ],
)
def test_a_header_that_is_wrong_is_refused(tmp_path, header):
    for version in (1, 2, 3, 9):
        with pytest.raises(ImageFileError, match="cannot be read"):
            open_npy(with_header(tmp_path / "a.npy", header, version=version))


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}")
    with pytest.raises(ImageFileError, match="cannot be read"):
        open_npy(path)


def test_a_file_too_short_for_its_shape_is_refused_with_both_sizes(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(stored(STACK)[:-1])
    with pytest.raises(ImageFileError, match=r"\(4, 5, 6\) and type uint16 take 240 bytes, and it holds 239"):
        open_npy(path)


KEYS = [
    (),
    (2,),
    (np.int64(1), slice(None), slice(None)),
    (slice(None), 3),
    (slice(None), slice(None), 4),
    (slice(1, 3), slice(None), 4),
    (slice(None, None, 2), slice(1, 4), slice(None, None, -1)),
    (slice(3, 0, -2),),
    (slice(2, 2),),
    (-1, -2, -3),
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("piece", [1, 16, 10**6])
@pytest.mark.parametrize("array", [STACK, np.asfortranarray(STACK), STACK.astype(">f8"), STACK > 9], ids="cfbt")
def test_any_part_is_read_as_numpy_gives_it(tmp_path, monkeypatch, array, piece, key):
    monkeypatch.setattr("napari_sam2.files.images.arrays._PIECE", piece)
    (tmp_path / "a.npy").write_bytes(stored(array))
    part = open_npy(tmp_path / "a.npy").array[key]
    assert part.dtype == array.dtype
    np.testing.assert_array_equal(part, array[key])


def test_pixels_of_a_file_that_was_replaced_are_not_given(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(stored(STACK))
    image = read_image(path)
    np.testing.assert_array_equal(image.array[3], STACK[3])
    path.write_bytes(stored(STACK[:3]))
    with pytest.raises(ImageFileError, match="has changed since it was opened"):
        image.array[0]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutated([stored(STACK), stored(np.asfortranarray(STACK)), stored(STACK[0] > 3), stored(np.array([{}]))]))
def test_a_damaged_file_raises_nothing_but_our_errors(tmp_path, data):
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    try:
        image = read_image(path)
        np.asarray(image.array)
    except (ImageFileError, FrameError) as error:
        assert str(path) in str(error)  # noqa: PT017
    except NapariSam2Error:
        pass
