"""Memory attention: the current frame reads what is remembered (Ravi et al. 2024, section 4)."""

import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.attention import Attention
from sam2_model.position_encoding import Rotation

_POSITION_WEIGHT = 0.1


class MemoryAttentionLayer(nn.Module):
    """The frame looks at itself, then at the memories, then thinks."""

    def __init__(self, width: int, memory_channels: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads=1)
        self.cross_attn_image = Attention(width, heads=1, key_channels=memory_channels)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,  # (B, N, C)
        keys: Tensor,  # (B, M, Cm)
        values: Tensor,  # (B, M, Cm)
        rotation: Rotation,
        pointer_tokens: int,
    ) -> Tensor:
        """Return the frame's tokens after this layer, (B, N, C)."""
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed, normed, rotation)
        x = x + self.cross_attn_image(self.norm2(x), keys, values, rotation, pointer_tokens)
        result: Tensor = x + self.linear2(F.relu(self.linear1(self.norm3(x))))
        return result


class MemoryAttention(nn.Module):
    """A stack of layers, normalised at the end."""

    def __init__(self, width: int, memory_channels: int, layers: int, feedforward: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(width, memory_channels, feedforward) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        frame: Tensor,  # (B, C, h, w)
        frame_positions: Tensor,  # (C, h, w)
        memory: Tensor,  # (B, M, Cm)
        memory_positions: Tensor,  # (B, M, Cm)
        pointer_tokens: int,
    ) -> Tensor:
        """Return a frame conditioned on memories.

        Parameters
        ----------
        frame : Tensor
            Shape (B, C, h, w). A batch of one is shared: what precedes the first look at the memories runs once
            for all objects.
        frame_positions : Tensor
            Shape (C, h, w), or (B, C, h, w).
        memory, memory_positions : Tensor
            Shape (B, M, Cm): whole maps of h * w tokens, frame after frame, then the tokens of object pointers.
        pointer_tokens : int
            How many of the M tokens belong to pointers; they have no place on the grid.

        Returns
        -------
        Tensor
            Shape (B, C, h, w).
        """
        _, C, h, w = frame.shape
        # One table of rotary positions serves the frame and all memories: tokens of one place are alike on every frame.
        rotation = Rotation(h, w, C, frame.device)
        x = (frame + _POSITION_WEIGHT * frame_positions).flatten(2).transpose(1, 2)  # (B, h * w, C)
        # Positions decide what is read, not what it holds: they are in the keys and not in the values.
        keys = memory + memory_positions
        for layer in self.layers:
            x = layer(x, keys, memory, rotation, pointer_tokens)
        conditioned: Tensor = self.norm(x).transpose(1, 2)  # (B, C, h * w)
        return conditioned.reshape(-1, C, h, w)
