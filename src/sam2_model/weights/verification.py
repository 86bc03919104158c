"""Try a weight file and report what it is, whether it is a published one, and whether it can be used."""

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import torch

from sam2_model.config import Sam2Config
from sam2_model.errors import CheckpointError
from sam2_model.weights.loading import find_weights, load_network
from sam2_model.weights.places import place_of
from sam2_model.weights.recognition import model_title
from sam2_model.weights.registry import PUBLISHED, check_genuine, note_on_name, published_name, sha256_of


@dataclass(frozen=True, slots=True)
class Verification:
    """What is known about a weight file after trying it. As a string: a few lines to show.

    Attributes
    ----------
    path : Path
        The file, or the folder.
    size_bytes : int
        Its length; of a folder, that of its weight files together.
    sha256 : str
        Its checksum; of a folder, as `registry.sha256_of` defines it.
    published_as : str or None
        The published model with exactly this checksum.
    note : str or None
        Something its user should know, though it may load.
    config : Sam2Config or None
        The model it belongs to; None if it cannot be used.
    problem : str or None
        Why it cannot be used, and what to do; None if it loads.
    """

    path: Path
    size_bytes: int
    sha256: str
    published_as: str | None = None
    note: str | None = None
    config: Sam2Config | None = None
    problem: str | None = None

    def __str__(self) -> str:
        lines = {
            "file": f"{self.path} ({self.size_bytes / 1e6:.1f} MB)",
            "SHA-256": self.sha256,
            "published": f"yes, as {self.published_as!r}" if self.published_as is not None else "no",
        }
        if self.config is not None:
            lines["model"] = f"{model_title(self.config)}, working size {self.config.image_size}"
            if not self.config.has_memory:
                lines["follows"] = "no: these weights have no memory, so they segment images and follow nothing"
        if self.note is not None:
            lines["note"] = self.note
        lines["loads"] = "yes" if self.problem is None else f"no: {self.problem}"
        return "\n".join(f"{name:10} {value}" for name, value in lines.items())


def verify(source: str | PathLike[str]) -> Verification:
    """Return what is known of a weight file or folder after trying it, given by path or by the name of a model.

    Raises
    ------
    CheckpointError
        If there is no such file, it cannot be read or changes meanwhile, or is a pipe or a device; if a folder is
        incomplete or leads out of itself; if the named weights are not on this disk. Whatever else is wrong with an
        existing file is reported, not raised.
    """
    place = place_of(find_weights(source))
    with place.unchanged():
        sha256 = sha256_of(place.path)
        note = note_on_name(place.path, sha256)
        report = Verification(place.path, place.size_bytes, sha256, published_name(sha256), note)
        try:
            if isinstance(source, str) and source in PUBLISHED:
                check_genuine(place.path, PUBLISHED[source])
            network, _ = load_network(place.path, torch.device("cpu"))
        except CheckpointError as error:
            return replace(report, problem=str(error))
        return replace(report, config=network.config)
