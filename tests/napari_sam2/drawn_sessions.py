"""Sessions as hypothesis draws them."""

from datetime import timedelta, timezone

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet, Target
from napari_sam2.sessions.document import Exported, Session
from napari_sam2.sessions.images import ImageUsed
from napari_sam2.sessions.steps import Commit, HandEdit, MaskSource, ModelUsed, PackedPlane, Renumbering
from sam2_model.config import Framing

SHAPE = NUM_FRAMES, ROWS, COLUMNS = 5, 8, 12

offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
ids, numbers = st.integers(1, 2**32 - 1), st.integers(0, 10**6)
stack_frames = st.integers(0, NUM_FRAMES - 1)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
ascending = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(sorted).filter(lambda pair: pair[0] < pair[1])
limits = ascending.map(tuple) | st.lists(ascending.map(tuple), min_size=1, max_size=3).map(tuple)
frames = st.sets(stack_frames, min_size=1).map(sorted).map(tuple)
policies = st.sampled_from(CommitPolicy)

models = st.builds(
    ModelUsed,
    text,
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.integers(1, 4096),
    st.none() | text,
    st.none() | limits,
    st.none() | st.lists(numbers, max_size=3).map(tuple),
    st.sampled_from(Framing),
    st.booleans(),
)
planes = arrays.arrays(st.sampled_from(["u1", "u2", "i4"]), (ROWS, COLUMNS))


def prompts_of(object_ids):
    masks = arrays.arrays(bool, (ROWS, COLUMNS)).filter(np.any)
    return (
        st.builds(PointPrompt, object_ids, stack_frames, st.floats(0, 99), st.floats(0, 99), positive=st.booleans())
        | st.builds(
            PointPrompt, object_ids, stack_frames, st.floats(0, 9), st.floats(0, 9), candidate=st.integers(0, 2)
        )
        | st.builds(
            lambda i, f, y, x: BoxPrompt(i, f, y[0], x[0], y[1], x[1]), object_ids, stack_frames, ascending, ascending
        )
        | st.builds(MaskPrompt, object_ids, stack_frames, masks)
    )


prompt_sets = st.lists(prompts_of(ids), unique_by=lambda prompt: prompt.target, max_size=5).map(PromptSet)


@st.composite
def mask_sources(draw):
    object_id = draw(ids)
    prompts = st.lists(prompts_of(st.just(object_id)), min_size=1, max_size=3)
    return MaskSource(object_id, tuple(draw(prompts)), draw(models), draw(frames))


several_sources = st.lists(mask_sources(), max_size=3).map(tuple)
object_ids = st.lists(ids, max_size=3).map(tuple)
steps = (
    st.builds(Commit, several_sources, policies, object_ids, drops_specks=st.booleans())
    | st.builds(Renumbering, ids, st.integers(0, 2**32 - 1), st.none() | frames)
    | st.builds(HandEdit, st.dictionaries(stack_frames, planes.map(PackedPlane.pack), min_size=1, max_size=3))
)
images = st.builds(
    ImageUsed,
    name=text,
    shape=st.just(SHAPE),
    dtype=st.sampled_from(["uint16", "float32"]),
    axes=st.none() | st.just("TYX"),
    channels=st.lists(numbers, max_size=3).map(tuple),
    is_rgb=st.booleans(),
    order=st.none() | st.just((0, 1, 2)),
    level=st.integers(0, 3),
)
sessions = st.builds(
    Session,
    image=images,
    contrast_limits=st.none() | limits,
    steps=st.lists(steps, max_size=4).map(tuple),
    sources=several_sources,
    prompts=prompt_sets,
    approved=st.lists(st.builds(Target, ids, stack_frames), max_size=3).map(tuple),
    replaced=prompt_sets,
    names=st.dictionaries(st.integers(1, 10**9), st.text(), max_size=3),
    hidden=object_ids,
    locked=object_ids,
    model=text,
    direction=st.sampled_from(["both", "forward", "backward"]),
    start=st.none() | stack_frames,
    stop=st.none() | stack_frames,
    policy=policies,
    threshold=st.floats(0, 1),
    least_confidence=st.floats(0, 1),
    drops_specks=st.booleans(),
    # Offsets that are written down; in a place that changes its clocks an hour comes twice and is equal to no other.
    exported=st.none() | st.builds(Exported, text, st.datetimes(timezones=offsets)),
)
