"""The mask decoder: a two-way transformer and the heads that read it (Ravi et al. 2024, figure 9)."""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2_model.attention import Attention
from sam2_model.layers import MLP, LayerNorm2d
from sam2_model.mask_ops import stability_score

NUM_MASKS = 4
"""One mask for unambiguous prompts, then three candidates for ambiguous ones."""

NUM_CANDIDATES = NUM_MASKS - 1
"""Candidates for an ambiguous prompt: part, whole, group."""

_STABILITY_OFFSET, _STABLE = 0.05, 0.98
"""Shift of the threshold by which stability is measured, in logits, and the score from which on a mask is stable."""

_HEADS = 8
_LAYERS = 2
_FEEDFORWARD = 2048
_IOU_HIDDEN = 256


@dataclass(frozen=True, slots=True, eq=False)
class MaskDecoderOutput:
    """Everything the decoder says about B prompts.

    Attributes
    ----------
    mask_logits : Tensor
        Shape (B, 4, H / 4, W / 4): the single mask, then the three candidates. Put together from views: H / 2, W / 2.
    predicted_iou : Tensor
        Shape (B, 4), in [0, 1].
    mask_tokens : Tensor
        Shape (B, 4, C), from which object pointers are made.
    object_score_logit : Tensor
        Shape (B, 1); positive where the object is there at all.
    """

    mask_logits: Tensor
    predicted_iou: Tensor
    mask_tokens: Tensor
    object_score_logit: Tensor

    def rows(self, index: Tensor) -> "MaskDecoderOutput":
        """Return the answers to some of the prompts, chosen by number or by a boolean mask."""
        return MaskDecoderOutput(*(getattr(self, field.name)[index] for field in fields(self)))

    @staticmethod
    def join(outputs: "list[MaskDecoderOutput]") -> "MaskDecoderOutput":
        """Return the answers to several groups of prompts as one."""
        names = [field.name for field in fields(MaskDecoderOutput)]
        return MaskDecoderOutput(*(torch.cat([getattr(output, name) for output in outputs]) for name in names))


class TwoWayBlock(nn.Module):
    """Tokens look at each other and at the image; then the image looks back at the tokens."""

    def __init__(self, width: int, *, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        self.self_attn = Attention(width, _HEADS)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, _HEADS, inner_channels=width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP((width, _FEEDFORWARD, width))
        self.norm3 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, _HEADS, inner_channels=width // 2)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self,
        tokens: Tensor,  # (B, T, C)
        image: Tensor,  # (B, N, C)
        token_positions: Tensor,  # (B, T, C)
        image_positions: Tensor,  # (1, N, C)
    ) -> tuple[Tensor, Tensor]:
        """Return tokens and image after this block, shapes unchanged."""
        if self.is_first:
            # Here the tokens still equal their positions, and the attention replaces them.
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_positions
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        q, k = tokens + token_positions, image + image_positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(q, k, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        q = tokens + token_positions
        image = self.norm4(image + self.cross_attn_image_to_token(k, q, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Two blocks and a last look of the tokens at the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, is_first=i == 0) for i in range(_LAYERS))
        self.final_attn_token_to_image = Attention(width, _HEADS, inner_channels=width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(
        self,
        tokens: Tensor,  # (B, T, C)
        image: Tensor,  # (B, N, C)
        image_positions: Tensor,  # (1, N, C)
    ) -> tuple[Tensor, Tensor]:
        """Return updated tokens (B, T, C) and image (B, N, C); an image batch of one is shared by all prompts."""
        token_positions = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_positions, image_positions)
        q, k = tokens + token_positions, image + image_positions
        tokens = self.norm_final_attn(tokens + self.final_attn_token_to_image(q, k, image))
        return tokens, image


class NeighbourBlock(nn.Module):
    """Cells see their neighbours, beside a shortcut; adds nothing until it is trained.

    Between the transformer and the masks every token is raised by itself, so that two objects within one token of 16
    pixels are told apart by it alone. A few blocks let the cells of a body agree with each other across tokens.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (B, C, H, W) after this block, shape unchanged."""
        result: Tensor = x + self.conv2(F.gelu(self.conv1(x)))
        return result


class MaskDecoder(nn.Module):
    """Four masks, their predicted IoU and one object score for each prompt.

    Parameters
    ----------
    width : int
        Channels of the embedding.
    neighbour_blocks : int
        Blocks that the published models do not have; see `Sam2Config.neighbour_blocks`.
    """

    def __init__(self, width: int, neighbour_blocks: int = 0) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(width)
        self.obj_score_token = nn.Embedding(1, width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(NUM_MASKS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, kernel_size=2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.neighbour_blocks = nn.ModuleList(NeighbourBlock(width // 4) for _ in range(neighbour_blocks))
        self.conv_s0 = nn.Conv2d(width, width // 8, kernel_size=1)
        self.conv_s1 = nn.Conv2d(width, width // 4, kernel_size=1)
        self.output_hypernetworks_mlps = nn.ModuleList(MLP((width, width, width, width // 8)) for _ in range(NUM_MASKS))
        self.iou_prediction_head = MLP((width, _IOU_HIDDEN, _IOU_HIDDEN, NUM_MASKS))
        self.pred_obj_score_head = MLP((width, width, width, 1))

    def _upscale(self, image: Tensor, middle: Tensor, fine: Tensor) -> Tensor:
        """Raise the image (B, C, h, w) to (B, C / 8, 4 h, 4 w) with the pyramid's finer levels."""
        up1, norm, act, up2, act2 = self.output_upscaling
        raised: Tensor = act(norm(up1(image) + middle))  # (B, C / 4, 2 h, 2 w)
        for block in self.neighbour_blocks:
            raised = block(raised)
        raised = act2(up2(raised) + fine)  # (B, C / 8, 4 h, 4 w)
        return raised

    def forward(
        self,
        embedding: Tensor,  # (B, C, h, w)
        image_positions: Tensor,  # (C, h, w)
        middle: Tensor,  # (B, C / 4, 2 h, 2 w)
        fine: Tensor,  # (B, C / 8, 4 h, 4 w)
        sparse: Tensor,  # (B, P, C)
        dense: Tensor,  # (B, C, h, w)
    ) -> MaskDecoderOutput:
        """Return the answers to B prompts on one image (a batch of one) or on B images."""
        B = max(embedding.shape[0], sparse.shape[0], dense.shape[0])
        _, C, h, w = embedding.shape
        own = torch.cat([self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight])  # (6, C)
        tokens = torch.cat((own.expand(B, -1, -1), sparse.expand(B, -1, -1)), dim=1)  # (B, 6 + P, C)
        image = (embedding + dense).flatten(2).transpose(1, 2)  # (B, h * w, C)
        positions = image_positions.flatten(1).T[None]  # (1, h * w, C)
        tokens, image = self.transformer(tokens, image, positions)

        raised = self._upscale(image.transpose(1, 2).view(-1, C, h, w), middle, fine)
        mask_tokens = tokens[:, 2 : 2 + NUM_MASKS]  # (B, 4, C)
        weights = torch.stack(
            [mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )  # (B, 4, C / 8)
        mask_logits = (weights @ raised.flatten(2)).view(B, NUM_MASKS, *raised.shape[2:])
        return MaskDecoderOutput(
            mask_logits=mask_logits,
            predicted_iou=self.iou_prediction_head(tokens[:, 1]).sigmoid(),
            mask_tokens=mask_tokens,
            object_score_logit=self.pred_obj_score_head(tokens[:, 0]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ChosenMasks:
    """The masks a caller asked for out of the decoder's four.

    Attributes
    ----------
    mask_logits : Tensor
        Shape (B, M, h, w), float32, as `MaskDecoderOutput` has them.
    predicted_iou : Tensor
        Shape (B, M), float32.
    token : Tensor
        Shape (B, C): the mask token that stands for the object.
    """

    mask_logits: Tensor
    predicted_iou: Tensor
    token: Tensor


def three_candidates(output: MaskDecoderOutput) -> ChosenMasks:
    """Return all three candidates for an ambiguous prompt; the best one's token stands for the object."""
    iou = output.predicted_iou[:, 1:].float()
    best = 1 + iou.argmax(1)
    rows = torch.arange(len(best), device=best.device)
    return ChosenMasks(output.mask_logits[:, 1:].float(), iou, output.mask_tokens[rows, best])


def best_candidate(output: MaskDecoderOutput) -> ChosenMasks:
    """Return the candidate of the highest predicted IoU."""
    candidates = three_candidates(output)
    best = candidates.predicted_iou.argmax(1)
    rows = torch.arange(len(best), device=best.device)
    return ChosenMasks(
        candidates.mask_logits[rows, best][:, None], candidates.predicted_iou[rows, best][:, None], candidates.token
    )


def numbered_candidate(output: MaskDecoderOutput, candidate: int) -> ChosenMasks:
    """Return the candidate that somebody has chosen, 0 to 2, whatever its predicted IoU."""
    row = slice(1 + candidate, 2 + candidate)
    return ChosenMasks(
        output.mask_logits[:, row].float(), output.predicted_iou[:, row].float(), output.mask_tokens[:, 1 + candidate]
    )


def single_mask(output: MaskDecoderOutput, *, stability_fallback: bool) -> ChosenMasks:
    """Return the single mask, or the best candidate where the single mask is unstable.

    A mask is stable when it hardly changes while its threshold moves a little either way. The object's token is the
    single mask's in both cases.
    """
    logits, iou = output.mask_logits[:, :1].float(), output.predicted_iou[:, :1].float()
    if stability_fallback:
        is_stable = stability_score(logits, _STABILITY_OFFSET) >= _STABLE  # (B, 1)
        best = best_candidate(output)
        logits = torch.where(is_stable[..., None, None], logits, best.mask_logits)
        iou = torch.where(is_stable, iou, best.predicted_iou)
    return ChosenMasks(logits, iou, output.mask_tokens[:, 0])
