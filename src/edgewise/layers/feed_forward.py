"""What stands in the feed-forward place of a transformer block: two layers, (…, d) to (…, d)."""

import copy
from collections.abc import Callable

from torch import nn

from edgewise.bases import BSpline
from edgewise.core import InputError, Registry
from edgewise.layers.group_rational import GroupRational
from edgewise.layers.kaf import KAF
from edgewise.layers.kernel_activation import KernelActivation
from edgewise.layers.linear import KANLinear

FeedForward = Callable[[int, int, float], nn.Module]

FEED_FORWARDS: Registry[FeedForward] = Registry("feed-forward")
"""Functions (dim, hidden, dropout) to a module, by name; dropout falls on the hidden units."""


@FEED_FORWARDS.register("mlp")
def _mlp(dim: int, hidden: int, dropout: float) -> nn.Module:
    """W₂ silu(W₁ x)."""
    drop = nn.Dropout(dropout)
    return nn.Sequential(nn.Linear(dim, hidden), nn.SiLU(), drop, nn.Linear(hidden, dim))


@FEED_FORWARDS.register("kan")
def _kan(dim: int, hidden: int, dropout: float) -> nn.Module:
    """Two KAN layers, with B-splines of 3 cells on [-3, 3], where normalised numbers lie."""
    first, second = (BSpline(grid_size=3, domain=(-3.0, 3.0)) for _ in range(2))
    return nn.Sequential(
        KANLinear(dim, hidden, first, bias=True),
        nn.Dropout(dropout),
        KANLinear(hidden, dim, second, bias=True),
    )


@FEED_FORWARDS.register("kernel")
def _kernel(dim: int, hidden: int, dropout: float) -> nn.Module:
    """Two layers of kernel activations, tanh."""
    drop = nn.Dropout(dropout)
    return nn.Sequential(KernelActivation(dim, hidden), drop, KernelActivation(hidden, dim))


@FEED_FORWARDS.register("kaf")
def _kaf(dim: int, hidden: int, dropout: float) -> nn.Module:
    """W₂ f(W₁ x) with a function of its own for each hidden unit."""
    drop = nn.Dropout(dropout)
    return nn.Sequential(nn.Linear(dim, hidden), KAF(hidden), drop, nn.Linear(hidden, dim))


@FEED_FORWARDS.register("grkan")
def _grkan(dim: int, hidden: int, dropout: float) -> nn.Module:
    """W₂ F₂(W₁ F₁(x)) with group rationals, at first the identity and silu: then it is "mlp"."""
    return nn.Sequential(
        GroupRational(dim, _groups(dim)),
        nn.Linear(dim, hidden),
        GroupRational(hidden, _groups(hidden), "silu"),
        nn.Dropout(dropout),
        nn.Linear(hidden, dim),
    )


def make_feed_forward(
    feed_forward: str | nn.Module, dim: int, hidden: int, dropout: float = 0.0
) -> nn.Module:
    """The module by name or ``module:function``, or a copy of the one that is given.

    Raises:
        InputError: If the name is unknown, or what it names makes no module.

    Example:
        >>> make_feed_forward("mlp", 4, 16)(torch.zeros(2, 4)).shape
        torch.Size([2, 4])

    """
    if isinstance(feed_forward, nn.Module):
        return copy.deepcopy(feed_forward)
    made = FEED_FORWARDS.resolve(feed_forward)(dim, hidden, dropout)
    if not isinstance(made, nn.Module):
        raise InputError(
            f"the feed-forward {feed_forward!r} must make a module, it gave {type(made).__name__}"
        )
    return made


def _groups(features: int) -> int:
    """Eight groups, as in the paper, or the most below that that come out even."""
    return next(g for g in range(8, 0, -1) if features % g == 0)
