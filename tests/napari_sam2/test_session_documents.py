import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from napari_sam2.errors import SessionError
from napari_sam2.merging import CommitPolicy
from napari_sam2.prompts import MaskPrompt, PointPrompt, PromptSet, Target
from napari_sam2.session_documents import ImageUsed, SessionFile, from_json, planes_of, to_json
from napari_sam2.work_log import Commit, HandEdit, ModelUsed, PackedPlane, Renumbering, Take
from tests.napari_sam2.sessions import sessions

FOLDER = Path("/data/work")
MODEL = ModelUsed("nano", "a" * 64, 256, contrast_limits=(100.0, 2000.0))
CLICK = PointPrompt(1, 0, 2, 1)
PAINTED = MaskPrompt(2, 3, np.eye(3, dtype=bool))
PLANE = PackedPlane.pack(np.eye(3, dtype=np.uint16))


def example():
    return SessionFile(
        image=ImageUsed(name="cells", shape=(5, 3, 3), dtype="uint16", path=FOLDER / "raw" / "cells.tif"),
        contrast_limits=(100.0, 2000.0),
        steps=(
            Commit((Take(1, (CLICK,), MODEL, (0, 1, 2, 4)),), CommitPolicy.OVERWRITE, (7,)),
            Renumbering(1, 3),
            HandEdit({4: PLANE}),
        ),
        takes=(Take(2, (PAINTED,), MODEL, (3,)),),
        prompts=PromptSet([PAINTED]),
        approved=(Target(2, 3),),
        names={3: "nucleus"},
    )


def read(document, folder=FOLDER):
    planes = {PLANE.digest: PLANE.data}
    return from_json(document, folder, planes.__getitem__)


@settings(deadline=None)
@given(sessions)
def test_what_is_written_is_read_back_exactly(session):
    planes = {digest: plane.data for digest, plane in planes_of(session).items()}
    again = from_json(json.loads(to_json(session, FOLDER)), FOLDER, planes.__getitem__)
    assert again == session
    assert again.prompts.prompts == session.prompts.prompts


def test_the_document_is_readable_and_says_everything_once():
    text = to_json(example(), FOLDER)
    document = json.loads(text)
    assert document["image"]["path"] == "raw/cells.tif"
    assert document["models"] == [
        {"name": "nano", "sha256": "a" * 64, "image_size": 256, "contrast_limits": [100.0, 2000.0]}
    ]
    assert [prompt["kind"] for prompt in document["prompts"]] == ["mask", "point"]
    assert document["said"] == [0]
    assert document["takes"] == [{"object_id": 2, "model": 0, "prompts": [0], "frames": [[3, 3]]}]
    assert document["steps"] == [
        {
            "kind": "commit",
            "policy": "overwrite",
            "locked": [7],
            "takes": [{"object_id": 1, "model": 0, "prompts": [1], "frames": [[0, 2], [4, 4]]}],
        },
        {"kind": "renumbering", "old": 1, "new": 3},
        {"kind": "hand edit", "planes": {"4": {"shape": [3, 3], "dtype": "uint16", "sha256": PLANE.digest}}},
    ]
    assert max(map(len, text.splitlines())) < 200


def test_an_image_beside_the_session_is_found_again_when_both_are_moved():
    document = json.loads(to_json(example(), FOLDER))
    assert read(document, Path("/elsewhere")).image.path == Path("/elsewhere/raw/cells.tif")


def test_an_image_elsewhere_is_found_where_it_is():
    document = json.loads(to_json(example(), Path("/home/me")))
    assert read(document, Path("/elsewhere")).image.path == FOLDER / "raw" / "cells.tif"


def test_the_frames_of_an_image_are_counted_as_it_was_shown():
    def frame_shape(*shape, order=None):
        return ImageUsed(name="a", shape=shape, dtype="uint8", order=order).frame_shape

    assert frame_shape(5, 8, 12) == (5, 8, 12)
    assert frame_shape(5, 8, 12, order=(2, 0, 1)) == (12, 5, 8)
    assert frame_shape(8, 12) == (1, 8, 12)
    assert frame_shape(8, 12, order=(1, 0)) == (1, 12, 8)


LEFT_OUT = object()

REFUSED = [
    (["format"], "napari-sam2 prompts", "this is not a session"),
    (["version"], 2, "has version 2, and this program reads up to 1. Update"),
    (["version"], "1", "\"version\" is '1'"),
    (["steps"], LEFT_OUT, 'session: "steps" is missing'),
    (["polcy"], "keep", '"polcy" is not a field here'),
    (["image"], "cells.tif", "image: this is 'cells.tif'"),
    (["image", "shape"], [5], r'image: "shape" is \(5,\)'),
    (["image", "shape"], [5, 3, "3"], 'image: "shape" is .* Write a list of whole numbers from 1'),
    (["image", "order"], [0, 1, 1], 'image: .* "order" .* once'),
    (["image", "is_rgb"], 1, 'image: "is_rgb" is 1'),
    (["image", "path"], 3, 'image: "path" is 3'),
    (["image", "channel"], 0, 'image: "channel" is not a field'),
    (["contrast_limits"], [3, 1], r"contrast_limits are \[3, 1\]"),
    (["model"], "", "\"model\" is ''. Use text"),
    (["direction"], "up", "\"direction\" is 'up'. Use one of: forward, backward, both"),
    (["start"], -1, '"start" is -1'),
    (["stop"], True, '"stop" is True'),
    (["policy"], ["keep"], '"policy" is .* Use one of: keep, overwrite, by score'),
    (["threshold"], 1.5, '"threshold" is 1.5'),
    (["least_confidence"], float("nan"), '"least_confidence" is nan'),
    (["names"], ["nucleus"], '"names" is'),
    (["names"], {"one": "nucleus"}, '"names" is .* with object ids before the colons'),
    (["names"], {"3": 7}, "names 3: this is 7"),
    (["hidden"], [0], '"hidden" is'),
    (["locked"], 3, '"locked" is 3'),
    (["approved"], [[1]], r"approved 0: this is \[1\]. Write \[object id, frame\]"),
    (["models", 0, "sha256"], "aaa", "models 0: \"sha256\" is 'aaa'. Use 64"),
    (["models", 0, "image_size"], 0, 'models 0: "image_size" is 0'),
    (["models", 0, "weights"], "x", 'models 0: "weights" is not a field'),
    (["models", 0, "contrast_limits"], "auto", "models 0: contrast_limits are"),
    (["prompts"], {}, '"prompts" is {}. Write a list'),
    (["prompts", 1, "y"], None, "prompts 1: Point coordinate y is None"),
    (["prompts", 1, "positiv"], False, 'prompts 1: "positiv" is not a field'),
    (["said"], [2], 'said: "said" has the number 2, and there are 2 prompts'),
    (["said"], [0, 0], "said: .*mask"),
    (["takes", 0, "prompts"], [1], "takes 0: Masks of object 2 cannot come from prompts of object 1"),
    (["takes", 0, "prompts"], [], "takes 0: Masks of object 2 have no prompts"),
    (["takes", 0, "model"], 1, 'takes 0: "model" is 1, and there are 1 models'),
    (["takes", 0, "frames"], 3, 'takes 0: "frames" is 3. Write ascending ranges'),
    (["takes", 0, "frames"], [3], 'takes 0: "frames" is'),
    (["takes", 0, "frames"], [[3, 2]], 'takes 0: "frames" is'),
    (["takes", 0, "frames"], [[3, 4], [4, 5]], 'takes 0: "frames" is'),
    (["takes", 0, "frames"], [[0, 10**12]], 'takes 0: "frames" is'),
    (["takes", 0, "frames"], [], "takes 0: Masks of object 2 have no frames"),
    (["takes", 0], [], r"takes 0: this is \[\]"),
    (["steps", 0, "kind"], "comit", 'steps 0: "kind" is \'comit\'. Use "commit"'),
    (["steps", 0], 5, 'steps 0: "kind" is None'),
    (["steps", 0, "policy"], "mine", 'steps 0: "policy" is'),
    (["steps", 0, "lockd"], [1], 'steps 0: "lockd" is not a field'),
    (["steps", 0, "takes", 0, "object_id"], 0, 'steps 0: takes 0: "object_id" is 0'),
    (["steps", 1, "new"], -1, 'steps 1: "new" is -1'),
    (["steps", 2, "planes"], {"-4": {}}, 'steps 2: "planes" is'),
    (["steps", 2, "planes", "4", "dtype"], "float32", "steps 2: planes 4: \"dtype\" is 'float32'"),
    (["steps", 2, "planes", "4", "shape"], [9], 'steps 2: planes 4: "shape" is'),
    (["steps", 2, "planes", "4", "sha256"], "../../secret", 'steps 2: planes 4: "sha256" is'),
]


@pytest.mark.parametrize(("place", "value", "message"), REFUSED, ids=[f"{p} {v!r}"[:60] for p, v, _ in REFUSED])
def test_a_wrong_document_is_refused_and_the_place_named(place, value, message):
    document = json.loads(to_json(example(), FOLDER))
    assert read(deepcopy(document)) == example()
    entry = document
    for name in place[:-1]:
        entry = entry[name]
    if value is LEFT_OUT:
        del entry[place[-1]]
    else:
        entry[place[-1]] = value
    with pytest.raises(SessionError, match=message):
        read(document)


@pytest.mark.parametrize("document", [None, [], "session", {}, {"format": "napari-sam2 session"}])
def test_what_is_no_session_is_refused(document):
    with pytest.raises(SessionError, match=r"this is not a session|version"):
        read(document)


def test_a_plane_that_was_exchanged_is_refused():
    document = json.loads(to_json(example(), FOLDER))
    with pytest.raises(
        SessionError, match=f"steps 2: planes 4: the data of the frame with checksum {PLANE.digest} is damaged"
    ):
        from_json(document, FOLDER, lambda digest: b"something else")
