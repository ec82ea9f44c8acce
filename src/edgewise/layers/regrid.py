"""Another basis under the same functions: the fit, and what becomes of an optimiser's memory."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases import AbstractBasis
from edgewise.core import InputError

RIDGE = 1e-10
"""Of the mean of the diagonal: what keeps functions that no sample touches from running away."""

EVERYWHERE = 1e-3
"""The weight of points spread over the domain, beside the sample, in a fit."""


def refit(
    old: AbstractBasis, new: AbstractBasis, x: Float[Tensor, "n I"], C: Float[Tensor, "K I O"]
) -> tuple[Float[Tensor, "I K2 K"], float]:
    r"""Least squares, input by input: c' = T c fits the old functions on the sample.

    With F and F' the old and new functions at the sample, T = (F'ᵀF' + ridge)⁻¹ F'ᵀF. Points spread
    over both domains take part with a small weight, so that a function is also kept where the
    sample has nothing.

    Returns:
        T, in float64, and the relative residual on the sample over all edges.

    """
    low = min(old.domain[0], new.domain[0], float(x.amin()))
    high = max(old.domain[1], new.domain[1], float(x.amax()))
    spread = torch.linspace(low, high, 8 * new.size, dtype=torch.float64, device=x.device)
    gram = _gram(old, new, x.double())
    fit = gram + EVERYWHERE * _gram(old, new, spread.unsqueeze(-1).expand(-1, x.shape[1]))
    K = new.size
    A, B = fit[:, :K, :K], fit[:, :K, K:]
    ridge = RIDGE * A.diagonal(dim1=1, dim2=2).mean(-1).view(-1, 1, 1)
    T = torch.linalg.solve(A + ridge * torch.eye(K, dtype=A.dtype, device=A.device), B)
    c = C.detach().double().movedim(0, 1)
    change = torch.cat([T @ c, -c], dim=1)
    error = (change * (gram @ change)).sum().clamp(min=0)
    size = (c * (gram[:, K:, K:] @ c)).sum()
    return T, float((error / size).sqrt()) if size > 0 else 0.0


def _gram(
    old: AbstractBasis, new: AbstractBasis, x: Float[Tensor, "n I"]
) -> Float[Tensor, "I F F"]:
    """E[f fᵀ] of the new and old functions side by side, for each input; few rows at a time."""
    features = old.size + new.size
    rows = max(1, (1 << 21) // (features * x.shape[1]))
    total = x.new_zeros(x.shape[1], features, features)
    for part in x.split(rows):
        f = torch.cat([new(part), old(part)], dim=-1).movedim(0, 1)
        total.baddbmm_(f.mT, f)
    return total / len(x)


LINEAR = ("exp_avg", "momentum_buffer", "grad_avg", "ax")
SQUARED = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "acc_delta")


def carry_over(optimizer: torch.optim.Optimizer | None, parameter: nn.Parameter, T: Tensor) -> None:
    r"""Turns what an optimiser remembers of coefficients c into what it would of c' = T c.

    Gradients go the other way, :math:`g = T^\top g'`; of all g' that answer this, the smallest is
    :math:`g' = R g` with :math:`R = T (T^\top T)^{-1}`. Averages of gradients become R m, averages
    of their squares (R ∘ R) v.

    Raises:
        InputError: If the optimiser keeps something else of the size of the parameter, or a
            history, as L-BFGS does.

    """
    if optimizer is None:
        return
    known = optimizer.state.get(parameter, {})
    histories = [key for key, value in known.items() if isinstance(value, list)]
    if histories or type(optimizer).__name__ == "LBFGS":
        raise InputError(
            f"{type(optimizer).__name__} keeps a history that another grid makes worthless: "
            "change the grid without it, and make a new optimiser"
        )
    sized = [k for k, v in known.items() if isinstance(v, Tensor) and v.shape == parameter.shape]
    if strange := [k for k in sized if k not in LINEAR + SQUARED]:
        raise InputError(
            f"{type(optimizer).__name__} remembers {strange[0]!r}, which can't be carried over to "
            "another grid; change the grid without it, and make a new optimiser"
        )
    T = T.to(parameter.device)
    R = T @ torch.linalg.pinv(T.mT @ T, hermitian=True)
    for key in sized:
        way = R.square() if key in SQUARED else R
        rule = "lk,kio->lio" if way.ndim == 2 else "ilk,kio->lio"
        known[key] = torch.einsum(rule, way, known[key].double()).to(known[key].dtype)
