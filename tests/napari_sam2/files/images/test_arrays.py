import numpy as np
import pytest

from napari_sam2.files.images.arrays import AxesView, JoinedChannels

FIRST = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
SECOND = FIRST.astype(np.int16) - 300


@pytest.mark.parametrize("key", [np.s_[:], np.s_[:, 1], np.s_[:, 0, 1:3], np.s_[:, :, ::2, 3]])
def test_joined_channels_are_the_stack_of_their_arrays(key):
    joined, expected = JoinedChannels([FIRST, SECOND]), np.stack([FIRST, SECOND])
    assert (joined.shape, joined.dtype) == (expected.shape, expected.dtype)
    read = joined[key if isinstance(key, tuple) else (key,)]
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected[key])


def test_joined_channels_read_no_more_than_is_asked_for():
    asked = []

    class Recorder:
        shape, dtype = FIRST.shape, FIRST.dtype

        def __getitem__(self, key):
            asked.append(key)
            return FIRST[key]

    joined = JoinedChannels([Recorder(), AxesView(Recorder(), {}, (0, 1, 2))])
    assert asked == []
    np.testing.assert_array_equal(joined[:, 1], [FIRST[1]] * 2)
    assert [key[0] for key in asked] == [1, 1]
