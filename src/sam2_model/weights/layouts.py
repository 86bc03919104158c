"""Two spellings of the same weights: Meta's parameter names, which are ours, and those of the `transformers` library.

The second differs so regularly that a few rules translate it, for every size and both releases.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from sam2_model.errors import CheckpointError

_TRANSFORMERS_TRUNK = "vision_encoder.backbone."
_IMAGE_FOURIER = "shared_image_embedding.positional_embedding"
_PROMPT_FOURIER = "prompt_encoder.shared_embedding.positional_embedding"
"""The same Fourier matrix twice. Some versions of the library write both, others the first alone."""

_POINT_ROWS = "prompt_encoder.point_embed.weight"
"""Four embeddings in one tensor, (4, width); Meta's files keep each in one of its own, (1, width)."""

_THREE_LAYER_MLPS = r"(output_hypernetworks_mlps\.\d|iou_prediction_head|pred_obj_score_head|obj_ptr_proj)"

_RULES: tuple[tuple[str, str], ...] = (
    # Tensors that belong to the model itself.
    (r"^memory_temporal_positional_encoding$", r"maskmem_tpos_enc"),
    (r"^no_memory_embedding$", r"no_mem_embed"),
    (r"^no_memory_positional_encoding$", r"no_mem_pos_enc"),
    (r"^no_object_pointer$", r"no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", r"no_obj_embed_spatial"),
    (r"^object_pointer_proj\.", r"obj_ptr_proj."),
    (r"^temporal_positional_encoding_projection_layer\.", r"obj_ptr_tpos_proj."),
    # Image encoder.
    (r"^vision_encoder\.backbone\.", r"image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"\.patch_embed\.projection\.", r".patch_embed.proj."),
    # Prompt encoder.
    (r"^prompt_encoder\.", r"sam_prompt_encoder."),
    (r"\.shared_embedding\.positional_embedding$", r".pe_layer.positional_encoding_gaussian_matrix"),
    (r"\.mask_embed\.conv1\.", r".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", r".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", r".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", r".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", r".mask_downscaling.6."),
    # Mask decoder.
    (r"^mask_decoder\.", r"sam_mask_decoder."),
    (r"\.upscale_conv1\.", r".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", r".output_upscaling.1."),
    (r"\.upscale_conv2\.", r".output_upscaling.3."),
    # Memory encoder: each step of the downsampler is a convolution, a norm and an activation without weights.
    *((rf"\.mask_downsampler\.layers\.{n}\.conv\.", f".mask_downsampler.encoder.{3 * n}.") for n in range(4)),
    *((rf"\.mask_downsampler\.layers\.{n}\.layer_norm\.", f".mask_downsampler.encoder.{3 * n + 1}.") for n in range(4)),
    (r"\.mask_downsampler\.final_conv\.", r".mask_downsampler.encoder.12."),
    (r"^memory_encoder\.feature_projection\.", r"memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", r"memory_encoder.out_proj."),
    (r"^memory_encoder\.memory_fuser\.", r"memory_encoder.fuser."),
    (r"\.depthwise_conv\.", r".dwconv."),
    (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
    (r"\.scale$", r".gamma"),
    # Layers found in several places. The hidden layers of an MLP are counted apart from its first and last.
    (rf"{_THREE_LAYER_MLPS}\.layers\.0\.", r"\1.layers.1."),
    (rf"{_THREE_LAYER_MLPS}\.proj_out\.", r"\1.layers.2."),
    (r"\.mlp\.proj_out\.", r".mlp.layers.1."),
    (r"\.proj_in\.", r".layers.0."),
    (r"\.o_proj\.", r".out_proj."),
    (r"\.layer_norm(_final_attn|\d?)\.", r".norm\1."),
)


def is_transformers_layout(keys: Iterable[str]) -> bool:
    """Return whether these are the parameter names of the `transformers` library's SAM 2."""
    return any(key.startswith(_TRANSFORMERS_TRUNK) for key in keys)


def meta_key(key: str) -> str:
    """Return Meta's name of a parameter given in the `transformers` spelling; an unknown name stays as it is."""
    for pattern, replacement in _RULES:
        key = re.sub(pattern, replacement, key)
    return key


def to_meta_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in Meta's spelling, whichever of the two they came in. Tensors are shared, not copied.

    Raises
    ------
    CheckpointError
        If the two copies of the Fourier matrix differ, or a parameter is there in both spellings.
    """
    if not is_transformers_layout(state):
        return dict(state)
    renamed: dict[str, Tensor] = {}
    for key, tensor in _with_one_fourier_matrix(state).items():
        for name, part in _renamed(key, tensor):
            if name in renamed:
                raise CheckpointError(f"It holds {name} twice, in two spellings. Use weights saved by one program.")
            renamed[name] = part
    return renamed


def _renamed(key: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    if key == _POINT_ROWS and tensor.ndim == 2:
        for row in range(len(tensor)):
            yield f"sam_prompt_encoder.point_embeddings.{row}.weight", tensor[row : row + 1]
    else:
        yield meta_key(key), tensor


def _with_one_fourier_matrix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights without the second copy of the Fourier matrix."""
    rest = dict(state)
    of_images = rest.pop(_IMAGE_FOURIER, None)
    if of_images is None:
        return rest
    of_prompts = rest.setdefault(_PROMPT_FOURIER, of_images)
    if of_prompts.shape != of_images.shape or not torch.equal(of_prompts.double(), of_images.double()):
        raise CheckpointError(
            f"Its two copies of the Fourier matrix, {_IMAGE_FOURIER} and {_PROMPT_FOURIER}, differ: prompts and images "
            "would be described in two ways. Use weights in which they agree."
        )
    return rest
