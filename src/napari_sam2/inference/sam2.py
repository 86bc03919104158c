"""SAM 2 behind the seam: prompts in data pixels go down, masks in data pixels come up."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import contextmanager
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch

from napari_sam2.errors import ModelError, OptionError, is_out_of_memory
from napari_sam2.inference.everything import propose_instances, zooms
from napari_sam2.inference.examples import describe_at
from napari_sam2.inference.frame_prompts import frame_prompt, is_answer, mask_logits
from napari_sam2.inference.grid import propose_by_grid
from napari_sam2.inference.masks import given_mask, object_mask
from napari_sam2.inference.models import smallest_covering, working_sizes
from napari_sam2.inference.predictor import Predictor
from sam2_model.config import check_image_size
from sam2_model.device import choose_device
from sam2_model.errors import ConfigError, Sam2Error, shown
from sam2_model.image_predictor import ImagePredictor
from sam2_model.video.predictor import VideoPredictor
from sam2_model.weights.loading import LoadedModel, load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_sam2.frames import FrameStack
    from napari_sam2.inference.predictor import Example, FoundPart, Search, Tracker
    from napari_sam2.prompts import MaskPrompt, Prompt
    from napari_sam2.results import ObjectMask
    from sam2_model.image_predictor import ImageEmbedding
    from sam2_model.memory_bank import Direction
    from sam2_model.video.state import FramePrediction, FramePrompt

ImageSize = int | Literal["auto"]
"""Side of the model's working image in pixels, or "auto" for a size that suits model and image."""

MOST_AT_ONCE = 16
"""Prompts on an image that go through the network together: each holds four masks of the size of the working image."""

MOST_ON_FRAMES = 64
"""Objects of a stack whose masks are as large as the frame at one time, on their way to and from the model."""


def load_predictor(
    model: str | PathLike[str] | LoadedModel | Predictor = "nano",
    *,
    device: str = "auto",
    image_size: ImageSize = "auto",
    drops_islands: bool = True,
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
    drops_islands : bool
        Whether masks that answer clicks lose their islands, as of `Sam2Predictor`.

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
    path = Path(str(model)).resolve() if is_file else None
    return Sam2Predictor(loaded, image_size=image_size, path=path, drops_islands=drops_islands)


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


class _Kind(NamedTuple):
    """What prompts have in common that go through the network together."""

    num_points: int
    has_box: bool
    has_mask: bool
    is_of_three: bool  # whether one of the three candidates answers, and not the single mask

    @classmethod
    def of(cls, prompt: FramePrompt) -> _Kind:
        is_of_three = prompt.is_ambiguous or prompt.candidate is not None
        return cls(len(prompt.points), prompt.box is not None, prompt.mask is not None, is_of_three)


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
    drops_islands : bool
        Whether islands that no positive click touches are dropped, but for the largest, from masks that answer clicks
        without a box or a mask. Masks of objects that were followed to a frame keep theirs.

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
    drops_islands : bool
        As given.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        image_size: ImageSize = "auto",
        path: Path | None = None,
        drops_islands: bool = True,
    ) -> None:
        self._model = model
        self._image_size = image_size
        self.drops_islands = drops_islands
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
        alike: dict[_Kind, dict[int, FramePrompt]] = defaultdict(dict)
        for object_id, given in prompts.items():
            if is_answer(given):
                masks[object_id] = given_mask(object_id, given)
            else:
                prompt = frame_prompt(given)
                alike[_Kind.of(prompt)][object_id] = prompt
        if alike:
            with model_errors():
                masks |= self._answer(embed(), alike)
        return tuple(masks[object_id] for object_id in prompts)

    def _answer(
        self, embedding: ImageEmbedding, alike: Mapping[_Kind, Mapping[int, FramePrompt]]
    ) -> dict[int, ObjectMask]:
        """Ask the model for prompts of one kind at a time."""
        frame, size = (embedding.height, embedding.width), embedding.image_size
        predictor = ImagePredictor(self._model.network, image_size=size)
        masks = {}
        groups = (
            (kind, dict(islice(prompts.items(), start, start + MOST_AT_ONCE)))
            for kind, prompts in alike.items()
            for start in range(0, len(prompts), MOST_AT_ONCE)
        )
        for kind, group in groups:
            each = list(group.values())
            prediction = predictor.predict(
                embedding,
                points=np.stack([p.points for p in each]) if kind.num_points else None,
                labels=np.stack([p.labels for p in each]) if kind.num_points else None,
                boxes=np.stack([p.box for p in each if p.box is not None]) if kind.has_box else None,
                mask_logits=mask_logits(each, size, self._model.network.mask_stride) if kind.has_mask else None,
                candidates=3 if kind.is_of_three else 1,
            )
            best = prediction.predicted_iou.argmax(1).tolist()
            chosen = [best[row] if p.candidate is None else p.candidate for row, p in enumerate(each)]
            rows = torch.arange(len(chosen))
            answers = zip(
                group.items(),
                _to_numpy(prediction.low_res_logits[rows, chosen]),
                prediction.predicted_iou[rows, chosen].tolist(),
                prediction.object_score_logit.sigmoid().tolist(),
                strict=True,
            )
            for (object_id, prompt), logits, iou, score in answers:
                masks[object_id] = object_mask(
                    object_id, logits, iou, score, frame, prompt, drops_islands=self.drops_islands
                )
        return masks

    def propose(self, frames: FrameStack, frame: int, search: Search) -> Iterator[FoundPart]:
        """Find objects by itself in one frame, part by part; closing the iterator stops between parts.

        Raises
        ------
        ModelError
            If the model cannot work, mostly for lack of memory.
        """
        with model_errors():
            if self._model.config.has_instance_decoder:
                yield from propose_instances(self._model.network, frames, frame, search)
            else:
                size = self.working_size(frames.height, frames.width)
                predictor = ImagePredictor(self._model.network, image_size=size)
                yield from propose_by_grid(predictor, frames, frame, search)

    def describe(self, frames: FrameStack, frame: int, masks: Sequence[MaskPrompt]) -> tuple[Example, ...]:
        """Return what objects on one frame look like, as examples of what is wanted.

        Raises
        ------
        ModelError
            If the model cannot work, mostly for lack of memory.
        """
        closeness: tuple[float, ...] = zooms((slice(0, frames.height), slice(0, frames.width)))
        if not self._model.config.has_instance_decoder:
            closeness = (self.working_size(frames.height, frames.width) / max(frames.height, frames.width),)
        with model_errors():
            return tuple(describe_at(self._model.network, frames, frame, mask, closeness) for mask in masks)

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
            video = VideoPredictor(self._model.network, image_size=size)
            return Sam2Tracker(video, frames, drops_islands=self.drops_islands)


class Sam2Tracker:
    """One stack in SAM 2's hands. What it cannot answer is a `ModelError`."""

    def __init__(self, video: VideoPredictor, frames: FrameStack, *, drops_islands: bool) -> None:
        self._video = video
        self._drops_islands = drops_islands
        self._state = video.start(frames)
        self._given: dict[tuple[int, int], tuple[Prompt, ...]] = {}

    def prompt(self, frame: int, prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Replace all prompts of some objects on a frame, and return their masks, in order."""
        masks: list[ObjectMask] = []
        with model_errors():
            for object_ids in _in_parts(tuple(prompts)):
                asked = {object_id: frame_prompt(prompts[object_id]) for object_id in object_ids}
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
        size = (prediction.height, prediction.width)
        for object_id, logits, iou, score in each:
            given = self._given.get((object_id, prediction.frame), ())
            if given and is_answer(given):
                masks.append(given_mask(object_id, given))
            else:
                prompt, islands = frame_prompt(given), self._drops_islands
                masks.append(object_mask(object_id, logits, iou, score, size, prompt, drops_islands=islands))
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


def _to_numpy(logits: Tensor) -> NDArray[np.float32]:
    return np.asarray(logits.float().cpu().numpy())
