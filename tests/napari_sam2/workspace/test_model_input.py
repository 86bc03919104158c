"""What the model sees of an image, without a model: real layers, no window."""

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel

from napari_sam2.errors import FrameError
from napari_sam2.layers.grid import grid_of
from napari_sam2.workspace.model_input import ModelInput

SHAPE = (3, 8, 10)


class Room:
    """Sight of the first of two images; `said` counts how often another contrast is announced."""

    def __init__(self):
        self.viewer, self.said = ViewerModel(), 0
        self.first, self.second = (
            self.viewer.add_image(np.full(SHAPE, level, np.uint16), contrast_limits=(0, 100), name=name)
            for name, level in (("first", 50), ("second", 20))
        )
        self.model_input = ModelInput(self.viewer, self.first, grid_of(self.first))
        self.model_input.contrast_changed.connect(self._on_contrast)

    def _on_contrast(self):
        self.said += 1

    def pixel(self):
        return self.model_input.frames[0][0, 0].tolist()


@pytest.fixture
def room():
    return Room()


def test_another_contrast_is_announced_and_not_seen_before_it_is_looked_at(room):
    room.first.contrast_limits = (0, 50)
    assert room.said == 1
    assert room.pixel() == [128, 128, 128]
    assert not room.model_input.is_current
    room.model_input.look_again()
    assert room.pixel() == [255, 255, 255]
    assert room.model_input.is_current


def test_only_channels_that_are_seen_announce_their_contrast(room):
    room.second.contrast_limits = (0, 50)
    assert room.said == 0
    room.model_input.choose((room.second,))
    room.second.contrast_limits = (0, 20)
    assert room.said == 1
    room.first.contrast_limits = (0, 20)
    assert room.said == 1


def test_a_channel_that_lies_elsewhere_is_refused_and_what_was_seen_stays(room):
    room.second.translate = (0, 3, 0)
    with pytest.raises(FrameError, match="'second' does not lie on 'first'"):
        room.model_input.choose((room.first, room.second))
    room.first.contrast_limits = (0, 50)
    assert room.model_input.channels == (room.first,)
    assert room.said == 1


def test_contrast_of_before_is_recalled_for_one_channel_and_left_alone_for_several(room):
    room.model_input.recall((0, 200))
    assert room.pixel() == [64, 64, 64]
    room.model_input.choose((room.first, room.second))
    room.model_input.recall((0, 200))
    assert room.pixel() == [128, 51, 0]


def test_nothing_is_announced_while_it_is_closed(room):
    room.model_input.close()
    room.first.contrast_limits = (0, 50)
    assert room.said == 0
    room.model_input.reopen()
    room.first.contrast_limits = (0, 70)
    assert room.said == 1


def test_layers_that_come_from_no_file_have_no_channel_numbers(room):
    assert room.model_input.channel_numbers == ()


def test_channels_of_one_file_are_numbered_in_the_order_of_their_layers(tmp_path, npe2pm):
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, np.zeros((2, *SHAPE), np.uint8), photometric="minisblack")
    viewer = ViewerModel()
    with npe2pm.tmp_plugin(package="napari"):
        first, second = viewer.open(path, channel_axis=0, contrast_limits=[(0, 100), (0, 100)])
    model_input = ModelInput(viewer, first, grid_of(first))
    assert model_input.channel_numbers == (0,)
    model_input.choose((second, first))
    assert model_input.channel_numbers == (1, 0)
