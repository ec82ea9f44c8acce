"""The bases in MLX: x (...) to (..., K), by the formulas of `edgewise.bases`."""

import math

import mlx.core as mx
import mlx.nn as nn

from edgewise import bases
from edgewise.bases.gaussian import LOWEST_EXPONENT
from edgewise.bases.wavelet import _MORLET_ENERGY, _MORLET_MEAN, _MORLET_OMEGA
from edgewise.mlx.fixed import Fixed
from edgewise.mlx.twins import twin_of


@twin_of(bases.Fourier)
class Fourier(Fixed):
    """1, cos ωₕx, sin ωₕx."""

    def __init__(self, basis: bases.Fourier) -> None:
        super().__init__()
        omega = mx.zeros(basis.omega.shape)
        if basis.learnable:
            self.omega = omega
        else:
            self.fix(omega=omega)

    def __call__(self, x: mx.array) -> mx.array:
        phase = x[..., None] * self.omega
        return mx.concatenate([mx.ones_like(x)[..., None], mx.cos(phase), mx.sin(phase)], axis=-1)


@twin_of(bases.Gaussian)
class Gaussian(Fixed):
    """exp(-½ ((x - μ)/σ)²)."""

    def __init__(self, basis: bases.Gaussian) -> None:
        super().__init__()
        self.fix(mu=mx.zeros(basis.mu.shape), sigma=mx.ones(basis.sigma.shape))

    def __call__(self, x: mx.array) -> mx.array:
        return _bell((x[..., None] - self.mu) / self.sigma)


@twin_of(bases.Wavelet)
class Wavelet(Fixed):
    """s^(-½) ψ((x - τ)/s), with the mother ψ of `edgewise.bases.wavelet`."""

    def __init__(self, basis: bases.Wavelet) -> None:
        super().__init__()
        self.mother = basis.mother
        self.fix(scale=mx.ones(basis.scale.shape), shift=mx.zeros(basis.shift.shape))

    def __call__(self, x: mx.array) -> mx.array:
        u = (x[..., None] - self.shift) / self.scale
        return MOTHERS[self.mother](u) * mx.rsqrt(self.scale)


@twin_of(bases.Chebyshev)
class Chebyshev(nn.Module):
    """T₀ or T₁ to T_d by the recurrence, of x held in the domain with straight ends, or of tanh."""

    def __init__(self, basis: bases.Chebyshev) -> None:
        super().__init__()
        self.degree, self.domain, self.outside = basis.degree, basis.domain, basis.outside
        # T_n' is n² at 1; at -1 that of the even ones has the other sign.
        rising = [float(n * n) for n in range(basis.degree + 1)]
        falling = [-s if n % 2 == 0 else s for n, s in enumerate(rising)]
        self.first = 0 if basis.constant else 1
        self._slopes = [mx.array(falling[self.first :]), mx.array(rising[self.first :])]

    def __call__(self, x: mx.array) -> mx.array:
        low, high = self.domain
        u = (x - (low + high) / 2) * (2 / (high - low))
        if self.outside == "tanh":
            return self._polynomials(mx.tanh(u))
        held = mx.clip(u, -1, 1)
        slopes = mx.where((u < 0)[..., None], *self._slopes)
        return self._polynomials(held) + (u - held)[..., None] * slopes

    def _polynomials(self, u: mx.array) -> mx.array:
        T = [mx.ones_like(u), u]
        for _ in range(1, self.degree):
            T.append(2 * u * T[-1] - T[-2])
        return mx.stack(T[self.first :], axis=-1)


@twin_of(bases.Rational)
class Rational(nn.Module):
    """xᵐ / (1 + |A(x)|), above and below divided by sᵠ, s = max(1, |x|), so nothing overflows."""

    def __init__(self, basis: bases.Rational) -> None:
        super().__init__()
        self.numerator, self.denominator = basis.numerator, basis.denominator
        self.groups = basis.groups
        self.b = mx.zeros((basis.groups, basis.denominator))

    def __call__(self, x: mx.array) -> mx.array:
        b, p, q = self.b, self.numerator, self.denominator
        b = b[0] if self.groups == 1 else mx.repeat(b, x.shape[-1] // self.groups, axis=0)
        # What is divided by cancels, and so does its gradient.
        s = mx.stop_gradient(mx.maximum(mx.abs(x), 1))
        rising = [mx.ones_like(x)]
        for _ in range(max(p, q)):
            rising.append(rising[-1] * (x / s))
        powers = mx.stack([v * s ** (n - q) for n, v in enumerate(rising)], axis=-1)
        A = (powers[..., 1 : q + 1] * b).sum(axis=-1, keepdims=True)
        Q = powers[..., :1] + mx.where(A < 0, -A, A)
        return powers[..., : p + 1] / Q


def _bell(u: mx.array) -> mx.array:
    return mx.exp(mx.maximum(-0.5 * u * u, LOWEST_EXPONENT))


def _mexican_hat(u: mx.array) -> mx.array:
    return 2 / (math.sqrt(3) * math.pi**0.25) * (1 - u * u) * _bell(u)


def _dog(u: mx.array) -> mx.array:
    return -math.sqrt(2) / math.pi**0.25 * u * _bell(u)


def _morlet(u: mx.array) -> mx.array:
    return (mx.cos(_MORLET_OMEGA * u) - _MORLET_MEAN) * _bell(u) / math.sqrt(_MORLET_ENERGY)


MOTHERS = {"mexican_hat": _mexican_hat, "dog": _dog, "morlet": _morlet}
