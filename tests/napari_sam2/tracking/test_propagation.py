"""Which frames are visited for whom, and the labels that come of it."""

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pytest

from napari_sam2.errors import OptionError
from napari_sam2.frames import FrameStack
from napari_sam2.labels.composing import compose
from napari_sam2.labels.values import areas_of
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from napari_sam2.tracking.propagation import label_frames, plan_propagation, remaining_visits, run
from napari_sam2.tracking.stack import TrackedStack
from sam2_model.memory_bank import Direction
from tests.napari_sam2.conftest import FRAMES

SIGNS = {Direction.FORWARD: ">", Direction.BACKWARD: "<"}


def at(object_id, *frames):
    return [PointPrompt(object_id, frame, 2, 2 + 3 * object_id) for frame in frames]


def absent(object_id, frame):
    return PointPrompt(object_id, frame, 2, 2, positive=False)


def written(plan):
    """Steps of a plan as text: frame, direction, objects; in brackets what is not reported."""
    steps = [f"{s.frame}{SIGNS[s.direction]}{''.join(map(str, s.object_ids))}" for s in plan]
    return " ".join(t if s.is_reported else f"({t})" for t, s in zip(steps, plan, strict=True))


@dataclass(frozen=True)
class Case:
    prompts: list
    expected: str
    direction: str = "both"
    start: int | None = None
    stop: int | None = None
    num_frames: int = FRAMES


CASES = {
    "outward from one frame": Case(at(1, 2), "2>1 3>1 4>1 1<1 0<1"),
    "from the first frame there is no way back": Case(at(1, 0), "0>1 1>1 2>1 3>1 4>1"),
    "from the last frame forward is the frame itself": Case(at(1, 4), "4>1 3<1 2<1 1<1 0<1"),
    "forward": Case(at(1, 2), "2>1 3>1 4>1", "forward"),
    "backward includes the prompted frame": Case(at(1, 2), "2<1 1<1 0<1", "backward"),
    "every object from its own frame": Case(at(1, 1) + at(2, 3), "1>1 2>1 3>12 4>12 2<2 1<2 0<12"),
    "backward from two frames": Case(at(1, 1) + at(2, 3), "3<2 2<2 1<12 0<12", "backward"),
    "corrections are passed, and the first prompt is the origin": Case(at(1, 3, 1), "1>1 2>1 3>1 4>1 0<1"),
    "backward from the first of several prompts": Case(at(1, 1, 3), "1<1 0<1", "backward"),
    "an absence is no origin": Case([absent(1, 0), *at(1, 2)], "2>1 3>1 4>1 1<1 0<1"),
    "an absence behind the origin is visited": Case([*at(1, 1), absent(1, 3)], "1>1 2>1 3>1 4>1", "forward"),
    "a range that is behind": Case(at(1, 0), "(0>1) (1>1) 2>1 3>1", start=2, stop=3),
    "a range that is ahead": Case(at(1, 4), "(4<1) (3<1) 2<1 1<1", "backward", 1, 2),
    "the prompted frame beyond the range, both ways": Case(at(1, 4), "(3<1) 2<1 1<1", start=1, stop=2),
    "a range of one frame": Case(at(1, 2), "2>1", start=2, stop=2),
    "numpy integers are numbers": Case(at(1, 2), "2>1 3>1", start=np.int64(2), stop=np.uint8(3)),
    "an object beyond the range joins where it can": Case(
        at(1, 0) + at(2, 4), "0>1 1>1 (3<2) (2<2) 1<2 0<2", start=0, stop=1
    ),
    "a stack of one frame": Case(at(1, 0), "0>1", num_frames=1),
    "a stack of one frame, backward": Case(at(1, 0), "0<1", "backward", num_frames=1),
    "an object that cannot be followed this way is left out": Case(
        at(1, 0) + at(2, 3), "(3<2) 2<2 1<2", "backward", 1, 2
    ),
}


def planned(case):
    return plan_propagation(
        PromptSet(case.prompts), case.num_frames, direction=case.direction, start=case.start, stop=case.stop
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_plan_goes_from_each_objects_first_frame(case):
    assert written(planned(case)) == case.expected


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_no_object_is_visited_twice_on_a_frame_and_no_frame_left_out(case):
    visited = defaultdict(list)
    for step in planned(case):
        for object_id in step.object_ids:
            visited[object_id].append(step.frame)
    origins = {}
    for prompt in case.prompts:
        if prompt.positive:
            origins[prompt.object_id] = min(prompt.frame, origins.get(prompt.object_id, prompt.frame))
    for object_id, frames in visited.items():
        assert max(Counter(frames).values()) == 1
        # Every visit is to the origin itself or next to an earlier one.
        seen = {origins[object_id]}
        for frame in frames:
            assert frame in seen or {frame - 1, frame + 1} & seen
            seen.add(frame)


def test_a_plan_knows_how_much_it_reports():
    plan = plan_propagation(PromptSet(at(1, 1) + at(2, 3)), FRAMES, start=1)
    assert written(plan) == "1>1 2>1 3>12 4>12 2<2 1<2"
    assert sum(visit.is_reported for visit in plan) == 6
    assert Counter(visit.frame for visit in plan if visit.is_reported) == {1: 2, 2: 2, 3: 1, 4: 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "sideways"}, "Direction 'sideways' is not known. Use one of: forward, backward, both"),
        ({"start": -1}, "start is -1, and the stack has frames 0 to 4"),
        ({"stop": 5}, "stop is 5, and the stack has frames 0 to 4"),
        ({"start": 3, "stop": 2}, "The range from 3 to 2 is empty"),
        ({"start": 1.5}, "start is 1.5. Use the number of a frame"),
        ({"stop": True}, "stop is True"),
        ({"direction": "forward", "stop": 1}, "No object can be followed forward into frames 0 to 1"),
        ({"direction": "backward", "start": 3}, "No object can be followed backward into frames 3 to 4"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_the_cure(options, message):
    with pytest.raises(OptionError, match=message):
        plan_propagation(PromptSet(at(1, 2)), FRAMES, **options)


# The visit -----------------------------------------------------------------------------------------------------------

SCENE = PromptSet(
    [
        PointPrompt(1, 1, 2, 2),
        BoxPrompt(2, 3, 0, 4, 7, 7),
        PointPrompt(3, 3, 2, 6),
        absent(1, 4),
        MaskPrompt(4, 0, np.pad(np.ones((2, 2), bool), ((6, 0), (5, 5)))),
    ]
)


@pytest.fixture
def session(fake, toy_movie):
    session = TrackedStack(fake, FrameStack(toy_movie))
    for _ in session.apply(SCENE):
        pass
    fake.calls.clear()
    return session


@pytest.fixture
def plan():
    return plan_propagation(SCENE, FRAMES)


def together(results):
    """Labels of every frame, from the results of all passes."""
    objects = defaultdict(tuple)
    for result in results:
        objects[result.frame] += result.objects
    return {frame: compose(objects[frame], 8, 12, np.dtype(np.uint16)).labels for frame in objects}


def test_the_labels_of_a_frame_hold_the_objects_of_both_passes(session, plan):
    done = list(label_frames(session, plan))
    last = {item.frame: item.labels for item in done}
    assert {frame: set(np.unique(labels)) for frame, labels in last.items()} == {
        0: {0, 1, 2, 3, 4},
        1: {0, 1, 2, 3, 4},
        2: {0, 1, 2, 3, 4},
        3: {0, 1, 2, 3, 4},
        4: {0, 2, 3, 4},
    }
    assert len(done) == sum(visit.is_reported for visit in plan) == 8
    first = next(item.labels for item in done if item.frame == 2)
    assert set(np.unique(first)) == {0, 1, 4}


def test_labels_do_not_depend_on_the_order_of_the_passes(session, plan):
    expected = together(run(session, plan))
    labels = {item.frame: item.labels for item in label_frames(session, plan)}
    assert labels.keys() == expected.keys()
    for frame, one in labels.items():
        np.testing.assert_array_equal(one, expected[frame])


def test_every_object_is_scored_once_per_frame(session, plan):
    newest = {item.frame: item for item in label_frames(session, plan)}
    scores = [score for item in newest.values() for score in item.scores]
    assert Counter((score.object_id, score.frame) for score in scores) == {
        (object_id, frame): 1 for object_id in (1, 2, 3, 4) for frame in range(FRAMES)
    }
    for frame, item in newest.items():  # with what they have in the labels of both passes
        counted = {score.object_id: score.area_in_labels_px for score in item.scores if score.area_in_labels_px}
        assert counted == areas_of(item.labels), frame
    (absence,) = [score for score in scores if (score.object_id, score.frame) == (1, 4)]
    assert absence.area_px == 0


def test_frames_outside_the_range_are_visited_but_not_reported(session, fake):
    plan = plan_propagation(SCENE, FRAMES, start=4)
    assert [item.frame for item in label_frames(session, plan)] == [4]
    assert [call[1] for call in fake.calls] == [0, 1, 2, 3, 4]


def test_closing_stops_between_frames(session, plan, fake):
    following = label_frames(session, plan)
    for _ in range(3):
        next(following)
    following.close()
    assert [call[1] for call in fake.calls] == [0, 1, 2]


@pytest.mark.parametrize("stop", range(8))
def test_the_remaining_visits_resume_to_the_same_labels(session, plan, stop, fake):
    expected = together(run(session, plan))
    fake.calls.clear()
    first = run(session, plan)
    done = [next(first) for _ in range(stop)]
    first.close()
    done += run(session, plan[stop:])
    assert fake.count("follow") == len(plan)
    resumed = together(done)
    for frame in range(FRAMES):
        np.testing.assert_array_equal(resumed[frame], expected[frame])


def test_wide_ids_get_wide_labels(fake, toy_movie):
    prompts = PromptSet([*at(1, 0), PointPrompt(70_000, 0, 6, 6)])
    session = TrackedStack(fake, FrameStack(toy_movie))
    for _ in session.apply(prompts):
        pass
    done = next(label_frames(session, plan_propagation(prompts, FRAMES)))
    assert done.labels.dtype == np.uint32
    assert done.labels.max() == 70_000


def test_an_empty_plan_visits_nothing(session, fake):
    assert list(label_frames(session, ())) == []
    assert fake.calls == []


def left_over(session, prompts, **options):
    return written(remaining_visits(session, plan_propagation(prompts, FRAMES, **options)))


def applied(session, prompts):
    list(session.apply(prompts))
    return prompts


@pytest.fixture
def untold(fake, toy_movie):
    return TrackedStack(fake, FrameStack(toy_movie))


def test_after_a_whole_propagation_nothing_remains(untold):
    prompts = applied(untold, PromptSet(at(1, 2)))
    list(run(untold, plan_propagation(prompts, FRAMES)))
    assert left_over(untold, prompts) == ""


def test_a_propagation_that_was_stopped_goes_on_where_it_stopped(untold):
    prompts = applied(untold, PromptSet(at(1, 2)))
    stopped = run(untold, plan_propagation(prompts, FRAMES))
    for _ in range(2):
        next(stopped)
    stopped.close()
    assert left_over(untold, prompts) == "4>1 1<1 0<1"


def test_an_object_added_late_is_followed_alone(untold):
    prompts = applied(untold, PromptSet(at(1, 2)))
    list(run(untold, plan_propagation(prompts, FRAMES)))
    prompts = applied(untold, PromptSet(at(1, 2) + at(2, 3)))
    assert left_over(untold, prompts) == "3>2 4>2 2<2 1<2 0<2"


def test_a_corrected_object_is_followed_anew_and_the_others_are_left_alone(untold):
    prompts = applied(untold, PromptSet(at(1, 2) + at(2, 2)))
    list(run(untold, plan_propagation(prompts, FRAMES)))
    prompts = applied(untold, PromptSet(at(1, 2) + at(2, 2, 4)))
    assert left_over(untold, prompts) == "2>2 3>2 4>2 1<2 0<2"


def test_a_wider_range_is_followed_beyond_what_stands(untold):
    prompts = applied(untold, PromptSet(at(1, 0)))
    list(run(untold, plan_propagation(prompts, FRAMES, stop=2)))
    assert left_over(untold, prompts) == "3>1 4>1"


def test_frames_that_were_only_passed_through_are_reported_when_they_are_asked_for(untold):
    prompts = applied(untold, PromptSet(at(1, 0)))
    list(run(untold, plan_propagation(prompts, FRAMES, start=3)))
    assert left_over(untold, prompts) == "0>1 1>1 2>1"


def test_what_was_lost_is_followed_again_from_where_the_object_was_shown(untold):
    prompts = applied(untold, PromptSet(at(1, 0) + at(2, 0)))
    steps = plan_propagation(prompts, FRAMES)
    list(run(untold, steps))
    left = remaining_visits(untold, steps, is_held=lambda object_id, frame: (object_id, frame) != (2, 3))
    assert written(left) == "0>2 1>2 2>2 3>2"


def test_a_range_that_begins_behind_the_last_one_passes_through_what_lies_between(untold):
    prompts = applied(untold, PromptSet(at(1, 0)))
    list(run(untold, plan_propagation(prompts, FRAMES, stop=1)))
    assert left_over(untold, prompts, start=3) == "(0>1) (1>1) (2>1) 3>1 4>1"
