"""A model that draws what it is told: a disc round each click, a box for a box, the mask for a mask. No torch.

Its three candidates are discs of three sizes; the one that it chooses itself looks like the second.

By itself it finds whatever is brighter than half, in pieces, first in the upper half of the frame, then below.
Of each piece it proposes the whole, and a middle part that is a little less sure.

Following, it moves nothing: an object stays where it was said to be on the prompted frame it was followed from.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from napari_sam2.inference.predictor import Example, FoundPart
from napari_sam2.prompt_checks import is_absence
from napari_sam2.prompts import BoxPrompt, MaskPrompt, ModelScores, PointPrompt
from napari_sam2.proposals import Proposal
from napari_sam2.results import ObjectMask
from sam2_model.config import Framing
from sam2_model.memory_bank import Direction

RADIUS = 2.5
RADII = (1.5, RADIUS, 4.5)  # of the candidates
PREDICTED_IOU, OBJECT_SCORE = 0.9, 0.8


def drawn_mask(object_id, prompts, height, width):
    """What the fake answers to the prompts of one object on one frame."""
    if is_absence(prompts):
        return ObjectMask(object_id, (0, 0), np.zeros((0, 0), np.float32), 1.0, 0.0, is_given=True)
    y, x = np.mgrid[:height, :width]
    points = [prompt for prompt in prompts if isinstance(prompt, PointPrompt)]
    candidate = points[-1].candidate if points else None
    radius = RADIUS if candidate is None else RADII[candidate]
    logits = np.full((height, width), -10.0)
    for prompt in prompts:
        match prompt:
            case PointPrompt():
                disc = (radius if prompt.positive else RADIUS) - np.hypot(y - prompt.y, x - prompt.x)
                logits = np.maximum(logits, disc) if prompt.positive else np.minimum(logits, -disc)
            case BoxPrompt():
                inside = (y >= prompt.y_min) & (y <= prompt.y_max) & (x >= prompt.x_min) & (x <= prompt.x_max)
                logits = np.where(inside, 5.0, logits)
            case MaskPrompt():
                logits = np.where(prompt.mask, 8.0, logits)
    is_answer = len(prompts) == 1 and isinstance(prompts[0], MaskPrompt)
    found = prompts[0].found if is_answer else None
    if found is not None:
        logits = np.where(prompts[0].mask, found.mean_logit, -10.0)
        sure = (found.predicted_iou, found.object_score)
    else:
        sure = (1.0, 1.0) if is_answer else (PREDICTED_IOU, OBJECT_SCORE)
    given = is_answer and found is None
    return ObjectMask(object_id, (0, 0), logits.astype(np.float32), *sure, is_given=given, found=found)


def found_in(image, seeds=None):
    """What the fake finds by itself in an image (Y, X, 3): every bright piece, and the middle of it."""
    labelled, count = ndimage.label(image[..., 0] > 127)
    wanted = set(range(1, count + 1))
    if seeds is not None:
        wanted = {int(labelled[round(y), round(x)]) for y, x in seeds} - {0}
    proposals = []
    for number in sorted(wanted):
        window = ndimage.find_objects(labelled)[number - 1]
        corner, mask = tuple(side.start for side in window), labelled[window] == number
        seed = tuple(float(v) for v in np.add(corner, ndimage.center_of_mass(mask)))
        proposals.append(Proposal(corner, mask, ModelScores(PREDICTED_IOU, OBJECT_SCORE, 1.0, 5.0), 0.9, seed))
        core = ndimage.binary_erosion(mask)
        if core.any():
            proposals.append(Proposal(corner, core, ModelScores(PREDICTED_IOU, OBJECT_SCORE, 0.9, 4.0), 0.8, seed))
    return proposals


class FakePredictor:
    """Stands where SAM 2 stands.

    `calls` lists what it was asked for, in order; `before_prompt` and `before_follow` are called with each frame on
    which it is about to answer, or to follow to; `before_part` with the number of the part it is about to search.
    """

    def __init__(
        self,
        *,
        before_prompt: Callable[[int], None] | None = None,
        before_follow: Callable[[int], None] | None = None,
        before_part: Callable[[int], None] | None = None,
        size: int = 256,
        drops_islands: bool = False,
    ) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.before_prompt = before_prompt or (lambda frame: None)
        self.before_follow = before_follow or (lambda frame: None)
        self.before_part = before_part or (lambda part: None)
        self.size = size
        self.framing = Framing.SQUARE
        self.drops_islands = drops_islands

    @property
    def name(self):
        return "fake"

    @property
    def sha256(self):
        return "f" * 64

    @property
    def source(self):
        return self.name

    def working_size(self, height, width):
        return self.size

    def scale(self, height, width):
        return self.size / height, self.size / width

    def segment(self, image, prompts):
        assert image.dtype == np.uint8
        assert image.shape[2:] == (3,)
        self.calls.append(("segment", tuple(prompts)))
        return tuple(drawn_mask(object_id, given, *image.shape[:2]) for object_id, given in prompts.items())

    def open(self, frames):
        self.calls.append(("open", len(frames)))
        return FakeTracker(self, frames)

    def propose(self, frames, frame, search):
        self.calls.append(("propose", frame))
        rows, columns = search.window or (slice(0, frames.height), slice(0, frames.width))
        found = [one for one in found_in(frames[frame], search.seeds) if _is_in(one.seed, rows, columns)]
        if search.like:
            found = [replace(one, likeness=_likeness(one, search.like)) for one in found]
        middle = (rows.start + rows.stop) / 2
        for part in (0, 1):
            self.before_part(part)
            yield FoundPart(tuple(one for one in found if (one.seed[0] >= middle) == part), part + 1, 2)

    def describe(self, frames, frame, masks):
        self.calls.append(("describe", frame, len(masks)))
        areas = [int(one.mask.sum()) for one in masks]
        return tuple(Example({1.0: np.array([area], np.float32)}, area) for area in areas)

    def count(self, verb):
        return sum(call[0] == verb for call in self.calls)


def _likeness(proposal, examples):
    """To the fake, objects are alike if they are as large."""
    area = proposal.mask.sum()
    ratios = [(min(area, one.area_px) / max(area, one.area_px), one.is_wanted) for one in examples]
    return float(max(ratios)[0] if max(ratios)[1] else 0.0)


def _is_in(seed, rows, columns):
    return rows.start <= seed[0] < rows.stop and columns.start <= seed[1] < columns.stop


class FakeTracker:
    def __init__(self, predictor, frames):
        self.predictor = predictor
        self.frames = frames
        self.said, self.seen = {}, set()

    def has_seen(self, frame):
        return frame in self.seen

    def prompt(self, frame, prompts):
        self.predictor.before_prompt(frame)
        self.seen.add(frame)
        self.predictor.calls.append(("prompt", frame, tuple(prompts)))
        self.said |= {(object_id, frame): given for object_id, given in prompts.items()}
        return tuple(self._mask(object_id, frame) for object_id in prompts)

    def forget(self, object_id, frame):
        self.predictor.calls.append(("forget", object_id, frame))
        del self.said[object_id, frame]

    def follow(self, frame, object_ids, direction):
        self.predictor.before_follow(frame)
        self.seen.add(frame)
        self.predictor.calls.append(("follow", frame, tuple(object_ids), direction))
        assert self.frames[frame].shape == (self.frames.height, self.frames.width, 3)
        masks = []
        for object_id in object_ids:
            shown = sorted(f for i, f in self.said if i == object_id)
            behind = [f for f in shown if (frame - f) * (1 if direction is Direction.FORWARD else -1) >= 0]
            masks.append(self._mask(object_id, max(behind) if direction is Direction.FORWARD else min(behind)))
        return tuple(masks)

    def _mask(self, object_id, frame):
        return drawn_mask(object_id, self.said[object_id, frame], self.frames.height, self.frames.width)
