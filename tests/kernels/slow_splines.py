"""B-spline layers as the textbook has them, in float64: the truth that every path is held to."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edgewise.bases.knots import extend
from edgewise.kernels import native
from edgewise.kernels.spline import Spline

NATIVE = not isinstance(native._LIBRARY, str)
needs_native = pytest.mark.skipif(not NATIVE, reason=f"no native kernel here: {native._LIBRARY}")

ACTIVATIONS = {"silu": F.silu, "tanh": torch.tanh, "identity": lambda x: x}


IMAGES = [(3, 2, 7), (2, 3, 5, 4), (2, 2, 3, 4, 5), (1, 1, 1, 1), (0, 2, 4, 4), (2, 1, 33)]
"""Sizes of what convolutions take."""


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def uneven(cells: int, *inputs: int, low: float = -1.2, high: float = 0.9, seed: int = 0) -> Tensor:
    """Breaks of cells whose widths are up to five times each other's, (*inputs, cells + 1)."""
    generator = torch.Generator().manual_seed(seed)
    widths = 0.25 + torch.rand(*inputs, cells, generator=generator, dtype=torch.float64)
    ends = torch.nn.functional.pad(widths.cumsum(-1), (1, 0))
    return low + (high - low) * ends / ends[..., -1:]


def spline(kind: str, degree: int, cells: int, inputs: int = 1) -> Spline:
    """Splines on [-1.2, 0.9]: of ``equal`` cells, or on knots that are ``shared`` or ``own``."""
    if kind == "equal":
        return Spline(degree, cells, -1.2, cells / 2.1)
    breaks = uneven(cells, *([inputs] if kind == "own" else [])).view(-1, cells + 1)
    return Spline(degree, cells, -1.2, cells / 2.1, extend(breaks, degree))


def knots_of(spline: Spline, i: int) -> Tensor:
    """The knots of input i."""
    D, G = spline.degree, spline.cells
    if spline.knots is None:
        return spline.low + torch.arange(-D, G + D + 1, dtype=torch.float64) / spline.per_unit
    return spline.knots[min(i, len(spline.knots) - 1)]


def cox_de_boor(x: Tensor, t: Tensor, degree: int, spread: int) -> Tensor:
    """All B_{j,degree} at x in the domain, which begins at t[spread] (de Boor 1978, ch. X)."""
    last = len(t) - 2 - spread
    cell = torch.searchsorted(t[spread + 1 : last + 1].contiguous(), x.detach(), right=True)
    x = x.unsqueeze(-1)
    B = F.one_hot(cell + spread, len(t) - 1).double()
    for d in range(1, degree + 1):
        left = (x - t[: -d - 1]) / (t[d:-1] - t[: -d - 1])
        right = (t[d + 1 :] - x) / (t[d + 1 :] - t[1:-d])
        B = left * B[..., :-1] + right * B[..., 1:]
    return B


def functions(x: Tensor, spline: Spline, i: int = 0) -> Tensor:
    """The values at x (n,), (n, K): inside by the recursion, outside by the end tangents."""
    D, G, t = spline.degree, spline.cells, knots_of(spline, i)
    inside = x.clamp(t[D], t[D + G])
    values = cox_de_boor(inside, t, D, D)
    if D == 0:
        return values
    lower = cox_de_boor(inside, t, D - 1, D) / (t[D:] - t[:-D])
    return values + (x - inside).unsqueeze(-1) * D * (lower[:, :-1] - lower[:, 1:])


def layer(
    x: Tensor, C: Tensor, spline: Spline, W: Tensor | None = None, base: str | None = None
) -> Tensor:
    """y = sum over the inputs, one by one."""
    y = sum(functions(x[:, i], spline, i) @ C[:, i] for i in range(x.shape[1]))
    return y if W is None else y + ACTIVATIONS[base](x) @ W


def problem(
    N: int, inputs: int, O: int, spline: Spline, base: str | None = None, seed: int = 0
) -> list[Tensor | None]:
    """x (a third of it outside, some of it far), C, W or None, and a gradient dy, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = draw(N, inputs)
    x[::7] *= 30
    W = None if base is None else draw(inputs, O)
    return [x, draw(spline.size, inputs, O), W, draw(N, O)]


def with_gradients(function, dy: Tensor, *tensors: Tensor | None) -> list[Tensor]:
    """What the function gives, and the gradients of the tensors that are there."""
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in tensors]
    y = function(*leaves)
    wanted = [t for t in leaves if t is not None]
    return [y.detach(), *torch.autograd.grad(y, wanted, dy, materialize_grads=True)]


def assert_near(found: list[Tensor], expected: list[Tensor], *tolerances: float) -> None:
    """Each differs by no more than a tolerance times the largest entry; the last one holds on."""
    for k, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.shape == b.shape
        if not a.numel():
            continue
        allowed = tolerances[min(k, len(tolerances) - 1)] * max(1.0, float(b.abs().max()))
        assert float((a.double() - b.double()).abs().max()) <= allowed, f"the {k}th"
