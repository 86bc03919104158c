"""Sessions as hypothesis draws them."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_sam2.merging import CommitPolicy
from napari_sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet, Target
from napari_sam2.session_documents import ImageUsed, SessionFile
from napari_sam2.work_log import Commit, HandEdit, ModelUsed, PackedPlane, Renumbering, Take

ids, numbers = st.integers(1, 2**32 - 1), st.integers(0, 10**6)
text = st.text(min_size=1)
ascending = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(sorted).filter(lambda pair: pair[0] < pair[1])
limits = ascending.map(tuple) | st.lists(ascending.map(tuple), min_size=1, max_size=3).map(tuple)
frames = st.sets(st.integers(0, 30), min_size=1).map(sorted).map(tuple)
policies = st.sampled_from(CommitPolicy)

models = st.builds(
    ModelUsed,
    text,
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.integers(1, 4096),
    st.none() | text,
    st.none() | limits,
    st.none() | st.lists(numbers, max_size=3).map(tuple),
)
planes = arrays.arrays(st.sampled_from(["u1", "u2", "i4"]), st.tuples(st.integers(1, 4), st.integers(1, 4)))


def prompts_of(object_ids):
    crops = arrays.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 4))).filter(np.any)
    return (
        st.builds(PointPrompt, object_ids, numbers, st.floats(0, 99), st.floats(0, 99), positive=st.booleans())
        | st.builds(
            lambda i, f, y, x: BoxPrompt(i, f, y[0], x[0], y[1], x[1]), object_ids, numbers, ascending, ascending
        )
        | st.builds(MaskPrompt, object_ids, numbers, crops)
    )


prompt_sets = st.lists(prompts_of(ids), unique_by=lambda prompt: prompt.target, max_size=5).map(PromptSet)


@st.composite
def takes(draw):
    object_id = draw(ids)
    prompts = st.lists(prompts_of(st.just(object_id)), min_size=1, max_size=3)
    return Take(object_id, tuple(draw(prompts)), draw(models), draw(frames))


several_takes = st.lists(takes(), max_size=3).map(tuple)
object_ids = st.lists(ids, max_size=3).map(tuple)
steps = (
    st.builds(Commit, several_takes, policies, object_ids)
    | st.builds(Renumbering, ids, numbers, st.none() | frames)
    | st.builds(HandEdit, st.dictionaries(st.integers(0, 10**9), planes.map(PackedPlane.pack), min_size=1, max_size=3))
)
images = st.builds(
    ImageUsed,
    name=text,
    shape=st.just((5, 8, 12)),
    dtype=st.sampled_from(["uint16", "float32"]),
    axes=st.none() | st.just("TYX"),
    channels=st.lists(numbers, max_size=3).map(tuple),
    is_rgb=st.booleans(),
    order=st.none() | st.just((2, 0, 1)),
    level=st.integers(0, 3),
)
sessions = st.builds(
    SessionFile,
    image=images,
    contrast_limits=st.none() | limits,
    steps=st.lists(steps, max_size=4).map(tuple),
    takes=several_takes,
    prompts=prompt_sets,
    approved=st.lists(st.builds(Target, ids, numbers), max_size=3).map(tuple),
    replaced=prompt_sets,
    names=st.dictionaries(st.integers(1, 10**9), st.text(), max_size=3),
    hidden=object_ids,
    locked=object_ids,
    model=text,
    direction=st.sampled_from(["both", "forward", "backward"]),
    start=st.none() | numbers,
    stop=st.none() | numbers,
    policy=policies,
    threshold=st.floats(0, 1),
    least_confidence=st.floats(0, 1),
)
