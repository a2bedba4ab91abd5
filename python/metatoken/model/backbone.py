"""Backbones: any Hugging Face causal or encoder-decoder model, by name, path, or preset built from its config.

What the heads need from a backbone is one thing: the states that its final norm sees, made unit length (DESIGN
decision 11). `Backbone.states` is that, for every architecture.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metatoken.errors import ConfigError
from metatoken.model.prefix import Layout, Prefix, lay_out, selected, separate, sharable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# One place that says how large a preset is; every key can be overridden by the user.
PRESETS: dict[str, dict[str, Any]] = {
    "gpt2-preset": {"dim": 64, "layers": 2, "heads": 2, "dropout": 0.4, "positions": 512},
    "t5-preset": {"dim": 64, "layers": 2, "heads": 2, "dropout": 0.3, "positions": 512},
}


def build_preset(name: str, vocabulary_size: int, overrides: Mapping[str, Any] | None = None) -> nn.Module:
    """A randomly initialised backbone from its config; nothing is downloaded.

    Args:
        name: `gpt2-preset` (causal) or `t5-preset` (encoder-decoder).
        vocabulary_size: Text tokens.
        overrides: Any of dim, layers, heads, dropout, positions.

    Raises:
        ConfigError: Unknown preset or key.
    """
    from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

    size = dict(PRESETS[name])
    unknown = set(overrides or {}) - set(size)
    if unknown:
        raise ConfigError(f"model.preset: unknown keys {sorted(unknown)}; expected some of {sorted(size)}")
    size |= dict(overrides or {})
    if size["dim"] % size["heads"]:
        raise ConfigError(f"model.preset: dim {size['dim']} is not a multiple of heads {size['heads']}")
    if name == "t5-preset":
        config = T5Config(
            vocab_size=vocabulary_size,
            d_model=size["dim"],
            d_kv=size["dim"] // size["heads"],
            d_ff=4 * size["dim"],
            num_layers=size["layers"],
            num_heads=size["heads"],
            dropout_rate=size["dropout"],
            pad_token_id=0,
            eos_token_id=2,
        )
        config.decoder_start_token_id = 0
        return T5ForConditionalGeneration(config)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary_size, n_positions=size["positions"], n_embd=size["dim"], n_layer=size["layers"],
            n_head=size["heads"], embd_pdrop=size["dropout"], resid_pdrop=size["dropout"],
            attn_pdrop=size["dropout"], pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip


def load_pretrained(name_or_path: str) -> tuple[nn.Module, Any]:
    """A pretrained model in float32 and its tokenizer, by hub name or local folder.

    Raises:
        ConfigError: It cannot be loaded, or is neither causal nor encoder-decoder.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    local = Path(name_or_path).expanduser()
    source = str(local) if local.exists() else name_or_path
    try:
        config = AutoConfig.from_pretrained(source)
        loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = loader.from_pretrained(source, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"model.backbone: expected {', '.join(PRESETS)}, a folder with a Hugging Face model, or a hub name; "
            f"{name_or_path!r} cannot be loaded ({reason})"
        ) from error
    return model, tokenizer


class Backbone(nn.Module):
    """A Hugging Face model seen as a map from token vectors to unit states.

    Args:
        model: Causal or encoder-decoder model, bare or wrapped by PEFT.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        config: Any = model.config
        self.is_encoder_decoder = bool(config.is_encoder_decoder)
        self.dim = int(getattr(config, "d_model", None) or config.hidden_size)
        self.max_positions: int | None = None
        if not self.is_encoder_decoder:
            self.max_positions = getattr(config, "max_position_embeddings", None)
        self._captured: Tensor | None = None
        final_norm(self.bare()).register_forward_pre_hook(self._capture)

    def bare(self) -> nn.Module:
        """The Hugging Face model itself, out of any PEFT wrapper (adapter layers stay in place)."""
        inner = getattr(self.model, "get_base_model", None)
        return inner() if inner is not None else self.model

    def _capture(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].float()
        # Behind a LayerNorm the mean is removed first. Its gain and bias are left out on purpose: the cosine is
        # taken before them, so that a head can be folded into plain weights.
        self._captured = x - x.mean(-1, keepdim=True) if isinstance(module, nn.LayerNorm) else x

    def embed(self, ids: Tensor) -> Tensor:
        """Vectors of token ids `[B, L]` -> `[B, L, d]`, through the embedding layer with its OOV rows."""
        layer: Any = self.bare().get_input_embeddings()  # type: ignore[operator]
        vectors: Tensor = layer(ids)
        return vectors

    def states(self, vectors: Tensor, mask: Tensor, decoder_ids: Tensor | None = None) -> Tensor:
        """Unit states `[B, L, d]`; of the decoder, `[B, T, d]`, for an encoder-decoder model."""
        return self._run(vectors, mask, decoder_ids)[0]

    def _run(
        self, vectors: Tensor, mask: Tensor, decoder_ids: Tensor | None = None, **kwargs: Any
    ) -> tuple[Tensor, Any]:
        """States and the body's output; text logits are never computed."""
        bare: Any = self.bare()
        if not self.is_encoder_decoder:
            return self._captured_from(lambda: bare.base_model(inputs_embeds=vectors, attention_mask=mask, **kwargs))
        encoded = bare.get_encoder()(inputs_embeds=vectors, attention_mask=mask).last_hidden_state
        return self._decode(encoded, mask, decoder_ids)[0], encoded

    def _decode(
        self, encoded: Tensor, mask: Tensor, decoder_ids: Tensor | None, cache: Any = None
    ) -> tuple[Tensor, Any]:
        decoder: Any = self.bare().get_decoder()  # type: ignore[operator]
        return self._captured_from(
            lambda: decoder(
                input_ids=decoder_ids, encoder_hidden_states=encoded, encoder_attention_mask=mask,
                past_key_values=cache, use_cache=cache is not None,
            )
        )  # fmt: skip

    def _captured_from(self, forward: Callable[[], Any]) -> tuple[Tensor, Any]:
        """Runs `forward` and returns the unit states that the final norm saw during it, and its result."""
        try:
            out = forward()
            if self._captured is None:
                raise RuntimeError("the backbone's final norm did not run")
            return F.normalize(self._captured, dim=-1), out
        finally:
            self._captured = None

    def start(self, vectors: Tensor, mask: Tensor) -> Prefix:
        """Reads prompts (padded on the right) and returns the state before the first item token."""
        lengths = mask.sum(dim=1)
        rows = torch.arange(len(mask), device=mask.device)
        if self.is_encoder_decoder:
            from transformers import DynamicCache, EncoderDecoderCache

            begin = torch.full((len(mask), 1), self.decoder_start, device=mask.device)
            bare: Any = self.bare()
            encoded = bare.get_encoder()(inputs_embeds=vectors, attention_mask=mask).last_hidden_state
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
            states, out = self._decode(encoded, mask, begin, cache)
            return Prefix(states[:, -1], mask, lengths, out.past_key_values, encoded)
        states, out = self._run(vectors, mask, use_cache=True)
        prefix = Prefix(states[rows, lengths - 1], mask, lengths, out.past_key_values)
        config: Any = self.bare().config
        if sharable(prefix.cache, getattr(config, "_attn_implementation", None)):
            prefix.owner, prefix.slots = rows, rows.new_zeros(len(rows), 0)
        return prefix

    def step(self, prefix: Prefix, source: Tensor, ids: Tensor) -> Prefix:
        """Continues row `source[i]` of `prefix` with token `ids[i]`.

        Args:
            prefix: What was read; it stays as it is.
            source: int64 `[R]` rows of `prefix`, repeats allowed.
            ids: int64 `[R]` token ids.

        Returns:
            The prefix of R rows.
        """
        layout = lay_out(prefix, source, self.embed(ids[:1, None]).dtype)
        if layout is not None:
            return self._step_shared(layout, prefix.lengths[source], ids)
        prefix = separate(prefix)
        mask, lengths = prefix.mask[source], prefix.lengths[source]
        cache = selected(prefix.cache, source)
        if prefix.encoded is not None:
            # Its keys and values are in the cache; only the shape of the encoder's output is still looked at.
            encoded = prefix.encoded[:1].expand(len(source), -1, -1)
            states, out = self._decode(encoded, mask, ids[:, None], cache)
            return Prefix(states[:, -1], mask, lengths, out.past_key_values, encoded)
        mask = torch.cat([mask, mask.new_ones(len(source), 1)], dim=1)
        states, out = self._run(
            self.embed(ids[:, None]), mask, past_key_values=cache, use_cache=True, position_ids=lengths[:, None]
        )
        return Prefix(states[:, -1], mask, lengths + 1, out.past_key_values)

    def _step_shared(self, layout: Layout, lengths: Tensor, ids: Tensor) -> Prefix:
        """The step of rows that stand side by side behind their prompts."""
        states, out = self._run(
            self.embed(layout.padded(ids)), layout.mask, past_key_values=layout.prefix.cache, use_cache=True,
            position_ids=layout.padded(lengths),
        )  # fmt: skip
        last = states[layout.row, layout.column]
        return Prefix(last, layout.prefix.mask, lengths + 1, out.past_key_values, owner=layout.row, slots=layout.slots)

    @property
    def decoder_start(self) -> int:
        """Id that a decoder begins with."""
        config: Any = self.bare().config
        start = getattr(config, "decoder_start_token_id", None)
        return int(config.pad_token_id if start is None else start)


def final_norm(model: nn.Module) -> nn.Module:
    """The norm whose output the language-model head reads.

    Raises:
        ConfigError: The architecture has none where one is expected.
    """
    config: Any = model.config
    body: Any = model.get_decoder() if config.is_encoder_decoder else model.base_model  # type: ignore[operator]
    for name in ("ln_f", "norm", "final_layer_norm", "final_layernorm", "layer_norm"):
        norm = getattr(body, name, None)
        if isinstance(norm, nn.Module):
            return norm
    raise ConfigError(
        f"model.backbone: {type(model).__name__} has no final norm under a known name; "
        "supported are models of the Llama, Qwen, Gemma, Mistral, Phi, GPT-2, GPT-NeoX and T5 families"
    )
