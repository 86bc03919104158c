"""Which files a path of weights stands for: one file, or a folder as the `transformers` library saves models.

Such a folder holds `config.json`, which is not read because the tensors tell the model, beside `model.safetensors`,
or beside numbered shards and `model.safetensors.index.json`, which says what lies in which.
"""

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import stat_result
from pathlib import Path

from sam2_model.errors import CheckpointError, shown
from sam2_model.strict_json import parse_json

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

_SHARDS = "model-*-of-*.safetensors"
_LONGEST_INDEX_BYTES = 16 << 20
_AGAIN = "Download the whole folder again."


@dataclass(frozen=True, slots=True)
class WeightPlace:
    """Where weights lie.

    Attributes
    ----------
    path : Path
        The file or folder that was given.
    files : tuple of Path
        The files to read, sorted by name; the path itself if that is a file.
    shard_of : mapping of str to str
        The name of the file of each tensor; empty if there is only one file.
    """

    path: Path
    files: tuple[Path, ...]
    shard_of: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the weights go by: the name of the folder, or that of the file without its ending."""
        return self.path.stem if self.files == (self.path,) else self.path.resolve().name

    @property
    def size_bytes(self) -> int:
        """Length of all files together."""
        return sum(_stat(file).st_size for file in self.files)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Raise an error if the files change inside this context.

        Raises
        ------
        CheckpointError
            If a file was replaced or written to meanwhile, whatever else went wrong because of that.
        """
        before = [_stamp(file) for file in self.files]
        problem = None
        try:
            yield
        except CheckpointError as error:
            problem = error
        if [_stamp(file) for file in self.files] != before:
            raise CheckpointError(
                f"{self.path} was changed while it was read. Try again when the program that writes it is done."
            ) from problem
        if problem is not None:
            raise problem


def place_of(path: Path) -> WeightPlace:
    """Return the files that a path stands for, without reading any but the index of a folder.

    Raises
    ------
    CheckpointError
        If nothing is there, or what is there is neither a file nor such a folder; if the index of the folder is
        damaged, a shard is missing, or a file lies outside the folder.
    """
    if not stat.S_ISDIR(_kind(path)):
        return WeightPlace(path, (path,))
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise CheckpointError(f"Cannot read the folder {path}: {error.strerror}. Check that it may be read.") from error
    if WHOLE in names:
        return WeightPlace(path, (_inside(path, WHOLE),))
    if INDEX not in names:
        raise _no_weights(path, names)
    shard_of = _read_index(path)
    shards = sorted(set(shard_of.values()))
    missing = [name for name in shards if name not in names]
    if missing:
        raise CheckpointError(f"{path} is incomplete: {', '.join(missing)} named in {INDEX} is not in it. {_AGAIN}")
    return WeightPlace(path, tuple(_inside(path, name) for name in shards), shard_of)


def _kind(path: Path) -> int:
    """Return type and permissions of a file or folder, which opens without waiting for another program."""
    mode = _stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise CheckpointError(
            f"{path} is a pipe, a device or a socket. Give a weight file (.pt or .safetensors), or the folder of one."
        )
    return mode


def _stat(path: Path) -> stat_result:
    try:
        return path.stat()
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file {path}. Check the path.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error  # a ValueError is of characters no path has
        raise CheckpointError(f"Cannot look at {shown(str(path))}: {reason}. Check the path.") from error


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    """Return what differs once a file is written to or replaced; None if it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _no_weights(folder: Path, names: set[str]) -> CheckpointError:
    others = sorted(name for name in names if name.endswith((".pt", ".pth", ".safetensors")))
    if any(folder.glob(_SHARDS)):
        return CheckpointError(f"{folder} holds shards but not {INDEX}, which says what is in which. {_AGAIN}")
    instead = f"Give the weight file in it: {', '.join(others[:5])}." if others else "Give a .pt or .safetensors file."
    return CheckpointError(f"{folder} is a folder with neither {WHOLE} nor {INDEX}. {instead}")


def _inside(folder: Path, name: str) -> Path:
    """Return a file of a folder, unless it is a link out of it. The hub's cache is made of links to a folder nearby."""
    path = folder / name
    if not stat.S_ISREG(_kind(path)):
        raise CheckpointError(f"{path} is a folder where a weight file belongs. {_AGAIN}")
    root = folder.resolve()
    places = (root, root.parent.parent / "blobs") if root.parent.name == "snapshots" else (root,)
    if path.resolve().parent not in places:
        raise CheckpointError(
            f"{path} is a link out of its folder, to {path.resolve()}. Put the file itself there, or give its path."
        )
    return path


def _read_index(folder: Path) -> dict[str, str]:
    path = _inside(folder, INDEX)
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_INDEX_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}. Check that it may be read.") from error
    if len(text) > _LONGEST_INDEX_BYTES:
        raise CheckpointError(f"{path} is longer than {_LONGEST_INDEX_BYTES >> 20} MB, so it is no index. {_AGAIN}")
    try:
        index = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}). {_AGAIN}") from error
    shard_of = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shard_of, dict) or not shard_of:
        raise CheckpointError(f"{path} names no tensors under 'weight_map'. {_AGAIN}")
    for name in shard_of.values():
        _check_shard_name(path, name)
    return shard_of


def _check_shard_name(index: Path, name: object) -> None:
    if not isinstance(name, str) or not name.endswith(".safetensors"):
        raise CheckpointError(f"{index} names {shown(name)} where a .safetensors file belongs. {_AGAIN}")
    # Of both systems: folders travel.
    if any(character in name for character in "/\\:\0"):
        raise CheckpointError(f"{index} names {shown(name)}, which is not a file of its folder. {_AGAIN}")
