"""Weights to begin with: priors that a small model would need very long to find by itself.

Attention between places starts as attention to nothing in particular. The published models learnt otherwise from
millions of masks; here equal places are made to meet from the first step, and training departs from there.
Measured on `nano`: following a mask fell from a loss of 2.4 to 0.5 in 270 steps, where 340 steps without had brought
it from 2.9 to 2.2; before, conditioned embeddings did not depend on the remembered mask at all.
"""

from itertools import cycle

import torch
from torch import Tensor, nn

from sam2_model.attention import Attention
from sam2_model.mask_decoder import NUM_MASKS
from sam2_model.sam2 import Sam2

_SAME_PLACE = 3.0
"""Bias of queries and keys. Tokens next to each other then weigh about a fifth of tokens at the same place."""

_FAINT = 0.2
_LOCAL_HEADS = 4
_HEAD_LOGIT = 6.0
"""What a local head adds to the logit of two tokens at the same place."""

_MIDDLING_FREQUENCY = 1.3
"""Periods a side of an image: coarser ones cannot tell neighbours apart, finer ones repeat between coarse tokens."""

_NECK = ("image_encoder.neck.convs.0.conv.", "image_encoder.neck.convs.1.conv.")
_DECODER = "sam_mask_decoder.transformer.layers."
_LOCAL = ("0.cross_attn_token_to_image", "0.cross_attn_image_to_token", "1.cross_attn_token_to_image")
_SCALES_WITH_EMBEDDING = (
    *_NECK,
    "no_mem_embed",
    "sam_prompt_encoder.no_mask_embed.",
    "sam_prompt_encoder.mask_downscaling.6.",
    "memory_attention.norm.",
    f"{_DECODER}0.cross_attn_image_to_token.out_proj.",
)
_SCALES_IN_EVERY_MEMORY_LAYER = ("self_attn.out_proj.", "cross_attn_image.out_proj.", "linear2.")
_SCALES_AGAINST_EMBEDDING = (
    "memory_encoder.pix_feat_proj.weight",
    f"{_DECODER}0.cross_attn_token_to_image.v_proj.weight",
    f"{_DECODER}0.cross_attn_token_to_image.k_proj.weight",
    f"{_DECODER}0.cross_attn_image_to_token.q_proj.weight",
)


def soften_start(model: Sam2) -> None:
    """Prepare randomly initialised weights, so that masks get gradient from the first step.

    The object score starts positive, because a negative one hides every mask, and the mask logits start small.
    """
    weights = dict(model.named_parameters())
    with torch.no_grad():
        weights["sam_mask_decoder.pred_obj_score_head.layers.2.weight"].mul_(0.1)
        weights["sam_mask_decoder.pred_obj_score_head.layers.2.bias"].fill_(4.0)
        for mask in range(NUM_MASKS):
            for kind in ("weight", "bias"):
                weights[f"sam_mask_decoder.output_hypernetworks_mlps.{mask}.layers.2.{kind}"].mul_(0.05)
        for parameter in (model.maskmem_tpos_enc, model.no_mem_embed, model.no_obj_ptr):
            nn.init.trunc_normal_(parameter, std=0.02)


def embedding_scale(model: Sam2, images: Tensor) -> float:
    """Return the standard deviation of the embedding of normalised images (B, 3, S, S)."""
    with torch.no_grad():
        return float(model.encode_image(images).embedding.std())


def quieten_embedding(model: Sam2, factor: float) -> None:
    """Divide the image embedding by a factor and make up for it wherever it is read.

    Sums of embedding and position are what attention compares; a loud embedding drowns the positions. Everything
    else computes what it computed before.

    Parameters
    ----------
    model : Sam2
        Changed in place.
    factor : float
        Positive; several times the standard deviation of a position code (0.7) is too loud.
    """
    in_memory = tuple(
        f"memory_attention.layers.{layer}.{name}"
        for layer in range(model.config.memory_layers)
        for name in _SCALES_IN_EVERY_MEMORY_LAYER
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith((*_SCALES_WITH_EMBEDDING, *in_memory)):
                parameter.div_(factor)
            elif name in _SCALES_AGAINST_EMBEDDING:
                parameter.mul_(factor)


def localise_prompts(model: Sam2) -> None:
    """Change half of the decoder's heads so that they pair prompts with the image tokens at their place.

    Queries and keys read the sine and cosine of the same few frequencies, so that their product falls with the
    distance between prompt and token. The last attention and the second look of the image at the prompts are left
    alone: they find the place by themselves.
    """
    frequencies = model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix  # (2, C / 2)
    order = (frequencies.norm(dim=0) - _MIDDLING_FREQUENCY).abs().argsort().tolist()
    for name, module in model.named_modules():
        if name.startswith(_DECODER) and name.removeprefix(_DECODER) in _LOCAL and isinstance(module, Attention):
            for projection in (module.q_proj, module.k_proj):
                _read_positions(projection, module.heads, order)


def _read_positions(projection: nn.Linear, heads: int, frequencies: list[int]) -> None:
    """Change the first heads of a projection to read sines and cosines of some of the frequencies, and nothing else."""
    width = projection.out_features // heads
    amplitude = (_HEAD_LOGIT * width**0.5 / (width // 2)) ** 0.5
    rows = range(0, _LOCAL_HEADS * width - 1, 2)
    with torch.no_grad():
        projection.weight[: _LOCAL_HEADS * width] = 0
        projection.bias[: _LOCAL_HEADS * width] = 0
        for row, frequency in zip(rows, cycle(frequencies), strict=False):
            projection.weight[row, frequency] = amplitude
            projection.weight[row + 1, len(frequencies) + frequency] = amplitude


def localise_memory(model: Sam2, scale: float) -> None:
    """Change memory attention so that each token reads what is remembered at its own place.

    Attention over a whole memory of random keys gives every token the same mixture, from which the mask has vanished:
    there is nothing to learn from. Equal biases of queries and keys make rotary attention favour equal places, and
    what does not move much is carried over from the first step; following movement is learnt from there.

    Parameters
    ----------
    model : Sam2
        Changed in place.
    scale : float
        Standard deviation of the image embedding. Conditioned embeddings, which leave a normalisation, are given the
        same, so that a decoder trained without memory understands them.
    """
    with torch.no_grad():
        for layer in model.memory_attention.layers.children():
            for name, parameter in layer.named_parameters():
                match name.removeprefix("cross_attn_image."):
                    case "q_proj.weight" | "k_proj.weight":
                        parameter.mul_(_FAINT)
                    case "q_proj.bias" | "k_proj.bias":
                        parameter.fill_(_SAME_PLACE)
        model.memory_attention.norm.weight.fill_(scale)
        model.memory_attention.norm.bias.zero_()
