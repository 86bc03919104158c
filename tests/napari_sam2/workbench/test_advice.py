"""The table of states and sentences."""

import pytest

from napari_sam2.workbench.advice import Advice, Doing, Facts, Unclear, advise
from napari_sam2.workbench.choices import ClickMode
from napari_sam2.workbench.duplicates import Duplicate
from napari_sam2.workbench.tools import Tool

REFINE = ClickMode.REFINE
SAME = (Duplicate(4, 5, tuple(range(9))),)
PROPAGATE, COMMIT = "Propagate (Shift+S)", "Commit (C)"

TABLE = {
    "first click": (
        Facts(),
        "Click each object once, or drag a box round it; F finds all. A right click says what does not belong.",
    ),
    "first click, refining": (
        Facts(mode=REFINE),
        "Click the object, or drag a box round it. Click again where something is missing, right-click what does not "
        "belong.",
    ),
    "three planes": (
        Facts(is_stack=True, may_be_channels=True),
        "Are the three planes frames? If they are channels, right-click the layer > Split Stack. If not, click an "
        "object.",
    ),
    "loading": (Facts(doing=Doing.LOADING, model="nano"), "Loading nano…"),
    "looking at an image": (Facts(doing=Doing.LOOKING), "Looking at the image for the first time…"),
    "looking at a frame": (Facts(doing=Doing.LOOKING, is_stack=True), "Looking at this frame for the first time…"),
    "answering": (Facts(doing=Doing.ANSWERING, is_begun=True), "Segmenting…"),
    "before it is known how many frames": (Facts(doing=Doing.FOLLOWING, is_begun=True), "Segmenting…"),
    "propagating": (
        Facts(doing=Doing.FOLLOWING, is_stack=True, done=2, total=60),
        "Propagating: 2 of 60 frames. You can go on working.",
    ),
    "propagating for a while": (
        Facts(doing=Doing.FOLLOWING, is_stack=True, done=12, total=60, seconds_left=19.0),
        "Propagating: 12 of 60 frames, about 20 s left. You can go on working.",
    ),
    "one object of an image": (
        Facts(is_begun=True),
        f"Click the next object. Right-click what does not belong to this one; R lets clicks add to it. {COMMIT} keeps "
        "all.",
    ),
    "one object of an image, refining": (
        Facts(is_begun=True, mode=REFINE),
        f"Click where something is missing, right-click what does not belong. New object (M) begins the next. {COMMIT} "
        "keeps all.",
    ),
    "one object of a stack": (
        Facts(is_begun=True, is_stack=True),
        "Click the next object. Right-click what does not belong to this one; R lets clicks add to it. "
        f"{PROPAGATE} follows all.",
    ),
    "one object of a stack, refining": (
        Facts(is_begun=True, is_stack=True, mode=REFINE),
        "Click where something is missing, right-click what does not belong. New object (M) begins the next. "
        f"{PROPAGATE} follows all.",
    ),
    "not clear from a click": (
        Facts(is_begun=True, unclear=Unclear(3, 0.284)),
        "Object 3 is not clear from this click (0.28). Drag a box round it, or A shows another mask.",
    ),
    "not clear from clicks": (
        Facts(is_begun=True, is_stack=True, unclear=Unclear(3, 0.284, clicks=2)),
        "Object 3 is not clear from these clicks (0.28). Drag a box round it, or A shows another mask.",
    ),
    "not found": (
        Facts(is_begun=True, unclear=Unclear(3, None)),
        "Object 3 was not found from this click. Drag a box round it, or A shows another mask.",
    ),
    "stopped": (
        Facts(is_begun=True, is_stack=True, done=55, total=60, is_followed=True, unfollowed=(1,)),
        f"Stopped at 55 of 60 frames. {PROPAGATE} goes on.",
    ),
    "same objects of a stack": (
        Facts(is_begun=True, is_stack=True, is_followed=True, duplicates=SAME, num_doubtful=3),
        "Objects 4 and 5 are the same on frames 0 to 8: delete one, or press X where it is not there.",
    ),
    "same objects of an image": (
        Facts(is_begun=True, duplicates=(Duplicate(4, 5, (0,)),)),
        "Objects 4 and 5 are the same: delete one of them.",
    ),
    "a correction that is not followed": (
        Facts(is_begun=True, is_stack=True, is_followed=True, outdated=(2,), unfollowed=(3,), num_doubtful=4),
        f"Object 2 has newer prompts than the hatched frames. {PROPAGATE} follows it again.",
    ),
    "many corrections that are not followed": (
        Facts(is_begun=True, is_stack=True, is_followed=True, outdated=tuple(range(1, 9))),
        f"Objects 1, 2, 3, 4, 5 and 3 more have newer prompts than the hatched frames. {PROPAGATE} follows them again.",
    ),
    "an object that came late": (
        Facts(is_begun=True, is_stack=True, is_followed=True, unfollowed=(3,)),
        f"Object 3 is not followed to all frames yet. {PROPAGATE} goes on with it.",
    ),
    "objects that came late": (
        Facts(is_begun=True, is_stack=True, is_followed=True, unfollowed=(3, 4)),
        f"Objects 3, 4 are not followed to all frames yet. {PROPAGATE} goes on with them.",
    ),
    "one doubt": (
        Facts(is_begun=True, is_stack=True, is_followed=True, num_doubtful=1),
        f"1 mask is doubtful: N leads to it. Click to correct, Y if it is right. {COMMIT} keeps all.",
    ),
    "doubts": (
        Facts(is_begun=True, is_stack=True, is_followed=True, num_doubtful=12),
        f"12 masks are doubtful: N leads to each. Click to correct, Y if it is right. {COMMIT} keeps all.",
    ),
    "all is followed": (
        Facts(is_begun=True, is_stack=True, is_followed=True),
        f"All objects are followed, and none is doubtful. Click where one is wrong. {COMMIT} keeps the result.",
    ),
    "one is committed": (
        Facts(num_committed=1, committed_into="committed_objects"),
        "1 object is in committed_objects. Export… (E) writes it; or click the next object.",
    ),
    "six are committed": (
        Facts(is_stack=True, num_committed=6, committed_into="committed_objects", may_be_channels=True),
        "6 objects are in committed_objects. Export… (E) writes them; or click the next object.",
    ),
    "another image": (
        Facts(image="cells", offered="skin", is_begun=True, is_stack=True),
        "The panel works on 'cells'. Use 'skin'?",
    ),
    "a question": (Facts(message="Is that another object?", is_asked=True, is_begun=True), "Is that another object?"),
    "a remark": (Facts(message="That is so.", is_begun=True), "That is so."),
    "a remark while it works": (Facts(message="That is so.", doing=Doing.ANSWERING), "Segmenting…"),
    "a problem": (
        Facts(message="That is bad.", is_problem=True, offered="skin", doing=Doing.ANSWERING),
        "That is bad.",
    ),
    "a remark of before, and another image": (
        Facts(message="It is exported.", image="cells", offered="skin"),
        "The panel works on 'cells'. Use 'skin'?",
    ),
    "the first box": (Facts(tool=Tool.BOX), "Drag a box round an object. T takes Include."),
    "the first stroke": (Facts(tool=Tool.BRUSH), "Paint an object: what you paint is its mask. T takes Include."),
    "the next box": (
        Facts(tool=Tool.BOX, is_begun=True),
        f"Drag a box round the next object. T takes Include. {COMMIT} keeps all.",
    ),
    "the next outline": (
        Facts(tool=Tool.LASSO, is_begun=True, is_stack=True),
        f"Draw an outline round the next object. T takes Include. {PROPAGATE} follows all.",
    ),
    "the next stroke": (
        Facts(tool=Tool.BRUSH, selected=3, is_begun=True),
        f"The brush paints object 3; M begins the next. {COMMIT} keeps all.",
    ),
    "with Exclude": (
        Facts(tool=Tool.POINT_OFF, selected=3, is_begun=True),
        f"Click what does not belong to object 3. T takes Include. {COMMIT} keeps all.",
    ),
    "not clear from a box": (
        Facts(is_begun=True, unclear=Unclear(3, 0.08, clicks=0)),
        "Object 3 is not clear from this box (0.08). Click on it, or Ctrl+Z takes it back. To move the "
        "view, hold space and drag.",
    ),
}


@pytest.mark.parametrize("state", TABLE)
def test_the_sentence_knows_where_you_are(state):
    facts, sentence = TABLE[state]
    assert advise(facts).sentence == sentence


@pytest.mark.parametrize("state", TABLE)
def test_a_sentence_has_room_on_three_lines(state):
    assert len(TABLE[state][1]) <= 135


@pytest.mark.parametrize("state", [state for state, (facts, _) in TABLE.items() if not facts.is_stack])
def test_of_an_image_there_is_no_word_of_frames_or_of_propagating(state):
    facts, sentence = TABLE[state]
    if facts.doing is not Doing.FOLLOWING:
        assert "frame" not in sentence
        assert "ropagat" not in sentence


@pytest.mark.parametrize("state", TABLE)
def test_there_is_a_button_only_where_something_is_offered(state):
    facts, _ = TABLE[state]
    offer = advise(facts).offer
    expected = "New object (M)" if facts.is_asked else "Use 'skin'" if facts.offered else ""
    assert (offer.text if offer is not None else "") == expected


def test_long_names_are_shortened_in_the_sentence_and_on_the_button():
    name = "2026-11-28_experiment_of_the_day_channel_3"
    advice = advise(Facts(image=name, offered=name))
    assert advice.sentence == "The panel works on '2026-11-28_experiment_o…'. Use '2026-11-28_experiment_o…'?"
    assert advice.offer.text == "Use '2026-11-28_experiment_o…'"
    assert name in advice.offer.tip


def test_advice_is_compared_by_what_it_says():
    assert advise(Facts()) == Advice(TABLE["first click"][1])
    assert advise(Facts(image="a", offered="b")) == advise(Facts(image="a", offered="b"))
