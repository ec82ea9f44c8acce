"""Mixture of experts: a router, and experts of which only the chosen ones are computed."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from edgewise.core import InputError


@dataclass
class Routing:
    """What a mixture decided in its last forward pass.

    Attributes:
        probabilities: (n, E), the softmax over all experts; carries gradients.
        selected: (n, k), the experts that were computed.
        weights: (n, k), their weights, which sum to one; carries gradients.
        counts: (n,), how many tokens each row stands for: 0 for padding, more than 1 for a row
            that was encoded once and used many times.

    """

    probabilities: Float[Tensor, "n E"]
    selected: Int[Tensor, "n k"]
    weights: Float[Tensor, "n k"]
    counts: Float[Tensor, " n"]

    def load(self) -> Float[Tensor, " E"]:
        """The share of all choices that fell on each expert, padding left out; sums to one."""
        experts = self.probabilities.shape[-1]
        counts = self.counts.unsqueeze(-1).expand_as(self.weights)
        load = self.counts.new_zeros(experts)
        load = load.index_add(0, self.selected.reshape(-1), counts.reshape(-1))
        return load / load.sum().clamp(min=1)

    def importance(self) -> Float[Tensor, " E"]:
        """The mean probability of each expert, padding left out; sums to one, has gradients."""
        total = self.counts.sum().clamp(min=1)
        return self.counts.to(self.probabilities) @ self.probabilities / total

    def balance(self) -> Float[Tensor, ""]:
        r"""How even the load is, :math:`E \sum_e f_e P_e` (Fedus et al. 2021, arXiv 2101.03961).

        Equation 4 there. f is :meth:`load` (no gradient), P is :meth:`importance`; 1 is even.
        """
        load = self.load().detach().to(self.probabilities)
        return self.probabilities.shape[-1] * (load * self.importance()).sum()


class Router(nn.Sequential):
    """A small network from what is known of a token to one logit for each expert.

    Args:
        in_features: The number of router inputs.
        experts: The number of experts, E.
        hidden: The width of the hidden layer.

    Example:
        >>> Router(3, experts=4)(torch.zeros(2, 3)).shape
        torch.Size([2, 4])

    """

    def __init__(self, in_features: int, experts: int, hidden: int = 32) -> None:
        super().__init__(nn.Linear(in_features, hidden), nn.SiLU(), nn.Linear(hidden, experts))


class MixtureOfExperts(nn.Module):
    r"""Each token is computed by the k experts that the router prefers.

    .. math::
        y = \sum_{e \in T} g_e\, f_e(x), \qquad T = \text{top-}k(r),
        \qquad g_e = \frac{\exp r_e}{\sum_{j \in T} \exp r_j}

    (Shazeer et al. 2017, arXiv 1701.06538, eq. 3 to 5, without noise.) An expert computes only the
    tokens that chose it. With ``combine="concat"`` every expert owns a block of the output instead
    of a share in the sum; the blocks of experts that were not chosen are zero.

    Args:
        experts: The experts f_e: modules from ``(n, in)`` to ``(n, out)``.
        router: A module from router inputs ``(n, r)`` to logits ``(n, E)``.
        top_k: How many experts a token is sent to.
        combine: ``"sum"`` or ``"concat"``.

    After each forward pass :attr:`routing` tells what was decided.

    Example:
        >>> moe = MixtureOfExperts([nn.Linear(2, 3), nn.Linear(2, 3)], nn.Linear(2, 2), top_k=1)
        >>> y = moe(torch.randn(5, 2))
        >>> moe.routing.weights.squeeze().tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0]

    """

    def __init__(
        self,
        experts: Iterable[nn.Module],
        router: nn.Module,
        top_k: int,
        combine: str = "sum",
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        if not isinstance(top_k, int) or not 1 <= top_k <= len(self.experts):
            raise InputError(
                f"top_k must lie between 1 and the number of experts, {len(self.experts)}, "
                f"got {top_k!r}"
            )
        if combine not in ("sum", "concat"):
            raise InputError(f"combine must be 'sum' or 'concat', got {combine!r}")
        self.router, self.top_k, self.combine = router, top_k, combine
        self.routing: Routing | None = None

    def forward(
        self,
        x: Float[Tensor, "n in"],
        context: Float[Tensor, "n r"] | None = None,
        counts: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n out"]:
        """Computes each token by its experts.

        Args:
            x: The tokens.
            context: What the router sees; the tokens themselves by default.
            counts: How many tokens each row stands for (see :class:`Routing`); ones by default.

        """
        logits = self.router(x if context is None else context)
        if logits.shape != (len(x), len(self.experts)):
            raise InputError(
                f"the router must give one logit for each of {len(self.experts)} experts, "
                f"got shape {tuple(logits.shape)} for {len(x)} tokens"
            )
        top, selected = logits.topk(self.top_k, dim=-1)
        weights = top.softmax(dim=-1)
        counts = torch.ones(len(x), device=x.device) if counts is None else counts
        self.routing = Routing(logits.softmax(dim=-1), selected, weights, counts)
        blocks = [self._expert(e, x, selected, weights) for e in range(len(self.experts))]
        return torch.cat(blocks, dim=-1) if self.combine == "concat" else sum(blocks)

    def _expert(self, e: int, x: Tensor, selected: Tensor, weights: Tensor) -> Tensor:
        """Expert e's weighted outputs, zero where it was not chosen; only chosen rows computed."""
        row, slot = (selected == e).nonzero(as_tuple=True)
        y = self.experts[e](x[row])
        y = y * weights[row, slot].to(y.dtype).unsqueeze(-1)
        return y.new_zeros(len(x), y.shape[-1]).index_copy(0, row, y)

    def __getstate__(self) -> dict:
        # Routing belongs to one forward pass, and non-leaf tensors can't be deep-copied.
        return {**self.__dict__, "routing": None}

    def extra_repr(self) -> str:
        return f"top_k={self.top_k}, combine={self.combine!r}"
