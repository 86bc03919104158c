"""Masks that are held of two objects with prompts, without a workspace: real layers, nobody who answers."""

import numpy as np
from napari.layers import Image, Points

from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.layers.grid import grid_of
from napari_sam2.layers.prompt_sources import PromptSources
from napari_sam2.results import ObjectMask
from napari_sam2.sessions.steps import ModelUsed
from napari_sam2.workspace.committed import Committed
from napari_sam2.workspace.held import HeldMask
from napari_sam2.workspace.object_actions import ObjectActions
from napari_sam2.workspace.objects import ObjectList
from napari_sam2.workspace.picture import Picture

MODEL = ModelUsed("fake", "f" * 64, 256)


class HeldRoom:
    """Two frames of 4 x 12 pixels; object 1 is held on the left of both, object 2 on the right of the first."""

    def __init__(self):
        self.image = Image(np.zeros((2, 4, 12), np.uint8))
        grid = grid_of(self.image)
        self.picture, self.labels = Picture(self.image, grid, lambda: 0), Committed(self.image, grid)
        self.sources = PromptSources(self.image, grid, lambda one: (1.0, 0.0, 0.0, 1.0), lambda: 0)
        self.objects = ObjectList()
        self.actions = ObjectActions(self.sources, self.picture, self.labels, self.objects)
        mine = Points([(0, 1, 1), (1, 1, 1), (0, 1, 9)], features={"object_id": [1, 1, 2]}, name="mine")
        self.sources.add(mine)
        self.prompts = self.sources.read()
        left = [self.held(1, frame, 0) for frame in (0, 1)]
        self.picture.set_masks(0, {1: left[0], 2: self.held(2, 0, 8)})
        self.picture.set_masks(1, {1: left[1]})

    def held(self, object_id, frame, x):
        mask = ObjectMask(object_id, (0, x), np.full((4, 4), 5, np.float32), 0.9, 1.0)
        prompts = tuple(prompt for prompt in self.prompts.prompts if prompt.object_id == object_id)
        return HeldMask(mask, mask.score(frame), prompts, MODEL)

    def commit(self):
        step = self.actions.commit(self.prompts, CommitPolicy.KEEP)
        step.finish()
        self.prompts = self.sources.read()
        return step

    def committed(self):
        return np.asarray(self.labels.layer.data)
