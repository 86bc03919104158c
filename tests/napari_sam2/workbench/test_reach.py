"""How far *Propagate* follows objects."""

from contextlib import suppress

import pytest

from napari_sam2.errors import OptionError
from napari_sam2.prompts import BoxPrompt, PointPrompt, PromptSet
from napari_sam2.tracking.propagation import plan_propagation
from napari_sam2.workbench.choices import Choices
from napari_sam2.workbench.reach import Reach


def point(frame, x=1.0, object_id=1):
    return PointPrompt(object_id, frame, 1.0, x)


@pytest.mark.parametrize("direction", ["both", "forward", "backward"])
@pytest.mark.parametrize(("start", "stop"), [(None, None), (0, 1), (2, 4), (5, 7), (7, 7)])
def test_the_reach_is_that_of_the_plan(direction, start, stop):
    prompts = PromptSet([point(2), point(6), point(4, object_id=3), BoxPrompt(5, 0, 1, 1, 3, 3)])
    how = {"direction": direction, "start": start, "stop": stop}
    planned = {}
    with suppress(OptionError):  # nothing can be followed there
        for visit in plan_propagation(prompts, 8, **how):
            for object_id in visit.object_ids if visit.is_reported else ():
                planned.setdefault(object_id, set()).add(visit.frame)
    reach = Reach().read(prompts, 8, frozenset(), Choices(**how))
    assert {one: set(frames) for one, frames in reach.items()} == planned


def test_the_reach_is_the_same_until_something_changes_and_leaves_locked_objects_out():
    reach, prompts = Reach(), PromptSet([point(2), point(4, object_id=3)])
    first = reach.read(prompts, 8, frozenset(), Choices())
    assert reach.read(prompts, 8, frozenset(), Choices(threshold=0.2)) is first
    assert reach.read(prompts, 8, frozenset(), Choices(stop=3))[1] == range(4)
    assert reach.read(prompts, 8, frozenset({1}), Choices()).keys() == {3}
    assert reach.read(PromptSet([point(2)]), 8, frozenset(), Choices()).keys() == {1}
