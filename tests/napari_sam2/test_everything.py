"""Every object of an image in one call, before a model that finds what is bright; once before the real one."""

import logging

import numpy as np
import pytest

from napari_sam2 import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    examples_of,
    prompts_from_labels,
    segment_everything,
)
from napari_sam2.errors import FrameError, ModelError, OptionError, PromptError
from napari_sam2.inference.predictor import FoundPart
from napari_sam2.prompts import ModelScores
from napari_sam2.proposals import Proposal, ProposalSet
from napari_sam2.results import FEATURE_COLUMNS
from napari_sam2.sample_data import nuclei_2d_image
from sam2_model.automatic.mask_generator import MaskGeneratorOptions
from tests.napari_sam2.fake_predictor import FakePredictor


@pytest.fixture
def grains():
    """Five bright squares, (40, 60) uint8: one of 10 px a side, four of 6, one of these a little higher."""
    image = np.full((40, 60), 10, np.uint8)
    for y, x, side in ((2, 2, 10), (2, 30, 6), (20, 2, 6), (19, 20, 6), (20, 40, 6)):
        image[y : y + side, x : x + side] = 200
    return image


def ids_at(result, *places):
    return [int(result.labels[place]) for place in places]


# Results -------------------------------------------------------------------------------------------------------------


def test_everything_is_found_without_a_single_parameter(fake, grains):
    result = segment_everything(grains, model=fake)
    np.testing.assert_array_equal(result.labels > 0, grains > 100)
    assert (result.labels.shape, result.labels.dtype) == ((40, 60), np.uint16)
    assert (result.model, result.model_sha256, result.contrast_limits) == ("fake", "f" * 64, (10, 200))


def test_objects_are_numbered_from_top_to_bottom_then_from_left_to_right(fake, grains):
    result = segment_everything(grains, model=fake)
    assert ids_at(result, (4, 32), (5, 5), (20, 22), (22, 4), (22, 42)) == [1, 2, 3, 4, 5]


def test_there_is_a_row_for_each_object_with_what_the_model_said(fake, grains):
    result = segment_everything(grains, model=fake)
    assert result.scores["object_id"].tolist() == result.features["index"].tolist() == [1, 2, 3, 4, 5]
    assert result.scores["area_px"].tolist() == [36, 100, 36, 36, 36]
    assert result.scores["area_in_labels_px"].tolist() == [36, 100, 36, 36, 36]
    assert result.scores.loc[0, ["predicted_iou", "object_score", "stability", "mean_logit"]].tolist() == [
        *(0.9, 0.8, 1.0, 5.0),
    ]
    assert result.scores["confidence"].tolist() == pytest.approx([0.72] * 5)
    assert list(result.features) == [*FEATURE_COLUMNS, "score"]
    assert result.features["score"].tolist() == pytest.approx([(0.72 * 0.9) ** (1 / 3)] * 5)


@pytest.mark.parametrize(
    ("options", "areas"),
    [
        ({"smallest_px": 37}, [100]),
        ({"largest_px": 70}, [36, 64, 36, 36, 36]),  # of the large one the middle is left
        ({"least_score": 0.9}, []),
        ({"size_bias": -1.0}, [16, 64, 16, 16, 16]),
        ({"region": (slice(0, 15), slice(0, 60))}, [36, 100]),
    ],
)
def test_what_is_kept_can_be_chosen(fake, grains, options, areas):
    result = segment_everything(grains, model=fake, **options)
    assert result.scores["area_px"].tolist() == areas


def test_a_region_of_pixels_keeps_what_has_its_seed_there_whole(fake, grains):
    region = np.zeros(grains.shape, bool)
    region[5:9, 5:9] = region[30:, :5] = True
    result = segment_everything(grains, model=fake, region=region)
    assert result.scores["area_px"].tolist() == [100]


def test_overlapping_objects_share_no_pixel(fake, grains):
    result = segment_everything(grains, model=fake, most_overlap=1.0)
    assert result.scores["area_in_labels_px"].sum() == np.count_nonzero(result.labels)


# Seeds ---------------------------------------------------------------------------------------------------------------


def test_points_are_seeds(fake, grains):
    result = segment_everything(grains, model=fake, seeds=[(22, 42), (4.4, 4.6)])
    assert ids_at(result, (5, 5), (22, 42), (20, 22)) == [1, 2, 0]


def test_every_label_is_a_seed_at_its_innermost_pixel(fake, grains):
    marks = np.zeros(grains.shape, np.int32)
    marks[18:28, 38:48] = 2_000_000_000
    marks[0:11, 28:34] = 3
    result = segment_everything(grains, model=fake, seeds=marks)
    assert ids_at(result, (4, 32), (22, 42), (5, 5)) == [1, 2, 0]


BAD_SEEDS = [
    pytest.param([(2, 60)], r"The seed \(y 2, x 60\) lies outside the image of 40 x 60", id="outside"),
    pytest.param([(np.nan, 3)], r"The seed \(y nan, x 3\) lies outside", id="not a number"),
    pytest.param(np.zeros((60, 40), np.uint8), r"Seeds have shape \(60, 40\)", id="another shape"),
    pytest.param(np.zeros((40, 60), np.uint8), "There are no seeds", id="no label"),
    pytest.param([], "There are no seeds", id="no point"),
    pytest.param(np.full((40, 60), 2**32), "the value 4294967296", id="beyond the dtype"),
    pytest.param(np.full((40, 60), 0.5), "the value 0.5", id="no label image"),
    pytest.param([[1, 2, 3]], r"Seeds have shape \(1, 3\)", id="three columns"),
    pytest.param([[1, 2], [3]], "Seeds are no array", id="ragged"),
    pytest.param([["a", "b"]], "Seeds have shape .* dtype <U1", id="text"),
]


@pytest.mark.parametrize(("seeds", "message"), BAD_SEEDS)
def test_seeds_that_are_none_are_refused_before_the_model_is_asked(fake, grains, seeds, message):
    with pytest.raises(PromptError, match=message):
        segment_everything(grains, model=fake, seeds=seeds)
    assert fake.calls == []


def test_seeds_outside_the_region_are_passed_over_but_not_all(fake, grains):
    left = (slice(0, 40), slice(0, 25))
    result = segment_everything(grains, model=fake, seeds=[(5, 5), (22, 42)], region=left)
    assert ids_at(result, (5, 5), (22, 42)) == [1, 0]
    with pytest.raises(PromptError, match="No seed lies in the region"):
        segment_everything(grains, model=fake, seeds=[(22, 42)], region=left)


# Examples ------------------------------------------------------------------------------------------------------------


def mask_of(object_id, corner, side, shape=(40, 60)):
    return MaskPrompt(object_id, 0, np.ones((side, side), bool), corner=corner, shape=shape)


def test_what_is_like_an_example_is_found_and_the_example_itself(fake, grains):
    result = segment_everything(grains, model=fake, like=[mask_of(9, (2, 30), 6)], least_likeness=0.9)
    assert ids_at(result, (4, 32), (5, 5), (22, 22), (22, 4), (22, 42)) == [1, 0, 2, 3, 4]
    assert result.features["likeness"].tolist() == [1, 1, 1, 1]
    assert result.scores["confidence"].tolist() == pytest.approx([1, 0.72, 0.72, 0.72])  # given, so certain


def test_an_object_with_negative_points_alone_says_what_is_not_wanted(grains):
    asked = []

    class Asked(FakePredictor):
        def segment(self, image, prompts):
            asked.append(prompts)
            return super().segment(image, prompts)

        def propose(self, frames, frame, search):
            asked.append(search.like)
            return super().propose(frames, frame, search)

    like = [mask_of(1, (2, 2), 10), PointPrompt(2, 0, 22, 4, positive=False)]
    result = segment_everything(grains, model=Asked(), like=like, least_likeness=0.3)
    assert asked[0][2] == (PointPrompt(2, 0, 22, 4),)
    assert [one.is_wanted for one in asked[1]] == [True, False]
    assert ids_at(result, (5, 5), (22, 4), (22, 42)) == [1, 0, 0]


def test_an_example_that_is_like_nothing_else_is_found_alone_and_a_sentence_says_so(fake, grains, caplog):
    result = segment_everything(grains, model=fake, like=[BoxPrompt(1, 0, 0, 0, 39, 59)], least_likeness=0.9)
    assert result.scores["object_id"].tolist() == [1]
    assert (result.labels == 1).all()
    assert "Nothing else was found that is like the examples. Lower the least likeness (now 0.9)" in caplog.text


def test_examples_that_overlap_each_other_share_no_pixel(fake, grains):
    result = segment_everything(grains, model=fake, like=[mask_of(1, (2, 2), 10), mask_of(2, (8, 8), 10)])
    areas = result.scores["area_in_labels_px"].tolist()
    assert sum(areas) == np.count_nonzero(result.labels)
    assert areas[:2] == [100, 84]


def test_examples_of_one_image_find_objects_on_the_next(fake, grains):
    examples = examples_of(grains, [mask_of(5, (2, 30), 6), PointPrompt(7, 0, 5, 5, positive=False)], model=fake)
    assert [(one.area_px, one.is_wanted) for one in examples] == [(36, True), (21, False)]
    turned = np.ascontiguousarray(grains[::-1])
    result = segment_everything(turned, model=fake, like=examples, least_likeness=0.9)
    assert result.scores["area_px"].tolist() == [36] * 4


def test_examples_of_other_images_go_together_with_prompts(fake, grains):
    large = examples_of(grains, [mask_of(5, (2, 2), 10)], model=fake)
    result = segment_everything(grains, model=fake, like=[*large, mask_of(1, (2, 30), 6)], least_likeness=0.9)
    assert sorted(result.scores["area_px"]) == [36, 36, 36, 36, 100]


BAD_EXAMPLES = [
    pytest.param([], "There are no prompts. Give at least one", id="none"),
    pytest.param([PointPrompt(1, 0, 50, 1)], "lies outside the image of 40 x 60", id="outside"),
    pytest.param([PointPrompt(1, 1, 5, 5)], "there is no frame 1", id="another frame"),
    pytest.param([mask_of(1, (0, 0), 2, (60, 40))], r"shape \(60, 40\) and the image", id="another shape"),
    pytest.param([(5, 5)], "Item 0 of the prompts is of type tuple", id="no prompt"),
    pytest.param(PointPrompt(1, 0, 5, 5), "this is a single PointPrompt", id="no list"),
    pytest.param([PointPrompt(2**32, 0, 5, 5)], "does not fit a label image", id="beyond the dtype"),
]


@pytest.mark.parametrize(("like", "message"), BAD_EXAMPLES)
def test_examples_that_are_none_are_refused_before_the_model_is_asked(fake, grains, like, message):
    with pytest.raises(PromptError, match=message):
        segment_everything(grains, model=fake, like=like)
    assert fake.calls == []


def test_an_example_of_nothing_is_refused(grains):
    class Blind(FakePredictor):
        def segment(self, image, prompts):
            return super().segment(image, {i: (PointPrompt(i, 0, 1, 1, positive=False),) for i in prompts})

    for call in (
        lambda **options: segment_everything(grains, **options),
        lambda like, model: examples_of(grains, like, model=model),
    ):
        with pytest.raises(PromptError, match="fake finds no object where example 4 is"):
            call(like=[PointPrompt(4, 0, 5, 5)], model=Blind())


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"least_score": 1.5}, "least_score is 1.5"),
        ({"size_bias": float("nan")}, "size_bias is nan"),
        ({"smallest_px": 0}, "Areas from 0 to None px keep nothing"),
        ({"smallest_px": 9, "largest_px": 8}, "Areas from 9 to 8 px"),
        ({"most_overlap": -0.1}, "most_overlap is -0.1"),
        ({"least_likeness": 2}, "least_likeness is 2"),
        ({"region": np.ones((4, 4), bool)}, r"The region has shape \(4, 4\)"),
        ({"region": np.ones((40, 60))}, "dtype float64. Give booleans"),
        ({"region": np.zeros((40, 60), bool)}, "The region holds no pixel"),
        ({"region": (slice(40, 50), slice(0, 9))}, "The region holds no pixel"),
        ({"region": (3, 4)}, r"The region is \(3, 4\)"),
        ({"contrast_limits": (5, 5)}, "contrast_limits are"),
    ],
)
def test_bad_options_are_refused_before_the_model_is_asked(fake, grains, options, message):
    with pytest.raises(OptionError, match=message):
        segment_everything(grains, model=fake, **options)
    assert fake.calls == []


def test_a_stack_is_refused(fake, grains):
    with pytest.raises(FrameError, match="Pick one along the axis too many"):
        segment_everything(np.stack([grains] * 5), model=fake)


def test_a_model_is_told_how_to_be_asked_point_by_point(fake, grains):
    searches = []
    fake.propose = lambda frames, frame, search: iter(searches.append(search) or ())
    options = MaskGeneratorOptions(points_per_side=4)
    segment_everything(grains, model=fake, grid=options)
    assert [one.grid for one in searches] == [options]


def test_options_are_looked_at_before_a_model_is_loaded(grains):
    with pytest.raises(OptionError, match="least_score"):
        segment_everything(grains, model="huge", least_score=2)
    with pytest.raises(ModelError, match="'huge'"):
        segment_everything(grains, model="huge")


def test_a_full_memory_is_a_sentence(grains):
    class Full(FakePredictor):
        def propose(self, frames, frame, search):
            yield from ()
            raise ModelError("The model has run out of memory.")

    with pytest.raises(ModelError, match="run out of memory"):
        segment_everything(grains, model=Full())


def test_what_stops_the_search_stops_it_between_parts(grains):
    parts = []

    def stop(part):
        parts.append(part)
        if part == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_everything(grains, model=FakePredictor(before_part=stop))
    assert parts == [0, 1]


# Odd input that is fine ----------------------------------------------------------------------------------------------


def assert_empty(result, shape):
    assert result.labels.shape == shape
    assert not result.labels.any()
    assert (len(result.scores), len(result.features)) == (0, 0)
    assert {"object_id", "frame", "confidence", "area_in_labels_px"} <= set(result.scores)
    assert list(result.features) == [*FEATURE_COLUMNS, "score"]


@pytest.mark.parametrize("image", [np.zeros((9, 7), np.uint8), np.full((9, 7), 3000, np.uint16), np.zeros((1, 1))])
def test_an_image_of_one_value_holds_nothing_and_a_sentence_says_what_helps(fake, image, caplog):
    assert_empty(segment_everything(image, model=fake), image.shape)
    assert "The model found nothing here. Correct the contrast" in caplog.text


def test_thresholds_that_keep_nothing_say_so(fake, grains, caplog):
    assert_empty(segment_everything(grains, model=fake, least_score=0.95), grains.shape)
    assert "Of 10 masks that were proposed none is kept. Lower the least score (now 0.95)" in caplog.text


def test_one_object_may_fill_the_field(fake, caplog):
    caplog.set_level(logging.WARNING)
    result = segment_everything(np.full((20, 30), 200, np.uint8), model=fake, contrast_limits=(0, 255))
    assert (result.labels == 1).all()
    assert caplog.text == ""


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(lambda grains: np.repeat(grains[..., None], 3, -1), id="RGB"),
        pytest.param(lambda grains: grains.astype(np.uint16) * 200, id="uint16"),
        pytest.param(lambda grains: np.where(grains == 10, np.nan, grains.astype(float)), id="NaN"),
        pytest.param(lambda grains: grains > 100, id="bool"),
        pytest.param(lambda grains: grains[:, ::-1][:, ::-1], id="not contiguous"),
    ],
)
def test_images_of_every_kind_give_the_same_objects(fake, grains, image):
    expected = segment_everything(grains, model=fake)
    options = {"contrast_limits": (10, 200)} if image(grains).dtype == float else {}
    result = segment_everything(image(grains), model=fake, **options)
    np.testing.assert_array_equal(result.labels, expected.labels)


def test_one_pixel_may_be_an_object(fake):
    result = segment_everything(np.full((1, 1), 255, np.uint8), model=fake, contrast_limits=(0, 255), smallest_px=1)
    assert result.labels.tolist() == [[1]]


def test_more_objects_than_sixteen_bits_hold_get_more(monkeypatch):
    # So many take minutes to be compared with each other, which is not what this is about.
    monkeypatch.setattr(ProposalSet, "kept", lambda self, *_: self.proposals)

    class Dots(FakePredictor):
        def propose(self, frames, frame, search):
            dot, said = np.ones((1, 1), bool), ModelScores(1.0, 1.0, 1.0, 5.0)
            places = np.argwhere(frames[frame][..., 0]).tolist()
            yield FoundPart(tuple(Proposal((y, x), dot, said, 1.0, (y, x)) for y, x in places), 1, 1)

    image = np.zeros((600, 600), np.uint8)
    image[::2, ::2] = 255
    result = segment_everything(image, model=Dots(), smallest_px=1)
    assert (result.labels.dtype, result.labels.max()) == (np.uint32, 90_000)
    assert result.labels[0, :4].tolist() == [1, 0, 2, 0]


# The real model ------------------------------------------------------------------------------------------------------


def test_the_embedded_model_finds_nuclei_and_those_that_are_like_one(nano):
    image = nuclei_2d_image()[:128, :128]
    result = segment_everything(image, model=nano)
    assert len(result.scores) > 5
    assert result.labels.max() == len(result.scores)
    inside = result.labels > 0
    assert image[inside].mean() > 1.5 * image[~inside].mean()
    first = [one for one in prompts_from_labels(result.labels) if one.object_id == 1]
    alike = segment_everything(image, model=nano, like=first)
    assert (alike.labels[first[0].mask] == 1).all()
    assert len(alike.scores) > 1
