"""Smaller problems that are equivalent to a problem, if a hint about its structure is right."""

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import sympy
import torch
from torch import Tensor

from edgewise.symbolic.hints import (
    Combination,
    Ridge,
    combinations,
    idle_inputs,
    power_factors,
    ridge,
)
from edgewise.symbolic.problem import SAMPLE, Problem
from edgewise.symbolic.scaling import Scaling, scalings
from edgewise.symbolic.sorted_line import best_line
from edgewise.symbolic.surrogate import surrogate
from edgewise.symbolic.transforms import transformed


def reductions(problem: Problem) -> Iterator[Problem]:
    """Smaller problems that are equivalent if a hint is right, the most telling first."""
    x, y = problem.x[:, problem.active], problem.y
    if x.shape[1] < 2:
        return
    few = torch.linspace(0, len(x) - 1, min(6 * SAMPLE, len(x))).long()
    z, t = x[few], y[few]
    positive = bool((z > 0).all())
    if positive and bool((t > 0).all() or (t < 0).all()):
        yield from _by_powers(problem, z, t.abs().log())
    noise = surrogate(z, t).error if problem.noisy else 0.0
    yield from _by_line(problem, positive, noise)
    yield from _by_derivatives(problem, z, t)


def _by_line(problem: Problem, positive: bool, noise: float) -> Iterator[Problem]:
    """One product of powers, or one weighted sum, that decides y alone but for the noise."""
    x, y = problem.x[:, problem.active], problem.y
    if positive:
        line = best_line(x.log(), y, noise)
        if line is not None:
            yield from _on_a_line(problem, Ridge([Fraction(0)] * len(line.q), list(line.q)))
    line = best_line(x, y, noise)
    if line is not None:
        yield _on_a_sum(problem, line.q)


def _by_derivatives(problem: Problem, z: Tensor, t: Tensor) -> Iterator[Problem]:
    """What the derivatives of a polynomial show."""
    at = slice(None, 1000)
    found = surrogate(z, t)
    if found.error > 1e-4:
        found = surrogate(z, t, most=1500)
    if found.error < 0.25:
        gradient = found.gradient(z[at])
        idle = idle_inputs(gradient, z.std(0)) if found.error < 1e-3 else []
        if idle:
            yield _without(problem, idle)
            return
        positive = [
            i for i in range(z.shape[1]) if bool((problem.x[:, problem.active[i]] > 0).all())
        ]
        tolerance = min(0.6, max(1e-6, 20 * found.error))
        ways = scalings(t[at], gradient * z[at], positive, tolerance)
        yield from _factors(problem, ways)
        for scaling in ways[:3]:
            yield _scaled(problem, scaling)
    kinds = list(transformed(t))[:5]
    fits = [found if kind.name == "y" else surrogate(z, u) for kind, u, _ in kinds]
    best = min(fits, key=lambda fit: fit.error)
    if best.error < 0.05:
        for pair in combinations(best.gradient(z[at]), 10 * best.error)[:2]:
            yield _joined(problem, pair)


def _factors(problem: Problem, ways: list[Scaling]) -> Iterator[Problem]:
    """The problem without all inputs that are factors, at once."""
    factors = {w.i: w.p for w in ways if w.p.denominator == 1 and not w.q}
    if 1 < len(factors) < len(problem.active):
        yield _divided(problem, factors)


def _without(problem: Problem, idle: list[int]) -> Problem:
    """The problem without the inputs that do nothing."""
    gone = {problem.active[i] for i in idle}
    rest = [i for i in problem.active if i not in gone]
    names = [problem.names[i] for i in rest]
    return Problem(problem.x[:, rest], problem.y, names, problem.deadline, problem, lambda e: e)


def _scaled(problem: Problem, scaling: Scaling) -> Problem:
    """The problem in which one input's scale is divided out of the others and of y."""
    i = problem.active[scaling.i]
    into = {problem.active[m]: q for m, q in scaling.q.items()}
    rest = [k for k in problem.active if k != i]
    columns, names, restored = [], [], {}
    for k in rest:
        column, name = problem.x[:, k], problem.names[k]
        if k in into:
            q = sympy.Rational(into[k].numerator, into[k].denominator)
            column = column * problem.x[:, i] ** -float(q)
            name = f"v{problem.depth}_{k}"
            restored[sympy.Symbol(name, real=True)] = problem.symbols[k] * problem.symbols[i] ** -q
        columns.append(column)
        names.append(name)
    p = sympy.Rational(scaling.p.numerator, scaling.p.denominator)
    factor = problem.symbols[i] ** p
    return Problem(
        torch.stack(columns, dim=1),
        problem.y / problem.x[:, i] ** float(p),
        names,
        problem.deadline,
        problem,
        lambda e: factor * e.xreplace(restored),
    )


def _by_powers(problem: Problem, z: Tensor, t: Tensor) -> Iterator[Problem]:
    """What logarithms of everything show: factors, one dimensionless number, ratios."""
    found = surrogate(z.log(), t)
    if found.error > 0.02:
        return
    gradient = found.gradient(z.log()[:400])
    factors = power_factors(gradient, 3 * found.error**0.5)
    if factors and len(factors) < z.shape[1]:
        yield _divided(problem, factors)
        return
    line = ridge(gradient)
    if line is not None and sum(f != 0 for f in line.q) > 1:
        yield from _on_a_line(problem, line)
    for pair in combinations(gradient, 10 * found.error)[:2]:
        yield _joined(problem, pair, powers=True)


def _rationals(numbers: Sequence) -> list[sympy.Rational]:
    return [sympy.Rational(f.numerator, f.denominator) for f in numbers]


def _divided(problem: Problem, factors: dict) -> Problem:
    """The problem of y / Π xᵢ^pᵢ without these inputs."""
    gone = {problem.active[i]: p for i, p in factors.items()}
    rest = [i for i in problem.active if i not in gone]
    scale = torch.ones_like(problem.y)
    product = sympy.Integer(1)
    for i, p in gone.items():
        scale = scale * problem.x[:, i] ** float(p)
        product *= problem.symbols[i] ** sympy.Rational(p.numerator, p.denominator)
    names = [problem.names[i] for i in rest]
    return Problem(
        problem.x[:, rest],
        problem.y / scale,
        names,
        problem.deadline,
        problem,
        lambda e: product * e,
    )


def _on_a_line(problem: Problem, line: Ridge) -> Iterator[Problem]:
    """Problems of one input u = Π xᵢ^qᵢ or 1/u for y / (Π xᵢ^pᵢ u^m), for several m."""
    q, p = _rationals(line.q), _rationals(line.p)
    u, scale = torch.ones_like(problem.y), torch.ones_like(problem.y)
    u_text, scale_text = sympy.Integer(1), sympy.Integer(1)
    for k, i in enumerate(problem.active):
        u, scale = u * problem.x[:, i] ** float(q[k]), scale * problem.x[:, i] ** float(p[k])
        u_text *= problem.symbols[i] ** q[k]
        scale_text *= problem.symbols[i] ** p[k]
    if float((u.log()).std()) < 1e-9:
        return
    t = sympy.Symbol("u", real=True)
    for m, turned in itertools.product((0, 1, -1, 2, -2), (1, -1)):
        yield Problem(
            u.unsqueeze(1) ** turned,
            problem.y / scale * u**m,
            ["u"],
            problem.deadline,
            problem,
            lambda e, m=m, k=turned: scale_text * u_text ** (-m) * e.xreplace({t: u_text**k}),
        )


def _on_a_sum(problem: Problem, weights: Sequence[Fraction]) -> Problem:
    """The problem of one input u = Σ qᵢ xᵢ."""
    q = _rationals(weights)
    u = problem.x[:, problem.active] @ torch.tensor([float(f) for f in q], dtype=problem.x.dtype)
    text = sympy.Add(*[f * problem.symbols[i] for f, i in zip(q, problem.active, strict=True)])
    t = sympy.Symbol("u", real=True)
    return Problem(
        u.unsqueeze(1),
        problem.y,
        ["u"],
        problem.deadline,
        problem,
        lambda e: e.xreplace({t: text}),
    )


def _joined(problem: Problem, pair: Combination, powers: bool = False) -> Problem:
    """The problem with one input in place of two."""
    i, j = problem.active[pair.i], problem.active[pair.j]
    factor = sympy.Rational(pair.factor.numerator, pair.factor.denominator)
    a, b = problem.symbols[i], problem.symbols[j]
    if powers:
        column, text = problem.x[:, i] * problem.x[:, j] ** float(factor), a * b**factor
    else:
        column, text = problem.x[:, i] + float(factor) * problem.x[:, j], a + factor * b
    rest = [k for k in problem.active if k not in (i, j)]
    joint = f"v{problem.depth}"
    names = [joint, *(problem.names[k] for k in rest)]
    x = torch.cat([column.unsqueeze(1), problem.x[:, rest]], dim=1)
    symbol = sympy.Symbol(joint, real=True)
    return Problem(
        x, problem.y, names, problem.deadline, problem, lambda e: e.xreplace({symbol: text})
    )
