"""Label arrays as prompts: every id becomes a mask."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_sam2.errors import BinaryMaskWarning, PromptError
from napari_sam2.labels.pieces import PieceTree, count_pieces, numbered_pieces, united
from napari_sam2.labels.values import check_label_type, object_ids_of
from napari_sam2.prompts import MaskPrompt, whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_sam2.frames import ArrayLike


def prompts_from_labels(
    labels: ArrayLike, frames: int | Iterable[int] | None = None, *, split: bool = False
) -> tuple[MaskPrompt, ...]:
    """Return a mask prompt for every id of a label array.

    Parameters
    ----------
    labels : array, shape (Y, X) or (N, Y, X)
        0 is background, every other value an object id. Integers, floats that are whole numbers, or booleans, of which
        True is object 1. May be lazy; a stack is read one frame at a time.
    frames : int or iterable of int, optional
        Of a stack: the frames to take; None takes all. Of a (Y, X) array: the frames on which it stands; None
        means frame 0.
    split : bool
        Whether each piece becomes an object of its own, for a mask that has one value on many objects. Pixels of one
        value that touch each other, also at corners, are a piece; in a stack they touch through frames, too, so that
        an object keeps its id. Objects are numbered from 1 through the whole stack, whatever frames are taken.

    Returns
    -------
    tuple of MaskPrompt
        By frame in the order given, then by ascending id.

    Raises
    ------
    PromptError
        If a value is negative, no whole number or above 2**32 - 1, if the array has another number of axes or no
        object, or if a frame does not exist.

    Warns
    -----
    BinaryMaskWarning
        If there is a single id, in several separate pieces on a frame, and `split` is not chosen.
    """
    shape = _checked_labels_shape(labels)
    is_stack = len(shape) == 3
    numbers = _frame_numbers(
        frames, default=range(shape[0]) if is_stack else (0,), stack=shape[0] if is_stack else None
    )
    if split:
        prompts = _split_prompts(labels, shape, numbers)
    elif is_stack:
        prompts = tuple(prompt for frame in numbers for prompt in masks_of_frame(labels[frame, :, :], frame))
    else:
        prompts = tuple(_placed(masks_of_frame(labels[:, :], 0), numbers))
    if not prompts:
        raise PromptError(
            "The label array holds no object on the frames taken: every value is 0. Paint an object, or choose other "
            "frames."
        )
    if not split:
        _warn_of_one_id_on_many_objects(prompts)
    return prompts


def masks_of_frame(labels: object, frame: int) -> tuple[MaskPrompt, ...]:
    """Return a mask prompt for every id of the label image of one frame, (Y, X), by ascending id; none if it is empty.

    Raises
    ------
    PromptError
        If a value is no object id.
    """
    values = object_ids_of(np.asarray(labels))
    return tuple(_masks(values, frame))


def _masks(labels: NDArray[np.integer], frame: int) -> Iterator[MaskPrompt]:
    if not labels.size:
        return
    height, width = labels.shape
    ids = np.unique(labels)
    # Rank of each pixel's id: find_objects lists every number up to the largest, and an id may be in the billions.
    ranks = np.searchsorted(ids, labels) + int(ids[0] > 0)
    for object_id, box in zip(ids[ids > 0].tolist(), ndimage.find_objects(ranks), strict=True):
        corner = box[0].start, box[1].start
        yield MaskPrompt(object_id, frame, labels[box] == object_id, corner=corner, shape=(height, width))


def _placed(masks: Sequence[MaskPrompt], frames: Iterable[int]) -> Iterator[MaskPrompt]:
    for frame, mask in product(frames, masks):
        yield MaskPrompt(mask.object_id, frame, mask.crop, corner=mask.corner, shape=mask.shape)


def _split_prompts(labels: ArrayLike, shape: tuple[int, ...], frames: Sequence[int]) -> tuple[MaskPrompt, ...]:
    if len(shape) == 2:
        return tuple(_placed(_split_frames(iter([labels[:, :]]), {0})[0], frames))
    by_frame = _split_frames((labels[frame, :, :] for frame in range(shape[0])), set(frames))
    return tuple(mask for frame in frames for mask in by_frame[frame])


def _split_frames(planes: Iterator[object], taken: set[int]) -> dict[int, list[MaskPrompt]]:
    """Return the masks of the objects that pieces are of, on the frames that are taken."""
    tree = PieceTree()
    pieces_on: dict[int, tuple[MaskPrompt, ...]] = {}
    last, before = 0, None
    for frame, (plane, pieces) in enumerate(numbered_pieces(object_ids_of(np.asarray(plane)) for plane in planes)):
        if before is not None:
            tree.join(before, (plane, pieces))
        before = plane, pieces
        last = max(last, int(pieces.max(initial=0)))
        if frame in taken:
            pieces_on[frame] = tuple(_masks(pieces, frame))
    roots = sorted({tree.root(piece) for piece in range(1, last + 1)})
    object_ids = {root: number for number, root in enumerate(roots, 1)}
    masks: dict[int, list[MaskPrompt]] = {}
    for frame, found in pieces_on.items():
        of_object: dict[int, list[MaskPrompt]] = {}
        for piece in found:
            of_object.setdefault(object_ids[tree.root(piece.object_id)], []).append(piece)
        masks[frame] = [united(object_id, of_object[object_id]) for object_id in sorted(of_object)]
    return masks


def _warn_of_one_id_on_many_objects(prompts: Sequence[MaskPrompt]) -> None:
    if len({prompt.object_id for prompt in prompts}) > 1:
        return
    for prompt in prompts:
        count = count_pieces(prompt.crop)
        if count > 1:
            warnings.warn(
                f"The labels hold one id, {prompt.object_id}, in {count} separate pieces on frame {prompt.frame}, and "
                "all are taken for one object. If each piece is an object of its own, split them: --split in the "
                "shell, split=True in Python.",
                BinaryMaskWarning,
                stacklevel=3,
            )
            return


def _checked_labels_shape(labels: ArrayLike) -> tuple[int, ...]:
    check_label_type(labels)
    shape = tuple(labels.shape)
    if len(shape) not in (2, 3):
        raise PromptError(f"Labels have shape {shape}. Give one image (Y, X) or a stack (N, Y, X), without channels.")
    return shape


def _frame_numbers(frames: int | Iterable[int] | None, *, default: Iterable[int], stack: int | None) -> tuple[int, ...]:
    """Return the frames to take; `stack` is the length of a stack, whose frames must exist."""
    if frames is None:
        frames = default
    elif not isinstance(frames, Iterable):
        frames = (frames,)
    numbers = tuple(whole_number(frame, "Frame", least=0) for frame in frames)
    for frame in numbers:
        if stack is not None and frame >= stack:
            raise PromptError(f"There is no frame {frame}: the labels have {stack}, numbered from 0.")
    return numbers
