"""The models as the plugin and the command line see them: which there are, where they are, whether a file is sound.

Importing this module loads neither torch nor the hub's library; both come when a function is called, torch only to
verify.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2.errors import ModelError
from sam2_model.errors import Sam2Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike
    from pathlib import Path

    from sam2_model.verification import Verification


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that can be asked for by name.

    Attributes
    ----------
    name : str
        The name.
    release : str
        Generation of SAM 2 it belongs to, "2.0" or "2.1".
    size_bytes : int
        Length of its weight file.
    licence : str
        SPDX identifier of the licence of its weights.
    path : Path or None
        Where its weights lie on this disk; None if they have to be downloaded first.
    """

    name: str
    release: str
    size_bytes: int
    licence: str
    path: Path | None


def list_models() -> tuple[ModelInfo, ...]:
    """Return the models that can be asked for by name: the embedded one, then the published ones.

    Neither the network nor the files are touched, so whether a file is sound is not known yet.
    """
    from sam2_model.config import CONFIGS
    from sam2_model.registry import EMBEDDED, EMBEDDED_LICENCE, PUBLISHED, find_local

    models = []
    for name, config in CONFIGS.items():
        path = find_local(name)
        if name == EMBEDDED:
            size_bytes, licence = path.stat().st_size if path is not None else 0, EMBEDDED_LICENCE
        else:
            size_bytes, licence = PUBLISHED[name].size_bytes, PUBLISHED[name].licence
        models.append(ModelInfo(name, config.release.value, size_bytes, licence, path))
    return tuple(models)


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
    from sam2_model.download import download

    with _as_model_error():
        return download(name, progress=progress)


def verify_model(source: str | PathLike[str]) -> Verification:
    """Try a weight file, given by path or name, and report what it is and whether it can be used.

    Raises
    ------
    ModelError
        If there is no such file. Whatever is wrong with an existing file is in the report.
    """
    from sam2_model.verification import verify

    with _as_model_error():
        return verify(source)


@contextmanager
def _as_model_error() -> Iterator[None]:
    try:
        yield
    except Sam2Error as error:
        raise ModelError(str(error)) from error
