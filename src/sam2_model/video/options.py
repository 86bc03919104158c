"""What may be varied while objects are followed."""

from dataclasses import dataclass
from enum import Enum

import torch

from sam2_model.errors import ConfigError


class Policy(Enum):
    """How prompts and memories meet."""

    REPAIRED = "repaired"
    """A result depends on frames and prompts alone, never on what was clicked or followed before."""
    REFERENCE = "reference"
    """As the reference does, with its history: earlier masks stick, corrections fade, passes mix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """What may be varied while following objects. `VideoOptions.reference()` is the published behaviour.

    Attributes
    ----------
    policy : Policy
        How prompts and memories meet.
    max_conditioning : int, optional
        How many prompted frames a frame recalls, the nearest first; all of them when None.
    corrections_condition : bool
        Whether a prompt on a frame already visited makes it a conditioning frame. Read under the reference policy
        alone; under the repaired one every prompt does.
    stability_fallback : bool
        Whether a single mask that is unstable gives way to the best of the three candidates.
    binarises_prompted : bool
        Whether the masks of prompted frames are remembered as black and white.
    hole_area : int
        Holes of at most this many low-resolution cells are filled; 0 fills none. In models with views these are finer.
    memory_dtype : torch.dtype, optional
        Precision in which spatial memories are stored; as computed when None.
    cached_frames : int
        How many encoded frames are kept for the next prompt or pass.
    max_batch : int
        How many objects go through the network together.

    Raises
    ------
    ConfigError
        If a count is out of range.
    """

    policy: Policy = Policy.REPAIRED
    max_conditioning: int | None = 4
    corrections_condition: bool = True
    stability_fallback: bool = True
    binarises_prompted: bool = True
    hole_area: int = 0
    memory_dtype: torch.dtype | None = None
    cached_frames: int = 32
    max_batch: int = 16

    def __post_init__(self) -> None:
        """Refuse counts with which nothing could be followed."""
        counts = {"max_conditioning": self.max_conditioning, "cached_frames": self.cached_frames}
        for name, count in {**counts, "max_batch": self.max_batch}.items():
            if count is not None and count < 1:
                raise ConfigError(f"{name} is {count}. Use 1 or more.")
        if self.hole_area < 0:
            raise ConfigError(f"hole_area is {self.hole_area}. Use 0 to fill no holes, or more.")

    @classmethod
    def reference(cls) -> "VideoOptions":
        """Return the options under which the published predictor is reproduced."""
        return cls(
            policy=Policy.REFERENCE,
            max_conditioning=None,
            corrections_condition=False,
            hole_area=8,
            memory_dtype=torch.bfloat16,
        )
