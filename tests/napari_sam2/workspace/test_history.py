from dataclasses import dataclass

import pytest

from napari_sam2.workspace.history import History


@dataclass
class Written:
    """A change of one name on a blackboard."""

    board: list
    name: str
    num_bytes: int = 10
    is_broken: bool = False

    def __post_init__(self):
        self.board.append(self.name)

    def undo(self):
        if self.is_broken:
            raise OSError("disk full")
        assert self.board.pop() == self.name

    def redo(self):
        if self.is_broken:
            raise OSError("disk full")
        self.board.append(self.name)


@pytest.fixture
def board():
    return []


def test_a_new_history_has_nothing_to_undo_or_redo():
    history = History(100)
    assert (history.can_undo, history.can_redo) == (False, False)
    assert history.undo() is None
    assert history.redo() is None


def test_steps_are_undone_and_redone_in_order_with_their_names(board):
    history = History(1000)
    history.record("first", [Written(board, "a"), Written(board, "b")])
    history.record("second", [Written(board, "c")])
    assert [history.undo(), board.copy()] == ["second", ["a", "b"]]
    assert [history.undo(), board.copy()] == ["first", []]
    assert (history.can_undo, history.can_redo) == (False, True)
    assert [history.redo(), board.copy()] == ["first", ["a", "b"]]
    assert [history.redo(), board.copy()] == ["second", ["a", "b", "c"]]
    assert (history.can_undo, history.can_redo) == (True, False)


def test_a_new_step_clears_what_could_be_redone(board):
    history = History(1000)
    history.record("first", [Written(board, "a")])
    history.undo()
    history.record("second", [Written(board, "b")])
    assert not history.can_redo
    assert history.redo() is None
    assert history.num_bytes == 10


def test_a_step_without_changes_is_no_step(board):
    history = History(1000)
    history.record("first", [Written(board, "a")])
    history.undo()
    history.record("nothing", [])
    assert not history.can_undo
    assert history.can_redo


def test_the_oldest_steps_fall_out_when_the_budget_is_exceeded(board):
    history = History(25)
    for name in "abc":
        history.record(name, [Written(board, name)])
    assert history.num_bytes == 20
    assert [history.undo(), history.undo(), history.undo()] == ["c", "b", None]
    assert board == ["a"]


def test_a_budget_just_reached_is_not_exceeded(board):
    history = History(20)
    for name in "ab":
        history.record(name, [Written(board, name)])
    assert [history.undo(), history.undo()] == ["b", "a"]


def test_a_step_larger_than_the_budget_leaves_nothing_to_undo(board):
    history = History(25)
    history.record("small", [Written(board, "a")])
    history.record("large", [Written(board, "b"), Written(board, "c", num_bytes=16)])
    assert not history.can_undo
    assert history.num_bytes == 0
    assert board == ["a", "b", "c"]


def test_a_step_that_cannot_be_undone_stays_the_next_to_undo(board):
    history = History(100)
    change = Written(board, "a")
    history.record("write", [change])
    change.is_broken = True
    with pytest.raises(OSError, match="disk full"):
        history.undo()
    change.is_broken = False
    assert history.undo() == "write"
    change.is_broken = True
    with pytest.raises(OSError, match="disk full"):
        history.redo()
    assert history.can_redo


def test_the_newest_step_is_withdrawn_and_no_other(board):
    history = History(1000)
    first, second = Written(board, "a"), Written([], "b")
    history.record("first", [first])
    history.record("second", [second])
    history.withdraw(first)
    history.withdraw(second)
    assert history.undo() == "first"
    history.withdraw(first)  # undone by now
    assert (history.can_undo, history.can_redo) == (False, True)


def test_a_change_among_others_of_a_step_is_not_withdrawn(board):
    history = History(1000)
    both = [Written(board, "a"), Written(board, "b")]
    history.record("both", both)
    history.withdraw(both[1])
    assert history.undo() == "both"
