"""The shape of what every part gives, at toy size, on squares and other rectangles; and what a batch of one shares."""

import pytest
import torch

from sam2_model.attention import Attention
from sam2_model.config import NANO, STRIDE, Sam2Config
from sam2_model.hiera import Block, Hiera, WindowAttention
from sam2_model.image_encoder import FeaturePyramid, ImageEncoder
from sam2_model.layers import MLP, LayerNorm2d
from sam2_model.mask_decoder import MaskDecoder, TwoWayTransformer, best_candidate, single_mask, three_candidates
from sam2_model.memory_attention import MemoryAttention
from sam2_model.memory_encoder import Fuser, MaskDownsampler, MemoryEncoder
from sam2_model.position_encoding import RandomFourier, Rotation
from sam2_model.prompt_encoder import PromptEncoder
from sam2_model.sam2 import ImageFeatures, PointerMemory, Sam2, SpatialMemory

from .seeded import seeded, seeded_model
from .toy import TOY

SIZES = [(64, 64), (64, 96), (96, 32)]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", params=[TOY, NANO], ids=["toy", "nano"])
def network(request: pytest.FixtureRequest) -> Sam2:
    return seeded_model(request.param)


def images(batch: int, height: int, width: int) -> torch.Tensor:
    return seeded((batch, 3, height, width), "images")


def repeated(features: ImageFeatures, count: int) -> ImageFeatures:
    return ImageFeatures(*(x.repeat(count, 1, 1, 1) for x in (features.fine, features.middle, features.embedding)))


def random_memories(config: Sam2Config, batch: int, h: int, w: int) -> list[SpatialMemory]:
    shape = (batch, config.memory_channels, h, w)
    return [SpatialMemory(seeded(shape, f"memory {slot}"), slot) for slot in (config.num_memories - 1, 1, 0)]


def random_pointers(config: Sam2Config, batch: int) -> list[PointerMemory]:
    return [PointerMemory(seeded((batch, config.width), f"pointer {age}"), age / 15) for age in (7, 1)]


# Parts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "given", "expected"),
    [
        (LayerNorm2d(6), (2, 6, 3, 5), (2, 6, 3, 5)),
        (MLP((4, 9, 9, 3)), (2, 7, 4), (2, 7, 3)),
        (RandomFourier(10), (2, 3, 2), (2, 3, 10)),
        (WindowAttention(8, 16, 2, pools=True), (3, 4, 4, 8), (3, 2, 2, 16)),
        (WindowAttention(8, 8, 2, pools=False), (3, 4, 6, 8), (3, 4, 6, 8)),
        (Block(8, 8, 2, window=4), (2, 6, 10, 8), (2, 6, 10, 8)),  # padded windows
        (Block(8, 16, 2, window=4), (2, 6, 10, 8), (2, 3, 5, 16)),
        (Block(8, 8, 2, window=0), (2, 6, 10, 8), (2, 6, 10, 8)),
        (MaskDownsampler(8), (2, 1, 64, 96), (2, 8, 4, 6)),
        (Fuser(8), (2, 8, 4, 6), (2, 8, 4, 6)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_a_part_gives(part, given, expected):
    assert part(seeded(given, "x")).shape == expected


def test_a_layer_norm_leaves_no_mean_and_unit_variance_over_the_channels():
    x = LayerNorm2d(16)(5 + 3 * seeded((2, 16, 3, 4), "x"))
    torch.testing.assert_close(x.mean(1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.var(1, unbiased=False), torch.ones(2, 3, 4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_the_trunk_gives_four_stages_that_halve_and_double(size):
    H, W = size
    stages = Hiera(TOY.trunk)(images(2, H, W))
    assert [stage.shape for stage in stages] == [(2, 16 << s, H // 4 >> s, W // 4 >> s) for s in range(4)]


def test_the_pyramid_gives_three_levels_of_one_width():
    stages = [seeded((2, 8 << s, 16 >> s, 24 >> s), f"stage {s}") for s in range(4)]
    levels = FeaturePyramid((8, 16, 32, 64), 10)(stages)
    assert [level.shape for level in levels] == [(2, 10, 16, 24), (2, 10, 8, 12), (2, 10, 4, 6)]


@pytest.mark.parametrize("size", SIZES)
def test_the_image_encoder_gives_levels_of_stride_4_8_and_16(size):
    H, W = size
    levels = ImageEncoder(TOY.trunk, 12)(images(2, H, W))
    assert [level.shape for level in levels] == [(2, 12, H // stride, W // stride) for stride in (4, 8, 16)]


@pytest.mark.parametrize("points", [None, 1, 3])
@pytest.mark.parametrize("has_mask", [False, True])
def test_the_prompt_encoder_pads_points_and_shares_what_is_missing(points, has_mask):
    encoder, B = PromptEncoder(16), 2
    sparse, dense = encoder(
        (4, 6),
        None if points is None else torch.zeros(B, points, 2),
        None if points is None else torch.ones(B, points, dtype=torch.int64),
        seeded((B, 1, 16, 24), "mask") if has_mask else None,
    )
    assert sparse.shape == ((1, 0, 16) if points is None else (B, points + 1, 16))
    assert dense.shape == (B if has_mask else 1, 16, 4, 6)


def test_positions_are_those_of_cell_centres():
    encoder = PromptEncoder(16)
    centre = torch.tensor([2.5 / 6, 1.5 / 4])
    torch.testing.assert_close(encoder.image_positions((4, 6))[:, 1, 2], encoder.pe_layer(centre))


@pytest.mark.parametrize("span", [None, 64])
def test_a_point_has_the_position_of_the_cell_it_is_in_the_middle_of(span):
    encoder = PromptEncoder(16, span)
    point, label = torch.tensor([[[2 * 16 + 7.5, 1 * 16 + 7.5]]]), torch.ones(1, 1, dtype=torch.int64)
    embedded = encoder.embed_points(point, label, (4, 6))[0, 0] - encoder.point_embeddings[1].weight[0]
    torch.testing.assert_close(encoder.image_positions((4, 6))[:, 1, 2], embedded)


def test_with_a_fixed_span_neighbours_are_as_far_apart_in_a_small_image_as_in_a_large_one():
    encoder = PromptEncoder(16, span_px=64)

    def likeness(grid):
        positions = encoder.image_positions(grid)
        return torch.nn.functional.cosine_similarity(positions[:, 0, 0], positions[:, 0, 1], dim=0)

    torch.testing.assert_close(likeness((4, 4)), likeness((16, 16)))


def test_a_mask_of_another_size_is_resized_for_the_prompt_encoder():
    assert PromptEncoder(16).embed_mask(seeded((2, 1, 50, 50), "mask"), (4, 6)).shape == (2, 16, 4, 6)


def test_attention_shares_a_batch_of_one_on_either_side():
    attention = Attention(8, 2, inner_channels=4, key_channels=6)
    one, three = seeded((1, 5, 8), "q"), seeded((3, 5, 8), "q3")
    key, keys = seeded((1, 7, 6), "k"), seeded((3, 7, 6), "k3")
    for q, k in ((one, keys), (three, key), (three, keys), (one, key)):
        B = max(len(q), len(k))
        shared = attention(q, k, k)
        assert shared.shape == (B, 5, 8)
        explicit = attention(q.expand(B, -1, -1).contiguous(), k.expand(B, -1, -1).contiguous(), k.expand(B, -1, -1))
        torch.testing.assert_close(shared, explicit)


def test_attention_does_not_turn_the_last_keys():
    attention = Attention(8, 1, key_channels=8)
    q, k = seeded((1, 4, 8), "q"), seeded((1, 6, 8), "k")
    rotation = Rotation(2, 2, 8, CPU)
    some = attention(q, k, k, rotation, unrotated_keys=2)
    assert some.shape == (1, 4, 8)
    # Swapping what has no place changes nothing; swapping what has one does.
    torch.testing.assert_close(attention(q, k[:, [0, 1, 2, 3, 5, 4]], k[:, [0, 1, 2, 3, 5, 4]], rotation, 2), some)
    assert not torch.allclose(attention(q, k[:, [1, 0, 2, 3, 4, 5]], k[:, [1, 0, 2, 3, 4, 5]], rotation, 2), some)


def test_the_two_way_transformer_keeps_shapes_and_shares_the_image():
    transformer = TwoWayTransformer(16)
    tokens, image, positions = seeded((3, 7, 16), "t"), seeded((1, 24, 16), "i"), seeded((1, 24, 16), "p")
    shared = transformer(tokens, image, positions)
    assert [x.shape for x in shared] == [(3, 7, 16), (3, 24, 16)]
    for a, b in zip(shared, transformer(tokens, image.repeat(3, 1, 1), positions), strict=True):
        torch.testing.assert_close(a, b)


def decode_with(decoder, middle):
    C, h, w = 16, 4, 4
    return decoder(
        seeded((1, C, h, w), "embedding"),
        seeded((C, h, w), "positions"),
        middle,
        seeded((1, C // 8, 4 * h, 4 * w), "fine"),
        seeded((1, 3, C), "sparse"),
        seeded((1, C, h, w), "dense"),
    ).mask_logits


def test_neighbour_blocks_change_nothing_until_they_are_trained():
    plain, with_blocks = MaskDecoder(16), MaskDecoder(16, neighbour_blocks=2)
    with_blocks.load_state_dict(plain.state_dict(), strict=False)
    middle = seeded((1, 4, 8, 8), "middle")
    torch.testing.assert_close(decode_with(with_blocks, middle), decode_with(plain, middle), rtol=0, atol=0)


@pytest.mark.parametrize(("blocks", "reaches"), [(0, False), (2, True)])
def test_neighbour_blocks_let_masks_see_across_tokens(blocks, reaches):
    decoder = MaskDecoder(16, blocks)
    for block in decoder.neighbour_blocks:
        torch.nn.init.normal_(block.conv2.weight)
    middle = seeded((1, 4, 8, 8), "middle")
    changed = middle.clone()
    changed[:, 0, 2, 2] += 5
    difference = (decode_with(decoder, changed) - decode_with(decoder, middle)).abs().amax((0, 1))
    assert (difference[4:6, 4:6] > 0).all()
    assert bool((difference[8:10, 8:10] > 0).any()) == reaches


@pytest.mark.parametrize(("h", "w"), [(4, 4), (4, 6)])
def test_the_mask_decoder_gives_four_masks_and_their_choices_fewer(h, w):
    B, C = 2, 16
    output = MaskDecoder(C)(
        seeded((1, C, h, w), "embedding"),
        seeded((C, h, w), "positions"),
        seeded((1, C // 4, 2 * h, 2 * w), "middle"),
        seeded((1, C // 8, 4 * h, 4 * w), "fine"),
        seeded((B, 3, C), "sparse"),
        seeded((1, C, h, w), "dense"),
    )
    assert output.mask_logits.shape == (B, 4, 4 * h, 4 * w)
    assert output.predicted_iou.shape == (B, 4)
    assert output.mask_tokens.shape == (B, 4, C)
    assert output.object_score_logit.shape == (B, 1)
    assert ((output.predicted_iou >= 0) & (output.predicted_iou <= 1)).all()
    for chosen, M in (
        (three_candidates(output), 3),
        (best_candidate(output), 1),
        (single_mask(output, stability_fallback=False), 1),
        (single_mask(output, stability_fallback=True), 1),
    ):
        assert chosen.mask_logits.shape == (B, M, 4 * h, 4 * w)
        assert chosen.predicted_iou.shape == (B, M)
        assert chosen.token.shape == (B, C)


def test_the_memory_attention_shares_the_frame_among_objects():
    attention = MemoryAttention(16, 4, layers=2, feedforward=8)
    frame, positions = seeded((1, 16, 4, 6), "frame"), seeded((16, 4, 6), "positions")
    memory, places = seeded((3, 2 * 24 + 4, 4), "memory"), seeded((1, 2 * 24 + 4, 4), "places")
    shared = attention(frame, positions, memory, places, pointer_tokens=4)
    assert shared.shape == (3, 16, 4, 6)
    explicit = attention(frame.repeat(3, 1, 1, 1), positions, memory, places.repeat(3, 1, 1), pointer_tokens=4)
    torch.testing.assert_close(shared, explicit)


def test_the_memory_encoder_shares_the_frame_among_masks():
    encoder = MemoryEncoder(16, 4)
    frame, masks = seeded((1, 16, 4, 6), "frame"), seeded((3, 1, 64, 96), "masks")
    shared = encoder(frame, masks)
    assert shared.shape == (3, 4, 4, 6)
    torch.testing.assert_close(shared, encoder(frame.repeat(3, 1, 1, 1), masks))


# The whole network ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_every_step_of_the_network_has_its_shape(network: Sam2, size):
    (H, W), B, config = size, 2, network.config
    C, Cm, h, w = config.width, config.memory_channels, H // STRIDE, W // STRIDE
    features = network.encode_image(images(1, H, W))
    assert features.fine.shape == (1, C // 8, 4 * h, 4 * w)
    assert features.middle.shape == (1, C // 4, 2 * h, 2 * w)
    assert features.embedding.shape == (1, C, h, w)
    assert features.grid == (h, w)
    assert network.working_size(features) == (H, W)
    assert network.without_memory(features).shape == (1, C, h, w)

    conditioned = network.condition(features, random_memories(config, B, h, w), random_pointers(config, B))
    assert conditioned.shape == (B, C, h, w)
    assert network.condition(features, random_memories(config, B, h, w), []).shape == (B, C, h, w)

    output = network.decode_without_prompt(conditioned, features)
    cells = 4 if config.view_px is None else 8  # for each token, along each axis
    assert output.mask_logits.shape == (B, 4, cells * h, cells * w)
    is_present = torch.tensor([[True], [False]])
    pointer = network.object_pointer(output.mask_tokens[:, 0], is_present)
    assert pointer.shape == (B, C)
    assert torch.equal(pointer[1], network.no_obj_ptr[0])
    masks = (seeded((B, 1, H, W), "masks") > 0).float()
    assert network.mask_pointer(features, masks).shape == (B, C)
    assert network.encode_memory(features, masks, is_present).shape == (B, Cm, h, w)


@pytest.mark.parametrize("size", SIZES)
def test_one_frame_shared_by_objects_equals_the_frame_repeated(network: Sam2, size):
    (H, W), B, config = size, 3, network.config
    h, w = H // STRIDE, W // STRIDE
    one = network.encode_image(images(1, H, W))
    many = repeated(one, B)
    memories, pointers = random_memories(config, B, h, w), random_pointers(config, B)
    masks = (seeded((B, 1, H, W), "masks") > 0).float()
    points, labels = seeded((B, 2, 2), "points").abs() * 20, torch.tensor([[1, 0]] * B)
    is_present = torch.tensor([[True], [False], [True]])
    conditioned = network.condition(one, memories, pointers)
    close = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(conditioned, network.condition(many, memories, pointers), **close)
    for a, b in (
        (network.decode(conditioned, one, points, labels), network.decode(conditioned, many, points, labels)),
        (network.decode(one.embedding, one, points, labels), network.decode(many.embedding, many, points, labels)),
    ):
        torch.testing.assert_close(a.mask_logits, b.mask_logits, **close)
        torch.testing.assert_close(a.mask_tokens, b.mask_tokens, **close)
    torch.testing.assert_close(network.mask_pointer(one, masks), network.mask_pointer(many, masks), **close)
    torch.testing.assert_close(
        network.encode_memory(one, masks, is_present), network.encode_memory(many, masks, is_present), **close
    )


def test_images_of_a_batch_do_not_see_each_other(network: Sam2):
    together = network.encode_image(images(2, 64, 96))
    alone = network.encode_image(images(2, 64, 96)[1:])
    torch.testing.assert_close(together.embedding[1:], alone.embedding, atol=1e-4, rtol=1e-4)
