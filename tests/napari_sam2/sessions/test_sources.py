"""The image of a session, found again and seen as a model saw it."""

import numpy as np
import pytest
import tifffile

from napari_sam2.errors import ImageFileError, OptionError, SessionError
from napari_sam2.frames import FrameStack
from napari_sam2.prompts import PointPrompt
from napari_sam2.sessions.document import Session
from napari_sam2.sessions.images import ImageUsed
from napari_sam2.sessions.sources import load_model_used, open_image
from napari_sam2.sessions.steps import MaskSource, ModelUsed
from sam2_model.config import Framing

LIMITS = (0.0, 255.0)


def used(**view):
    return ModelUsed("fake", "f" * 64, 256, **view)


def session(path, shape, *models, limits=LIMITS, **image):
    sources = tuple(MaskSource(1, (PointPrompt(1, 0, 0, 0),), model, (0,)) for model in models or (used(),))
    found = ImageUsed(**{"name": "stack", "shape": shape, "dtype": "uint8", "path": path} | image)
    return Session(image=found, sources=sources, contrast_limits=limits)


def seen(work, model=None, **options):
    """The frames as a model sees them."""
    frames = open_image(work, work.image.path.parent / "work.sam2session", **options).frames(model or used())
    return np.stack(list(frames))


@pytest.fixture
def stack(tmp_path):
    """A path to write to, and numbers that are all different, (2, 3, 4, 5): time, channels, rows, columns."""
    return tmp_path / "stack.tif", np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)


def test_one_channel_is_seen_as_its_layer_was(stack):
    path, data = stack
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TCYX"})
    work = session(path, (2, 4, 5), channels=(1,))
    np.testing.assert_array_equal(seen(work)[..., 0], data[:, 1])


def test_each_model_sees_its_own_channels_and_contrast(stack):
    path, data = stack
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TCYX"})
    two = used(channels=(2, 0), contrast_limits=(LIMITS, (0.0, 510.0)))
    work = session(path, (2, 4, 5), used(), two, channels=(1,))
    np.testing.assert_array_equal(seen(work)[..., 0], data[:, 1])
    found = seen(work, two)
    np.testing.assert_array_equal(found[..., 0], data[:, 2])
    np.testing.assert_array_equal(found[..., 1], np.rint(data[:, 0] / 2).astype(np.uint8))
    assert not found[..., 2].any()


def test_two_of_many_channels_are_seen(tmp_path):
    data = np.arange(2 * 5 * 4 * 5, dtype=np.uint8).reshape(2, 5, 4, 5)
    np.save(tmp_path / "five.npy", data)
    work = session(tmp_path / "five.npy", (2, 4, 5), channels=(4, 3), axes="TCYX", limits=(LIMITS, LIMITS))
    np.testing.assert_array_equal(np.moveaxis(seen(work)[..., :2], -1, 1), data[:, [4, 3]])


def test_all_channels_of_a_file_are_seen_when_none_is_named(stack):
    path, data = stack
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TCYX"})
    work = session(path, (2, 4, 5), limits=(LIMITS,) * 3)
    np.testing.assert_array_equal(np.moveaxis(seen(work), -1, 1), data)


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (0, 2, 1)])
@pytest.mark.parametrize("kind", ["grey", "channels", "RGB"])
def test_an_image_is_seen_in_the_order_in_which_it_was_shown(stack, order, kind):
    path, data = stack
    match kind:
        case "grey":
            array, limits, options = data[:, 0], LIMITS, {}
            tifffile.imwrite(path, array, imagej=True, metadata={"axes": "TYX"})
            expected = np.repeat(array[..., np.newaxis], 3, -1)
        case "channels":
            limits, options = (LIMITS,) * 3, {"channels": (0, 1, 2)}
            tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TCYX"})
            expected = np.moveaxis(data, 1, -1)
        case "RGB":
            limits, options = None, {"is_rgb": True}
            expected = np.moveaxis(data, 1, -1)
            tifffile.imwrite(path, expected, photometric="rgb", metadata={"axes": "TYXS"})
    work = session(path, (2, 4, 5), limits=limits, order=order, **options)
    np.testing.assert_array_equal(seen(work), expected.transpose(*order, 3))


def test_a_single_image_is_one_frame(tmp_path):
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    tifffile.imwrite(tmp_path / "image.tif", image)
    np.testing.assert_array_equal(seen(session(tmp_path / "image.tif", (4, 5)))[0, ..., 0], image)
    turned = session(tmp_path / "image.tif", (4, 5), order=(1, 0))
    np.testing.assert_array_equal(seen(turned)[0, ..., 0], image.T)


def test_three_planes_that_a_file_does_not_name_are_what_the_session_saw_in_them(tmp_path):
    data = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    np.save(tmp_path / "three.npy", data)
    np.testing.assert_array_equal(seen(session(tmp_path / "three.npy", (3, 4, 5)))[..., 0], data)
    np.testing.assert_array_equal(seen(session(tmp_path / "three.npy", (4, 5), channels=(2,)))[0, ..., 0], data[2])


def test_frames_are_read_when_they_are_asked_for(stack):
    path, data = stack
    np.save(path.with_suffix(".npy"), data[:, 0])
    work = session(path.with_suffix(".npy"), (2, 4, 5))
    frames = open_image(work, path).frames(used())
    assert isinstance(frames, FrameStack)
    path.with_suffix(".npy").unlink()
    with pytest.raises(ImageFileError):
        frames[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"shape": (2, 5, 4)},
            r"shape \(2, 4, 5\) and the type uint8, and the session was made on 'stack' of shape \(2, 5",
        ),
        ({"dtype": "uint16"}, "type uint16"),
        ({"shape": (2, 2, 2), "level": 1}, "level 1"),
    ],
)
def test_another_image_is_refused(stack, changes, message):
    path, data = stack
    tifffile.imwrite(path, data[:, 0], imagej=True, metadata={"axes": "TYX"})
    work = session(path, **{"shape": (2, 4, 5)} | changes)
    with pytest.raises(SessionError, match=message):
        open_image(work, path)


@pytest.mark.parametrize("drops_islands", [True, False])
@pytest.mark.parametrize("framing", list(Framing))
def test_a_model_is_loaded_to_answer_as_it_did(tmp_path, framing, drops_islands):
    used = ModelUsed("nano", "0" * 64, 256, framing=framing, drops_islands=drops_islands)
    loaded = load_model_used(used, tmp_path, device="cpu")
    assert (loaded.framing, loaded.drops_islands) == (framing, drops_islands)


def test_limits_that_do_not_fit_the_channels_are_refused(stack):
    path, data = stack
    tifffile.imwrite(path, data[:, 0], imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(OptionError, match="contrast_limits"):
        seen(session(path, (2, 4, 5), limits=(LIMITS, LIMITS)))
