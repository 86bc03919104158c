import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam2.errors import FrameError, ImageFileError, OptionError
from napari_sam2.files.images.reading import read_image, read_label_image

STACK = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)
COLOUR = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)


def saved(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("array", "axes"),
    [
        (STACK[0], "YX"),
        (STACK, "TYX"),
        (STACK[:1], "TYX"),
        (COLOUR, "YXS"),
        (np.stack([COLOUR, COLOUR]), "TYXS"),
        (np.asfortranarray(STACK), "TYX"),
        (STACK[None], "TYX"),
        (STACK[:, None], "TYX"),
        (STACK[..., None], "TYX"),
        (STACK[0][..., None], "YX"),
        (STACK > 7, "TYX"),
        (STACK.astype(">f4"), "TYX"),
    ],
)
def test_npy_files_are_read_lazily_with_guessed_axes(tmp_path, array, axes):
    image = read_image(saved(tmp_path / "image.npy", array))
    assert image.axes == axes
    assert image.array.shape == tuple(n for n in array.shape if n > 1 or array.shape == image.array.shape)
    assert image.has_frames is (axes[0] == "T")
    np.testing.assert_array_equal(np.asarray(image.array), array.reshape(image.array.shape))
    if image.has_frames:
        last = len(np.asarray(image.array)) - 1
        np.testing.assert_array_equal(
            image.array[(last, *[slice(None)] * (len(axes) - 1))], np.asarray(image.array)[last]
        )


@pytest.mark.parametrize(
    ("axes", "expected", "shape"),
    [
        ("TYX", "TYX", (4, 5, 6)),
        ("zyx", "ZYX", (4, 5, 6)),
        ("YXT", "TYX", (6, 4, 5)),
        ("TXY", "TYX", (4, 6, 5)),
        ("YTX", "TYX", (5, 4, 6)),
    ],
)
def test_axes_named_by_the_user_are_brought_into_order(tmp_path, axes, expected, shape):
    image = read_image(saved(tmp_path / "image.npy", STACK), axes=axes)
    assert (image.axes, image.array.shape) == (expected, shape)
    moved = STACK.transpose([axes.upper().index(letter) for letter in expected])
    np.testing.assert_array_equal(np.asarray(image.array), moved)
    np.testing.assert_array_equal(image.array[2, :, :], moved[2])
    np.testing.assert_array_equal(image.array[1], moved[1])


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("TY", "with Y and X; for example TYX"),
        ("", "with Y and X"),
        ("TTYX", "at most once"),
        ("QYX", "Use each of T, Z, C, Y, X, S"),
        ("YX", r"name 2 axes, and .* has the shape \(4, 5, 6\)"),
        ("TZYX", "name 4 axes"),
    ],
)
def test_axes_that_do_not_fit_are_refused(tmp_path, axes, message):
    with pytest.raises(OptionError, match=message):
        read_image(saved(tmp_path / "image.npy", STACK), axes=axes)


@pytest.mark.parametrize(
    ("shape", "frames", "channels"),
    [((3, 5, 6), "TYX", "CYX"), ((1, 3, 5, 6), "ZTYX", "TCYX"), ((3, 1, 1, 5, 6), "TZCYX", "CTZYX")],
)
def test_three_planes_of_unknown_meaning_are_refused_with_axes_that_settle_it(tmp_path, shape, frames, channels):
    path = saved(tmp_path / "image.npy", np.arange(90, dtype=np.uint16).reshape(shape))
    with pytest.raises(OptionError, match=f"--axes {frames} for time points .*--axes {channels} for channels"):
        read_image(path)
    assert read_image(path, axes=frames).axes == "TYX"
    assert read_image(path, axes=channels).axes.endswith("CYX")
    assert read_image(path, unknown_axis="T").axes == "TYX"
    assert read_image(path, unknown_axis="C", channel=2).label_shape[-2:] == (5, 6)
    assert read_label_image(path).axes == "TYX"


@pytest.mark.parametrize("axes", ["TZCYX", "ZTCYX", "CTZYX", "TZYXS", "TZYXC"])
def test_axes_of_length_one_are_taken_out_wherever_they_are(tmp_path, axes):
    shape = tuple({"T": 4, "Y": 5, "X": 6}.get(letter, 1) for letter in axes)
    tifffile.imwrite(tmp_path / "a.tif", STACK.reshape(shape), photometric="minisblack", metadata={"axes": axes})
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.label_axes) == ("TYX", "TYX")
    np.testing.assert_array_equal(np.asarray(image.array), STACK)


def test_labels_of_three_frames_that_tifffile_took_for_colours_are_frames(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[:3])
    labels = read_label_image(tmp_path / "a.tif")
    assert labels.axes == "TYX"
    np.testing.assert_array_equal(np.asarray(labels.array), STACK[:3])


@pytest.mark.parametrize("shape", [(4, 5, 6), (5, 6, 3), (3, 5, 6, 3), (1, 5, 6)])
def test_planes_that_can_only_be_frames_are_taken_for_them(tmp_path, shape, caplog):
    assert "C" not in read_image(saved(tmp_path / "image.npy", np.zeros(shape, np.uint16))).axes
    assert caplog.text == ""


def test_two_planes_of_unknown_meaning_are_frames_with_a_warning(tmp_path, caplog):
    assert read_image(saved(tmp_path / "image.npy", STACK[:2])).axes == "TYX"
    assert "image.npy does not say what its 2 planes are: they are taken for frames" in caplog.text


def test_a_channel_is_chosen_out_of_channels_or_colours(tmp_path):
    path = saved(tmp_path / "image.npy", STACK)
    image = read_image(path, axes="CYX", channel=3)
    assert (image.axes, image.channel_axis) == ("YX", None)
    np.testing.assert_array_equal(np.asarray(image.array), STACK[3])
    red = read_image(saved(tmp_path / "colour.npy", COLOUR), channel=0)
    np.testing.assert_array_equal(np.asarray(red.array), COLOUR[..., 0])
    assert read_image(path, channel=0).axes == "TYX"


def test_up_to_three_channels_are_kept_behind_the_frames(tmp_path):
    image = read_image(saved(tmp_path / "image.npy", np.stack([STACK, STACK + 1], axis=-1)), axes="TYXC")
    assert (image.axes, image.channel_axis, image.array.shape) == ("TCYX", 1, (4, 2, 5, 6))
    assert (image.label_axes, image.label_shape) == ("TYX", (4, 5, 6))
    np.testing.assert_array_equal(image.array[3, :, :, :], np.stack([STACK[3], STACK[3] + 1]))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"axes": "CYX"}, OptionError, "has 4 channels, and a frame shows up to three. Choose one of 0 to 3"),
        ({"axes": "CYX", "channel": 4}, OptionError, "There is no channel 4 in .*: it has 4, numbered from 0"),
        ({"axes": "CYX", "channel": -1}, OptionError, "There is no channel -1"),
        ({"channel": 1}, OptionError, "it has 1, numbered from 0"),
    ],
)
def test_a_channel_that_does_not_exist_is_refused_with_their_number(tmp_path, options, kind, message):
    with pytest.raises(kind, match=message):
        read_image(saved(tmp_path / "image.npy", STACK), **options)


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((2, 3, 5, 6), "TZYX", "more than one axis of frames: 2 along T and 3 along Z"),
        ((2, 3, 5, 6), None, "more than one axis of frames"),
        ((2, 2, 3, 5, 6), None, "say with axes which one holds channels"),
        ((7,), None, "which is no image"),
        ((0, 5, 6), None, "which is no image"),
    ],
)
def test_an_array_that_is_no_sequence_of_frames_is_refused(tmp_path, shape, axes, message):
    path = tmp_path / "image.npy"
    np.save(path, np.zeros(shape))
    with pytest.raises((FrameError, ImageFileError), match=message):
        read_image(path, axes=axes)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_folder_is_a_stack_in_natural_order(tmp_path, suffix):
    for number in (10, 9, 100, 1):
        frame = np.full((5, 6), number, np.uint8)
        Image.fromarray(frame).save(tmp_path / f"frame_{number}.{suffix}")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / f".hidden.{suffix}").write_bytes(b"")
    image = read_image(tmp_path)
    assert (image.axes, image.array.shape, image.array.dtype) == ("TYX", (4, 5, 6), np.uint8)
    assert [int(image.array[frame, :, :].mean()) for frame in range(4)] == [1, 9, 10, 100]


def test_a_folder_of_colour_pictures_has_colours(tmp_path):
    for number in range(2):
        Image.fromarray(COLOUR).save(tmp_path / f"{number}.png")
    image = read_image(tmp_path, axes="ZYXS")
    assert image.axes == "ZYXS"
    np.testing.assert_array_equal(image.array[1, :, :, :], COLOUR)


@pytest.mark.parametrize("odd", [np.zeros((5, 7), np.uint8), np.zeros((5, 6), np.uint16), COLOUR])
def test_a_folder_of_unlike_frames_is_refused_naming_two(tmp_path, odd):
    for number in range(2):
        Image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / f"{number}.png")
    Image.fromarray(odd).save(tmp_path / "2.png")
    with pytest.raises(ImageFileError, match=r"2\.png .* and .*0\.png .* differ"):
        read_image(tmp_path)


def test_a_folder_without_frames_or_with_a_stack_in_it_is_refused(tmp_path):
    with pytest.raises(ImageFileError, match="holds no TIFF, PNG or JPEG files"):
        read_image(tmp_path)
    tifffile.imwrite(tmp_path / "stack.tif", STACK, photometric="minisblack")
    with pytest.raises(ImageFileError, match=r"holds 4 pages\. Open it as a file"):
        read_image(tmp_path)


def test_a_frame_that_vanishes_or_changes_is_named(tmp_path):
    for number in range(3):
        Image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / f"{number}.png")
    image = read_image(tmp_path)
    (tmp_path / "1.png").unlink()
    Image.fromarray(np.zeros((9, 6), np.uint8)).save(tmp_path / "2.png")
    with pytest.raises(ImageFileError, match=r"There is no file .*1\.png"):
        image.array[1, :, :]
    with pytest.raises(ImageFileError, match=r"2\.png has changed"):
        image.array[2, :, :]


@pytest.mark.parametrize(
    ("mode", "axes", "dtype"),
    [
        ("L", "YX", np.uint8),
        ("LA", "YX", np.uint8),
        ("1", "YX", np.bool_),
        ("I;16", "YX", np.uint16),
        ("P", "YXS", np.uint8),
        ("RGB", "YXS", np.uint8),
        ("RGBA", "YXS", np.uint8),
    ],
)
def test_pictures_are_read_in_grey_or_colour(tmp_path, mode, axes, dtype):
    Image.new(mode, (6, 5)).save(tmp_path / "picture.png")
    image = read_image(tmp_path / "picture.png")
    assert (image.axes, image.array.dtype, image.array.shape[:2]) == (axes, dtype, (5, 6))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stack.zarr", "zarr comes later"),
        ("stack.nd2", "Bio-Formats.* and save it as OME-TIFF"),
        ("stack.CZI", "OME-TIFF"),
        ("stack.lif", "OME-TIFF"),
        ("movie.mp4", "Export its frames as a folder of PNG files"),
        ("movie.avi", "Export its frames"),
        ("arrays.npz", "as .npy"),
        ("notes.txt", "files of this kind are not read. Use one of: .tif"),
        ("missing.tif", "There is no file"),
        ("empty.tif", "is empty"),
        ("empty.npy", "is empty"),
        ("noise.tif", "cannot be read"),
        ("noise.npy", "cannot be read"),
        ("noise.png", "cannot be read"),
        ("noise.jpg", "cannot be read"),
        ("objects.npy", "cannot be read"),
        ("cut.npy", "cannot be read"),
        ("cut.png", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_name_and_the_cure(tmp_path, name, message):
    path = tmp_path / name
    if name.startswith("empty") or name.startswith(("notes", "stack", "movie", "arrays")):
        path.write_bytes(b"")
    elif name.startswith("noise"):
        path.write_bytes(b"this is no image at all, and longer than a header of 128 bytes" * 9)
    elif name == "objects.npy":
        np.save(path, np.array([{}]), allow_pickle=True)
    elif name == "cut.npy":
        path.write_bytes(saved(tmp_path / "whole.npy", STACK).read_bytes()[:-1])
    elif name == "cut.png":
        Image.fromarray(COLOUR).save(tmp_path / "whole.png")
        path.write_bytes((tmp_path / "whole.png").read_bytes()[:-40])
    with pytest.raises(ImageFileError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_a_zarr_folder_is_refused_as_zarr(tmp_path):
    (tmp_path / "stack.zarr").mkdir()
    with pytest.raises(ImageFileError, match="zarr comes later"):
        read_image(tmp_path / "stack.zarr")
