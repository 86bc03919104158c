"""Where prompts are read from, without a workspace: real layers, nobody who answers."""

import numpy as np
import pytest
from napari.layers import Image, Labels, Points, Shapes

from napari_sam2.errors import NapariSam2Error, OptionError
from napari_sam2.layers.grid import grid_of
from napari_sam2.layers.prompt_sources import PromptSources, UserMask
from napari_sam2.prompts import MaskPrompt, PointPrompt, Target

SHAPE = (5, 12, 16)


class Room:
    """Sources of prompts on a stack; `others_edited` counts what they announce."""

    def __init__(self):
        self.image = Image(np.zeros(SHAPE, np.uint8))
        self.frame, self.others_edited, self.edits = 0, 0, []
        self.sources = PromptSources(
            self.image, grid_of(self.image), lambda object_id: (1.0, 0.0, 0.0, 1.0), lambda: self.frame
        )
        self.sources.others_edited.connect(self._on_others)
        self.sources.edited.connect(self._on_edit)

    def _on_others(self):
        self.others_edited += 1

    def _on_edit(self, before, after):
        self.edits.append((before, after))

    def said(self):
        return set(self.sources.read().prompts)


@pytest.fixture
def room():
    return Room()


@pytest.fixture
def labels():
    """A Labels layer with object 4 on frame 2, 6 pixels."""
    data = np.zeros(SHAPE, np.uint16)
    data[2, 3:5, 4:7] = 4
    return Labels(data, name="mine")


def mask_of(labels, object_id, frame):
    return MaskPrompt(object_id, frame, labels.data[frame] == object_id)


def test_layers_of_all_three_kinds_are_read_beside_our_own(room, labels):
    room.sources.own.points.add([(1, 2, 3)])
    room.sources.add(labels)
    room.sources.add(Points([(3, 5, 6)], features={"object_id": [7], "label": ["negative"]}))
    room.sources.add(Shapes([[(0, 2, 2), (0, 2, 5), (0, 6, 5), (0, 6, 2)]], features={"object_id": [9]}))
    assert room.sources.read().object_ids == (1, 4, 7, 9)
    assert PointPrompt(7, 3, 5, 6, positive=False) in room.said()
    assert mask_of(labels, 4, 2) in room.said()


def test_other_layers_are_refused(room):
    with pytest.raises(OptionError, match="of type Image"):
        room.sources.add(room.image)
    with pytest.raises(OptionError, match="Choose one of your own"):
        room.sources.add(room.sources.own.shapes)
    assert room.sources.others == ()


def test_a_layer_is_read_once_however_often_it_is_added(room, labels):
    room.sources.add(labels)
    room.sources.add(labels)
    assert room.sources.others == (labels,)
    room.sources.remove(labels)
    assert room.sources.others == ()
    assert room.said() == set()


@pytest.mark.parametrize(
    "layer",
    [
        Labels(np.zeros((5, 9, 9), np.uint16)),
        Labels(np.full(SHAPE, -1, np.int16)),
        Points([(1, 99, 3)]),
        Points([(1, 2, 3)], features={"object_id": ["left"]}),
        Points([(1, 2, 3)], features={"label": ["maybe"]}),
        Shapes([[(0, 2, 2), (3, 2, 5)]], shape_type="line"),
    ],
)
def test_a_layer_that_makes_no_sense_is_not_taken_in(room, layer):
    with pytest.raises(NapariSam2Error, match=layer.name):
        room.sources.add(layer)
    assert room.sources.others == ()


def test_edits_of_the_user_are_announced_as_long_as_the_layer_is_read(room, labels):
    points = Points([(3, 5, 6)])
    for layer in (labels, points):
        room.sources.add(layer)
    before = room.others_edited
    points.add([(3, 6, 6)])
    assert room.others_edited > before
    before = room.others_edited
    labels.data = np.zeros(SHAPE, np.uint16)
    assert room.others_edited > before
    assert room.sources.read().object_ids == (1,)
    for layer in (labels, points):
        room.sources.remove(layer)
    before = room.others_edited
    points.add([(3, 7, 6)])
    labels.data = np.ones(SHAPE, np.uint16)
    assert room.others_edited == before


@pytest.mark.parametrize("frames", [[1], [1, 4]])
def test_only_painted_frames_are_read_again(room, labels, frames):
    room.sources.add(labels)
    labels.data[0, 0, 0] = 5  # behind the back of everybody
    indices = (np.array(frames), np.zeros(len(frames), int), np.zeros(len(frames), int))
    labels.data_setitem(indices, 6)
    assert room.sources.read().frames_of(6) == tuple(frames)
    assert 5 not in room.sources.read().object_ids


def test_a_prompt_that_is_settled_is_not_said_until_it_is_changed(room, labels):
    room.sources.add(labels)
    room.sources.retired = frozenset(room.sources.prompts_of_others)
    assert room.said() == set()
    labels.data_setitem((np.array([2]), np.array([8]), np.array([8])), 4)
    assert room.said() == {mask_of(labels, 4, 2)}


def test_a_settled_prompt_that_was_taken_away_is_said_when_it_comes_back(room, labels):
    room.sources.add(labels)
    room.sources.retired = frozenset(room.sources.prompts_of_others)
    room.sources.remove(labels)
    assert room.said() == set()
    room.sources.add(labels)
    assert room.said() == {mask_of(labels, 4, 2)}


def test_a_mask_that_overrules_takes_the_place_of_prompts_of_any_layer(room, labels):
    room.sources.add(labels)
    given = room.sources.read()[Target(4, 2)]
    painted = MaskPrompt(4, 2, labels.data[1] == 0)
    room.sources.user_masks = {Target(4, 2): UserMask(painted, given)}
    assert room.said() == {painted}
    points = Points([(2, 5, 6)], features={"object_id": [4]})
    room.sources.add(points)
    assert room.said() == {painted, PointPrompt(4, 2, 5, 6)}


def test_edits_of_our_layers_are_told_with_what_was_there_before(room):
    room.sources.own.points.add([(1, 2, 3)])
    assert [len(after.points) - len(before.points) for before, after in room.edits] == [1]
    room.sources.restore(lambda: room.sources.own.restore(room.edits[0][0]))
    assert len(room.edits) == 1
    assert room.said() == set()


def test_nothing_is_heard_once_closed_and_all_of_it_when_opened_again(room, labels):
    room.sources.add(labels)
    room.sources.close()
    labels.data_setitem((np.array([1]), np.array([0]), np.array([0])), 6)
    room.sources.own.points.add([(1, 2, 3)])
    assert (room.others_edited, room.edits) == (0, [])
    room.sources.reopen()
    assert room.sources.read().object_ids == (1, 4, 6)
    room.sources.own.points.add([(1, 4, 3)])
    assert [len(after.points) - len(before.points) for before, after in room.edits] == [1]
    labels.data_setitem((np.array([1]), np.array([1]), np.array([1])), 6)
    assert room.others_edited


def test_layers_of_the_user_are_found_by_the_objects_they_say_something_of(room, labels):
    room.sources.own.points.add([(1, 2, 3)])
    points = Points([(3, 5, 6)], features={"object_id": [7]})
    room.sources.add(labels)
    room.sources.add(points)
    room.sources.read()
    assert room.sources.others_with([7, 8]) == (points,)
    assert room.sources.others_with([4, 7]) == (labels, points)
    assert room.sources.others_with([1]) == ()


def test_our_points_keep_which_mask_is_meant(room):
    own = room.sources.own
    clicks = [PointPrompt(1, 2, 3, 4, candidate=1), PointPrompt(1, 2, 5, 6), PointPrompt(2, 0, 3, 4, positive=False)]
    own.restore(own.state_of(clicks, grid_of(room.image)))
    assert room.sources.read().prompts == tuple(clicks)
    own.points.add([(1, 7, 8)])
    assert own.points.features["candidate"].tolist() == [1, -1, -1, -1]
    assert own.points.features["candidate"].dtype == int
    assert room.sources.read().prompts[3].candidate is None


def test_a_mask_is_chosen_at_the_last_point_there_and_a_choice_makes_another_state(room):
    own = room.sources.own
    twice = PointPrompt(1, 2, 3, 4)
    own.restore(own.state_of([twice, twice, PointPrompt(2, 2, 3, 4), PointPrompt(1, 1, 3, 4)], grid_of(room.image)))
    before = own.state()
    image, grid = room.image, grid_of(room.image)
    after = own.state_with_candidate(before, twice, 2, image, grid)
    assert after.point_features["candidate"].tolist() == [-1, 2, -1, -1]
    assert not after.is_same(before)
    assert own.state_with_candidate(after, twice, None, image, grid).is_same(before)
    assert own.state_with_candidate(before, PointPrompt(1, 2, 3, 5), 2, image, grid) is None


def test_a_layer_of_the_users_own_may_say_which_mask_is_meant(room):
    room.sources.add(Points([(3, 5, 6)], features={"candidate": [2]}))
    assert room.said() == {PointPrompt(1, 3, 5, 6, candidate=2)}
