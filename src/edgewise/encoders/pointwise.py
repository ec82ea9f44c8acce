"""Encoders that look at one time at a time: padding, and the sharing of repeated times."""

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor
from torch.nn import functional as F

from edgewise.encoders.base import AbstractTimeEncoder


class AbstractPointwiseEncoder(AbstractTimeEncoder):
    """A function of one time; subclasses write :meth:`encode`, from τ to vectors.

    This class sees to padding (exact zeros), and encodes equal times once and gathers: exact, and
    the reason that a costly encoder costs next to nothing where time is quantised.
    """

    deduplicate: bool = True
    """Whether equal times are encoded once and shared."""

    @abstractmethod
    def encode(
        self,
        tau: Float[Tensor, " n"],
        counts: Float[Tensor, " n"],
        features: Float[Tensor, "n F"] | None = None,
    ) -> Float[Tensor, "n dim"]:
        """Encodes times on the clock.

        Args:
            tau: The distinct times, float64.
            counts: How many events each stands for.
            features: What the encoder asked for with :attr:`feature_dim`.

        """

    def forward(
        self,
        times: Num[Tensor, "*batch"],
        mask: Bool[Tensor, "*batch"] | None = None,
        features: Float[Tensor, "*batch F"] | None = None,
    ) -> Float[Tensor, "*batch dim"]:
        """Encodes times; exactly zero where ``mask`` is False."""
        mask = self._check(times, mask, features)
        tau = self.normalise(times)
        if self.deduplicate and not self.feature_dim and not tau.requires_grad:
            return self._encode_once(tau, mask)
        flat = features[mask] if self.feature_dim else None
        values = self.encode(tau[mask], torch.ones_like(tau[mask]), flat)
        out = values.new_zeros(*times.shape, values.shape[-1])
        return out.masked_scatter(mask.unsqueeze(-1), values)

    def _encode_once(self, tau: Tensor, mask: Tensor) -> Tensor:
        """Encodes the distinct times and gathers; padding points at one more row, of zeros."""
        distinct, inverse, counts = torch.unique(tau[mask], return_inverse=True, return_counts=True)
        values = self.encode(distinct, counts.double())
        row = torch.full(tau.shape, len(distinct), device=tau.device)
        row[mask] = inverse
        table = torch.cat([values, values.new_zeros(1, values.shape[-1])])
        return F.embedding(row, table)

    def curves(self, times: Num[Tensor, " T"]) -> dict[str, Float[Tensor, "T d"]]:
        """The learned functions of time, by name; here the vectors themselves."""
        tau = self.normalise(times)
        return {"embedding": self.encode(tau, torch.ones_like(tau))}
