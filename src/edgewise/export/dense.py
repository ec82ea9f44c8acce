"""Time encoders and mixtures whose shapes don't depend on the values: all rows, all experts."""

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from edgewise.encoders.base import AbstractTimeEncoder
from edgewise.encoders.pointwise import AbstractPointwiseEncoder
from edgewise.layers.experts import MixtureOfExperts
from edgewise.models.sequence import SequenceClassifier


class FixedClock(AbstractTimeEncoder):
    """An encoder whose clock is four numbers; as bits of integers no other format reads it."""

    def prepare(self) -> None:
        """Reads the clock: before tracing, where it is a buffer like others."""
        # Origin, span, gap, and what the origin lost to rounding.
        self._fixed = tuple(self.clock_bits.view(torch.float64).tolist())

    @property
    def steps(self) -> float:
        return self._fixed[1] / self._fixed[2]

    def normalise(self, times: Num[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        origin, span, _, rest = self._fixed
        if times.is_floating_point():
            since = times.double() - origin
        else:
            whole = round(origin)
            since = (times.long() - whole).double() + (whole - origin)
        return (since - rest) / span


class DensePointwise(FixedClock, AbstractPointwiseEncoder):
    """Every time encoded, padding as the clock's origin, and put to zero behind it."""

    def forward(
        self,
        times: Num[Tensor, "*batch"],
        mask: Bool[Tensor, "*batch"] | None = None,
        features: Float[Tensor, "*batch F"] | None = None,
    ) -> Float[Tensor, "*batch dim"]:
        mask = self._check(times, mask, features)
        padding = ~mask.unsqueeze(-1)
        tau = self.normalise(times).masked_fill(~mask, 0.0).flatten()
        rows = None
        if self.feature_dim:
            rows = features.masked_fill(padding, 0.0).flatten(0, -2)
        values = self.encode(tau, torch.ones_like(tau), rows)
        return values.reshape(*times.shape, values.shape[-1]).masked_fill(padding, 0.0)


class DenseMixture(MixtureOfExperts):
    """All experts compute all rows; those that the router did not choose count as zero."""

    def forward(
        self,
        x: Float[Tensor, "n in"],
        context: Float[Tensor, "n r"] | None = None,
        counts: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n out"]:
        logits = self.router(x if context is None else context)
        top, selected = logits.topk(self.top_k, dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, selected, top.softmax(dim=-1))
        # Apart from the weight, which may round to zero.
        chosen = torch.zeros_like(logits).scatter(-1, selected, 1.0) > 0
        blocks = []
        for e, expert in enumerate(self.experts):
            y = expert(x)
            # Not a product: an infinity of an expert nobody asked would survive it.
            y = y.masked_fill(~chosen[:, e, None], 0.0)
            blocks.append(y * weights[:, e, None].to(y.dtype))
        return torch.cat(blocks, dim=-1) if self.combine == "concat" else sum(blocks)


class UncheckedStreams(SequenceClassifier):
    """Takes lengths as they are: a graph can't stop at a wrong one."""

    def _check(self, times: Tensor, lengths: Tensor, features: Tensor | None) -> None:
        """Nothing: shapes are the graph's to check."""
