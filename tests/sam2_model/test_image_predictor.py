"""Prompts on single images."""

from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import torch

from sam2_model.errors import ConfigError, FrameError, PromptError
from sam2_model.image_predictor import ImageEmbedding, ImagePredictor, MaskPrediction
from sam2_model.mask_decoder import MaskDecoderOutput, best_candidate, single_mask, three_candidates
from sam2_model.mask_ops import PROMPT_LOGIT_LIMIT, stability_score
from sam2_model.sam2 import Sam2

from .seeded import seeded
from .toy import toy_stack

IMAGE, OTHER = toy_stack(2)
POINTS = np.array([[[15, 12], [30, 20]], [[40, 30], [15, 12]], [[5, 40], [50, 5]]], np.float32)  # (3, 2, 2)
LABELS = np.array([[1, 0], [1, 1], [0, 1]])
BOXES = np.array([[5, 4, 25, 20], [33, 23, 47, 37], [0, 0, 59, 47]], np.float32)
MASKS = 4 * seeded((3, 1, 16, 16), "mask prompts")


@pytest.fixture(scope="module")
def predictor(network: Sam2) -> ImagePredictor:
    return ImagePredictor(network)


@pytest.fixture(scope="module")
def embedding(predictor: ImagePredictor) -> ImageEmbedding:
    return predictor.embed(IMAGE)


def assert_same(a: MaskPrediction, b: MaskPrediction) -> None:
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y, field.name


def assert_close(a: MaskPrediction, b: MaskPrediction) -> None:
    for field in fields(a):
        torch.testing.assert_close(getattr(a, field.name), getattr(b, field.name), atol=1e-4, rtol=1e-4)


# Embeddings -----------------------------------------------------------------------------------------------------------


def test_embeddings_are_values_that_may_be_prompted_in_any_order(predictor):
    prompt = {"points": [[15, 12]]}
    one, other = predictor.embed(IMAGE), predictor.embed(OTHER)
    later = [predictor.predict(e, **prompt) for e in (other, one, other, one)]
    alone = predictor.predict(predictor.embed(IMAGE), **prompt)
    assert_same(later[1], alone)
    assert_same(later[3], alone)
    assert_same(later[0], later[2])
    assert not torch.equal(later[0].low_res_logits, later[1].low_res_logits)
    with pytest.raises(FrozenInstanceError):
        one.working = other.working


def test_an_embedding_remembers_the_size_of_its_image(predictor):
    embedding = predictor.embed(toy_stack(1, 30, 70)[0])
    assert (embedding.height, embedding.width, embedding.image_size) == (30, 70, 64)


def test_an_embedding_of_another_working_size_is_prompted_in_its_own_pixels(network):
    small, large = ImagePredictor(network, image_size=64), ImagePredictor(network, image_size=128)
    embedding = large.embed(IMAGE)
    assert_same(small.predict(embedding, points=POINTS), large.predict(embedding, points=POINTS))


@pytest.mark.parametrize("image_size", [32, 64, 96, 160])
@pytest.mark.parametrize("shape", [(48, 60), (90, 20), (64, 64)])
def test_any_working_size_and_any_aspect_give_masks_of_the_images_size(network, image_size, shape):
    predictor = ImagePredictor(network, image_size=image_size)
    prediction = predictor.predict(predictor.embed(toy_stack(1, *shape)[0]), points=[[10, 12]])
    assert prediction.low_res_logits.shape == (1, 3, image_size // 4, image_size // 4)
    assert prediction.mask_logits().shape == (1, 3, *shape)
    assert prediction.low_res_logits.isfinite().all()


@pytest.mark.parametrize("image_size", [0, -64, 63, 100])
def test_other_working_sizes_are_refused(network, image_size):
    with pytest.raises(ConfigError, match=f"Image size {image_size} is not a positive multiple of 32"):
        ImagePredictor(network, image_size=image_size)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)]
)
def test_what_is_not_an_rgb_image_is_refused(predictor, image):
    with pytest.raises(FrameError, match="needs an RGB image"):
        predictor.embed(image)


# Prompts --------------------------------------------------------------------------------------------------------------

MIXES = {
    "points": {"points": POINTS, "labels": LABELS},
    "boxes": {"boxes": BOXES},
    "masks": {"mask_logits": MASKS},
    "points and boxes": {"points": POINTS, "labels": LABELS, "boxes": BOXES},
    "points and masks": {"points": POINTS, "labels": LABELS, "mask_logits": MASKS},
    "boxes and masks": {"boxes": BOXES, "mask_logits": MASKS},
    "all": {"points": POINTS, "labels": LABELS, "boxes": BOXES, "mask_logits": MASKS},
}


@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_many_prompts_in_one_call_are_as_many_calls(predictor, embedding, mix, candidates):
    together = predictor.predict(embedding, **mix, candidates=candidates)
    assert together.low_res_logits.shape == (3, candidates, 16, 16)
    assert together.predicted_iou.shape == (3, candidates)
    assert together.object_score_logit.shape == (3,)
    assert ((together.predicted_iou >= 0) & (together.predicted_iou <= 1)).all()
    each = [
        predictor.predict(embedding, **{k: v[i : i + 1] for k, v in mix.items()}, candidates=candidates)
        for i in range(3)
    ]
    assert_close(
        together,
        MaskPrediction(
            torch.cat([p.low_res_logits for p in each]),
            torch.cat([p.predicted_iou for p in each]),
            torch.cat([p.object_score_logit for p in each]),
            48,
            60,
        ),
    )


def test_every_kind_of_prompt_has_its_say(predictor, embedding):
    answers = [predictor.predict(embedding, **mix).low_res_logits for mix in MIXES.values()]
    for i, a in enumerate(answers):
        assert all((a - b).abs().max() > 1e-3 for b in answers[:i])


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ({"points": POINTS[0], "labels": LABELS[0]}, {"points": POINTS[:1], "labels": LABELS[:1]}),
        ({"points": [[15, 12]]}, {"points": [[[15.0, 12.0]]], "labels": [[1]]}),
        ({"points": [[15, 12]], "labels": 0}, {"points": [[[15, 12]]], "labels": [[0]]}),
        ({"points": POINTS[0], "labels": [True, False]}, {"points": POINTS[:1], "labels": LABELS[:1]}),
        ({"boxes": BOXES[0]}, {"boxes": BOXES[:1].tolist()}),
    ],
)
def test_one_prompt_needs_no_batch(predictor, embedding, short, full):
    assert_same(predictor.predict(embedding, **short), predictor.predict(embedding, **full))


def test_a_box_is_its_two_corners_before_the_points(predictor, embedding, network):
    said = predictor.predict(embedding, points=POINTS[0], labels=LABELS[0], boxes=BOXES[0])
    scale = torch.tensor([64 / 60, 64 / 48])
    xy = torch.cat((torch.tensor(BOXES[0]).view(2, 2), torch.tensor(POINTS[0])))[None] * scale
    with torch.inference_mode():
        features = embedding.features
        output = network.decode(network.without_memory(features), features, xy, torch.tensor([[2, 3, 1, 0]]))
    torch.testing.assert_close(said.low_res_logits, output.mask_logits[:, 1:])


def test_polarity_matters_and_an_ignored_point_does_not_lie_anywhere(predictor, embedding):
    positive, negative = (predictor.predict(embedding, points=[[15, 12]], labels=[kind]) for kind in (1, 0))
    assert (positive.low_res_logits - negative.low_res_logits).abs().max() > 1e-3
    here, there = (predictor.predict(embedding, points=[[15, 12], p], labels=[1, -1]) for p in ([3, 4], [50, 40]))
    assert_same(here, there)


def test_a_previous_mask_refines_the_next(predictor, embedding):
    first = predictor.predict(embedding, points=POINTS, labels=LABELS, candidates=1)
    assert first.low_res_logits.abs().max() <= PROMPT_LOGIT_LIMIT
    refined = predictor.predict(embedding, points=POINTS, labels=LABELS, mask_logits=first.low_res_logits, candidates=1)
    assert (refined.low_res_logits - first.low_res_logits).abs().max() > 1e-3
    best = predictor.predict(embedding, points=POINTS[:, :1]).low_res_logits[:, :1]
    assert predictor.predict(embedding, mask_logits=best).low_res_logits.shape == (3, 3, 16, 16)


def test_returned_logits_stay_where_a_prompt_may_be(network, predictor, embedding):
    loud = ImagePredictor(network)
    with torch.inference_mode():
        features = embedding.features
        loud_features = type(features)(features.fine * 1e3, features.middle, features.embedding)
    prediction = loud.predict(ImageEmbedding(loud_features, embedding.working), points=[[15, 12]])
    assert prediction.low_res_logits.abs().max() == PROMPT_LOGIT_LIMIT


def test_answers_carry_no_gradient_and_leave_the_network_alone(predictor, embedding, network):
    prediction = predictor.predict(embedding, points=[[15, 12]])
    assert not prediction.low_res_logits.requires_grad
    assert not embedding.features.embedding.requires_grad
    assert not torch.is_inference_mode_enabled()
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


# One mask or three ----------------------------------------------------------------------------------------------------


def decoded(single: float) -> MaskDecoderOutput:
    """Three candidates that are sure, and a single mask of one logit everywhere."""
    logits = torch.full((1, 4, 4, 4), 5.0)
    logits[:, 0] = single
    logits[:, 2, :2] = -5
    iou = torch.tensor([[0.1, 0.2, 0.9, 0.3]])
    return MaskDecoderOutput(logits, iou, torch.arange(4.0).view(1, 4, 1), torch.ones(1, 1))


@pytest.mark.parametrize(
    ("single", "stability_fallback", "chosen"),
    [(5.0, True, 0), (0.01, True, 2), (0.01, False, 0), (-5.0, True, 0), (5.0, False, 0)],
)
def test_an_unstable_single_mask_gives_way_to_the_best_candidate(single, stability_fallback, chosen):
    output = decoded(single)
    masks = single_mask(output, stability_fallback=stability_fallback)
    assert torch.equal(masks.mask_logits, output.mask_logits[:, chosen : chosen + 1])
    assert masks.predicted_iou.item() == output.predicted_iou[0, chosen]
    assert masks.token.item() == 0, "the pointer comes from the single mask's token in both cases"


def test_the_best_candidate_is_the_one_of_the_highest_predicted_iou():
    output = decoded(5.0)
    assert torch.equal(best_candidate(output).mask_logits, output.mask_logits[:, 2:3])
    assert best_candidate(output).token.item() == three_candidates(output).token.item() == 2
    assert torch.equal(three_candidates(output).mask_logits, output.mask_logits[:, 1:])


def test_the_fallback_is_a_setting_of_the_predictor(network, embedding):
    prompts = {"points": POINTS, "labels": LABELS, "candidates": 1}
    plain = ImagePredictor(network, stability_fallback=False).predict(embedding, **prompts)
    steady = ImagePredictor(network).predict(embedding, **prompts)
    is_stable = stability_score(plain.low_res_logits, 0.05)[:, 0] >= 0.98
    assert not is_stable.all()
    three = ImagePredictor(network).predict(embedding, points=POINTS, labels=LABELS)
    for i, stable in enumerate(is_stable):
        best = three.predicted_iou[i].argmax()
        expected = plain.low_res_logits[i, 0] if stable else three.low_res_logits[i, best]
        assert torch.equal(steady.low_res_logits[i, 0], expected)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "error", "sentence"),
    [
        ({}, PromptError, "There is no prompt"),
        ({"labels": [1]}, PromptError, "labels but no points"),
        ({"boxes": BOXES, "labels": [1]}, PromptError, "labels but no points"),
        ({"points": np.zeros((0, 2))}, PromptError, r"not \(0, 2\)"),
        ({"points": np.zeros((2, 0, 2))}, PromptError, r"not \(2, 0, 2\)"),
        ({"points": [1, 2]}, PromptError, r"not \(2,\)"),
        ({"points": [[1, 2, 3]]}, PromptError, r"not \(1, 3\)"),
        ({"points": np.zeros((1, 1, 1, 2))}, PromptError, r"not \(1, 1, 1, 2\)"),
        ({"points": [[np.nan, 2]]}, PromptError, "points hold a number that is not finite"),
        ({"points": [[np.inf, 2]]}, PromptError, "points hold a number that is not finite"),
        ({"points": [[[1, 2]], [[1, 2], [3, 4]]]}, PromptError, "not one array of numbers"),
        ({"points": [["left", "top"]]}, PromptError, "not one array of numbers"),
        ({"points": [[1, 2]], "labels": [1, 0]}, PromptError, "one label per point"),
        ({"points": [[1, 2], [3, 4]], "labels": [[1], [0]]}, PromptError, "one label per point"),
        ({"points": [[1, 2]], "labels": []}, PromptError, "one label per point"),
        ({"points": [[1, 2]], "labels": [2]}, PromptError, "label is 1"),
        ({"points": [[1, 2]], "labels": [0.5]}, PromptError, "label is 1"),
        ({"points": [[1, 2]], "labels": [np.nan]}, PromptError, "not finite"),
        ({"boxes": [1, 2, 3]}, PromptError, r"not \(3,\)"),
        ({"boxes": np.zeros((0, 4))}, PromptError, r"not \(0, 4\)"),
        ({"boxes": np.zeros((1, 2, 4))}, PromptError, r"not \(1, 2, 4\)"),
        ({"boxes": [1, 2, 3, np.inf]}, PromptError, "boxes hold a number that is not finite"),
        ({"boxes": [10, 2, 3, 8]}, PromptError, "upside down"),
        ({"boxes": [1, 12, 3, 8]}, PromptError, "upside down"),
        ({"boxes": BOXES[:2], "points": POINTS}, PromptError, "2 boxes but points for 3 prompts"),
        ({"mask_logits": MASKS[:, 0]}, PromptError, r"not \(3, 16, 16\)"),
        ({"mask_logits": MASKS.expand(3, 2, 16, 16)}, PromptError, r"not \(3, 2, 16, 16\)"),
        ({"mask_logits": MASKS[:0]}, PromptError, r"not \(0, 1, 16, 16\)"),
        ({"mask_logits": MASKS * np.nan}, PromptError, "not a finite number"),
        ({"mask_logits": MASKS[:2], "points": POINTS}, PromptError, "2 masks for 3 prompts"),
        ({"points": [[1, 2]], "candidates": 2}, ConfigError, "not 2"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_sentence(predictor, embedding, prompt, error, sentence):
    with pytest.raises(error, match=sentence) as refused:
        predictor.predict(embedding, **prompt)
    assert str(refused.value).endswith(".")
