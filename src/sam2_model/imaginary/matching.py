"""Memory attention that begins by matching: what a token shows is looked for among what is remembered.

`initialise.localise_memory` lets equal places meet, and whatever moves further than a token is lost: measured on
`nano`, Dice fell from 0.91 to 0.57 when everything on the second frame had moved by 16 pixels. Gradients hardly change
that, for almost nothing is read from elsewhere. Here the last layer gets queries and keys that agree on what they
show, found as canonical correlations (Hotelling 1936) between the tokens of a frame and memories of the same things
elsewhere. Channels that rotary positions turn slowly carry what is seen; those that turn fast say where, and near
places are still preferred.
"""

import numpy as np
import torch
from torch import Tensor, nn

from sam2_model.config import STRIDE
from sam2_model.imaginary.scene_batches import scene_batch
from sam2_model.imaginary.scenes import SceneOptions
from sam2_model.memory_attention import MemoryAttentionLayer
from sam2_model.position_encoding import TEMPERATURE
from sam2_model.sam2 import Sam2, SpatialMemory

_SCENES, _OBJECTS = 40, 6
_SCENE_PX, _FRAME_PX = 384, 256
_STEPS = (-3, -2, 2, 3)
"""How far a frame is moved, in tokens, along each axis."""

_SLOW = 0.02
"""Radians a token: channels that turn by less see the whole frame in one direction."""

_AGREEMENT = 3.0
"""Gain of the products of queries and keys that show the same; about 6 in the exponent of attention."""

_SAME_PLACE = 2.2
"""Bias of the fast channels; smaller than in `localise_memory`, so that it reaches over several tokens."""

_ATTENTIVE = 3.0
_POINTERS_BEHIND = 3.0
"""How much less than memories of the same place object pointers weigh in the exponent, before anything is learnt."""


@torch.no_grad()
def match_memory(model: Sam2, seed: int) -> None:
    """Replace queries and keys of the last layer of memory attention by such that compare content.

    Parameters
    ----------
    model : Sam2
        Changed in place. Its features must have been trained: they decide what is alike.
    seed : int
        Decides the scenes on which that is measured.
    """
    layer = list(model.memory_attention.layers.children())[-1]
    assert isinstance(layer, MemoryAttentionLayer)
    queries, keys = _seen_elsewhere(model, layer, np.random.default_rng(seed))
    to_query, to_key, correlation = _canonical(queries, keys)
    width = queries.shape[1]
    slow = _slow_pairs(width)
    # The first of a pair of channels carries content, the second of the last pair recognises pointers.
    content = [2 * pair for pair in slow][: len(correlation)]
    strength = (_AGREEMENT * correlation[: len(content)]).sqrt()[:, None]
    attention = layer.cross_attn_image
    for projection, directions, tokens in (
        (attention.q_proj, to_query, queries),
        (attention.k_proj, to_key, keys),
    ):
        projection.weight.zero_()
        projection.bias.fill_(_SAME_PLACE)
        projection.bias[[channel for pair in slow for channel in (2 * pair, 2 * pair + 1)]] = 0
        _read(projection, content, strength * directions[:, : len(content)].T, tokens)
    _read_pointers(model, layer, keys, channel=2 * slow[-1] + 1, fast_channels=width - 2 * len(slow))


def _seen_elsewhere(model: Sam2, layer: MemoryAttentionLayer, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return queries (N, C) of frames, and keys (N, Cm) of the same things where they were a frame before."""
    inputs: list[tuple[Tensor, Tensor]] = []
    hook = layer.cross_attn_image.register_forward_pre_hook(lambda _, given: inputs.append(given[:2]))
    side = _FRAME_PX // STRIDE
    rows = []
    try:
        for _ in range(_SCENES):
            batch = scene_batch(rng, SceneOptions(size=_SCENE_PX, radius_px=(7.0, 60.0)), 1, _OBJECTS)
            down, right = (int(step) for step in rng.choice(_STEPS, 2))
            before, after = (_window(batch.images[0], *moved) for moved in ((0, 0), (down, right)))
            masks = _window(batch.masks[0], 0, 0)
            first, second = (model.encode_image(x).rows(batch.owner) for x in (before, after))
            memory = model.encode_memory(first, masks, masks.flatten(1).any(1, keepdim=True))
            model.condition(second, [SpatialMemory(memory, model.config.num_memories - 1)], [])
            query, key = (x.reshape(len(x), side, side, -1) for x in inputs.pop())
            (y0, y1), (x0, x1) = _overlap(side, down), _overlap(side, right)
            rows.append((query[:, y1, x1].flatten(0, 2), key[:, y0, x0].flatten(0, 2)))
    finally:
        hook.remove()
    queries, keys = zip(*rows, strict=True)
    return torch.cat(queries), torch.cat(keys)


def _window(x: Tensor, down: int, right: int) -> Tensor:
    """Return the middle of pictures (..., S, S) whose contents have moved by so many tokens."""
    border = (_SCENE_PX - _FRAME_PX) // 2
    y, x0 = border - down * STRIDE, border - right * STRIDE
    return x[..., y : y + _FRAME_PX, x0 : x0 + _FRAME_PX]


def _overlap(side: int, step: int) -> tuple[slice, slice]:
    """Return the tokens of the first and of the second frame that show the same, along one axis."""
    return slice(max(0, -step), side - max(0, step)), slice(max(0, step), side - max(0, -step))


def _canonical(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return directions of x (N, C) and y (N, Ck), (C, k) and (Ck, k), that vary together, and how much, (k,)."""
    x, y = (z.double() - z.double().mean(0) for z in (x, y))
    from_x, from_y = _whiten(x), _whiten(y)
    left, correlation, right = torch.linalg.svd(from_x @ (x.T @ y / len(x)) @ from_y, full_matrices=False)
    return (from_x @ left).to(torch.float32), (from_y @ right.T).to(torch.float32), correlation.to(torch.float32)


def _whiten(x: Tensor) -> Tensor:
    """Return the matrix (C, C) that gives centred tokens (N, C) unit covariance."""
    variance, axes = torch.linalg.eigh(x.T @ x / len(x))
    floor = 1e-4 * float(variance[-1])  # what hardly varies is noise
    result: Tensor = axes @ torch.diag((variance + floor) ** -0.5) @ axes.T
    return result


def _slow_pairs(width: int) -> list[int]:
    """Return the pairs of channels of `Rotation` that hardly turn, the fastest first."""
    frequency = TEMPERATURE ** -(torch.arange(0, width, 4) / width)
    both = torch.cat((frequency, frequency))
    return sorted(torch.nonzero(both < _SLOW)[:, 0].tolist(), key=lambda pair: -float(both[pair]))


def _read(projection: nn.Linear, channels: list[int], weight: Tensor, tokens: Tensor) -> None:
    """Change some channels of a projection to read differences from the mean of the tokens."""
    projection.weight[channels] = weight
    projection.bias[channels] = -(weight @ tokens.mean(0))


def _read_pointers(model: Sam2, layer: MemoryAttentionLayer, keys: Tensor, *, channel: int, fast_channels: int) -> None:
    """Change weights so that object pointers, whose keys have no place, are read nearly as much as memories."""
    centred = (keys - keys.mean(0)).double()
    variance, axes = torch.linalg.eigh(centred.T @ centred / len(keys))
    mark, loudness = axes[:, 0].to(keys.dtype), float(variance[0]) ** 0.5  # memories hardly vary in this direction
    attention = layer.cross_attn_image
    _read(attention.k_proj, [channel], (0.5 / loudness) * mark[None], keys)
    attention.q_proj.bias[channel] = _ATTENTIVE
    root = attention.q_proj.out_features**0.5
    wanted = fast_channels * _SAME_PLACE**2 / root - _POINTERS_BEHIND
    model.obj_ptr_tpos_proj.bias.add_(mark * (wanted * root * loudness / (0.5 * _ATTENTIVE)))
