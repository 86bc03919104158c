"""SAM 2 behind the seam: the embedded model, at 256 px, on an image with two bright discs."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from napari_sam2.api import propagate
from napari_sam2.errors import ModelError, OptionError
from napari_sam2.frames import FrameStack, single_frame
from napari_sam2.inference.frame_prompts import frame_prompt
from napari_sam2.inference.masks import object_mask
from napari_sam2.inference.predictor import Predictor
from napari_sam2.inference.sam2 import Sam2Predictor, load_predictor, most_threads, use_threads
from napari_sam2.labels.composing import compose
from napari_sam2.prompts import BoxPrompt, MaskPrompt, ModelScores, PointPrompt, PromptSet
from napari_sam2.results import ObjectMask
from napari_sam2.sample_data import nuclei_2d_image
from sam2_model.config import CONFIGS, Framing
from sam2_model.memory_bank import Direction
from sam2_model.sam2 import Sam2
from sam2_model.video.predictor import VideoPredictor
from sam2_model.video.state import FramePrompt
from sam2_model.weights.loading import LoadedModel
from tests.napari_sam2.conftest import drawn

HIGH, LOW = (24, 70), (50, 22)  # centres (y, x) of the discs of `cells`


def point(object_id, yx, *, frame=0, positive=True):
    return PointPrompt(object_id, frame, *yx, positive=positive)


def box(object_id, yx, *, frame=0, reach=14):
    y, x = yx
    return BoxPrompt(object_id, frame, y - reach, x - reach, y + reach, x + reach)


def disc(shape, yx, radius):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - yx[0]) ** 2 + (x - yx[1]) ** 2 < radius**2


def on_canvas(mask, shape):
    return compose((mask,), *shape, np.dtype(np.uint16)).labels == mask.object_id


def centre(pixels):
    return np.argwhere(pixels).mean(0)


def answers(nano, cells, *prompts):
    """What `segment` makes of prompts, by object id."""
    masks = nano.segment(single_frame(cells)[0], PromptSet(prompts).by_object())
    return {mask.object_id: mask for mask in masks}


# One image -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [point, box])
@pytest.mark.parametrize("yx", [HIGH, LOW])
def test_a_prompt_at_y_x_finds_what_is_at_y_x(nano, cells, prompt, yx):
    found = on_canvas(answers(nano, cells, prompt(5, yx))[5], cells.shape)
    assert found.any()
    np.testing.assert_allclose(centre(found), yx, atol=4)


def test_a_mask_alone_is_returned_exactly_as_given(nano, cells):
    odd = np.zeros(cells.shape, bool)
    odd[3, 5:9] = odd[60:, 97:] = odd[40, 40] = True
    answer = answers(nano, cells, MaskPrompt(2, 0, odd))[2]
    np.testing.assert_array_equal(on_canvas(answer, cells.shape), odd)
    assert (answer.is_given, answer.predicted_iou, answer.object_score) == (True, 1.0, 1.0)


FOUND = ModelScores(0.7, 0.8, 0.9, 3.5)


def test_a_mask_that_was_found_is_returned_with_what_the_model_said_of_it(nano, cells):
    part = disc(cells.shape, HIGH, 5)
    answer = answers(nano, cells, MaskPrompt(2, 0, part, found=FOUND))[2]
    np.testing.assert_array_equal(on_canvas(answer, cells.shape), part)
    assert (answer.is_given, answer.is_computed, answer.found) == (False, False, FOUND)
    corrected = answers(nano, cells, MaskPrompt(2, 0, part, found=FOUND), point(2, HIGH))[2]
    assert (corrected.is_computed, corrected.found) == (True, None)
    assert np.count_nonzero(on_canvas(corrected, cells.shape)) > part.sum()


def test_a_mask_that_was_found_does_not_beat_what_a_model_is_surer_of(nano, cells):
    weak = answers(nano, cells, MaskPrompt(1, 0, disc(cells.shape, HIGH, 5), found=ModelScores(0.1, 0.1, 0.1, -2.0)))[1]
    sure = ObjectMask(2, (0, 0), np.full(cells.shape, 0.5, np.float32), 1.0, 1.0)
    assert (compose((weak, sure), *cells.shape, np.dtype(np.uint16)).labels == 2).all()
    assert np.count_nonzero(weak.logits > 0) == disc(cells.shape, HIGH, 5).sum()


def test_a_mask_with_a_click_is_a_hint_and_not_the_answer(nano, cells):
    part = disc(cells.shape, HIGH, 5)
    answer = answers(nano, cells, MaskPrompt(2, 0, part), point(2, HIGH))[2]
    assert not answer.is_given
    assert np.count_nonzero(on_canvas(answer, cells.shape)) > part.sum()


def test_a_pixel_that_was_clicked_away_is_outside(nano, cells):
    whole = disc(cells.shape, HIGH, 12)
    y, x = HIGH
    away = point(1, (y, x + 11), positive=False)
    found = on_canvas(answers(nano, cells, MaskPrompt(1, 0, whole), away)[1], cells.shape)
    assert found[y, x]
    assert not found[y, x + 11]


def test_more_prompts_than_go_through_the_network_together_are_all_answered(nano, cells, monkeypatch):
    monkeypatch.setattr("napari_sam2.inference.sam2.MOST_AT_ONCE", 2)
    found = answers(nano, cells, *(point(n, HIGH if n % 2 else LOW) for n in range(1, 6)))
    assert list(found) == [1, 2, 3, 4, 5]
    for n, mask in found.items():
        np.testing.assert_allclose(centre(on_canvas(mask, cells.shape)), HIGH if n % 2 else LOW, atol=4)


def test_prompts_answered_together_are_answered_as_if_alone(nano, cells):
    prompts = [
        point(1, HIGH),
        box(2, LOW),
        point(3, LOW),
        point(4, HIGH),
        point(4, LOW, positive=False),
        MaskPrompt(6, 0, disc(cells.shape, LOW, 6)),
        box(7, HIGH),
        point(7, HIGH),
        MaskPrompt(8, 0, disc(cells.shape, HIGH, 6)),
        box(8, HIGH),
    ]
    together = answers(nano, cells, *prompts)
    assert list(together) == [1, 2, 3, 4, 6, 7, 8]
    for object_id, mask in together.items():
        alone = answers(nano, cells, *(prompt for prompt in prompts if prompt.object_id == object_id))[object_id]
        np.testing.assert_array_equal(on_canvas(mask, cells.shape), on_canvas(alone, cells.shape))
        assert mask.predicted_iou == pytest.approx(alone.predicted_iou, abs=1e-4)
        assert mask.object_score == pytest.approx(alone.object_score, abs=1e-4)


def test_a_negative_click_on_a_given_mask_cuts_away_and_leaves_the_rest(nano, cells):
    both = disc(cells.shape, HIGH, 13) | disc(cells.shape, (24, 42), 9)  # the disc, and what is none
    tracker = nano.open(FrameStack(np.stack([cells] * 2)))
    (answer,) = tracker.prompt(1, {1: (MaskPrompt(1, 1, both), point(1, (24, 40), frame=1, positive=False))})
    left = on_canvas(answer, cells.shape)
    assert not left[24, 40]
    assert left[HIGH]


def test_an_image_of_given_masks_alone_is_not_encoded(nano, cells, monkeypatch):
    monkeypatch.setattr(Sam2, "encode_image", lambda *_: pytest.fail("the image was encoded"))
    answers(nano, cells, MaskPrompt(2, 0, disc(cells.shape, HIGH, 6)))


# A stack -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tracker(nano, cells):
    return nano.open(FrameStack(np.stack([cells] * 3)))


def test_a_frame_has_been_seen_once_it_was_prompted_or_followed_to(tracker):
    assert not tracker.has_seen(0)
    tracker.prompt(0, {1: (point(1, HIGH),)})
    tracker.follow(1, (1,), Direction.FORWARD)
    assert [tracker.has_seen(frame) for frame in range(3)] == [True, True, False]


def test_followed_objects_come_in_the_order_asked_for(tracker):
    tracker.prompt(0, {1: (point(1, HIGH),), 2: (box(2, LOW),)})
    one, two = tracker.follow(1, (1, 2), Direction.FORWARD)
    again = tracker.follow(1, (2, 1), Direction.FORWARD)
    assert [mask.object_id for mask in (one, two, *again)] == [1, 2, 2, 1]
    for mask, same in ((one, again[1]), (two, again[0])):
        assert 0 < mask.predicted_iou <= 1
        assert 0 < mask.object_score <= 1
        assert same.predicted_iou == pytest.approx(mask.predicted_iou, abs=1e-4)
        assert same.corner == mask.corner
        np.testing.assert_allclose(same.logits, mask.logits, atol=1e-3)
    assert one.corner != two.corner


def test_only_negative_points_on_a_frame_say_that_the_object_is_absent(tracker, cells):
    tracker.prompt(0, {1: (box(1, HIGH),)})
    said = tracker.prompt(1, {1: (point(1, HIGH, frame=1, positive=False),)})
    repeated = tracker.follow(1, (1,), Direction.FORWARD)
    for (mask,) in (said, repeated):
        assert not on_canvas(mask, cells.shape).any()
        assert (mask.object_score, mask.is_given) == (0.0, True)


def test_a_given_mask_is_repeated_exactly_when_it_is_passed(tracker, cells):
    given = disc(cells.shape, LOW, 9)
    tracker.prompt(1, {1: (MaskPrompt(1, 1, given),)})
    (mask,) = tracker.follow(1, (1,), Direction.FORWARD)
    np.testing.assert_array_equal(on_canvas(mask, cells.shape), given)
    assert mask.is_given


def test_a_mask_that_was_found_is_followed_as_a_mask_of_the_users(tracker, cells):
    shown = disc(cells.shape, LOW, 9)
    (mine,) = tracker.prompt(0, {1: (MaskPrompt(1, 0, shown),)})
    (found,) = tracker.prompt(0, {2: (MaskPrompt(2, 0, shown, found=FOUND),)})
    assert (mine.score(0).confidence, found.score(0).confidence) == (1.0, FOUND.confidence)
    one, two = tracker.follow(1, (1, 2), Direction.FORWARD)
    np.testing.assert_allclose(one.logits, two.logits, atol=1e-3)


def test_what_was_taken_back_is_no_longer_given(tracker, cells):
    given = disc(cells.shape, LOW, 3)
    tracker.prompt(0, {1: (box(1, LOW),)})
    tracker.prompt(1, {1: (MaskPrompt(1, 1, given),)})
    tracker.forget(1, 1)
    (mask,) = tracker.follow(1, (1,), Direction.FORWARD)
    assert not mask.is_given
    assert np.count_nonzero(on_canvas(mask, cells.shape)) > given.sum()


# Clean masks ---------------------------------------------------------------------------------------------------------

SPECKLED = """
    ................
    .1111111111.....
    .1111111111.....
    .11..111111.....
    .11..111111..11.
    .1111111111..11.
    .1111111111.....
    .111.111111.....
    .1111111111.....
    ................
    ................
"""


def cleaned(points=(), labels=()):
    logits = np.where(drawn(SPECKLED) > 0, 5.0, -5.0).astype(np.float32)
    xy = np.array(points, np.float32).reshape(-1, 2)[:, ::-1]
    prompt = FramePrompt(points=xy, labels=np.array(labels, np.int64))
    mask = object_mask(1, logits, 0.9, 0.9, logits.shape, prompt)
    return on_canvas(mask, logits.shape)


@pytest.mark.parametrize(
    ("points", "labels", "island", "hole", "pinhole"),
    [
        pytest.param([], [], False, True, True, id="nothing clicked"),
        pytest.param([(4, 13)], [1], True, True, True, id="a clicked island stays"),
        pytest.param([(3, 4)], [0], False, False, True, id="a hole that was clicked away stays"),
        pytest.param([(4, 13)], [0], False, True, True, id="an island that was clicked away goes"),
        pytest.param([(3, 4)], [1], False, True, True, id="a clicked hole is filled"),
        pytest.param([(3.4, 3.6), (10, -0.4)], [0, 1], False, False, True, id="clicks between pixels"),
    ],
)
def test_specks_are_cleaned_unless_a_click_meant_them(points, labels, island, hole, pinhole):
    mask = cleaned(points, labels)
    assert (mask[4, 13], mask[3, 4], mask[7, 4]) == (island, hole, pinhole)
    assert mask[1:3, 1:11].all()


def test_an_absent_object_is_an_empty_window():
    mask = object_mask(1, np.full((8, 8), -1024, np.float32), 0.2, 0.0, (30, 40), FramePrompt())
    assert isinstance(mask, ObjectMask)
    assert mask.score(0).area_px == 0


SCATTERED = """
    ....................
    .1111...............
    .1111....1111..1111.
    .1111....1111..1111.
    .1111....1111..1111.
    .1111...............
    ....................
"""


@pytest.mark.parametrize(
    ("clicks", "labels", "changes", "kept"),
    [
        pytest.param([(2, 2)], [1], {}, "a", id="of one click its island stays"),
        pytest.param([(3, 10)], [1], {}, "ab", id="the largest stays"),
        pytest.param([(3, 10), (4, 17)], [1, 1], {}, "abc", id="each click keeps its own"),
        pytest.param([(2, 2), (0, 10)], [1, 0], {}, "a", id="a click that excludes keeps nothing"),
        pytest.param([], [], {}, "abc", id="a followed object keeps all"),
        pytest.param([(0, 10)], [0], {}, "abc", id="where nothing is included all stays"),
        pytest.param([(2, 2)], [1], {"box": np.array((0, 0, 19, 6), np.float32)}, "abc", id="a box keeps all"),
        pytest.param([(2, 2)], [1], {"mask": np.ones((7, 20), bool)}, "abc", id="a mask keeps all"),
        pytest.param([(2, 2)], [1], {"candidate": 2}, "a", id="of a chosen candidate, too"),
    ],
)
def test_islands_that_no_click_touches_are_dropped_where_clicks_alone_say_what_is_meant(clicks, labels, changes, kept):
    logits = np.where(drawn(SCATTERED) > 0, 5.0, -5.0).astype(np.float32)
    xy = np.array(clicks, np.float32).reshape(-1, 2)[:, ::-1]
    prompt = FramePrompt(points=xy, labels=np.array(labels, np.int64), **changes)

    def found(**how):
        mask = on_canvas(object_mask(1, logits, 0.9, 0.9, logits.shape, prompt, **how), logits.shape)
        return "".join(name for name, place in {"a": (2, 2), "b": (3, 10), "c": (4, 17)}.items() if mask[place])

    assert found() == kept
    assert found(drops_islands=False) == "abc"


def test_of_two_neighbours_that_a_click_finds_the_largest_stays_unless_islands_are_wanted(nano, pair):
    one, both = (Sam2Predictor(nano._model, framing=Framing.SQUARE, drops_islands=drops) for drops in (True, False))
    assert (load_predictor(nano._model).drops_islands, both.drops_islands) == (True, False)
    clicked, largest, other = (36, 40), (36, 30), (36, 50)
    for predictor, is_other in ((one, False), (both, True)):
        tracker = predictor.open(FrameStack(np.stack([pair] * 2)))
        (shown,) = tracker.prompt(0, {1: (point(1, clicked),)})
        (passed,) = tracker.follow(0, (1,), Direction.FORWARD)
        for mask in (answers(predictor, pair, point(1, clicked))[1], shown, passed):
            found = on_canvas(mask, pair.shape)
            assert (found[largest], found[other]) == (True, is_other)


def test_what_is_followed_is_the_same_with_islands_and_without(nano, pair):
    followed = []
    for predictor in (nano, Sam2Predictor(nano._model, drops_islands=False)):
        tracker = predictor.open(FrameStack(np.stack([pair] * 2)))
        tracker.prompt(0, {1: (point(1, (36, 30)),)})
        followed += tracker.follow(1, (1,), Direction.FORWARD)
    np.testing.assert_array_equal(*(mask.logits for mask in followed))


# Candidates ----------------------------------------------------------------------------------------------------------

NUCLEUS = (106, 133)


@pytest.fixture(scope="module")
def nuclei():
    return nuclei_2d_image()


def chosen(candidate, *, object_id=1):
    return PointPrompt(object_id, 0, *NUCLEUS, candidate=candidate)


def test_the_three_masks_of_a_click_differ_and_one_of_them_is_the_models_own_choice(nano, nuclei):
    together = answers(nano, nuclei, *(chosen(c, object_id=1 + c) for c in range(3)), point(4, NUCLEUS))
    own = together.pop(4)
    areas = [np.count_nonzero(on_canvas(mask, nuclei.shape)) for mask in together.values()]
    assert areas == sorted(areas)
    assert areas[2] > 1.5 * areas[0] > 0
    best = max(together.values(), key=lambda mask: mask.predicted_iou)
    np.testing.assert_allclose(best.logits, own.logits, atol=1e-3)
    assert best.predicted_iou == pytest.approx(own.predicted_iou, abs=1e-4)


@pytest.mark.parametrize("candidate", [0, 1, 2])
def test_a_chosen_mask_is_the_same_on_an_image_in_a_stack_and_by_a_model_for_images(
    nano, image_model, nuclei, candidate
):
    (expected,) = answers(nano, nuclei, chosen(candidate)).values()
    for frames, model in ((FrameStack(np.stack([nuclei] * 2)), nano), (single_frame(nuclei), image_model)):
        (found,) = model.open(frames).prompt(0, {1: (chosen(candidate),)})
        assert found.corner == expected.corner
        np.testing.assert_allclose(found.logits, expected.logits, atol=1e-3)
        assert found.predicted_iou == pytest.approx(expected.predicted_iou, abs=1e-4)


def test_the_choice_of_the_last_point_counts(nano, nuclei):
    tracker = nano.open(FrameStack(np.stack([nuclei] * 2)))

    def asked(*prompts):
        (image,) = answers(nano, nuclei, *prompts).values()
        (stack,) = tracker.prompt(0, {1: prompts})
        np.testing.assert_allclose(image.logits, stack.logits, atol=1e-3)
        return image.logits

    near = (NUCLEUS[0] + 3, NUCLEUS[1])
    first = asked(chosen(0), PointPrompt(1, 0, *near))
    np.testing.assert_array_equal(first, asked(point(1, NUCLEUS), PointPrompt(1, 0, *near)))
    whole, group = (asked(chosen(0), PointPrompt(1, 0, *near, candidate=c)) for c in (0, 2))
    assert np.count_nonzero(whole > 0) < np.count_nonzero(group > 0)
    np.testing.assert_array_equal(
        asked(chosen(0), point(1, (5, 5), positive=False)), asked(chosen(None), point(1, (5, 5), positive=False))
    )


@pytest.mark.parametrize("with_them", [(box(1, NUCLEUS, reach=20),), (MaskPrompt(1, 0, disc((256, 256), NUCLEUS, 6)),)])
def test_a_choice_counts_beside_a_box_and_a_mask(nano, nuclei, with_them):
    tracker = nano.open(FrameStack(np.stack([nuclei] * 2)))
    ious = []
    for candidate in range(3):
        prompts = (*with_them, chosen(candidate))
        (image,) = answers(nano, nuclei, *prompts).values()
        (stack,) = tracker.prompt(0, {1: prompts})
        np.testing.assert_allclose(image.logits, stack.logits, atol=1e-3)
        ious.append(image.predicted_iou)
    assert len({round(iou, 3) for iou in ious}) == 3


def test_a_chosen_mask_is_followed(nano, nuclei):
    stack = np.stack([nuclei] * 2)
    areas = []
    for candidate in (0, 2):
        labels = propagate(stack, [chosen(candidate)], model=nano).labels
        areas.append([np.count_nonzero(plane) for plane in labels])
    assert areas[0][0] < areas[1][0]
    assert areas[0][1] < areas[1][1]


# Working size --------------------------------------------------------------------------------------------------------


def predictor_of(name, image_size="auto"):
    with torch.device("meta"):
        network = Sam2(CONFIGS[name])
    return Sam2Predictor(LoadedModel(network, name, "0" * 64), image_size=image_size)


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("nano", (61, 57), 256),
        ("nano", (256, 10), 256),
        ("nano", (10, 257), 512),
        ("nano", (512, 512), 512),
        ("nano", (513, 1), 1024),
        ("nano", (5000, 4000), 512),
        ("tiny", (61, 57), 1024),
        ("tiny", (5000, 4000), 1024),
    ],
)
def test_the_automatic_working_size_suits_model_and_image(name, shape, size):
    assert predictor_of(name).working_size(*shape) == size


def test_a_stated_working_size_is_kept():
    assert predictor_of("nano", 96).working_size(3000, 10) == 96


def test_the_model_works_at_the_stated_size(cells):
    predictor = load_predictor("nano", device="cpu", image_size=128)
    answer = answers(predictor, cells, box(1, HIGH))[1]
    np.testing.assert_allclose(centre(on_canvas(answer, cells.shape)), HIGH, atol=6)


# Loading -------------------------------------------------------------------------------------------------------------


def test_a_loaded_model_goes_behind_the_seam_with_its_name(nano):
    again = load_predictor(nano._model)
    assert isinstance(again, Predictor)
    assert (again.name, again.sha256) == ("nano", nano.sha256)
    assert len(again.sha256) == 64


def test_a_predictor_passes_through(fake, nano):
    assert load_predictor(fake) is fake
    assert load_predictor(nano) is nano


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"model": "huge"}, ModelError, "neither a model nor a file called 'huge'.*nano"),
        ({"model": "none.pt"}, ModelError, "none.pt"),
        ({"device": "abacus"}, ModelError, "'abacus' is not a device. Use auto"),
        ({"device": "cuda:99"}, ModelError, "There is no device 'cuda:99' here. Use auto"),
        ({"image_size": 100}, OptionError, "Image size 100 is not a positive multiple of 32. Use 96 or 128"),
        ({"image_size": 0}, OptionError, "Image size 0"),
        ({"image_size": -32}, OptionError, "Image size -32"),
        ({"image_size": "large"}, OptionError, "Image size is 'large'. Use \"auto\" or a multiple of 32"),
        ({"image_size": 256.0}, OptionError, "Image size is 256.0"),
        ({"image_size": True}, OptionError, "Image size is True"),
        ({"image_size": 4128}, OptionError, "Image size 4128 is above 4096"),
        ({"image_size": 10**30}, OptionError, "about 31 digits is above 4096"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_the_choices(options, kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message):
        load_predictor(**options)


@pytest.mark.parametrize("count", [0, -1, 10**6, 2**31, 10**30, True, 2.0, "4"])
def test_threads_come_in_numbers_that_make_sense_on_this_machine(count):
    before = torch.get_num_threads()
    with pytest.raises(OptionError, match=rf"The number of threads is .*\. Use 1 to {most_threads()}"):
        use_threads(count)
    assert torch.get_num_threads() == before


def test_as_many_threads_may_be_asked_for_as_a_larger_machine_has():
    assert most_threads() >= max(64, 4 * (os.cpu_count() or 1))


# Models for images ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image_model(nano):
    """The embedded model without its memory."""
    network = Sam2(replace(CONFIGS["nano"], has_memory=False, follows_masks=False))
    network.load_state_dict(nano._model.network.state_dict(), strict=False)
    return load_predictor(LoadedModel(network.eval(), "images", "1" * 64))


def test_a_model_without_memory_segments_images_as_the_whole_one_does(image_model, nano, cells):
    found, whole = (answers(model, cells, box(1, HIGH))[1] for model in (image_model, nano))
    np.testing.assert_array_equal(found.logits, whole.logits)


def test_a_model_without_memory_answers_on_a_single_image_in_a_session(image_model, cells, monkeypatch):
    tracker = image_model.open(single_frame(cells))
    (found,) = tracker.prompt(0, {1: (box(1, HIGH),)})
    np.testing.assert_array_equal(found.logits, answers(image_model, cells, box(1, HIGH))[1].logits)
    monkeypatch.setattr(Sam2, "encode_image", lambda *_: pytest.fail("the image was encoded again"))
    tracker.prompt(0, {1: (point(1, HIGH),)})
    tracker.forget(1, 0)
    with pytest.raises(ModelError, match="cannot follow"):
        tracker.follow(0, (1,), Direction.FORWARD)


def test_a_model_without_memory_refuses_a_stack_before_any_work(image_model, cells, monkeypatch):
    monkeypatch.setattr(Sam2, "encode_image", lambda *_: pytest.fail("a frame was encoded"))
    with pytest.raises(ModelError, match=r"no memory.*cannot follow objects through a stack\. Segment frame by frame"):
        image_model.open(FrameStack(np.stack([cells] * 3)))
    with pytest.raises(ModelError, match="cannot follow"):
        propagate(np.stack([cells] * 3), [point(1, HIGH)], model=image_model)


# Failure -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 18.13 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
    ids=["numpy", "cuda", "cpu", "windows", "mps", "cublas"],
)
def test_full_memory_is_a_sentence_with_the_remedy(nano, cells, tracker, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(Sam2, "encode_image", fail)
    with pytest.raises(ModelError, match=r"run out of memory.* smaller image size or model"):
        answers(nano, cells, point(1, HIGH))
    with pytest.raises(ModelError, match="run out of memory"):
        tracker.prompt(0, {1: (point(1, HIGH),)})
    monkeypatch.setattr(VideoPredictor, "visit", fail)
    with pytest.raises(ModelError, match="run out of memory"):
        tracker.follow(0, (1,), Direction.FORWARD)
    monkeypatch.undo()
    monkeypatch.setattr("napari_sam2.inference.masks.resize_window", fail)
    with pytest.raises(ModelError, match="run out of memory"):
        tracker.prompt(0, {1: (point(1, HIGH),)})


def test_a_fault_of_ours_is_not_dressed_up(nano, cells, monkeypatch):
    def fail(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Sam2, "encode_image", fail)
    with pytest.raises(RuntimeError, match="shapes do not match") as caught:
        answers(nano, cells, point(1, HIGH))
    assert not isinstance(caught.value, ModelError)


def test_what_the_model_refuses_is_an_error_of_ours(tracker):
    with pytest.raises(ModelError, match="no prompt"):
        tracker.follow(1, (9,), Direction.FORWARD)


def test_many_objects_of_a_stack_are_followed_some_at_a_time_and_answered_alike(nano, cells, monkeypatch):
    stack = FrameStack(np.stack([cells, cells]))
    shape = cells.shape[:2]
    said = {i: (MaskPrompt(i, 0, disc(shape, HIGH, 6 + i)),) for i in range(1, 6)} | {9: (point(9, LOW),)}

    def masks_at_once(most):
        monkeypatch.setattr("napari_sam2.inference.sam2.MOST_ON_FRAMES", most)
        tracker, sizes = nano.open(stack), []
        asked, visited = tracker._video.prompt, tracker._video.visit
        monkeypatch.setattr(
            tracker._video, "prompt", lambda state, frame, some: sizes.append(len(some)) or asked(state, frame, some)
        )
        monkeypatch.setattr(tracker._video, "visit", lambda *asks: sizes.append(len(asks[-1])) or visited(*asks))
        return (*tracker.prompt(0, said), *tracker.follow(1, tuple(said), Direction.FORWARD)), sizes

    together, sizes = masks_at_once(64)
    assert sizes == [6, 6]
    in_parts, sizes = masks_at_once(4)
    assert sizes == [4, 2, 4, 2]
    assert [mask.object_id for mask in in_parts] == [*said, *said]
    for one, other in zip(together, in_parts, strict=True):
        assert one.corner == other.corner
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-3, atol=1e-3)


def test_a_mask_that_is_corrected_begins_at_its_innermost_pixel():
    painted = MaskPrompt(1, 0, disc((40, 50), (0, 30), 9) | disc((40, 50), (20, 10), 6))
    asked = frame_prompt((painted, point(1, (0, 22), positive=False)))
    depth = distance_transform_edt(np.pad(painted.mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    np.testing.assert_array_equal(asked.points, [(x, y), (22, 0)])
    assert (asked.labels == (1, 0)).all()


@pytest.mark.parametrize(("framing", "at_least", "at_most"), [(Framing.WHOLE, 0.8, 1.0), (Framing.SQUARE, 0.0, 0.7)])
def test_an_object_in_a_strip_is_found_as_in_a_square_since_proportions_are_kept(nano, framing, at_least, at_most):
    y, x = np.mgrid[:24, :400]
    depth = np.stack([np.hypot((y - 12) / 8, (x - middle) / 14) for middle in range(30, 400, 45)]).min(0)
    image = np.repeat((20 + 150 / (1 + np.exp(8 * (depth - 1)))).astype(np.uint8)[..., None], 3, -1)
    truth = (depth < 1) & (abs(x - 120) < 20)
    (mask,) = Sam2Predictor(nano._model, framing=framing).segment(image, {1: (BoxPrompt(1, 0, 4, 106, 20, 134),)})
    found = np.zeros_like(truth)
    found[tuple(slice(a, a + n) for a, n in zip(mask.corner, mask.logits.shape, strict=True))] = mask.logits > 0
    assert at_least < (found & truth).sum() / (found | truth).sum() < at_most


@pytest.mark.parametrize("shape", [(16, 16), (1, 50), (50, 1), (1, 1), (6, 300)])
def test_images_of_any_proportions_are_segmented_and_followed(nano, shape):
    image = np.random.default_rng(0).integers(0, 255, (2, *shape)).astype(np.uint8)
    click = PointPrompt(1, 0, shape[0] // 2, shape[1] // 2)
    frames = FrameStack(image)
    (alone,) = nano.segment(frames[0], {1: (click,)})
    tracker = nano.open(frames)
    masks = (alone, *tracker.prompt(0, {1: (click,)}), *tracker.follow(1, (1,), Direction.FORWARD))
    for mask in masks:
        assert all(a >= 0 and a + n <= m for a, n, m in zip(mask.corner, mask.logits.shape, shape, strict=True))
