"""The norm before the language-model head: where it is, the state before its gain, and folding a head behind it.

Heads compare the *state* with unit vectors: what the final norm puts out before its gain and bias, divided by sqrt(d),
so that its length is 1 (a trifle less by the norm's epsilon). With `s` the state, `g` the gain and `b` the bias, a
plain head reads `h = sqrt(d) g s + b`. A head that scores `V . s` becomes plain rows `R` with `R . h = V . s`:

- no bias (RMSNorm; a LayerNorm whose bias is 0): `R = V / (sqrt(d) g)`.
- a bias, and a plain head that has one too: the same rows and the bias `-R . b`.
- a bias and a plain head without one: behind a LayerNorm the state sums to 0, so any constant may be subtracted from
  `V`. `R = (V - c 1) / (sqrt(d) g)` with `c = (b/g) . V / sum(b/g)` makes `R . b = 0` (docs/design.md, decision 11).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from metatoken.errors import ConfigError

SCALED_IF_TIED = ("umt5", "switch_transformers")  # kinds of T5 whose configuration does not say so by itself
NAMES = ("ln_f", "norm", "final_layer_norm", "final_layernorm", "layer_norm")


def final_norm(model: nn.Module) -> nn.Module:
    """The norm whose output the language-model head reads.

    Raises:
        ConfigError: The architecture has none where one is expected.
    """
    config: Any = model.config
    body: Any = model.get_decoder() if config.is_encoder_decoder else model.base_model  # type: ignore[operator]
    for name in NAMES:
        norm = getattr(body, name, None)
        if isinstance(norm, nn.Module):
            return norm
    raise ConfigError(
        f"model.backbone: {type(model).__name__} has no final norm under a known name; "
        "supported are models of the Llama, Qwen, Gemma, Mistral, Phi, GPT-2, GPT-NeoX and T5 families"
    )


def text_scale(model: Any) -> float:
    """What a model multiplies the outputs of its final norm by before its text head: those of T5 with a tied head."""
    config: Any = model.config
    scaled = getattr(config, "scale_decoder_outputs", None)
    if scaled is None:
        scaled = config.model_type in SCALED_IF_TIED and config.tie_word_embeddings
    return float(config.d_model**-0.5) if scaled else 1.0


@dataclass(frozen=True)
class FinalNorm:
    """A final norm, understood.

    Attributes:
        module: The norm itself.
        centred: Whether it removes the mean first (LayerNorm) or not (RMSNorm).
        eps: What it adds to the variance or mean square.
    """

    module: nn.Module
    centred: bool
    eps: float

    @classmethod
    def of(cls, model: nn.Module) -> FinalNorm:
        """Finds the final norm of a model and checks that it is one that we understand.

        Raises:
            ConfigError: There is none, or it is neither a LayerNorm nor an RMSNorm with a gain.
        """
        module: Any = final_norm(model)
        eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        norm = cls(module, isinstance(module, nn.LayerNorm), torch.finfo(torch.float32).eps if eps is None else eps)
        norm._check(type(model).__name__)
        return norm

    @torch.no_grad()
    def _check(self, name: str) -> None:
        weight = next(self.module.parameters(), None)
        dim = 0 if weight is None else weight.shape[0]
        if weight is None or weight.is_meta or weight.shape != (dim,):
            raise ConfigError(f"model.backbone: the final norm of {name} has no gain that can be read")
        x = torch.linspace(-1.0, 2.0, dim).roll(dim // 3)[None].to(weight)
        expected = self.gain() * self.state(x) * math.sqrt(dim) + self.bias()
        found, near = self.module(x).float(), 2e-2 if weight.dtype.itemsize < 4 else 1e-4
        if not torch.allclose(found, expected, rtol=near, atol=1e-5):  # of an odd width one value is 0
            raise ConfigError(
                f"model.backbone: the final norm of {name}, {type(self.module).__name__}, is neither a LayerNorm nor "
                "an RMSNorm with a gain"
            )

    def state(self, x: Tensor) -> Tensor:
        """What the norm makes of `x [..., d]` before gain and bias, over sqrt(d): float32 of length 1."""
        x = x.float()
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + self.eps * x.shape[-1])

    @torch.no_grad()
    def gain(self) -> Tensor:
        """The gain `[d]`, float32; of a Gemma that is one plus its weight."""
        module: Any = self.module
        if self.centred:
            weight: Tensor = module.weight.detach().float()
            return weight
        # An RMSNorm gives its gain for a vector of ones, however it stores it.
        ones = torch.ones_like(next(module.parameters()))
        out: Tensor = module(ones[None])[0]
        return out.float() * math.sqrt(1 + self.eps)

    @torch.no_grad()
    def bias(self) -> Tensor:
        """The bias `[d]`, float32, zeros where there is none."""
        bias = getattr(self.module, "bias", None)
        return torch.zeros_like(self.gain()) if bias is None else bias.detach().float()

    @torch.no_grad()
    def fold(self, vectors: Tensor, *, head_bias: bool = False) -> tuple[Tensor, Tensor]:
        """Plain rows that score the norm's output as `vectors` score the state.

        Args:
            vectors: float `[n, d]`.
            head_bias: Whether the plain head has a bias.

        Returns:
            `(rows [n, d], bias [n])` in float32 with `rows . norm(x) + bias = vectors . state(x)`; the bias is 0
            unless `head_bias`.

        Raises:
            ConfigError: The gain has a zero, or the norm has a bias that cannot be folded away.
        """
        # In float64: the constant c can be large where the bias sums to little.
        gain, bias, v = self.gain().double(), self.bias().double(), vectors.double()
        if bool((gain.abs() < 1e-6 * gain.abs().max()).any()):
            raise ConfigError("the final norm has a gain of zero, so a head behind it cannot be folded")
        none = torch.zeros(len(v), dtype=torch.float32, device=v.device)
        scale = math.sqrt(v.shape[1]) * gain
        if not bool(bias.any()):
            return (v / scale).float(), none
        if head_bias:
            rows = v / scale
            return rows.float(), -(rows @ bias).float()
        ratio = bias / gain
        if not self.centred or float(ratio.sum().abs()) < 1e-3 * float(ratio.abs().sum()):
            raise ConfigError("the final norm has a bias that cannot be folded into a head without a bias")
        constant = (v @ ratio / ratio.sum())[:, None]
        return ((v - constant) / scale).float(), none
