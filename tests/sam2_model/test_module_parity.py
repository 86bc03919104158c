"""Every module against recorded outputs of the reference, at 128 px, from weights rebuilt from names."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sam2_model.config import CONFIGS
from sam2_model.mask_decoder import ChosenMasks, MaskDecoderOutput, single_mask, three_candidates

from .seeded import disc, seeded, seeded_frames, seeded_model

SIZE = 128
PARITY = Path(__file__).parents[1] / "data" / "parity"
FIXTURES = {"tiny-2.0": "tiny-2.0", "tiny": "tiny-2.1", "base-plus": "base_plus-2.1", "large": "large-2.1"}
CASES = {
    "click": ([(0.3, 0.5)], [1]),
    "negative_click": ([(0.3, 0.5)], [0]),
    "two_clicks": ([(0.3, 0.5), (0.8, 0.2)], [1, 0]),
    "box": ([(0.15, 0.35), (0.45, 0.65)], [2, 3]),
    "box_click": ([(0.15, 0.35), (0.45, 0.65), (0.3, 0.5)], [2, 3, 1]),
}


class Recorded:
    """One variant: its model, its features, and what the reference said."""

    def __init__(self, name: str) -> None:
        self.arrays = np.load(PARITY / f"{FIXTURES[name]}-{SIZE}px.npz")
        self.model = seeded_model(CONFIGS[name])
        with torch.inference_mode():
            self.features = self.model.encode_image(seeded_frames(1, SIZE))

    def check(self, key: str, value: torch.Tensor) -> None:
        expected = self.arrays[f"modules/{key}"]
        assert value.shape == expected.shape, key
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-4, atol=1e-4, err_msg=key)


@pytest.fixture(scope="module", params=FIXTURES)
def recorded(request: pytest.FixtureRequest) -> Iterator[Recorded]:
    with torch.inference_mode():
        yield Recorded(request.param)


def mask_logits() -> torch.Tensor:
    return 20 * disc(SIZE // 4, 0.5, 0.45, 0.2)[None, None].float() - 10


def test_the_image_encoder_equals_the_reference(recorded: Recorded) -> None:
    levels = (recorded.features.fine, recorded.features.middle, recorded.features.embedding)
    for index, level in enumerate(levels):
        recorded.check(f"encode_image/level{index}", level[0])


@pytest.mark.parametrize("with_mask", [False, True], ids=["no mask", "mask"])
@pytest.mark.parametrize("case", CASES)
def test_the_prompt_encoder_and_the_mask_decoder_equal_the_reference(
    recorded: Recorded, case: str, with_mask: bool
) -> None:
    points = torch.tensor(CASES[case][0])[None] * SIZE
    labels = torch.tensor(CASES[case][1])[None]
    mask = mask_logits() if with_mask else None
    name = case + ("_mask" if with_mask else "")
    model, features = recorded.model, recorded.features
    sparse, _ = model.sam_prompt_encoder(features.grid, points, labels, mask)
    recorded.check(f"prompt_encoder/{name}/sparse", sparse[0])

    output: MaskDecoderOutput = model.decode(model.without_memory(features), features, points, labels, mask)
    chosen: dict[str, ChosenMasks] = {
        "one_mask": single_mask(output, stability_fallback=True),
        "three_masks": three_candidates(output),
    }
    for kind, masks in chosen.items():
        recorded.check(f"mask_decoder/{name}/{kind}/low_res_logits", masks.mask_logits[0])
        recorded.check(f"mask_decoder/{name}/{kind}/predicted_iou", masks.predicted_iou[0])
        recorded.check(f"mask_decoder/{name}/{kind}/object_score_logit", output.object_score_logit[0])


def test_the_memory_encoder_equals_the_reference(recorded: Recorded) -> None:
    upscaled = torch.nn.functional.interpolate(mask_logits(), (SIZE, SIZE), mode="bilinear")
    memory = recorded.model.memory_encoder(recorded.features.embedding, 20 * torch.sigmoid(upscaled) - 10)
    recorded.check("memory_encoder/memory", memory[0])


def test_the_memory_attention_equals_the_reference(recorded: Recorded) -> None:
    h, w = recorded.features.grid
    memories, pointers = 3, 2
    length = memories * h * w + 4 * pointers
    # The reference keeps sequences first: (tokens, batch, channels).
    frame_positions = seeded((h * w, 1, 256), "query_positions").permute(1, 2, 0).view(256, h, w)
    conditioned = recorded.model.memory_attention(
        recorded.features.embedding,
        frame_positions,
        seeded((length, 1, 64), "memory").transpose(0, 1),
        seeded((length, 1, 64), "memory_positions").transpose(0, 1),
        pointer_tokens=4 * pointers,
    )
    recorded.check("memory_attention/conditioned", conditioned[0].flatten(1).T)
