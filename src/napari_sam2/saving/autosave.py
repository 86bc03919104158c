"""Work is written to disk while it is done, so that a crash costs seconds of it at most, and found again afterwards.

Every workspace has a folder: a session (`sessions.storage`) that grows frame by frame, and `owner.json`, which tells
whose it is. A folder whose owner does not run any more is left-over work.
"""

from __future__ import annotations

import json
import logging
import queue
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil

from napari_sam2.errors import NapariSam2Error
from napari_sam2.files.atomic import replacing
from napari_sam2.files.limits import read_limited
from napari_sam2.files.partial import Owner, this_host
from napari_sam2.sessions.storage import DOCUMENT, read_session, write_committed, write_document, write_masks
from sam2_model.strict_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_sam2.saving.snapshot import WorkSnapshot
    from napari_sam2.sessions.document import Session
    from napari_sam2.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""Time in which changes are collected before they are written."""

KEPT = 10
"""Folders of left-over work that are kept; the oldest go."""

_OWNER = "owner.json"


@dataclass(frozen=True, slots=True)
class LeftOver:
    """Work that was not closed in an orderly way.

    Attributes
    ----------
    folder : Path
        Where it is: a session.
    session : Session
        What is in it.
    written : datetime
        When something was written last.
    """

    folder: Path
    session: Session
    written: datetime


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """What is to be written at once."""

    work: WorkSnapshot
    masks: frozenset[int]
    committed: frozenset[int]


class Autosaver:
    """Write the work in one workspace down, on a thread of its own.

    Parameters
    ----------
    work : Workspace
        The workspace.
    root : Path
        Where the folders of all workspaces are.
    take : callable
        Takes a snapshot; called on the viewer's thread.
    post : callable
        Called on any thread with a function that is to be called on the viewer's thread.
    interval_s : float
        Time in which changes are collected.

    Attributes
    ----------
    folder : Path
        Where the work is written. It is made when there is something to write.
    replaces : Path or None
        Folder of the work that this goes on from. It is deleted once this is written, not before.
    num_changes : int
        How often something may have changed.
    """

    def __init__(
        self,
        work: Workspace,
        root: Path,
        *,
        take: Callable[[], WorkSnapshot],
        post: Callable[[Callable[[], None]], None],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self.folder = root / f"{datetime.now(tz=UTC):%Y%m%d-%H%M%S}-{uuid4().hex[:8]}"
        self._work, self._take, self._post, self._interval_s = work, take, post, interval_s
        self.replaces: Path | None = None
        self.num_changes = 0
        # Work that goes on after its panel was closed is written from the beginning.
        self._masks = set(work.picture.held.frames)
        self._committed = set(range(work.grid.num_frames)) if work.committed.object_ids else set()
        self._has_news = bool(self._masks or self._committed)
        self._is_changed, self._is_over = threading.Event(), threading.Event()
        self._drafts: queue.Queue[_Draft | None] = queue.Queue()
        self._state = 0
        work.picture.masks_changed.connect(self._on_masks)
        work.committed.changed.connect(self._on_committed)
        work.changed.connect(self._on_change)
        self._thread = threading.Thread(target=self._run, name="napari-sam2 autosave", daemon=True)
        self._thread.start()
        if self._has_news:
            self._is_changed.set()

    # On the viewer's thread ------------------------------------------------------------------------------------------

    def _on_masks(self, frame: int) -> None:
        self._masks.add(frame)
        self._on_change()

    def _on_committed(self, frames: frozenset[int]) -> None:
        self._committed |= frames
        self._on_change()

    def _on_change(self, status: object = None) -> None:
        self._has_news = True
        self.num_changes += 1
        self._is_changed.set()

    def _draft(self) -> None:
        """Hand over what is to be written, unless that was done already."""
        if self._has_news and not self._is_over.is_set():
            self._drafts.put(_Draft(self._take(), frozenset(self._masks), frozenset(self._committed)))
            self._masks, self._committed = set(), set()
            self._has_news = False
            self._is_changed.set()

    def wait_until_written(self) -> None:
        """Hand over what is to be written, and wait until it is."""
        if self._has_news:
            self._draft()
        self._drafts.join()

    def close(self, *, is_kept: bool = True) -> None:
        """Write what is left to be written and stop, or drop the folder if the work is not to be kept."""
        if self._is_over.is_set():
            return
        self._work.picture.masks_changed.disconnect(self._on_masks)
        self._work.committed.changed.disconnect(self._on_committed)
        self._work.changed.disconnect(self._on_change)
        if is_kept and self._has_news:
            self._draft()
        self._is_over.set()
        self._drafts.put(None)
        self._is_changed.set()
        self._thread.join()
        if is_kept:
            (self.folder / _OWNER).unlink(missing_ok=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._drop_replaced()

    # On a thread of its own ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        masks: frozenset[int] = frozenset()
        committed: frozenset[int] = frozenset()
        while True:
            draft = self._next_draft()
            if draft is None:
                return
            # What could not be written is tried again with what comes next.
            masks, committed = masks | draft.masks, committed | draft.committed
            try:
                self._write(_Draft(draft.work, masks, committed))
                masks = committed = frozenset()
            except Exception as error:  # noqa: BLE001  the boundary of the thread
                # Work goes on without it: a full disk must not stop anybody.
                logger.warning("The work could not be written to %s (%s).", self.folder, error)
            finally:
                self._drafts.task_done()

    def _next_draft(self) -> _Draft | None:
        """Wait until something has changed, ask for a draft and give it; None means that the work is over."""
        while True:
            self._is_changed.wait()
            with suppress(queue.Empty):
                return self._drafts.get_nowait()
            self._is_changed.clear()
            if self._drafts.empty():  # none was handed over between the last two lines
                self._is_over.wait(self._interval_s)
                if not self._is_over.is_set():
                    self._post(self._draft)

    def _write(self, draft: _Draft) -> None:
        if not draft.work.is_empty or self.folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _claim(self.folder)
            # Nothing of this counts before the document is there, and nothing of the last state goes before that.
            self._state += 1
            for frame in sorted(draft.masks):
                write_masks(self.folder, frame, draft.work.masks_on(frame), state=self._state)
            for frame in sorted(draft.committed):
                write_committed(self.folder, frame, draft.work.committed[frame], state=self._state)
            write_document(self.folder, draft.work.session(), state=self._state)
            self._drop_replaced()

    def _drop_replaced(self) -> None:
        if self.replaces is not None:
            shutil.rmtree(self.replaces, ignore_errors=True)
            self.replaces = None


# What is left over ---------------------------------------------------------------------------------------------------


def left_over(root: Path) -> tuple[LeftOver, ...]:
    """Find work of viewers that do not run any more, the newest first. What cannot be read is passed over."""
    found = []
    for document in root.glob(f"*/{DOCUMENT}"):
        folder = document.parent
        if _is_owned(folder):
            continue
        try:
            session = read_session(folder)
        except NapariSam2Error as error:
            logger.warning("Left-over work cannot be read: %s", error)
            continue
        written = datetime.fromtimestamp(document.stat().st_mtime, tz=UTC)
        found.append(LeftOver(folder, session, written))
    return tuple(sorted(found, key=lambda one: one.written, reverse=True))


def discard(work: LeftOver) -> None:
    """Drop left-over work for good."""
    shutil.rmtree(work.folder, ignore_errors=True)


def prune(root: Path, kept: int = KEPT) -> None:
    """Drop all but the newest folders of left-over work."""
    for work in left_over(root)[kept:]:
        discard(work)


def _claim(folder: Path) -> None:
    path = folder / _OWNER
    if not path.exists():
        me = psutil.Process()
        with replacing(path) as partial:
            partial.write_text(json.dumps({"host": this_host(), "pid": me.pid, "started": me.create_time()}))


def _is_owned(folder: Path) -> bool:
    """Whether the process that writes there still runs; another one may have been given its number.

    Of a process on another machine that shares the folder nobody here can know: it may.
    """
    try:
        owner: Any = parse_json(read_limited(folder / _OWNER))
        return Owner(owner.get("host", this_host()), owner["pid"], int(owner["started"] * 1e9)).is_running
    except (OSError, ArithmeticError, ValueError, KeyError, TypeError, AttributeError):
        return False
