"""What comes back: masks per object and frame, and two tables of scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_sam2.prompts import ModelScores

FEATURE_COLUMNS = [
    *("index", "n_frames", "mean_area_in_labels_px"),
    *("mean_confidence", "worst_confidence", "worst_frame", "mean_area_px"),
]
"""Columns of a table of objects."""

STABILITY_OFFSET = 1.0
"""Shift of the threshold, in logits, by which the stability of a mask is judged."""

CLEAN_AREA_PX = 8
"""Islands and holes of a mask up to this many image pixels are specks, not objects."""


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """How sure the model is of one object on one frame: one row of the table of scores.

    Attributes
    ----------
    object_id, frame : int
        What is scored.
    predicted_iou : float
        The model's estimate of the mask's overlap with the object, in [0, 1].
    object_score : float
        Probability that the object is on the frame.
    stability : float
        Share of the mask that stays when its threshold moves by one logit, in [0, 1].
    mean_logit : float
        Mean mask logit inside the mask; NaN where the mask is empty.
    confidence : float
        One number for all of this, in [0, 1].
    area_px : int
        Pixels of the object's own mask, before it gives way to others where they overlap.
    area_in_labels_px : int
        Pixels of the object in the labels of the frame; those of its own mask as long as that is not among others.
    """

    object_id: int
    frame: int
    predicted_iou: float
    object_score: float
    stability: float
    mean_logit: float
    confidence: float
    area_px: int
    area_in_labels_px: int


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMask:
    """One object on one frame.

    Attributes
    ----------
    object_id : int
        Its value in the label image.
    corner : tuple of int
        Row and column of the first pixel of `logits`.
    logits : ndarray
        Shape (h, w), float32, in image pixels: positive inside the mask. Beyond this window there is no mask.
    predicted_iou : float
        The model's estimate of the mask's overlap with the object, in [0, 1].
    object_score : float
        Probability that the object is on the frame.
    is_given : bool
        Whether the user gave this mask, and not the model. It is certain, and wins where masks overlap.
    found : ModelScores or None
        What a model said of this mask when it found it by itself, of which the logits, alike on all of the mask, tell
        nothing; None for a mask that was given or asked for.
    """

    object_id: int
    corner: tuple[int, int]
    logits: NDArray[np.float32]
    predicted_iou: float
    object_score: float
    is_given: bool = False
    found: ModelScores | None = None

    @property
    def is_computed(self) -> bool:
        """Whether it was computed from prompts, and is not a prompt itself."""
        return not self.is_given and self.found is None

    @property
    def stability(self) -> float:
        """Area of the tight mask over area of the wide one; 1 where both are empty."""
        if self.found is not None:
            return self.found.stability
        wide = np.count_nonzero(self.logits > -STABILITY_OFFSET)
        return np.count_nonzero(self.logits > STABILITY_OFFSET) / wide if wide else 1.0

    def score(self, frame: int) -> ObjectScore:
        """Return the row of the table of scores; in labels, the mask is alone (see `labels.composing.Composed`)."""
        inside = self.logits[self.logits > 0]
        mean_logit = float(inside.mean()) if inside.size else float("nan")
        # Until it is calibrated, confidence is the product of all there is to doubt.
        confidence = 1.0 if self.is_given else self.predicted_iou * self.object_score * self.stability
        return ObjectScore(
            object_id=self.object_id,
            frame=frame,
            predicted_iou=self.predicted_iou,
            object_score=self.object_score,
            stability=self.stability,
            mean_logit=mean_logit if self.found is None else self.found.mean_logit,
            confidence=confidence,
            area_px=inside.size,
            area_in_labels_px=inside.size,
        )


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What is known of some objects on one frame."""

    frame: int
    objects: tuple[ObjectMask, ...]

    @property
    def scores(self) -> tuple[ObjectScore, ...]:
        """One row per object."""
        return tuple(mask.score(self.frame) for mask in self.objects)


def score_table(scores: Iterable[ObjectScore]) -> pd.DataFrame:
    """Return a table with one row per object and visited frame, by object, then by frame."""
    columns = [field.name for field in fields(ObjectScore)]
    rows = sorted(scores, key=lambda row: (row.object_id, row.frame))
    return pd.DataFrame([asdict(row) for row in rows], columns=columns)


def feature_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a table with one row per object, as `Labels.features` shows it.

    Parameters
    ----------
    scores : DataFrame
        From `score_table`.

    Returns
    -------
    DataFrame
        Columns index (the label), n_frames, mean_area_in_labels_px, mean_confidence, worst_confidence, worst_frame,
        mean_area_px: of the frames on which the object was found; of all visited frames, with n_frames 0, if it was
        found on none. The mean area in labels is that of the frames on which it has a pixel in them, else 0.
    """
    # Plain arrays: a data frame for each of hundreds of objects takes longer than a frame of the model.
    columns = ("frame", "area_px", "area_in_labels_px", "confidence")
    frames, areas, in_labels, confidences = (scores[name].to_numpy() for name in columns)
    rows = []
    for object_id, visited in sorted(scores.groupby("object_id").indices.items()):
        found = visited[areas[visited] > 0]
        seen = found if found.size else visited
        confidence = confidences[seen]
        worst = int(confidence.argmin())
        rows.append(
            (
                object_id,
                found.size,
                mean_where_any(in_labels[visited]),
                confidence.mean(),
                confidence[worst],
                int(frames[seen[worst]]),
                areas[seen].mean(),
            )
        )
    return pd.DataFrame(rows, columns=FEATURE_COLUMNS)


def mean_where_any(areas: NDArray[np.integer]) -> float:
    """Return the mean of the areas of an object that are not 0; 0 if there is none."""
    some = areas[areas > 0]
    return float(some.mean()) if some.size else 0.0
