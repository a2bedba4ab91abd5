"""Backbones: any Hugging Face causal or encoder-decoder model, whether a preset or pretrained.

What the heads need from a backbone is one thing: what its final norm makes before gain and bias, at unit length
(docs/design.md, decision 11, `metatoken.model.backbone.norm`). `Backbone.states` is that, for every architecture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from metatoken.model.backbone import gpt2, llama
from metatoken.model.backbone.dropout import QuickDropout
from metatoken.model.backbone.norm import FinalNorm, text_scale
from metatoken.model.backbone.passage import Passage
from metatoken.model.embedding import uninstall
from metatoken.model.heads.text_loss import linear_cross_entropy
from metatoken.model.prefix import Layout, Prefix, lay_out, plain_attention, selected, separate, sharable


class Backbone(nn.Module):
    """A Hugging Face model, bare or wrapped by PEFT, seen as a map from token vectors to unit states.

    Args:
        model: The model.
        dropout: Share of the values of a prompt's vectors, behind its words, that training leaves out.
    """

    def __init__(self, model: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.model, self.dropout = model, QuickDropout(dropout)
        config: Any = model.config
        self.is_encoder_decoder = bool(config.is_encoder_decoder)
        self.dim = int(getattr(config, "d_model", None) or config.hidden_size)
        self.max_positions: int | None = None
        if not self.is_encoder_decoder:
            self.max_positions = getattr(config, "max_position_embeddings", None)
        self.norm = FinalNorm.of(self.bare())
        self._captured: Tensor | None = None
        self._hook = self.norm.module.register_forward_pre_hook(self._capture)

    def bare(self) -> Any:
        """The Hugging Face model itself, out of any PEFT wrapper (adapter layers stay in place)."""
        inner: Any = getattr(self.model, "get_base_model", None)
        return inner() if inner is not None else self.model

    def release(self) -> nn.Module:
        """The Hugging Face model as it came, with LoRA layers merged; this object cannot be used afterwards."""
        merge = getattr(self.model, "merge_and_unload", None)
        plain: nn.Module = self.model if merge is None else merge()
        uninstall(plain)
        self._hook.remove()
        return plain

    def _capture(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._captured = inputs[0]

    def embed(self, ids: Tensor) -> Tensor:
        """Vectors of token ids `[B, L]` -> `[B, L, d]`, through the embedding layer with its OOV rows."""
        vectors: Tensor = self.bare().get_input_embeddings()(ids)
        return vectors

    def states(self, passage: Passage, decoder_ids: Tensor | None = None) -> Tensor:
        """Unit states `[B, L, d]`; of the decoder, `[B, T, d]`, for an encoder-decoder model."""
        return self.read(passage, decoder_ids)[0]

    def read(self, passage: Passage, decoder_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Unit states, and outputs of the final norm, each `[B, L, d]`, or `[B, T, d]` of a decoder.

        Args:
            passage: What is read, by the encoder where there is one.
            decoder_ids: int64 `[B, T]` token ids that the decoder reads.
        """
        if self.is_encoder_decoder:
            states, out = self._decode(self._encode(passage), passage.mask, decoder_ids)
            return states, out.last_hidden_state
        body = self.bare().base_model
        for quick in (gpt2, llama):
            if quick.readable(body, passage) and not self._checkpointed():
                last = quick.read(body, passage)
                return self.norm.state(last), self.norm.module.forward(last)
        states, hidden, _ = self._read(passage, use_cache=False)
        return states, hidden

    def _checkpointed(self) -> bool:
        """Whether blocks are run again in the backward pass."""
        return self.training and any(getattr(part, "gradient_checkpointing", False) for part in self.bare().modules())

    def _read(self, passage: Passage, *, use_cache: bool) -> tuple[Tensor, Tensor, Any]:
        """The same, and the cache if wanted."""
        about: dict[str, Any] = {"use_cache": use_cache}
        cache = self._words(passage)
        if cache is None:
            own = passage.inline()
        else:
            own, about = passage, {"use_cache": True, "past_key_values": cache}
        if own.positions is not None:
            about["position_ids"] = own.positions
        states, out = self._run(own.vectors, passage.whole_mask, **about)
        length = passage.vectors.shape[1]
        return states[:, -length:], out.last_hidden_state[:, -length:], out.past_key_values

    def _words(self, passage: Passage) -> Any:
        """The cache of words that were read once, as one of the rows; None where rows cannot continue from it."""
        config: Any = self.bare().config
        # Checkpointed blocks are run again without a cache.
        plain = plain_attention(getattr(config, "_attn_implementation", None))
        if passage.words is None or self._checkpointed() or not plain:
            return None
        order = torch.arange(passage.shared, device=passage.mask.device)[None]
        _, out = self._run(passage.words, None, position_ids=order, use_cache=True)
        return passage.spread(out.past_key_values)

    def text_loss(self, hidden: Tensor, ids: Tensor, columns: int) -> Tensor:
        """Mean cross-entropy of text tokens `[T]` among the text columns, given outputs `[T, d]` of the final norm."""
        head: Any = self.bare().get_output_embeddings()
        cap = getattr(self.bare().config, "final_logit_softcapping", None)
        if type(head) is nn.Linear and getattr(head, "bias", None) is None and cap is None:
            return linear_cross_entropy(self._before_head(hidden), head.weight[:columns], ids)
        return -self.text_log_probabilities(hidden, ids, columns).mean()

    def text_log_probabilities(self, hidden: Tensor, ids: Tensor, columns: int) -> Tensor:
        """Log-probability of each of the tokens, float32 `[T]`; arguments as in `text_loss`."""
        head: Any = self.bare().get_output_embeddings()
        cap = getattr(self.bare().config, "final_logit_softcapping", None)
        logits = head(self._before_head(hidden))[:, :columns]
        logits = (logits if cap is None else torch.tanh(logits / cap) * cap).float()
        return -nn.functional.cross_entropy(logits, ids, reduction="none")

    def _before_head(self, hidden: Tensor) -> Tensor:
        """Outputs of the final norm as the text head reads them."""
        scale = text_scale(self.bare())
        return hidden if scale == 1.0 else hidden * scale

    def _run(self, vectors: Tensor, mask: Tensor | None, **kwargs: Any) -> tuple[Tensor, Any]:
        """Unit states and the output of a causal body; text logits are never computed."""
        return self._captured_from(self.bare().base_model, inputs_embeds=vectors, attention_mask=mask, **kwargs)

    def _encode(self, passage: Passage) -> Tensor:
        read = self.bare().get_encoder()(inputs_embeds=passage.vectors, attention_mask=passage.mask)
        encoded: Tensor = read.last_hidden_state
        return encoded

    def _decode(
        self, encoded: Tensor, mask: Tensor, decoder_ids: Tensor | None, cache: Any = None
    ) -> tuple[Tensor, Any]:
        return self._captured_from(
            self.bare().get_decoder(), input_ids=decoder_ids, encoder_hidden_states=encoded,
            encoder_attention_mask=mask, past_key_values=cache, use_cache=cache is not None,
        )  # fmt: skip

    def _captured_from(self, body: Any, **inputs: Any) -> tuple[Tensor, Any]:
        """The unit states that the final norm saw while a body ran, and its output."""
        try:
            out = body(**inputs)
            if self._captured is None:
                raise RuntimeError("the backbone's final norm did not run")
            return self.norm.state(self._captured), out
        finally:
            self._captured = None

    def start(self, passage: Passage) -> Prefix:
        """Reads prompts and returns the state before the first item token."""
        mask = passage.mask
        rows = torch.arange(len(mask), device=mask.device)
        if self.is_encoder_decoder:
            from transformers import DynamicCache, EncoderDecoderCache

            begin = torch.full((len(mask), 1), self.decoder_start, device=mask.device)
            encoded = self._encode(passage)
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
            states, out = self._decode(encoded, mask, begin, cache)
            return Prefix(states[:, -1], mask, mask.sum(dim=1), out.past_key_values, encoded)
        states, _, cache = self._read(passage, use_cache=True)
        prefix = Prefix(states[rows, mask.sum(dim=1) - 1], passage.whole_mask, passage.next_position, cache)
        if sharable(prefix.cache, getattr(self.bare().config, "_attn_implementation", None)):
            prefix.owner, prefix.slots = rows, rows.new_zeros(len(rows), 0)
        return prefix

    def step(self, prefix: Prefix, source: Tensor, ids: Tensor) -> Prefix:
        """Continues row `source[i]` of `prefix` with token `ids[i]`.

        Args:
            prefix: What was read; it stays as it is.
            source: int64 `[R]` rows of `prefix`, repeats allowed.
            ids: int64 `[R]` token ids.
        """
        layout = lay_out(prefix, source, self.embed(ids[:1, None]).dtype)
        if layout is not None:
            return self._step_shared(layout, prefix.position[source], ids)
        prefix = separate(prefix)
        mask, position = prefix.mask[source], prefix.position[source]
        cache = selected(prefix.cache, source)
        if prefix.encoded is not None:
            # Its keys and values are in the cache; only the shape of the encoder's output is still looked at.
            encoded = prefix.encoded[:1].expand(len(source), -1, -1)
            states, out = self._decode(encoded, mask, ids[:, None], cache)
            return Prefix(states[:, -1], mask, position, out.past_key_values, encoded)
        mask = torch.cat([mask, mask.new_ones(len(source), 1)], dim=1)
        states, out = self._run(
            self.embed(ids[:, None]), mask, past_key_values=cache, use_cache=True, position_ids=position[:, None]
        )
        return Prefix(states[:, -1], mask, position + 1, out.past_key_values)

    def _step_shared(self, layout: Layout, position: Tensor, ids: Tensor) -> Prefix:
        """The step of rows that stand side by side behind their prompts."""
        states, out = self._run(
            self.embed(layout.padded(ids)), layout.mask, past_key_values=layout.prefix.cache, use_cache=True,
            position_ids=layout.padded(position),
        )  # fmt: skip
        last = states[layout.row, layout.column]
        return Prefix(last, layout.prefix.mask, position + 1, out.past_key_values, owner=layout.row, slots=layout.slots)

    @property
    def decoder_start(self) -> int:
        """Id that a decoder begins with."""
        config = self.bare().config
        start = getattr(config, "decoder_start_token_id", None)
        return int(config.pad_token_id if start is None else start)
