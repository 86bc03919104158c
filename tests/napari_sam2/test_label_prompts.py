import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam2.errors import PromptError
from napari_sam2.label_prompts import prompts_from_labels
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


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", "uint32", "int64", "uint64"])
def test_labels_may_have_any_integer_type(dtype):
    assert prompts_from_labels(CELLS.astype(dtype)) == prompts_from_labels(CELLS)


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
        (CELLS > 0, None, "Number them, for example with skimage.measure.label"),
        (CELLS.astype(float), None, r"of dtype float64. Convert them to integers"),
        (CELLS.astype(object), None, "of dtype object"),
        (-CELLS, None, "holds the negative value -7"),
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
