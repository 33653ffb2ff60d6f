"""Qwen-VL: transformers' Qwen2 decoder with a vision tower, and the first Qwen's two rules for long texts.

A prompt longer than `seq_length` tokens turns its positions with a larger base (dynamic NTK), and a
query at position p beyond it is scaled by log(p) / log(seq_length). The base is that of the prompt:
it stays with the attention states on the cache, so that conversations do not disturb each other.
Source: modeling_qwen.py and visual.py of huggingface.co/Qwen/Qwen-VL-Chat.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    DynamicCache,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.cache_utils import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import create_causal_mask, sdpa_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2PreTrainedModel, Qwen2RMSNorm

from models.qwen_vl.vision import Sizes, VisionTransformer

ATTENTION = "qwen_vl"


class QwenVLConfig(Qwen2Config):  # type: ignore[no-untyped-call]
    """Qwen2's configuration, and what only the first Qwen has.

    Attributes:
        seq_length: tokens of a training text; longer ones follow the two rules.
        visual: see `models.qwen_vl.vision.Sizes`; None for a model of texts.
    """

    model_type = "qwen"

    seq_length: int = 2048
    rotary_emb_base: float = 10000.0
    use_dynamic_ntk: bool = True
    use_logn_attn: bool = True
    visual: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs["attn_implementation"] = ATTENTION
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]


def scaled_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    query_scale: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention whose queries, (batch, heads, length, head_dim), are scaled by (length, 1)."""
    query = query if query_scale is None else query * query_scale.to(query.dtype)
    attended: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, **kwargs
    )
    return attended


AttentionInterface.register(ATTENTION, scaled_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def ntk_alpha(config: QwenVLConfig, length: int) -> int:
    """By how much a prompt of `length` tokens enlarges the base: 1, then 3, 7, 15, … after each doubling."""
    if not config.use_dynamic_ntk:
        return 1
    doublings = max(math.ceil(math.log2(length / config.seq_length)), 0)
    return (2 << doublings) - 1


class QwenVLModel(Qwen2PreTrainedModel):  # type: ignore[no-untyped-call]
    """Decoder and vision tower. Positions are those in the padded row, as the original counts them."""

    config: QwenVLConfig
    config_class = QwenVLConfig
    _no_split_modules = ["Qwen2DecoderLayer", "VisionTransformer"]
    _can_compile_fullgraph = False

    def __init__(self, config: QwenVLConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Qwen2DecoderLayer(config, n) for n in range(config.num_hidden_layers))
        self.norm = Qwen2RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.sizes = None if config.visual is None else Sizes.read(config.visual)
        if self.sizes is not None:
            self.visual = VisionTransformer(self.sizes)
        self.gradient_checkpointing = False
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        mm_encoder_outputs: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states of the last layer, (batch, length, hidden).

        Args:
            input_ids: (batch, length); a picture is image_start_id, n_queries ids of any kind, and
                image_start_id + 1.
            attention_mask: 1 for a token and 0 for padding, (batch, length so far).
            past_key_values: any cache of the library; it keeps the base of its positions.
            pixel_values: (pictures, 3, image_size, image_size), in the order of the rows of the batch.
            mm_encoder_outputs: what the tower made of them, (pictures, n_queries, hidden), in their place.

        Raises ValueError for another number of pictures than `input_ids` has places for.
        """
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if pixel_values is not None:
            mm_encoder_outputs = self.visual(pixel_values)
        if mm_encoder_outputs is not None:
            inputs_embeds = self._with_pictures(inputs_embeds, input_ids, mm_encoder_outputs)
        if past_key_values is None and (self.config.use_cache if use_cache is None else use_cache):
            past_key_values = DynamicCache(config=self.config)
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
        )
        rotation, scale = self._positions(inputs_embeds, past_key_values)
        hidden = inputs_embeds
        for layer in self.layers:
            hidden = layer(
                hidden,
                attention_mask=mask,
                past_key_values=past_key_values,
                position_embeddings=rotation,
                query_scale=scale,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden), past_key_values=past_key_values)

    def _with_pictures(self, embeds: Tensor, input_ids: Tensor | None, features: Tensor) -> Tensor:
        """Put the features of the pictures between their marks."""
        rows, columns = self.places(input_ids, len(features))
        between = torch.arange(1, features.shape[1] + 1, device=columns.device)
        return embeds.index_put((rows[:, None], columns[:, None] + between), features.to(embeds))

    def places(self, input_ids: Tensor | None, pictures: int) -> tuple[Tensor, Tensor]:
        """Row and column of the mark before each picture. Raises ValueError unless there are so many."""
        if self.sizes is None or input_ids is None:
            raise ValueError("pictures need a model that sees, and token ids to say where they are")
        start, count = self.sizes.image_start_id, self.sizes.n_queries
        opened = input_ids[:, : -count - 1] == start
        rows, columns = (opened & (input_ids[:, count + 1 :] == start + 1)).nonzero(as_tuple=True)
        if len(rows) != pictures:
            raise ValueError(f"{pictures} pictures, but places for {len(rows)}")
        return rows, columns

    def _positions(self, embeds: Tensor, cache: Cache | None) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        """Cosine and sine, each (1, length, head_dim), and what the queries are scaled by, (length, 1)."""
        config, length = self.config, embeds.shape[1]
        past = int(cache.get_seq_length()) if cache is not None else 0
        alpha = ntk_alpha(config, length)
        if cache is not None:
            alpha = getattr(cache, "ntk_alpha", 1) if past else alpha
            cache.ntk_alpha = alpha  # type: ignore[attr-defined]
        dim = config.hidden_size // config.num_attention_heads
        base = config.rotary_emb_base * alpha ** (dim / (dim - 2))
        positions = torch.arange(past, past + length, device=embeds.device, dtype=torch.float32)[:, None]
        exponents = torch.arange(0, dim, 2, device=embeds.device, dtype=torch.float32) / dim
        angles = (positions * (1.0 / base**exponents)).repeat(1, 2)[None]
        rotation = angles.cos().to(embeds.dtype), angles.sin().to(embeds.dtype)
        if not config.use_logn_attn or past + length <= config.seq_length:
            return rotation, None
        if config._attn_implementation != ATTENTION:
            raise ValueError(f"only the attention {ATTENTION!r} scales queries by the length of the text")
        return rotation, ((positions + 1).log() / math.log(config.seq_length)).clamp(min=1)


class QwenVLForCausalLM(Qwen2ForCausalLM):  # type: ignore[no-untyped-call]
    """Qwen-VL, or the first Qwen, with its language head; `pixel_values` as for `QwenVLModel`."""

    config: QwenVLConfig
    config_class = QwenVLConfig
    _no_split_modules = QwenVLModel._no_split_modules
    _can_compile_fullgraph = False
    # Old files have the frequencies; AutoGPTQ's have zeros where there is no bias.
    _keys_to_ignore_on_load_unexpected = [
        r"rotary_emb\.inv_freq$",
        r"\.h\.\d+\.(attn\.c_proj|mlp\.\w+)\.bias$",
        r"\.layers\.\d+\.(self_attn\.o_proj|mlp\.\w+)\.bias$",
    ]

    def __init__(self, config: QwenVLConfig) -> None:
        Qwen2PreTrainedModel.__init__(self, config)
        self.model = QwenVLModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        mm_encoder_outputs: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of the next tokens; further arguments are those of `Qwen2ForCausalLM`, as `labels`."""
        output: CausalLMOutputWithPast = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            mm_encoder_outputs=mm_encoder_outputs,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        return output

    def _expand_inputs_for_generation(  # type: ignore[override]
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: Any = None, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Any]]:
        """For several answers to a row, all its pictures are repeated together; the library would repeat
        each by itself."""
        shown = {name: kwargs.pop(name, None) for name in ("pixel_values", "mm_encoder_outputs")}
        expand: Any = super()._expand_inputs_for_generation  # type: ignore[misc]
        ids, expanded = expand(expand_size, is_encoder_decoder, input_ids, **kwargs)
        for name, pictures in shown.items():
            if pictures is not None and expand_size > 1:
                rows, _ = self.model.places(input_ids, len(pictures))
                counts = rows.bincount(minlength=len(ids) // expand_size).tolist()
                others = [1] * (pictures.dim() - 1)
                pictures = torch.cat([row.repeat(expand_size, *others) for row in pictures.split(counts)])
            expanded[name] = pictures
        return ids, expanded
