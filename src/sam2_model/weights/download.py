"""Fetch published weights: with progress, resumed when the line breaks, and checked before they get their final name.

The hub's own `hf_hub_download` is not used because it cannot be stopped: over its default transport an exception raised
from the progress callback is swallowed and the whole file arrives anyway. Its addresses, session (proxies,
certificates, `HF_HUB_OFFLINE`) and folders are.
"""

import glob
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from huggingface_hub import get_session

from sam2_model.errors import CheckpointError, DownloadError, Sam2Error
from sam2_model.weights.registry import (
    EMBEDDED,
    PublishedWeights,
    check_genuine,
    default_cache_dir,
    embedded_path,
    find_local,
    published_weights,
)

Progress = Callable[[int, int], None]
"""Called with the bytes received so far and the bytes in total; whatever it raises stops the download."""

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0
_WAITS_S = (0.0, 1.0, 5.0)
"""Pauses before a broken download is resumed; as many attempts in a row that bring less than a megabyte end it."""

_LEAST_BYTES, _PERIOD_S = 1 << 16, 60.0
"""What must arrive in which time. A server that sends a byte now and then never runs into the timeout."""

_ABANDONED_S = 3600.0
"""A partial file that was not written to for so long is abandoned: no download that runs is slow for so long."""


class _LineBrokenError(Exception):
    """The connection failed; the same request may work in a moment."""


def download(
    model: str | PublishedWeights,
    *,
    progress: Progress | None = None,
    cache_dir: Path | None = None,
    endpoint: str | None = None,
) -> Path:
    """Return the file of a model's published weights, downloaded unless it is on this disk already.

    Parameters
    ----------
    model : str or PublishedWeights
        Name of a model, or a registry entry.
    progress : callable, optional
        Called with (bytes received, bytes in total) for every megabyte; raise from it to cancel.
    cache_dir : Path, optional
        Folder to keep the file in; by default `registry.default_cache_dir()`.
    endpoint : str, optional
        Address of a mirror of the hub; by default the one `HF_ENDPOINT` names, or the hub itself.

    Returns
    -------
    Path
        The file, of the published size and SHA-256.

    Raises
    ------
    ConfigError
        If there is no such model.
    DownloadError
        If the file cannot be fetched or stored, or hardly anything arrives for a minute; nothing is left half-written.
    CheckpointError
        If what arrives is not the published file; it is thrown away. No more is ever read than was published.

    Notes
    -----
    Several downloads of one model do not disturb each other: each writes a file of its own, made with a name that
    nobody knows before, and the last one done gives it the final name. What killed downloads left is removed after an
    hour.
    """
    if model == EMBEDDED:
        return embedded_path()
    weights = published_weights(model) if isinstance(model, str) else model
    present = find_local(weights, cache_dir=cache_dir)
    if present is not None and _is_genuine(present, weights):
        return present
    target = (cache_dir or default_cache_dir()) / weights.filename
    _make_room(target.parent, weights)
    url = weights.url(endpoint)
    _remove_abandoned(target)
    partial = target.with_name(f"{target.name}.{uuid4().hex[:8]}.partial")
    try:
        with _created(partial) as file:
            sha256 = _receive(url, file, weights, progress)
        _check_received(sha256, weights, url)
        _move(partial, target, weights)
    except _LineBrokenError as error:
        raise DownloadError(
            f"Could not download {weights.name!r} ({weights.title}) from {url}: {error}. Check the network and try "
            f"again, or fetch that address with a browser and put the file at {target}."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return target


def _is_genuine(path: Path, weights: PublishedWeights) -> bool:
    try:
        check_genuine(path, weights)
    except CheckpointError:
        return False
    return True


def _make_room(folder: Path, weights: PublishedWeights) -> None:
    """Refuse before the first byte if the folder cannot be made or the disk cannot hold the file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        raise DownloadError(
            f"Cannot create the folder {folder}: {error.strerror}. Set HF_HOME to a folder that may be written."
        ) from error
    if not writable:
        raise DownloadError(f"The folder {folder} may not be written. Set HF_HOME to one that may.")
    if free < weights.size_bytes:
        raise DownloadError(
            f"The disk of {folder} has {free / 1e6:.0f} MB left; {weights.name!r} needs {weights.size_bytes / 1e6:.0f} "
            "MB. Free some space, or set HF_HOME to a folder on another disk."
        )


def _remove_abandoned(target: Path) -> None:
    """Remove what downloads of the same file that were killed have left."""
    for stray in target.parent.glob(f"{glob.escape(target.name)}.*.partial"):
        with suppress(OSError):  # gone, or somebody else's
            if time.time() - stray.lstat().st_mtime > _ABANDONED_S:
                stray.unlink()


def _created(partial: Path) -> BinaryIO:
    try:
        # Exclusively: a link that was put there is not followed. Unbuffered: closing has nothing left to write.
        return partial.open("xb", buffering=0)
    except OSError as error:
        raise DownloadError(
            f"Cannot write {partial}: {error.strerror}. Set HF_HOME to a folder that may be written."
        ) from error


def _move(partial: Path, target: Path, weights: PublishedWeights) -> None:
    try:
        os.replace(partial, target)
    except OSError as error:
        # Where open files cannot be replaced, somebody may be reading what another download has put there.
        if not target.is_file() or not _is_genuine(target, weights):
            raise DownloadError(
                f"Cannot put the weights at {target}: {error.strerror}. Move away what is there, and try again."
            ) from error


def _receive(url: str, file: BinaryIO, weights: PublishedWeights, progress: Progress | None) -> str:
    """Write the body at an address to a file and return its SHA-256, taking up the thread when the line breaks."""
    digest, received, failures = hashlib.sha256(), 0, 0
    while True:
        before = received
        try:
            with closing(_stream(url, received, weights)) as chunks:
                for chunk in chunks:
                    # No more than was published, whatever a server goes on to send; the checksum tells if it is that.
                    wanted = chunk[: weights.size_bytes - received]
                    _write(file, wanted)
                    digest.update(wanted)
                    received += len(wanted)
                    if progress is not None:
                        progress(received, weights.size_bytes)
                    if received == weights.size_bytes:
                        return digest.hexdigest()
            raise _LineBrokenError(f"the server stopped after {received:,} of {weights.size_bytes:,} bytes")
        except _LineBrokenError:
            failures = 0 if received - before >= _CHUNK_BYTES else failures + 1
            if received == 0 or failures == len(_WAITS_S):
                raise
            time.sleep(_WAITS_S[failures])


def _stream(url: str, start: int, weights: PublishedWeights) -> Generator[bytes, None, None]:
    """Yield the body at an address from a byte onwards.

    Raises
    ------
    _LineBrokenError
        If the connection fails or the server is out of order.
    DownloadError
        If the server does not give the file.
    CheckpointError
        If the server offers a file of another size.
    """
    # Without compression the length announced is the length of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT_S, follow_redirects=True) as response:
            _check_status(response.status_code, url, weights)
            offset = start if response.status_code == 206 else 0
            announced = response.headers.get("Content-Length", "")
            if announced.isdigit() and offset + int(announced) != weights.size_bytes:
                raise _not_published(weights, url, f"it is {offset + int(announced):,} bytes long")
            for chunk in _megabytes(response.iter_bytes()):
                # A server that ignores the range sends again what is here already.
                skip = min(max(start - offset, 0), len(chunk))
                offset += len(chunk)
                if chunk[skip:]:
                    yield chunk[skip:]
    except Sam2Error:
        raise
    except Exception as error:
        # The session's transport differs between versions of the hub's library and so do its exceptions, which have
        # no base in common; all of them mean the same here.
        raise _LineBrokenError(str(error) or type(error).__name__) from error


def _megabytes(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what arrives in pieces of about a megabyte.

    Raises
    ------
    _LineBrokenError
        If hardly anything arrives.
    """
    joined, since, arrived = bytearray(), time.monotonic(), 0
    try:
        for piece in pieces:
            joined += piece
            arrived += len(piece)
            now = time.monotonic()
            if now - since > _PERIOD_S:
                if arrived < _LEAST_BYTES:
                    raise _LineBrokenError(f"only {arrived:,} bytes arrived in {now - since:.0f} seconds")
                since, arrived = now, 0
            if len(joined) >= _CHUNK_BYTES:
                yield bytes(joined)
                joined.clear()
    except Exception:
        yield bytes(joined)  # what arrived before the line broke need not come again
        raise
    if joined:
        yield bytes(joined)


def _check_status(status: int, url: str, weights: PublishedWeights) -> None:
    if status in (200, 206):
        return
    if status == 429 or status >= 500:
        raise _LineBrokenError(f"the server answered {status}")
    raise DownloadError(
        f"{url} answered {status}, so {weights.name!r} cannot be had there. If HF_ENDPOINT is set, check it; otherwise "
        "fetch the file elsewhere and give its path as the model."
    )


def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        rest = memoryview(chunk)
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise DownloadError(f"Cannot write {file.name}: {error.strerror}. Free some space and try again.") from error


def _check_received(sha256: str, weights: PublishedWeights, url: str) -> None:
    if sha256 != weights.sha256:
        raise _not_published(weights, url, f"its SHA-256 is {sha256[:16]}… instead of {weights.sha256[:16]}…")


def _not_published(weights: PublishedWeights, url: str, difference: str) -> CheckpointError:
    return CheckpointError(
        f"What {url} sends is not the published {weights.name!r} ({weights.title}): {difference}. It was thrown away. "
        "Try again; if it happens twice, a proxy or mirror is changing the file."
    )
