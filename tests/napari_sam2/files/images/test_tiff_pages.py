import json
import os
import re
import tracemalloc

import numpy as np
import pytest
import tifffile

from napari_sam2.errors import ImageFileError
from napari_sam2.files.images.reading import read_image

STACK = np.random.default_rng(0).integers(0, 60_000, (5, 25, 30), dtype=np.uint16)


@pytest.fixture
def memory():
    """Refuse a test that takes more than 64 MB."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


def written(path, array=STACK, **options):
    tifffile.imwrite(path, array, **options)
    return path


def with_tag(path, **values):
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for page in tif.pages:
            for name, value in values.items():
                page.tags[name].overwrite(value)
    return path


def with_description(path, description, **options):
    return written(path, STACK, metadata=None, description=description, photometric="minisblack", **options)


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("compression", ["zlib", "lzma", None])
def test_pages_that_claim_more_than_they_hold_take_no_memory(tmp_path, compression):
    path = written(tmp_path / "a.tif", STACK, metadata=None, photometric="minisblack", compression=compression)
    with_tag(path, ImageWidth=100_000, ImageLength=100_000, RowsPerStrip=100_000)
    tracemalloc.reset_peak()
    with pytest.raises(
        ImageFileError, match=r"cannot hold the|a compressed frame of 20,000,000,000 bytes|cannot be read"
    ):
        read_image(path)


@pytest.mark.parametrize("compression", ["zlib", "lzma"])
def test_a_strip_that_unpacks_to_more_than_its_page_is_refused(tmp_path, monkeypatch, compression):
    monkeypatch.setattr("napari_sam2.files.images.tiff_pages._SMALL", 2**16)
    large = np.zeros((1, 2**20), np.uint8)
    path = written(tmp_path / "a.tif", large, metadata=None, compression=compression, rowsperstrip=1)
    assert read_image(path).array.shape == (1, 2**20)
    with_tag(path, ImageWidth=100)
    with pytest.raises(ImageFileError, match="unpacks to more than the page holds"):
        read_image(path)


def ome(pixels='DimensionOrder="XYCZT" Type="uint16"', sizes=(30, 25, 1, 1, 5), planes='<TiffData PlaneCount="5"/>'):
    lengths = " ".join(f'Size{axis}="{size}"' for axis, size in zip("XYZCT", sizes, strict=True))
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" {pixels} {lengths}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
    )


def test_the_ome_metadata_of_these_tests_are_good(tmp_path):
    image = read_image(with_description(tmp_path / "a.ome.tif", ome()))
    assert (image.axes, image.is_ome) == ("TYX", True)


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(
    "description",
    [
        ome(sizes=(30, 25, 1, 1, 10**9)),
        ome(sizes=(10**9, 10**9, 1, 1, 5)),
        ome(sizes=(30, 25, -1, 1, -(10**9))),
        ome(planes='<TiffData PlaneCount="1000000000"/>'),
        ome(planes='<TiffData NumPlanes="1000000000" IFD="1"/>'),
        ome(planes=f'<TiffData IFD="{"9" * 400}"/>'),
        ome(planes=f'<TiffData IFD="{"9" * 9999}"/>'),
        ome(planes='<TiffData IFD="x"/>'),
        ome().replace('SamplesPerPixel="1"', 'SamplesPerPixel="1000000000"'),
        ome().replace(
            "</OME>",
            "<StructuredAnnotations><XMLAnnotation ID='a' Namespace='openmicroscopy.org/omero/dimension/modulo'><Value>"
            "<Modulo><ModuloAlongT Type='phase' Start='0' End='1e12' Step='1'/></Modulo></Value></XMLAnnotation>"
            "</StructuredAnnotations></OME>",
        ),
        ome().replace("<Image", "<a>" * 20_000 + "<Image"),
        ome().replace('SizeX="30" ', ""),
        json.dumps({"shape": [10**9, 25, 30]}),
        json.dumps({"shape": ["x", 10**10]}),
        json.dumps({"shape": [[5], 10**10]}),
        json.dumps({"shape": [10**400, 25, 30]}),
        json.dumps({"shape": None}),
        json.dumps({"shape": [-5, -25, 30]}),
        '{"shape": ' + "[" * 10**5,
        "shape=(x, 25, 30)",
        "ImageJ=1.11a\nimages=1000000000\nframes=1000000000\n",
        f"ImageJ=1.11a\nimages={'9' * 400}\nframes={'9' * 400}\n",
        f"ImageJ=1.11a\nimages=5\nframes=5\nfinterval={'9' * 400}\nunit={'x' * 10**6}\n",
        "ImageJ=1.11a\nimages=x\nframes=5\nslices=nan\n",
    ],
    ids=range(24),
)
def test_metadata_that_claim_too_much_are_refused_or_left_out(tmp_path, description):
    path = with_description(tmp_path / "a.ome.tif", description)
    try:
        image = read_image(path)
    except ImageFileError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert image.array.shape == STACK.shape
        assert image.pixel_size == {}


@pytest.mark.parametrize("name", ["../secret.tif", "/etc/secret.tif", "..\\secret.tif", "folder/secret.tif", ".."])
def test_metadata_that_name_a_file_elsewhere_are_refused(tmp_path, name):
    planes = f'<TiffData IFD="0" PlaneCount="5"><UUID FileName="{name}">urn:uuid:2</UUID></TiffData>'
    (tmp_path / "here").mkdir()
    path = with_description(tmp_path / "here" / "a.ome.tif", ome(planes=planes))
    written(tmp_path / "secret.tif", metadata=None, photometric="minisblack")
    with pytest.raises(ImageFileError, match=r"refers to planes in another folder \(.*\)\. Export it as one file"):
        read_image(path)


@pytest.mark.parametrize("name", ["b.tif"] * hasattr(os, "mkfifo"))
def test_a_pipe_that_metadata_name_is_not_waited_for(tmp_path, name):
    planes = f'<TiffData IFD="0" PlaneCount="5"><UUID FileName="{name}">urn:uuid:2</UUID></TiffData>'
    path = with_description(tmp_path / "a.ome.tif", ome(planes=planes))
    os.mkfifo(tmp_path / name)
    with pytest.raises(ImageFileError, match=r"b\.tif is no file, but a folder, pipe or device"):
        read_image(path)


def test_planes_in_files_of_the_same_folder_are_read_and_watched(tmp_path):
    parts = [
        f'<TiffData FirstT="{first}" IFD="0" PlaneCount="{count}"><UUID FileName="{name}">{uuid}</UUID></TiffData>'
        for first, count, name, uuid in ((0, 2, "a.ome.tif", "urn:uuid:1"), (2, 3, "b.ome.tif", "urn:uuid:2"))
    ]
    options = {"metadata": None, "photometric": "minisblack", "compression": "zlib"}
    path = written(tmp_path / "a.ome.tif", STACK[:2], description=ome(planes="".join(parts)), **options)
    written(tmp_path / "b.ome.tif", STACK[2:], **options)
    image = read_image(path)
    np.testing.assert_array_equal(np.asarray(image.array), STACK)
    written(tmp_path / "b.ome.tif", STACK[:3] + 1, **options)
    np.testing.assert_array_equal(image.array[1], STACK[1])
    with pytest.raises(ImageFileError, match=re.escape("b.ome.tif has changed since it was opened")):
        image.array[4]


def test_pages_that_form_a_circle_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(STACK[:, :24, :24], subifds=2, photometric="minisblack")
        for step in (2, 4):
            writer.write(STACK[:, :24:step, :24:step], subfiletype=1, photometric="minisblack")
    assert read_image(path).array.shape == (5, 24, 24)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        page = tif.pages[0]
        page.tags["SubIFDs"].overwrite([page.offset, page.offset])
    with pytest.raises(ImageFileError, match="its pages form a circle"):
        read_image(path)


def test_planes_that_no_file_holds_are_refused(tmp_path):
    gone = '<TiffData FirstT="2" IFD="0" PlaneCount="3"><UUID FileName="gone.tif">urn:uuid:2</UUID></TiffData>'
    path = with_description(tmp_path / "a.ome.tif", ome(planes=f'<TiffData IFD="0" PlaneCount="2"/>{gone}'))
    with pytest.raises(ImageFileError, match="planes that are missing, perhaps in another file"):
        read_image(path)
