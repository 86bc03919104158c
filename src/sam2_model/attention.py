"""Attention between token sequences, with and without rotary positions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.position_encoding import Rotation


class Attention(nn.Module):
    """Multi-head attention whose inner width may be narrower than its input.

    A batch of one is shared: queries of shape (1, ...) meet keys of shape (B, ...) and the other way round, so that
    what does not depend on the prompt or the object is computed once.

    Parameters
    ----------
    channels : int
        Width of the queries and of the output.
    heads : int
        Number of attention heads.
    inner_channels : int, optional
        Width inside the attention; `channels` when omitted.
    key_channels : int, optional
        Width of keys and values; `channels` when omitted.
    """

    def __init__(
        self, channels: int, heads: int, *, inner_channels: int | None = None, key_channels: int | None = None
    ) -> None:
        super().__init__()
        inner = inner_channels or channels
        keys = key_channels or channels
        self.heads = heads
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(keys, inner)
        self.v_proj = nn.Linear(keys, inner)
        self.out_proj = nn.Linear(inner, channels)

    def _split(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        return x.view(B, N, self.heads, C // self.heads).transpose(1, 2)  # (B, heads, N, C / heads)

    def forward(
        self,
        q: Tensor,  # (B, N, C)
        k: Tensor,  # (B, M, Ck)
        v: Tensor,  # (B, M, Ck)
        rotation: Rotation | None = None,
        unrotated_keys: int = 0,
    ) -> Tensor:
        """Return what queries read from the values of the keys that they attend to, (B, N, C).

        Parameters
        ----------
        q, k, v : Tensor
            Shapes (B, N, C), (B, M, Ck) and (B, M, Ck); a batch of one is shared.
        rotation : Rotation, optional
            Rotary positions of queries and keys.
        unrotated_keys : int
            How many of the last keys have no place on the grid (object pointers).
        """
        q, k, v = self._split(self.q_proj(q)), self._split(self.k_proj(k)), self._split(self.v_proj(v))
        if rotation is not None:
            placed = k.shape[2] - unrotated_keys
            q = rotation(q)
            k = torch.cat((rotation(k[:, :, :placed]), k[:, :, placed:]), dim=2)
        B = max(q.shape[0], k.shape[0])
        q, k, v = (x.expand(B, -1, -1, -1) for x in (q, k, v))
        x = F.scaled_dot_product_attention(q, k, v)  # (B, heads, N, C / heads)
        result: Tensor = self.out_proj(x.transpose(1, 2).flatten(2))  # (B, N, C)
        return result
