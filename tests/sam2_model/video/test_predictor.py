"""Objects followed through a toy stack: what the repaired policy promises, and what the reference does instead."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import ndimage

from sam2_model.config import Framing
from sam2_model.errors import ConfigError, FrameError, PromptError
from sam2_model.mask_ops import ABSENT_LOGIT, as_low_res_logits, resize_logits
from sam2_model.memory_bank import Direction
from sam2_model.sam2 import Sam2
from sam2_model.video.options import VideoOptions
from sam2_model.video.predictor import VideoPredictor
from sam2_model.video.state import FramePrediction, FramePrompt, VideoState
from tests.sam2_model.toy import (
    FOLLOWER,
    HEIGHT,
    TOY,
    WIDTH,
    CountingFrames,
    box,
    clicks,
    disc_mask,
    toy_model,
    toy_stack,
)

FORWARD, BACKWARD = Direction.FORWARD, Direction.BACKWARD
STACK = toy_stack(24)
HERE, THERE, ELSEWHERE = clicks((15, 14)), clicks((38, 30), (3, 40), labels=(1, 0)), box(30, 22, 48, 38)
ABSENT = clicks((15, 14), labels=(0,))
MASK = FramePrompt(mask=disc_mask(20, 24, 9))
REFERENCE = VideoOptions.reference()

Said = Iterable[tuple[int, int, FramePrompt]]
"""Object, frame and prompt, in the order in which they are given."""


@dataclass(frozen=True, eq=False)
class Answer:
    logits: torch.Tensor
    iou: torch.Tensor
    score: torch.Tensor


Answers = Mapping[tuple[int, int], Answer]
"""By object and frame."""

Predict = Callable[..., VideoPredictor]


@pytest.fixture(scope="module", params=[TOY, FOLLOWER], ids=["as published", "follows masks"])
def network(request: pytest.FixtureRequest) -> Sam2:
    return toy_model(config=request.param)


@pytest.fixture
def predict(network: Sam2) -> Predict:
    """A predictor with some options changed."""

    def build(**changes: object) -> VideoPredictor:
        return VideoPredictor(network, options=VideoOptions(**changes))  # type: ignore[arg-type]

    return build


@pytest.fixture
def repaired(predict: Predict) -> VideoPredictor:
    return predict()


@pytest.fixture(scope="module")
def whole(network: Sam2) -> Answers:
    """What `TWO` give, both ways, in a fresh state."""
    return followed(VideoPredictor(network), TWO)


@pytest.fixture
def reference() -> VideoPredictor:
    """The reference's policy, which is meant for models as published."""
    return VideoPredictor(toy_model(), options=REFERENCE)


def begin(predictor: VideoPredictor, said: Said, count: int = 12) -> VideoState:
    state = predictor.start(STACK[:count])
    say(predictor, state, said)
    return state


def say(predictor: VideoPredictor, state: VideoState, said: Said) -> None:
    for object_id, frame, prompt in said:
        predictor.prompt(state, frame, {object_id: prompt})


def gathered(predictions: Iterable[FramePrediction]) -> dict[tuple[int, int], Answer]:
    """Answers by object and frame; an answer given twice must be the same twice."""
    answers: dict[tuple[int, int], Answer] = {}
    for p in predictions:
        for i, object_id in enumerate(p.object_ids):
            answer = Answer(p.low_res_logits[i], p.predicted_iou[i], p.object_score_logit[i])
            known = answers.setdefault((object_id, p.frame), answer)
            assert torch.equal(known.logits, answer.logits), (object_id, p.frame)
    return answers


def followed(predictor: VideoPredictor, said: Said, count: int = 12, **how: object) -> Answers:
    return gathered(predictor.propagate(begin(predictor, said, count), **how))  # type: ignore[arg-type]


def assert_equal(a: Answers, b: Answers) -> None:
    assert set(a) == set(b)
    for key, answer in a.items():
        assert torch.equal(answer.logits, b[key].logits), key
        assert torch.equal(answer.iou, b[key].iou), key
        assert torch.equal(answer.score, b[key].score), key


def assert_close(a: Answers, b: Answers) -> None:
    assert set(a) == set(b)
    for key, answer in a.items():
        torch.testing.assert_close(answer.logits, b[key].logits, atol=1e-4, rtol=1e-4, msg=str(key))
        torch.testing.assert_close(answer.iou, b[key].iou, atol=1e-4, rtol=1e-4, msg=str(key))
        torch.testing.assert_close(answer.score, b[key].score, atol=1e-4, rtol=1e-4, msg=str(key))


def difference(a: Answer, b: Answer) -> float:
    return (a.logits - b.logits).abs().max().item()


TWO = ((1, 3, HERE), (2, 6, ELSEWHERE), (2, 9, THERE))


# What is given back ---------------------------------------------------------------------------------------------------


def test_a_prompt_is_answered_for_the_objects_it_names(repaired):
    state = begin(repaired, [(5, 2, HERE)])
    prediction = repaired.prompt(state, 4, {9: THERE, 2: ELSEWHERE})
    assert (prediction.frame, prediction.object_ids) == (4, (9, 2))
    size = (16, 16) if repaired.model.config.view_px is None else (26, 32)  # without the padding
    assert prediction.low_res_logits.shape == (2, *size)
    assert prediction.low_res_logits.dtype is torch.float32
    assert prediction.predicted_iou.shape == prediction.object_score_logit.shape == (2,)
    assert ((prediction.predicted_iou >= 0) & (prediction.predicted_iou <= 1)).all()
    assert (prediction.height, prediction.width) == (HEIGHT, WIDTH)
    assert prediction.mask_logits().shape == (2, HEIGHT, WIDTH)
    assert torch.equal(prediction.mask_logits(), resize_logits(prediction.low_res_logits[None], HEIGHT, WIDTH)[0])
    assert not prediction.low_res_logits.requires_grad
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("how", "visited"),
    [
        ({"directions": (FORWARD,)}, [*((f, (1,)) for f in (3, 4, 5)), *((f, (1, 2)) for f in range(6, 12))]),
        ({"directions": (BACKWARD,)}, [*((f, (2,)) for f in (6, 5, 4)), *((f, (1, 2)) for f in (3, 2, 1, 0))]),
        ({"directions": (FORWARD,), "start": 5, "stop": 7}, [(5, (1,)), (6, (1, 2)), (7, (1, 2))]),
        ({"directions": (BACKWARD,), "start": 2, "stop": 4}, [(4, (2,)), (3, (1, 2)), (2, (1, 2))]),
        ({"directions": (FORWARD,), "stop": 2}, []),
        ({"start": 4, "stop": 4}, [(4, (1,)), (4, (2,))]),
    ],
)
def test_objects_are_followed_forward_from_where_they_were_first_shown_and_backward_before(repaired, how, visited):
    predictions = repaired.propagate(begin(repaired, TWO), **how)
    assert [(p.frame, p.object_ids) for p in predictions] == visited


def test_both_ways_cover_every_frame_for_every_object(repaired, whole):
    assert set(whole) == {(object_id, frame) for object_id in (1, 2) for frame in range(12)}


def test_a_frame_with_no_object_to_follow_is_an_empty_prediction(repaired):
    prediction = repaired.visit(begin(repaired, TWO), 1, FORWARD)
    assert prediction.object_ids == ()
    size = (16, 16) if repaired.model.config.view_px is None else (26, 32)
    assert prediction.low_res_logits.shape == (0, *size)
    assert prediction.mask_logits().shape == (0, HEIGHT, WIDTH)
    assert prediction.predicted_iou.shape == prediction.object_score_logit.shape == (0,)


@pytest.mark.parametrize("prompt", [HERE, THERE, ELSEWHERE], ids=["click", "clicks", "box"])
@pytest.mark.parametrize("candidate", [0, 1, 2])
def test_a_chosen_candidate_answers_and_its_token_is_remembered(network, prompt, candidate):
    predictor = VideoPredictor(network, options=VideoOptions(hole_area=0))
    state = predictor.start(STACK[:4])
    found = predictor.prompt(state, 2, {1: replace(prompt, candidate=candidate)})
    features = predictor.features(state, 2)
    with torch.inference_mode():
        output = predictor.policy.answers.decode(state, prompt, network.without_memory(features), features, None)
        pointer = network.object_pointer(output.mask_tokens[:, 1 + candidate], torch.ones(1, 1, dtype=torch.bool))
    expected = state.working.unpadded(output.mask_logits[0, 1 + candidate].float())
    assert torch.equal(found.low_res_logits[0], expected)
    assert torch.equal(found.predicted_iou[0], output.predicted_iou[0, 1 + candidate])
    assert torch.equal(state.objects[1].memory(2).pointer, pointer[0])


def test_of_a_click_the_best_candidate_is_chosen_unless_another_is(repaired):
    found = [followed(repaired, [(1, 3, replace(HERE, candidate=c))]) for c in range(3)]
    best = max(range(3), key=lambda c: found[c][1, 3].iou.item())
    assert_equal(found[best], followed(repaired, [(1, 3, HERE)]))
    others = [one for c, one in enumerate(found) if c != best]
    for one in others:
        for frame in (2, 4):
            assert difference(one[1, frame], found[best][1, frame]) > 1e-4, frame


# A result is a function of frames and prompts alone -------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(4, 7), (11, 11), (None, 4)])
def test_a_range_never_changes_an_answer(repaired, bounds, whole):
    start, stop = bounds
    part = followed(repaired, TWO, start=start, stop=stop)
    first, last = start or 0, 11 if stop is None else stop
    assert_equal(part, {key: answer for key, answer in whole.items() if first <= key[1] <= last})


@pytest.mark.parametrize("said", list(permutations(TWO))[1::2])
def test_the_order_of_prompts_and_objects_does_not_matter(repaired, said, whole):
    assert_close(followed(repaired, said), whole)


@pytest.mark.parametrize("max_batch", [1, 3])
def test_the_number_of_objects_per_forward_does_not_matter(predict, max_batch):
    said = [(i, 2, prompt) for i, prompt in enumerate((HERE, THERE, ELSEWHERE, MASK, clicks((50, 40))))]
    assert_close(followed(predict(max_batch=max_batch), said), followed(predict(), said))


def test_objects_prompted_together_are_objects_prompted_one_by_one(repaired):
    state = repaired.start(STACK[:12])
    repaired.prompt(state, 3, {1: HERE, 2: THERE})
    assert_equal(gathered(repaired.propagate(state)), followed(repaired, [(1, 3, HERE), (2, 3, THERE)]))


@pytest.mark.parametrize("done", [0, 4, 9, 13])
def test_an_interrupted_pass_is_resumed_by_visits(repaired, done, whole):
    state = begin(repaired, TWO)
    way = [(f, FORWARD) for f in range(3, 12)] + [(f, BACKWARD) for f in range(6, -1, -1)]
    generator = repaired.propagate(state)
    before = [next(generator) for _ in range(done)]
    generator.close()
    after = [repaired.visit(state, frame, direction) for frame, direction in way[done:]]
    assert_equal(gathered([*before, *after]), whole)


def test_a_closed_generator_leaves_a_state_that_answers_as_a_fresh_one(repaired, whole):
    state = begin(repaired, TWO)
    for taken in (1, 7, 12):
        generator = repaired.propagate(state)
        for _ in range(taken):
            next(generator)
        generator.close()
    assert_equal(gathered(repaired.propagate(state)), whole)


def test_propagating_twice_gives_the_same_twice(repaired):
    state = begin(repaired, TWO)
    assert_equal(gathered(repaired.propagate(state)), gathered(repaired.propagate(state)))


@pytest.mark.parametrize("again", [3, 4, 11])
def test_visiting_a_frame_again_repeats_its_answer(repaired, again):
    state = begin(repaired, [(1, 3, HERE)])
    answers = gathered(repaired.propagate(state, directions=(FORWARD,)))
    repeated = repaired.visit(state, again, FORWARD)
    assert_equal(gathered([repeated]), {(1, again): answers[1, again]})


def test_a_way_whose_memories_are_gone_is_walked_again_from_its_beginning(repaired):
    state = begin(repaired, [(1, 0, HERE)], count=24)
    answers = gathered(repaired.propagate(state, directions=(FORWARD,)))
    with pytest.raises(FrameError, match="visit frame 3 first"):
        repaired.visit(state, 4, FORWARD)
    again = [repaired.visit(state, frame, FORWARD) for frame in range(1, 24)]
    assert_equal(gathered(again), {key: answer for key, answer in answers.items() if key[1] > 0})


def test_two_stacks_in_one_predictor_do_not_meet(repaired, whole):
    one, other = begin(repaired, TWO), repaired.start(STACK[12:])
    say(repaired, other, [(1, 5, THERE)])
    pairs = list(zip(repaired.propagate(one), repaired.propagate(other), strict=False))
    assert len(pairs) > 10
    for mine, _ in pairs:
        for i, object_id in enumerate(mine.object_ids):
            assert torch.equal(mine.low_res_logits[i], whole[object_id, mine.frame].logits)


# B1: corrections stick ------------------------------------------------------------------------------------------------


def corrected(predictor: VideoPredictor) -> tuple[Answers, Answer, Answers]:
    """Tracks before a correction on frame 5, the answer to it, and the tracks after it."""
    state = begin(predictor, [(1, 2, HERE)])
    before = gathered(predictor.propagate(state, directions=(FORWARD,)))
    answer = gathered([predictor.prompt(state, 5, {1: THERE})])[1, 5]
    return before, answer, gathered(predictor.propagate(state, directions=(FORWARD,)))


def test_a_correction_sticks_and_changes_frames_on_both_sides(repaired):
    before, answer, after = corrected(repaired)
    assert torch.equal(after[1, 5].logits, answer.logits)
    for frame in (3, 4, 6, 7, 8, 9, 10, 11):
        assert difference(before[1, frame], after[1, frame]) > 1e-4, frame
    assert torch.equal(before[1, 2].logits, after[1, 2].logits)


def test_under_the_reference_a_correction_is_lost(reference):
    before, answer, after = corrected(reference)
    assert difference(before[1, 5], answer) > 1e-2
    assert_equal(before, after)


def test_a_correction_gives_what_the_same_prompts_give_at_once(repaired):
    _, _, after = corrected(repaired)
    assert_equal(after, followed(repaired, [(1, 2, HERE), (1, 5, THERE)], directions=(FORWARD,)))


def test_a_prompt_taken_back_leaves_no_trace(repaired, whole):
    state = begin(repaired, [*TWO, (1, 8, THERE)])
    for _ in repaired.propagate(state):
        pass
    repaired.forget_prompt(state, 1, 8)
    assert_close(gathered(repaired.propagate(state)), whole)


def test_an_object_without_prompts_is_forgotten(repaired):
    state = begin(repaired, TWO)
    repaired.forget_prompt(state, 1, 3)
    assert list(state.objects) == [2]
    with pytest.raises(PromptError, match="Object 1 has no prompt"):
        repaired.forget_prompt(state, 1, 3)
    with pytest.raises(PromptError, match="Object 2 has no prompt on frame 3"):
        repaired.forget_prompt(state, 2, 3)


# B4: objects come and go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [0, 3, 7])
def test_an_object_added_late_leaves_the_others_bit_identical(predict, frame):
    predictor = predict(max_batch=1)
    state = begin(predictor, TWO)
    alone = gathered(predictor.propagate(state))
    kept = contents(state)
    say(predictor, state, [(3, frame, clicks((50, 40)))])
    assert {object_id: known for object_id, known in contents(state).items() if object_id != 3} == kept
    together = gathered(predictor.propagate(state))
    assert_equal({key: answer for key, answer in together.items() if key[0] != 3}, alone)
    assert_equal({key: answer for key, answer in together.items() if key[0] == 3},
                 followed(predictor, [(3, frame, clicks((50, 40)))]))  # fmt: skip


def test_batched_together_objects_stay_independent(repaired):
    said = [(1, 3, HERE), (2, 3, THERE), (3, 3, MASK)]
    together = followed(repaired, said)
    for one in said:
        alone = followed(repaired, [one])
        assert_close({key: answer for key, answer in together.items() if key[0] == one[0]}, alone)


def test_a_removed_object_leaves_the_others_bit_identical(predict):
    predictor = predict(max_batch=1)
    state = begin(predictor, [*TWO, (3, 6, MASK)])
    generator = predictor.propagate(state, directions=(FORWARD,))
    before = [next(generator) for _ in range(6)]
    del state.objects[3]
    answers = gathered([*before, *generator])
    assert max(frame for object_id, frame in answers if object_id == 3) == 8
    alone = followed(predictor, TWO, directions=(FORWARD,))
    assert_equal({key: answer for key, answer in answers.items() if key[0] != 3}, alone)


def test_an_object_can_be_followed_alone(predict):
    predictor = predict(max_batch=1)
    state = begin(predictor, TWO)
    answers = gathered([predictor.visit(state, frame, FORWARD, [2]) for frame in range(6, 12)])
    whole = followed(predictor, TWO, directions=(FORWARD,))
    assert_equal(answers, {key: answer for key, answer in whole.items() if key[0] == 2})


# B5: one frame --------------------------------------------------------------------------------------------------------


def clicked_again(predictor: VideoPredictor) -> FramePrediction:
    state = begin(predictor, [(1, 0, HERE)], count=1)
    assert len(list(predictor.propagate(state, directions=(FORWARD,)))) == 1
    return predictor.prompt(state, 0, {1: THERE})


def test_clicking_again_on_a_stack_of_one_frame_answers(repaired):
    prediction = clicked_again(repaired)
    assert prediction.object_score_logit.isfinite().all()
    assert (prediction.low_res_logits > ABSENT_LOGIT).all()
    assert_equal(gathered([prediction]), followed(repaired, [(1, 0, THERE)], count=1))


def test_under_the_reference_clicking_again_on_one_frame_loses_the_object(reference):
    prediction = clicked_again(reference)
    assert prediction.object_score_logit.isnan().all()
    assert (prediction.low_res_logits == ABSENT_LOGIT).all()


# B6: replaced points --------------------------------------------------------------------------------------------------


def replaced(predictor: VideoPredictor) -> tuple[Answer, Answer]:
    """The answer to a prompt that replaces another on its frame, and the answer to it alone."""
    state = begin(predictor, [(1, 2, HERE)])
    again = predictor.prompt(state, 2, {1: THERE})
    alone = predictor.prompt(predictor.start(STACK[:12]), 2, {1: THERE})
    return gathered([again])[1, 2], gathered([alone])[1, 2]


def test_a_replaced_prompt_leaves_no_trace_of_the_old_mask(repaired):
    again, alone = replaced(repaired)
    assert torch.equal(again.logits, alone.logits)
    assert_equal(followed(repaired, [(1, 2, HERE), (1, 2, THERE)]), followed(repaired, [(1, 2, THERE)]))


def test_under_the_reference_the_old_mask_sticks(reference):
    again, alone = replaced(reference)
    assert difference(again, alone) > 1e-3


# B7: directions -------------------------------------------------------------------------------------------------------


def both_orders(predictor: VideoPredictor) -> list[Answers]:
    """Memories that forward-then-backward and backward-then-forward leave; the last pass has the last word."""
    said = [(1, 5, HERE)]
    orders = ((FORWARD, BACKWARD), (BACKWARD, FORWARD), (FORWARD,), (BACKWARD,))
    return [followed(predictor, said, directions=order) for order in orders]


def test_the_order_of_directions_does_not_matter(repaired):
    one, other, forward, backward = both_orders(repaired)
    assert_equal(one, other)
    assert_equal(one, {**forward, **backward})


def test_under_the_reference_one_pass_changes_the_other(reference):
    one, other, _, _ = both_orders(reference)
    assert max(difference(one[1, frame], other[1, frame]) for frame in (0, 4, 6, 11)) > 1e-4


# Prompts of every kind ------------------------------------------------------------------------------------------------


def test_an_object_only_clicked_away_is_absent_on_that_frame_and_no_other(repaired):
    answers = followed(repaired, [(1, 3, HERE), (1, 7, ABSENT)])
    gone = answers[1, 7]
    assert (gone.logits == ABSENT_LOGIT).all()
    assert gone.score < 0
    assert gone.iou == 1
    assert all(answers[1, frame].score > 0 for frame in range(12) if frame != 7)
    assert difference(answers[1, 8], followed(repaired, [(1, 3, HERE)])[1, 8]) > 1e-4


def test_absence_may_be_said_before_and_on_both_sides_of_where_the_object_is(repaired):
    said = [(1, 2, ABSENT), (1, 5, HERE), (1, 9, ABSENT)]
    answers = followed(repaired, said)
    assert [frame for frame in range(12) if (answers[1, frame].logits == ABSENT_LOGIT).all()] == [2, 9]
    assert_equal(answers, followed(repaired, said[::-1]))


def test_objects_never_shown_are_not_followed(repaired):
    answers = followed(repaired, [(1, 3, HERE), (2, 5, ABSENT)])
    assert {object_id for object_id, _ in answers} == {1}
    with pytest.raises(PromptError, match="Every prompt says where an object is not"):
        next(repaired.propagate(begin(repaired, [(2, 5, ABSENT)])))


def test_a_mask_alone_is_the_answer_itself(repaired, network):
    state = begin(repaired, [(1, 3, MASK)])
    memory = state.objects[1].conditioning[3]
    mask = state.working.mask(torch.from_numpy(MASK.mask)[None, None], keeps_thin=True)
    assert torch.equal(memory.mask.logits(), as_low_res_logits(mask, repaired.model.mask_stride)[0, 0])
    assert memory.predicted_iou == 1
    assert memory.object_score_logit > 0
    assert memory.spatial is not None, "remembered at once, as it was drawn"
    answers = gathered(repaired.propagate(state))
    assert torch.equal(answers[1, 3].logits, state.working.unpadded(memory.mask.logits()))
    other = followed(repaired, [(1, 3, FramePrompt(mask=disc_mask(30, 40, 7)))])
    assert all(difference(answers[1, frame], other[1, frame]) > 1e-4 for frame in (2, 4)), "it is remembered"


def test_a_mask_of_one_pixel_is_kept_where_the_reference_loses_it(repaired, reference):
    stack = toy_stack(1, 256, 256)
    dot = FramePrompt(mask=disc_mask(100, 80, 0.5, 256, 256))
    kept, lost = (predictor.prompt(predictor.start(stack), 0, {1: dot}) for predictor in (repaired, reference))
    assert kept.object_score_logit.item() > 0 > lost.object_score_logit.item()
    assert kept.low_res_logits.max() > -9.5 > lost.low_res_logits.max()


@pytest.mark.parametrize(
    "with_mask",
    [
        FramePrompt(mask=MASK.mask, points=HERE.points, labels=HERE.labels),
        FramePrompt(mask=MASK.mask, points=ABSENT.points, labels=ABSENT.labels),
        FramePrompt(mask=MASK.mask, box=ELSEWHERE.box),
        FramePrompt(mask=MASK.mask, box=ELSEWHERE.box, points=THERE.points, labels=THERE.labels),
    ],
    ids=["click", "negative click", "box", "all"],
)
def test_a_mask_with_clicks_or_a_box_is_where_they_start_from(repaired, with_mask):
    answers = [
        gathered([repaired.prompt(repaired.start(STACK[:4]), 2, {1: prompt})])[1, 2]
        for prompt in (with_mask, MASK, replace(with_mask, mask=None), replace(with_mask, mask=disc_mask(40, 50, 6)))
    ]
    mixed, *others = answers
    assert all(difference(mixed, other) > 1e-3 for other in others)
    assert (mixed.logits > ABSENT_LOGIT).all()
    assert len(followed(repaired, [(1, 2, with_mask)], count=4)) == 4


def test_points_and_a_box_on_one_frame_are_answered_together(repaired):
    mixed = replace(ELSEWHERE, points=THERE.points, labels=THERE.labels)
    answers = [
        gathered([repaired.prompt(repaired.start(STACK[:4]), 2, {1: prompt})])[1, 2]
        for prompt in (mixed, ELSEWHERE, THERE)
    ]
    assert difference(answers[0], answers[1]) > 1e-3
    assert difference(answers[0], answers[2]) > 1e-3


# Memory ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "direction", "limit", "recalled"),
    [
        (13, FORWARD, 4, [5, 7, 10, 12]),  # none after: the nearest four before
        (6, FORWARD, 4, [2, 5, 7, 10]),
        (11, FORWARD, 2, [10, 12]),
        (13, FORWARD, None, [2, 5, 7, 10, 12]),
        (1, BACKWARD, 4, [2, 5, 7, 10]),
    ],
)
def test_at_most_the_four_nearest_prompted_frames_are_recalled(predict, frame, direction, limit, recalled):
    predictor = predict() if limit == 4 else predict(max_conditioning=limit)
    state = begin(predictor, [(1, f, HERE) for f in (12, 2, 10, 5, 7)], count=24)
    chosen = predictor.policy.recall(state, state.objects[1], frame, direction)
    slot = predictor.model.config.num_memories - 1
    assert [m.frame for m in chosen.memories if m.slot == slot] == recalled


def test_a_fifth_prompt_beyond_the_nearest_four_does_not_cost_time_or_matter(predict):
    said = [(1, f, HERE) for f in (4, 6, 8, 10)]
    five = [(1, 20, THERE), *said]
    near, far = (followed(predict(), s, count=24, directions=(BACKWARD,)) for s in (said, five))
    assert_equal(near, far)
    unlimited = followed(predict(max_conditioning=None), five, count=24, directions=(BACKWARD,))
    assert difference(unlimited[1, 3], near[1, 3]) > 1e-5


def retained(state: VideoState) -> int:
    """Numbers kept in memory on behalf of objects."""
    memories = [m for t in state.objects.values() for m in (*t.conditioning.values(), *t.tracked.values())]
    tensors = [x for m in memories for x in (m.mask.logits(), m.pointer, m.spatial) if x is not None]
    return sum(x.numel() for x in tensors)


def test_masks_of_many_objects_are_given_a_batch_at_a_time(predict, monkeypatch):
    masks = {i: FramePrompt(mask=disc_mask(10 + i, 15 + i, 6)) for i in range(1, 11)}
    predictor = predict(max_batch=4)
    read = []
    decode = predictor.model.mask_pointer
    monkeypatch.setattr(predictor.model, "mask_pointer", lambda f, mask: read.append(len(mask)) or decode(f, mask))
    together = begin(predictor, [])
    predictor.prompt(together, 3, {**masks, 11: HERE})
    assert read == [4, 4, 2]
    alone = begin(predictor, [(i, 3, prompt) for i, prompt in masks.items()])
    for i in masks:
        one, other = together.objects[i].conditioning[3], alone.objects[i].conditioning[3]
        assert torch.equal(one.mask.logits(), other.mask.logits())
        torch.testing.assert_close(one.pointer, other.pointer, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.spatial, other.spatial, rtol=1e-4, atol=1e-4)
        assert one.object_score_logit > 0


def test_no_state_keeps_the_masks_that_it_was_given(repaired):
    state = begin(repaired, [(1, 3, MASK), (2, 3, HERE), (3, 5, ABSENT)])
    assert [track.prompts for track in state.objects.values()] == [{3: False}, {3: False}, {5: True}]


def test_what_a_state_keeps_does_not_grow_with_its_stack(repaired):
    sizes = []
    for count in (45, 60):
        state = repaired.start(np.tile(STACK, (3, 1, 1, 1))[:count])
        say(repaired, state, [(1, 22, HERE), (2, 22, MASK)])
        for _ in repaired.propagate(state):
            pass
        sizes.append(retained(state))
        for track in state.objects.values():
            assert len(track.tracked) <= 2 * 16
            assert sum(m.spatial is not None for m in track.tracked.values()) <= 2 * 4
    assert sizes[0] == sizes[1]


def test_memories_are_stored_in_the_precision_asked_for(predict):
    for dtype, expected in ((None, torch.float32), (torch.bfloat16, torch.bfloat16)):
        predictor = predict(memory_dtype=dtype)
        state = begin(predictor, [(1, 2, HERE), (2, 2, MASK)])
        for _ in predictor.propagate(state):
            pass
        spatials = [m.spatial for t in state.objects.values() for m in (*t.conditioning.values(), *t.tracked.values())]
        assert {x.dtype for x in spatials if x is not None} == {expected}


def test_holes_are_filled_where_that_is_asked_for(network):
    said = [(i, 2, prompt) for i, prompt in enumerate((HERE, THERE, ELSEWHERE, MASK))]

    def holes(answers: Answers) -> int:
        count = 0
        for answer in answers.values():
            regions, _ = ndimage.label(answer.logits.numpy() <= 0, np.ones((3, 3)))
            count += (np.bincount(regions.ravel())[1:] <= 8).sum()
        return count

    def found(hole_area: int) -> Answers:
        # Stretched: what ends at the padding of an image in its proportions is filled as far as it goes on there.
        options = VideoOptions(hole_area=hole_area)
        return followed(VideoPredictor(network, framing=Framing.SQUARE, options=options), said)

    assert holes(found(0)) > 0
    assert holes(found(8)) == 0


def test_prompted_masks_are_remembered_black_and_white_or_not(predict):
    hard, soft = (followed(predict(binarises_prompted=choice), [(1, 2, HERE)]) for choice in (True, False))
    assert torch.equal(hard[1, 2].logits, soft[1, 2].logits)
    assert difference(hard[1, 3], soft[1, 3]) > 1e-4


def test_an_absent_object_is_empty_and_points_nowhere():
    shy = VideoPredictor(toy_model(presence=-50))
    state = begin(shy, [(1, 2, HERE)])
    answers = gathered(shy.propagate(state))
    followed_to = {place: answer for place, answer in answers.items() if place != (1, 2)}
    assert all((answer.logits == ABSENT_LOGIT).all() and answer.score < 0 for answer in followed_to.values())
    track = state.objects[1]
    assert all(torch.equal(m.pointer, shy.model.no_obj_ptr[0]) for m in track.tracked.values())


def test_an_object_is_there_where_the_user_shows_it_whatever_the_model_thinks():
    shy = VideoPredictor(toy_model(presence=-50))
    shown = gathered(shy.propagate(begin(shy, [(1, 2, HERE)])))[1, 2]
    assert shown.score > 0
    assert not (shown.logits == ABSENT_LOGIT).all()


# Frames are read lazily -----------------------------------------------------------------------------------------------


def test_a_frame_is_read_when_it_is_needed_and_once(repaired):
    frames = CountingFrames(STACK[:12])
    state = repaired.start(frames)
    assert frames.reads == [0], "for its size alone"
    repaired.prompt(state, 5, {1: HERE})
    repaired.prompt(state, 5, {1: THERE, 2: MASK})
    assert frames.reads == [0, 5]
    generator = repaired.propagate(state)
    assert frames.reads == [0, 5]
    for read in ([0, 5], [0, 5, 6], [0, 5, 6, 7]):
        next(generator)
        assert frames.reads == read
    for _ in generator:
        pass
    assert frames.reads == [0, 5, *range(6, 12), *range(4, -1, -1)]


def test_a_range_reads_no_frame_that_is_not_on_the_way(repaired):
    frames = CountingFrames(STACK)
    state = repaired.start(frames)
    repaired.prompt(state, 5, {1: HERE})
    for _ in repaired.propagate(state, start=3, stop=8):
        pass
    assert sorted(frames.reads[1:]) == [3, 4, 5, 6, 7, 8]


def test_a_frame_dropped_from_the_cache_is_encoded_again_to_the_same_result(predict):
    reads, answers = [], []
    for cached in (1, 2, 32):
        frames = CountingFrames(STACK[:12])
        predictor = predict(cached_frames=cached)
        state = predictor.start(frames)
        say(predictor, state, TWO)
        answers.append(gathered(predictor.propagate(state)))
        reads.append(len(frames.reads))
    assert reads[0] > reads[2]
    assert_equal(answers[0], answers[2])
    assert_equal(answers[1], answers[2])


def test_frames_may_come_from_a_list(repaired, whole):
    state = repaired.start(list(STACK[:12]))
    say(repaired, state, TWO)
    assert_equal(gathered(repaired.propagate(state)), whole)


def contents(state: VideoState) -> dict[int, tuple[dict[int, object], ...]]:
    """All that is known of objects; prompts and memories are compared by identity."""
    return {i: (dict(t.prompts), dict(t.conditioning), dict(t.tracked)) for i, t in state.objects.items()}


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "direction", "object_ids", "sentence"),
    [
        (9, FORWARD, None, "Object 1 cannot be followed forward to frame 9 yet: visit frame 8 first"),
        (5, FORWARD, [1], "visit frame 4 first, beginning next to frame 3"),
        (10, FORWARD, [2], "visit frame 8 first"),  # frame 9 is prompted, and still the way leads through 7 and 8
        (1, BACKWARD, [1], "visit frame 2 first"),
        (4, BACKWARD, [1], "Object 1 is not followed backward to frame 4"),
        (2, FORWARD, [1], "Object 1 is not followed forward to frame 2"),
        (12, FORWARD, None, "There is no frame 12"),
        (-1, BACKWARD, None, "There is no frame -1"),
    ],
)
def test_a_visit_out_of_order_is_refused(repaired, frame, direction, object_ids, sentence):
    state = begin(repaired, TWO)
    before = contents(state)
    with pytest.raises(FrameError, match=sentence):
        repaired.visit(state, frame, direction, object_ids)
    assert contents(state) == before


def test_a_frame_left_by_the_other_pass_is_no_stepping_stone(repaired):
    state = begin(repaired, [(1, 3, HERE)])
    for _ in repaired.propagate(state, directions=(FORWARD,)):
        pass
    with pytest.raises(FrameError, match="is not followed backward to frame 7"):
        repaired.visit(state, 7, BACKWARD, [1])


def test_a_visit_after_a_correction_begins_anew(repaired):
    state = begin(repaired, [(1, 3, HERE)])
    for _ in repaired.propagate(state):
        pass
    repaired.prompt(state, 7, {1: THERE})
    with pytest.raises(FrameError, match="visit frame 6 first"):
        repaired.visit(state, 8, FORWARD)
    answers = gathered(repaired.visit(state, frame, FORWARD) for frame in range(4, 12))
    fresh = followed(repaired, [(1, 3, HERE), (1, 7, THERE)], directions=(FORWARD,))
    assert_equal(answers, {key: answer for key, answer in fresh.items() if key[1] > 3})


@pytest.mark.parametrize(
    ("how", "error", "sentence"),
    [
        ({"start": -1}, FrameError, "There is no frame -1"),
        ({"stop": 12}, FrameError, "There is no frame 12: frames run from 0 to 11"),
        ({"start": 8, "stop": 4}, FrameError, "The range from 8 to 4 is empty"),
    ],
)
def test_a_range_that_is_not_there_is_refused(repaired, how, error, sentence):
    with pytest.raises(error, match=sentence):
        next(repaired.propagate(begin(repaired, TWO), **how))


@pytest.mark.parametrize("options", [VideoOptions(), REFERENCE])
def test_nothing_to_follow_is_refused(network, options):
    predictor = VideoPredictor(network, options=options)
    with pytest.raises(PromptError, match="No object has a prompt"):
        next(predictor.propagate(predictor.start(STACK)))


def test_under_the_reference_an_object_whose_first_prompt_was_taken_back_cannot_be_followed(reference):
    state = begin(reference, [(1, 2, HERE)])
    for _ in reference.propagate(state, directions=(FORWARD,)):
        pass
    say(reference, state, [(1, 5, THERE)])
    reference.forget_prompt(state, 1, 2)
    with pytest.raises(PromptError, match="No object has a prompted frame left"):
        next(reference.propagate(state))


@pytest.mark.parametrize(
    ("frame", "prompts", "error", "sentence"),
    [
        (12, {1: HERE}, FrameError, "There is no frame 12"),
        (-1, {1: HERE}, FrameError, "There is no frame -1"),
        (2, {}, PromptError, "There is no prompt"),
        (2, {1: HERE, 2: FramePrompt()}, PromptError, "The prompt is empty"),
        (2, {7: HERE, 1: clicks((99, 99))}, PromptError, "outside the frame"),
    ],
)
def test_a_refused_prompt_changes_nothing(repaired, frame, prompts, error, sentence):
    state = begin(repaired, TWO)
    repaired.visit(state, 4, FORWARD)
    before = contents(state)
    with pytest.raises(error, match=sentence):
        repaired.prompt(state, frame, prompts)
    assert contents(state) == before


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [([], "no frames"), ([np.zeros((8, 8), np.uint8)], "RGB"), (np.zeros((2, 8, 8, 3), np.float32), "float32")],
)
def test_a_stack_that_cannot_be_read_is_refused(repaired, frames, sentence):
    with pytest.raises(FrameError, match=sentence):
        repaired.start(frames)


@pytest.mark.parametrize("bad", [toy_stack(1, 30, WIDTH)[0], STACK[0][..., 0], STACK[0].astype(np.float32)])
def test_a_frame_unlike_the_others_is_refused_when_it_is_reached_and_the_state_stays_valid(repaired, bad):
    frames = list(STACK[:6])
    frames[4] = bad
    state = repaired.start(frames)
    say(repaired, state, [(1, 2, HERE)])
    generator = repaired.propagate(state, directions=(FORWARD,))
    before = [next(generator), next(generator)]
    with pytest.raises(FrameError, match=r"All frames must have one size|RGB image"):
        next(generator)
    frames[4] = STACK[4]
    after = [repaired.visit(state, frame, FORWARD) for frame in (4, 5)]
    assert_equal(gathered([*before, *after]), followed(repaired, [(1, 2, HERE)], count=6, directions=(FORWARD,)))


def test_a_working_size_that_is_none_is_refused(network):
    with pytest.raises(ConfigError, match="Image size 100"):
        VideoPredictor(network, image_size=100)


def test_the_working_size_may_differ_from_the_networks_own(network):
    predictor = VideoPredictor(network, image_size=96)
    size = (24, 24) if network.config.view_px is None else (38, 48)
    assert {answer.logits.shape for answer in followed(predictor, TWO).values()} == {size}


# Streams --------------------------------------------------------------------------------------------------------------


def streamed(predictor: VideoPredictor, said: Said, count: int) -> tuple[VideoState, list[FramePrediction]]:
    state = predictor.start_stream(HEIGHT, WIDTH)
    predictions = []
    for frame in range(count):
        predictions.append(predictor.step(state, STACK[frame]))
        for object_id, prompted, prompt in said:
            if prompted == frame:
                predictions.append(predictor.prompt(state, frame, {object_id: prompt}))
    return state, predictions


@pytest.mark.parametrize("cached", [1, 32])
@pytest.mark.parametrize("said", [[(1, 0, HERE)], [(1, 2, HERE), (2, 5, MASK)], [(1, 2, HERE), (2, 2, ABSENT)]])
def test_a_stream_gives_what_a_long_stack_gives(predict, said, cached):
    predictor = predict(cached_frames=cached)
    _, predictions = streamed(predictor, said, 18)
    answers = gathered(predictions)
    shown = {object_id for object_id, _, prompt in said if not prompt.is_absence}
    stack = followed(predictor, said, count=18, directions=(FORWARD,))
    assert_close({key: answer for key, answer in answers.items() if key[0] in shown}, stack)


def test_a_stream_dates_pointers_as_in_a_long_stack(repaired):
    said = [(1, 0, HERE)]
    short, long = (followed(repaired, said, count=count, directions=(FORWARD,)) for count in (6, 24))
    answers = gathered(streamed(repaired, said, 6)[1])
    assert_close(answers, {key: answer for key, answer in long.items() if key[1] < 6})
    assert difference(answers[1, 4], short[1, 4]) > 1e-5


@pytest.mark.parametrize("cached", [1, 32])
def test_prompts_on_a_stream_are_remembered_when_their_frames_are_gone(predict, cached):
    predictor = predict(cached_frames=cached)
    said = [(1, 1, ABSENT), (1, 4, HERE), (1, 6, THERE)]
    _, predictions = streamed(predictor, said, 12)
    by_frame = {p.frame: p for p in predictions if p.object_ids}
    assert sorted(by_frame) == [1, *range(4, 12)]
    assert all(p.low_res_logits.isfinite().all() for p in by_frame.values())
    _, uncorrected = streamed(predictor, said[:2], 12)
    assert difference(gathered(predictions[-1:])[1, 11], gathered(uncorrected[-1:])[1, 11]) > 1e-4


def test_many_corrections_in_a_row_do_not_stop_a_stream(repaired):
    said = [(1, frame, HERE) for frame in range(20)]
    state = repaired.start_stream(HEIGHT, WIDTH)
    for _, frame, prompt in said:
        repaired.step(state, STACK[frame])
        repaired.prompt(state, frame, {1: prompt})
    assert repaired.step(state, STACK[20]).object_ids == (1,)


def test_what_a_stream_keeps_does_not_grow(repaired):
    state = repaired.start_stream(HEIGHT, WIDTH)
    repaired.step(state, STACK[0])
    repaired.prompt(state, 0, {1: HERE, 2: MASK})
    sizes = []
    for frame in range(1, 30):
        repaired.step(state, STACK[frame % len(STACK)])
        sizes.append(retained(state))
    assert len(set(sizes[20:])) == 1


def test_a_frame_a_stream_refuses_is_not_counted(repaired):
    state, predictions = streamed(repaired, [(1, 0, HERE)], 5)
    with pytest.raises(FrameError, match="Frame 5 has 30 x 60 pixels"):
        repaired.step(state, toy_stack(1, 30, WIDTH)[0])
    predictions += [repaired.step(state, STACK[frame]) for frame in range(5, 8)]
    answers = [p for p in predictions if p.object_ids]
    assert_equal(gathered(answers), gathered(p for p in streamed(repaired, [(1, 0, HERE)], 8)[1] if p.object_ids))


def test_an_object_first_shown_on_an_older_frame_is_caught_up_by_visits(repaired):
    state, _ = streamed(repaired, [(1, 0, HERE)], 6)
    repaired.prompt(state, 3, {2: THERE})
    with pytest.raises(FrameError, match="Object 2 cannot be followed forward to frame 6 yet: visit frame 5 first"):
        repaired.step(state, STACK[6])
    assert state.num_frames == 6
    late = [repaired.visit(state, frame, FORWARD, [2]) for frame in (4, 5)]
    late.append(repaired.step(state, STACK[6]))
    assert late[-1].object_ids == (1, 2)
    on_time = gathered(p for p in streamed(repaired, [(1, 0, HERE), (2, 3, THERE)], 7)[1] if p.object_ids)
    assert_close(gathered(late), {key: on_time[key] for key in ((2, 4), (2, 5), (1, 6), (2, 6))})


def test_frames_of_a_stream_that_are_gone_are_refused(predict):
    predictor = predict(cached_frames=2)
    state, _ = streamed(predictor, [(1, 0, HERE)], 6)
    with pytest.raises(FrameError, match="Frame 2 of the stream is no longer at hand; the newest is 5"):
        predictor.prompt(state, 2, {1: THERE})
    assert predictor.step(state, STACK[6]).object_ids == (1,)


def test_streams_and_stacks_are_not_confused(repaired):
    state = begin(repaired, TWO)
    with pytest.raises(FrameError, match="This is a stack"):
        repaired.step(state, STACK[0])
    assert state.num_frames == 12
    stream, _ = streamed(repaired, [(1, 0, HERE)], 4)
    with pytest.raises(FrameError, match="A stream cannot be followed again"):
        next(repaired.propagate(stream))
    assert repaired.step(stream, STACK[4]).object_ids == (1,)
    with pytest.raises(FrameError, match="the stream has not begun"):
        repaired.prompt(repaired.start_stream(HEIGHT, WIDTH), 0, {1: HERE})


def test_a_prompt_taken_back_on_a_stream_leaves_the_others_and_the_past(repaired):
    state, _ = streamed(repaired, [(1, 0, HERE), (2, 1, MASK), (2, 3, THERE)], 6)
    repaired.forget_prompt(state, 2, 3)
    answers = gathered([repaired.step(state, STACK[6])])
    assert set(answers) == {(1, 6), (2, 6)}
    _, alone = streamed(repaired, [(1, 0, HERE)], 7)
    torch.testing.assert_close(answers[1, 6].logits, gathered(alone[-1:])[1, 6].logits, atol=1e-4, rtol=1e-4)


def test_a_correction_taken_back_on_a_stream_leaves_no_trace(repaired):
    state, _ = streamed(repaired, [(1, 0, HERE), (1, 4, THERE)], 5)
    repaired.forget_prompt(state, 1, 4)
    _, uncorrected = streamed(repaired, [(1, 0, HERE)], 6)
    assert_equal(gathered([repaired.step(state, STACK[5])]), gathered(uncorrected[-1:]))
