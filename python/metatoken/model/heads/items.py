"""Item vectors, and the head that ranks the whole catalogue by them.

An item has the vector

    v_i = r_i + beta (P s_i + b) + sum_l e(t_il)  (+ F f_i),

with `r_i` a free residual, `s_i` its skip-gram vector, `e(t_il)` the composed vectors of its tokens, and `f_i` its
features.

The item head scores by cosine with a temperature (docs/design.md, decision 11): with `h` a unit state and `u` a unit
vector, the logit is `h . u / tau`, under a softmax over all items. Vectors stand in trie order ("leaf order") there, so
that the items below a node are a slice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metatoken.model.heads.rows import Rows

if TYPE_CHECKING:
    from metatoken.model.embedding import TokenTable


class ItemVectors(nn.Module):
    """Vector of every item: composed token vectors + projected entity embedding (+ features) + a free residual.

    Args:
        table: The OOV token table.
        item_tokens: int64 `[n_items, depth]` local token ids, -1 padded.
        entities: float `[n_items, c]` frozen item embeddings (skip-gram space), unit length each.
        features: float `[n_items, f]` further vectors of items, e.g. of their texts; zeros where nothing is known.
        beta: Weight of the projected item embeddings.

    Attributes:
        by_rows: Whether the gradient of the free residuals is sparse: of the rows that were asked for.
    """

    by_rows = False
    tokens: Tensor
    entities: Tensor
    features: Tensor | None

    def __init__(
        self,
        table: TokenTable,
        item_tokens: Tensor,
        entities: Tensor,
        features: Tensor | None = None,
        *,
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        dim, self.beta = table.weight.shape[1], beta
        self.table = [table]  # owned by the module that owns the backbone
        self.register_buffer("tokens", item_tokens, persistent=False)
        self.ragged = bool((item_tokens < 0).any())
        self.register_buffer("entities", F.normalize(entities, dim=1))
        self.projection = nn.Linear(entities.shape[1], dim)
        self.residual = nn.Parameter(torch.randn(len(entities), dim) * 0.02)
        unit = None if features is None else F.normalize(features, dim=1)
        self.register_buffer("features", unit, persistent=False)
        if unit is not None:
            self.feature_projection = nn.Linear(unit.shape[1], dim, bias=False)

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Composed vectors, not normalized: `[n_items, d]` in item-row order, or of some item rows, int64 `[C]`.

        Where a gradient is made `by_rows`, they are sorted, each once.
        """
        # Not in half precision, which the residuals would be added up in.
        with torch.autocast(self.residual.device.type, enabled=False):
            composed = self._composed(rows)
        return composed if self.features is None else composed + self.of_features(rows)

    def _composed(self, rows: Tensor | None) -> Tensor:
        """Without features. A pass over a catalogue takes longer than what is computed in it, hence few of them."""

        def of(table: Tensor) -> Tensor:
            return table if rows is None else table.index_select(0, rows)

        shared, tokens = self.table[0](), of(self.tokens)
        composed = torch.addmm(self._free(rows), of(self.entities), self.projection.weight.T, alpha=self.beta)
        # Every item has a token of the first level, so the bias is added to tokens instead of to items.
        first = shared + self.beta * self.projection.bias
        for level in range(tokens.shape[1]):
            ids = tokens[:, level]
            # Through F.embedding, whose gradient is much faster than that of indexing.
            part = F.embedding(ids.clamp_min(0), shared if level else first)
            composed += torch.where((ids >= 0)[:, None], part, 0.0) if self.ragged else part
        return composed

    def _free(self, rows: Tensor | None) -> Tensor:
        """The free residuals."""
        if not self.by_rows or not torch.is_grad_enabled():
            return self.residual if rows is None else self.residual.index_select(0, rows)
        every = torch.arange(len(self.residual), device=self.residual.device) if rows is None else rows
        found: Tensor = Rows.apply(self.residual, every)
        return found

    def of_features(self, rows: Tensor | None = None) -> Tensor | float:
        """What features say of item rows, float `[C, d]`; 0 where there are none."""
        if self.features is None:
            return 0.0
        projected: Tensor = self.feature_projection(
            self.features if rows is None else self.features.index_select(0, rows)
        )
        return projected


def folded(vectors: Tensor, owner: Tensor, n: int) -> Tensor:
    """Vectors of users, float `[n, d]`: the sum of the unit vectors of their items.

    Args:
        vectors: float `[F, d]`, of the items, of any length.
        owner: int64 `[F]`, user of each.
        n: Users.
    """
    unit = F.normalize(vectors, dim=-1)
    return unit.new_zeros(n, unit.shape[1]).index_add(0, owner, unit)


class Unit(torch.autograd.Function):
    """Rows of one length, `y = scale x / |x|`, with few passes over a catalogue.

    With the unit row `u = y / scale` the gradient is `dx = scale (g - u (u . g)) / |x|`.

    Args of `apply`:
        x: float `[n, d]`.
        scale: The length.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:  # noqa: D102
        factor: Tensor = scale / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min_(1e-12)
        y: Tensor = x * factor
        ctx.save_for_backward(y, factor)
        ctx.scale = scale
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        y, factor = ctx.saved_tensors
        along = torch.linalg.vecdot(y, grads[0])[:, None].div_(ctx.scale**2)
        return torch.addcmul(grads[0], y, along, value=-1).mul_(factor), None


class ItemHead(nn.Module):
    """Softmax over the catalogue, columns in leaf order; a smaller temperature is sharper."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, states: Tensor, vectors: Tensor) -> Tensor:
        """Logits `[P, n_items]` of unit states `[P, d]` against item vectors `[n_items, d]`."""
        return states @ (F.normalize(vectors, dim=-1) / self.temperature).T
