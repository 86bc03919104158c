"""What the user has chosen for the next steps: in the panel, and under Preferences > SAM 2 for napari. No Qt."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam2.inference.models import list_models
from napari_sam2.labels.merging import CommitPolicy
from napari_sam2.proposals import ProposalFilter
from napari_sam2.workspace.display import MaskLook

if TYPE_CHECKING:
    from napari_sam2.tracking.propagation import DirectionName

PLUGIN = "napari-sam2"


class ClickMode(Enum):
    """What a click beside all masks is: the first of another object, or one more of the selected object."""

    NEW_OBJECT = "new object"
    REFINE = "refine"


KEPT = ProposalFilter()
"""Which of the objects are kept that the model finds by itself, unless the user has moved a slider."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What is chosen for the next steps, beside what is drawn.

    Attributes
    ----------
    model : str or Path
        A registry name, or a weight file or folder.
    device : str
        "auto", "cpu", "cuda" or "mps"; whether it is there shows when a model is loaded.
    direction, start, stop
        As in `plan_propagation`.
    policy : CommitPolicy
        What becomes of pixels that belong to a committed object already.
    threshold : float
        Confidence below which a frame is doubtful, in [0, 1].
    hides_doubtful : bool
        Whether masks below the threshold are hidden.
    click_mode : ClickMode
        What a click beside all masks is.
    look : MaskLook
        How masks are drawn.
    kept : ProposalFilter
        Which of the objects are kept that the model finds by itself.
    """

    model: str | Path = "nano"
    device: str = "auto"
    direction: DirectionName = "both"
    start: int | None = None
    stop: int | None = None
    policy: CommitPolicy = CommitPolicy.KEEP
    threshold: float = 0.5
    hides_doubtful: bool = False
    click_mode: ClickMode = ClickMode.NEW_OBJECT
    look: MaskLook = MaskLook.AUTO
    kept: ProposalFilter = KEPT


DEFAULTS = Choices()


def read_preferences() -> tuple[Choices, tuple[str, ...]]:
    """Read what is set in napari, which keeps it in `napari-sam2.yaml` beside its own settings.

    Returns
    -------
    Choices
        With which a new panel begins: the defaults where napari is not there, is older than 0.9, or does not know the
        plugin.
    tuple of str
        What cannot be used, and that the default stands for it: sentences for the user.
    """
    try:
        settings = _settings()
    except (ImportError, KeyError):
        return DEFAULTS, ()
    except (ValueError, AssertionError) as error:
        # napari itself takes defaults for what is wrong in a file, and types, choices and ranges are those of the
        # manifest. It gives up on a wrong variable of the environment, and on a file that is a list.
        reason = " ".join(str(error).split())
        return DEFAULTS, (
            "napari cannot read the preferences of its plugins, and SAM 2 takes the defaults. Look for variables "
            f"NAPARI_SAM2_… in the environment, and into the files beside napari's settings. It says: {reason}",
        )
    model, remarks = _usable_model(settings.model.strip())
    mode = ClickMode(settings.clicks)
    return Choices(model, settings.device, threshold=settings.threshold, click_mode=mode), remarks


def remember_click_mode(mode: ClickMode) -> None:
    """Let the next panel begin with this mode. A napari that keeps no settings of plugins forgets it."""
    with suppress(ImportError, KeyError, ValueError, AssertionError):  # told when the preferences are read
        _settings().clicks = mode.value


def _settings() -> Any:  # made by napari from the manifest
    from napari.settings import get_plugin_settings

    return get_plugin_settings(PLUGIN).sam2


def _usable_model(wanted: str) -> tuple[str | Path, tuple[str, ...]]:
    """Model on this machine, by name or as a file, and what there is to tell the user about it."""
    models = {info.name: info.path for info in list_models()}
    if models.get(wanted) is not None:
        return wanted, ()
    file = os.path.expanduser(wanted)
    if os.path.isfile(file):  # of `Path`, both raise for some of what a user can type
        return Path(file), ()
    if wanted in models:
        advice = f"is not on this machine yet. Fetch it with `napari-sam2 models download {wanted}`"
    else:
        advice = f"is neither a model nor a file. Use one of {', '.join(models)}, or the path of a weight file"
    return DEFAULTS.model, (f"The default model in the preferences, {wanted!r}, {advice}; {DEFAULTS.model} answers.",)
