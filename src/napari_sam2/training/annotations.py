"""Annotated images in files: pairs of an image and its labels, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from napari_sam2.errors import FrameError, ImageFileError, OptionError, PromptError
from napari_sam2.files.images.reading import IMAGE_SUFFIXES, read_image, read_label_image
from napari_sam2.files.sources import reading
from napari_sam2.labels.pieces import count_pieces
from napari_sam2.labels.values import check_label_type, object_ids_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import numpy.typing as npt
    from numpy.typing import NDArray

    from napari_sam2.files.images.reading import ImageFile
    from napari_sam2.frames import FrameStack

Data = Literal["auto", "stack", "images"]
"""What the frames are: "stack", one series in which an id stays with its object, also from a folder of frames;
"images", each for itself; "auto", a series for a file with frames and images for a folder."""

MIN_FRAMES, MIN_OUTLINES = 2, 4
"""Fewest annotated frames, and outlines of objects on them, from which anything can be learnt and tested."""


class LabelFrames:
    """The label images of a file, read one at a time.

    Parameters
    ----------
    file : ImageFile
        Numbers without channels.
    """

    __slots__ = ("_file",)

    def __init__(self, file: ImageFile) -> None:
        self._file = file

    def __len__(self) -> int:
        return int(self._file.array.shape[0]) if self._file.has_frames else 1

    def __getitem__(self, frame: int) -> NDArray[np.integer]:
        """Return the labels of one frame, shape (Y, X), as integers; 0 is background.

        Raises
        ------
        FrameError
            If a label is negative, no whole number, or larger than a label image can hold.
        """
        key = (frame,) if self._file.has_frames else ()
        try:
            return object_ids_of(np.asarray(self._file.array[(*key, slice(None), slice(None))]))
        except PromptError as error:
            raise FrameError(f"{self._file.path}, frame {frame}: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """An image or a stack with its labels.

    Attributes
    ----------
    path : Path
        Where the image is.
    frames : FrameStack
        As prediction sees it, under one intensity mapping.
    labels : LabelFrames
        As many frames, of the same size.
    is_series : bool
        Whether an id is the same object on the next frame.
    outlines : tuple of int
        Number of objects on each frame.
    """

    path: Path
    frames: FrameStack
    labels: LabelFrames
    is_series: bool
    outlines: tuple[int, ...]


def read_annotations(
    images: str | PathLike[str],
    labels: str | PathLike[str],
    *,
    data: Data = "auto",
    axes: str | None = None,
    channel: int | None = None,
    contrast_limits: npt.ArrayLike | None = None,
) -> tuple[Annotation, ...]:
    """Open images and their labels. Labels are read once, to be counted; pixels as far as the mapping needs them.

    Parameters
    ----------
    images, labels : path
        Two files, or two folders in which files of the same name (endings apart) belong together. An image without
        labels is left out.
    data : {"auto", "stack", "images"}
        What the frames are; see `Data`.
    axes, channel
        Of the images, as in `read_image`.
    contrast_limits : (float, float), optional
        Intensities seen as black and white; percentiles of each file when omitted, as in prediction.

    Raises
    ------
    ImageFileError
        If a file is missing or unreadable, or names do not fit together.
    FrameError
        If labels are no whole numbers, have another shape than their image, or are too few to learn from.
    OptionError
        If an option does not exist or does not fit the files.
    """
    if data not in get_args(Data):
        raise OptionError(f"data is {data!r}. Use one of: {', '.join(get_args(Data))}.")
    found = []
    for image_path, label_path in _pairs(Path(images), Path(labels), data):
        image = read_image(image_path, axes=axes, channel=channel)
        found.append(_annotation(image, _read_labels(label_path, image, axes), data, contrast_limits))
    _check_enough(found)
    _check_numbered(found)
    return tuple(found)


def _pairs(images: Path, labels: Path, data: Data) -> list[tuple[Path, Path]]:
    for path in (images, labels):
        with reading(path):
            if not path.exists():
                raise ImageFileError(f"There is no file or folder {path}. Check its name.")
    if data == "stack" or not (images.is_dir() or labels.is_dir()):
        return [(images, labels)]
    if images.is_dir() != labels.is_dir():
        folder, file = (images, labels) if images.is_dir() else (labels, images)
        raise ImageFileError(
            f"{folder} is a folder and {file} a file. Give two files or two folders; if the folder holds the frames of "
            'one stack, say so with data "stack".'
        )
    image_files, label_files = _by_name(images), _by_name(labels)
    common = [name for name in image_files if name in label_files]
    if not common:
        raise ImageFileError(
            f"No file in {labels} has the name of one in {images}. Give an image and its labels the same name, such as "
            f"{images / 'a.tif'} and {labels / 'a.tif'}."
        )
    left = sorted(label_files.keys() - image_files.keys())
    if left:
        raise ImageFileError(f"{label_files[left[0]]} belongs to no image in {images}. Remove it, or add its image.")
    return [(image_files[name], label_files[name]) for name in common]


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by name without ending, in order."""
    found: dict[str, Path] = {}
    with reading(folder):
        inside = sorted(folder.iterdir())
    for path in inside:
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ImageFileError(f"{found[path.stem]} and {path} have one name. Remove or rename one of them.")
        found[path.stem] = path
    return found


def _read_labels(path: Path, image: ImageFile, axes: str | None) -> ImageFile:
    """Return opened labels; refuse what cannot be labels of an image."""
    letters = None if axes is None else "".join(letter for letter in axes.upper() if letter not in "CS")
    labels = read_label_image(path, axes=letters)
    if labels.axes != labels.label_axes:
        raise FrameError(
            f"{path} has axes {labels.axes}, and a label image has no channels or colours. Save it as one channel."
        )
    try:
        check_label_type(labels.array)
    except PromptError as error:
        raise FrameError(f"{path}: {error}") from error
    expected, shape = ((1, *file.label_shape)[-3:] for file in (image, labels))
    if shape != expected:
        raise FrameError(
            f"{path} has {_in_words(shape)}, and {image.path} has {_in_words(expected)}. "
            "Labels have the shape of their image, without channels."
        )
    return labels


def _annotation(image: ImageFile, labels: ImageFile, data: Data, contrast_limits: npt.ArrayLike | None) -> Annotation:
    frames, source = image.frames(contrast_limits=contrast_limits), LabelFrames(labels)
    outlines = tuple(int(np.count_nonzero(np.unique(source[frame]))) for frame in range(len(source)))
    return Annotation(image.path, frames, source, image.has_frames and data != "images", outlines)


def _check_enough(annotations: Sequence[Annotation]) -> None:
    counts = [count for annotation in annotations for count in annotation.outlines if count]
    if len(counts) < MIN_FRAMES or sum(counts) < MIN_OUTLINES:
        raise FrameError(
            f"There are {sum(counts)} outlines on {len(counts)} labelled frames, and at least {MIN_OUTLINES} on "
            f"{MIN_FRAMES} are needed, to learn from some and to test on others. Annotate more, or cut a large image "
            "and its labels into pieces."
        )


def _check_numbered(annotations: Sequence[Annotation]) -> None:
    """Refuse masks of foreground and background, from which a model would learn that all objects are one."""
    labelled = ((a, frame, count) for a in annotations for frame, count in enumerate(a.outlines) if count)
    if any(count > 1 or count_pieces(a.labels[frame]) < 2 for a, frame, count in labelled):
        return
    first = annotations[0]
    value = max(int(first.labels[frame].max()) for frame in range(len(first.labels)))
    raise FrameError(
        f"The labels of {first.path} have one label, {value}, "
        "on several separate objects, and so has every labelled frame. Give each object a number of its own, as "
        "skimage.measure.label does."
    )


def _in_words(shape: tuple[int, ...]) -> str:
    frames, height, width = shape
    return f"{frames} frame{'s' * (frames != 1)} of {height} x {width} pixels"
