"""Which inputs act together, and which only add up."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.symbolic.edges import check_inputs
from edgewise.symbolic.network import as_symbolic


def interactions(model: nn.Module, x: Float[Tensor, "N I"]) -> Float[Tensor, "Q I I"]:
    r"""How much each pair of inputs does beyond the sum of what each does alone.

    .. math::
        h_{qij} = σ_i σ_j \sqrt{\frac{E[(\partial^2 y_q / \partial x_i \partial x_j)^2]}
            {\operatorname{Var} y_q}}, \qquad σ_i^2 = \operatorname{Var} x_i

    It has no unit, and for i ≠ j it is 0 exactly where output q is a function of :math:`x_i` plus
    one of :math:`x_j`, whatever the other inputs (Friedman & Popescu 2008, section 8.1). The
    diagonal says how much an input bends the output: 0 is a straight line.

    Args:
        model: A KAN or a symbolic one, Q outputs.
        x: Inputs that are typical.

    Raises:
        InputError: If x does not fit the model or is not finite.

    Example:
        >>> model = ew.symbolic.from_expression("x1*x2 + exp(x3)", ["x1", "x2", "x3"])
        >>> x = torch.rand(200, 3, dtype=torch.float64)
        >>> (interactions(model, x)[0] > 1e-9).int().tolist()
        [[0, 1, 0], [1, 0, 0], [0, 0, 1]]

    """
    model = as_symbolic(model)
    x = check_inputs(model, x).detach().requires_grad_()
    with torch.enable_grad():
        y = model(x)
        found = [_mean_squares(y[:, q], x) for q in range(y.shape[1])]
    squares = torch.stack(found)
    spread = y.detach().var(0, correction=0).clamp(min=torch.finfo(x.dtype).tiny)
    sizes = x.detach().std(0, correction=0)
    return sizes[:, None] * sizes * (squares / spread[:, None, None]).sqrt()


def _mean_squares(y: Tensor, x: Tensor) -> Tensor:
    """The second derivatives' mean squares (I, I); rows of x do not touch each other."""
    (slopes,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return torch.stack([_derivative(slope, x).square().mean(0) for slope in slopes.T])


def _derivative(slope: Tensor, x: Tensor) -> Tensor:
    if not slope.requires_grad:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(
        slope.sum(), x, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return found
