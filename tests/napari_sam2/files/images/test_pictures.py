import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image

from napari_sam2.errors import ImageFileError
from napari_sam2.files.images.pictures import open_picture
from napari_sam2.files.images.reading import read_image, read_label_image
from tests.napari_sam2.mutated_bytes import mutated

COLOUR = np.random.default_rng(0).integers(0, 256, (25, 30, 3), dtype=np.uint8)
NUMBERS = COLOUR[..., 0] % 5


def encoded(array, kind="PNG", *, palette=False, **options):
    picture = Image.fromarray(array)
    if palette:
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128])
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png_of(width, height, *, data=b"\0" * 99):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_a_palette_gives_colours_of_an_image_and_numbers_of_labels(tmp_path):
    (tmp_path / "00.png").write_bytes(encoded(NUMBERS, palette=True))
    assert read_image(tmp_path / "00.png").axes == "YXS"
    labels = read_label_image(tmp_path / "00.png")
    assert (labels.axes, labels.array.dtype) == ("YX", np.uint8)
    np.testing.assert_array_equal(np.asarray(labels.array), NUMBERS)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_numbers_of_few_bits_are_unpacked(tmp_path, bits):
    (tmp_path / "a.png").write_bytes(encoded(NUMBERS % 2**bits, palette=True, bits=bits))
    labels = read_label_image(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(labels.array), NUMBERS % 2**bits)


def test_a_folder_of_label_frames_may_mix_palettes_and_grey(tmp_path):
    (tmp_path / "0.png").write_bytes(encoded(NUMBERS, palette=True))
    (tmp_path / "1.png").write_bytes(encoded(NUMBERS + 1))
    labels = read_label_image(tmp_path)
    assert labels.axes == "TYX"
    np.testing.assert_array_equal(np.asarray(labels.array), [NUMBERS, NUMBERS + 1])
    with pytest.raises(ImageFileError, match="differ"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    "kind", ["EPS", "GIF", "TIFF", "BMP", "JPEG", "PDF", "WEBP", "PPM", "TGA", "DIB", "SGI", "ICO"]
)
@pytest.mark.parametrize("place", ["a.png", "folder/a.png"])
def test_another_format_under_the_name_is_refused(tmp_path, kind, place):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encoded(COLOUR, kind))
    with pytest.raises(ImageFileError, match=r"a\.png cannot be read: it"):
        read_image(path.parent if "/" in place else path)


def test_a_png_named_as_jpeg_is_refused_by_its_right_name(tmp_path):
    (tmp_path / "a.jpeg").write_bytes(encoded(COLOUR))
    with pytest.raises(ImageFileError, match=r"that of a JPEG file, and it holds PNG\. Give it the right name"):
        read_image(tmp_path / "a.jpeg")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png_of(65_535, 65_535), "cannot hold the 4,294,836,225 bytes"),
        (png_of(2**31 - 1, 2**31 - 1), "cannot hold|cannot be read"),
        (png_of(34_000, 34_000, data=bytes(34_001 * 34_000 // 1000)) + bytes(2 * 10**6), "a compressed frame of"),
    ],
)
def test_a_picture_that_claims_more_than_it_can_hold_takes_no_memory(tmp_path, data, message):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ImageFileError, match=message):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_large_picture_that_holds_its_pixels_is_read_without_a_warning(tmp_path, recwarn):
    (tmp_path / "a.png").write_bytes(png_of(10_000, 9_000, data=bytes(10_001 * 9_000)))
    assert open_picture(tmp_path / "a.png").array.shape == (9_000, 10_000)
    assert not recwarn.list


WHOLE = {
    "a.png": [
        encoded(COLOUR),
        encoded(NUMBERS, palette=True),
        encoded(COLOUR[..., 0].astype(np.uint16) * 99),
        encoded(NUMBERS > 2),
    ],
    "a.jpg": [encoded(COLOUR, "JPEG"), encoded(NUMBERS, "JPEG", progressive=True)],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WHOLE)
def test_a_damaged_picture_raises_nothing_but_our_errors(tmp_path, name):
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(mutated(WHOLE[name]))
    def check(data):
        path = tmp_path / name
        path.write_bytes(data)
        for read in (read_image, read_label_image):
            try:
                np.asarray(read(path).array)
            except ImageFileError as error:
                assert str(path) in str(error)  # noqa: PT017

    check()
