"""Large frames: which crop an object is seen in, what is read, and how what was remembered is moved."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sam2_model.config import Framing
from sam2_model.errors import PromptError
from sam2_model.memory_bank import Direction
from sam2_model.sam2 import Sam2
from sam2_model.video.crops import Crops, moved, steps
from sam2_model.video.options import VideoOptions
from sam2_model.video.predictor import VideoPredictor
from sam2_model.video.state import FramePrompt
from tests.sam2_model.toy import TOY

CROPS = Crops(4000, 300, 512)


@pytest.mark.parametrize(
    ("row", "corner"),
    [(0, 0), (383, 0), (385, 256), (640, 256), (641, 512), (2000, 1792), (3743, 3488), (3999, 3488)],
)
def test_the_crop_of_an_object_is_the_one_whose_middle_is_nearest(row, corner):
    assert CROPS.nearest(row, 290) == (corner, 0)
    assert CROPS.size == (512, 300)


@pytest.mark.parametrize("length", [1025, 1500, 3999, 4000, 4001])
@pytest.mark.parametrize("side", [64, 512, 1024])
def test_crops_lie_whole_tokens_apart_and_hold_every_object_of_half_their_side(length, side):
    crops = Crops(length, length, side)
    corners = {crops.nearest(place, 0)[0] for place in range(length)}
    assert {corner % 16 for corner in corners} == {0}
    assert max(corners) + side - length in range(16)
    for top in range(length - side // 2):
        corner = crops.holding(top, 0, top + side // 2, 0)
        assert corner is not None
        assert corner[0] <= top
        assert top + side // 2 <= corner[0] + side
    assert crops.holding(0, 0, side // 2 + 1, 0) is None


def test_along_a_side_that_is_short_objects_may_take_all_of_it():
    assert CROPS.holding(1000, 0, 1010, 299) == (768, 0)
    assert CROPS.open_sides((768, 0)) == (True, True, False, False)
    assert CROPS.open_sides((0, 0)) == (False, True, False, False)
    assert CROPS.open_sides((3488, 0)) == (True, False, False, False)


def test_a_crop_that_reaches_beyond_the_frame_repeats_its_last_pixels():
    image = np.random.default_rng(0).integers(0, 255, (1030, 20, 3)).astype(np.uint8)
    crops = Crops(*image.shape[:2], 64)
    corner = crops.nearest(1029, 10)
    part = crops.read(lambda rows, columns: image[rows, columns], corner)
    assert (corner, part.shape) == ((976, 0), (64, 20, 3))
    assert np.array_equal(part[:54], image[976:])
    assert np.array_equal(part[54:], image[-1:].repeat(10, 0))


def test_maps_are_moved_by_whole_cells():
    maps = torch.arange(6.0).reshape(1, 2, 3)
    assert steps((16, 64), (32, 48), 16) == (-1, 1)
    assert moved(maps, -1, 1).tolist() == [[[3, 3, 4], [3, 3, 4]]]
    assert moved(maps, -1, 1, outside=-9.0).tolist() == [[[-9, 3, 4], [-9, -9, -9]]]
    assert moved(maps, 0, 0) is maps


def test_a_prompt_in_a_crop_has_its_pixels_and_leaves_out_what_is_off_the_object_elsewhere():
    mask = np.zeros((200, 100), np.bool_)
    mask[70:90, 20:40] = True
    prompt = FramePrompt(
        points=np.array([[30, 80], [5, 5], [35, 95]], np.float32),
        labels=np.array([1, 0, 0]),
        box=np.array([20, 70, 40, 90], np.float32),
        mask=mask,
    )
    assert prompt.extent() == (70, 20, 90, 40)
    part = prompt.within((64, 0), (64, 100))
    assert part.points.tolist() == [[30, 16], [35, 31]]
    assert part.labels.tolist() == [1, 0]
    assert part.box is not None
    assert part.box.tolist() == [20, 6, 40, 26]
    assert part.mask is not None
    assert part.mask.sum() == mask.sum()
    assert part.mask[6:26, 20:40].all()
    absent = FramePrompt(points=np.array([[3, 4], [90, 190]], np.float32), labels=np.array([0, 0]))
    assert absent.extent() == (4, 3, 4, 3)


# Following ------------------------------------------------------------------------------------------------------------

HEIGHT, WIDTH = 90, 1200


class Strip:
    """Frames with a disc at given columns; they count what is read of them."""

    height, width = HEIGHT, WIDTH

    def __init__(self, *columns):
        self.columns = columns
        self.read = []

    def __len__(self):
        return len(self.columns)

    def __getitem__(self, frame):
        raise AssertionError("a frame is read in part")

    def window(self, frame, rows, columns):
        self.read.append((frame, columns.start))
        y, x = np.mgrid[rows, columns]
        disc = np.hypot(y - 40, x - self.columns[frame]) < 9
        return np.where(disc[..., None], np.uint8(220), np.uint8(40)).repeat(3, -1)[:, : WIDTH - columns.start]


def predictor_of(network: Sam2, **options: object) -> VideoPredictor:
    return VideoPredictor(network, image_size=64, framing=Framing.NATIVE, options=VideoOptions(**options))


@pytest.fixture(scope="module")
def network() -> Sam2:
    torch.manual_seed(0)
    return Sam2(replace(TOY, view_px=32, follows_masks=True)).eval()


def click(column: int) -> FramePrompt:
    return FramePrompt(points=np.array([[column, 40]], np.float32), labels=np.array([1]))


def test_an_object_is_seen_in_crops_and_no_more_is_read(network):
    frames = Strip(600, 640)
    predictor = predictor_of(network)
    state = predictor.start(frames)
    prediction = predictor.prompt(state, 0, {1: click(600), 2: click(605), 3: click(100)})
    assert frames.read == [(0, 576), (0, 64)]
    assert prediction.corners == ((0, 576), (0, 576), (0, 64))
    assert (prediction.part_size, prediction.low_res_logits.shape[1:]) == ((64, 64), (32, 32))
    assert (prediction.height, prediction.width) == (HEIGHT, WIDTH)
    whole = prediction.mask_logits()
    assert whole.shape == (3, HEIGHT, WIDTH)
    assert (whole[0, :, :576] < -100).all()
    assert (whole[0, 64:] < -100).all()


def test_an_answer_does_not_depend_on_where_in_the_frame_its_crop_lies(network):
    found = []
    for column in (600, 920):
        predictor = predictor_of(network)
        state = predictor.start(Strip(column, column + 4, column + 30))
        answers = [predictor.prompt(state, 0, {1: click(column)})]
        answers += [predictor.visit(state, frame, Direction.FORWARD, (1,)) for frame in (1, 2)]
        found.append(torch.cat([answer.low_res_logits for answer in answers]))
    assert torch.equal(*found)


def test_a_mask_is_remembered_where_it_was_from_the_crop_that_it_is_next_seen_in(network):
    """The object stands where two crops are equally near, so that its next crop is the other one."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[30:50, 610:618] = mask[35:45, 600:624] = True
    seen = []
    network_follow = network.follow

    def follow(features, memories, pointers, expected):
        seen.append((memories, expected))
        return network_follow(features, memories, pointers, expected)

    predictor = predictor_of(network)
    predictor.model = network
    state = predictor.start(Strip(612, 612))
    predictor.prompt(state, 0, {1: FramePrompt(mask=mask)})
    memory = state.objects[1].conditioning[0]
    assert memory.corner == (0, 576)
    state.objects[1].conditioning[0] = replace(memory, corner=(0, 608))  # as if it had been seen on the right of there
    try:
        network.follow = follow  # type: ignore[method-assign]
        prediction = predictor.visit(state, 1, Direction.FORWARD, (1,))
    finally:
        network.follow = network_follow  # type: ignore[method-assign]
    ((memories, expected),) = seen
    assert prediction.corners == ((0, 608),)
    assert torch.equal(memories[0].features[0], memory.spatial)
    assert torch.equal(expected[0, 0], memory.mask.logits())


def test_an_object_that_moves_on_is_followed_into_the_next_crop(network):
    columns = (600, 640, 680, 720)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    predictor = predictor_of(network)
    state = predictor.start(Strip(*columns))
    for frame, column in enumerate(columns):
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        mask = np.hypot(y - 40, x - column) < 9
        prediction = predictor.prompt(state, frame, {1: FramePrompt(mask=mask)})
        assert prediction.corners == (state.crops.nearest(40, column),)
    state.objects[1].prompts.pop(3)
    predictor.policy.remove_answer(state, state.objects[1], 3)
    prediction = predictor.visit(state, 3, Direction.FORWARD, (1,))
    assert prediction.corners == (state.crops.nearest(40, 680),)
    assert torch.isfinite(prediction.low_res_logits).all()


def test_what_a_crop_does_not_hold_is_refused_before_anything_changes(network):
    predictor = predictor_of(network)
    state = predictor.start(Strip(600))
    box = FramePrompt(box=np.array([500, 10, 540, 20], np.float32))
    with pytest.raises(PromptError, match="Object 1 takes more than half of a crop of 64 px"):
        predictor.prompt(state, 0, {2: click(600), 1: box})
    assert not state.objects


@pytest.mark.parametrize("framing", [Framing.SQUARE, Framing.WHOLE])
def test_other_framings_streams_and_the_reference_see_frames_whole(network, framing):
    assert VideoPredictor(network, image_size=64, framing=framing).start(Strip(600)).crops is None
    assert VideoPredictor(network, framing=Framing.NATIVE).start_stream(90, 1200).crops is None
    reference = VideoPredictor(network, framing=Framing.NATIVE, options=VideoOptions.reference())
    assert reference.start(Strip(600)).crops is None
    assert predictor_of(network).start(np.zeros((1, 90, 1024, 3), np.uint8)).crops is None
    assert predictor_of(network).start(np.zeros((1, 90, 1025, 3), np.uint8)).crops == Crops(90, 1025, 64)
