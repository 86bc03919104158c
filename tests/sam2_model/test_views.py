"""Views: where they lie, from how far they are seen, and that the decoder sees in them what it knows."""

from dataclasses import replace

import pytest
import torch

from sam2_model.mask_decoder import MaskDecoderOutput
from sam2_model.mask_ops import ABSENT_LOGIT, as_low_res_logits
from sam2_model.prompt_encoder import PointLabel
from sam2_model.sam2 import PointerMemory, Sam2, SpatialMemory
from sam2_model.views import NOT_SEEN, Extent, Ladder, View, extent_of_masks, extent_of_points, is_inside, look, nowhere

from .seeded import seeded, seeded_model
from .toy import TOY

GRID = (12, 16)
"""Tokens of a frame of 192 x 256 pixels."""

LADDER = Ladder(64, GRID)
"""Views of 32, 64, 128 and 256 pixels, the last being the frame: seen from a distance of 1/2, 1, 1 and 2."""

POSITIVE, NEGATIVE, PADDING = int(PointLabel.POSITIVE), int(PointLabel.NEGATIVE), int(PointLabel.PADDING)
BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = int(PointLabel.BOX_TOP_LEFT), int(PointLabel.BOX_BOTTOM_RIGHT)


@pytest.fixture(scope="module")
def network() -> Sam2:
    """A network that is at home in 64 to 128 pixels and follows masks."""
    return seeded_model(replace(TOY, view_px=64, follows_masks=True))


def rectangle(x_min: float, y_min: float, x_max: float, y_max: float) -> Extent:
    return Extent(torch.tensor([[x_min, y_min]]), torch.tensor([[x_max, y_max]]))


def answer_of(masks: torch.Tensor, numbers: torch.Tensor) -> MaskDecoderOutput:
    """An answer that says the same four times; the predicted IoU is the number of the object."""
    N = len(masks)
    iou = numbers[:, None].expand(N, 4).float()
    return MaskDecoderOutput(masks.expand(N, 4, -1, -1), iou, torch.zeros(N, 4, 8), torch.ones(N, 1))


def cells_of(view: View) -> tuple[int, int]:
    """Rows and columns of the logits that the decoder gives of a view."""
    return int(4 * view.rows / view.distance), int(4 * view.columns / view.distance)


# Where views lie -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_what_is_seen_goes_back_to_its_place(distance):
    view = View(((2, 3), (8, 12)), 4, 4, GRID, distance)
    frame = torch.zeros(1, 1, 12, 16)
    frame[..., 2:4, 3:5] = 8.0  # the upper left quarter of the first view
    seen = view.crop(frame)
    assert seen.shape == (2, 1, 4 / distance, 4 / distance)
    masks = seen.repeat_interleave(4, 2).repeat_interleave(4, 3)  # the decoder has four cells for a token
    pasted = view.paste(masks)
    assert pasted.shape == (2, 1, 96, 128)
    assert (pasted[0, 0, 18:26, 26:34] > 4).all()
    assert (pasted[0, 0, :15] == NOT_SEEN).all()
    assert (pasted[1, 0, 64:, 96:] <= 0).all()
    assert (pasted[1, 0, :64] == NOT_SEEN).all()


def test_points_keep_their_place_on_the_features_from_every_distance():
    for distance in (0.5, 1.0, 2.0):
        view = View(((2, 3),), 4, 4, GRID, distance)
        # The lower right corner of the view's second token is an edge between pixels, half a pixel off their centres.
        (x, y), *_ = view.shift(torch.tensor([[[16 * 5 - 0.5, 16 * 4 - 0.5]]]))[0].tolist()
        assert (x + 0.5, y + 0.5) == (32 / distance, 32 / distance)


def test_a_frame_that_the_distance_does_not_divide_is_seen_whole():
    grid = (6, 10)
    ladder = Ladder(32, grid)
    view = ladder.view(len(ladder.sides), nowhere(1, torch.device("cpu")), torch.tensor([0]))
    assert (view.rows, view.columns, view.distance) == (*grid, 4)
    seen = view.crop(seeded((1, 2, 12, 20), "middle"))
    assert seen.shape == (1, 2, 4, 6)  # of 3 x 5 and of two cells for a token
    assert view.paste(seeded((1, 4, 8, 12), "logits")).shape == (1, 4, 48, 80)


def test_a_view_lies_round_the_object_and_inside_the_frame():
    extent = Extent(
        torch.tensor([[120.0, 90.0], [0.0, 0.0], [250.0, 190.0]]),
        torch.tensor([[136.0, 102.0], [9.0, 9.0], [255.0, 191.0]]),
    )
    view = LADDER.view(1, extent, torch.tensor([0, 2]))
    assert view.corners == ((4, 6), (8, 12))
    assert (view.rows, view.columns) == (4, 4)


def test_small_things_are_seen_from_close_by_and_wide_ones_from_afar():
    ladder, extent = Ladder(64, (32, 32)), rectangle(100, 100, 110, 110)
    views = [ladder.view(number, extent, torch.tensor([0])) for number in range(len(ladder.sides) + 1)]
    assert [view.rows * 16 for view in views] == [32, 64, 128, 256, 512]
    assert [view.distance for view in views] == [0.5, 1, 1, 2, 4]


# What is known of an object ------------------------------------------------------------------------------------------


def test_padding_points_say_nothing_about_the_extent():
    points = torch.tensor([[[30.0, 20.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    extent = extent_of_points(points, torch.tensor([[NEGATIVE, PADDING], [PADDING, PADDING]]))
    assert extent.low[0].tolist() == extent.high[0].tolist() == [30, 20]
    assert extent.fits(64).tolist() == [True, False]


def test_a_click_does_not_say_how_small_an_object_is_but_a_box_does():
    box = torch.tensor([[[30.0, 20.0], [36.0, 27.0]]])
    click = torch.tensor([[[33.0, 24.0], [0.0, 0.0]]])
    ladder = Ladder(128, (16, 16))
    boxed = extent_of_points(box, torch.tensor([[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]]))
    clicked = extent_of_points(click, torch.tensor([[POSITIVE, PADDING]]))
    assert ladder.sides == (64, 128)
    assert (ladder.rungs(boxed).item(), ladder.rungs(clicked).item()) == (0, 1)


def test_a_stray_cell_does_not_stretch_the_extent_of_a_mask():
    masks = torch.zeros(2, 1, 48, 64, dtype=torch.bool)
    masks[0, 0, 8:20, 10:22] = True
    masks[0, 0, 47, 63] = True
    extent = extent_of_masks(masks, (192, 256))
    assert extent.low[0].tolist() == [40, 32]
    assert extent.high[0].tolist() == [88, 80]
    assert not extent.fits(10_000)[1]


# Looking -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extent", "side"),
    [
        (rectangle(100, 60, 107, 66), 32),
        (rectangle(100, 60, 130, 80), 64),
        (rectangle(100, 60, 180, 80), 128),
        (rectangle(0, 0, 250, 180), 256),
        (nowhere(1, torch.device("cpu")), 256),
    ],
)
def test_the_closest_view_with_room_is_taken(extent, side):
    taken = []

    def answer(objects, view, _):
        taken.append(max(view.rows, view.columns) * 16)
        return answer_of(torch.full((len(objects), 1, *cells_of(view)), -1.0), objects)

    assert look(answer, extent, LADDER).mask_logits.shape == (1, 4, 96, 128)
    assert taken == [side]


def test_who_reaches_the_border_of_a_view_is_looked_at_in_a_wider_one_and_the_order_stays():
    asked = []

    def answer(objects, view, _):
        asked.append((objects.tolist(), view.rows))
        masks = torch.full((len(objects), 1, *cells_of(view)), -1.0)
        masks[objects == 1] = 1.0
        return answer_of(masks, objects)

    low = torch.tensor([[100.0, 60.0]] * 3)
    output = look(answer, Extent(low, low + 4), LADDER)
    assert asked == [([0, 1, 2], 2), ([1], 4), ([1], 8), ([1], 12)]
    assert output.predicted_iou[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("closely", [True, False])
def test_who_turns_out_to_be_small_is_looked_at_again_from_close_by_with_the_mask_that_was_found(closely):
    asked = []

    def answer(objects, view, shown):
        masks = torch.full((len(objects), 1, *cells_of(view)), -1.0)
        if shown is None:
            masks[objects == 1, :, 24:26, 20:22] = 1.0  # 16 x 16 pixels of the frame, which is seen from afar
        asked.append((objects.tolist(), view.rows, None if shown is None else (shown[objects] > 0).sum().item()))
        return replace(answer_of(masks, objects), predicted_iou=objects[:, None].expand(-1, 4).float() + len(asked))

    output = look(answer, nowhere(3, torch.device("cpu")), Ladder(64, (32, 32)), closely=closely)
    if not closely:
        assert asked == [([0, 1, 2], 32, None)]
        return
    assert asked[0] == ([0, 1, 2], 32, None)
    ((objects, rows, cells),) = asked[1:]
    assert (objects, rows) == ([1], 4)
    assert cells == pytest.approx((32 / 2) ** 2, rel=0.5)
    assert output.predicted_iou[:, 0].tolist() == [1, 3, 3]


def test_a_second_look_that_runs_out_of_its_view_is_forgotten():
    def answer(objects, view, shown):
        masks = torch.full((len(objects), 1, *cells_of(view)), -1.0)
        if shown is None:
            masks[..., 24:26, 20:22] = 1.0
        else:
            masks[:] = 1.0
        return answer_of(masks, objects + (shown is not None))

    output = look(answer, nowhere(1, torch.device("cpu")), Ladder(64, (32, 32)))
    assert output.predicted_iou.eq(0).all()
    assert 0 < (output.mask_logits[:, 0] > 0).sum() < 2000


def test_the_frame_ends_where_it_ends():
    masks = torch.full((1, 1, 16, 16), -1.0)
    masks[..., :, 0] = 1
    assert not View(((4, 0),), 4, 4, GRID).is_reached(masks).item()
    assert View(((4, 1),), 4, 4, GRID).is_reached(masks).item()


# The network ---------------------------------------------------------------------------------------------------------


def test_in_a_view_a_prompt_is_answered_as_in_an_image_of_that_size(network, monkeypatch):
    # Masks of random weights would run out of every view.
    monkeypatch.setattr(View, "is_reached", lambda _, logits: torch.zeros(len(logits), dtype=torch.bool))
    features = network.encode_image(seeded((1, 3, 128, 128), "image"))
    points, labels = torch.tensor([[[60.0, 48.0], [84.0, 71.0]]]), torch.tensor([[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]])
    answered = network.decode(network.without_memory(features), features, points, labels, closely=False)
    view = Ladder(64, (8, 8)).view(1, extent_of_points(points, labels), torch.tensor([0]))
    assert view.distance == 1
    (row, column), *_ = view.corners
    part = features.map(view.crop)
    plain = seeded_model(TOY)
    plain.load_state_dict(network.state_dict())
    plain.sam_prompt_encoder.span_px = network.sam_prompt_encoder.span_px
    moved = points - torch.tensor([16.0 * column, 16.0 * row])
    alone = plain.decode(plain.without_memory(part), part, moved, labels)
    torch.testing.assert_close(answered.predicted_iou, alone.predicted_iou)
    torch.testing.assert_close(answered.mask_logits, view.paste(alone.mask_logits))


def test_a_mask_too_thin_for_any_cell_still_has_a_place():
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, 0, 31, 20:40] = 1
    logits = as_low_res_logits(masks, 2)
    assert not (logits > 0).any()
    extent = extent_of_masks(is_inside(logits), (64, 64))
    assert 20 <= extent.low[0, 0] <= extent.high[0, 0] <= 40
    absent = torch.full((1, 1, 32, 32), ABSENT_LOGIT)
    assert not extent_of_masks(is_inside(absent), (64, 64)).fits(10_000).any()


def test_the_pointer_of_a_given_mask_is_read_from_that_mask_alone(network, monkeypatch):
    shown = []
    monkeypatch.setattr("sam2_model.sam2.look", lambda *_, closely=True, **__: shown.append(closely))
    features = network.encode_image(seeded((1, 3, 128, 128), "image"))
    network.decode_mask(features, torch.ones(1, 1, 128, 128))
    assert shown == [False]


def test_what_is_not_there_is_not_looked_for_in_the_next_view_but_in_the_frame():
    asked = []

    def decode(objects, view, _):
        asked.append(max(view.rows, view.columns) * 16)
        output = answer_of(torch.ones(len(objects), 1, *cells_of(view)), objects)
        return replace(output, object_score_logit=-output.object_score_logit)

    look(decode, rectangle(100, 60, 107, 66), LADDER, seeks=True)
    assert asked == [32, 256]


@pytest.mark.parametrize("count", [1, 3])
def test_prompts_of_every_kind_are_answered_in_wide_frames_alone_or_together(network, count):
    features = network.encode_image(seeded((1, 3, 128, 192), "image"))
    points = torch.tensor([[[20.0, 30.0]], [[170.0, 100.0]], [[90.0, 60.0]]])[:count]
    labels = torch.full((count, 1), POSITIVE)
    masks = torch.zeros(count, 1, 128, 192)
    masks[..., 40:70, 100:130] = 1
    embedding = network.without_memory(features)
    together = network.decode(embedding, features, points, labels, masks * 20 - 10)
    assert together.mask_logits.shape == (count, 4, 64, 96)
    for n in range(count):
        alone = network.decode(embedding, features, points[n : n + 1], labels[n : n + 1], masks[n : n + 1] * 20 - 10)
        torch.testing.assert_close(together.mask_logits[n : n + 1], alone.mask_logits, rtol=1e-4, atol=1e-4)
    pointers = network.mask_pointer(features, masks)
    memory = network.encode_memory(features, masks, torch.ones(count, 1, dtype=torch.bool))
    conditioned = network.condition(features, [SpatialMemory(memory, 0)], [PointerMemory(pointers, 0.5)])
    last = masks[..., ::2, ::2] * 20 - 10
    for given in (None, last):
        assert network.decode_without_prompt(conditioned, features, given).mask_logits.shape == (count, 4, 64, 96)


def test_the_last_mask_tells_where_a_followed_object_is(network):
    features = network.encode_image(seeded((1, 3, 128, 192), "image"))
    masks = torch.full((2, 1, 64, 96), -10.0)
    masks[0, :, 10:20, 10:20] = masks[1, :, 40:50, 70:80] = 10
    embedding = network.without_memory(features).repeat(2, 1, 1, 1)
    followed = network.decode_without_prompt(embedding, features, masks)
    assert not torch.allclose(followed.mask_logits[0], followed.mask_logits[1])
    by_memory = seeded_model(replace(TOY, view_px=64))
    by_memory.load_state_dict(network.state_dict())
    same = by_memory.decode_without_prompt(embedding, features, masks)
    torch.testing.assert_close(same.mask_logits[0], same.mask_logits[1])


def test_an_object_that_is_not_where_it_was_is_looked_for_in_the_whole_frame(network, monkeypatch):
    asked = []
    decode = network._decode

    def watched(question):
        asked.append(question.features.grid)
        output = decode(question)
        is_far = question.features.grid == (8, 8)
        return replace(output, object_score_logit=torch.full_like(output.object_score_logit, 1.0 if is_far else -1.0))

    monkeypatch.setattr(network, "_decode", watched)
    monkeypatch.setattr(View, "is_reached", lambda _, logits: torch.zeros(len(logits), dtype=torch.bool))
    features = network.encode_image(seeded((1, 3, 128, 128), "image"))
    last = torch.full((1, 1, 64, 64), -10.0)
    last[..., 10:12, 10:12] = 10
    network.decode_without_prompt(network.without_memory(features), features, last)
    assert asked[:2] == [(4, 4), (8, 8)]


def test_memories_are_recalled_in_the_field_round_the_place_where_an_object_was(network, monkeypatch):
    recalled_in = []
    condition = network.condition

    def watched(features, memories, pointers):
        recalled_in.append((features.grid, {m.features.shape[-2:] for m in memories}, len(memories[0].features)))
        return condition(features, memories, pointers)

    monkeypatch.setattr(network, "condition", watched)
    monkeypatch.setattr(View, "is_reached", lambda _, logits: torch.zeros(len(logits), dtype=torch.bool))
    with torch.no_grad():
        monkeypatch.setattr(network.sam_mask_decoder.pred_obj_score_head.layers[2].bias, "data", torch.ones(1) * 50)
    features = network.encode_image(seeded((1, 3, 192, 256), "image"))
    last = torch.full((3, 1, 96, 128), -10.0)
    last[0, :, 10:20, 10:20] = last[1, :, 60:70, 70:80] = last[2, :, 10:70, 10:70] = 10
    memory = SpatialMemory(seeded((3, TOY.memory_channels, 12, 16), "memory"), 0)
    pointer = PointerMemory(seeded((3, TOY.width), "pointer"), 0.5)
    output = network.follow(features, [memory], [pointer], last)
    assert output.mask_logits.shape == (3, 4, 96, 128)
    assert recalled_in[0] == ((4, 4), {(4, 4)}, 2)
    assert recalled_in[1][0] == (6, 8)  # the whole frame, seen from twice as far
    for n in range(3):
        alone = network.follow(
            features,
            [SpatialMemory(memory.features[n : n + 1], 0)],
            [PointerMemory(pointer.pointer[n : n + 1], 0.5)],
            last[n : n + 1],
        )
        torch.testing.assert_close(output.mask_logits[n : n + 1], alone.mask_logits, rtol=1e-4, atol=1e-4)


def test_a_model_without_views_recalls_in_the_whole_frame():
    plain = seeded_model(TOY)
    features = plain.encode_image(seeded((1, 3, 64, 96), "image"))
    memory = SpatialMemory(seeded((2, TOY.memory_channels, 4, 6), "memory"), 0)
    followed = plain.follow(features, [memory], [], torch.zeros(2, 1, 16, 24))
    conditioned = plain.condition(features, [memory], [])
    torch.testing.assert_close(followed.mask_logits, plain.decode_without_prompt(conditioned, features).mask_logits)
