"""Which frames are recalled: tables of frozen cases, worked out by hand."""

from dataclasses import dataclass

import pytest

from sam2_model.memory_bank import Direction, nearest_conditioning, recall

FORWARD, BACKWARD = Direction.FORWARD, Direction.BACKWARD


@pytest.mark.parametrize(
    ("frame", "conditioning", "limit", "chosen"),
    [
        (5, (0, 3, 9), None, (0, 3, 9)),  # no limit
        (5, (0, 3, 9), 3, (0, 3, 9)),  # few enough
        (5, (9, 0, 3), 3, (9, 0, 3)),  # the given order stays
        (5, (0, 3, 9), 2, (3, 9)),  # the nearest on either side
        (5, (0, 3, 4, 20), 2, (4, 20)),  # the only one after counts, however far
        (20, (0, 3, 4, 9), 2, (4, 9)),  # none after: the two nearest before
        (1, (2, 5, 6, 9), 2, (2, 5)),  # none before: the two nearest after
        (5, (9, 4, 6, 0), 3, (9, 4, 6)),  # 4 and 6 on either side, then 9 at distance 4 before 0 at distance 5
        (5, (2, 3, 7, 8), 3, (2, 3, 7)),  # 2 and 8 are equally far: the first given wins
        (5, (8, 7, 3, 2), 3, (8, 7, 3)),
        (5, (5, 4, 6), 2, (5, 4)),  # the frame itself counts as after
        (5, (0, 8), 1, (8,)),  # one of them: the nearer
        (5, (), 4, ()),
    ],
)
def test_prompted_frames_are_chosen_by_side_then_by_distance(frame, conditioning, limit, chosen):
    assert nearest_conditioning(frame, conditioning, limit) == chosen


@dataclass(frozen=True)
class Case:
    what: str
    frame: int
    conditioning: tuple[int, ...]
    tracked: tuple[int, ...]
    memories: tuple[tuple[int, int], ...]  # frame, slot
    pointers: tuple[tuple[int, int], ...]  # frame, age
    direction: Direction = FORWARD
    num_memories: int = 4
    reach: int = 16
    limit: int | None = None


CASES = [
    Case("only the prompt", 1, (0,), (), ((0, 3),), ((0, 1),)),
    Case("oldest to newest, pointers the other way", 4, (0,), (1, 2, 3), ((0, 3), (1, 2), (2, 1), (3, 0)),
         ((0, 4), (3, 1), (2, 2), (1, 3))),
    Case("as many recent frames as there are slots", 9, (0,), tuple(range(1, 9)), ((0, 3), (6, 2), (7, 1), (8, 0)),
         ((0, 9), *((9 - age, age) for age in range(1, 9)))),
    Case("a missing frame is skipped, not replaced", 6, (0,), (1, 2, 3, 5), ((0, 3), (3, 2), (5, 0)),
         ((0, 6), (5, 1), (3, 3), (2, 4), (1, 5))),
    Case("backward, recent frames lie ahead", 2, (6,), (3, 4, 5), ((6, 3), (5, 2), (4, 1), (3, 0)),
         ((6, 4), (3, 1), (4, 2), (5, 3)), BACKWARD),
    Case("a later prompt gives a memory but no pointer", 2, (0, 9), (1,), ((0, 3), (9, 3), (1, 0)),
         ((0, 2), (1, 1))),
    Case("backward, an earlier prompt gives no pointer", 7, (9, 2), (8,), ((9, 3), (2, 3), (8, 0)),
         ((9, 2), (8, 1)), BACKWARD),
    Case("frames ahead are not recent", 2, (0,), (1, 3, 4), ((0, 3), (1, 0)), ((0, 2), (1, 1))),
    Case("backward, frames before are not recent", 5, (6,), (3, 4), ((6, 3),), ((6, 1),), BACKWARD),
    Case("in the order of prompting", 5, (3, 0), (4,), ((3, 3), (0, 3), (4, 0)), ((3, 2), (0, 5), (4, 1))),
    Case("a prompt that the limit leaves out is recent instead", 5, (0, 2, 3, 4), (), ((3, 3), (4, 3), (2, 2)),
         ((3, 2), (4, 1), (2, 3), (0, 5)), limit=2),
    Case("a prompt left out and far is not recalled", 9, (0, 7, 8), (), ((7, 3), (8, 3)),
         ((7, 2), (8, 1), (0, 9)), limit=2),
    Case("short reach cuts recent pointers", 6, (0,), (1, 2, 3, 4, 5), ((0, 3), (3, 2), (4, 1), (5, 0)),
         ((0, 6), (5, 1), (4, 2)), reach=3),
    Case("reach of one leaves the prompts' pointers", 1, (0,), (), ((0, 3),), ((0, 1),), reach=1),
    Case("a prompt's pointer has no age limit", 40, (0,), tuple(range(20, 40)), ((0, 3), (37, 2), (38, 1), (39, 0)),
         ((0, 40), *((40 - age, age) for age in range(1, 16)))),
    Case("a prompt on the frame itself", 3, (3,), (2,), ((3, 3), (2, 0)), ((3, 0), (2, 1))),
    Case("seven slots", 7, (0,), tuple(range(1, 7)), ((0, 6), *((f, 6 - f) for f in range(1, 7))),
         ((0, 7), *((7 - age, age) for age in range(1, 7))), num_memories=7),
    Case("nothing to recall", 5, (), (), (), ()),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_frame_recalls(case: Case):
    recalled = recall(
        case.frame,
        case.conditioning,
        case.tracked,
        case.direction,
        num_memories=case.num_memories,
        reach=case.reach,
        max_conditioning=case.limit,
    )
    assert tuple((m.frame, m.slot) for m in recalled.memories) == case.memories
    assert tuple((p.frame, p.age) for p in recalled.pointers) == case.pointers


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_backward_mirrors_forward(case: Case):
    mirrored = {FORWARD: BACKWARD, BACKWARD: FORWARD}[case.direction]
    recalled = recall(
        -case.frame,
        [-f for f in case.conditioning],
        {-f for f in case.tracked},
        mirrored,
        num_memories=case.num_memories,
        reach=case.reach,
        max_conditioning=case.limit,
    )
    assert tuple((-m.frame, m.slot) for m in recalled.memories) == case.memories
    assert tuple((-p.frame, p.age) for p in recalled.pointers) == case.pointers


def test_equal_recalls_are_one_group():
    a, b = (recall(3, (0,), tracked, FORWARD, num_memories=4) for tracked in ([1, 2], {2, 1}))
    assert a == b
    assert hash(a) == hash(b)
    assert a != recall(3, (0,), [2], FORWARD, num_memories=4)


def test_the_nearest_remembered_frame_is_the_prompted_one_where_two_are_equally_near():
    recalled = recall(5, (0, 6), [2, 3, 4], FORWARD, num_memories=4)
    assert recalled.nearest(5) == 6
    assert recall(5, (0, 9), [2, 3, 4], FORWARD, num_memories=4).nearest(5) == 4
    assert recall(1, (0, 9), [], FORWARD, num_memories=4).nearest(1) == 0


@pytest.mark.parametrize(
    ("frame", "conditioning", "tracked", "nearest", "before"),
    [
        (5, (0,), (3, 4), 4, 3),
        (5, (0,), (4,), 4, 0),
        (1, (0,), (), 0, None),
        (5, (6, 9), (), 6, 9),  # both lie ahead: the movement is read backward in time
        (5, (6,), (2, 3, 4), 6, None),
        (5, (4, 6), (3,), 4, 3),
    ],
)
def test_a_movement_is_read_from_the_two_nearest_remembered_frames_of_one_side(
    frame, conditioning, tracked, nearest, before
):
    recalled = recall(frame, conditioning, tracked, FORWARD, num_memories=4)
    assert recalled.nearest(frame) == nearest
    assert recalled.before_nearest(frame) == before
