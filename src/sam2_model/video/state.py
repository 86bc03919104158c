"""What is known while objects are followed: frames, prompts, and what each object left behind on each frame."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sam2_model.errors import FrameError, PromptError
from sam2_model.mask_decoder import NUM_CANDIDATES
from sam2_model.mask_ops import ABSENT_LOGIT, resize_logits
from sam2_model.memory_bank import MAX_POINTERS, Direction
from sam2_model.preprocessing import WorkingImage
from sam2_model.sam2 import ImageFeatures
from sam2_model.video.crops import Corner, Crops
from sam2_model.video.stored_masks import StoredMask


class FrameSource(Protocol):
    """Frames read one at a time: a list, a memory map, or anything lazy."""

    def __len__(self) -> int:
        """Return how many frames there are."""
        ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """Return frame `index`, shape (H, W, 3), uint8."""
        ...


@runtime_checkable
class WindowedFrames(Protocol):
    """Frames that say their size and can be read in part."""

    height: int
    width: int

    def window(self, frame: int, rows: slice, columns: slice, /) -> NDArray[np.uint8]:
        """Return a part of a frame, (rows, columns, 3), uint8."""
        ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FramePrompt:
    """The prompt of one object on one frame.

    Attributes
    ----------
    points : ndarray
        Shape (N, 2), (x, y) in image pixels, centres at integers.
    labels : ndarray
        Shape (N,): 1 on the object, 0 off it.
    box : ndarray, optional
        Shape (4,): x_min, y_min, x_max, y_max in image pixels, both ends included.
    mask : ndarray, optional
        Shape (H, W), bool. Alone it is the answer; with points or a box it is where they start from.
    candidate : int, optional
        Which of the three candidates answers clicks or a box, 0 to 2. None leaves it to the model: its best candidate
        for an ambiguous prompt, else the single mask. The reference policy, which knows no choice, does not read it.
    """

    points: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    box: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    candidate: int | None = None

    @property
    def is_absence(self) -> bool:
        """Whether there are negative points alone: the object is not on the frame."""
        return self.box is None and self.mask is None and not (self.labels == 1).any()

    @property
    def is_mask_alone(self) -> bool:
        """Whether it is a mask and nothing else."""
        return self.mask is not None and self.box is None and not len(self.points)

    @property
    def is_ambiguous(self) -> bool:
        """Whether it may mean a part, a whole or a group: one click at most, and no box."""
        return self.box is None and len(self.points) <= 1

    def extent(self) -> tuple[float, float, float, float]:
        """Return the rectangle of what is known of the object: its top, left, bottom and right, in image pixels.

        Points off the object say something only where there is nothing else: then the first of them counts.
        """
        corners = [] if self.box is None else [self.box.reshape(2, 2)]
        if self.mask is not None:
            rows, columns = (np.flatnonzero(self.mask.any(axis))[[0, -1]] for axis in (1, 0))
            corners.append(np.stack((columns, rows), 1))
        on = self.points[self.labels == 1]
        places = np.concatenate((*corners, on if len(on) or corners else self.points[:1]))
        (left, top), (right, bottom) = places.min(0).tolist(), places.max(0).tolist()
        return top, left, bottom, right

    def within(self, corner: Corner, size: tuple[int, int]) -> "FramePrompt":
        """Return the prompt in pixels of a part of the frame; points off the object that lie elsewhere are left out."""
        shift = np.array(corner[::-1], np.float32)
        points = self.points - shift
        is_here = ((points >= -0.5) & (points <= np.array(size[::-1]) - 0.5)).all(1) | (self.labels == 1)
        mask = None
        if self.mask is not None:
            mask = np.zeros(size, np.bool_)
            part = self.mask[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
            mask[: part.shape[0], : part.shape[1]] = part
        return FramePrompt(
            points=points[is_here],
            labels=self.labels[is_here],
            box=None if self.box is None else self.box - np.tile(shift, 2),
            mask=mask,
            candidate=self.candidate,
        )

    def check(self, height: int, width: int) -> None:
        """Refuse what cannot be answered.

        Raises
        ------
        PromptError
            If there is no prompt, a shape or label is wrong, a number is not finite, a box is upside down or outside,
            a point is outside, a mask is empty or of another size, or there is no such candidate.
        """
        if not len(self.points) and self.box is None and self.mask is None:
            raise PromptError("The prompt is empty: give points, a box or a mask.")
        if self.candidate is not None and self.candidate not in range(NUM_CANDIDATES):
            raise PromptError(f"There is no candidate {self.candidate}: use 0, 1 or 2, or None for the model's choice.")
        self._check_points(height, width)
        self._check_box(height, width)
        if self.mask is not None:
            if self.mask.shape != (height, width) or self.mask.dtype != np.bool_:
                raise PromptError(
                    f"A mask prompt must be boolean of shape {(height, width)}, the frame's; "
                    f"this one is {self.mask.dtype} of shape {self.mask.shape}."
                )
            if not self.mask.any():
                raise PromptError("The mask prompt is empty: paint at least one pixel, or leave the mask out.")

    def _check_points(self, height: int, width: int) -> None:
        if self.points.shape != (len(self.labels), 2):
            raise PromptError(f"Points of shape {self.points.shape} need as many labels, not {self.labels.shape}.")
        if not np.isin(self.labels, (0, 1)).all():
            raise PromptError("A point's label is 1 (on the object) or 0 (off it).")
        is_inside = (self.points >= -0.5) & (self.points <= np.array([width, height]) - 0.5)  # false for NaN too
        if not is_inside.all():
            x, y = self.points[~is_inside.all(1)][0]
            raise PromptError(f"Point (y {y:g}, x {x:g}) lies outside the frame of {height} x {width} pixels. Move it.")

    def _check_box(self, height: int, width: int) -> None:
        if self.box is None:
            return
        if self.box.shape != (4,) or not np.isfinite(self.box).all():
            raise PromptError(f"A box is four finite numbers, x_min, y_min, x_max, y_max; not {self.box}.")
        x0, y0, x1, y1 = self.box
        if x1 < x0 or y1 < y0:
            raise PromptError(f"Box (y {y0:g} to {y1:g}, x {x0:g} to {x1:g}) is upside down. Swap the corners.")
        if x1 < -0.5 or y1 < -0.5 or x0 > width - 0.5 or y0 > height - 0.5:
            raise PromptError(f"Box (y {y0:g} to {y1:g}, x {x0:g} to {x1:g}) lies outside the frame. Move it.")


@dataclass(frozen=True, slots=True, eq=False)
class FrameMemory:
    """What is remembered of one object on one frame.

    Attributes
    ----------
    mask : StoredMask
        Mask logits (h, w), float32, one cell for `Sam2.mask_stride` pixels, put together by its `logits`.
    predicted_iou, object_score_logit : Tensor
        Scalars.
    pointer : Tensor
        Shape (C,).
    spatial : Tensor, optional
        Shape (Cm, h, w); None while it has not been written, and once it is too old to be recalled.
    direction : Direction, optional
        Which way the object was followed; None on prompted frames.
    corner : tuple of int
        Where in the frame the crop begins that `mask` and `spatial` are of.
    """

    mask: StoredMask
    predicted_iou: Tensor
    object_score_logit: Tensor
    pointer: Tensor
    spatial: Tensor | None = None
    direction: Direction | None = None
    corner: Corner = (0, 0)


@dataclass(slots=True)
class ObjectTrack:
    """One object: its prompts and its memories. Deleting it from `VideoState.objects` forgets the object.

    Attributes
    ----------
    prompts : dict
        Frame to whether the object is absent there, for the frames with a prompt. The prompts themselves are not kept:
        hundreds of masks would take the room of as many frames.
    conditioning : dict
        Frame to memory, for the frames whose prompt every other frame recalls, in the order of prompting.
    tracked : dict
        Frame to memory, for the frames that were followed.
    """

    prompts: dict[int, bool] = field(default_factory=dict)
    conditioning: dict[int, FrameMemory] = field(default_factory=dict)
    tracked: dict[int, FrameMemory] = field(default_factory=dict)

    @property
    def origin(self) -> int | None:
        """First frame where the object was shown; it is followed forward from there, and backward before it."""
        return min((f for f, is_absence in self.prompts.items() if not is_absence), default=None)

    def memory(self, frame: int) -> FrameMemory:
        """Return what is remembered of a frame that was prompted or visited."""
        return self.conditioning[frame] if frame in self.conditioning else self.tracked[frame]

    def replace_memory(self, frame: int, memory: FrameMemory) -> None:
        """Put another memory in the place of one."""
        frames = self.conditioning if frame in self.conditioning else self.tracked
        frames[frame] = memory


class FeatureCache:
    """The features of the most recently used frames, or crops of them."""

    def __init__(self, max_frames: int) -> None:
        self.max_frames = max_frames
        self._features: OrderedDict[tuple[int, Corner], ImageFeatures] = OrderedDict()

    def __contains__(self, frame: int) -> bool:
        return any(kept == frame for kept, _ in self._features)

    def get(self, frame: int, corner: Corner = (0, 0)) -> ImageFeatures | None:
        """Return the features of a frame, or of its crop with a corner, if they are kept."""
        if (frame, corner) in self._features:
            self._features.move_to_end((frame, corner))
        return self._features.get((frame, corner))

    def put(self, frame: int, features: ImageFeatures, corner: Corner = (0, 0)) -> None:
        """Keep the features of a frame, or of its crop with a corner, dropping the least recently used."""
        self._features[frame, corner] = features
        while len(self._features) > self.max_frames:
            self._features.popitem(last=False)


@dataclass(slots=True)
class VideoState:
    """Everything the predictor knows of one stack or stream.

    Attributes
    ----------
    working : WorkingImage
        How each frame lies in the working image; or each crop, where there are crops.
    frames : FrameSource, optional
        Where frames are read from; None for a stream.
    num_frames : int
        Frames there are, or, of a stream, have been seen so far.
    features : FeatureCache
        Encoded frames.
    objects : dict
        Object id to what is known of it, in the order in which objects were added.
    crops : Crops, optional
        The crops of the frames, if these are not seen whole.
    """

    working: WorkingImage
    frames: FrameSource | None
    num_frames: int
    features: FeatureCache
    objects: dict[int, ObjectTrack] = field(default_factory=dict)
    crops: Crops | None = None

    @property
    def height(self) -> int:
        """Rows of a frame, in pixels."""
        return self.working.height if self.crops is None else self.crops.height

    @property
    def width(self) -> int:
        """Columns of a frame, in pixels."""
        return self.working.width if self.crops is None else self.crops.width

    @property
    def reach(self) -> int:
        """Frames over which object pointers count their age.

        The published models shrink it to the length of a short video. The length of a stream is unknown, so a stream
        counts as long: its pointers are dated as in any video of 16 frames or more.
        """
        return MAX_POINTERS if self.frames is None else min(self.num_frames, MAX_POINTERS)

    def check_frame(self, frame: int) -> None:
        """Refuse a frame that does not exist.

        Raises
        ------
        FrameError
            If the frame is negative or beyond the last.
        """
        if not self.num_frames:
            raise FrameError(f"There is no frame {frame}: the stream has not begun. Feed it a frame first.")
        if not 0 <= frame < self.num_frames:
            raise FrameError(f"There is no frame {frame}: frames run from 0 to {self.num_frames - 1}.")

    def track_of(self, object_id: int) -> ObjectTrack:
        """Return the track of an object.

        Raises
        ------
        PromptError
            If no prompt was ever given for it.
        """
        if object_id not in self.objects:
            raise PromptError(f"Object {object_id} has no prompt. Prompt it on any frame first.")
        return self.objects[object_id]


@dataclass(frozen=True, slots=True, eq=False)
class FramePrediction:
    """What is known of N objects on one frame.

    Attributes
    ----------
    frame : int
        Which frame.
    object_ids : tuple of int
        The objects, in the order of the other attributes.
    low_res_logits : Tensor
        Shape (N, h, w), float32, one cell for `Sam2.mask_stride` pixels of the working image; positive means object.
    predicted_iou : Tensor
        Shape (N,), in [0, 1].
    object_score_logit : Tensor
        Shape (N,); positive where the object is on the frame.
    height, width : int
        Size of the frame, in pixels.
    corners : tuple of (int, int)
        Row and column where in the frame the part begins that the mask of each object is of.
    part_size : tuple of int
        Rows and columns of these parts, in pixels, which may reach beyond the frame; where it is seen whole, its size.
    """

    frame: int
    object_ids: tuple[int, ...]
    low_res_logits: Tensor
    predicted_iou: Tensor
    object_score_logit: Tensor
    height: int
    width: int
    corners: tuple[Corner, ...]
    part_size: tuple[int, int]

    def mask_logits(self) -> Tensor:
        """Return the mask logits at the frame's size, (N, H, W), float32; positive means object."""
        parts = resize_logits(self.low_res_logits[:, None], *self.part_size)[:, 0]
        if self.part_size == (self.height, self.width):
            return parts
        whole = parts.new_full((len(parts), self.height, self.width), ABSENT_LOGIT)
        for one, part, (top, left) in zip(whole, parts, self.corners, strict=True):
            here = one[top : top + part.shape[0], left : left + part.shape[1]]
            here.copy_(part[: here.shape[0], : here.shape[1]])
        return whole


PromptsByObject = Mapping[int, FramePrompt]
"""Object id to its prompt on one frame."""
