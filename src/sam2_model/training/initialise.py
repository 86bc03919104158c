"""Weights to begin with: what a random or borrowed model needs before it can learn."""

import torch
from torch import nn

from sam2_model.mask_decoder import NUM_MASKS
from sam2_model.sam2 import Sam2

_SAME_PLACE = 3.0
"""The tokens next to it then weigh about a fifth of the token at the same place."""

_FAINT = 0.2


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


def localise_memory(model: Sam2, embedding_scale: float) -> None:
    """Let memory attention begin by reading, for each token, what is remembered at its own place.

    Attention over a whole memory of random keys gives every token the same mixture, from which the mask has vanished:
    there is nothing to learn from. Equal biases of queries and keys make rotary attention favour equal places, and
    what does not move much is carried over from the first step; following movement is learnt from there.

    Parameters
    ----------
    model : Sam2
        Changed in place.
    embedding_scale : float
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
        model.memory_attention.norm.weight.fill_(embedding_scale)
        model.memory_attention.norm.bias.zero_()
