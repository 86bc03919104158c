import json
from copy import deepcopy

import pytest

from napari_sam2.errors import SessionError
from napari_sam2.sessions import document_json
from napari_sam2.sessions.document import to_json
from napari_sam2.sessions.document_json import from_json
from tests.napari_sam2.sessions.test_document import FOLDER, PLANE, example, read


def written():
    return json.loads(to_json(example(), FOLDER))


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
    (["image", "shape"], [10**6 + 1, 3, 3], "image: .* up to 1,000,000 frames"),
    (["image", "shape"], [5, 10**5, 10**5], "image: .* of 4,294,967,296 pixels"),
    (["image", "path"], "a\0b", 'image: "path" is .* no file can be called'),
    (["image", "path"], "\ud800", 'image: "path" is .* no file can be called'),
    (["image", "is_rgb"], 1, 'image: "is_rgb" is 1'),
    (["image", "path"], 3, 'image: "path" is 3'),
    (["image", "channel"], 0, 'image: "channel" is not a field'),
    (["contrast_limits"], [3, 1], r"contrast_limits are \[3, 1\]"),
    (["model"], "", "\"model\" is ''. Use text"),
    (["direction"], "up", "\"direction\" is 'up'. Use one of: forward, backward, both"),
    (["start"], 5, '"start" is 5. Use a whole number from 0 to 4'),
    (["start"], -1, '"start" is -1'),
    (["stop"], True, '"stop" is True'),
    (["policy"], ["keep"], '"policy" is .* Use one of: keep, overwrite, by score'),
    (["threshold"], 1.5, '"threshold" is 1.5'),
    (["threshold"], 10**400, '"threshold" is'),
    (["least_confidence"], float("nan"), '"least_confidence" is nan'),
    (["drops_specks"], 1, '"drops_specks" is 1. Use true or false'),
    (["steps", 0, "drops_specks"], "yes", 'steps 0: "drops_specks" is .yes'),
    (["exported"], "/data/out", "exported: this is"),
    (["exported"], {"folder": "/data/out"}, 'exported: "when" is missing'),
    (["exported"], {"folder": "", "when": "2026-11-27T18:10:00+00:00"}, 'exported: "folder" is'),
    (["exported"], {"folder": "out", "when": "2026-11-27T18:10:00"}, 'exported: "when" is .* with its zone'),
    (["exported"], {"folder": "out", "when": "yesterday"}, 'exported: "when" is .yesterday'),
    (["names"], ["nucleus"], '"names" is'),
    (["names"], {"one": "nucleus"}, '"names" has the key .one'),
    (["names"], {"3": 7}, "names 3: this is 7"),
    (["names"], {"4294967296": "a"}, '"names" has the key'),
    (["names"], {"0": "a"}, '"names" has the key'),
    (["hidden"], [2**32], '"hidden" has the id 4294967296'),
    (["hidden"], [0], '"hidden" is'),
    (["locked"], 3, '"locked" is 3'),
    (["approved"], [[1]], r"approved 0: this is \[1\]. Write \[object id, frame\]"),
    (["approved"], [[1, 5]], 'approved 0: "frame" is 5'),
    (["approved"], [[-1, 0]], 'approved 0: "object id" is -1'),
    (["models", 0, "sha256"], "aaa", "models 0: \"sha256\" is 'aaa'. Use 64"),
    (["models", 0, "image_size"], 0, 'models 0: "image_size" is 0'),
    (["models", 0, "weights"], "x", 'models 0: "weights" is not a field'),
    (["models", 0, "drops_islands"], 1, 'models 0: "drops_islands" is 1. Use true or false'),
    (["models", 0, "framing"], "oval", "models 0: \"framing\" is 'oval'. Use one of: square, whole, native"),
    (["models", 0, "contrast_limits"], "auto", "models 0: contrast_limits are"),
    (["prompts"], {}, '"prompts" is {}. Write a list'),
    (["prompts", 1, "y"], None, "entry 1 of the prompts: Point coordinate y is None"),
    (["prompts", 1, "positiv"], False, 'entry 1 of the prompts: "positiv" is not a field'),
    (["prompts", 1, "candidate"], 7, "entry 1 of the prompts: candidate is 7. Use 0, 1 or 2"),
    (["prompts", 1, "frame"], 5, "entry 1 of the prompts: .* on frame 5"),
    (["prompts", 1, "object_id"], 2**32, "entry 1 of the prompts: .*4294967296"),
    (["prompts", 0, "shape"], [3, 4], r"entry 0 of the prompts: the mask has shape \(3, 4\) and the image \(3, 3\)"),
    (["said"], [2], 'said: "said" has the number 2, and there are 2 prompts'),
    (["said"], [0, 0], "said: .*mask"),
    (["takes", 0, "prompts"], [1], "takes 0: Masks of object 2 cannot come from prompts of object 1"),
    (["takes", 0, "prompts"], [], "takes 0: Masks of object 2 have no prompts"),
    (["takes", 0, "model"], 1, 'takes 0: "model" is 1, and there are 1 models'),
    (["takes", 0, "frames"], 3, 'takes 0: "frames" is 3. Write ascending ranges'),
    (["takes", 0, "frames"], [3], 'takes 0: "frames" is'),
    (["takes", 0, "frames"], [[3, 2]], 'takes 0: "frames" is'),
    (["takes", 0, "frames"], [[3, 4], [4, 5]], 'takes 0: "frames" is'),
    (["takes", 0, "frames"], [[0, 10**12]], 'takes 0: "frames" go to 1000000000000, and the image has 5 frames'),
    (["takes", 0, "frames"], [], "takes 0: Masks of object 2 have no frames"),
    (["takes", 0], [], r"takes 0: this is \[\]"),
    (["steps", 0, "kind"], "comit", 'steps 0: "kind" is \'comit\'. Use "commit"'),
    (["steps", 0], 5, 'steps 0: "kind" is None'),
    (["steps", 0, "policy"], "mine", 'steps 0: "policy" is'),
    (["steps", 0, "lockd"], [1], 'steps 0: "lockd" is not a field'),
    (["steps", 0, "takes", 0, "object_id"], 0, 'steps 0: takes 0: "object_id" is 0'),
    (["steps", 1, "new"], -1, 'steps 1: "new" is -1'),
    (["steps", 2, "planes"], {"-4": {}}, 'steps 2: "planes" has the key'),
    (["steps", 2, "planes", "4", "dtype"], "float32", "steps 2: planes 4: \"dtype\" is 'float32'"),
    (["steps", 2, "planes", "4", "shape"], [9], 'steps 2: planes 4: "shape" is'),
    (["steps", 2, "planes"], {"5": {}}, 'steps 2: "planes" has the key'),
    (["steps", 2, "planes", "4", "shape"], [3, 4], "steps 2: planes 4: .* and the frames of the image have 3 x 3"),
    (["steps", 1, "old"], 2**32, 'steps 1: "old" is 4294967296'),
    (["steps", 1, "frames"], [[0, 5]], 'steps 1: "frames" go to 5'),
    (["steps", 2, "planes", "4", "sha256"], "../../secret", 'steps 2: planes 4: "sha256" is'),
]


NAMES = [f"{place} {'left out' if value is LEFT_OUT else repr(value)}"[:60] for place, value, _ in REFUSED]


@pytest.mark.parametrize(("place", "value", "message"), REFUSED, ids=NAMES)
def test_a_wrong_document_is_refused_and_the_place_named(place, value, message):
    document = written()
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
    document = written()
    with pytest.raises(
        SessionError, match=f"steps 2: planes 4: the data of the frame with checksum {PLANE.digest} is damaged"
    ):
        from_json(document, FOLDER, lambda digest, most: b"something else")


def test_a_plane_is_read_once_and_only_as_long_as_its_frame_can_make_it():
    document = written()
    (entry,) = document["steps"][2]["planes"].values()
    document["steps"] = [{"kind": "hand edit", "planes": {str(frame): entry for frame in range(5)}}] * 3
    asked = []

    def read_plane(digest, most):
        asked.append(most)
        return PLANE.data

    from_json(document, FOLDER, read_plane)
    assert asked == [3 * 3 * 2 + 1000]


def test_frames_of_all_ranges_together_have_a_limit(monkeypatch):
    document = written()
    document["takes"] = [{"object_id": 2, "model": 0, "prompts": [0], "frames": [[0, 4]]}] * 3
    assert len(read(document).sources) == 3
    monkeypatch.setattr(document_json, "MOST_FRAMES", 18)
    with pytest.raises(SessionError, match="takes 2: the session names more than 18 frames in all"):
        read(document)
