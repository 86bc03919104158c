"""Everything by a grid of points, on a network as published ones are, which is small and knows nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam2.errors import PromptError
from napari_sam2.files.prompts import PromptFile, read_prompts, write_prompts
from napari_sam2.frames import single_frame
from napari_sam2.inference.predictor import Search
from napari_sam2.inference.sam2 import Sam2Predictor
from napari_sam2.prompts import MaskPrompt, ModelScores, PromptSet
from sam2_model.automatic.mask_generator import MaskGeneratorOptions
from sam2_model.weights.loading import LoadedModel
from tests.sam2_model.toy import toy_model, toy_stack

ALL = MaskGeneratorOptions(points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0)


@pytest.fixture(scope="module")
def predictor():
    torch.set_num_threads(1)
    return Sam2Predictor(LoadedModel(toy_model().requires_grad_(requires_grad=False), "toy", "0" * 64))


@pytest.fixture(scope="module")
def frames():
    return single_frame(toy_stack(1)[0], rgb=True)


def proposals(predictor, frames, **search):
    return [one for part in predictor.propose(frames, 0, Search(grid=ALL, **search)) for one in part.proposals]


def test_what_is_proposed_can_be_written_as_prompts_and_read_again(predictor, frames, tmp_path):
    found = proposals(predictor, frames)
    assert len(found) > 3
    shape = (frames.height, frames.width)
    given = PromptSet(
        MaskPrompt(number, 0, one.mask, corner=one.corner, shape=shape, found=one.scores)
        for number, one in enumerate(found, 1)
    )
    write_prompts(tmp_path / "found.json", PromptFile(given))
    assert read_prompts(tmp_path / "found.json", shape=shape).prompts.prompts == given.prompts


def test_every_seed_is_answered_and_those_outside_the_window_are_not(predictor, frames):
    seeds = ((10.0, 12.0), (30.0, 40.0))
    everywhere = proposals(predictor, frames, seeds=seeds)
    assert {tuple(np.round(one.seed, 3)) for one in everywhere} == set(seeds)
    above = proposals(predictor, frames, seeds=seeds, window=(slice(0, 20), slice(0, frames.width)))
    assert {tuple(np.round(one.seed, 3)) for one in above} == {seeds[0]}
    assert proposals(predictor, frames, seeds=seeds[1:], window=(slice(0, 20), slice(0, frames.width))) == []


def test_an_example_is_like_itself_and_unlike_where_it_is_not_wanted(predictor, frames):
    one = proposals(predictor, frames)[0]
    mask = MaskPrompt(1, 0, one.mask, corner=one.corner, shape=(frames.height, frames.width))
    (example,) = predictor.describe(frames, 0, [mask])
    wanted = proposals(predictor, frames, like=(example,))[0].likeness
    unwanted = proposals(predictor, frames, like=(replace(example, is_wanted=False),))[0].likeness
    assert wanted > 0.9
    assert unwanted == pytest.approx(1 - wanted)


def test_scores_that_no_file_can_hold_are_refused():
    with pytest.raises(PromptError, match="mean_logit of a found mask is nan"):
        ModelScores(0.9, 0.9, 0.9, float("nan"))
