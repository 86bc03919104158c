"""From a name or a file to a network ready to predict, strictly; and back to a file.

Every tensor of the model must be in the file, with its shape, and nothing else: weights of one release load into the
other without complaint when that is not asked, and then track worse.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sam2_model.config import CONFIGS, Sam2Config, check_image_size, with_image_size
from sam2_model.device import choose_device
from sam2_model.errors import CheckpointError, shown
from sam2_model.sam2 import Sam2
from sam2_model.weights.files import Weights, read_weights, write_weights
from sam2_model.weights.layouts import to_meta_layout
from sam2_model.weights.metadata import Calibration, WeightMetadata, check_calibration, decode, encode
from sam2_model.weights.places import place_of
from sam2_model.weights.recognition import Shapes, check_shapes, recognise
from sam2_model.weights.registry import EMBEDDED, PUBLISHED, check_genuine, find_local, note_on_name, sha256_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A network ready to predict, and where it came from.

    Attributes
    ----------
    network : Sam2
        In evaluation mode, on its device, float32, without gradients.
    name : str
        Name in the registry, the file's name without its ending, or the folder's name.
    sha256 : str
        Checksum of the file; of a folder, as `registry.sha256_of` defines it.
    calibration : mapping of str to float or None
        Numbers that turn raw scores into confidence; None if the model has not been calibrated.
    """

    network: Sam2
    name: str
    sha256: str
    calibration: Calibration | None = None

    @property
    def config(self) -> Sam2Config:
        """Trunk, release, widths and image size."""
        return self.network.config

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.network.device


def load_model(
    source: str | PathLike[str] | LoadedModel,
    *,
    device: str | torch.device = "cpu",
    image_size: int | None = None,
) -> LoadedModel:
    """Return a model ready to predict, loaded strictly. Nothing is ever downloaded.

    Parameters
    ----------
    source : str, path or LoadedModel
        A name of the registry, a weight file, a folder as the `transformers` library saves models, or a loaded model,
        which is returned as it is, where it is. A file that happens to have a registry name is meant by giving more of
        its path ("./tiny").
    device : str or torch.device
        As in `device.choose_device`.
    image_size : int, optional
        Side of the working image; by default the one the file states, or the known model's own.

    Raises
    ------
    CheckpointError
        If the weights are not on this disk, or the file is missing, damaged, unsafe, changed, or of another model.
    ConfigError
        If the device is not there or the image size is not a multiple of 32 up to 4096.
    """
    if isinstance(source, LoadedModel):
        return source
    chosen = choose_device(device)
    if image_size is not None:
        check_image_size(image_size)
    path = find_weights(source)
    with place_of(path).unchanged():
        name, sha256 = _name_and_checksum(path, source)
        note = note_on_name(path, sha256)
        if note is not None:
            logger.warning("%s", note)
        network, calibration = load_network(path, chosen, image_size)
    return LoadedModel(network, name, sha256, calibration)


def find_weights(source: str | PathLike[str]) -> Path:
    """Return the file or folder meant by a registry name or a path.

    Raises
    ------
    CheckpointError
        If the named weights are not on this disk, or there is no such file or folder of weights.
    """
    if not isinstance(source, str) or source not in CONFIGS:
        path = Path(source)
        if isinstance(source, str) and path.name == source and not path.suffix and not os.path.lexists(path):
            raise CheckpointError(
                f"There is neither a model nor a file called {shown(source)}. Choose one of: {', '.join(CONFIGS)}; or "
                "give the path of a .pt or .safetensors file."
            )
        place_of(path)
        return path
    found = find_local(source)
    if found is None and source == EMBEDDED:
        raise CheckpointError(f"The embedded model {source!r} is missing from the package. Install napari-sam2 again.")
    if found is None:
        raise CheckpointError(
            f"The weights of {source!r} ({PUBLISHED[source].title}) are not on this computer. Fetch them once with "
            f"`napari-sam2 models download {source}`, or give the path of the file."
        )
    return found


def load_network(path: Path, device: torch.device, image_size: int | None = None) -> tuple[Sam2, Calibration | None]:
    """Return the network in a weight file, and its calibration if it has one; parameters as in `load_model`.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, unsafe, or of another model.
    ConfigError
        If the image size is not a multiple of 32 up to 4096.
    """
    content = read_weights(path)
    try:
        state = to_meta_layout(content.tensors)
        shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
        stated = decode(content.metadata)
        config = stated.config if stated is not None else recognise(shapes)
        if image_size is not None:
            config = with_image_size(config, image_size)
        network = _blueprint(config, shapes)
        check_shapes(shapes, {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}, config)
        del content  # the last hold on tensors in other precisions, so that filling frees them one by one
        _fill(network, state, device)
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be used. {error}") from error
    return network, stated.calibration if stated is not None else None


def save_model(
    path: str | PathLike[str],
    network: Sam2,
    *,
    name: str,
    calibration: Mapping[str, float] | None = None,
    dtype: torch.dtype = torch.float32,
    overwrite: bool = False,
) -> None:
    """Write a network as safetensors in Meta's layout, with its configuration, size and calibration in the metadata.

    Parameters
    ----------
    path : str or path
        The file to write; conventionally ends in ".safetensors".
    network : Sam2
        On any device.
    name : str
        Name of the model, kept in the file.
    calibration : mapping of str to float, optional
        Numbers that turn raw scores into confidence.
    dtype : torch.dtype
        Precision in the file; it is float32 again after loading.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    CheckpointError
        If the file exists and may not be overwritten or cannot be written, if a weight is not finite in that precision,
        or the calibration is not.
    """
    tensors = {
        key: tensor.detach().to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)
        for key, tensor in network.state_dict().items()
    }
    for key, tensor in tensors.items():
        _check_finite(key, tensor, f"{path} was not written")
    try:
        metadata = encode(WeightMetadata(name, network.config, check_calibration(calibration)))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} was not written: {error}.") from error
    write_weights(Path(path), Weights(tensors, metadata), overwrite=overwrite)


def _name_and_checksum(path: Path, source: str | PathLike[str]) -> tuple[str, str]:
    """Return the name that weights go by, and their checksum, compared before they are opened."""
    if isinstance(source, str) and source in PUBLISHED:
        return source, check_genuine(path, PUBLISHED[source])
    return place_of(path).name, sha256_of(path)


def _blueprint(config: Sam2Config, shapes: Shapes) -> Sam2:
    """Return the network without memory for its parameters."""
    if sum(config.trunk.stages) + config.memory_layers > len(shapes):
        raise CheckpointError(
            f"Its metadata speaks of {sum(config.trunk.stages)} blocks, but it holds {len(shapes)} tensors. Get it "
            "again from where it came."
        )
    with _WithoutValues(), torch.device("meta"):
        return Sam2(config)


class _WithoutValues(TorchFunctionMode):
    """Draws no random numbers for tensors without memory, for which torch would load its compiler: seconds."""

    def __torch_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        drawn: Callable[..., object] = torch.empty if function is torch.randn else function
        return drawn(*args, **kwargs)


def _fill(network: Sam2, state: dict[str, Tensor], device: torch.device) -> None:
    """Put parameters into a blueprint, moved out of `state` one by one so that none is in memory twice."""
    converted = {}
    for key in list(state):
        tensor = state.pop(key)
        # A copy even where nothing changes: tensors of a file may share their memory.
        single = tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        _check_finite(key, single, "Its weights are broken")  # as they are used: of 64 bits, some are infinite in 32
        converted[key] = single.to(device)
    network.load_state_dict(converted, strict=True, assign=True)
    network.eval().requires_grad_(requires_grad=False)


def _check_finite(key: str, tensor: Tensor, consequence: str) -> None:
    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(
            f"{consequence}: {key} holds values that are not finite as {tensor.dtype}. Use an earlier state of the "
            "training, or float32."
        )
