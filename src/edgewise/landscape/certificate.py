"""Is the loss convex along a line? Proofs that it is not, each with its witness."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgewise.core import generator
from edgewise.curvature import Functional, extreme_eigenpairs
from edgewise.landscape.operators import has_matrix, in_float64, operator


@dataclass(frozen=True)
class Chord:
    """Three points of a line at which the loss lies above its chord: f(b) > its value there."""

    a: float
    b: float
    c: float
    above: float
    """By how much."""


@dataclass(frozen=True)
class Least:
    """The smallest eigenvalue of the Hessian at one point.

    Attributes:
        value: The smallest Ritz value: at least the smallest eigenvalue.
        residual: An eigenvalue lies within this of ``value``.
        exact: Whether the Hessian was formed as a matrix, so that ``value`` is the smallest.
        bend: ``(f(θ + t v) + f(θ - t v)) / 2 - f(θ)``, measured along the unit eigenvector v.
        step: t.

    """

    value: float
    residual: float
    exact: bool
    bend: float
    step: float

    @property
    def is_negative(self) -> bool:
        """Proof that f is not convex around this point: v was walked and the loss fell."""
        return self.value < -self.residual and self.bend < 0


@dataclass(frozen=True)
class Certificate:
    """What is proved about convexity.

    Attributes:
        chord: The point furthest above a chord of the line; None where there is none.
        bent: The α at which the curvature along the line, φ''(α) = dᵀ H d, is negative.
        negative: The α at which the Hessian has a negative eigenvalue, with a witness.
        verdict: All of it in a sentence.

    """

    chord: Chord | None
    bent: tuple[float, ...]
    negative: tuple[float, ...]
    verdict: str


def certify(
    alphas: Sequence[float],
    values: Sequence[float],
    bends: Sequence[float] | None,
    leasts: Sequence[Least] | None,
    eps: float,
) -> Certificate:
    """The certificate of a line from what was found at its points.

    Args:
        alphas: Where, ascending.
        values: f there.
        bends: φ'' there, or None.
        leasts: The smallest eigenvalues there, or None.
        eps: The rounding of f, relative.

    Example:
        >>> certify([0, 1, 2], [0.0, 1.0, 0.0], None, None, 1e-16).chord
        Chord(a=0, b=1, c=2, above=0.999...)

    """
    chord = furthest_above(alphas, values, eps)
    scale = max((abs(b) for b in bends or ()), default=0.0)
    bent = tuple(a for a, b in zip(alphas, bends or (), strict=False) if b < -1e3 * eps * scale)
    negative = tuple(a for a, x in zip(alphas, leasts or (), strict=False) if x.is_negative)
    return Certificate(chord, bent, negative, _verdict(chord, bent, negative, leasts, len(alphas)))


def furthest_above(alphas: Sequence[float], values: Sequence[float], eps: float) -> Chord | None:
    """The sample furthest above the chord between two others, beyond rounding; None if convex."""
    a, f = (torch.as_tensor(list(s), dtype=torch.float64) for s in (alphas, values))
    best = None
    for j in range(1, len(a) - 1):
        left, right = a[:j, None], a[None, j + 1 :]
        t = (a[j] - left) / (right - left)
        above = f[j] - ((1 - t) * f[:j, None] + t * f[None, j + 1 :])
        above = above - 10 * eps * f.abs().max()
        k = int(above.argmax())
        i, l = divmod(k, above.shape[1])
        if float(above[i, l]) > (best.above if best else 0.0):
            best = Chord(alphas[i], alphas[j], alphas[j + 1 + l], float(above[i, l]))
    return best


def least(functional: Functional, theta: Tensor, seed: int) -> Least:
    """The smallest eigenvalue at θ, with a walk along its eigenvector."""
    H = operator(functional, "hessian", theta)
    found = extreme_eigenpairs(
        H,
        functional.size,
        1,
        "smallest",
        tol=max(1e-8, in_float64(functional.dtype)),
        values_only=True,
        generator=generator(seed, "least"),
    )
    value, residual, v = float(found.values[0]), float(found.residuals[0]), found.vectors[:, 0]
    bend, step = _walk(functional, theta, v, value)
    return Least(value, residual, has_matrix(functional), bend, step)


def _walk(functional: Functional, theta: Tensor, v: Tensor, value: float) -> tuple[float, float]:
    """The mean of f at ± t v less f(θ), at the largest t whose sign is that of the eigenvalue."""
    here = float(functional.value(theta))
    step = 0.1 * max(1.0, float(theta.norm()) / len(theta) ** 0.5)
    bend = 0.0
    for _ in range(12):
        ends = (float(functional.value(theta + s * step * v)) for s in (1, -1))
        bend = sum(ends) / 2 - here
        if bend * value > 0:
            break
        step /= 2
    return bend, step


def _verdict(
    chord: Chord | None,
    bent: tuple[float, ...],
    negative: tuple[float, ...],
    leasts: Sequence[Least] | None,
    count: int,
) -> str:
    parts: list[Any] = []
    if chord:
        parts.append(
            f"not convex along the line: at α = {chord.b:g} the loss lies {chord.above:.3g} above "
            f"the chord from {chord.a:g} to {chord.c:g}"
        )
    if bent:
        start = "" if chord else "not convex along the line: "
        parts.append(f"{start}its curvature is negative at {len(bent)} of {count} points")
    if not parts:
        parts.append(f"no violation of convexity along the line at {count} points")
    if leasts:
        parts.append(
            f"the Hessian has a negative eigenvalue, with a witness, at {len(negative)} of {count}"
        )
    return "; ".join(parts)
