"""SAM 2 behind the seam: prompts in data pixels go down, masks in data pixels come up."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import contextmanager
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from napari_sam2.errors import ModelError, OptionError, is_out_of_memory
from napari_sam2.inference.models import smallest_covering, working_sizes
from napari_sam2.inference.predictor import Predictor
from napari_sam2.prompt_checks import is_absence
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.results import STABILITY_OFFSET, ObjectMask
from sam2_model.config import check_image_size
from sam2_model.device import choose_device
from sam2_model.errors import ConfigError, Sam2Error, shown
from sam2_model.image_predictor import ImagePredictor
from sam2_model.mask_ops import as_low_res_logits, clean_small_regions, resize_window, window_above
from sam2_model.preprocessing import to_model_mask
from sam2_model.video.predictor import VideoPredictor
from sam2_model.video.state import FramePrompt
from sam2_model.weights.loading import LoadedModel, load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Tracker
    from napari_sam2.prompts import Prompt
    from sam2_model.image_predictor import ImageEmbedding
    from sam2_model.memory_bank import Direction
    from sam2_model.video.state import FramePrediction

ImageSize = int | Literal["auto"]
"""Side of the model's working image in pixels, or "auto" for a size that suits model and image."""

CLEAN_AREA_PX = 8
"""Islands and holes of a mask up to this many image pixels are specks, not objects."""

MOST_AT_ONCE = 16
"""Prompts on an image that go through the network together: each holds four masks of the size of the working image."""

MOST_ON_FRAMES = 64
"""Objects of a stack whose masks are as large as the frame at one time, on their way to and from the model."""

OUTSIDE_LOGIT = 0.1
"""Logit, at least so far below zero, of a pixel that the user clicked as not belonging to the object."""

GIVEN_LOGIT = 10.0
"""Logit of the pixels of a mask that the user gave."""


def load_predictor(
    model: str | PathLike[str] | LoadedModel | Predictor = "nano",
    *,
    device: str = "auto",
    image_size: ImageSize = "auto",
) -> Predictor:
    """Load a model behind the seam.

    Parameters
    ----------
    model : str, path, LoadedModel or Predictor
        A registry name, a weight file, a folder as the `transformers` library saves models, a loaded model, or a
        predictor, which is returned as it is.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps". A loaded model stays where it is.
    image_size : int or "auto"
        Side of the working image in pixels, a multiple of 32 up to 4096.

    Raises
    ------
    ModelError
        If the model or the device is not there or cannot be used.
    OptionError
        If the working size is neither "auto" nor a multiple of 32 from 32 to 4096.
    """
    if not isinstance(model, LoadedModel) and isinstance(model, Predictor):
        return model
    check_working_size(image_size)
    with model_errors():
        loaded = load_model(model, device=choose_device(device))
    is_file = isinstance(model, PathLike) or (isinstance(model, str) and model != loaded.name)
    return Sam2Predictor(loaded, image_size=image_size, path=Path(str(model)).resolve() if is_file else None)


def check_working_size(image_size: ImageSize) -> None:
    """Refuse a working size that no model can work at.

    Raises
    ------
    OptionError
        If it is neither "auto" nor a multiple of 32 from 32 to 4096.
    """
    if isinstance(image_size, str) and image_size == "auto":
        return
    if isinstance(image_size, bool) or not isinstance(image_size, int):
        raise OptionError(f'Image size is {shown(image_size)}. Use "auto" or a multiple of 32.')
    try:
        check_image_size(image_size)
    except ConfigError as error:
        raise OptionError(str(error)) from error


def most_threads() -> int:
    """Return the largest number of threads that may be asked for: 4 for each core of the machine, and 64 on any.

    More would only wait for each other, and each takes memory when it is started. The second number lets a command
    that was written for a large machine run on a small one.
    """
    return max(4 * (os.cpu_count() or 1), 64)


def use_threads(count: int) -> None:
    """Let the model compute with this many threads in the calling thread.

    Raises
    ------
    OptionError
        If the count is not a whole number from 1 to `most_threads`.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most_threads():
        raise OptionError(
            f"The number of threads is {shown(count)}. Use 1 to {most_threads()}: this machine has "
            f"{os.cpu_count() or 1} cores, and more threads only wait for each other."
        )
    torch.set_num_threads(count)


class Sam2Predictor:
    """SAM 2 on images and stacks.

    Parameters
    ----------
    model : LoadedModel
        Network, name and checksum.
    image_size : int or "auto"
        Side of the working image in pixels.
    path : Path, optional
        The file it was loaded from; a model of the registry needs none.

    Attributes
    ----------
    name : str
        Name of the model.
    sha256 : str
        Checksum of its weights.
    device : str
        Where it computes, as torch names it.
    source : str
        Registry name or path by which it can be loaded again.
    """

    def __init__(self, model: LoadedModel, *, image_size: ImageSize = "auto", path: Path | None = None) -> None:
        self._model = model
        self._image_size = image_size
        self.name, self.sha256, self.device = model.name, model.sha256, str(model.device)
        self.source = model.name if path is None else str(path)

    def working_size(self, height: int, width: int) -> int:
        """Side in pixels of the square image to which a frame of this size is resized."""
        if self._image_size != "auto":
            return self._image_size
        return smallest_covering(working_sizes(self._model.config), height, width)

    def segment(self, image: NDArray[np.uint8], prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Answer prompts on one image, (Y, X, 3) uint8. Prompts of the same kind go through the model together.

        Raises
        ------
        ModelError
            If the model cannot work, mostly for lack of memory.
        """
        return self.answer(lambda: self.embed(image), prompts)

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode an image, (Y, X, 3) uint8, to be asked about as often as you like."""
        size = self.working_size(*image.shape[:2])
        return ImagePredictor(self._model.network, image_size=size).embed(image)

    def answer(
        self, embed: Callable[[], ImageEmbedding], prompts: Mapping[int, tuple[Prompt, ...]]
    ) -> tuple[ObjectMask, ...]:
        """Answer prompts on an image, which is encoded unless all prompts are answers themselves.

        Raises
        ------
        ModelError
            If the model cannot work, mostly for lack of memory.
        """
        masks: dict[int, ObjectMask] = {}
        alike: dict[tuple[int, bool, bool], dict[int, FramePrompt]] = defaultdict(dict)
        for object_id, given in prompts.items():
            if _is_answer(given):
                masks[object_id] = _given_mask(object_id, given)
            else:
                prompt = _frame_prompt(given)
                key = (len(prompt.points), prompt.box is not None, prompt.mask is not None)
                alike[key][object_id] = prompt
        if alike:
            with model_errors():
                masks |= self._answer(embed(), alike)
        return tuple(masks[object_id] for object_id in prompts)

    def _answer(
        self, embedding: ImageEmbedding, alike: Mapping[tuple[int, bool, bool], Mapping[int, FramePrompt]]
    ) -> dict[int, ObjectMask]:
        """Ask the model for prompts of one kind at a time: with as many points, with or without box and mask."""
        height, width, size = embedding.height, embedding.width, embedding.image_size
        predictor = ImagePredictor(self._model.network, image_size=size)
        masks = {}
        groups = (
            (kind, dict(islice(prompts.items(), start, start + MOST_AT_ONCE)))
            for kind, prompts in alike.items()
            for start in range(0, len(prompts), MOST_AT_ONCE)
        )
        for (num_points, has_box, has_mask), group in groups:
            each = list(group.values())
            prediction = predictor.predict(
                embedding,
                points=np.stack([p.points for p in each]) if num_points else None,
                labels=np.stack([p.labels for p in each]) if num_points else None,
                boxes=np.stack([p.box for p in each if p.box is not None]) if has_box else None,
                mask_logits=_mask_logits(each, size, self._model.network.mask_stride) if has_mask else None,
                candidates=3 if num_points <= 1 and not has_box else 1,
            )
            best = prediction.predicted_iou.argmax(1)
            rows = torch.arange(len(best))
            answers = zip(
                group.items(),
                _to_numpy(prediction.low_res_logits[rows, best]),
                prediction.predicted_iou[rows, best].tolist(),
                prediction.object_score_logit.sigmoid().tolist(),
                strict=True,
            )
            for (object_id, prompt), logits, iou, score in answers:
                masks[object_id] = _object_mask(object_id, logits, iou, score, height, width, prompt)
        return masks

    def open(self, frames: FrameStack) -> Tracker:
        """Begin work on a stack.

        Raises
        ------
        ModelError
            If there are several frames and the weights are of a model for images, which cannot follow objects.
        """
        if not self._model.config.has_memory and len(frames) == 1:
            return _ImageTracker(self, frames)
        size = self.working_size(frames.height, frames.width)
        with model_errors():
            return Sam2Tracker(VideoPredictor(self._model.network, image_size=size), frames)


class Sam2Tracker:
    """One stack in SAM 2's hands. What it cannot answer is a `ModelError`."""

    def __init__(self, video: VideoPredictor, frames: FrameStack) -> None:
        self._video = video
        self._state = video.start(frames)
        self._given: dict[tuple[int, int], tuple[Prompt, ...]] = {}

    def prompt(self, frame: int, prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Replace all prompts of some objects on a frame, and return their masks, in order."""
        masks: list[ObjectMask] = []
        with model_errors():
            for object_ids in _in_parts(tuple(prompts)):
                asked = {object_id: _frame_prompt(prompts[object_id]) for object_id in object_ids}
                prediction = self._video.prompt(self._state, frame, asked)
                self._given |= {(object_id, frame): prompts[object_id] for object_id in object_ids}
                masks += self._masks(prediction)
        return tuple(masks)

    def has_seen(self, frame: int) -> bool:
        """Whether the features of a frame are kept, so that it need not be encoded."""
        return frame in self._state.features

    def forget(self, object_id: int, frame: int) -> None:
        """Forget the prompts of an object on a frame."""
        self._video.forget_prompt(self._state, object_id, frame)
        del self._given[object_id, frame]

    def follow(self, frame: int, object_ids: Sequence[int], direction: Direction) -> tuple[ObjectMask, ...]:
        """Follow objects to a frame, next to the last one visited; masks of prompted objects are repeated."""
        masks: list[ObjectMask] = []
        with model_errors():
            for some in _in_parts(object_ids):
                masks += self._masks(self._video.visit(self._state, frame, direction, some))
        return tuple(masks)

    def _masks(self, prediction: FramePrediction) -> list[ObjectMask]:
        each = zip(
            prediction.object_ids,
            _to_numpy(prediction.low_res_logits),
            prediction.predicted_iou.tolist(),
            prediction.object_score_logit.sigmoid().tolist(),
            strict=True,
        )
        masks = []
        for object_id, logits, iou, score in each:
            given = self._given.get((object_id, prediction.frame), ())
            if given and _is_answer(given):
                masks.append(_given_mask(object_id, given))
            else:
                prompt = _frame_prompt(given)
                masks.append(_object_mask(object_id, logits, iou, score, prediction.height, prediction.width, prompt))
        return masks


def _in_parts(object_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """As many objects at a time as may take room on whole frames together."""
    for start in range(0, len(object_ids), MOST_ON_FRAMES):
        yield object_ids[start : start + MOST_ON_FRAMES]


class _ImageTracker:
    """A single image in the hands of a model that answers prompts and follows nothing."""

    def __init__(self, predictor: Sam2Predictor, frames: FrameStack) -> None:
        self._predictor = predictor
        self._frames = frames
        self._embedding: ImageEmbedding | None = None

    def prompt(self, frame: int, prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Answer all prompts of some objects, and return their masks, in order."""
        return self._predictor.answer(lambda: self._embedded(frame), prompts)

    def _embedded(self, frame: int) -> ImageEmbedding:
        if self._embedding is None:
            self._embedding = self._predictor.embed(self._frames[frame])
        return self._embedding

    def has_seen(self, frame: int) -> bool:
        """Whether the image was encoded."""
        return self._embedding is not None

    def forget(self, object_id: int, frame: int) -> None:
        """Forget the prompts of an object, of which nothing was kept."""

    def follow(self, frame: int, object_ids: Sequence[int], direction: Direction) -> tuple[ObjectMask, ...]:
        """Refuse to follow: there is no other frame."""
        raise ModelError(f"The weights of {self._predictor.name} have no memory and cannot follow objects.")


@contextmanager
def model_errors() -> Iterator[None]:
    """Turn what the model raises into a sentence with a remedy."""
    try:
        yield
    except Sam2Error as error:
        raise ModelError(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            "The model has run out of memory. Use a smaller image size or model, or follow fewer objects at a time."
        ) from error


def _frame_prompt(prompts: Iterable[Prompt]) -> FramePrompt:
    """All prompts of one object on one frame, for the model. The one place where (y, x) becomes (x, y)."""
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    box = mask = painted = None
    for prompt in prompts:
        match prompt:
            case PointPrompt():
                points.append((prompt.x, prompt.y))
                labels.append(int(prompt.positive))
            case BoxPrompt():
                box = np.array((prompt.x_min, prompt.y_min, prompt.x_max, prompt.y_max), np.float32)
            case MaskPrompt():
                painted, mask = prompt, np.array(prompt.mask)
    if painted is not None and box is None and points and not any(labels):
        # A mask and what is wrong with it: models were taught corrections after a click on the object.
        y, x = _innermost(painted)
        points.insert(0, (x, y))
        labels.insert(0, 1)
    return FramePrompt(
        points=np.array(points, np.float32).reshape(-1, 2), labels=np.array(labels, np.int64), box=box, mask=mask
    )


def _innermost(mask: MaskPrompt) -> tuple[float, float]:
    """Row and column of the pixel of a mask that is farthest from its outline."""
    depth = distance_transform_edt(np.pad(mask.crop, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.extent)
    return float(y + mask.corner[0]), float(x + mask.corner[1])


def _is_answer(prompts: tuple[Prompt, ...]) -> bool:
    """Whether prompts are the answer themselves: a mask and nothing else, or absence."""
    return is_absence(prompts) or (len(prompts) == 1 and isinstance(prompts[0], MaskPrompt))


def _given_mask(object_id: int, prompts: tuple[Prompt, ...]) -> ObjectMask:
    """Return the mask that prompts are themselves, unchanged."""
    mask = next((prompt for prompt in prompts if isinstance(prompt, MaskPrompt)), None)
    if mask is None:
        return ObjectMask(object_id, (0, 0), np.zeros((0, 0), np.float32), 1.0, 0.0, is_given=True)
    logits = np.where(mask.crop, np.float32(GIVEN_LOGIT), np.float32(-GIVEN_LOGIT))
    return ObjectMask(object_id, mask.corner, logits, 1.0, 1.0, is_given=True)


def _object_mask(
    object_id: int,
    low_res_logits: NDArray[np.float32],
    predicted_iou: float,
    object_score: float,
    height: int,
    width: int,
    prompt: FramePrompt,
) -> ObjectMask:
    """Return a mask at the size of the image, cut to where it is, without specks."""
    rows, columns = window_above(low_res_logits, -STABILITY_OFFSET, height, width)
    logits = resize_window(low_res_logits, height, width, (rows, columns))
    # Where model and user agree, nothing is a speck: a part that was clicked, a hole that was clicked away.
    clicked = prompt.points.round().astype(int) - (columns.start, rows.start)
    is_here = ((clicked >= 0) & (clicked < logits.shape[::-1])).all(1)
    x, y = clicked[is_here].T
    # A pixel that the user calls outside is outside, also on an outline where the model is not so sure.
    is_off = prompt.labels[is_here] == 0
    logits[y[is_off], x[is_off]] = np.minimum(logits[y[is_off], x[is_off]], -OUTSIDE_LOGIT)
    prompted = np.zeros(logits.shape, np.bool_)
    prompted[y, x] = (logits[y, x] > 0) == (prompt.labels[is_here] == 1)
    logits = clean_small_regions(logits, CLEAN_AREA_PX, prompted)
    return ObjectMask(object_id, (rows.start, columns.start), logits, predicted_iou, object_score)


def _mask_logits(prompts: Iterable[FramePrompt], image_size: int, stride: int) -> Tensor:
    """Masks as the dense prompt from which clicks or a box start, (B, 1, h, w)."""
    masks = torch.from_numpy(np.stack([p.mask for p in prompts if p.mask is not None]))[:, None]
    return as_low_res_logits(to_model_mask(masks, image_size, keeps_thin=True), stride)


def _to_numpy(logits: Tensor) -> NDArray[np.float32]:
    return np.asarray(logits.float().cpu().numpy())
