"""Try a weight file and report what it is, whether it is a published one, and whether it can be used."""

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import torch

from sam2_model.checkpoints import find_weights, load_network
from sam2_model.config import Sam2Config
from sam2_model.errors import CheckpointError
from sam2_model.recognition import model_title
from sam2_model.registry import PUBLISHED, check_genuine, note_on_name, published_as, sha256_of


@dataclass(frozen=True, slots=True)
class Verification:
    """What is known about a weight file after trying it. As a string: a few lines to show.

    Attributes
    ----------
    path : Path
        The file.
    size_bytes : int
        Its length.
    sha256 : str
        Its checksum.
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
        if self.note is not None:
            lines["note"] = self.note
        lines["loads"] = "yes" if self.problem is None else f"no: {self.problem}"
        return "\n".join(f"{name:10} {value}" for name, value in lines.items())


def verify(source: str | PathLike[str]) -> Verification:
    """Try a weight file, given by path or by the name of a model.

    Raises
    ------
    CheckpointError
        If there is no such file or the named weights are not on this disk. Whatever is wrong with an existing file is
        reported, not raised.
    """
    path = find_weights(source)
    sha256 = sha256_of(path)
    report = Verification(path, path.stat().st_size, sha256, published_as(sha256), note_on_name(path, sha256))
    try:
        if isinstance(source, str) and source in PUBLISHED:
            check_genuine(path, PUBLISHED[source])
        network, _ = load_network(path, torch.device("cpu"))
    except CheckpointError as error:
        return replace(report, problem=str(error))
    return replace(report, config=network.config)
