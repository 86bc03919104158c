import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from hypothesis import given, settings

from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.prompts import MaskPrompt, PointPrompt, PromptSet, Target
from napari_sam2.sessions.document import Exported, Session, planes_of, to_json
from napari_sam2.sessions.document_json import from_json
from napari_sam2.sessions.images import ImageUsed
from napari_sam2.sessions.steps import Commit, HandEdit, MaskSource, ModelUsed, PackedPlane, Renumbering
from sam2_model.config import Framing
from tests.napari_sam2.drawn_sessions import sessions

FOLDER = Path("/data/work")
MODEL = ModelUsed("nano", "a" * 64, 256, contrast_limits=(100.0, 2000.0))
CLICK = PointPrompt(1, 0, 2, 1)
PAINTED = MaskPrompt(2, 3, np.eye(3, dtype=bool))
PLANE = PackedPlane.pack(np.eye(3, dtype=np.uint16))


def example():
    return Session(
        image=ImageUsed(name="cells", shape=(5, 3, 3), dtype="uint16", path=FOLDER / "raw" / "cells.tif"),
        contrast_limits=(100.0, 2000.0),
        steps=(
            Commit((MaskSource(1, (CLICK,), MODEL, (0, 1, 2, 4)),), CommitPolicy.OVERWRITE, (7,)),
            Renumbering(1, 3),
            HandEdit({4: PLANE}),
        ),
        sources=(MaskSource(2, (PAINTED,), MODEL, (3,)),),
        prompts=PromptSet([PAINTED]),
        approved=(Target(2, 3),),
        names={3: "nucleus"},
    )


def read(document, folder=FOLDER):
    planes = {PLANE.digest: PLANE.data}
    return from_json(document, folder, lambda digest, most: planes[digest])


@settings(deadline=None)
@given(sessions)
def test_what_is_written_is_read_back_exactly(session):
    planes = {digest: plane.data for digest, plane in planes_of(session).items()}
    again = from_json(json.loads(to_json(session, FOLDER)), FOLDER, lambda digest, most: planes[digest])
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


def test_framings_islands_and_candidates_are_mentioned_where_there_is_something_to_say():
    model, click = replace(MODEL, framing=Framing.NATIVE, drops_islands=True), replace(CLICK, candidate=2)
    document = json.loads(to_json(replace(example(), sources=(MaskSource(1, (click,), model, (0,)),)), FOLDER))
    before, now = document["models"][1], document["models"][0]
    assert (now["framing"], now["drops_islands"]) == ("native", True)
    assert not {"framing", "drops_islands"} & before.keys()  # as in sessions of before, which say nothing
    assert [prompt.get("candidate") for prompt in document["prompts"]] == [2, None, None]
    assert read(document).sources[0].model == model


def test_what_old_documents_do_not_say_is_as_it_was_before_there_was_a_choice():
    document = json.loads(to_json(example(), FOLDER))
    assert "drops_specks" not in document
    assert "drops_specks" not in document["steps"][0]
    assert "exported" not in document
    session = read(document)
    assert not session.drops_specks
    assert not session.steps[0].drops_specks
    assert session.exported is None


def test_an_export_is_written_with_its_time_zone():
    exported = Exported("/data/out", datetime(2026, 11, 27, 18, 10, tzinfo=UTC))
    document = json.loads(to_json(replace(example(), exported=exported), FOLDER))
    assert document["exported"] == {"folder": "/data/out", "when": "2026-11-27T18:10:00+00:00"}
    assert read(document).exported == exported
