"""The whole configuration space of SAM 2: a trunk, a release and a few widths.

The eight published models differ in six numbers of the trunk and in the release (Ravi et al. 2024, appendix C, and
the files that accompany the checkpoints). What else is below is the same for all of them; `NANO` is the one
model here that changes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from sam2_model.errors import ConfigError, shown

STRIDE = 16
"""Pixels of the working image per token of the embedding, along each axis."""

SIZE_STEP = 32
"""The working size is a multiple of this: the coarsest trunk stage has stride 32."""

LARGEST_IMAGE_SIZE = 4096
"""Four times the side of the published models. Memory grows with the square of the side, and time with its fourth power
where blocks attend to the whole image: here an image takes minutes, and more is hardly ever at hand of either."""

RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "embed_dim": (8, 1024),
        "num_heads": (1, 64),
        "stages": (1, 256),
        "position_grid": (1, 256),
        "window_sizes": (1, 64),
        "width": (16, 4096),
        "memory_channels": (4, 1024),
        "memory_layers": (1, 64),
        "memory_feedforward": (1, 65_536),
        "num_memories": (1, 64),
        "image_size": (SIZE_STEP, LARGEST_IMAGE_SIZE),
        "view_px": (SIZE_STEP, LARGEST_IMAGE_SIZE),
        "neighbour_blocks": (0, 64),
    }
)
"""Smallest and largest value of every number of a configuration: several times what any published model has.

A weight file states its configuration, and what it states is built: a wrong file has to be refused before that.
"""

_WIDTH_STEP = 16
"""Eight heads of the mask decoder share half the width, an even number of channels each."""


class Release(Enum):
    """Which published generation a set of weights belongs to."""

    V2_0 = "2.0"
    V2_1 = "2.1"
    """Adds projected temporal positions for object pointers and a no-object embedding for memories."""


class Framing(Enum):
    """How a frame becomes the working image. The word is recorded with what it has made."""

    SQUARE = "square"
    """The whole frame, stretched into a square: of every model what it did before it had a choice."""
    WHOLE = "whole"
    """The whole frame; in models with views in its proportions, in the others stretched into a square."""
    NATIVE = "native"
    """The whole frame while it is hardly larger than the working image; else parts of it, pixel for pixel."""


LARGEST_WHOLE = 1024
"""Longer side in pixels of the largest frame that is seen whole under `Framing.NATIVE`."""


def check_image_size(size: int) -> int:
    """Return a working size unchanged if the model can work at it.

    Raises
    ------
    ConfigError
        If the size is not a positive multiple of 32, or is above 4096.
    """
    if type(size) is not int:
        raise ConfigError(f"Image size {shown(size)} is not a whole number. Use a multiple of {SIZE_STEP}.")
    if size > LARGEST_IMAGE_SIZE:
        raise ConfigError(
            f"Image size {shown(size)} is above {LARGEST_IMAGE_SIZE}, the largest there is: memory grows with its "
            "square and time faster. Use less, or cut the image to the part that matters."
        )
    if size < SIZE_STEP or size % SIZE_STEP:
        below = size // SIZE_STEP * SIZE_STEP
        near = f"{below} or {below + SIZE_STEP}" if below > 0 else f"{SIZE_STEP} or more"
        raise ConfigError(f"Image size {shown(size)} is not a positive multiple of {SIZE_STEP}. Use {near}.")
    return size


def _check_number(name: str, value: object) -> None:
    low, high = RANGES[name]
    # Python's True would pass for 1.
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{name}: {shown(value)} is not a whole number from {low} to {high}.")


def _check_numbers(name: str, values: object, length: int) -> None:
    if not isinstance(values, tuple) or len(values) != length:
        raise ConfigError(f"{name} is {shown(values)}. Use {length} whole numbers.")
    for value in values:
        _check_number(name, value)


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
        Side of the attention window in each stage, in tokens. All but the last are even: the first block of the next
        stage halves them.

    Raises
    ------
    ConfigError
        If a number is outside its range (`RANGES`), the heads do not divide the channels, a global block does not
        exist, or a window that is halved is odd.
    """

    embed_dim: int
    num_heads: int
    stages: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    position_grid: tuple[int, int] = (7, 7)
    window_sizes: tuple[int, int, int, int] = (8, 4, 14, 7)

    def __post_init__(self) -> None:
        _check_number("embed_dim", self.embed_dim)
        _check_number("num_heads", self.num_heads)
        _check_numbers("stages", self.stages, 4)
        _check_numbers("position_grid", self.position_grid, 2)
        _check_numbers("window_sizes", self.window_sizes, 4)
        blocks = sum(self.stages)
        if not isinstance(self.global_blocks, tuple) or len(self.global_blocks) > blocks:
            raise ConfigError(f"global_blocks is {shown(self.global_blocks)}. Use indices of the {blocks} blocks.")
        for index in self.global_blocks:
            if type(index) is not int or not 0 <= index < blocks:
                raise ConfigError(f"global_blocks holds {shown(index)}. Use indices from 0 to {blocks - 1}.")
        if self.embed_dim % self.num_heads:
            raise ConfigError(f"num_heads is {self.num_heads}, which does not divide embed_dim, {self.embed_dim}.")
        if any(side % 2 for side in self.window_sizes[:-1]):
            raise ConfigError(f"window_sizes is {self.window_sizes}. All but the last are even numbers.")


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
    has_memory : bool
        Whether there are the parts that remember. A model without them segments images and follows nothing.
    has_instance_decoder : bool
        Whether there is the part that sees where objects are, all at once (`sam2_model.instance_decoder`). Needs views.
        The published models have none, and ask for a grid of points (`sam2_model.mask_generator`).

    Raises
    ------
    ConfigError
        If a number is outside its range (`RANGES`), sizes are not multiples of 32, `width` not one of 16 and of
        `memory_channels`, these not one of 4, or masks are followed without views or memory.
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
    has_memory: bool = True
    has_instance_decoder: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "memory_channels", "memory_layers", "memory_feedforward", "num_memories"):
            _check_number(name, getattr(self, name))
        _check_number("neighbour_blocks", self.neighbour_blocks)
        check_image_size(self.image_size)
        if self.view_px is not None:
            _check_number("view_px", self.view_px)
            if self.view_px % SIZE_STEP:
                raise ConfigError(f"Views of {self.view_px} px are not a positive multiple of {SIZE_STEP}.")
        self._check_flags()
        if self.width % _WIDTH_STEP or self.width % self.memory_channels or self.memory_channels % 4:
            raise ConfigError(
                f"width is {self.width} and memory_channels {self.memory_channels}. The width is a multiple of "
                f"{_WIDTH_STEP} and of the memory channels, and these are a multiple of 4."
            )

    def _check_flags(self) -> None:
        for name in ("follows_masks", "has_memory", "has_instance_decoder"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {shown(getattr(self, name))}, neither true nor false.")
        if self.follows_masks and self.view_px is None:
            raise ConfigError("A model that follows masks needs views: give view_px.")
        if self.follows_masks and not self.has_memory:
            raise ConfigError("A model that follows masks needs memory.")
        if self.has_instance_decoder and self.view_px is None:
            raise ConfigError("A model with an instance decoder needs views: give view_px.")

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
    has_instance_decoder=True,
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


def with_image_size(config: Sam2Config, size: int) -> Sam2Config:
    """Return the same model, meant for another working size.

    Raises
    ------
    ConfigError
        If the size is not a positive multiple of 32, or is above 4096.
    """
    return replace(config, image_size=check_image_size(size))
