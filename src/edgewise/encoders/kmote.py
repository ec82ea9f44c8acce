"""K-MOTE: a mixture of KAN time experts."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from edgewise.bases import BASES, AbstractBasis, BSpline, Fourier, Gaussian, Wavelet
from edgewise.core import InputError, Registry, did_you_mean, remembers
from edgewise.encoders.base import ENCODERS
from edgewise.encoders.periods import fundamentals, log_spaced_omega, spectral_omega
from edgewise.encoders.pointwise import AbstractPointwiseEncoder
from edgewise.layers import KANLinear, MixtureOfExperts, Router, Routing

CLOCK = (0.0, 1.0)
"""The domain of τ over the training times."""

EXPERTS: Registry[Callable[[], AbstractBasis]] = Registry("time expert")
"""Name to a function that makes the basis of one expert on the encoder's clock."""


@EXPERTS.register("fourier")
def _fourier_expert() -> Fourier:
    basis = Fourier([float(h) for h in range(1, 33)], learnable=True)
    # Sines have no domain of their own; penalties integrate over this one.
    basis.domain = CLOCK
    return basis


EXPERTS.register("spline")(lambda: BSpline(grid_size=16, degree=3, domain=CLOCK))
EXPERTS.register("gaussian")(lambda: Gaussian(centers=16, domain=CLOCK))
EXPERTS.register("wavelet")(lambda: Wavelet(count=31, domain=CLOCK))

DEFAULT_EXPERTS = ("fourier", "spline", "gaussian", "wavelet")


class Standardised(nn.Module):
    """A module whose outputs start with zero mean and unit variance over the training times.

    Without it the experts of a mixture start at scales from 0 to 2.7 and only the largest learns.
    """

    def __init__(self, module: nn.Module, dim: int) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit(self, x: Float[Tensor, "n in"], weight: Float[Tensor, " n"]) -> None:
        """Measures mean and standard deviation over the sample, in place."""
        y = self._values(x).double()
        if y.shape[-1] != len(self.mean):
            raise InputError(
                f"the time expert {type(self.module).__name__} must give {len(self.mean)} numbers "
                f"for a time, got {y.shape[-1]}"
            )
        w = (weight / weight.sum()).unsqueeze(-1)
        mean = (w * y).sum(0)
        self.mean.copy_(mean)
        std = (w * (y - mean).square()).sum(0).sqrt()
        # An expert that does not vary, as over a single time, keeps its scale.
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, x: Float[Tensor, "n in"]) -> Float[Tensor, "n d"]:
        return (self._values(x) - self.mean) / self.std

    def _values(self, x: Tensor) -> Tensor:
        # A KAN layer wants every digit of the time, other modules a dtype like their own, and
        # those that do not know of phases want the time alone.
        if isinstance(self.module, KANLinear):
            return self.module(x[:, : self.module.in_features])
        return self.module(x[:, :1].to(self.mean.dtype))


@ENCODERS.register("kmote")
@remembers
class KMOTE(AbstractPointwiseEncoder):
    r"""A mixture of experts, each a family of learned functions of time.

    .. math::
        E(τ) = \bigl[\, g_e(τ)\, φ_e(τ) \,\bigr]_{e = 1 \dots E}
        \quad\text{or}\quad \sum_e g_e(τ)\, φ_e(τ), \qquad
        φ_e(τ) = \frac{1}{σ_e} \Bigl( C_{e0} B_e(τ)
        + \sum_{p=1}^P C_{ep} B_e(\{ν_p τ\}) - μ_e \Bigr)

    An expert is a KAN layer to its share of the dimensions: coefficients C on a basis B of its own,
    standardised over the training times, so that all experts start alike. Its inputs are the time
    and, braces being the fractional part, where in each of P rhythms the time falls: a trend and
    seasons, as one reads a calendar and a clock. The Fourier expert has rhythms of its own, and
    sees the time alone.

    The router sees τ together with sines and cosines of it (the bare number would give it a handful
    of kinks), and ``router_features`` event features where wanted; the gates g are those of
    :class:`~edgewise.layers.MixtureOfExperts`: the k largest, renormalised, the others not
    computed. They are multiplied by k, so that an even choice leaves an expert at its scale. The
    router's logits start centred over the training times too, so that no expert is left out.

    ``fit_scale`` also places all this: the rhythms ν on the strongest peaks of the events' own
    spectrum that are no harmonics of each other, Fourier frequencies on its peaks and on evenly
    spaced periods, Gaussian centres on quantiles.

    Outside the training range the trend of splines goes on as straight lines, that of Gaussians and
    wavelets fades; Fourier and the rhythms repeat.

    Args:
        dim: The size of the vectors; with ``"concat"`` the experts share it as evenly as can be.
        experts: For each expert a name (``"fourier"``, ``"spline"``, ``"gaussian"``, ``"wavelet"``,
            any basis name or ``"module:Class"``), a basis, or a module ``(n, 1)`` to ``(n, d)``,
            which sees the time alone.
        top_k: How many experts each time is sent to.
        combine: ``"concat"`` or ``"sum"``.
        rhythms: The number of rhythms, P.
        router_features: How many event features the router sees (``features`` of ``forward``).
        router_hidden: The width of the router's hidden layer.
        router_frequencies: How many frequencies the router sees.
        layer_norm: Whether the vectors are normalised and rescaled at the end.

    Example:
        >>> encoder = KMOTE(16).fit_scale(torch.arange(100))
        >>> vectors = encoder(torch.arange(100))
        >>> round(float(encoder.usage()["selected"].sum()))
        1

    """

    def __init__(
        self,
        dim: int,
        experts: Sequence[str | AbstractBasis | nn.Module] = DEFAULT_EXPERTS,
        top_k: int = 2,
        combine: str = "concat",
        rhythms: int = 1,
        router_features: int = 0,
        router_hidden: int = 32,
        router_frequencies: int = 8,
        layer_norm: bool = False,
    ) -> None:
        super().__init__(dim)
        if isinstance(experts, str):
            raise InputError(
                f"experts must be a list of time experts, got the word {experts!r}; "
                f"for a single one write [{experts!r}]"
            )
        if not experts:
            raise InputError("experts must name at least one time expert, got none")
        if combine == "concat" and dim < len(experts):
            raise InputError(
                f"combine='concat' needs a dimension for each of {len(experts)} experts, got "
                f"dim={dim}; use combine='sum' or fewer experts"
            )
        self.feature_dim = router_features
        self.expert_names = _unique_names(experts)
        dims = _share(dim, len(experts)) if combine == "concat" else [dim] * len(experts)
        made = [_make_expert(e, d, rhythms) for e, d in zip(experts, dims, strict=True)]
        modules = [Standardised(module, d) for module, d in zip(made, dims, strict=True)]
        # As logarithms, which half precision can hold.
        self.register_buffer("log_rhythms", torch.empty(rhythms, dtype=torch.float64))
        log_omega = torch.empty(router_frequencies, dtype=torch.float64)
        self.register_buffer("router_log_omega", log_omega)
        router = Router(1 + 2 * router_frequencies + router_features, len(experts), router_hidden)
        self.mixture = MixtureOfExperts(modules, router, top_k, combine)
        self.norm = nn.LayerNorm(dim) if layer_norm else None
        even = torch.linspace(*CLOCK, 1024, dtype=torch.float64)
        with torch.no_grad():
            self._fit(even, torch.ones_like(even, dtype=torch.bool))

    def _fit(self, tau: Tensor, mask: Tensor) -> None:
        count = len(self.router_log_omega)
        peaks = spectral_omega(tau, mask, 16, self.steps)
        self.router_log_omega.copy_(_mix(peaks[: count // 2], count, self.steps).log())
        rhythms = fundamentals(peaks, len(self.log_rhythms), self.steps)
        self.log_rhythms.copy_(rhythms.log())
        distinct, counts = torch.unique(tau[mask], return_counts=True)
        for expert in self.mixture.experts:
            basis = getattr(expert.module, "basis", None)
            if isinstance(basis, Fourier) and basis.learnable:
                size = (basis.size - 1) // 2
                basis.set_frequencies(_mix(peaks[: size // 2], size, self.steps).to(basis.omega))
            elif basis is not None:
                basis.place(tau[mask])
            expert.fit(self._inputs(distinct), counts.double())
        self._even_out(distinct, counts.double())

    def _even_out(self, tau: Float[Tensor, " n"], weight: Float[Tensor, " n"]) -> None:
        """Starts each expert's logit with mean 0 and standard deviation ½ over the training times.

        As they are drawn, an expert may be chosen nowhere, and then it would never learn.
        """
        blank = tau.new_zeros(len(tau), self.feature_dim) if self.feature_dim else None
        logits = self.mixture.router(self._context(tau, blank)).double()
        w = (weight / weight.sum()).unsqueeze(-1)
        mean = (w * logits).sum(0)
        std = (w * (logits - mean).square()).sum(0).sqrt()
        # A router that does not vary, as over a single time, keeps its scale.
        std = torch.where(std > 1e-6, 2 * std, torch.ones_like(std))
        last = self.mixture.router[-1]
        last.bias.copy_((last.bias - mean) / std)
        last.weight.copy_(last.weight / std.unsqueeze(-1))

    def encode(
        self, tau: Float[Tensor, " n"], counts: Tensor, features: Tensor | None = None
    ) -> Float[Tensor, "n dim"]:
        vectors = self.mixture(self._inputs(tau), self._context(tau, features), counts)
        vectors = vectors * self.mixture.top_k
        return vectors if self.norm is None else self.norm(vectors)

    def _inputs(self, tau: Float[Tensor, " n"]) -> Float[Tensor, "n inputs"]:
        """What the experts see: τ, and where in each rhythm it falls."""
        cycles = tau.unsqueeze(-1) * self.log_rhythms.to(tau).exp()
        # A time on the seam belongs to the new cycle, however the clock rounded it.
        phase = cycles - (cycles + 1e-9).floor()
        return torch.cat([tau.unsqueeze(-1), phase], dim=-1)

    def _context(self, tau: Tensor, features: Tensor | None) -> Tensor:
        """What the router sees: τ in -1 … 1, cosines and sines, event features."""
        angle = tau.unsqueeze(-1) * self.router_log_omega.to(tau).exp()
        parts = [(2 * tau - 1).unsqueeze(-1), angle.cos(), angle.sin()]
        if features is not None:
            parts.append(features)
        return torch.cat([part.to(self._dtype) for part in parts], dim=-1)

    @property
    def routing(self) -> Routing | None:
        """What the router decided in the last forward pass."""
        return self.mixture.routing

    def usage(self) -> dict[str, Float[Tensor, " E"]]:
        """How the experts were used in the last forward pass, padding left out.

        Returns:
            ``selected``, the share of choices that fell on each expert (sums to one); ``weight``,
            the mean probability of each (sums to one); ``entropy``, the mean entropy of the
            router's choice over log E.

        Raises:
            InputError: If there was no forward pass yet.

        """
        routing = self.routing
        if routing is None:
            raise InputError("usage is known after a forward pass; call the encoder first")
        p, counts = routing.probabilities.detach(), routing.counts.to(routing.probabilities)
        entropy = -(p * p.clamp(min=1e-12).log()).sum(-1)
        scale = torch.log(torch.tensor(float(max(p.shape[-1], 2))))
        mean = (counts * entropy).sum() / counts.sum().clamp(min=1) / scale
        return {
            "selected": routing.load(),
            "weight": routing.importance().detach(),
            "entropy": mean,
        }

    def curves(self, times: Num[Tensor, " T"]) -> dict[str, Float[Tensor, "T d"]]:
        """Every learned function of time, before the gates, and the router's probabilities.

        Returns:
            ``expert:name`` for each expert, ``(T, d_e)``, and ``router``, ``(T, E)``; event
            features are taken as zero.
        """
        tau = self.normalise(times)
        found = {
            f"expert:{name}": expert(self._inputs(tau))
            for name, expert in zip(self.expert_names, self.mixture.experts, strict=True)
        }
        blank = tau.new_zeros(len(tau), self.feature_dim) if self.feature_dim else None
        found["router"] = self.mixture.router(self._context(tau, blank)).softmax(-1)
        return found


def _mix(peaks: Tensor, count: int, steps: float) -> Tensor:
    """The peaks of the spectrum, and evenly spaced periods for the rest."""
    return torch.cat([peaks, log_spaced_omega(count - len(peaks), steps)])


def _make_expert(expert: str | AbstractBasis | nn.Module, dim: int, rhythms: int) -> nn.Module:
    if isinstance(expert, str):
        if expert not in EXPERTS and expert not in BASES and ":" not in expert:
            known = list(dict.fromkeys([*EXPERTS, *BASES]))
            raise InputError(f"unknown time expert {expert!r}: {did_you_mean(expert, known)}")
        expert = (EXPERTS if expert in EXPERTS else BASES).resolve(expert)()
    if isinstance(expert, AbstractBasis):
        inputs = 1 if isinstance(expert, Fourier) else 1 + rhythms
        return KANLinear(inputs, dim, expert, base=None, bias=True)
    if not isinstance(expert, nn.Module):
        raise InputError(f"a time expert must be a name, a basis or a module, got {expert!r}")
    return expert


def _unique_names(experts: Sequence[str | nn.Module]) -> tuple[str, ...]:
    names = [e if isinstance(e, str) else type(e).__name__.lower() for e in experts]
    return tuple(f"{n}-{i + 1}" if names.count(n) > 1 else n for i, n in enumerate(names))


def _share(dim: int, parts: int) -> list[int]:
    """Dim in ``parts`` shares that differ by one at most."""
    return [dim // parts + (i < dim % parts) for i in range(parts)]
