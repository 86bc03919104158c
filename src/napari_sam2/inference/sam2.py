"""SAM 2 behind the seam: prompts in data pixels go down, masks in data pixels come up."""

from __future__ import annotations

import os
from collections import OrderedDict, defaultdict
from contextlib import contextmanager
from functools import partial
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
from napari_sam2.inference.masks import given_mask, object_mask, placed
from napari_sam2.inference.models import automatic_size, smallest_covering, working_sizes
from napari_sam2.inference.native import NativeTracker, is_cut
from napari_sam2.inference.predictor import Predictor
from sam2_model.config import LARGEST_WHOLE, Framing, check_image_size
from sam2_model.device import choose_device
from sam2_model.errors import ConfigError, Sam2Error, shown
from sam2_model.image_predictor import ImagePredictor
from sam2_model.preprocessing import WorkingImage
from sam2_model.video.crops import Crops
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
    from sam2_model.video.crops import Corner
    from sam2_model.video.state import FramePrediction, FramePrompt

ImageSize = int | Literal["auto"]
"""Side of the model's working image in pixels, or "auto" for a size that suits model and image."""

MOST_AT_ONCE = 16
"""Prompts on an image that go through the network together: each holds four masks of the size of the working image."""

MOST_CROPS = 32
"""Crops of a large image that are kept as the model sees them."""

MOST_ON_FRAMES = 64
"""Objects of a stack whose masks are as large as the frame at one time, on their way to and from the model."""


def load_predictor(
    model: str | PathLike[str] | LoadedModel | Predictor = "nano",
    *,
    device: str = "auto",
    image_size: ImageSize = "auto",
    framing: Framing | None = None,
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
        Longer side of the working image in pixels, a multiple of 32 up to 4096.
    framing : Framing, optional
        How frames become working images, as of `Sam2Predictor`.
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
    return Sam2Predictor(loaded, image_size=image_size, framing=framing, path=path, drops_islands=drops_islands)


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
        Longer side of the working image in pixels.
    framing : Framing, optional
        How frames become working images; when omitted, `Framing.NATIVE` at an automatic size, and `Framing.WHOLE` at
        one that is given.
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
    framing : Framing
        How frames become working images.
    drops_islands : bool
        As given.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        image_size: ImageSize = "auto",
        framing: Framing | None = None,
        path: Path | None = None,
        drops_islands: bool = True,
    ) -> None:
        self._model = model
        self._image_size = image_size
        self.framing = framing or (Framing.NATIVE if image_size == "auto" else Framing.WHOLE)
        self.drops_islands = drops_islands
        self.name, self.sha256, self.device = model.name, model.sha256, str(model.device)
        self.source = model.name if path is None else str(path)

    def working_size(self, height: int, width: int) -> int:
        """Longer side in pixels of the working image of a frame of this size, or of its crops."""
        if self._image_size != "auto":
            return self._image_size
        sizes = working_sizes(self._model.config)
        return (automatic_size if self.framing is Framing.NATIVE else smallest_covering)(sizes, height, width)

    def scale(self, height: int, width: int) -> tuple[float, float]:
        """Pixels that the model sees for each of a frame of this size, along its rows and columns."""
        return (1.0, 1.0) if self.crops(height, width) else self.working(height, width).scale

    def working(self, height: int, width: int) -> WorkingImage:
        """How the whole of a frame of this size becomes a working image."""
        size = self._whole_size(height, width)
        return WorkingImage.of(self._model.config, self.framing, height, width, size)

    def crops(self, height: int, width: int) -> Crops | None:
        """Crops in which objects on a frame of this size are seen; None if it is seen whole."""
        if self.framing is not Framing.NATIVE or max(height, width) <= LARGEST_WHOLE:
            return None
        return Crops(height, width, self.working_size(height, width))

    def _whole_size(self, height: int, width: int) -> int:
        """Longer side in pixels of the working image of a whole frame, also of one that is seen in crops."""
        if self.crops(height, width) is not None:
            return working_sizes(self._model.config)[-1]
        return self.working_size(height, width)

    def segment(self, image: NDArray[np.uint8], prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Answer prompts on one image, (Y, X, 3) uint8. Prompts of the same kind go through the model together.

        Raises
        ------
        ModelError
            If the model cannot work, mostly for lack of memory.
        """
        size = image.shape[0], image.shape[1]
        return self.answer(partial(self.embed_part, lambda rows, columns: image[rows, columns], size), size, prompts)

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode the whole of an image, (Y, X, 3) uint8, to be asked about as often as you like."""
        return self._embed(image, self._whole_size(*image.shape[:2]))

    def embed_part(
        self, window: Callable[[slice, slice], NDArray[np.uint8]], size: tuple[int, int], corner: Corner | None
    ) -> ImageEmbedding:
        """Encode the crop with a corner, or the whole for None, of an image of a size that is read in windows."""
        crops = self.crops(*size)
        if crops is None or corner is None:
            return self.embed(window(slice(None), slice(None)))
        return self._embed(crops.read(window, corner), crops.side)

    def _embed(self, image: NDArray[np.uint8], size: int) -> ImageEmbedding:
        return ImagePredictor(self._model.network, image_size=size, framing=self.framing).embed(image)

    def answer(
        self,
        embed: Callable[[Corner | None], ImageEmbedding],
        size: tuple[int, int],
        prompts: Mapping[int, tuple[Prompt, ...]],
    ) -> tuple[ObjectMask, ...]:
        """Answer prompts on an image, which is encoded unless all prompts are answers themselves.

        Parameters
        ----------
        embed : callable
            Returns the embedding of the crop with a corner, or of the whole image for None.
        size : tuple of int
            Rows and columns of the image.
        prompts : mapping
            Object id to the prompts of the object.

        Raises
        ------
        ModelError
            If the model cannot work, mostly for lack of memory.
        """
        masks = {object_id: given_mask(object_id, given) for object_id, given in prompts.items() if is_answer(given)}
        asked = {object_id: frame_prompt(given) for object_id, given in prompts.items() if object_id not in masks}
        crops = self.crops(*size)
        with model_errors():
            if crops is not None:
                masks |= self._answer_in_crops(embed, crops, asked)
            left = {object_id: prompt for object_id, prompt in asked.items() if object_id not in masks}
            if left:
                masks |= self._answer(embed(None), left)
        return tuple(masks[object_id] for object_id in prompts)

    def _answer_in_crops(
        self, embed: Callable[[Corner | None], ImageEmbedding], crops: Crops, prompts: Mapping[int, FramePrompt]
    ) -> dict[int, ObjectMask]:
        """Return the masks of those objects that crops hold."""
        seen: dict[Corner, dict[int, FramePrompt]] = defaultdict(dict)
        for object_id, prompt in prompts.items():
            corner = crops.holding(*prompt.extent())
            if corner is not None:
                seen[corner][object_id] = prompt.within(corner, crops.size)
        masks = {}
        for corner, some in seen.items():
            for object_id, mask in self._answer(embed(corner), some).items():
                on_frame = placed(mask, corner, (crops.height, crops.width))
                if not is_cut(on_frame, crops, corner):
                    masks[object_id] = on_frame
        return masks

    def _answer(self, embedding: ImageEmbedding, prompts: Mapping[int, FramePrompt]) -> dict[int, ObjectMask]:
        """Ask the model for prompts of one kind at a time."""
        alike: dict[_Kind, dict[int, FramePrompt]] = defaultdict(dict)
        for object_id, prompt in prompts.items():
            alike[_Kind.of(prompt)][object_id] = prompt
        frame, working = (embedding.height, embedding.width), embedding.working
        predictor = ImagePredictor(self._model.network)
        masks = {}
        groups = (
            (kind, dict(islice(some.items(), start, start + MOST_AT_ONCE)))
            for kind, some in alike.items()
            for start in range(0, len(some), MOST_AT_ONCE)
        )
        for kind, group in groups:
            each = list(group.values())
            prediction = predictor.predict(
                embedding,
                points=np.stack([p.points for p in each]) if kind.num_points else None,
                labels=np.stack([p.labels for p in each]) if kind.num_points else None,
                boxes=np.stack([p.box for p in each if p.box is not None]) if kind.has_box else None,
                mask_logits=mask_logits(each, working, self._model.network.mask_stride) if kind.has_mask else None,
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
                size = self._whole_size(frames.height, frames.width)
                predictor = ImagePredictor(self._model.network, image_size=size, framing=self.framing)
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
            closeness = (self._whole_size(frames.height, frames.width) / max(frames.height, frames.width),)
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
        crops = self.crops(frames.height, frames.width)
        if crops is None:
            return self._tracker(frames, self.working_size(frames.height, frames.width), self.framing)
        whole = partial(self._tracker, frames, self._whole_size(frames.height, frames.width), Framing.WHOLE)
        return NativeTracker(self._tracker(frames, crops.side, Framing.NATIVE), whole, crops)

    def _tracker(self, frames: FrameStack, size: int, framing: Framing) -> Tracker:
        with model_errors():
            video = VideoPredictor(self._model.network, image_size=size, framing=framing)
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
            prediction.corners,
            strict=True,
        )
        masks = []
        frame, size = (prediction.height, prediction.width), prediction.part_size
        for object_id, logits, iou, score, corner in each:
            given = self._given.get((object_id, prediction.frame), ())
            if given and is_answer(given):
                masks.append(given_mask(object_id, given))
            else:
                prompt, islands = frame_prompt(given).within(corner, size), self._drops_islands
                mask = object_mask(object_id, logits, iou, score, size, prompt, drops_islands=islands)
                masks.append(placed(mask, corner, frame))
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
        self._embeddings: OrderedDict[Corner | None, ImageEmbedding] = OrderedDict()

    def prompt(self, frame: int, prompts: Mapping[int, tuple[Prompt, ...]]) -> tuple[ObjectMask, ...]:
        """Answer all prompts of some objects, and return their masks, in order."""
        size = (self._frames.height, self._frames.width)
        return self._predictor.answer(lambda corner: self._embedded(frame, corner), size, prompts)

    def _embedded(self, frame: int, corner: Corner | None) -> ImageEmbedding:
        if corner not in self._embeddings:
            window = partial(self._frames.window, frame)
            size = (self._frames.height, self._frames.width)
            self._embeddings[corner] = self._predictor.embed_part(window, size, corner)
            if len(self._embeddings) > MOST_CROPS:
                self._embeddings.popitem(last=False)
        return self._embeddings[corner]

    def has_seen(self, frame: int) -> bool:
        """Whether the image was encoded."""
        return bool(self._embeddings)

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
