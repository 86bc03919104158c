"""Views: where they lie, when they grow, and that the decoder sees in them what it would see in a small image."""

from dataclasses import replace

import pytest
import torch

from sam2_model.mask_decoder import MaskDecoderOutput
from sam2_model.prompt_encoder import PointLabel
from sam2_model.sam2 import PointerMemory, Sam2, SpatialMemory
from sam2_model.views import NOT_SEEN, Extent, View, extent_of_masks, extent_of_points, look

from .seeded import seeded, seeded_model
from .toy import TOY

GRID = (12, 16)
POSITIVE, PADDING = int(PointLabel.POSITIVE), int(PointLabel.PADDING)
BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = int(PointLabel.BOX_TOP_LEFT), int(PointLabel.BOX_BOTTOM_RIGHT)


@pytest.fixture(scope="module")
def network() -> Sam2:
    """A network that is at home in 64 pixels."""
    return seeded_model(replace(TOY, view_px=64))


def rectangle(x_min: float, y_min: float, x_max: float, y_max: float) -> Extent:
    return Extent(torch.tensor([[x_min, y_min]]), torch.tensor([[x_max, y_max]]))


def answer_of(masks: torch.Tensor) -> MaskDecoderOutput:
    """An answer that says the same four times; the predicted IoU is the number of the object's first row."""
    N = len(masks)
    return MaskDecoderOutput(masks.expand(N, 4, -1, -1), torch.zeros(N, 4), torch.zeros(N, 4, 8), torch.ones(N, 1))


def test_what_is_cut_out_goes_back_to_its_place():
    view = View(((2, 3), (8, 12)), 4, 4, GRID)
    frame = seeded((1, 2, 48, 64), "frame")
    pasted = view.paste(view.crop(frame))
    assert pasted.shape == (2, 2, 48, 64)
    torch.testing.assert_close(pasted[0, :, 8:24, 12:28], frame[0, :, 8:24, 12:28])
    torch.testing.assert_close(pasted[1, :, 32:, 48:], frame[0, :, 32:, 48:])
    assert (pasted[1, :, :32] == NOT_SEEN).all()


def test_a_view_lies_round_the_object_and_inside_the_frame():
    extent = Extent(torch.tensor([[120.0, 90.0], [0.0, 0.0], [250.0, 190.0]]), torch.tensor([[136.0, 102.0]] * 3))
    extent = Extent(extent.low, torch.maximum(extent.high, extent.low))
    view = extent.view(torch.tensor([0, 2]), 64, GRID)
    assert view.corners == ((4, 6), (8, 12))
    assert (view.rows, view.columns) == (4, 4)


def test_padding_points_say_nothing_about_the_extent():
    points = torch.tensor([[[30.0, 20.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    extent = extent_of_points(points, torch.tensor([[POSITIVE, PADDING], [PADDING, PADDING]]))
    assert extent.low[0].tolist() == extent.high[0].tolist() == [30, 20]
    assert extent.fits(64).tolist() == [True, False]


def test_a_stray_cell_does_not_stretch_the_extent_of_a_mask():
    masks = torch.zeros(2, 1, 48, 64, dtype=torch.bool)
    masks[0, 0, 8:20, 10:22] = True
    masks[0, 0, 47, 63] = True
    extent = extent_of_masks(masks, (192, 256))
    assert extent.low[0].tolist() == [40, 32]
    assert extent.high[0].tolist() == [88, 80]
    assert not extent.fits(10_000)[1]


@pytest.mark.parametrize(
    ("extent", "sides"),
    [
        (rectangle(100, 60, 120, 80), [64]),
        (rectangle(100, 60, 180, 80), [128]),
        (rectangle(0, 0, 250, 180), [None]),
        (rectangle(torch.inf, torch.inf, -torch.inf, -torch.inf), [None]),
    ],
)
def test_the_smallest_view_with_room_is_taken(extent, sides):
    taken = []

    def answer(chosen, view):
        taken.append(None if view is None else view.rows * 16)
        h, w = GRID if view is None else (view.rows, view.columns)
        return answer_of(torch.full((len(chosen), 1, 4 * h, 4 * w), -1.0))

    assert look(answer, extent, 64, GRID).mask_logits.shape == (1, 4, 48, 64)
    assert taken == sides


def test_who_reaches_the_border_of_a_view_is_looked_at_in_a_wider_one_and_the_order_stays():
    asked = []

    def answer(chosen, view):
        asked.append((chosen.tolist(), None if view is None else view.rows))
        h, w = GRID if view is None else (view.rows, view.columns)
        masks = torch.full((len(chosen), 1, 4 * h, 4 * w), -1.0)
        masks[chosen == 1, :, : 4 * 8, 0] = 1.0
        output = answer_of(masks)
        return replace(output, predicted_iou=chosen[:, None].expand(-1, 4).float())

    low = torch.tensor([[100.0, 60.0]] * 3)
    output = look(answer, Extent(low, low + 4), 64, GRID)
    assert asked == [([0, 1, 2], 4), ([1], 8), ([1], None)]
    assert output.predicted_iou[:, 0].tolist() == [0, 1, 2]


def test_the_frame_ends_where_it_ends():
    masks = torch.full((1, 1, 16, 16), -1.0)
    masks[..., :, 0] = 1
    assert not View(((4, 0),), 4, 4, GRID).is_reached(masks).item()
    assert View(((4, 1),), 4, 4, GRID).is_reached(masks).item()


def test_in_a_view_a_prompt_is_answered_as_in_an_image_of_that_size(network, monkeypatch):
    # Masks of random weights would run out of every view.
    monkeypatch.setattr(View, "is_reached", lambda _, logits: torch.zeros(len(logits), dtype=torch.bool))
    features = network.encode_image(seeded((1, 3, 128, 128), "image"))
    point, label = torch.tensor([[[70.0, 58.0]]]), torch.tensor([[POSITIVE]])
    answered = network.decode(network.without_memory(features), features, point, label)
    view = Extent(point[:, 0], point[:, 0]).view(torch.tensor([0]), 64, (8, 8))
    (row, column), *_ = view.corners
    part = features.map(view.crop)
    alone = network.decode(network.without_memory(part), part, point - torch.tensor([16.0 * column, 16.0 * row]), label)
    torch.testing.assert_close(answered.predicted_iou, alone.predicted_iou)
    torch.testing.assert_close(view.crop(answered.mask_logits), alone.mask_logits)


def test_an_object_that_fills_an_image_of_twice_the_view_is_looked_at_as_without_views(network):
    plain = seeded_model(TOY)
    plain.load_state_dict(network.state_dict())
    features = network.encode_image(seeded((1, 3, 128, 128), "image"))
    prompt = torch.tensor([[[7.0, 5.0], [120.0, 110.0]]]), torch.tensor([[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]])
    here, there = (n.decode(n.without_memory(features), features, *prompt) for n in (network, plain))
    torch.testing.assert_close(here.mask_logits, there.mask_logits)


@pytest.mark.parametrize("count", [1, 3])
def test_prompts_of_every_kind_are_answered_in_wide_frames_alone_or_together(network, count):
    features = network.encode_image(seeded((1, 3, 128, 192), "image"))
    points = torch.tensor([[[20.0, 30.0]], [[170.0, 100.0]], [[90.0, 60.0]]])[:count]
    labels = torch.full((count, 1), POSITIVE)
    masks = torch.zeros(count, 1, 128, 192)
    masks[..., 40:70, 100:130] = 1
    embedding = network.without_memory(features)
    together = network.decode(embedding, features, points, labels, masks * 20 - 10)
    assert together.mask_logits.shape == (count, 4, 32, 48)
    for n in range(count):
        alone = network.decode(embedding, features, points[n : n + 1], labels[n : n + 1], masks[n : n + 1] * 20 - 10)
        torch.testing.assert_close(together.mask_logits[n : n + 1], alone.mask_logits, rtol=1e-4, atol=1e-4)
    pointers = network.mask_pointer(features, masks)
    memory = network.encode_memory(features, masks, torch.ones(count, 1, dtype=torch.bool))
    conditioned = network.condition(features, [SpatialMemory(memory, 0)], [PointerMemory(pointers, 0.5)])
    assert network.decode_without_prompt(conditioned, features).mask_logits.shape == (count, 4, 32, 48)
