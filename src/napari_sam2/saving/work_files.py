"""Work in files: written down while it is done, saved, opened again, exported. Over a workbench; no Qt."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from platformdirs import user_data_path
from psygnal import Signal

from napari_sam2.errors import NapariSam2Error, SessionError
from napari_sam2.files.results_folder import LabelFormat
from napari_sam2.inference.background import BackgroundJob, Failed, Reported, Returned
from napari_sam2.inference.time_left import Pace
from napari_sam2.layers.source_axes import axes_to_say
from napari_sam2.layers.tracks import measure_positions, new_tracks_layer, track_table
from napari_sam2.saving.autosave import Autosaver, discard, left_over, prune
from napari_sam2.saving.exporting import export_of, shown_ids
from napari_sam2.saving.snapshot import restore, snapshot
from napari_sam2.sessions.document import Exported
from napari_sam2.sessions.storage import read_session
from napari_sam2.workspace.sentences import error_sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from napari.layers import Image

    from napari_sam2.files.results_folder import ExportedFiles
    from napari_sam2.inference.background import Event
    from napari_sam2.layers.planes import MergedLabels
    from napari_sam2.saving.autosave import LeftOver
    from napari_sam2.saving.snapshot import WorkSnapshot
    from napari_sam2.sessions.images import ImageUsed
    from napari_sam2.workbench.choices import Choices
    from napari_sam2.workbench.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace


T = TypeVar("T")


def autosave_root() -> Path:
    """Folder of this user in which work is written down."""
    return user_data_path("napari-sam2", appauthor=False) / "autosave"


class WorkFiles:
    """Everything about files that the panel offers for the work on its images.

    Parameters
    ----------
    bench : Workbench
        Whose work it is.
    post : callable
        Called on any thread with a function that is to be called on the viewer's thread.
    root : Path, optional
        Where work is written down while it is done; `autosave_root()` when omitted.

    Attributes
    ----------
    left_over : tuple of LeftOver
        Work of earlier viewers that ended without saving it, the newest first.
    message : str
        What was done last, or why it could not be done, in a sentence.
    is_problem : bool
        Whether it could not be done.
    progress : (int, int) or None
        Frames that are done, and all frames, while something is being exported.
    seconds_left : float or None
        How long that takes yet; None if that is not known.
    pace : Pace
        How fast it goes.
    """

    changed = Signal()
    """Something there is to show has changed."""

    said = Signal()
    """There is another message, which may read like the one before."""

    def __init__(
        self, bench: Workbench, *, post: Callable[[Callable[[], None]], None], root: Path | None = None
    ) -> None:
        self.bench = bench
        self.message = ""
        self.is_problem = False
        self.progress: tuple[int, int] | None = None
        self.seconds_left: float | None = None
        self.pace = Pace()
        self._post = post
        self._root = root or autosave_root()
        self._savers: dict[int, Autosaver] = {}
        self._job: BackgroundJob[tuple[int, int], Any] | None = None
        self._saved: dict[Autosaver, int] = {}
        prune(self._root)
        self.left_over = left_over(self._root)
        bench.begun.connect(self._on_begun)
        bench.ended.connect(self._on_ended)
        bench.closed.connect(self._on_closed)
        if bench.workspace is not None:
            self._on_begun(bench.workspace)

    # While one works -------------------------------------------------------------------------------------------------

    def _on_begun(self, work: Workspace) -> None:
        self._savers[id(work)] = Autosaver(
            work, self._root, take=lambda: snapshot(work, self.bench.choices), post=self._post
        )
        if work.written is not None:
            # It goes on after its panel was closed, and is written down once more: nobody is asked about it.
            self._savers[id(work)].replaces = work.written
            self.left_over = tuple(one for one in self.left_over if one.folder != work.written)

    def _on_ended(self, work: Workspace) -> None:
        saver = self._savers.pop(id(work))
        is_saved = self._saved.pop(saver, -1) == saver.num_changes
        saver.close(is_kept=not is_saved)
        work.written = None if is_saved else saver.folder

    def _on_closed(self) -> None:
        if self._job is not None:
            self._job.drop()
        self.changed.disconnect()
        self.said.disconnect()

    # Left-over work --------------------------------------------------------------------------------------------------

    def take_up(self, work: LeftOver) -> None:
        """Go on with left-over work; it is dropped once it is written down anew."""
        if self.open(work.folder) and self.bench.workspace is not None:
            self._savers[id(self.bench.workspace)].replaces = work.folder
            self._forget(work)

    def put_off(self) -> None:
        """Offer left-over work no more until the next start; it stays."""
        self.left_over = ()
        self.changed.emit()

    def discard(self, work: LeftOver) -> None:
        """Drop left-over work for good."""
        discard(work)
        self._forget(work)

    def _forget(self, work: LeftOver) -> None:
        self.left_over = tuple(one for one in self.left_over if one is not work)
        self.changed.emit()

    # Sessions --------------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Save the work as a session; a file that is there is replaced."""
        work = self.bench.workspace
        if work is None:
            self._complain("There is no work to save. Open an image first.")
            return
        taken = snapshot(work, self.bench.choices)
        saver = self._savers[id(work)]
        saved_at = saver.num_changes

        def remember(_: None) -> str:
            self._saved[saver] = saved_at
            return f"Saved as {path}."

        self._run(lambda report: _with_axes(taken).write(path, overwrite=True), remember)

    def open(self, path: Path) -> bool:
        """Go on with a session, in the image it is of, which is opened if need be; return whether that was possible."""
        try:
            used = read_session(path).image
            image = self._image_of(used)
            self.bench.choose(image)
            if self.bench.workspace is not None and self.bench.workspace.grid.level != used.level:
                self.bench.use_level(used.level)
            work = self.bench.workspace
            if work is None:
                raise SessionError(self.bench.message)
            if work.asker.prompts or work.picture.held or work.committed.object_ids:
                raise SessionError(
                    f"Work on {image.name!r} has begun already. Save it, remove its layers and press Start; then open "
                    "the session."
                )
            self._adopt(restore(work, path))
        except NapariSam2Error as error:
            self._complain(str(error))
            return False
        self._say(f"Went on with the work on {image.name!r}.")
        return True

    def _adopt(self, stored: Choices) -> None:
        """Choose again what was chosen when a session was recorded; the device is that of this machine."""
        now = self.bench.choices
        model = now.model if str(now.model) == stored.model else stored.model
        # What is seen of the masks is chosen for the panel, not for the work.
        stored = replace(stored, hides_doubtful=now.hides_doubtful, look=now.look)
        self.bench.use_choices(replace(stored, model=model, device=now.device))
        self.bench.choices_changed.emit()

    def _image_of(self, used: ImageUsed) -> Image:
        """Find the image of a session among those that are open, or open it."""
        for image in reversed(self.bench.images()):
            path = image.source.path
            is_same_file = used.path is not None and path is not None and Path(path).resolve() == used.path.resolve()
            if is_same_file or (used.path is None and image.name == used.name):
                return image
        if used.path is None or not used.path.exists():
            where = "It came from no file" if used.path is None else f"There is no {used.path} any more"
            raise SessionError(f"The session is of image {used.name!r}. {where}: open that image, then the session.")
        before = self.bench.images()
        try:
            self.bench.viewer.open(used.path)
        except Exception as error:  # readers are plugins, and raise what they like
            raise SessionError(
                f"The session is of image {used.name!r}, and napari cannot open {used.path} "
                f"({type(error).__name__}: {error}). Open that image, then the session."
            ) from error
        opened = [image for image in self.bench.images() if image not in before]
        if not opened:
            raise SessionError(f"{used.path} was opened, and holds no image.")
        return next((image for image in opened if image.name == used.name), opened[0])

    # Results ---------------------------------------------------------------------------------------------------------

    def can_export(self) -> bool:
        """Whether there is an object to export; if not, that is said."""
        work = self.bench.workspace
        if work is not None and (work.committed.object_ids or shown_ids(work) or work.asker.prompts):
            return True
        self._complain(
            "There is nothing to export. Open an image first."
            if work is None
            else "There is nothing to export yet. Click an object, drag a box or paint a mask first."
        )
        return False

    def proposed_folder(self) -> str:
        """Folder in which to begin to look for one to export to: that of the last export, else that of the image."""
        work = self.bench.workspace
        if work is None:
            return ""
        if work.exported is not None:
            return work.exported.folder
        path = work.image.source.path
        return "" if path is None else str(Path(path).absolute().parent)

    def export(self, folder: Path, label_format: LabelFormat = LabelFormat.TIFF, *, overwrite: bool = False) -> None:
        """Write all objects, committed and shown, with tables and prompts to a folder.

        What the model is still answering is waited for.

        Parameters
        ----------
        folder : Path
            The folder.
        label_format : LabelFormat
            Format of the labels.
        overwrite : bool
            Whether files of an earlier export may be replaced.
        """
        work = self.bench.workspace
        if work is None:
            self._complain("There is nothing to export. Open an image first.")
        else:
            work.asker.when_answered(lambda: self._export(work, folder, label_format, overwrite=overwrite))

    def _export(self, work: Workspace, folder: Path, label_format: LabelFormat, *, overwrite: bool) -> None:
        try:
            write = export_of(work, self.bench.choices.policy, folder, label_format, overwrite=overwrite)
        except NapariSam2Error as error:
            self._complain(str(error))
            return

        def remember(done: tuple[ExportedFiles, str]) -> str:
            written, sentence = done
            self._note_export(work, written.folder, sentence)
            return sentence

        self._run(write, remember)

    def _note_export(self, work: Workspace, folder: Path, sentence: str) -> None:
        """Write down that work was exported, which changes nothing of what a saved session has."""
        saver = self._savers.get(id(work))
        is_saved = saver is not None and self._saved.get(saver) == saver.num_changes
        work.exported = Exported(str(folder.absolute()), datetime.now(tz=UTC))
        work.asker.tell(sentence)
        if saver is not None and is_saved:
            self._saved[saver] = saver.num_changes

    def add_tracks(self) -> None:
        """Add a Tracks layer: where every object is on every frame, coloured by confidence."""
        work = self.bench.workspace
        if work is None:
            return
        array, grid, scores = self._merged(work), work.grid, work.committed.all_scores(work.picture)

        def measure(report: Callable[[tuple[int, int]], None]) -> pd.DataFrame:
            positions = []
            for number, of_frame in enumerate(measure_positions(array, grid), 1):
                positions.append(of_frame)
                report((number, grid.num_frames))
            return track_table(positions, scores)

        def add(table: pd.DataFrame) -> str:
            active = work.viewer.layers.selection.active
            work.viewer.add_layer(new_tracks_layer(work.image, grid, table))
            work.viewer.layers.selection.active = active  # the keys are those of our layers
            return "Added the tracks of all objects."

        self._run(measure, add)

    def _merged(self, work: Workspace) -> MergedLabels:
        return work.committed.merged_with(work.picture, self.bench.choices.policy, work.objects.notes.locked)

    def cancel(self) -> None:
        """Stop exporting; what is written stays under its unfinished name."""
        if self._job is not None:
            self._job.drop()
            self._job = None
            self.progress = None
            self._say("Cancelled.")

    # In the background -----------------------------------------------------------------------------------------------

    def _run(self, job: Callable[[Callable[[tuple[int, int]], None]], T], receive: Callable[[T], str]) -> None:
        """Do something that takes its time on a thread of its own; who receives the result says what was done."""
        if self._job is not None:
            self._complain("Something is being written already. Wait for it, or cancel it.")
            return

        self.progress, self.seconds_left = (0, 0), None
        self.pace.note(0, 0)
        self._job = BackgroundJob(job, lambda news: self._on_news(news, receive), self._post).start()
        self._say("")

    def _on_news(self, news: Event[tuple[int, int], T], receive: Callable[[T], str]) -> None:
        if isinstance(news, Reported):
            self.progress, self.seconds_left = news.item, self.pace.note(*news.item)
            self.changed.emit()
            return
        self._job = None
        self.progress = None
        if isinstance(news, Failed):
            self._complain(error_sentence(news.error))
            return
        if not isinstance(news, Returned):
            return
        try:
            self._say(receive(news.result))
        except NapariSam2Error as error:
            self._complain(str(error))

    def _complain(self, message: str) -> None:
        self._say(message, is_problem=True)

    def _say(self, message: str, *, is_problem: bool = False) -> None:
        self.message, self.is_problem = message, is_problem
        self.said.emit()
        self.changed.emit()


def _with_axes(work: WorkSnapshot) -> WorkSnapshot:
    """Return work with the axes of its image, where the file has others than those that were shown."""
    used = work.image
    if used.path is None or used.axes is not None:
        return work
    axes = "TYX"[3 - len(used.shape) :] + ("S" if used.is_rgb else "")
    given = axes_to_say(used.path, used.shape, axes)
    return work if given is None else replace(work, image=replace(used, axes=given))
