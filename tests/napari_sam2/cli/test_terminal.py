"""The bar that the shell shows while something takes long."""

import io
import sys

import pytest

from napari_sam2.cli.terminal import progress_bar


class Terminal(io.StringIO):
    """Where a bar is drawn."""

    def isatty(self):
        return True

    @property
    def last(self):
        """What is left of the bar at the end."""
        return self.getvalue().rsplit("\r", 1)[-1].strip()


@pytest.fixture
def shown(monkeypatch):
    """What a bar shows last if it ends there; five seconds pass from one step to the next."""

    def show_all(*done, total, **how):
        terminal, times = Terminal(), iter(range(0, 1000, 5))
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress_bar(clock=lambda: next(times), **how) as show:
            for one in done:
                show(one, total)
        return terminal.last

    return show_all


def test_it_tells_how_much_is_done_and_how_long_the_rest_takes(shown):
    line = shown(0, 6, 12, total=60, unit="frames")
    assert line.startswith("20% |")
    assert line.endswith("| 12 of 60 frames, about 40 s left")


def test_before_that_is_known_and_at_the_end_it_tells_no_time(shown):
    assert shown(0, 1, total=60, unit="frames").endswith("| 1 of 60 frames")
    assert shown(0, 30, 60, total=60, unit="frames").endswith("| 60 of 60 frames")


def test_bytes_have_prefixes(shown):
    line = shown(0, 50_000_000, 100_000_000, total=898_000_000, unit="B", scale=True)
    assert line.endswith("| 100M of 898MB, about 1 min left")


def test_what_is_no_terminal_gets_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar("frames") as show:
        show(1, 2)
    assert sys.stderr.getvalue() == ""
