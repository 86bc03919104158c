"""What the shell shows: lines, warnings, progress."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from napari_sam2.inference.time_left import Pace, left_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO


def print_out(text: str) -> None:
    """Write a line to the output."""
    sys.stdout.write(f"{text}\n")


def print_err(text: str) -> None:
    """Write a line to the error stream, with the name of the program."""
    sys.stderr.write(f"napari-sam2: {text}\n")


def print_error(text: str, error: BaseException) -> None:
    """Write a line about an error, with the notes on it, to the error stream."""
    print_err(" ".join((text, *getattr(error, "__notes__", ()))))


def print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write a warning as a line, without the place in the program; for `warnings.showwarning`."""
    print_err(str(message))


@contextmanager
def progress_bar(
    unit: str, *, scale: bool = False, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows on a terminal how much is done, of how much, and how long the rest takes.

    The bar begins with its first call.

    Parameters
    ----------
    unit : str
        What is counted, in the plural; for `scale`, a unit that takes prefixes.
    scale : bool
        Whether numbers are shown with a prefix, as in MB.
    clock : callable
        Returns seconds that never go back.
    """
    from tqdm import tqdm

    counted = "{n_fmt} of {total_fmt}" + unit if scale else "{n_fmt} of {total_fmt} " + unit
    look = "{percentage:3.0f}% |{bar}| " + counted + "{postfix}"
    pace = Pace(clock)
    with ExitStack() as shown:
        bars: list[tqdm[int]] = []

        def show(done: int, total: int) -> None:
            if not bars:
                bars.append(shown.enter_context(tqdm(total=total, unit_scale=scale, disable=None, bar_format=look)))
            bars[0].total = total
            bars[0].set_postfix_str(left_words(pace.note(done, total)), refresh=False)
            bars[0].update(done - bars[0].n)

        yield show
