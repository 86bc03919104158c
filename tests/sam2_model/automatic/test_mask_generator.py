"""Masks of everything on an image: against recorded masks of the reference, and what may be asked of them."""

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam2_model.automatic import mask_generator
from sam2_model.automatic.mask_generator import GeneratedMask, MaskBatch, MaskGenerator, MaskGeneratorOptions
from sam2_model.config import CONFIGS
from sam2_model.errors import ConfigError, FrameError
from sam2_model.image_predictor import ImagePredictor
from sam2_model.mask_ops import resize_logits
from sam2_model.sam2 import Sam2
from tests.sam2_model.seeded import seeded, seeded_model
from tests.sam2_model.toy import FOLLOWER, toy_model, toy_stack

# Parity ---------------------------------------------------------------------------------------------------------------

RECORDED = Path(__file__).parents[2] / "data" / "parity" / "generated-masks-tiny-2.1-128px.npz"


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray]:
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def published() -> ImagePredictor:
    return ImagePredictor(seeded_model(CONFIGS["tiny"]), image_size=128)


def xywh(box):
    """The reference's boxes: corner, and distances from the first to the last pixel."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def runs_of(mask):
    """COCO's counts, the slow way."""
    counts, inside = [0], False
    for pixel in mask.T.ravel():
        if pixel != inside:
            counts.append(0)
            inside = pixel
        counts[-1] += 1
    return tuple(counts)


@pytest.mark.parametrize("case", ["with_duplicates", "plain", "crops", "m2m", "one_mask", "small_regions"])
def test_the_masks_are_those_of_the_reference_in_its_order(recorded, published, case):
    options = MaskGeneratorOptions(**json.loads(str(recorded[f"{case}/options"])))
    image = recorded["image"]
    found = MaskGenerator(published, options).generate(image)
    said = {key: recorded[f"{case}/{key}"] for key in ("predicted_iou", "stability_score", "points", "areas")}
    masks = np.unpackbits(recorded[f"{case}/masks"], axis=-1, count=image.shape[1]).view(np.bool_)
    assert len(found) == len(masks)
    for mask, expected in zip(found, masks, strict=True):
        assert (mask.mask() & expected).sum() / (mask.mask() | expected).sum() >= 0.99
    np.testing.assert_allclose([mask.area_px for mask in found], said["areas"], atol=1)
    np.testing.assert_allclose([mask.predicted_iou for mask in found], said["predicted_iou"], atol=1e-4)
    np.testing.assert_allclose([mask.stability_score for mask in found], said["stability_score"], atol=1e-4)
    np.testing.assert_allclose([mask.point for mask in found], said["points"], atol=1e-4)
    np.testing.assert_array_equal([xywh(mask.box) for mask in found], recorded[f"{case}/boxes_xywh"])
    crops = [xywh((*mask.crop_box[:2], mask.crop_box[2] + 1, mask.crop_box[3] + 1)) for mask in found]
    np.testing.assert_array_equal(crops, recorded[f"{case}/crop_boxes_xywh"])


# A drawn world --------------------------------------------------------------------------------------------------------

HEIGHT, WIDTH = 96, 128
CELLS = ((20, 30, 8), (60, 90, 12), (70, 40, 6))  # y, x, radius


def disc(y, x, radius, height=HEIGHT, width=WIDTH):
    yy, xx = np.mgrid[:height, :width]
    return (yy - y) ** 2 + (xx - x) ** 2 < radius**2


class Drawn(MaskGenerator):
    """Answers points with the cells they are on, at half the size of the image; elsewhere it is unsure."""

    def _decode(self, embedding, points, mask_logits):
        self.decoded = [*getattr(self, "decoded", []), len(points)]
        logits = torch.full((len(points), 1, HEIGHT // 2, WIDTH // 2), -8.0)
        iou = torch.full((len(points), 1), 0.5)
        for i, (x, y) in enumerate(points.tolist()):
            for cell in CELLS:
                mask = disc(*cell)
                if mask[round(y), round(x)]:
                    logits[i, 0][torch.from_numpy(mask[::2, ::2])] = 8
                    iou[i] = 0.95 - cell[2] / 100 - i / 1e5
        return mask_generator.ChosenMasks(logits, iou, torch.zeros(len(points), 32))


@pytest.fixture
def predictor(network: Sam2) -> ImagePredictor:
    return ImagePredictor(network)


IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
OPEN = MaskGeneratorOptions(points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0)


def generated(mask, predicted_iou=0.9, crop_box=(0, 0, WIDTH - 1, HEIGHT - 1)):
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = tuple(int(v) for v in (columns[0], rows[0], columns[-1], rows[-1]))
    part = mask[box[1] : box[3] + 1, box[0] : box[2] + 1]
    return GeneratedMask(
        height=mask.shape[0],
        width=mask.shape[1],
        box=box,
        area_px=int(mask.sum()),
        predicted_iou=predicted_iou,
        mean_logit=3.0,
        stability_score=1.0,
        point=(0.0, 0.0),
        crop_box=crop_box,
        bits=mask_generator.zlib.compress(np.packbits(part).tobytes()),
    )


def suppressed(generator, *masks):
    return [masks.index(mask) for mask in generator.suppress([MaskBatch(masks, 0, 1, 1)])]


def test_every_cell_is_found_once_the_surest_first(predictor):
    found = Drawn(predictor, MaskGeneratorOptions(points_per_side=16)).generate(IMAGE)
    assert len(found) == len(CELLS)
    for mask, cell in zip(found, sorted(CELLS, key=lambda cell: cell[2]), strict=True):
        expected = disc(*cell)
        assert (mask.mask() & expected).sum() / (mask.mask() | expected).sum() > 0.75
        assert expected[round(mask.point[1]), round(mask.point[0])]
        assert mask.crop_box == (0, 0, WIDTH - 1, HEIGHT - 1)
        assert mask.mask().sum() == mask.area_px


def test_a_mask_is_a_value_and_little_to_keep(predictor):
    one, *_ = Drawn(predictor, MaskGeneratorOptions(points_per_side=16)).generate(IMAGE)
    same, *_ = Drawn(predictor, MaskGeneratorOptions(points_per_side=16, enlarge_bytes=1)).generate(IMAGE)
    assert one == same
    assert len({one, same}) == 1
    assert len(one.bits) < 100
    assert one.in_window().sum() == one.area_px
    with pytest.raises(FrozenInstanceError):
        one.area_px = 3


def test_thresholds_that_nothing_passes_leave_no_mask(predictor):
    for strict in ({"pred_iou_thresh": 1.0}, {"mask_threshold": 100.0}, {"stability_score_offset": 1000.0}):
        assert Drawn(predictor, MaskGeneratorOptions(points_per_side=8, **strict)).generate(IMAGE) == ()


def test_nothing_is_enlarged_that_predicted_iou_has_ruled_out(predictor, monkeypatch):
    monkeypatch.setattr(mask_generator, "window_above", None)
    assert Drawn(predictor, MaskGeneratorOptions(points_per_side=8, pred_iou_thresh=0.99)).generate(IMAGE) == ()


# Batches --------------------------------------------------------------------------------------------------------------


def test_batches_say_how_far_the_work_is_and_whoever_stops_pays_for_no_more(predictor):
    options = MaskGeneratorOptions(points_per_side=6, points_per_batch=16, crop_n_layers=1)
    generator = Drawn(predictor, options)
    batches = generator.propose(IMAGE)
    first = next(batches)
    assert (first.number, first.count, first.crop) == (1, 15, 0)
    assert generator.decoded == [16]
    assert not torch.is_inference_mode_enabled()
    batches.close()
    assert generator.decoded == [16]
    everything = list(generator.propose(IMAGE))
    assert [batch.number for batch in everything] == list(range(1, 16))
    assert [batch.crop for batch in everything] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3


def test_what_has_come_until_a_stop_can_be_used(predictor):
    generator = Drawn(predictor, MaskGeneratorOptions(points_per_side=16, points_per_batch=64))
    some = generator.suppress([batch for batch, _ in zip(generator.propose(IMAGE), range(2), strict=False)])
    assert [mask.box for mask in some] == [generator.generate(IMAGE)[1].box], "the cell in the upper half"
    assert generator.suppress([]) == ()


def test_the_size_of_batches_and_bands_changes_nothing(predictor):
    image = toy_stack(1, 70, 50)[0]
    whole = MaskGenerator(predictor, OPEN).generate(image)
    parts = MaskGenerator(predictor, replace(OPEN, points_per_batch=2, enlarge_bytes=1)).generate(image)
    assert len(whole) == len(parts) == 27
    for one, other in zip(whole, parts, strict=True):
        assert one.box == other.box
        assert (one.mask() != other.mask()).mean() < 1e-3


def test_a_picture_of_another_kind_is_refused_before_the_first_batch(predictor):
    with pytest.raises(FrameError, match="RGB"):
        MaskGenerator(predictor).propose(np.zeros((4, 4), np.uint8))


# Images ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (33, 90)])
@pytest.mark.parametrize("layers", [0, 1])
def test_images_of_any_size_are_searched_blank_ones_too(predictor, shape, layers):
    options = replace(OPEN, points_per_side=1, crop_n_layers=layers, mask_nms_thresh=0.9)
    for image in (np.zeros((*shape, 3), np.uint8), toy_stack(1, *shape)[0]):
        for mask in MaskGenerator(predictor, options).generate(image):
            assert mask.mask().shape == shape
            assert mask.mask().sum() == mask.area_px > 0


def test_a_model_with_views_is_asked_in_the_same_way():
    model = ImagePredictor(toy_model(config=FOLLOWER))
    found = MaskGenerator(model, replace(OPEN, use_m2m=True)).generate(toy_stack(1)[0])
    assert len(found) == 27


def test_scores_are_those_of_the_enlarged_logits(predictor):
    image = toy_stack(1)[0]
    options = replace(OPEN, point_grids=[[(0.3, 0.6)]], points_per_side=None)
    embedding = predictor.embed(image)
    prediction = predictor.predict(embedding, points=[[0.3 * 60, 0.6 * 48]])
    for mask in MaskGenerator(predictor, options).generate(image):
        index = int((prediction.predicted_iou[0] - mask.predicted_iou).abs().argmin())
        logits = prediction.mask_logits()[0, index]
        assert mask.stability_score == pytest.approx(float((logits > 1).sum() / (logits > -1).sum()), abs=1e-3)
        assert ((logits > 0).numpy() != mask.mask()).mean() < 1e-3


# Points and crops -----------------------------------------------------------------------------------------------------


def test_points_are_in_the_middles_of_equal_parts():
    (grid,) = MaskGeneratorOptions(points_per_side=2).grids()
    assert grid.tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    options = MaskGeneratorOptions(points_per_side=9, crop_n_layers=2, crop_n_points_downscale_factor=2)
    assert [len(grid) for grid in options.grids()] == [81, 16, 4]


def test_points_of_one_s_own_take_the_place_of_the_grid(predictor):
    grid = np.array([(30 / WIDTH, 20 / HEIGHT), (0, 0), (1, 1)]) * (1, 1)
    options = MaskGeneratorOptions(points_per_side=None, point_grids=[grid[:2]])
    (mask,) = Drawn(predictor, options).generate(IMAGE)
    assert mask.point == pytest.approx((30, 20))
    assert options == MaskGeneratorOptions(points_per_side=None, point_grids=[grid[:2].tolist()])


@pytest.mark.parametrize(
    ("size", "ratio", "expected"),
    [
        ((100, 200), 0.0, [(0, 0, 99, 49), (0, 50, 99, 99), (100, 0, 199, 49), (100, 50, 199, 99)]),
        ((100, 200), 0.2, [(0, 0, 109, 59), (0, 40, 109, 99), (90, 0, 199, 59), (90, 40, 199, 99)]),
        ((1, 1), 0.2, [(0, 0, 0, 0)]),
        ((1, 3), 0.5, [(0, 0, 1, 0), (2, 0, 2, 0)]),
    ],
)
def test_crops_cover_the_image_column_by_column_and_have_pixels(size, ratio, expected):
    crops = mask_generator._crops(*size, MaskGeneratorOptions(crop_n_layers=1, crop_overlap_ratio=ratio))
    assert [crop.box for crop in crops] == [(0, 0, size[1] - 1, size[0] - 1), *expected]
    assert [crop.layer for crop in crops] == [0] + [1] * len(expected)


def test_layers_of_crops_have_four_times_as_many_each():
    crops = mask_generator._crops(300, 400, MaskGeneratorOptions(crop_n_layers=3))
    assert [sum(crop.layer == layer for crop in crops) for layer in range(4)] == [1, 4, 16, 64]


@pytest.mark.parametrize(
    ("box", "is_cut"),
    [
        ((130, 30, 170, 70), False),
        ((121, 30, 170, 70), False),
        ((120, 30, 170, 70), True),
        ((130, 30, 181, 70), False),  # near the edge of the image, too
        ((130, 5, 170, 70), False),
        ((130, 30, 170, 80), True),
    ],
)
def test_a_mask_that_ends_where_its_crop_does_is_cut_unless_the_image_ends_there(box, is_cut):
    assert mask_generator._is_cut(box, (100, 0, 199, 99), (300, 200)) is is_cut


# Enlarging and cleaning -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (97, 51), (5, 7), (1, 1), (16, 200)])
@pytest.mark.parametrize("max_bytes", [1, 1000, 10**9])
def test_windows_are_enlarged_as_the_whole_is(size, max_bytes):
    logits = seeded((16, 12), "enlarged")
    whole = resize_logits(logits[None, None], *size)[0, 0].numpy()
    for window in ((slice(0, size[0]), slice(0, size[1])), (slice(size[0] // 3, size[0]), slice(0, size[1] // 2 + 1))):
        bands = list(mask_generator._enlarged_bands(logits.numpy(), size, window, max_bytes))
        np.testing.assert_allclose(np.concatenate(bands), whole[window], atol=5e-6)
        assert all(band.nbytes <= max(max_bytes, 4 * band.shape[1]) for band in bands)


def test_holes_are_filled_and_islands_dropped_as_they_are_in_the_mask_that_came():
    logits = np.full((12, 12), -3, np.float32)
    logits[1:9, 1:9] = 5
    logits[3:6, 3:6] = -1  # a hole of 8 cells, with an island of one in it
    logits[4, 4] = 2
    logits[10, 10] = 4
    cleaned = mask_generator._cleaned(logits, 8)
    assert (cleaned[3:6, 3:6] > 0).sum() == 8, "the reference drops the island though its hole is filled"
    assert cleaned[4, 4] == cleaned[10, 10] == -10
    assert (cleaned[3, 3], cleaned[1, 1], cleaned[0, 0]) == (10, 5, -3)
    assert np.array_equal(mask_generator._cleaned(logits, 0), logits)


# Runs -----------------------------------------------------------------------------------------------------------------


def test_runs_are_counted_down_the_columns():
    rng = np.random.default_rng(3)
    masks = [rng.random((7, 9)) < share for share in (0.05, 0.3, 0.5, 0.9)]
    masks += [np.ones((7, 9), np.bool_), np.eye(7, 9, dtype=np.bool_), disc(3, 4, 3, 7, 9)]
    down = np.arange(63).reshape(9, 7).T
    masks += [down < 1, down < 7, down < 20, down > 40, (down > 6) & (down < 30)]
    for mask in masks:
        assert generated(mask).run_lengths() == runs_of(mask)
        assert np.array_equal(generated(mask).mask(), mask)


# Duplicates -----------------------------------------------------------------------------------------------------------


def test_of_two_with_nearly_one_box_the_surer_stays(predictor):
    masks = [generated(disc(30, 30, 10), 0.7), generated(disc(31, 30, 10), 0.8), generated(disc(60, 60, 10), 0.6)]
    assert suppressed(MaskGenerator(predictor), *masks) == [1, 2]
    loose = MaskGenerator(predictor, MaskGeneratorOptions(box_nms_thresh=1.0))
    assert suppressed(loose, *masks) == [1, 0, 2]


def test_a_duplicate_of_a_duplicate_stays(predictor):
    masks = [generated(disc(30, x, 10), 0.9 - x / 1000) for x in (30, 33, 36)]
    assert suppressed(MaskGenerator(predictor), *masks) == [0, 2]


def test_between_crops_the_smaller_crop_shows_more(predictor):
    generator = MaskGenerator(predictor, MaskGeneratorOptions(crop_n_layers=1))
    whole = generated(disc(30, 30, 10), 0.9)
    close = generated(disc(30, 31, 10), 0.8, crop_box=(0, 0, 70, 50))
    assert generator.suppress([MaskBatch((whole,), 0, 1, 2), MaskBatch((close,), 1, 2, 2)]) == (close,)


def test_masks_are_compared_pixel_by_pixel_if_somebody_wants_it(predictor):
    ring = disc(30, 30, 20) & ~disc(30, 30, 18)
    masks = [generated(disc(30, 30, 20), 0.8), generated(ring, 0.9), generated(disc(30, 30, 20) & ~disc(9, 30, 3), 0.7)]
    masks += [generated(disc(70, 30, 20), 0.5), generated(disc(70, 80, 9), 0.4)]
    by_mask = MaskGenerator(predictor, MaskGeneratorOptions(box_nms_thresh=1.0, mask_nms_thresh=0.8))
    assert suppressed(by_mask, *masks) == [1, 0, 3, 4], "the ring and the disc are two things"
    assert suppressed(MaskGenerator(predictor), *masks) == [1, 3, 4], "their boxes are one"


# Options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"points_per_side": 0}, "points_per_side is 0"),
        ({"points_per_side": True}, "points_per_side is True"),
        ({"points_per_side": 8.0}, r"points_per_side is 8\.0"),
        ({"points_per_side": None}, "points_per_side is None and point_grids missing"),
        ({"point_grids": [[(0.5, 0.5)]]}, "points_per_side is 32 and point_grids given"),
        ({"points_per_side": None, "point_grids": []}, "0 grids for 0 layers"),
        ({"points_per_side": None, "point_grids": [[(0.5, 0.5)]], "crop_n_layers": 1}, "1 grids for 1 layers"),
        ({"points_per_side": None, "point_grids": [[0.5, 0.5]]}, r"shape \(2,\)"),
        ({"points_per_side": None, "point_grids": [np.zeros((0, 2))]}, r"shape \(0, 2\)"),
        ({"points_per_side": None, "point_grids": [[(0.5, 1.5)]]}, "not on the image"),
        ({"points_per_side": None, "point_grids": [[(0.5, np.nan)]]}, "not on the image"),
        ({"points_per_side": None, "point_grids": [[(0.5, "x")]]}, "not one array of numbers"),
        ({"points_per_batch": 0}, "points_per_batch is 0"),
        ({"pred_iou_thresh": 1.5}, r"pred_iou_thresh is 1\.5"),
        ({"stability_score_thresh": float("nan")}, "stability_score_thresh is nan"),
        ({"stability_score_offset": -1.0}, r"stability_score_offset is -1\.0"),
        ({"mask_threshold": "0"}, "mask_threshold is '0'"),
        ({"box_nms_thresh": None}, "box_nms_thresh is None"),
        ({"mask_nms_thresh": 2}, "mask_nms_thresh is 2"),
        ({"crop_n_layers": -1}, "crop_n_layers is -1"),
        ({"crop_n_layers": 99}, "crop_n_layers is 99"),
        ({"crop_n_layers": 2, "crop_n_points_downscale_factor": 8}, "divided by 64, leave no point"),
        ({"crop_overlap_ratio": False}, "crop_overlap_ratio is False"),
        ({"min_mask_region_area": 2.5}, r"min_mask_region_area is 2\.5"),
        ({"use_m2m": 1}, "use_m2m is 1"),
        ({"enlarge_bytes": 0}, "enlarge_bytes is 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_with_a_cure(wrong, sentence):
    with pytest.raises(ConfigError, match=sentence) as refused:
        MaskGeneratorOptions(**wrong)
    assert str(refused.value).endswith(".")


def test_options_are_values():
    assert MaskGeneratorOptions() == MaskGeneratorOptions(points_per_side=32)
    own = MaskGeneratorOptions(points_per_side=None, point_grids=[np.full((1, 2), 0.5)])
    assert hash(own) == hash(replace(own))
