"""Everything in a frame, from the search to objects of it: a workbench without a window, a model that finds pieces."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sam2.workbench import commands
from napari_sam2.workbench.facts import FactsReader
from napari_sam2.workbench.finding import Area, SearchPlaces
from napari_sam2.workbench.sentences import status_advice
from napari_sam2.workspace import finding
from tests.napari_sam2.bench import FRAMES, HEIGHT, WIDTH, Room
from tests.napari_sam2.fake_predictor import OBJECT_SCORE, PREDICTED_IOU, FakePredictor

CORNERS = ((2, 2), (2, 20), (15, 3), (15, 20))
"""Upper left corners of the pieces on each frame, each 6 pixels wide; two of them are in the upper part."""


def pieces(corners=CORNERS):
    image = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for y, x in corners:
        image[:, y : y + 6, x : x + 6] = 200
    return image


class FindingRoom(Room):
    """A stack with pieces, and what a user does to have them all."""

    def __init__(self, data=None):
        super().__init__()
        data = pieces() if data is None else data
        self.viewer.add_image(data, contrast_limits=(0, 255), name="pieces")
        self.hand_over()
        self.show(0)
        self.reader = FactsReader()

    def load(self, source):
        return self.fakes.setdefault(source, FakePredictor())

    @property
    def finder(self):
        return self.work.finder

    @property
    def fake(self):
        return self.fakes["nano"]

    @property
    def sentence(self):
        return status_advice(self.bench, self.reader).sentence

    @property
    def offer(self):
        return status_advice(self.bench, self.reader).offer

    @property
    def preview(self):
        return self.finder.preview.layer

    def find(self):
        self.bench.run(commands.FIND)
        while self.finder.is_searching:
            self.posted.get(timeout=10)()

    def add(self):
        self.bench.run(commands.ADD_FOUND)
        self.settle()

    def add_other(self):
        return self.viewer.add_image(np.zeros((HEIGHT, WIDTH), np.uint8), name="other")

    def keep(self, **chosen):
        self.set_choices(kept=replace(self.choices.kept, **chosen))


@pytest.fixture
def room():
    made = FindingRoom()
    yield made
    made.detach()


# The search ----------------------------------------------------------------------------------------------------------


def test_the_count_is_said_before_anything_is_added(room):
    room.show(2)
    room.find()
    assert room.sentence == "4 objects found. Add them? The sliders choose fewer or more."
    assert (room.objects_with_masks, len(room.prompts), room.can_undo) == ((), 0, False)
    assert room.offer.text == "Add 4 objects"


def test_what_was_found_is_shown_on_its_frame_and_under_the_objects(room):
    room.show(2)
    room.find()
    shown = np.asarray(room.preview.data)
    assert (shown[2] > 0).sum() == 4 * 36
    assert not shown[[0, 1, 3, 4, 5]].any()
    assert room.viewer.layers.index(room.preview) < room.viewer.layers.index(room.current_layer)
    assert room.viewer.layers.selection.active is room.points
    assert room.preview not in room.bench.other_layers()


def test_parts_are_told_as_they_come_and_what_was_found_before_a_cancel_stays(room):
    room.bench.run(commands.FIND)
    while room.finder.done < 1:
        room.posted.get(timeout=10)()
    assert room.sentence.startswith("Finding objects: 1 of 2 parts")
    assert "2 objects are found" in room.sentence
    room.bench.run(commands.CANCEL_SEARCH)
    while room.finder.is_searching:
        room.posted.get(timeout=10)()
    assert len(room.finder.kept) in (2, 4)  # the part in hand may have been the last one
    room.add()
    assert len(room.objects_with_masks) in (2, 4)


def test_a_click_is_answered_between_two_parts(room):
    calls = []
    room.bench.run(commands.FIND)
    while room.finder.done < 1:
        room.posted.get(timeout=10)()
    room.fake.before_part = calls.append
    room.click(0, 12, 12)
    assert room.masks_on(0).keys() == {1}
    while room.finder.is_searching:
        room.posted.get(timeout=10)()
    assert len(room.finder.kept) == 4


def test_a_second_press_while_it_searches_does_nothing(room):
    room.bench.run(commands.FIND)
    room.find()
    assert room.fake.count("propose") == 1


def test_an_empty_frame_is_a_sentence_with_the_remedy_until_one_goes_on():
    room = FindingRoom(pieces(()))
    room.find()
    assert room.sentence == finding.NOTHING
    assert room.preview is None
    room.click(0, 5, 5)
    assert room.sentence != finding.NOTHING
    room.detach()


def test_what_goes_wrong_is_said_and_nothing_stays(room):
    def fail(part):
        raise MemoryError

    room.warm_up()
    room.find()
    room.bench.run(commands.DISCARD_FOUND)
    room.fake.before_part = fail
    room.find()
    assert room.finder.frame is None
    assert room.message


# What is kept --------------------------------------------------------------------------------------------------------


def test_sliders_act_on_what_was_found_without_another_search(room):
    room.find()
    room.keep(least_score=0.99)
    assert room.finder.kept == ()
    assert room.sentence.startswith("8 objects found, and none is kept")
    assert not np.asarray(room.preview.data).any()
    room.keep(least_score=0.5, size_bias=-1.0)
    assert [one.mask.sum() for one in room.finder.kept] == [16] * 4
    assert (np.asarray(room.preview.data)[0] > 0).sum() == 4 * 16
    assert room.fake.count("propose") == 1


def test_what_is_covered_by_objects_is_not_proposed_again(room):
    room.click(0, 4.5, 4.5)
    room.find()
    assert len(room.finder.kept) == 3
    assert room.sentence.startswith("3 objects found")
    room.add()
    assert room.objects_with_masks == (1, 2, 3, 4)
    room.find()
    assert room.sentence == finding.NOTHING_NEW
    assert room.finder.frame is None


@pytest.mark.parametrize("put_away", ["commit", "hide", "lock"])
def test_objects_that_are_committed_hidden_or_locked_are_not_found_again(room, put_away):
    room.find()
    room.add()
    if put_away == "commit":
        room.commit()
    else:
        getattr(room, put_away)(*room.objects_with_masks)
    room.hand_over()
    room.find()
    assert room.sentence == finding.NOTHING_NEW


def test_deleting_an_object_lets_it_be_found_again(room):
    room.find()
    room.add()
    room.delete(2)
    room.settle()
    room.find()
    assert len(room.finder.kept) == 1


# Objects of it -------------------------------------------------------------------------------------------------------


def test_adding_makes_objects_with_what_the_model_said_in_one_step(room):
    room.show(1)
    room.find()
    room.add()
    assert room.objects_with_masks == (1, 2, 3, 4)
    scores = room.scores_on(1)
    assert all((one.predicted_iou, one.object_score) == (PREDICTED_IOU, OBJECT_SCORE) for one in scores.values())
    assert all(one.area_px == 36 for one in scores.values())
    assert all(prompt.found is not None for prompt in room.prompts.prompts)
    assert not np.asarray(room.preview.data).any()
    room.undo()
    room.settle()
    assert (room.objects_with_masks, len(room.prompts)) == ((), 0)
    assert not room.current().any()
    assert room.object_id == 1
    assert room.sentence.startswith("4 objects found")  # to be chosen from again
    room.redo()
    room.settle()
    assert room.objects_with_masks == (1, 2, 3, 4)
    assert room.finder.frame is None


def test_numbers_go_on_after_those_there_are(room):
    room.choose(7)
    room.click(0, 12, 12)
    room.find()
    room.add()
    assert room.objects_with_masks == (7, 8, 9, 10, 11)
    room.choose(9)
    room.undo()
    room.settle()
    assert room.object_id == 7


def test_what_was_found_is_doubtful_where_the_model_says_so_and_corrected_by_a_click(room):
    room.find()
    room.add()
    assert len(room.work.doubts(0.9)) == 4
    assert not room.is_approved(1, 0)
    place = np.argwhere(room.current()[0] == 1).mean(0)
    room.choose(1)
    room.click(0, *place.tolist())
    given = [type(prompt).__name__ for prompt in room.prompts.prompts if prompt.object_id == 1]
    assert given == ["MaskPrompt", "PointPrompt"]
    room.choose(2)
    room.approve()
    room.settle()
    assert [object_id for object_id in (1, 2, 3, 4) if room.confidence(object_id, 0) == 1.0] == [2]
    assert len(room.work.doubts(0.9)) == 3


def test_what_was_found_is_followed(room):
    room.show(2)
    room.find()
    room.add()
    room.propagate()
    room.settle()
    assert room.frames_with_masks == tuple(range(FRAMES))
    assert all((room.shown(one, 5) == room.shown(one, 2)).all() for one in (1, 2, 3, 4))


def test_very_many_are_asked_about_once_more(room, monkeypatch):
    monkeypatch.setattr(finding, "MANY", 3)
    room.find()
    room.bench.run(commands.ADD_FOUND)
    assert room.objects_with_masks == ()
    assert "Press once more" in room.sentence
    room.keep(smallest_px=13)  # whoever chooses anew is asked anew
    room.bench.run(commands.ADD_FOUND)
    assert room.objects_with_masks == ()
    room.add()
    assert room.objects_with_masks == (1, 2, 3, 4)


def test_adding_nothing_is_no_step_and_says_so(room):
    room.bench.run(commands.ADD_FOUND)
    assert "nothing found that could be added" in room.message
    assert not room.can_undo


# They belong to one frame of one image, and to one model -------------------------------------------------------------


def test_on_another_frame_they_wait_and_the_way_back_is_offered(room):
    room.show(3)
    room.find()
    room.show(0)
    assert room.sentence == "4 objects are found on frame 3, and not added."
    room.offer.act(room.bench)
    assert room.frame == 3
    assert room.sentence.startswith("4 objects found")


def test_another_model_drops_them_with_a_sentence(room):
    room.find()
    room.use_model("tiny")
    assert room.sentence == finding.LOST
    assert not np.asarray(room.preview.data).any()
    room.add()
    assert room.objects_with_masks == ()


def test_another_model_drops_also_what_came_back_by_undo(room):
    room.find()
    room.add()
    room.undo()
    room.settle()
    assert len(room.finder.kept) == 4
    room.use_model("tiny")
    assert room.finder.kept == ()


def test_proposals_that_are_too_many_to_be_remembered_do_not_keep_the_step_from_being_undone(room, monkeypatch):
    monkeypatch.setattr("napari_sam2.workspace.workspace.HISTORY_BYTES", 100)
    room.find()
    room.add()
    room.undo()
    room.settle()
    assert room.objects_with_masks == ()
    assert room.finder.frame is None


def test_contrast_that_is_changed_to_see_them_better_keeps_them(room):
    room.find()
    seen = room.frames_seen
    room.viewer.layers["pieces"].contrast_limits = (0, 100)
    assert room.frames_seen is seen
    assert len(room.finder.kept) == 4
    room.bench.run(commands.DISCARD_FOUND)
    room.viewer.layers["pieces"].contrast_limits = (0, 90)
    assert room.frames_seen is not seen


def test_another_image_leaves_them_where_they_are(room):
    room.find()
    first = room.work
    room.choose_image(room.add_other())
    assert room.finder.frame is None
    room.choose_image(first.image)
    assert room.work is first
    assert len(room.finder.kept) == 4


def test_closing_the_panel_and_removing_their_layer_drops_them(room):
    room.find()
    room.viewer.layers.remove(room.preview)
    assert room.finder.frame is None
    room.find()
    work = room.work
    room.close()
    assert work.finder.preview.layer is None
    assert "found_objects" not in room.layer_names()


def test_another_frame_is_searched_and_shown_instead(room):
    room.find()
    room.show(4)
    room.find()
    assert np.asarray(room.preview.data).any((1, 2)).tolist() == [False, False, False, False, True, False]
    room.bench.run(commands.DISCARD_FOUND)
    assert not np.asarray(room.preview.data).any()


def test_a_layer_of_them_goes_with_work_in_which_nothing_was_done(room):
    room.find()
    room.bench.run(commands.DISCARD_FOUND)
    room.choose_image(room.add_other())
    assert "found_objects" not in room.layer_names()


def test_a_search_ends_with_the_panel(room):
    room.bench.run(commands.FIND)
    room.close()
    room.hand_over()
    assert "found_objects" not in room.layer_names()


# Where and from what -------------------------------------------------------------------------------------------------


def test_shapes_limit_the_search_and_cut_no_object_off(room):
    shapes = room.viewer.add_shapes([[(0, 0), (0, 6), (24, 6), (24, 0)]], shape_type="polygon", name="left")
    room.bench.places = SearchPlaces(shapes)
    room.find()
    assert sorted(one.corner for one in room.finder.kept) == [(2, 2), (15, 3)]
    assert [one.mask.sum() for one in room.finder.kept] == [36, 36]
    room.viewer.layers.remove(shapes)
    assert room.bench.places.area is Area.FRAME


def test_shapes_without_a_closed_one_on_the_frame_are_told(room):
    room.bench.places = SearchPlaces(room.viewer.add_shapes([[(0, 0), (9, 9)]], shape_type="line", name="line"))
    room.find()
    assert "'line' has no closed shape on this frame" in room.message
    assert room.finder.frame is None


def test_what_is_in_view_is_searched(room):
    room.bench.places = SearchPlaces(Area.VIEW)
    room.work.image.corner_pixels = np.array([[0, 0, -5], [0, 12, 14]])
    room.find()
    assert [one.corner for one in room.finder.kept] == [(2, 2)]
    room.work.image.corner_pixels = np.array([[0, 50, 50], [0, 60, 60]])
    room.find()
    assert "Nothing of the image is in view" in room.message


def test_points_are_seeds_on_their_frame(room):
    points = room.viewer.add_points([(0, 4, 4), (1, 17, 22)], name="seeds")
    room.bench.places = SearchPlaces(seeds=points)
    room.find()
    assert [one.corner for one in room.finder.kept] == [(2, 2)]
    room.show(1)
    room.find()
    assert [one.corner for one in room.finder.kept] == [(15, 20)]
    room.show(2)
    room.find()
    assert "'seeds' marks nothing on this frame" in room.message


def test_each_label_is_a_seed_and_labels_of_another_shape_are_refused(room):
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    labels[0, 3:6, 3:6], labels[0, 16:19, 21:24] = 4, 9
    room.bench.places = SearchPlaces(seeds=room.viewer.add_labels(labels, name="nuclei"))
    room.find()
    assert sorted(one.corner for one in room.finder.kept) == [(2, 2), (15, 20)]
    room.bench.places = SearchPlaces(seeds=room.viewer.add_labels(labels[:, ::2], name="half"))
    room.find()
    assert "does not lie on image 'pieces'" in room.message


# Saved ---------------------------------------------------------------------------------------------------------------


def test_what_was_found_is_saved_and_opened_as_it_is(room, tmp_path):
    room.find()
    room.add()
    before, scores = room.current().copy(), room.scores()
    room.snapshot(room.choices).write(tmp_path / "work.sam2session")
    again = FindingRoom()
    again.open_session(tmp_path / "work.sam2session")
    assert again.prompts == room.prompts
    assert (again.current() == before).all()
    assert again.scores().equals(scores)
    assert len(again.work.doubts(0.9)) == 4
    again.detach()


# Like examples -------------------------------------------------------------------------------------------------------


SMALL, LARGE = ((2, 2), (2, 12)), ((12, 2), (12, 16))
"""Corners of pieces of 4 and 8 px. To the fake, objects are alike that are as large; a click is a disc of 21 px."""


@pytest.fixture
def two_kinds():
    image = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for side, corners in ((4, SMALL), (8, LARGE)):
        for y, x in corners:
            image[:, y : y + side, x : x + side] = 200
    room = FindingRoom(image)
    yield room
    room.detach()


def found_by(room, command):
    room.bench.run(command)
    while room.finder.is_searching:
        room.posted.get(timeout=10)()
    return sorted(one.corner for one in room.finder.kept)


def test_what_is_like_the_selected_object_is_found(two_kinds):
    two_kinds.click(0, 3.5, 3.5)
    assert found_by(two_kinds, commands.FIND_LIKE) == [SMALL[1]]
    assert ("describe", 0, 1) in two_kinds.fake.calls


def test_how_much_they_have_to_be_alike_acts_at_once(two_kinds):
    two_kinds.click(0, 3.5, 3.5)
    found_by(two_kinds, commands.FIND_LIKE)
    searches = two_kinds.fake.count("propose")
    bench = two_kinds.bench
    bench.use_choices(replace(bench.choices, kept=replace(bench.choices.kept, least_likeness=0.2)))
    assert sorted(one.corner for one in two_kinds.finder.kept) == [SMALL[1], *LARGE]
    assert two_kinds.fake.count("propose") == searches


def test_examples_serve_on_the_next_frame_until_everything_is_looked_for(two_kinds):
    two_kinds.click(0, 3.5, 3.5)
    found_by(two_kinds, commands.FIND_LIKE)
    two_kinds.show(3)
    assert found_by(two_kinds, commands.FIND_LIKE) == list(SMALL)
    assert found_by(two_kinds, commands.FIND) == [*SMALL, *LARGE]
    assert two_kinds.bench.places.examples == ()


def test_what_is_like_an_unwanted_example_is_left_out(two_kinds):
    two_kinds.click(0, 3.5, 3.5)
    bench = two_kinds.bench
    bench.use_choices(replace(bench.choices, kept=replace(bench.choices.kept, least_likeness=0.2)))
    assert LARGE[0] in found_by(two_kinds, commands.FIND_LIKE)
    two_kinds.bench.run(commands.DISCARD_FOUND)
    two_kinds.bench.run(commands.NEW_OBJECT)
    two_kinds.shapes.add([[(0, 12, 2), (0, 12, 9), (0, 19, 9), (0, 19, 2)]], shape_type="rectangle")
    two_kinds.settle()
    assert found_by(two_kinds, commands.FIND_UNLIKE) == [SMALL[1]]


def test_without_an_example_it_is_told_what_to_select(two_kinds):
    assert found_by(two_kinds, commands.FIND_LIKE) == []
    assert "Select an object with a mask" in two_kinds.message
    two_kinds.clear_message()
    two_kinds.click(0, 3.5, 3.5)
    assert found_by(two_kinds, commands.FIND_UNLIKE) == []
    assert "Select an object with a mask" in two_kinds.message
