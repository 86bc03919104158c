"""The models known by name: where their weights are published, what they must be, and where they lie on this disk.

Nothing here touches the network. Meta publishes no checksums with its weights; those below agree in several
independent places.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache

from sam2_model.config import Release
from sam2_model.errors import CheckpointError, ConfigError
from sam2_model.weights.places import place_of

EMBEDDED = "nano"
"""The model whose weights are part of the package."""

EMBEDDED_LICENCE = "BSD-3-Clause"

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """One published weight file, as it must be to the last byte.

    Attributes
    ----------
    name : str
        Name of the model, a key of `sam2_model.config.CONFIGS`.
    repo_id : str
        Repository on the Hugging Face hub.
    filename : str
        File in that repository; no two models share one.
    size_bytes : int
        Length of the file.
    sha256 : str
        Checksum of the file, 64 lower-case hexadecimal digits.
    release : Release
        Generation the weights belong to.
    licence : str
        SPDX identifier of the licence Meta gives them.
    """

    name: str
    repo_id: str
    filename: str
    size_bytes: int
    sha256: str
    release: Release
    licence: str = "Apache-2.0"

    @property
    def title(self) -> str:
        """Model, generation and size, as a message names them."""
        size = self.name.removesuffix(f"-{self.release.value}")
        return f"SAM {self.release.value} {size}, {self.size_bytes / 1e6:.0f} MB"

    def url(self, endpoint: str | None = None) -> str:
        """Address of the file on the hub, or on a mirror of it."""
        return hf_hub_url(self.repo_id, self.filename, endpoint=endpoint)


def _table() -> dict[str, PublishedWeights]:
    rows = (
        (Release.V2_1, "tiny", 156_008_466, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
        (Release.V2_1, "small", 184_416_285, "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
        (Release.V2_1, "base-plus", 323_606_802, "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"),
        (Release.V2_1, "large", 898_083_611, "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
        (Release.V2_0, "tiny", 155_906_050, "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125"),
        (Release.V2_0, "small", 184_309_650, "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3"),
        (Release.V2_0, "base-plus", 323_493_298, "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071"),
        (Release.V2_0, "large", 897_952_466, "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b"),
    )
    table = {}
    for release, size, size_bytes, sha256 in rows:
        generation = "sam2.1" if release is Release.V2_1 else "sam2"
        name = size if release is Release.V2_1 else f"{size}-2.0"
        filename = f"{generation}_hiera_{size.replace('-', '_')}.pt"
        table[name] = PublishedWeights(
            name, f"facebook/{generation}-hiera-{size}", filename, size_bytes, sha256, release
        )
    return table


PUBLISHED: Mapping[str, PublishedWeights] = MappingProxyType(_table())
"""Meta's eight files by model name, release 2.1 first."""


def published_weights(name: str) -> PublishedWeights:
    """Return the published weights of a model.

    Raises
    ------
    ConfigError
        If nothing is published under that name; the message lists the names there are.
    """
    if name not in PUBLISHED:
        raise ConfigError(f"No weights are published as {name!r}. Choose one of: {', '.join(PUBLISHED)}.")
    return PUBLISHED[name]


def embedded_path() -> Path:
    """Return where the embedded weights lie inside the installed package."""
    return Path(__file__).parent / f"{EMBEDDED}.safetensors"


def default_cache_dir() -> Path:
    """Return the folder downloads are kept in, beside the hub's own cache (`HF_HOME` moves both)."""
    return Path(constants.HF_ASSETS_CACHE) / "napari-sam2"


def find_local(model: str | PublishedWeights, *, cache_dir: Path | None = None) -> Path | None:
    """Return where the weights of a model are on this disk, without the network and without opening them.

    Parameters
    ----------
    model : str or PublishedWeights
        Name of a model, or a registry entry.
    cache_dir : Path, optional
        The only folder to look in. By default our own, then the hub's cache, which other programs fill too.

    Returns
    -------
    Path or None
        The file, whose checksum has yet to be compared; None if the weights have not been fetched.

    Raises
    ------
    ConfigError
        If there is no such model.
    """
    if model == EMBEDDED:
        return embedded_path() if embedded_path().is_file() else None
    weights = published_weights(model) if isinstance(model, str) else model
    own = (cache_dir or default_cache_dir()) / weights.filename
    if own.is_file():
        return own
    if cache_dir is not None:
        return None
    shared = try_to_load_from_cache(weights.repo_id, weights.filename)
    # The third answer, besides a path and None, is a marker for "known not to exist on the hub".
    return Path(shared) if isinstance(shared, str) else None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a weight file as 64 lower-case hexadecimal digits.

    That of a folder as the `transformers` library saves models is that of its weight files joined end to end, in order
    of their names: with one file, that file's own. Index and configuration are not part of it.

    Raises
    ------
    CheckpointError
        If a file cannot be read, or the folder is not such a folder.
    """
    digest = hashlib.sha256()
    for part in place_of(path).files:
        try:
            with part.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise CheckpointError(f"Cannot read {part}: {error.strerror}. Check that it may be read.") from error
    return digest.hexdigest()


def published_name(sha256: str) -> str | None:
    """Return the model whose published file has this checksum, if there is one."""
    return next((weights.name for weights in PUBLISHED.values() if weights.sha256 == sha256), None)


def note_on_name(path: Path, sha256: str) -> str | None:
    """Return what to say about a file that is named like a published one and is not it; None about any other."""
    namesake = next((weights for weights in PUBLISHED.values() if weights.filename == path.name), None)
    if namesake is None or namesake.sha256 == sha256:
        return None
    return (
        f"{path.name} is named like the published {namesake.name!r} but has another SHA-256: it is a fine-tune that "
        "kept the name, or it was changed."
    )


def check_genuine(path: Path, weights: PublishedWeights) -> str:
    """Return the checksum of a file that is the published one, compared before anybody opens it.

    Returns
    -------
    str
        Its SHA-256.

    Raises
    ------
    CheckpointError
        If the length or the checksum differs, or the file cannot be read.
    """
    sha256 = sha256_of(path)
    size = path.stat().st_size
    if size != weights.size_bytes:
        problem = f"has {size:,} bytes where the published file has {weights.size_bytes:,}"
    elif sha256 != weights.sha256:
        problem = f"has SHA-256 {sha256[:16]}… where the published file has {weights.sha256[:16]}…"
    else:
        return sha256
    raise CheckpointError(
        f"{path} is not the published {weights.name!r} ({weights.title}): it {problem}. It was damaged or changed, and "
        f"was not opened. Delete it and run `napari-sam2 models download {weights.name}`; if it is a fine-tune of "
        "yours, give its path instead of the name."
    )
