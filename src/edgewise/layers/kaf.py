"""Neurons with an activation of their own, made of Gaussians on a fixed dictionary."""

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases.gaussian import LOWEST_EXPONENT
from edgewise.core import InputError, check_count, remembers
from edgewise.layers.functions import Function, find_function
from edgewise.layers.recompute import in_chunks

RIDGE = 1e-4
"""What is added to the kernel's diagonal when the start is fitted."""

CHUNK = 1 << 18
"""Kernel values that are held at once: 1 MiB in float32."""


@remembers
class KAF(nn.Module):
    r"""Kernel activation functions (Scardapane et al. 2019, arXiv 1707.04035, eq. 4 and 5).

    .. math::
        y_i = f_i(z_i) = u_i z_i + \sum_{k=1}^D α_{ik}\, κ(z_i - d_k), \qquad
        κ(s) = \exp(-γ s^2), \quad γ = \frac{1}{6 Δ^2}

    One function for each neuron, over D points d at equal distances Δ on [-R, R], which are the
    same for all and stay where they are. The straight part u z is not in the paper: without it
    f and its slope are zero outside [-R, R], where a neuron then stays dead.

    All neurons start as the same activation f⁰, by ridge regression at the points, with the kernel
    matrix K, K_jk = κ(d_j - d_k):

    .. math::
        α = (K + ε I)^{-1} (f⁰(d) - u d), \qquad
        u = \frac{d^\top (K + ε I)^{-1} f⁰(d)}{d^\top (K + ε I)^{-1} d}, \qquad ε = 10^{-4}

    (u minimises what the ridge regression leaves; without a straight part it is zero.)

    Args:
        features: The number of neurons.
        size: The number of points, D.
        reach: R.
        start: f⁰: a function's name as in `KernelActivation`, ``"module:name"`` or a callable.
        straight: Whether there is the straight part u z.

    Attributes:
        alpha: The coefficients α, [features, D].
        u: The slopes of the straight part, [features], or None.

    Shape:
        ``(..., features)`` to the same.

    Raises:
        InputError: If an argument makes no sense, or x has other features.

    Example:
        >>> layer, z = KAF(3), torch.linspace(-3, 3, 60).reshape(20, 3)
        >>> bool((layer(z) - torch.nn.functional.silu(z)).abs().max() < 0.01)
        True

    """

    def __init__(
        self,
        features: int,
        size: int = 20,
        reach: float = 4.0,
        start: str | Function = "silu",
        *,
        straight: bool = True,
    ) -> None:
        super().__init__()
        self.features, self.size = check_count("features", features), size
        if check_count("size", size) < 2:
            raise InputError("size must be at least 2, as points have a distance, got 1")
        number = isinstance(reach, (int, float)) and not isinstance(reach, bool)
        if not (number and 0 < reach < math.inf):
            raise InputError(f"reach must be a finite number above 0, got {reach!r}")
        self.reach, self.start = reach, start
        self.gamma = 1 / (6 * (2 * reach / (size - 1)) ** 2)
        self.alpha = nn.Parameter(torch.empty(features, size))
        self.u = nn.Parameter(torch.empty(features)) if straight else None
        self.reset_parameters()

    @property
    def d(self) -> Float[Tensor, " D"]:
        """The points; made anew, as a buffer would lose its digits in ``.half()``."""
        dtype = torch.promote_types(self.alpha.dtype, torch.float32)
        return self._points(dtype, self.alpha.device)

    def _points(self, dtype: torch.dtype, device: str | torch.device) -> Tensor:
        return torch.linspace(-self.reach, self.reach, self.size, dtype=dtype, device=device)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Every neuron becomes f⁰, in the least squares of the ridge; nothing is random."""
        # On the CPU wherever the layer is, and in float64: K is all but singular.
        d = self._points(torch.float64, "cpu")
        values = find_function(self.start)(d.to(torch.get_default_dtype())).to(d)
        K = _kernel(d.unsqueeze(-1) - d, self.gamma, order=0)
        K.diagonal().add_(RIDGE)
        fitted, straight = torch.linalg.solve(K, torch.stack([values, d], dim=-1)).unbind(-1)
        u = 0.0 if self.u is None else float((d @ fitted) / (d @ straight))
        if self.u is not None:
            self.u.fill_(u)
        self.alpha.copy_((fitted - u * straight).expand_as(self.alpha))

    def forward(self, z: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch i"]:
        """Each neuron's function of its sum."""
        return self.derivative(z, order=0)

    def derivative(self, z: Float[Tensor, "*batch i"], order: int = 1) -> Float[Tensor, "*batch i"]:
        """Each neuron's value (order 0), or its derivative of order 1 or 2.

        The (batch, features, D) values of the kernel are held a chunk at a time and made again in
        the backward pass.
        """
        if z.ndim == 0 or z.shape[-1] != self.features:
            raise InputError(
                f"KAF takes {self.features} features on the last axis, "
                f"got z of shape {tuple(z.shape)}"
            )
        if order not in (0, 1, 2):
            raise InputError(f"derivatives are known up to order 2, got order={order!r}")
        rows = z.reshape(-1, self.features).to(self.alpha.dtype)
        sums = partial(_sums, gamma=self.gamma, order=order)
        y = in_chunks(sums, CHUNK // self.alpha.numel(), rows, self.alpha, self.d)
        if self.u is not None and order < 2:
            y = y + (rows * self.u if order == 0 else self.u)
        return y.reshape(z.shape)

    def squared_norm(self) -> Float[Tensor, " i"]:
        r"""α K α for each neuron: how rough its function is without the straight part.

        It is the square of the function's norm in the kernel's own (reproducing) space; a penalty
        on it keeps functions smooth, and costs nothing beside a forward pass.
        """
        d = self.d
        K = _kernel(d.unsqueeze(-1) - d, self.gamma, order=0)
        alpha = self.alpha.to(K)
        return (alpha @ K * alpha).sum(-1).to(self.alpha.dtype)

    def extra_repr(self) -> str:
        return f"{self.features}, size={self.size}, reach={self.reach}, start={self.start!r}"


def _kernel(s: Tensor, gamma: float, order: int) -> Tensor:
    """κ(s), κ'(s) or κ''(s)."""
    k = (-gamma * s * s).clamp(min=LOWEST_EXPONENT).exp()
    if order == 0:
        return k
    return k * (-2 * gamma * s if order == 1 else 4 * gamma**2 * s * s - 2 * gamma)


def _sums(z: Tensor, alpha: Tensor, d: Tensor, gamma: float, order: int) -> Tensor:
    wide = torch.promote_types(z.dtype, torch.float32)
    k = _kernel(z.to(wide).unsqueeze(-1) - d, gamma, order)
    return (k * alpha.to(wide)).sum(-1).to(z.dtype)
