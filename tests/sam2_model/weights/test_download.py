"""Fetching weights from a hub on the loopback interface that can misbehave in every way met so far."""

import os
import re
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sam2_model.errors import CheckpointError, DownloadError
from sam2_model.weights.download import download
from sam2_model.weights.registry import embedded_path
from tests.sam2_model.weight_layouts import published_bytes

CONTENT = bytes(range(256)) * 12_000  # three chunks
WEIGHTS = published_bytes(CONTENT)


@dataclass
class Hub:
    """A hub that serves one file and keeps what was asked of it."""

    content: bytes = CONTENT
    status: int = 200
    breaks_after: list[int] = field(default_factory=list)
    """Bytes after which to drop the connection: one number for each request, in turn."""
    knows_ranges: bool = True
    tells_length: bool = True
    goes_on: bool = False
    """Whether more and more follows the content."""
    redirects: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    endpoint: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        if self.redirects:
            self.redirects -= 1
            request.send_response(302)
            request.send_header("Location", request.path)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.knows_ranges else 0
        body = self.content[start:]
        request.send_response(206 if start and self.status == 200 else self.status)
        if self.tells_length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.breaks_after:
            body = body[: self.breaks_after.pop(0)]
        with suppress(OSError):  # whoever cancels closes the line
            request.wfile.write(body)
            while self.goes_on:
                request.wfile.write(bytes(1 << 16))
        request.close_connection = True


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            served.answer(self)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_download_arrives_whole_under_its_final_name(hub, tmp_path):
    path = download(WEIGHTS, cache_dir=tmp_path / "new", endpoint=hub.endpoint)
    assert path == tmp_path / "new" / WEIGHTS.filename
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert hub.asked == [(f"/{WEIGHTS.repo_id}/resolve/main/{WEIGHTS.filename}", None)]


def test_progress_counts_up_to_the_size(hub, tmp_path):
    steps = []
    download(WEIGHTS, progress=lambda *step: steps.append(step), cache_dir=tmp_path, endpoint=hub.endpoint)
    assert len(steps) >= 3
    assert steps == sorted(steps)
    assert steps[-1] == (len(CONTENT), len(CONTENT))


def test_weights_that_are_here_already_are_not_fetched_again(hub, tmp_path):
    (tmp_path / WEIGHTS.filename).write_bytes(CONTENT)
    download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert hub.asked == []


def test_damaged_weights_are_replaced(hub, tmp_path):
    (tmp_path / WEIGHTS.filename).write_bytes(CONTENT[:-1])
    assert download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint).read_bytes() == CONTENT


def test_the_embedded_model_needs_no_download():
    assert download("nano") == embedded_path()


def test_raising_from_progress_cancels_at_once_and_leaves_nothing(hub, tmp_path):
    class CancelledError(Exception):
        pass

    steps = []

    def cancel(done: int, total: int) -> None:
        steps.append(done)
        raise CancelledError

    with pytest.raises(CancelledError):
        download(WEIGHTS, progress=cancel, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert len(steps) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_connection_is_taken_up_where_it_broke(hub, tmp_path, knows_ranges):
    hub.breaks_after = [1_500_000]
    hub.knows_ranges = knows_ranges
    path = download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert path.read_bytes() == CONTENT
    assert len(hub.asked) == 2
    assert hub.asked[1][1] is not None


def test_a_connection_that_stays_broken_ends_with_a_sentence(hub, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr("sam2_model.weights.download.time.sleep", waited.append)
    hub.breaks_after = [1_500_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="Check the network and try again"):
        download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert len(waited) == 3
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_told_at_once_with_the_address_and_the_place_for_the_file(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(DownloadError) as caught:
            download(WEIGHTS, cache_dir=tmp_path, endpoint=endpoint)
    assert WEIGHTS.url(endpoint) in str(caught.value)
    assert str(tmp_path / WEIGHTS.filename) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_server_that_refuses_is_told_with_its_status(hub, tmp_path, status):
    hub.status = status
    with pytest.raises(DownloadError, match=str(status)):
        download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "difference"),
    [(CONTENT[:-1] + b"\0", "SHA-256"), (b"<html>sign in</html>", "20 bytes long"), (CONTENT + b"\0", "bytes long")],
)
def test_what_is_not_the_published_file_is_thrown_away(hub, tmp_path, content, difference):
    hub.content = content
    with pytest.raises(CheckpointError, match=f"not the published 'tiny'.*{difference}.*Try again"):
        download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert list(tmp_path.iterdir()) == []


def test_a_body_without_a_length_that_never_ends_is_cut_off_at_the_published_size(hub, tmp_path):
    hub.tells_length, hub.goes_on, hub.content = False, True, b""
    steps = []
    with pytest.raises(CheckpointError, match=r"not the published 'tiny'.*SHA-256"):
        download(WEIGHTS, progress=lambda *step: steps.append(step), cache_dir=tmp_path, endpoint=hub.endpoint)
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert list(tmp_path.iterdir()) == []


def test_the_right_file_is_taken_and_what_follows_it_is_not(hub, tmp_path):
    hub.tells_length, hub.goes_on = False, True
    assert download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint).read_bytes() == CONTENT


def test_a_body_without_a_length_that_ends_early_is_taken_up_again(hub, tmp_path):
    hub.tells_length, hub.breaks_after = False, [1_500_000]
    assert download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint).read_bytes() == CONTENT
    assert len(hub.asked) == 2


@pytest.mark.parametrize("redirects", [1, 3])
def test_redirections_are_followed(hub, tmp_path, redirects):
    hub.redirects = redirects
    assert download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint).read_bytes() == CONTENT


def test_redirections_without_end_are_told(hub, tmp_path):
    hub.redirects = 1000
    with pytest.raises(DownloadError, match="Check the network"):
        download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert hub.redirects > 900


def test_a_server_that_hardly_sends_anything_is_given_up(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("sam2_model.weights.download._PERIOD_S", -1.0)
    monkeypatch.setattr("sam2_model.weights.download._LEAST_BYTES", 1 << 40)
    monkeypatch.setattr("sam2_model.weights.download.time.sleep", lambda seconds: None)
    with pytest.raises(DownloadError, match=r"only [\d,]+ bytes arrived in \d+ seconds"):
        download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert list(tmp_path.iterdir()) == []


def test_downloads_of_one_model_at_once_do_not_disturb_each_other(hub, tmp_path):
    def second(done: int, total: int) -> None:
        if not others:
            others.append(None)
            others[0] = download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint)

    others: list[object] = []
    path = download(WEIGHTS, progress=second, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert others == [path]
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_put_where_the_file_or_its_partial_belongs_is_not_followed(hub, tmp_path, monkeypatch):
    precious, cache = tmp_path / "precious", tmp_path / "cache"
    precious.write_text("precious")
    cache.mkdir()
    monkeypatch.setattr("sam2_model.weights.download.uuid4", lambda: uuid.UUID(int=0))
    partial = cache / f"{WEIGHTS.filename}.00000000.partial"
    partial.symlink_to(precious)
    with pytest.raises(DownloadError, match="Cannot write"):
        download(WEIGHTS, cache_dir=cache, endpoint=hub.endpoint)
    (cache / WEIGHTS.filename).symlink_to(precious)
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert download(WEIGHTS, cache_dir=cache, endpoint=hub.endpoint).read_bytes() == CONTENT
    assert precious.read_text() == "precious"


def test_what_killed_downloads_left_is_removed_and_what_lives_is_not(hub, tmp_path):
    dead, living, other = (tmp_path / f"{name}.partial" for name in ("weights.pt.0", "weights.pt.1", "other.pt.0"))
    for path in (dead, living, other):
        path.write_bytes(b"x")
    for path in (dead, other):
        os.utime(path, (0, 0))
    path = download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert set(tmp_path.iterdir()) == {path, living, other}


def test_a_folder_in_the_place_of_the_file_is_told(hub, tmp_path):
    (tmp_path / WEIGHTS.filename / "kept").mkdir(parents=True)
    with pytest.raises(DownloadError, match="Move away what is there"):
        download(WEIGHTS, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert list(tmp_path.iterdir()) == [tmp_path / WEIGHTS.filename]


def test_a_disk_without_room_is_told_before_the_first_byte(hub, tmp_path):
    huge = published_bytes(CONTENT)
    huge = type(huge)(huge.name, huge.repo_id, huge.filename, 1 << 60, huge.sha256, huge.release)
    with pytest.raises(DownloadError, match="MB left"):
        download(huge, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert hub.asked == []


def test_a_cache_folder_that_cannot_be_made_is_told_before_the_first_byte(hub, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="HF_HOME"):
        download(WEIGHTS, cache_dir=tmp_path / "file" / "cache", endpoint=hub.endpoint)
    assert hub.asked == []
