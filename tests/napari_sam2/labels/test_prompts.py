import warnings

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.measure import label

from napari_sam2.errors import BinaryMaskWarning, NapariSam2Error, PromptError
from napari_sam2.labels.prompts import prompts_from_labels
from napari_sam2.prompts import MaskPrompt


def drawn(text):
    """Label image from a drawing: digits are ids, dots background."""
    return np.array([[int(pixel) if pixel != "." else 0 for pixel in row] for row in text.split()])


CELLS = drawn("""
    .11...
    .11.7.
    ....77
    22....
""")


def test_every_id_of_a_label_image_becomes_a_mask_on_frame_0():
    prompts = prompts_from_labels(CELLS)
    assert prompts == tuple(MaskPrompt(object_id, 0, object_id == CELLS) for object_id in (1, 2, 7))


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", "uint32", "int64", "uint64", "float16", ">f4", "float64"])
@pytest.mark.parametrize("lazy", [np.asarray, da.from_array, zarr.array])
def test_labels_may_have_any_type_of_number(dtype, lazy):
    assert prompts_from_labels(lazy(CELLS.astype(dtype))) == prompts_from_labels(CELLS)


def test_labels_without_background_and_with_huge_ids_are_read():
    labels = np.full((2, 3), 2**32 - 1, np.uint64)
    labels[0, 0] = 5
    assert prompts_from_labels(labels) == (
        MaskPrompt(5, 0, labels == 5),
        MaskPrompt(2**32 - 1, 0, labels == 2**32 - 1),
    )


def test_a_label_image_stands_on_the_frames_named():
    assert [prompt.frame for prompt in prompts_from_labels(CELLS, frames=[4, 2])] == [4, 4, 4, 2, 2, 2]
    assert {prompt.frame for prompt in prompts_from_labels(CELLS, frames=np.int64(6))} == {6}


LABEL_STACK = np.stack([CELLS, np.zeros_like(CELLS), np.where(CELLS == 2, 2, 0)]).astype(np.uint16)


@pytest.mark.parametrize("lazy", [np.asarray, lambda a: da.from_array(a, chunks=(1, 4, 6)), zarr.array])
def test_a_label_stack_gives_the_prompts_of_every_labelled_frame(lazy):
    prompts = prompts_from_labels(lazy(LABEL_STACK))
    assert [(prompt.object_id, prompt.frame) for prompt in prompts] == [(1, 0), (2, 0), (7, 0), (2, 2)]
    assert prompts_from_labels(lazy(LABEL_STACK), frames=[2]) == (MaskPrompt(2, 2, CELLS == 2),)


@pytest.mark.parametrize(
    ("labels", "frames", "message"),
    [
        (CELLS / 2, None, "hold the value 0.5, and object ids are whole numbers"),
        (np.where(CELLS > 0, np.nan, 0), None, "hold the value nan"),
        (np.where(CELLS > 0, np.inf, 0), None, "hold the value inf, and object ids go from 1 to 4294967295"),
        (CELLS * 2.0**32, None, "hold the value .*, and object ids go from 1"),
        (CELLS * 2**32, None, "hold the value 30064771072, and object ids go from 1"),
        (CELLS.astype(object), None, "of dtype object"),
        (CELLS.astype(complex), None, "of dtype complex128"),
        (-CELLS, None, "hold the value -7, and object ids go from 1"),
        (-CELLS.astype(np.float32), None, "hold the value -7.0, and object ids go from 1"),
        (np.zeros_like(CELLS), None, "every value is 0"),
        (np.zeros((0, 5), int), None, "every value is 0"),
        (CELLS[0], None, r"have shape \(6,\)"),
        (LABEL_STACK[None], None, "without channels"),
        (LABEL_STACK, [3], "There is no frame 3: the labels have 3"),
        (LABEL_STACK, [-1], "Frame is -1"),
        (LABEL_STACK, [1], "choose other frames"),
        (LABEL_STACK, [], "choose other frames"),
        (CELLS, [0.5], "Frame is 0.5, of type float"),
        (CELLS.tolist(), None, "Labels are of type list"),
    ],
)
def test_labels_that_name_no_objects_are_refused_with_the_cure(labels, frames, message):
    with pytest.raises(PromptError, match=message):
        prompts_from_labels(labels, frames)


# Masks of many objects


DISCS = drawn("""
    55.....
    55...5.
    ....55.
    5......
""")


def unwarned(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return prompts_from_labels(*arguments, **options)


@pytest.mark.parametrize(
    "mask", [DISCS, DISCS * 51, DISCS > 0, (DISCS > 0).astype(np.float32), np.stack([DISCS * 0, DISCS])]
)
def test_one_id_on_several_objects_is_warned_of(mask):
    with pytest.warns(BinaryMaskWarning, match="in 3 separate pieces on frame ., .* --split in the shell, split=True"):
        prompts = prompts_from_labels(mask)
    assert len(prompts) == 1


@pytest.mark.parametrize(
    "mask",
    [
        CELLS,
        (CELLS == 7) * 255,
        np.stack([CELLS == 1, CELLS == 7]),  # an object that moves
        np.pad(np.ones((9, 9), int), ((0, 2), (0, 0))) + np.eye(11, 9, -10, int),  # a speck
    ],
)
def test_several_ids_or_one_object_a_frame_are_what_they_seem(mask):
    assert unwarned(mask)


def test_a_mask_is_split_into_its_pieces_in_reading_order():
    expected = label(DISCS, connectivity=2)
    assert unwarned(DISCS, split=True) == tuple(MaskPrompt(i, 0, expected == i) for i in (1, 2, 3))
    assert unwarned(DISCS > 0, 4, split=True) == tuple(MaskPrompt(i, 4, expected == i) for i in (1, 2, 3))


def test_touching_objects_of_different_ids_stay_apart_when_split():
    assert [np.count_nonzero(one.mask) for one in unwarned(drawn("112 112"), split=True)] == [4, 2]


@settings(deadline=None, max_examples=100)
@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)), elements=st.integers(0, 2)
    )
)
def test_pieces_of_a_stack_are_those_that_touch_through_frames(stack):
    expected = label(stack, connectivity=3)
    if not stack.any():
        return
    found = np.zeros_like(expected)
    for prompt in unwarned(stack, split=True):
        assert not found[prompt.frame][prompt.mask].any()
        found[prompt.frame][prompt.mask] = prompt.object_id
    pairs = set(zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(found)) == len(np.unique(expected))  # the same pieces, numbered otherwise


def test_objects_keep_their_ids_whatever_frames_are_taken():
    stack = np.stack([DISCS, DISCS, DISCS])
    every = unwarned(stack, split=True)
    assert [(one.object_id, one.frame) for one in every] == [(i, frame) for frame in range(3) for i in (1, 2, 3)]
    assert unwarned(stack, [2, 0], split=True) == every[6:] + every[:3]


anything = st.one_of(
    arrays.arrays(
        st.sampled_from([bool, "u1", ">i2", "u8", "i8", "f2", "f4", "f8", "c8", "U2", "M8[s]"]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    st.none() | st.integers() | st.text() | st.lists(st.integers()),
)


@settings(deadline=None, max_examples=300)
@given(anything, st.none() | st.integers(-2, 5) | st.lists(st.integers(-2, 5) | st.floats(), max_size=3), st.booleans())
def test_only_errors_of_ours_leave_whatever_is_given(labels, frames, split):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            prompts = prompts_from_labels(labels, frames, split=split)
        except NapariSam2Error:
            return
    assert prompts
    assert all(isinstance(prompt, MaskPrompt) for prompt in prompts)
