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
    over each input's domains take part with a small weight, so that a function is also kept where
    the sample has nothing.

    Returns:
        T, in float64, and the relative residual on the sample over all edges.

    """
    x = x.double()
    gram = _gram(old, new, x)
    fit = gram + EVERYWHERE * _gram(old, new, _spread(old, new, x))
    K = new.size
    A, B = fit[:, :K, :K], fit[:, :K, K:]
    ridge = RIDGE * A.diagonal(dim1=1, dim2=2).mean(-1).view(-1, 1, 1)
    T = torch.linalg.solve(A + ridge * torch.eye(K, dtype=A.dtype, device=A.device), B)
    c = C.detach().double().movedim(0, 1)
    change = torch.cat([T @ c, -c], dim=1)
    error = (change * (gram @ change)).sum().clamp(min=0)
    size = (c * (gram[:, K:, K:] @ c)).sum()
    return T, float((error / size).sqrt()) if size > 0 else 0.0


def _spread(
    old: AbstractBasis, new: AbstractBasis, x: Float[Tensor, "n I"]
) -> Float[Tensor, "m I"]:
    """Points from end to end of what the sample and both bases reach, for each input on its own."""
    reaches = [basis.reach().to(x).expand(x.shape[1], 2) for basis in (old, new)]
    ends = torch.stack([torch.stack([x.amin(0), x.amax(0)], dim=-1), *reaches])
    share = torch.linspace(0, 1, 8 * new.size, dtype=x.dtype, device=x.device)
    return torch.lerp(ends[..., 0].amin(0), ends[..., 1].amax(0), share.unsqueeze(-1))


def _gram(
    old: AbstractBasis, new: AbstractBasis, x: Float[Tensor, "n I"]
) -> Float[Tensor, "I F F"]:
    """E[f fᵀ] of the new and old functions side by side, for each input; few rows at a time."""
    features = old.size + new.size
    # Enough that the sums, which go past once for each part, are not what takes the time.
    rows = max(features, (1 << 21) // (features * x.shape[1]))
    total = x.new_zeros(x.shape[1], features, features)
    for part in x.split(rows):
        f = torch.cat([new(part), old(part)], dim=-1).movedim(0, 1)
        total.baddbmm_(f.mT, f)
    return total / len(x)


GRADIENTS = ("exp_avg", "momentum_buffer", "grad_avg")
SQUARES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum")
STEPS = ("ax", "acc_delta")
"""What optimisers call their averages of gradients, of the squares of gradients, and what is of the
kind of c itself: its average (ASGD), and that of its squared changes (Adadelta)."""

LEAST = 1e-3
"""Of the largest eigenvalue of TᵀT: directions below it are what the new functions hardly see."""


def carry_over(optimizer: torch.optim.Optimizer | None, parameter: nn.Parameter, T: Tensor) -> None:
    r"""Turns what an optimiser remembers of coefficients c into what it would of c' = T c.

    Gradients go the other way, :math:`g = T^\top g'`; of all g' that answer this, the smallest is
    :math:`g' = R g` with :math:`R = T (T^\top T)^{-1}`. An average of gradients m becomes R m; one
    of squares v becomes the larger of :math:`(|R| \sqrt v)^2`, where the entries of g go together,
    and :math:`|R| v`, where each goes its own way: too little of it would make a leap of the next
    step. What is of the kind of c becomes T c.

    Raises:
        InputError: If the optimiser keeps something that can't be carried over, such as the
            history of L-BFGS.

    """
    if optimizer is None:
        return
    _check_memory(optimizer)
    known = optimizer.state.get(parameter, {})
    T = T.to(parameter.device)
    R = T @ torch.linalg.pinv(T.mT @ T, hermitian=True, rtol=LEAST)
    # RMSprop's momentum is one of steps.
    steps = {*STEPS, "momentum_buffer"} if "square_avg" in known else STEPS
    for key in known.keys() & {*GRADIENTS, *SQUARES, *STEPS}:
        way = T if key in steps else R
        squared = key in (*SQUARES, "acc_delta")
        known[key] = (_squares_in_new if squared else in_new)(way, known[key])


def in_new(T: Float[Tensor, "*I K2 K"], c: Float[Tensor, "K I O"]) -> Float[Tensor, "K2 I O"]:
    """T c, input by input where T is so, in the dtype of c."""
    rule = "lk,kio->lio" if T.ndim == 2 else "ilk,kio->lio"
    # Laid out as a new layer's are: sums over them must round alike after a restart.
    return torch.einsum(rule, T, c.double()).to(c.dtype).contiguous()


def put(values: Tensor, parameter: nn.Parameter) -> None:
    """Gives a parameter values of another shape; it stays the object that others hold."""
    parameter.grad = None
    # While a graph of before is alive, torch expects gradients of the shape of before; it forgets
    # that where the dtype changes.
    other = torch.float32 if values.dtype == torch.float64 else torch.float64
    parameter.data = values.new_empty(0, dtype=other)
    parameter.data = values


def _squares_in_new(R: Tensor, v: Tensor) -> Tensor:
    together = in_new(R.abs(), v.double().sqrt()).square()
    return torch.maximum(together, in_new(R.abs(), v.double())).to(v.dtype)


def _check_memory(optimizer: torch.optim.Optimizer) -> None:
    name = type(optimizer).__name__
    carried = {*GRADIENTS, *SQUARES, *STEPS}
    for parameter, known in optimizer.state.items():
        for key, value in known.items():
            if name == "LBFGS" or isinstance(value, (list, tuple, dict)):
                raise InputError(
                    f"{name} keeps a history that another grid makes worthless: "
                    "change the grid without it, and make a new optimiser"
                )
            if not isinstance(value, Tensor) or value.ndim == 0:
                continue
            if key not in carried or value.shape != parameter.shape:
                raise InputError(
                    f"{name} remembers {key!r}, which can't be carried over to another grid; "
                    "change the grid without it, and make a new optimiser"
                )
