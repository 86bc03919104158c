"""A workspace on a viewer without a window, whose answers are handed over when a test says so."""

import queue

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_sam2.workspace.requests import Activity
from napari_sam2.workspace.workspace import Workspace

FRAMES, HEIGHT, WIDTH = 6, 24, 30


class Bench:
    """A workspace whose answers are handed over when the test says so."""

    def __init__(self, predictor, data=None, **image):
        self.predictor = predictor
        self.posted = queue.Queue()
        self.viewer = ViewerModel()
        data = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8) if data is None else data
        self.image = self.viewer.add_layer(Image(data, contrast_limits=(0, 255), **image))
        self.said = []
        self.work = Workspace(self.viewer, self.image, load=self.load, post=self.posted.put)
        self.work.changed.connect(lambda status: self.said.append(status))

    def load(self):
        if isinstance(self.predictor, Exception):
            raise self.predictor
        return self.predictor

    def settle(self):
        """Hand over answers until the model has said all."""
        while self.work.status.activity is not Activity.READY:
            self.posted.get(timeout=10)()

    def click(self, frame, y, x):
        points = self.work.prompt_layers.points
        points.add([(frame, y, x)])
        self.settle()

    def shown(self, object_id, frame):
        return np.asarray(self.work.current.data)[frame] == object_id


def hand_over(bench):
    """Do what was put off until napari is done."""
    while not bench.posted.empty():
        bench.posted.get()()


def paint(bench, frame, where, label):
    """Paint pixels as the brush does."""
    bench.work.show(frame)
    y, x = np.nonzero(where)
    bench.work.current.data_setitem((np.full(len(y), frame), y, x), label)
    bench.posted.get(timeout=10)()
    bench.settle()


def square(y, x, side=4):
    where = np.zeros((HEIGHT, WIDTH), np.bool_)
    where[y : y + side, x : x + side] = True
    return where
