"""What the status line says."""

import numpy as np
import pytest

from napari_sam2.workspace.choices import Choices
from napari_sam2.workspace.sentences import status_sentence
from tests.napari_sam2.bench import Bench
from tests.napari_sam2.fake_predictor import FakePredictor


class Desk:
    """As much of a workbench as the sentences look at."""

    choices = Choices("fake")
    message = ""

    def __init__(self, workspace):
        self.workspace = workspace


@pytest.mark.parametrize(
    ("shape", "labels", "asks"),
    [
        ((3, 24, 30), None, True),
        ((1, 3, 24, 30), None, True),
        ((3, 24, 30), ("t", "y", "x"), False),
        ((4, 24, 30), None, False),
        ((24, 30), None, False),
    ],
)
def test_it_is_asked_whether_three_planes_are_frames_or_channels(shape, labels, asks):
    bench = Bench(FakePredictor(), np.zeros(shape, np.uint8), axis_labels=labels)
    assert ("Are the three planes frames?" in status_sentence(Desk(bench.work))) == asks
    bench.close()
