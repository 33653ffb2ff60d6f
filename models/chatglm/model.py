"""ChatGLM-6B: a prefix language model with two-dimensional positions.

GLM (Du et al., 2022, arXiv:2103.10360) reads ``context [gMASK] <sop> answer``. The context sees
itself in both directions, the answer sees only what came before it. Every token has two positions:
its place in the context (the whole answer stands where the mask is), and its place in the answer.

Names and shapes are those of the files of THUDM/chatglm-6b; no native transformers class has them.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import CausalLMOutputWithPast

from models.errors import UnsupportedCheckpoint

# The original block takes its number of layers from a default that nothing overrides.
RESIDUAL_SCALE = math.sqrt(2 * 28)
ROTARY_BASE = 10000.0


class ChatGLM6BConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """The keys of ChatGLM-6B's config.json, under the same names.

    Of the special tokens old files name only ``bos`` (``<sop>``); the others have fixed distances.

    Raises:
        UnsupportedCheckpoint: one-dimensional positions, which no released weights have.
    """

    model_type = "chatglm"
    attribute_map = {
        "num_hidden_layers": "num_layers",
        "intermediate_size": "inner_hidden_size",
        "max_position_embeddings": "max_sequence_length",
    }

    vocab_size: int = 130528
    hidden_size: int = 4096
    num_layers: int = 28
    num_attention_heads: int = 32
    inner_hidden_size: int = 16384
    layernorm_epsilon: float = 1e-5
    max_sequence_length: int = 2048
    position_encoding_2d: bool = True
    bos_token_id: int = 130004
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    mask_token_id: int | None = None
    gmask_token_id: int | None = None
    use_cache: bool = True
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if not self.position_encoding_2d:
            raise UnsupportedCheckpoint(
                "This ChatGLM-6B has one-dimensional positions, which are not supported; "
                "use the released THUDM/chatglm-6b.",
                "这个 ChatGLM-6B 使用一维位置编码，不受支持；请使用发布的 THUDM/chatglm-6b。",
            )
        first = self.bos_token_id - 4
        self.mask_token_id = first if self.mask_token_id is None else self.mask_token_id
        self.gmask_token_id = first + 1 if self.gmask_token_id is None else self.gmask_token_id
        self.eos_token_id = first + 5 if self.eos_token_id is None else self.eos_token_id
        if self.pad_token_id is None:
            # Of the 150528 tokens of the first files, the first 20000 are for images.
            self.pad_token_id = 3 + (20000 if self.bos_token_id >= 150000 else 0)
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]


@dataclass
class Layout:
    """Where each row of a batch has its context and its answer; kept on the cache between steps.

    Attributes:
        valid: what is not padding, bool (batch, length so far).
        context: tokens before ``<sop>``, padding not counted, (batch,).
        mask: place of the mask token among them, (batch,).
    """

    valid: Tensor
    context: Tensor
    mask: Tensor

    @classmethod
    def read(cls, input_ids: Tensor, valid: Tensor, config: ChatGLM6BConfig) -> "Layout":
        """Find the first ``<sop>`` and the mask of each row of ``input_ids``, (batch, length).

        As the original chat does, the first [gMASK] counts, and a [MASK] only where there is none.
        """
        places = _places(valid)
        context = _first(places, valid & (input_ids == config.bos_token_id), valid.sum(-1))
        mask = _first(places, valid & (input_ids == config.mask_token_id), (context - 1).clamp(min=0))
        return cls(valid, context, _first(places, valid & (input_ids == config.gmask_token_id), mask))

    def extend(self, valid: Tensor) -> "Layout":
        """The layout after further tokens; ``valid`` covers only those."""
        return Layout(torch.cat((self.valid, valid), dim=-1), self.context, self.mask)

    def position_ids(self, length: int) -> Tensor:
        """Positions of the newest ``length`` tokens, (batch, 2, length)."""
        places, context = _places(self.valid), self.context[:, None]
        in_context = torch.where(places < context, places, self.mask[:, None])
        in_answer = (places - context + 1).clamp(min=0)
        positions = torch.stack((in_context, in_answer), dim=1) * self.valid[:, None]
        return positions[..., -length:]

    def attention_mask(self, length: int) -> Tensor | None:
        """What the newest ``length`` tokens see, bool (batch, 1, length, all), None for everything."""
        if length == 1 and bool(self.valid.all()):
            return None
        places = _places(self.valid)
        queries, keys = places[:, -length:, None], places[:, None, :]
        seen = (keys <= queries) | (keys < self.context[:, None, None])
        # Padding sees everything, because a row that sees nothing would become NaN.
        seen = seen & self.valid[:, None, :] | ~self.valid[:, -length:, None]
        return seen[:, None]


def _places(valid: Tensor) -> Tensor:
    """Number of each token within its row, padding not counted, (batch, length)."""
    return valid.long().cumsum(-1) - 1


def _first(places: Tensor, found: Tensor, otherwise: Tensor) -> Tensor:
    """The place of the first token of each row that was ``found``, (batch,)."""
    first = places.gather(1, found.long().argmax(-1, keepdim=True)).squeeze(1)
    return torch.where(found.any(-1), first, otherwise)


def rotation(position_ids: Tensor, rotary_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of one row of positions, each (batch, 1, length, rotary_dim).

    The inverse frequencies are rounded to half precision, as the weights were trained with.
    """
    exponents = torch.arange(0, rotary_dim, 2, device=position_ids.device, dtype=torch.float32) / rotary_dim
    frequencies = (1.0 / ROTARY_BASE**exponents).half().float()
    angles = position_ids[:, None, :, None].float() * torch.cat((frequencies, frequencies))
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(states: Tensor, rotations: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Turn the first half of each head by the first positions, the second half by the second."""
    halves = []
    for half, (cos, sin) in zip(states.chunk(2, dim=-1), rotations, strict=True):
        low, high = half.chunk(2, dim=-1)
        halves.append(half * cos + torch.cat((-high, low), dim=-1) * sin)
    return torch.cat(halves, dim=-1)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of (batch, heads, length, head_dim) where ``mask`` is True.

    In float32 the order of sums is the original's: the fused kernel's own moves logits by 2e-5.
    """
    if query.dtype != torch.float32:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ value


class SelfAttention(nn.Module):
    def __init__(self, config: ChatGLM6BConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads = config.num_attention_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        rotations: list[tuple[Tensor, Tensor]],
        past_key_values: Cache | None,
    ) -> Tensor:
        # Every head holds its query, key and value next to each other.
        fused = self.query_key_value(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        query, key, value = fused.chunk(3, dim=-1)
        query, key = rotate(query, rotations), rotate(key, rotations)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer)
        dense: Tensor = self.dense(attend(query, key, value, mask).transpose(1, 2).flatten(2))
        return dense


class MLP(nn.Module):
    def __init__(self, config: ChatGLM6BConfig) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.inner_hidden_size)
        self.dense_4h_to_h = nn.Linear(config.inner_hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        down: Tensor = self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(hidden), approximate="tanh"))
        return down


class GLMBlock(GradientCheckpointingLayer):  # type: ignore[no-untyped-call]
    """One layer. The skip connections carry the normalised input, scaled up."""

    def __init__(self, config: ChatGLM6BConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.attention = SelfAttention(config, layer)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.mlp = MLP(config)

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        rotations: list[tuple[Tensor, Tensor]],
        past_key_values: Cache | None,
    ) -> Tensor:
        normed = self.input_layernorm(hidden)
        hidden = normed * RESIDUAL_SCALE + self.attention(normed, mask, rotations, past_key_values)
        normed = self.post_attention_layernorm(hidden)
        output: Tensor = normed * RESIDUAL_SCALE + self.mlp(normed)
        return output


class Transformer(nn.Module):
    def __init__(self, config: ChatGLM6BConfig) -> None:
        super().__init__()
        self.rotary_dim = config.hidden_size // config.num_attention_heads // 2
        self.word_embeddings: nn.Module = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(GLMBlock(config, layer) for layer in range(config.num_layers))
        self.final_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)

    def forward(
        self, hidden: Tensor, position_ids: Tensor, mask: Tensor | None, past_key_values: Cache | None
    ) -> Tensor:
        rotations = [rotation(row, self.rotary_dim, hidden.dtype) for row in position_ids.unbind(1)]
        for layer in self.layers:
            hidden = layer(hidden, mask, rotations, past_key_values)
        normed: Tensor = self.final_layernorm(hidden)
        return normed


class ChatGLM6BForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """ChatGLM-6B with its language head; `generate` works as for every transformers model."""

    config: ChatGLM6BConfig
    config_class = ChatGLM6BConfig
    base_model_prefix = "transformer"
    _no_split_modules = ["GLMBlock"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _tied_weights_keys = {"lm_head.weight": "transformer.word_embeddings.weight"}
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq$"]

    def __init__(self, config: ChatGLM6BConfig) -> None:
        super().__init__(config)
        self.transformer = Transformer(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        return self.transformer.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.transformer.word_embeddings = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of the next tokens.

        Args:
            input_ids: (batch, length); the whole rows, or what follows those in the cache.
            attention_mask: 1 for a token and 0 for padding, (batch, length so far), or the
                original's mask, (batch, 1, length, length so far), where True means blocked.
            position_ids: (batch, 2, length); default: read off ``input_ids``.
            past_key_values: any cache of the library; it remembers where the answers began.
            use_cache: make a cache where none is given; default: as configured.
            labels: (batch, length), for a loss.
            logits_to_keep: only the last so many positions (or these) get logits; 0: all.
        """
        if past_key_values is None and (self.config.use_cache if use_cache is None else use_cache):
            past_key_values = DynamicCache(config=self.config)
        length = input_ids.shape[1]
        layout = self._layout(input_ids, attention_mask, past_key_values)
        if position_ids is None:
            position_ids = layout.position_ids(length)
        if attention_mask is not None and attention_mask.dim() == 4:
            seen: Tensor | None = ~attention_mask.bool() | ~layout.valid[:, None, -length:, None]
        else:
            seen = layout.attention_mask(length)
        hidden = self.transformer.word_embeddings(input_ids)
        hidden = self.transformer(hidden, position_ids, seen, past_key_values)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(hidden[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)

    def _layout(self, input_ids: Tensor, attention_mask: Tensor | None, cache: Cache | None) -> Layout:
        """The layout with ``input_ids`` in it, remembered on the cache."""
        length = input_ids.shape[1]
        if attention_mask is None:
            valid = torch.ones_like(input_ids, dtype=torch.bool)
        elif attention_mask.dim() == 4:
            valid = ~attention_mask[:, 0, -1, -length:].bool()  # the last token sees all but padding
        else:
            valid = attention_mask[:, -length:].bool()
        past: Layout | None = getattr(cache, "glm_layout", None)
        seen = cache.get_seq_length() if cache is not None else 0
        if seen:
            if past is None or past.valid.shape[1] != seen:
                raise ValueError("a context that sees itself whole cannot be continued from part of a cache")
            layout = past.extend(valid)
        else:
            layout = Layout.read(input_ids, valid, self.config)
        if cache is not None:
            cache.glm_layout = layout  # type: ignore[attr-defined]
        return layout

    def _prepare_position_ids_for_generation(self, *args: Any) -> None:
        """Leave positions to `forward`: the library would count them in one dimension."""
