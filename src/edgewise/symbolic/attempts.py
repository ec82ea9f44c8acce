"""What a search tries, in which order, and how it goes on with smaller problems."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator

import sympy
import torch
from torch import Tensor

from edgewise.symbolic.functions import Function
from edgewise.symbolic.hints import Groups, groups
from edgewise.symbolic.nets import Shape
from edgewise.symbolic.problem import Part, Problem, refine
from edgewise.symbolic.reduce import reductions
from edgewise.symbolic.relations import search_relations
from edgewise.symbolic.search_nets import larger_shapes, search_net
from edgewise.symbolic.significant import significant_terms
from edgewise.symbolic.terms import search_terms, solve_terms
from edgewise.symbolic.transforms import TRANSFORMS, Transform, transformed

Attempts = Iterator[Callable[[], None]]


def attempts(problem: Problem, functions: list[Function], seed: int) -> Attempts:
    """What is tried, the cheap and likely first."""
    net = functools.partial(search_net, problem, functions, seed)
    yield from _short_sums(problem)
    yield from _additive(problem, net)
    if len(problem.active) > 2:
        yield from _sums_of_many(problem)
        yield lambda: _reduced(problem, functions, seed)
    elif len(problem.active) == 2 and problem.depth > 0:
        yield lambda: _reduced(problem, functions, seed)
    yield from _networks(problem, net)
    if len(problem.active) == 2:
        if problem.exact:
            yield lambda: _sums(problem, search_relations, most=400)
        if problem.depth == 0:
            yield lambda: _reduced(problem, functions, seed)
    if problem.exact:
        yield lambda: _sums(problem, solve_terms, most=700)
        yield lambda: _sums(problem, search_terms, most=4, least=3)
    yield from _ever_more(problem, net)


def run_attempts(problem: Problem, attempts: Attempts) -> None:
    """One after the other, until the problem is solved or its time is up."""
    for attempt in attempts:
        attempt()
        if problem.solved or problem.deadline.passed:
            break


def _short_sums(problem: Problem) -> Attempts:
    """One term, two, or a quotient of few."""
    # Sums of terms can follow anything, so they need a target that is known to all digits.
    if problem.exact:
        yield lambda: _monomial(problem)
        yield lambda: _sums(problem, search_relations, most=120)
        yield lambda: _sums(problem, search_terms, most=2, rough=problem.depth == 0)
    if problem.noisy:
        yield lambda: _sums(problem, significant_terms)


def _additive(problem: Problem, net: Callable) -> Attempts:
    """T(y) as a sum of functions of one input each, for all transforms T."""
    for transform in range(len(TRANSFORMS)):
        yield lambda t=transform: net(_additive_shape(problem), 0, t)
    if len(problem.active) == 1:
        for transform in range(len(TRANSFORMS)):
            # As fast as a function of one number may be, a finer spline follows.
            yield lambda t=transform: net(_additive_shape(problem), 3, t)


def _additive_shape(problem: Problem) -> Shape:
    return Shape.nodes((tuple(problem.active),))


def _sums_of_many(problem: Problem) -> Attempts:
    """More terms, for three inputs or more."""
    if problem.exact:
        yield lambda: _sums(problem, search_relations, most=400)
        yield lambda: _sums(problem, solve_terms, most=300)
    if problem.depth == 0 and not problem.noisy:
        yield lambda: _sums(problem, significant_terms)


def _small_shapes(inputs: list[int]) -> list[Shape]:
    """A function of a sum, and of a product, of functions of one input each."""
    if len(inputs) < 2:
        return [Shape.sum_of(inputs)]
    plain = Shape.product_of(inputs, plain=True)
    return [plain, Shape.sum_of(inputs), Shape.product_of(inputs)]


def _networks(problem: Problem, net: Callable) -> Attempts:
    """Small networks from two starts; in between inputs that act as one."""
    shapes = _small_shapes(problem.active)
    for shape in shapes:
        yield lambda s=shape: net(s, 0)
    if len(problem.active) == 2 and problem.depth == 0 and not problem.noisy:
        yield lambda: _sums(problem, significant_terms)
    if problem.exact:
        yield lambda: _joined_relations(problem)
    for shape in shapes:
        yield lambda s=shape: net(s, 1)


def _ever_more(problem: Problem, net: Callable) -> Attempts:
    """Other starts and larger networks, without end."""
    small, larger = _small_shapes(problem.active), larger_shapes(problem.active)
    for start in itertools.count(2):
        for transform in range(4):
            yield lambda k=start, t=transform: net(_additive_shape(problem), k, t)
        for shape in small:
            yield lambda s=shape, k=start: net(s, k)
        for shape, transform in itertools.product(larger, range(4)):
            yield lambda s=shape, k=start, t=transform: net(s, k, t)


def _solve(
    problem: Problem, functions: list[Function], seed: int, share: float, most: int = 1000
) -> bool:
    """Works on a smaller problem for a share of the time that is left."""
    problem.deadline = problem.deadline.within(share * problem.left)
    run_attempts(problem, itertools.islice(attempts(problem, functions, seed), most))
    return problem.solved


def _reduced(problem: Problem, functions: list[Function], seed: int) -> None:
    """Looks for structure and solves what is left."""
    if problem.depth > 8:
        return
    for smaller in reductions(problem):
        smaller.deadline = problem.deadline
        # Of one input little can be tried, and there are many such problems.
        share, most = (0.1, 24) if len(smaller.active) == 1 else (0.4, 1000)
        if _solve(smaller, functions, seed, share, most) or problem.left == 0:
            problem.solved = problem.solved or smaller.solved
            return
    for kind, t, sign in itertools.islice(transformed(problem.few_y), 4):
        found = groups(problem.few_x[:, problem.active], t)
        if found is not None and _grouped(problem, found, kind, sign, functions, seed):
            return


def _grouped(
    problem: Problem,
    found: Groups,
    kind: Transform,
    sign: int,
    functions: list[Function],
    seed: int,
) -> bool:
    """Solves each group by itself, adds up, and polishes all of it on the data."""
    parts: list[sympy.Expr] = []
    for members, part in zip(found.sets, found.parts, strict=True):
        inputs = [problem.active[i] for i in members]
        known = max(1e-12, found.error)
        sub = Part(problem, inputs, part, known)
        sub.deadline = problem.deadline.within(0.3 * problem.left)
        if not _solve(sub, functions, seed, 1.0, most=40):
            return False
        parts.append(sub.found)
    return refine(problem, kind.inverse(sympy.Add(*parts), sign), f"groups of {kind.name}")


def _monomial(problem: Problem) -> None:
    """C Π xᵢ^pᵢ, by least squares on logarithms."""
    x, y = problem.x[:, problem.active], problem.y
    sign = 1 if float(y.mean()) > 0 else -1
    rows = sign * y > 0
    # Noise may turn the sign of what is nearly 0.
    if not (x > 0).all() or float(rows.double().mean()) < (0.9 if problem.noisy else 1.0):
        return
    A = torch.cat([x[rows].log(), torch.ones_like(x[rows, :1])], dim=1)
    target = (sign * y[rows]).log().unsqueeze(1)
    # An error of y is one of log y divided by y.
    weight = y[rows].abs().unsqueeze(1) if problem.noisy else 1.0
    solution = torch.linalg.lstsq(A * weight, target * weight, driver="gelsd").solution[:, 0]
    parts = [sympy.Float(sign * math.exp(float(solution[-1])), 17)]
    for i, p in zip(problem.active, solution.tolist(), strict=False):
        exact = sympy.Rational(p).limit_denominator(12)
        close = abs(float(exact) - p) < 1e-7
        parts.append(problem.symbols[i] ** (exact if close else sympy.Float(p, 17)))
    if problem.depth == 0:
        problem.offer(_rounded_monomial(problem, solution), "monomial")
    if not problem.solved:
        problem.offer(sympy.Mul(*parts), "monomial")


def _rounded_monomial(problem: Problem, solution: Tensor) -> sympy.Expr:
    """With exponents that are halves, for data with noise."""
    value, product = torch.ones_like(problem.y), sympy.Integer(1)
    for i, p in zip(problem.active, solution.tolist(), strict=False):
        half = sympy.Rational(round(2 * p), 2)
        value = value * problem.x[:, i] ** float(half)
        product *= problem.symbols[i] ** half
    return sympy.Float(float(value @ problem.y / (value @ value)), 17) * product


def _sums(problem: Problem, search: Callable, **options) -> None:
    """Sums of few terms, or their quotients, under a transform."""
    # Significance needs all the rows that there are, exactness few.
    x, y = problem.few_x[:, problem.active], problem.few_y
    if search is significant_terms:
        x, y = problem.x[:, problem.active], problem.y
    names = [problem.symbols[i] for i in problem.active]
    limit = problem.deadline.within(0.25 * problem.left)
    options |= {"deadline": limit, "exact": problem.tolerance}
    for found in search(x, y, names, **options):
        if problem.offer(found.expression, f"{found.terms} terms"):
            return


def _joined_relations(problem: Problem) -> None:
    """Quotients of sums in which two inputs act as one, beside themselves or in their place."""
    x, names = problem.few_x[:, problem.active], [problem.symbols[i] for i in problem.active]
    if len(names) > 5:
        return
    limit = problem.deadline.within(0.2 * problem.left)
    joint = sympy.Symbol(f"v{problem.depth}", real=True)
    for column, text, pair in _joints(x, names):
        for kept in ((), pair[:1], pair[1:], pair):
            there = [i for i in range(len(names)) if i not in pair or i in kept]
            z = torch.cat([column.unsqueeze(1), x[:, there]], dim=1)
            found = search_relations(
                z,
                problem.few_y,
                [joint, *(names[i] for i in there)],
                limit,
                exact=problem.tolerance,
                most=60,
                transforms=2,
            )
            for relation in found:
                if problem.offer(relation.expression.xreplace({joint: text}), "joined terms"):
                    return
            if limit.passed:
                return


def _joints(
    x: Tensor, names: list[sympy.Symbol]
) -> Iterator[tuple[Tensor, sympy.Expr, tuple[int, ...]]]:
    """Products, differences, sums and quotients of two inputs, and 1/x."""
    for i, j in itertools.combinations(range(len(names)), 2):
        (a, b), (s, t) = (x[:, i], x[:, j]), (names[i], names[j])
        pairs = [(a * b, s * t), (a - b, s - t), (a + b, s + t), (a / b, s / t), (b / a, t / s)]
        for column, text in pairs:
            if torch.isfinite(column).all():
                yield column, text, (i, j)
    for i, s in enumerate(names):
        if (x[:, i] != 0).all():
            yield 1 / x[:, i], 1 / s, (i,)
