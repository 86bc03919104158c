import numpy as np
import pytest

from napari_sam2.errors import OptionError
from napari_sam2.prompts import ModelScores
from napari_sam2.proposals import Proposal, ProposalFilter, ProposalSet, largest_piece

SIZE = (40, 60)


def proposal(y, x, height, width, score=0.8, likeness=None):
    scores = ModelScores(score, 1.0, 1.0, 5.0)
    return Proposal((y, x), np.ones((height, width), np.bool_), scores, score, (y, x), likeness)


def places(kept):
    return [one.corner for one in kept]


def test_the_score_is_between_what_the_model_says_of_the_mask_and_how_it_agrees():
    one = Proposal((0, 0), np.ones((2, 2), np.bool_), ModelScores(0.9, 1.0, 1.0, 1.0), 0.4, (0, 0))
    assert one.score == pytest.approx((0.9 * 0.4) ** (1 / 3))


def test_the_better_of_two_that_cover_each_other_is_kept():
    both = ProposalSet([proposal(2, 2, 10, 10, 0.7), proposal(3, 3, 10, 10, 0.9)], *SIZE)
    assert places(both.kept(ProposalFilter())) == [(3, 3)]


def test_what_overlaps_a_little_is_kept_without_what_the_better_one_has():
    both = ProposalSet([proposal(0, 0, 10, 10, 0.9), proposal(0, 8, 10, 10, 0.8)], *SIZE)
    better, other = both.kept(ProposalFilter())
    assert better.mask.sum() == 100
    assert (other.corner, other.mask.shape) == ((0, 10), (10, 8))


def test_less_score_keeps_more():
    some = ProposalSet([proposal(0, 10 * i, 6, 6, score) for i, score in enumerate((0.9, 0.6, 0.3))], *SIZE)
    counts = [len(some.kept(ProposalFilter(least_score=least))) for least in (0.95, 0.8, 0.5, 0.1)]
    assert counts == [0, 1, 2, 3]


@pytest.mark.parametrize(("bias", "corner"), [(1.0, (0, 0)), (-1.0, (2, 2))])
def test_the_bias_lets_the_larger_or_the_smaller_one_win(bias, corner):
    whole_and_part = ProposalSet([proposal(0, 0, 12, 12, 0.80), proposal(2, 2, 6, 6, 0.82)], *SIZE)
    assert places(whole_and_part.kept(ProposalFilter(size_bias=bias)))[0] == corner


def test_areas_outside_the_limits_are_not_kept():
    some = ProposalSet([proposal(0, 20 * i, side, side) for i, side in enumerate((3, 6, 12))], *SIZE)
    assert places(some.kept(ProposalFilter(smallest_px=10, largest_px=100))) == [(0, 20)]


def test_what_objects_cover_already_is_not_found_again():
    covered = np.zeros(SIZE, np.bool_)
    covered[:, :30] = True
    some = ProposalSet([proposal(0, 5, 6, 6), proposal(0, 40, 6, 6)], *SIZE)
    assert places(some.kept(ProposalFilter(), covered)) == [(0, 40)]
    assert covered.sum() == 40 * 30, "what is covered is not changed"


def test_what_is_unlike_the_examples_is_not_kept():
    some = ProposalSet([proposal(0, 0, 6, 6, likeness=0.2), proposal(0, 20, 6, 6, likeness=0.9)], *SIZE)
    assert places(some.kept(ProposalFilter(least_likeness=0.5))) == [(0, 20)]


def test_kept_masks_never_share_a_pixel():
    random = np.random.default_rng(0)
    many = [proposal(*random.integers(0, 28, 2), *random.integers(3, 12, 2), random.random()) for _ in range(200)]
    count = np.zeros(SIZE, int)
    for one in ProposalSet(many, *SIZE).kept(ProposalFilter(least_score=0.0)):
        count[one.window] += one.mask
    assert count.max() == 1


def kept_on_a_frame(proposals, chosen, covered):
    """What is kept, as the rule says it: the best first, on a frame of pixels that are taken."""
    taken, kept = covered.copy(), []
    for one in sorted(proposals, key=lambda one: -one.score):
        free = one.mask & ~taken[one.window]
        area = one.mask.sum()
        left = area if free.sum() == area else largest_piece(free).sum()
        is_fit = one.score >= chosen.least_score and area >= chosen.smallest_px
        if is_fit and left >= chosen.smallest_px and area - free.sum() <= chosen.most_overlap * area:
            taken[one.window] |= one.mask
            kept.append((one.seed, left))
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_what_is_looked_up_once_for_each_pair_is_what_the_pixels_say(seed):
    random = np.random.default_rng(seed)
    many = []
    for number in range(150):
        mask = random.random(random.integers(8, 14, 2)) < 0.8  # no group: none is three times as large as another
        corner = tuple(int(one) for one in random.integers(0, (28, 46)))
        many.append(Proposal(corner, mask, ModelScores(random.random(), 1.0, 1.0, 1.0), 1.0, (number, 0)))
    parts = ProposalSet(many[:40], *SIZE).extended(many[40:100]).extended(many[100:])
    for covered in (np.zeros(SIZE, np.bool_), random.random(SIZE) < 0.1):
        for least, overlap in ((0.0, 0.3), (0.5, 0.0), (0.2, 0.8), (0.0, 1.0)):
            chosen = ProposalFilter(least_score=least, most_overlap=overlap, smallest_px=5)
            expected = kept_on_a_frame(many, chosen, covered)
            for one in (parts, ProposalSet(many, *SIZE)):
                assert [(kept.seed, kept.mask.sum()) for kept in one.kept(chosen, covered)] == expected


def test_a_set_that_was_extended_is_as_it_was():
    first = ProposalSet([proposal(2, 2, 10, 10, 0.7)], *SIZE)
    larger = first.extended([proposal(3, 3, 10, 10, 0.9)])
    assert places(larger.kept(ProposalFilter())) == [(3, 3)]
    assert places(first.kept(ProposalFilter())) == [(2, 2)]
    other = first.extended([proposal(20, 20, 10, 10, 0.8)])
    assert places(other.kept(ProposalFilter())) == [(20, 20), (2, 2)]


def test_there_may_be_nothing_to_choose_from():
    assert ProposalSet([], *SIZE).kept(ProposalFilter()) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"least_score": 1.1},
        {"least_score": "much"},
        {"size_bias": -2},
        {"most_overlap": float("nan")},
        {"smallest_px": 0},
        {"largest_px": 3},
    ],
)
def test_a_number_outside_its_range_is_refused(wrong):
    with pytest.raises(OptionError, match=r"Use a number|keep nothing"):
        ProposalFilter(**wrong)


def group_and_members(*scores):
    """A mask, and others inside it side by side."""
    members = [proposal(5, 5 + 12 * i, 8, 8, score) for i, score in enumerate(scores)]
    return [proposal(0, 0, 30, 50, 0.8), *members]


def test_a_mask_that_holds_several_objects_does_not_take_the_place_of_the_weaker_ones():
    some = ProposalSet(group_and_members(0.9, 0.85, 0.7), *SIZE)
    assert sorted(places(some.kept(ProposalFilter())))[1:] == [(5, 5), (5, 17), (5, 29)]


def test_two_parts_make_no_group():
    some = ProposalSet(group_and_members(0.75, 0.7), *SIZE)
    assert places(some.kept(ProposalFilter())) == [(0, 0)]


def test_copies_of_one_object_make_no_group():
    whole, member, *_ = group_and_members(0.7)
    assert places(ProposalSet([whole, member, member, member], *SIZE).kept(ProposalFilter())) == [(0, 0)]


def test_whoever_wants_larger_ones_gets_the_group():
    some = ProposalSet(group_and_members(0.75, 0.75, 0.7), *SIZE)
    assert places(some.kept(ProposalFilter(size_bias=0.5))) == [(0, 0)]


def test_what_is_left_of_a_proposal_is_in_one_piece():
    bar = proposal(10, 0, 4, 40, 0.7)
    across = proposal(0, 30, 30, 4, 0.9)
    _, rest = ProposalSet([bar, across], *SIZE).kept(ProposalFilter())
    assert (rest.corner, rest.mask.shape) == ((10, 0), (4, 30))
