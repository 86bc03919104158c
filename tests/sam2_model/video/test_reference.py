"""The reference policy keeps the reference's history: clicks again, corrections, late objects, prompts taken back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sam2_model.config import CONFIGS
from sam2_model.video.predictor import VideoPredictor
from sam2_model.video.state import VideoState
from tests.sam2_model.seeded import seeded_frames, seeded_model
from tests.sam2_model.video.test_parity import BACKWARD, FORWARD, PLAIN, SIZE, BlankFrames, Said

RECORDED = Path(__file__).parents[2] / "data" / "parity" / f"history-tiny-2.1-{SIZE}px.npz"
COUNT = 8


def stages(predictor: VideoPredictor, state: VideoState, *, is_kept: bool) -> Iterator[str]:
    """One long conversation, with a pause wherever the reference was recorded."""

    def say(*said: Said) -> None:
        for one in said:
            predictor.prompt(state, one.frame, {one.object_id: one.prompt()})

    def propagate(direction: object = FORWARD, start: int | None = None) -> None:
        for _ in predictor.propagate(state, directions=(direction,), start=start):
            pass

    say(Said(1, 0, ((0.3, 0.5),), (1,)), Said(1, 0, ((0.3, 0.5), (0.8, 0.2)), (1, 0)))
    propagate()
    yield "a"
    say(Said(1, 3, ((0.6, 0.6),), (1,)), Said(1, 4, ((0.5, 0.6),), (1,)), Said(1, 3, ((0.6, 0.6), (0.2, 0.2)), (1, 0)))
    propagate()
    yield "b"
    say(Said(1, 0, ((0.4, 0.5),), (1,)))
    propagate(start=2)
    yield "c"
    say(Said(2, 5, mask=(0.5, 0.45, 0.2)), Said(1, 5, box=(0.15, 0.35, 0.45, 0.65)))
    propagate(BACKWARD, 5)
    yield "d"
    if is_kept:
        predictor.forget_prompt(state, 1, 3)
        propagate(start=0)
        yield "e"


@pytest.mark.parametrize("corrections", ["kept", "faded"])
def test_a_long_conversation_goes_as_in_the_reference(corrections: str) -> None:
    is_kept = corrections == "kept"
    options = replace(PLAIN, stability_fallback=True, binarises_prompted=True, corrections_condition=is_kept)
    predictor = VideoPredictor(seeded_model(CONFIGS["tiny"]), image_size=SIZE, options=options)
    state = predictor.start(BlankFrames(COUNT))
    with torch.inference_mode():
        for frame, image in enumerate(seeded_frames(COUNT, SIZE)):
            state.features.put(frame, predictor.model.encode_image(image[None]))
    with np.load(RECORDED) as recorded:
        compared = set()
        for stage in stages(predictor, state, is_kept=is_kept):
            for object_id, track in state.objects.items():
                for frame, memory in {**track.tracked, **track.conditioning}.items():
                    key = f"{corrections}/{stage}/{object_id}/{frame}"
                    np.testing.assert_allclose(memory.mask.logits(), recorded[key], rtol=0, atol=1e-4, err_msg=key)
                    compared.add(key)
        assert compared == {key for key in recorded.files if key.startswith(f"{corrections}/")}
