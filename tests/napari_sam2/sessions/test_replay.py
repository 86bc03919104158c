"""What a replay makes of a session, against what happened, written down by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from napari_sam2.api import propagate, segment
from napari_sam2.errors import PromptError, SessionError
from napari_sam2.frames import FrameStack
from napari_sam2.inference.sam2 import Sam2Predictor
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.labels.prompts import prompts_from_labels
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.results import score_table
from napari_sam2.sample_data import nuclei_stack_image, nuclei_stack_labels
from napari_sam2.sessions.document import Session
from napari_sam2.sessions.images import ImageUsed
from napari_sam2.sessions.replay import dtype_replayed, frames_replayed, models_used, replay
from napari_sam2.sessions.steps import Commit, HandEdit, MaskSource, ModelUsed, PackedPlane, Renumbering
from sam2_model.config import Framing
from sam2_model.memory_bank import Direction
from tests.napari_sam2.conftest import FRAMES, drawn
from tests.napari_sam2.fake_predictor import FakePredictor

MODEL = ModelUsed("fake", "f" * 64, 256)
EVERYWHERE = tuple(range(FRAMES))
KEEP, OVERWRITE, BY_SCORE = CommitPolicy.KEEP, CommitPolicy.OVERWRITE, CommitPolicy.BY_SCORE


@pytest.fixture
def frames(toy_movie):
    return FrameStack(toy_movie)


def box(object_id, columns, *, frame=0, rows=(1, 2)):
    return BoxPrompt(object_id, frame, rows[0], columns[0], rows[1], columns[1])


def source(*prompts, frames=EVERYWHERE, model=MODEL):
    return MaskSource(prompts[0].object_id, prompts, model, tuple(frames))


def session(*steps, sources=(), **choices):
    image = ImageUsed(name="toy", shape=(FRAMES, 8, 12), dtype="uint16")
    return Session(image=image, steps=steps, sources=tuple(sources), **choices)


def replayed(work, frames, predictor=None):
    """Labels of the whole stack, and the scores."""
    labels = np.zeros((FRAMES, 8, 12), dtype_replayed(work))
    scores, given = [], []
    for done in replay(work, lambda model: frames, lambda model: predictor or FakePredictor()):
        labels[done.frame] = done.labels
        assert done.labels.dtype == labels.dtype
        given.append(done.frame)
        scores += done.scores
    assert sorted(given) == list(frames_replayed(work))
    return labels, score_table(scores)


# Masks


def test_a_replay_gives_what_the_same_prompts_give_in_python(toy_movie, frames):
    prompts = [PointPrompt(1, 2, 2, 2), PointPrompt(2, 0, 2, 8), PointPrompt(2, 3, 3, 8), PointPrompt(3, 4, 6, 2)]
    expected = propagate(toy_movie, prompts, model=FakePredictor())
    sources = [source(*(p for p in prompts if p.object_id == i)) for i in (1, 2, 3)]
    labels, scores = replayed(session(sources=sources), frames)
    np.testing.assert_array_equal(labels, expected.labels)
    assert scores.equals(expected.scores)
    committed, _ = replayed(session(Commit(tuple(sources), KEEP)), frames)
    np.testing.assert_array_equal(committed, expected.labels)


def test_only_masks_that_were_held_are_given(frames):
    labels, scores = replayed(session(sources=[source(box(1, (1, 2), frame=2), frames=(1, 2, 4))]), frames)
    assert labels.any((1, 2)).tolist() == [False, True, True, False, True]
    assert scores["frame"].tolist() == [1, 2, 4]


def test_each_mask_comes_from_the_prompts_as_they_were_then(frames):
    first, second = box(1, (1, 3)), box(1, (6, 8), frame=3)
    old, new = source(first, frames=(0, 1, 4)), source(first, second, frames=(2, 3))
    labels, _ = replayed(session(sources=[old, new]), frames)
    assert [np.flatnonzero(plane[1]).tolist() for plane in labels] == [[1, 2, 3]] * 3 + [[6, 7, 8]] + [[1, 2, 3]]


def test_a_target_of_which_the_same_was_said_in_two_states_is_asked_once(frames):
    fake = FakePredictor()
    clicks = [box(1, (1, 3), frame=f) for f in (0, 2, 4)]
    states = [source(*clicks[: n + 1], frames=(2 * n,)) for n in range(3)]
    again = source(*clicks, box(1, (5, 6), frame=3), frames=(0, 3))
    labels, _ = replayed(session(Commit((again,), KEEP), sources=states), frames, fake)
    assert sorted(call[1] for call in fake.calls if call[0] == "prompt") == [0, 2, 3, 4]
    assert fake.count("follow") == 0
    assert labels[:, 1].any(1).tolist() == [True, False, True, True, True]


def test_objects_are_followed_together_and_no_further_than_their_masks(frames):
    fake = FakePredictor()
    sources = [source(box(1, (1, 3), frame=2), frames=(1, 3)), source(box(2, (6, 8), frame=1), frames=(1, 3))]
    replayed(session(sources=sources), frames, fake)
    follows = [call[1:] for call in fake.calls if call[0] == "follow"]
    forward, backward = Direction.FORWARD, Direction.BACKWARD
    assert follows == [(1, (2,), forward), (2, (1, 2), forward), (3, (1, 2), forward), (1, (1,), backward)]


def test_frames_are_given_as_soon_as_they_are_complete(frames):
    fake = FakePredictor()
    work = session(sources=[source(box(1, (1, 3)))])
    for done in replay(work, lambda model: frames, lambda model: fake):
        assert fake.count("follow") <= done.frame + 1


def test_an_absence_takes_part(frames):
    prompts = (box(1, (1, 3)), PointPrompt(1, 2, 1, 2, positive=False))
    labels, scores = replayed(session(sources=[source(*prompts)]), frames)
    assert labels.any((1, 2)).tolist() == [True, True, False, False, False]
    assert len(scores) == FRAMES


class Brush(FakePredictor):
    """A second model: it answers a row further down."""

    sha256 = "b" * 64
    name = "brush"

    def open(self, frames):
        tracker = super().open(frames)
        drawn_there = tracker._mask

        def mask(object_id, frame):
            found = drawn_there(object_id, frame)
            return replace(found, logits=np.roll(found.logits, 1, 0))

        tracker._mask = mask
        return tracker


def test_each_mask_comes_from_its_own_model_and_view(toy_movie):
    other = ModelUsed("brush", "b" * 64, 256, contrast_limits=(0.0, 1.0))
    work = session(sources=[source(box(1, (1, 3)), frames=(0, 1)), source(box(2, (6, 8)), frames=(1, 2), model=other)])
    assert models_used(work) == (MODEL, other)
    seen = {}

    def frames_of(model):
        seen[model] = FrameStack(toy_movie, contrast_limits=model.contrast_limits or (5, 9))
        return seen[model]

    predictors = {MODEL: FakePredictor(), other: Brush()}
    labels = {done.frame: done.labels for done in replay(work, frames_of, predictors.__getitem__)}
    assert seen.keys() == {MODEL, other}
    np.testing.assert_array_equal(labels[1][:4, [2, 7]], [[0, 0], [1, 0], [1, 2], [0, 2]])
    assert not labels[0][:, 7].any()
    assert not labels[2][:, 2].any()


# Steps


@dataclass(frozen=True)
class Case:
    """Columns 0 to 11 of row 1, on frame 1."""

    steps: Sequence[object]
    expected: str
    sources: Sequence[MaskSource] = ()
    choices: dict[str, object] = field(default_factory=dict)


def by_hand(row, *, frame=1):
    plane = np.zeros((8, 12), np.uint16)
    plane[1] = drawn(row)
    return HandEdit({frame: PackedPlane.pack(plane)})


def mask(object_id, row):
    """A mask given by the user, which is certain; boxes are less sure, and clicks least."""
    return MaskPrompt(object_id, 0, np.vstack((drawn("." * 12), drawn(row), np.zeros((6, 12)))) > 0)


def commit(*prompts, policy=KEEP, locked=()):
    return Commit(tuple(source(prompt) for prompt in prompts), policy, locked)


A, B, C = box(1, (1, 4)), box(2, (3, 6)), box(3, (5, 8))
GIVEN, DRAWN, CLICK = mask(1, ".1111......."), mask(2, "...2222....."), PointPrompt(2, 0, 1, 5)

CASES = {
    "one commit": Case([commit(A)], ".1111......."),
    "overlaps go to the lower id": Case([commit(A, B)], ".111122....."),
    "two commits, kept": Case([commit(B), commit(A)], ".112222....."),
    "two commits, overwritten": Case([commit(B), commit(A, policy=OVERWRITE)], ".111122....."),
    "committed again": Case([commit(A), commit(box(1, (6, 7)))], ".1111.11...."),
    "committed anew": Case([commit(A), commit(box(1, (6, 7)), policy=OVERWRITE)], "......11...."),
    "locked objects stay out": Case([commit(A, B, locked=(1,))], ".....22....."),
    "locked objects keep their pixels": Case([commit(A), commit(B, policy=OVERWRITE, locked=(1,))], ".111122....."),
    "by score, as sure": Case([commit(A), commit(B, policy=BY_SCORE)], ".111122....."),
    "by score, surer": Case([commit(A), commit(DRAWN, policy=BY_SCORE)], ".112222....."),
    "by score, less sure": Case([commit(A), commit(CLICK, policy=BY_SCORE)], ".1111222...."),
    "by score, surer than a click": Case([commit(CLICK), commit(A, policy=BY_SCORE)], ".1111222...."),
    "by score, surer than the last commit": Case(
        [commit(GIVEN), commit(A), commit(DRAWN, policy=BY_SCORE)], ".112222....."
    ),
    "by score, less sure than the last commit": Case(
        [commit(A), commit(GIVEN), commit(DRAWN, policy=BY_SCORE)], ".111122....."
    ),
    "by score against a hand edit": Case(
        [commit(A), by_hand(".1111......."), commit(DRAWN, policy=BY_SCORE)], ".111122....."
    ),
    "by score against a hand edit elsewhere": Case(
        [commit(A), by_hand(".1111.......", frame=2), commit(DRAWN, policy=BY_SCORE)], ".112222....."
    ),
    "by score against a commit after a hand edit": Case(
        [by_hand("............"), commit(A), commit(DRAWN, policy=BY_SCORE)], ".112222....."
    ),
    "uncommitted on top, by score": Case([commit(A)], ".112222.....", [source(DRAWN)], {"policy": BY_SCORE}),
    "uncommitted on top of a hand edit, by score": Case(
        [commit(A), by_hand(".1111.......")], ".111122.....", [source(DRAWN)], {"policy": BY_SCORE}
    ),
    "deleted": Case([commit(A, B), Renumbering(1, 0)], ".....22....."),
    "merged": Case([commit(A, B), Renumbering(1, 2)], ".222222....."),
    "deleted elsewhere": Case([commit(A), Renumbering(1, 0, (0, 2))], ".1111......."),
    "deleted here": Case([commit(A), Renumbering(1, 0, (1,))], "............"),
    "deleted before it was there": Case([Renumbering(1, 0), commit(A)], ".1111......."),
    "left by hand": Case([commit(A), by_hand("7...........")], "7..........."),
    "erased by hand": Case([commit(A), by_hand("............")], "............"),
    "committed over what was left by hand": Case([by_hand("77.........."), commit(A)], "77111......."),
    "uncommitted on top": Case([commit(A)], ".111122.....", [source(B)]),
    "uncommitted on top, overwriting": Case([commit(A)], ".112222.....", [source(B)], {"policy": OVERWRITE}),
    "uncommitted and hidden": Case([commit(A)], ".1111.......", [source(B)], {"hidden": (2,)}),
    "uncommitted and too doubtful": Case([commit(A)], ".1111.......", [source(B)], {"least_confidence": 0.9}),
    "uncommitted and sure enough": Case([commit(A)], ".111122.....", [source(B)], {"least_confidence": 0.7}),
    "uncommitted and locked": Case([commit(A)], ".112222.....", [source(B)], {"policy": OVERWRITE, "locked": (2,)}),
    "uncommitted over what is locked": Case(
        [commit(A)], ".111122.....", [source(B)], {"policy": OVERWRITE, "locked": (1,)}
    ),
    "held and committed": Case([commit(A, B, locked=(2,))], ".111122.....", [source(B)], {"locked": (2,)}),
    "everything": Case(
        [commit(A), by_hand(".1111....99."), commit(B, policy=OVERWRITE), Renumbering(9, 4)],
        ".11222233.44"[:9] + "44.",
        [source(box(3, (7, 9)))],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_steps_are_made_in_order(frames, case):
    labels, _ = replayed(session(*case.steps, sources=case.sources, **case.choices), frames)
    np.testing.assert_array_equal(labels[1, 1], drawn(case.expected)[0])


def test_the_scores_are_the_newest_since_a_frame_was_last_edited_by_hand(frames):
    work = session(
        commit(A, B, C),
        by_hand("1111...33..."),
        Renumbering(3, 0),
        sources=[MaskSource(4, prompts_of_mask(4), MODEL, (1,))],
    )
    _, scores = replayed(work, frames)
    on_frame = scores.groupby("frame")["object_id"].apply(list).to_dict()
    assert on_frame == {0: [1, 2], 1: [4], 2: [1, 2], 3: [1, 2], 4: [1, 2]}
    _, again = replayed(replace(work, sources=(source(GIVEN, frames=(0, 1)),)), frames)
    of_first = again[again["object_id"] == 1].set_index("frame")["confidence"].to_dict()
    assert of_first == pytest.approx({0: 1, 1: 1, 2: 0.72, 3: 0.72, 4: 0.72})


def prompts_of_mask(object_id):
    labels = np.zeros((8, 12), np.uint16)
    labels[6, 2:5] = object_id
    return prompts_from_labels(labels, frames=1)


def test_labels_are_wide_enough_for_every_id(frames):
    plane = np.full((8, 12), 70_000, np.uint32)
    assert dtype_replayed(session(commit(A))) == np.uint16
    assert dtype_replayed(session(Renumbering(1, 70_000), commit(A))) == np.uint32
    labels, _ = replayed(session(HandEdit({1: PackedPlane.pack(plane)}), commit(A)), frames)
    assert labels.max() == 70_000


def test_labels_left_by_hand_need_no_model(frames):
    labels, scores = replayed(session(by_hand("5...........")), frames)
    assert labels[1, 1, 0] == 5
    assert labels.astype(bool).sum() == 1
    assert scores.empty


# Refusals


def plane_of(*values, shape=(8, 12)):
    plane = np.zeros(shape, np.int64)
    plane.flat[: len(values)] = values
    return PackedPlane.pack(plane)


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (session(), "holds no labels"),
        (session(sources=[source(A, frames=(2, 5))]), "labels on frame 5, and its image has 5 frames"),
        (session(HandEdit({7: plane_of(1)})), "labels on frame 7"),
        (session(HandEdit({0: plane_of(1, shape=(8, 13))})), "8 x 13 pixels, and the frames of the image have 8 x 12"),
        (session(HandEdit({0: plane_of(-1)})), "holds the label -1"),
        (session(HandEdit({0: plane_of(2**32)})), "holds the label 4294967296"),
        (session(sources=[source(PointPrompt(1, 0, 2, 40))]), "outside"),
        (session(sources=[source(PointPrompt(1, 9, 2, 4))]), "there is no frame 9"),
        (session(sources=[source(PointPrompt(1, 0, 2, 4, positive=False))]), "only negative points"),
        (
            session(sources=[source(A, model=replace(MODEL, sha256="a" * 64))]),
            "weights of fake that have the SHA-256 aaa",
        ),
        (
            session(sources=[source(A, model=replace(MODEL, image_size=512))]),
            "at a working size of 512 px, .* at 256 px",
        ),
        (
            session(sources=[source(A, model=replace(MODEL, drops_islands=True))]),
            "made by fake without islands .* Load it with drops_islands=True",
        ),
        (
            session(sources=[source(A, model=replace(MODEL, framing=Framing.NATIVE))]),
            "with the framing 'native', .* loaded with 'square'",
        ),
    ],
)
def test_a_session_that_cannot_be_replayed_is_refused_before_any_work(frames, work, message):
    fake = FakePredictor()
    with pytest.raises((SessionError, PromptError), match=message):
        replay(work, lambda model: frames, lambda model: fake)
    assert fake.calls == []


def test_another_stack_is_refused(toy_movie):
    with pytest.raises(SessionError, match="4 frames of 8 x 12 pixels, and the session was made on 5 of 8 x 12"):
        replay(session(sources=[source(A)]), lambda model: FrameStack(toy_movie[:4]), lambda model: FakePredictor())


def test_a_second_model_that_is_another_one_is_refused_before_the_first_works(frames):
    fake = FakePredictor()
    work = session(sources=[source(A), source(B, model=replace(MODEL, sha256="c" * 64))])
    with pytest.raises(SessionError, match="cccc"):
        replay(work, lambda model: frames, lambda model: fake)
    assert fake.calls == []


# Specks, and what is counted

BAR, ACROSS = (
    box(2, (0, 11), rows=(0.6, 1.4)),
    box(1, (8, 10), rows=(0, 2)),
)  # one pixel of the bar is left on its far side


@pytest.mark.parametrize("is_committed", [True, False])
def test_specks_are_dropped_if_they_were_when_the_masks_were_made(frames, is_committed):
    sources = (source(BAR), source(ACROSS))

    def bar(*, drops_specks):
        if is_committed:
            work = session(Commit(sources, KEEP, drops_specks=drops_specks))
        else:
            work = session(sources=sources, drops_specks=drops_specks)
        labels, scores = replayed(work, frames)
        counted = scores[scores["object_id"] == 2]
        assert counted["area_px"].tolist() == [12] * FRAMES
        assert counted["area_in_labels_px"].tolist() == (labels == 2).sum((1, 2)).tolist()
        return labels[:, 1] == 2

    assert bar(drops_specks=False)[:, 11].all()
    assert not bar(drops_specks=True)[:, 11].any()
    assert bar(drops_specks=True)[:, :8].all()


def test_a_speck_that_was_clicked_is_replayed_on_the_frame_of_the_click(frames):
    clicked = (BAR, PointPrompt(2, 0, 1, 11))
    labels, _ = replayed(session(sources=[source(*clicked), source(ACROSS)], drops_specks=True), frames)
    assert (labels[:, 1, 11] == 2).tolist() == [True, False, False, False, False]


def test_areas_are_counted_after_all_steps(frames):
    steps = (Commit((source(box(1, (1, 2))),), KEEP), Commit((source(box(2, (2, 3))),), OVERWRITE), Renumbering(2, 3))
    _, scores = replayed(session(*steps), frames)
    assert set(scores["object_id"]) == {1}  # a renumbered object has no score any more
    assert scores["area_px"].tolist() == [4] * FRAMES
    assert scores["area_in_labels_px"].tolist() == [2] * FRAMES


# The real model


def test_a_replay_with_the_embedded_model_is_the_propagation(nano):
    stack, annotated = nuclei_stack_image(), nuclei_stack_labels()
    prompts = [p for p in prompts_from_labels(annotated, frames=15) if p.object_id in np.unique(annotated[15])[1:4]]
    expected = propagate(stack, prompts, model=nano, start=13, stop=17)
    model = ModelUsed(
        "nano", nano.sha256, nano.working_size(*stack.shape[1:]), framing=nano.framing, drops_islands=True
    )
    work = Session(
        image=ImageUsed(name="nuclei", shape=stack.shape, dtype="uint16"),
        sources=tuple(source(prompt, frames=range(13, 18), model=model) for prompt in prompts),
    )
    scores = []
    for done in replay(work, lambda model: FrameStack(stack), lambda model: nano):
        np.testing.assert_array_equal(done.labels, expected.labels[done.frame])
        scores += done.scores
    assert len(scores) == 15
    assert score_table(scores).equals(expected.scores)


def test_masks_of_before_keep_their_islands_beside_masks_that_lost_theirs(nano, pair):
    """As when a session of before is opened and gone on with: object 1 was answered then, object 2 now."""
    loaded = {drops: Sam2Predictor(nano._model, framing=Framing.SQUARE, drops_islands=drops) for drops in (True, False)}
    clicks = [PointPrompt(object_id, 0, 36, 40) for object_id in (1, 2)]

    def labels(*sources):
        work = Session(image=ImageUsed(name="pair", shape=(1, *pair.shape), dtype="uint8"), sources=sources)
        (done,) = replay(work, lambda model: FrameStack(pair[None]), lambda model: loaded[model.drops_islands])
        return done.labels

    now = ModelUsed("nano", nano.sha256, 256, drops_islands=True)
    before = source(clicks[0], frames=(0,), model=replace(now, drops_islands=False))
    after = source(clicks[1], frames=(0,), model=now)
    largest, other = (36, 30), (36, 50)
    assert [labels(before)[place] for place in (largest, other)] == [1, 1]
    assert [labels(after)[place] for place in (largest, other)] == [2, 0]
    assert labels(before, after)[other] == 1


def test_a_strip_is_stretched_again_where_it_was_when_its_masks_were_made(nano):
    """As when a session of before is opened and gone on with: object 1 was answered then, object 2 now."""
    strip = np.full((20, 340), 20, np.uint8)
    strip[4:16, 100:125] = strip[5:15, 140:160] = 200
    loaded = {framing: Sam2Predictor(nano._model, framing=framing) for framing in Framing}
    models = {framing: ModelUsed("nano", nano.sha256, 512, framing=framing, drops_islands=True) for framing in Framing}

    def labels(framing):
        work = Session(
            image=ImageUsed(name="strip", shape=(1, *strip.shape), dtype="uint8"),
            sources=[source(PointPrompt(1, 0, 10, 112), frames=(0,), model=models[framing])],
        )
        (done,) = replay(work, lambda model: FrameStack(strip[None]), lambda model: loaded[model.framing])
        return done.labels

    clicks = [PointPrompt(1, 0, 10, 112)]
    assert not np.array_equal(labels(Framing.SQUARE), labels(Framing.NATIVE))
    assert np.array_equal(labels(Framing.NATIVE), segment(strip, clicks, model=nano).labels)
