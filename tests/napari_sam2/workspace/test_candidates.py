"""One mask of a click after the other: the model that draws discs has three sizes, and chooses medium by itself."""

import threading

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_sam2.api import segment
from napari_sam2.cli.verbs import main
from napari_sam2.files.prompts import PromptFile, write_prompts
from napari_sam2.prompts import PointPrompt
from napari_sam2.results import ObjectMask
from napari_sam2.sample_data import nuclei_2d_image
from napari_sam2.workspace.candidates import overlap
from tests.napari_sam2.bench import FRAMES, Bench, paint, square
from tests.napari_sam2.drawn_masks import mask
from tests.napari_sam2.fake_predictor import RADIUS, FakePredictor, drawn_mask

OWN, SMALL, LARGE = (
    int((drawn_mask(1, [PointPrompt(1, 0, 10, 12, candidate=c)], 24, 30).logits > 0).sum()) for c in (None, 0, 2)
)


class OneMask(FakePredictor):
    """A model whose three masks are all alike."""

    def open(self, frames):
        tracker = super().open(frames)
        tracker._mask = lambda object_id, frame: drawn_mask(
            object_id,
            [PointPrompt(one.object_id, one.frame, one.y, one.x) for one in tracker.said[object_id, frame]],
            frames.height,
            frames.width,
        )
        return tracker


def opened(predictor):
    """A bench on whose first frame somebody looks."""
    bench = Bench(predictor)
    bench.show(0)
    return bench


@pytest.fixture
def fake():
    return FakePredictor()


@pytest.fixture
def bench(fake):
    bench = opened(fake)
    yield bench
    bench.close()


def press(bench):
    """Press A, and return the area of the mask that is seen then, and what is said."""
    bench.another_mask()
    bench.settle()
    return int(bench.shown(bench.object_id, bench.frame).sum()), bench.message


def candidates(bench):
    return [prompt.candidate for prompt in bench.prompts.prompts]


def test_each_press_shows_another_mask_until_the_models_own_comes_back(bench):
    bench.show(2)
    bench.click(2, 10, 12)
    assert bench.shown(1, 2).sum() == OWN
    assert SMALL < OWN < LARGE
    assert press(bench) == (SMALL, "Another mask of the last click, 1 of 3. A shows the next.")
    # The second looks like the model's own choice, which was seen already.
    assert press(bench) == (LARGE, "Another mask of the last click, 3 of 3. A shows the next.")
    assert press(bench) == (OWN, "This is the mask that the model thinks best. A shows another.")
    assert press(bench)[0] == SMALL


def test_the_choice_is_part_of_the_prompt(bench):
    bench.click(0, 10, 12)
    assert candidates(bench) == [None]
    press(bench)
    assert bench.prompts.prompts == (PointPrompt(1, 0, 10, 12, candidate=0),)
    assert bench.masks_on(0)[1].prompts == bench.prompts.prompts
    assert bench.points.features["candidate"].tolist() == [0]


def test_the_last_click_of_the_object_on_this_frame_is_meant(bench):
    bench.click(0, 10, 6)
    bench.click(1, 10, 12)
    bench.click(1, 12, 12)
    bench.new_object()
    bench.click(1, 10, 24)
    bench.choose(1)
    bench.show(1)
    press(bench)
    assert candidates(bench) == [None, None, 0, None]


def test_a_press_is_one_step_to_undo(bench):
    bench.click(0, 10, 12)
    press(bench)
    press(bench)
    assert candidates(bench) == [2]
    areas = []
    for step in (bench.undo, bench.undo, bench.redo, bench.redo):
        step()
        bench.settle()
        areas.append(int(bench.shown(1, 0).sum()))
    assert areas == [SMALL, OWN, SMALL, LARGE]
    assert candidates(bench) == [2]
    for _ in range(3):
        bench.undo()
        bench.settle()
    assert not bench.prompts
    assert not bench.can_undo


def test_a_press_while_the_answer_is_on_its_way_goes_on_from_what_is_seen(bench):
    bench.click(0, 10, 12)
    bench.another_mask()
    assert press(bench)[0] == LARGE  # not the second, which looks like what is seen
    assert candidates(bench) == [2]


def test_what_is_undone_before_the_answer_is_not_gone_on_with(bench):
    bench.click(0, 10, 12)
    press(bench)
    bench.another_mask()  # the second mask, which is going to be left out
    bench.undo()
    bench.settle()
    assert candidates(bench) == [0]
    assert bench.shown(1, 0).sum() == SMALL


def test_where_all_masks_are_alike_nothing_is_chosen_and_that_is_said():
    bench = opened(OneMask())
    bench.click(0, 10, 12)
    area, message = press(bench)
    assert message.startswith("The model has no other mask of the last click. Correct this one with a click")
    assert area == OWN
    assert candidates(bench) == [None]
    bench.undo()  # of the click: the press was no step
    bench.settle()
    assert not bench.prompts
    bench.close()


def test_a_new_click_leaves_the_choice_to_the_model_again(bench):
    bench.click(0, 10, 12)
    press(bench)
    bench.click(0, 10, 22)
    assert candidates(bench) == [0, None]
    assert bench.points.features["candidate"].dtype == int
    assert bench.shown(1, 0)[10, 12 + int(RADIUS)]  # as wide as without a choice


def test_what_was_followed_before_the_choice_is_followed_anew(bench):
    bench.click(0, 10, 12)
    bench.propagate()
    bench.settle()
    press(bench)
    bench.propagate()
    bench.settle()
    assert [int(bench.shown(1, frame).sum()) for frame in range(FRAMES)] == [SMALL] * FRAMES


def test_a_propagation_goes_on_after_a_press_that_came_in_between():
    reached, pressed = threading.Event(), threading.Event()

    def wait(frame):
        if frame == 2:
            reached.set()
            assert pressed.wait(10)

    bench = opened(FakePredictor(before_follow=wait))
    bench.click(0, 10, 12)
    bench.propagate()
    assert reached.wait(10)
    bench.another_mask()
    pressed.set()
    bench.settle()
    assert [int(bench.shown(1, frame).sum()) for frame in range(FRAMES)] == [SMALL] * FRAMES
    bench.close()


def test_a_click_that_corrects_a_followed_mask_may_choose_too(bench):
    bench.click(0, 10, 12)
    bench.propagate()
    bench.settle()
    bench.show(3)
    bench.click(3, 10, 20)
    before = int(bench.shown(1, 3).sum())
    assert press(bench)[0] < before
    assert [prompt.candidate for prompt in bench.prompts.prompts if isinstance(prompt, PointPrompt)] == [None, 0]


def test_a_choice_survives_a_session(bench, fake, tmp_path):
    bench.click(0, 10, 12)
    press(bench)
    press(bench)
    bench.snapshot().write(tmp_path / "work.sam2session")
    other = opened(fake)
    other.open_session(tmp_path / "work.sam2session")
    assert candidates(other) == [2]
    assert np.array_equal(other.current(), bench.current())
    assert press(other) == (OWN, "This is the mask that the model thinks best. A shows another.")
    other.close()


# Where there is nothing to choose -------------------------------------------------------------------------------------


def without_click(bench):
    pass


def on_another_frame(bench):
    bench.click(0, 10, 12)
    bench.show(1)


def with_a_painted_mask(bench):
    bench.click(0, 10, 12)
    paint(bench, 0, square(9, 9), 1)


def with_a_click_that_excludes(bench):
    bench.click(0, 10, 12)
    bench.toggle_polarity()
    bench.click(0, 10, 14)


def with_a_scribble(bench):
    bench.shapes.add([[(0, 10, 8), (0, 10, 14)]], shape_type="line")
    bench.settle()


def without_an_answer(bench):
    bench.points.add([(0, 10, 12)])


def locked(bench):
    bench.click(0, 10, 12)
    bench.lock(1)


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (without_click, "There is no click of object 1 on this frame. Click it, and A shows another"),
        (on_another_frame, "There is no click of object 1 on this frame"),
        (with_a_painted_mask, "There is no click of object 1 on this frame"),
        (
            with_a_click_that_excludes,
            "The last click of object 1 on this frame excludes. A shows other masks of a click",
        ),
        (with_a_scribble, "The last point of object 1 on this frame is of a scribble or of a layer of your own. Click"),
        (without_an_answer, "The last click of object 1 on this frame is not answered yet. Press A once"),
        (locked, "Object 1 is locked. Unlock it"),
    ],
)
def test_where_there_is_no_choice_a_sentence_says_why_and_nothing_changes(bench, begin, message):
    begin(bench)
    state, current = bench.work.sources.own.state(), bench.current().copy()
    bench.another_mask()
    assert bench.message.startswith(message)
    assert bench.work.asker.status.is_problem == (begin is locked)
    assert bench.work.sources.own.state().is_same(state)
    assert np.array_equal(bench.current(), current)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (mask(1, "55 55"), mask(1, "55 55"), 1.0),
        (mask(1, "55 55"), mask(1, "5. .."), 0.25),
        (mask(1, "55 55"), mask(1, "55 55", (0, 1)), 1 / 3),
        (mask(1, "55 55"), mask(1, ".... .55. .55.", (0, 0)), 1 / 7),
        (mask(1, "55"), mask(1, "55", (4, 4)), 0.0),
        (mask(1, ".."), mask(1, "..", (4, 4)), 1.0),
        (mask(1, "55"), ObjectMask(1, (0, 0), np.zeros((0, 0), np.float32), 1.0, 0.0), 0.0),
    ],
)
def test_the_overlap_of_two_masks_is_counted_where_both_lie(one, other, expected):
    assert overlap(one, other) == pytest.approx(expected)
    assert overlap(other, one) == pytest.approx(expected)


# The embedded model --------------------------------------------------------------------------------------------------


def test_a_mask_chosen_in_the_panel_is_that_of_python_of_the_shell_and_of_a_replay(nano, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = nuclei_2d_image()
    tifffile.imwrite("nuclei.tif", image)
    bench = Bench(nano, image)
    bench.points.add([(106, 133)])
    bench.settle()
    seen = [bench.current() > 0]
    for _ in range(3):
        bench.another_mask()
        bench.settle()
        seen.append(bench.current() > 0)
    assert np.array_equal(seen[0], seen[3])
    areas = [np.count_nonzero(one) for one in seen[:3]]
    assert len(set(areas)) == 3
    assert all(ndimage.label(one, np.ones((3, 3)))[1] == 1 for one in seen if one[106, 133])
    bench.another_mask()
    bench.settle()
    bench.another_mask()
    bench.settle()
    bench.snapshot().write("work.sam2session")
    write_prompts("prompts.json", PromptFile(bench.prompts))
    prompts = bench.prompts.prompts
    bench.close()

    assert [one.candidate for one in prompts] == [2]
    in_python = segment(image, prompts, model=nano, contrast_limits=(0, 255)).labels
    assert np.array_equal(in_python > 0, seen[2])
    arguments = "segment nuclei.tif --prompts prompts.json --contrast 0 255 --device cpu --output segmented.tif"
    assert main(arguments.split()) == 0
    assert (
        main(["replay", "work.sam2session", "--image", "nuclei.tif", "--device", "cpu", "--output", "replayed.tif"])
        == 0
    )
    for name in ("segmented.tif", "replayed.tif"):
        assert np.array_equal(tifffile.imread(name) > 0, seen[2])
