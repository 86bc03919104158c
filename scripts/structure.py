"""Count what the layout costs: files of rooms, methods that only pass on, calls on the way of a click.

python scripts/structure.py            rooms, methods that only pass on, lines
python scripts/structure.py --list     with each of those methods by name
python scripts/structure.py --trips    calls from a click to the mask in the layer, and of a commit (needs napari)
"""

from __future__ import annotations

import argparse
import ast
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

ROOT = Path(__file__).parents[1]
PACKAGES = ("napari_sam2", "sam2_model")
OWN = tuple(str(ROOT / "src" / package) for package in PACKAGES)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="folder with the packages")
    parser.add_argument("--list", action="store_true", help="name the methods that only pass on")
    parser.add_argument("--trips", action="store_true", help="trace a click and a commit")
    chosen = parser.parse_args()
    if chosen.trips:
        trips()
        return
    files = {package: sorted((chosen.source / package).rglob("*.py")) for package in PACKAGES}
    for package, found in files.items():
        rooms = Counter(path.parent.relative_to(chosen.source) for path in found)
        print(f"{package}: {len(found)} files, {sum(map(count_lines, found)):,} lines")
        for room, count in sorted(rooms.items()):
            print(f"  {count:3} {room}")
        for room, names in same_words(found):
            print(f"  {room}: {' and '.join(names)} are made of the same words")
    passing = [(path, *door) for found in files.values() for path in found for door in doors(path)]
    print(f"{len(passing)} methods only pass on")
    for of_class, count in Counter((path.stem, owner) for path, owner, _, _ in passing).most_common(5):
        print(f"  {count:3} {'.'.join(of_class)}")
    if chosen.list:
        for path, owner, name, line in passing:
            print(f"{path.relative_to(chosen.source)}:{line} {owner}.{name}")


def count_lines(path: Path) -> int:
    """Count the lines of a file."""
    return len(path.read_text().splitlines())


def same_words(files: list[Path]) -> Iterator[tuple[str, list[str]]]:
    """Yield files of one room whose names consist of the same words, a plural taken for its singular."""
    found: dict[tuple[Path, tuple[str, ...]], list[str]] = {}
    for path in files:
        words = tuple(sorted(word.rstrip("s") for word in path.stem.strip("_").split("_")))
        found.setdefault((path.parent, words), []).append(path.stem)
    yield from ((room.name, names) for (room, _), names in found.items() if len(names) > 1)


def doors(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield class, name and line of methods that are one call on, or one reading of, an inner part."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and passes_on(method.body):
                    yield node.name, method.name, method.lineno


def passes_on(body: list[ast.stmt]) -> bool:
    """Whether statements are `self.a.b(…)` or `self.a.b` and nothing else, a docstring and `is not None` aside."""
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    if len(body) != 1:
        return False
    statement = body[0]
    if isinstance(statement, ast.If) and not statement.orelse and "is not None" in ast.unparse(statement.test):
        return passes_on(statement.body)
    value = getattr(statement, "value", None) if isinstance(statement, ast.Return | ast.Expr) else None
    if isinstance(value, ast.IfExp) and "None" in ast.unparse(value.test):
        value = value.body if ast.unparse(value.orelse) == "None" else value.orelse
    if isinstance(value, ast.Call):
        value = value.func
    parts = 0
    while isinstance(value, ast.Attribute):
        parts, value = parts + 1, value.value
    return parts >= 2 and isinstance(value, ast.Name) and value.id == "self"


class Trace:
    """Calls of our functions, by all threads that start after it, while it is on."""

    def __init__(self) -> None:
        self.is_on = False
        self.calls: Counter[tuple[str, str]] = Counter()
        self.crossing: Counter[tuple[str, str]] = Counter()
        threading.setprofile(self._count)
        sys.setprofile(self._count)

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if not self.is_on or event != "call" or not code.co_filename.startswith(OWN):
            return
        self.calls[code.co_filename, code.co_qualname] += 1
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(OWN):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != code.co_filename:
            self.crossing[Path(code.co_filename).stem, code.co_qualname] += 1

    def report(self, name: str, step: Callable[[], object]) -> None:
        """Print how many calls a step makes."""
        self.calls.clear()
        self.crossing.clear()
        self.is_on = True
        step()
        self.is_on = False
        modules = {path for path, _ in self.calls}
        print(
            f"{name}: {self.calls.total()} calls of {len(self.calls)} functions in {len(modules)} modules, "
            f"{self.crossing.total()} of them into another module"
        )
        for (module, function), count in self.crossing.most_common(200 if "--list" in sys.argv else 0):
            print(f"  {count:3} {module}: {function}")


def trips() -> None:
    """Print the calls of a click, a propagation, a commit and its undo, with the fake model of the tests."""
    sys.path.insert(0, str(ROOT))
    from tests.napari_sam2.bench import Bench, hand_over
    from tests.napari_sam2.fake_predictor import FakePredictor

    trace = Trace()
    bench = Bench(FakePredictor())
    bench.warm_up()
    bench.click(5, 3, 3)  # what is made once, such as the stack in the hands of the model, is no part of a trip
    bench.new_object()
    trace.report("click", lambda: bench.click(0, 10, 12))

    def propagate() -> None:
        bench.propagate()
        bench.settle()

    def commit() -> None:
        bench.commit()
        hand_over(bench)

    trace.report("propagate", propagate)
    trace.report("commit", commit)
    trace.report("undo", bench.undo)
    bench.close()


if __name__ == "__main__":
    main()
