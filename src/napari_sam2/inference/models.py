"""The models as the plugin and the command line see them: which there are, where they are, whether a file is sound.

Importing this module loads neither torch nor the hub's library; both come when a function is called, torch only to
verify a file.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.errors import ModelError
from sam2_model.config import LARGEST_WHOLE
from sam2_model.errors import Sam2Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike

    from sam2_model.config import Sam2Config
    from sam2_model.weights.verification import Verification

NANO_SIZES = (256, 512, 1024)
"""Working sizes of `nano` and what is fine-tuned from it: the smallest that covers the image is taken."""

CROP_PX = 512
"""Side of the crops of large frames; of a model that has a single working size, it is that."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that can be asked for.

    Attributes
    ----------
    name : str
        Name in the registry, or name of the file or folder.
    release : str
        Generation of SAM 2 it belongs to, "2.0" or "2.1"; empty for a file that was not opened yet, and for weights
        without memory, which do not show it.
    size_bytes : int
        Length of its weight file, or of all files in its folder of weights.
    licence : str
        SPDX identifier of the licence of its weights; empty for a file, which has none.
    path : Path or None
        Where its weights lie on this disk; None if they have to be downloaded first.
    working_sizes : tuple of int
        Sides in pixels of the working image among which "auto" chooses, from the smallest; none for a file that was
        not opened yet.
    is_embedded : bool
        Whether it is part of the package.
    """

    name: str
    release: str
    size_bytes: int
    licence: str
    path: Path | None
    working_sizes: tuple[int, ...]
    is_embedded: bool = False

    def working_size(self, height: int, width: int) -> int:
        """Longer side in pixels of the working image of a frame of this size, or of its crops if it is large."""
        return automatic_size(self.working_sizes, height, width)


def automatic_size(sizes: tuple[int, ...], height: int, width: int) -> int:
    """Return the working size of a frame: the smallest of some ascending ones that covers it, or the largest.

    Of a frame that is seen in crops, it is their side.
    """
    longest = max(height, width)
    if longest > LARGEST_WHOLE:
        return next((size for size in sizes if size >= CROP_PX), sizes[-1])
    return smallest_covering(sizes, height, width)


def smallest_covering(sizes: tuple[int, ...], height: int, width: int) -> int:
    """Return the smallest of some ascending working sizes that covers a frame, or the largest."""
    return next((size for size in sizes if size >= max(height, width)), sizes[-1])


def list_models() -> tuple[ModelInfo, ...]:
    """Return the models that can be asked for by name: the embedded one, then the published ones.

    Neither the network nor the files are touched, so whether a file is sound is not known yet.
    """
    from sam2_model.config import CONFIGS
    from sam2_model.weights.registry import EMBEDDED, EMBEDDED_LICENCE, PUBLISHED, find_local

    models = []
    for name, config in CONFIGS.items():
        path = find_local(name)
        if name == EMBEDDED:
            size_bytes, licence = path.stat().st_size if path is not None else 0, EMBEDDED_LICENCE
        else:
            size_bytes, licence = PUBLISHED[name].size_bytes, PUBLISHED[name].licence
        sizes = working_sizes(config)
        models.append(
            ModelInfo(name, config.release.value, size_bytes, licence, path, sizes, is_embedded=name == EMBEDDED)
        )
    return tuple(models)


def working_sizes(config: Sam2Config) -> tuple[int, ...]:
    """Return the working sizes, ascending, among which "auto" chooses."""
    from sam2_model.config import NANO

    return NANO_SIZES if config.trunk == NANO.trunk else (config.image_size,)


def download_model(name: str, progress: Callable[[int, int], None] | None = None) -> Path:
    """Fetch the weights of a model and check them, unless they are on this disk already.

    Parameters
    ----------
    name : str
        Name of a model.
    progress : callable, optional
        Called with (bytes received, bytes in total); raise from it to cancel.

    Returns
    -------
    Path
        The weight file.

    Raises
    ------
    ModelError
        If there is no such model, or its weights cannot be fetched or are not what was published. Nothing is left
        half-written.
    """
    from sam2_model.weights.download import download

    with _as_model_error():
        return download(name, progress=progress)


def verify_model(source: str | PathLike[str]) -> Verification:
    """Try a weight file or folder, given by path or name, and report what it is and whether it can be used.

    Raises
    ------
    ModelError
        If there is no such file, or it is nothing that can be read, such as a pipe. Whatever is wrong with an existing
        file is in the report.
    """
    from sam2_model.config import CONFIGS
    from sam2_model.weights.places import place_of

    with _as_model_error():
        if source not in CONFIGS and os.path.lexists(source):
            place_of(Path(source))  # what cannot be read is refused at once; torch takes seconds to load

        from sam2_model.weights.verification import verify

        return verify(source)


def find_model(source: str | Path) -> ModelInfo:
    """Return what is known of a model without opening its file.

    Raises
    ------
    ModelError
        If there is neither such a name nor such a file or folder of weights.
    """
    from sam2_model.weights.places import place_of

    for info in list_models():
        if info.name == source:
            return info
    path = Path(source)
    with _as_model_error():
        return ModelInfo(path.name, "", place_of(path).size_bytes, "", path, ())


def check_model(source: str | Path) -> ModelInfo:
    """Try a model, given by name or path, and return what it is.

    Raises
    ------
    ModelError
        If it is not there or cannot be used.
    """
    found = verify_model(source)
    if found.config is None:
        raise ModelError(found.problem or f"{found.path} cannot be used.")
    info = find_model(source)
    release = found.config.release.value if found.config.has_memory else ""
    return replace(info, release=release, working_sizes=working_sizes(found.config))


@contextmanager
def _as_model_error() -> Iterator[None]:
    try:
        yield
    except Sam2Error as error:
        raise ModelError(str(error)) from error
