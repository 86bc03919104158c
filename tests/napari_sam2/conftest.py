"""The toy world: three objects, drawn, and a movie of them."""

import numpy as np
import pytest

from tests.napari_sam2.fake_predictor import FakePredictor

DRAWING = """
    ............
    .11.....2...
    .11....222..
    ........2...
    ............
    .3333.......
    .3333.......
    ............
"""
FRAMES = 5


def drawn(picture):
    """Array of the digits of a drawing; a dot is 0."""
    return np.array([[int(sign) for sign in row.replace(".", "0")] for row in picture.split()], np.uint16)


@pytest.fixture
def toy_labels():
    """The objects of the toy image, (8, 12) uint16."""
    return drawn(DRAWING)


@pytest.fixture
def toy_image(toy_labels):
    """Bright objects on a dark ground, (8, 12) uint16."""
    return np.where(toy_labels > 0, 2000, 100).astype(np.uint16) + toy_labels


@pytest.fixture
def toy_movie(toy_image):
    """Five frames of the toy image, each a little brighter, (5, 8, 12) uint16."""
    return np.stack([toy_image + 10 * frame for frame in range(FRAMES)]).astype(np.uint16)


@pytest.fixture
def fake():
    """A model that draws what it is told."""
    return FakePredictor()


@pytest.fixture(scope="session")
def nano():
    """The embedded model, loaded once."""
    from napari_sam2.inference.sam2 import load_predictor

    return load_predictor("nano", device="cpu")


@pytest.fixture(scope="session")
def cells():
    """An image nano can segment: two bright discs, (72, 100) uint8, at (y 24, x 70) and (y 50, x 22)."""
    y, x = np.mgrid[:72, :100]
    image = np.full((72, 100), 20, np.uint8)
    image[(y - 24) ** 2 + (x - 70) ** 2 < 13**2] = 200
    image[(y - 50) ** 2 + (x - 22) ** 2 < 11**2] = 170
    return image


@pytest.fixture(scope="session")
def pair():
    """Two discs, (72, 100) uint8, the first one larger: of a click at (36, 40), between them, nano makes both."""
    y, x = np.mgrid[:72, :100]
    image = np.full((72, 100), 20, np.uint8)
    image[(y - 36) ** 2 + (x - 30) ** 2 < 8**2] = 200
    image[(y - 36) ** 2 + (x - 50) ** 2 < 7**2] = 200
    return image
