"""The whole configuration space of SAM 2: a trunk, a release and a few widths.

The eight published models differ in six numbers of the trunk and in the release (Ravi et al. 2024, appendix C, and
the files that accompany the checkpoints). What else is below is the same for all of them; `NANO` is the one
model here that changes it.
"""

from dataclasses import dataclass, replace
from enum import Enum

from sam2_model.errors import ConfigError

STRIDE = 16
"""Pixels of the working image per token of the embedding, along each axis."""

SIZE_STEP = 32
"""The working size is a multiple of this: the coarsest trunk stage has stride 32."""


class Release(Enum):
    """Which published generation a set of weights belongs to."""

    V2_0 = "2.0"
    V2_1 = "2.1"
    """Adds projected temporal positions for object pointers and a no-object embedding for memories."""


@dataclass(frozen=True, slots=True)
class HieraConfig:
    """Shape of the hierarchical trunk (Ryali et al. 2023).

    Attributes
    ----------
    embed_dim : int
        Channels of the first stage; every later stage doubles them.
    num_heads : int
        Attention heads of the first stage; every later stage doubles them.
    stages : tuple of int
        Blocks in each of the four stages.
    global_blocks : tuple of int
        Indices of the blocks that attend to the whole image instead of a window.
    position_grid : tuple of int
        Rows and columns of the coarse position embedding.
    window_sizes : tuple of int
        Side of the attention window in each stage, in tokens.
    """

    embed_dim: int
    num_heads: int
    stages: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    position_grid: tuple[int, int] = (7, 7)
    window_sizes: tuple[int, int, int, int] = (8, 4, 14, 7)


@dataclass(frozen=True, slots=True)
class Sam2Config:
    """One model: its trunk, its release and its widths.

    Attributes
    ----------
    trunk : HieraConfig
        The image trunk.
    release : Release
        Published generation the weights follow.
    width : int
        Channels of the feature pyramid, the prompt embeddings, the decoder and the object pointers.
    memory_channels : int
        Channels of a spatial memory.
    memory_layers : int
        Layers of the memory attention.
    memory_feedforward : int
        Hidden width of the feed-forward network in each of those layers.
    num_memories : int
        Temporal slots of the memory bank: one for prompted frames, the others for the most recent frames.
    image_size : int
        Side of the square working image the weights were trained for, in pixels.
    view_px : int or None
        Side of a view in which an object is decoded as the working image shows it, in pixels; small objects are seen
        from closer by, large ones in wider views (`sam2_model.views`). A multiple of 32. None is the whole working
        image, as in the published models, which all work at one size.
    neighbour_blocks : int
        Convolutional blocks in the mask decoder, at a stride of 8 pixels, that the published models do not have.
        Where objects are hardly larger than a token, masks are blocky without them.
    follows_masks : bool
        Whether the decoder is shown, when an object is followed, where it is expected (its last mask, moved on), and
        looks for it there first. Needs views. The published models know the object from its memories alone, at a
        stride of 16.

    Raises
    ------
    ConfigError
        If `view_px` is not a positive multiple of 32, or masks are followed without views.
    """

    trunk: HieraConfig
    release: Release = Release.V2_1
    width: int = 256
    memory_channels: int = 64
    memory_layers: int = 4
    memory_feedforward: int = 2048
    num_memories: int = 7
    image_size: int = 1024
    view_px: int | None = None
    neighbour_blocks: int = 0
    follows_masks: bool = False

    def __post_init__(self) -> None:
        if self.view_px is not None and (self.view_px < SIZE_STEP or self.view_px % SIZE_STEP):
            raise ConfigError(f"Views of {self.view_px} px are not a positive multiple of {SIZE_STEP}.")
        if self.follows_masks and self.view_px is None:
            raise ConfigError("A model that follows masks needs views: give view_px.")

    @property
    def field_px(self) -> int | None:
        """Side of the field that the decoder knows: positions run over it, and what is wider is seen from afar."""
        return None if self.view_px is None else 2 * self.view_px


TINY = HieraConfig(96, 1, (1, 2, 7, 2), (5, 7, 9))
SMALL = HieraConfig(96, 1, (1, 2, 11, 2), (7, 10, 13))
BASE_PLUS = HieraConfig(112, 2, (2, 3, 16, 3), (12, 16, 20), position_grid=(14, 14))
LARGE = HieraConfig(144, 2, (2, 6, 36, 4), (23, 33, 43), window_sizes=(8, 4, 16, 8))

NANO = Sam2Config(
    HieraConfig(48, 1, (1, 2, 3, 1), (4,), window_sizes=(8, 4, 8, 4)),
    width=128,
    memory_channels=32,
    memory_layers=2,
    memory_feedforward=512,
    num_memories=4,
    image_size=256,
    view_px=128,
    neighbour_blocks=2,
    follows_masks=True,
)

_PUBLISHED = {"tiny": TINY, "small": SMALL, "base-plus": BASE_PLUS, "large": LARGE}

CONFIGS: dict[str, Sam2Config] = (
    {"nano": NANO}
    | {name: Sam2Config(trunk) for name, trunk in _PUBLISHED.items()}
    | {f"{name}-2.0": Sam2Config(trunk, Release.V2_0) for name, trunk in _PUBLISHED.items()}
)
"""Every model known by name: `nano`, the four sizes of release 2.1, and the same four of 2.0."""


def config_of(name: str) -> Sam2Config:
    """Return the configuration of a model known by name.

    Raises
    ------
    ConfigError
        If there is no such model; the message lists those there are.
    """
    if name not in CONFIGS:
        raise ConfigError(f"There is no model called {name!r}. Choose one of: {', '.join(CONFIGS)}.")
    return CONFIGS[name]


def check_image_size(size: int) -> int:
    """Return a working size unchanged if the model can work at it.

    Raises
    ------
    ConfigError
        If the size is not a positive multiple of 32.
    """
    if size < SIZE_STEP or size % SIZE_STEP:
        below = size // SIZE_STEP * SIZE_STEP
        near = f"{below} or {below + SIZE_STEP}" if below > 0 else f"{SIZE_STEP} or more"
        raise ConfigError(f"Image size {size} is not a positive multiple of {SIZE_STEP}. Use {near}.")
    return size


def with_image_size(config: Sam2Config, size: int) -> Sam2Config:
    """Return the same model, meant for another working size.

    Raises
    ------
    ConfigError
        If the size is not a positive multiple of 32.
    """
    return replace(config, image_size=check_image_size(size))
