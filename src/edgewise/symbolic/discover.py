"""From a table to a formula: ever larger families of networks, until one is exact."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import sympy
import torch
from torch import Tensor

from edgewise.core import InputError, generator
from edgewise.symbolic.compile import from_expression
from edgewise.symbolic.formula import complexity, formula, symbols, to_function
from edgewise.symbolic.functions import Function, choose_functions
from edgewise.symbolic.hints import (
    Combination,
    Groups,
    Ridge,
    combinations,
    groups,
    power_factors,
    ridge,
    surrogate,
)
from edgewise.symbolic.nets import Shape, train
from edgewise.symbolic.network import SymbolicKAN
from edgewise.symbolic.polish import polish
from edgewise.symbolic.prune import Trial, mean_squared_error, without_edges
from edgewise.symbolic.reading import EXACT, read_network
from edgewise.symbolic.terms import search_terms, solve_terms
from edgewise.symbolic.tidy import tidy
from edgewise.symbolic.transforms import Transform, transformed

SAMPLE = 1000
"""How many rows the search looks at; all of them judge what it finds."""


class Candidate(NamedTuple):
    """A formula and how good it is.

    Attributes:
        expression: The formula.
        error: Its root mean square error on all rows, relative to the spread of the target.
        complexity: With how many signs it is written.
        how: What found it.

    """

    expression: sympy.Expr
    error: float
    complexity: int
    how: str


class Discovery(NamedTuple):
    """What a search found.

    Attributes:
        best: The exact formula, or the one that is most worth its length.
        front: The best formula of each length, the shortest first.
        names: What the inputs are called.
        seconds: The CPU-seconds it took.

    """

    best: Candidate
    front: list[Candidate]
    names: list[str]
    seconds: float

    @property
    def expression(self) -> sympy.Expr:
        """The best formula."""
        return self.best.expression

    @property
    def exact(self) -> bool:
        """Whether it gives the target to rounding."""
        return self.best.error < _EXACT_ERROR

    @property
    def model(self) -> SymbolicKAN:
        """The best formula as a network, in float64."""
        return from_expression(self.best.expression, self.names)


_EXACT_ERROR = 1e-9


def discover(
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    names: Sequence[str] | None = None,
    *,
    functions: Sequence[str] | None = None,
    budget: float = 60.0,
    seed: int = 0,
) -> Discovery:
    """Looks for the formula of a target.

    In turn: monomials; sums of few products of simple functions, also of 1/y, y², log y and so on;
    networks of splines of ever larger shapes, sums and product nodes, trained by
    Levenberg–Marquardt from several starts and read as formulas. The first that is exact ends it.

    Args:
        x: Inputs (N, I).
        y: The target (N,).
        names: What the inputs are called; by default x1, x2, ...
        functions: What the splines of networks are compared with; by default those that rarely
            mislead.
        budget: CPU-seconds.
        seed: Of the starts.

    Raises:
        InputError: If there are fewer than ten rows, something is not finite, y is constant, the
            names do not fit, a function is not known, or nothing about y can be told from x.

    Example:
        >>> x = torch.rand(200, 2, dtype=torch.float64) + 0.5
        >>> discover(x, 3 * x[:, 0] / x[:, 1] ** 2, names=["m", "r"]).expression
        3*m/r**2

    """
    start = time.process_time()
    if not budget > 0:
        raise InputError(f"budget must be a positive number of CPU-seconds, got {budget!r}")
    problem = Problem(*_checked(x, y), names, start + budget)
    chosen = choose_functions(functions)
    for attempt in _attempts(problem, chosen, seed):
        attempt()
        if problem.solved or time.process_time() > problem.deadline:
            break
    return problem.result(time.process_time() - start)


def _checked(x: Tensor | np.ndarray, y: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    x, y = _numbers(x), _numbers(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise InputError(
            f"x must be (N, I) and y (N,), got {tuple(x.shape)} and {tuple(y.shape)}; "
            f"search one output at a time"
        )
    if len(x) < 10:
        raise InputError(f"a formula needs at least 10 rows, got {len(x)}")
    for name, value in (("x", x), ("y", y)):
        if not torch.isfinite(value).all():
            raise InputError(f"{name} holds NaN or infinity; drop or fill those rows first")
    if float(y.std()) <= 1e-14 * float(y.abs().max()):
        raise InputError(f"y is constant: it is {float(y[0]):.6g} in every row")
    return x, y


def _numbers(values: Tensor | np.ndarray) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().to("cpu", torch.float64)
    # A copy: torch warns of arrays that may not be written.
    return torch.from_numpy(np.array(values, dtype=np.float64))


class Problem:
    """Data and the candidates so far; or a part of such a problem, whose formulas lead back to it.

    Args:
        x: Inputs (N, I).
        y: The target (N,).
        names: What the inputs are called.
        deadline: The process time at which to stop.
        parent: The problem that this one is a part of.
        restore: What makes a formula for the parent of one for this.
        tolerance: The relative mean squared error of a formula that is right; larger where the
            target itself is known only so well.

    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        names: Sequence[str] | None,
        deadline: float,
        parent: "Problem | None" = None,
        restore: Callable[[sympy.Expr], sympy.Expr] | None = None,
        tolerance: float = EXACT,
    ) -> None:
        self.x, self.y, self.deadline = x, y, deadline
        self.parent, self.restore, self.tolerance = parent, restore, tolerance
        self.symbols = symbols(names, x.shape[1])
        self.names = [s.name for s in self.symbols]
        few = torch.linspace(0, len(x) - 1, min(SAMPLE, len(x))).long()
        self.few_x, self.few_y = x[few], y[few]
        self.active = [i for i in range(x.shape[1]) if float(x[:, i].std()) > 0]
        self.candidates: list[Candidate] = []
        self.solved, self.least = False, math.inf
        self.depth: int = 0 if parent is None else parent.depth + 1

    def offer(self, expression: sympy.Expr, how: str) -> bool:
        """Judges an expression on all rows of the whole problem; whether it is exact."""
        if self.parent is not None:
            self.solved = self.parent.offer(self.restore(expression), how) or self.solved
            return self.solved
        if expression.has(sympy.nan, sympy.zoo, sympy.oo, sympy.I):
            return False
        x, y = self.x.numpy(), self.y.numpy()
        error = _relative_error(expression, self.names, x, y)
        if not math.isfinite(error):
            return False
        # A poor formula is not worth the time.
        if error < 1e-4:
            expression = tidy(expression, self.names, x, y)
            error = _relative_error(expression, self.names, x, y)
        self.candidates.append(Candidate(expression, error, complexity(expression), how))
        self.solved = self.solved or error < _EXACT_ERROR
        return error < _EXACT_ERROR

    def result(self, seconds: float) -> Discovery:
        """The best candidate and the front."""
        mean = sympy.Float(float(self.y.mean()), 17)
        front = [Candidate(mean, 1.0, 1, "mean")]
        for candidate in sorted(self.candidates, key=lambda c: (c.complexity, c.error)):
            if candidate.error < 0.999 * front[-1].error:
                front.append(candidate)
        exact = [c for c in front if c.error < _EXACT_ERROR]
        best = exact[0] if exact else min(front, key=self._length)
        if best.error > 0.95:
            raise InputError(
                "nothing about y can be told from x: no formula explains more than "
                f"{1 - best.error**2:.0%} of its variance"
            )
        return Discovery(best, front, self.names, seconds)

    def _length(self, candidate: Candidate) -> float:
        """The Bayesian information criterion with three signs for a constant."""
        N = len(self.y)
        return N * math.log(max(candidate.error, 1e-15) ** 2) + candidate.complexity * math.log(N)


def _attempts(
    problem: Problem, functions: list[Function], seed: int
) -> Iterator[Callable[[], None]]:
    """What is tried, the cheap and likely first."""
    inputs = problem.active
    # Sums of terms can follow anything, so they need a target that is known to all digits.
    known = problem.tolerance < 1e-8
    if known:
        yield lambda: _monomial(problem)
        yield lambda: _sums(
            problem,
            lambda *a: search_terms(
                *a[:3], 2, a[3], exact=problem.tolerance, rough=problem.depth == 0
            ),
        )
    additive = Shape.nodes((tuple(inputs),))
    for transform in range(9):
        yield lambda t=transform: _net(problem, additive, functions, seed, 0, t)
    if len(inputs) > 2 and known:
        yield lambda: _sums(problem, lambda *a: solve_terms(*a, problem.tolerance, 300))
    if len(inputs) > 2:
        yield lambda: _reduced(problem, functions, seed)
    shapes = [Shape.sum_of(inputs)]
    if len(inputs) > 1:
        shapes = [Shape.product_of(inputs, plain=True), *shapes, Shape.product_of(inputs)]
    for start in range(2):
        for shape in shapes:
            yield lambda s=shape, k=start: _net(problem, s, functions, seed, k)
    if known:
        yield lambda: _sums(problem, lambda *a: solve_terms(*a, problem.tolerance))
    if len(inputs) == 2:
        yield lambda: _reduced(problem, functions, seed)
    if known:
        yield lambda: _sums(problem, lambda *a: search_terms(*a[:3], 4, a[3], 3, problem.tolerance))
    larger = _larger_shapes(inputs)
    for start in itertools.count(2):
        for transform in range(4):
            yield lambda k=start, t=transform: _net(problem, additive, functions, seed, k, t)
        for shape in shapes:
            yield lambda s=shape, k=start: _net(problem, s, functions, seed, k)
        for shape in larger:
            for transform in range(4):
                yield lambda s=shape, k=start, t=transform: _net(problem, s, functions, seed, k, t)


def _solve(
    problem: Problem, functions: list[Function], seed: int, share: float, most: int = 1000
) -> bool:
    """Works on a smaller problem for a share of the time that is left."""
    limit = time.process_time() + share * _left(problem)
    problem.deadline = min(problem.deadline, limit)
    for attempt in itertools.islice(_attempts(problem, functions, seed), most):
        attempt()
        if problem.solved or time.process_time() > problem.deadline:
            break
    return problem.solved


def _reduced(problem: Problem, functions: list[Function], seed: int) -> None:
    """Looks for structure and solves what is left."""
    if problem.depth > 5:
        return
    for smaller in reductions(problem):
        smaller.deadline = problem.deadline
        if _solve(smaller, functions, seed, 0.5) or time.process_time() > problem.deadline:
            problem.solved = problem.solved or smaller.solved
            return
    for kind, t, sign in itertools.islice(transformed(problem.few_y), 4):
        found = groups(problem.few_x[:, problem.active], t)
        if found is not None and _grouped(problem, found, kind, sign, functions, seed):
            return


def _larger_shapes(inputs: list[int]) -> list[Shape]:
    """Two nodes: a sum beside a product, two products, two sums."""
    everything = tuple(inputs)
    product = tuple((i,) for i in inputs)
    found = []
    if len(inputs) > 1:
        found.append(Shape.nodes((everything,), product))
        found.append(Shape.nodes(product, product))
    if len(inputs) == 4:
        pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
        for p, q in pairs:
            p, q = tuple(inputs[i] for i in p), tuple(inputs[i] for i in q)
            found.append(Shape.nodes((p,), (q,), plain=False))
    found.append(Shape.nodes((everything,), (everything,), plain=False))
    return found


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
        sub = _Part(problem, inputs, part, known)
        limit = time.process_time() + 0.3 * _left(problem)
        sub.deadline = limit
        if not _solve(sub, functions, seed, 1.0, most=40):
            return False
        parts.append(sub.found)
    return refine(problem, kind.inverse(sympy.Add(*parts), sign), f"groups of {kind.name}")


def _relative_error(
    expression: sympy.Expr, names: Sequence[str], x: np.ndarray, y: np.ndarray
) -> float:
    """The root mean square error in units of the spread; NaN where the formula is not real."""
    residual = to_function(expression, names)(x) - y
    return float(np.sqrt(np.mean(residual**2) / np.var(y)))


class _Part(Problem):
    """One group's part, known as well as the polynomial fits; it keeps what it finds."""

    def __init__(self, problem: Problem, inputs: list[int], part: Tensor, known: float) -> None:
        names = [problem.names[i] for i in inputs]
        x = problem.few_x[:, inputs]
        super().__init__(x, part, names, problem.deadline, tolerance=known)
        self.depth, self.found = problem.depth + 1, sympy.Integer(0)

    def offer(self, expression: sympy.Expr, how: str) -> bool:
        """Keeps the first formula that is as good as the part is known."""
        residual = to_function(expression, self.names)(self.x.numpy()) - self.y.numpy()
        error = float(np.mean(residual**2) / self.y.var().item())
        if error < self.tolerance:
            self.found, self.solved = expression, True
        return self.solved


def refine(problem: Problem, expression: sympy.Expr, how: str) -> bool:
    """Polishes the constants of an expression on the data and offers it."""
    try:
        model = from_expression(expression, problem.names)
    except InputError:
        return False
    y = problem.few_y.unsqueeze(1)
    spread = float(y.var())
    polish(model, problem.few_x, y, steps=60, patience=8, target=1e-9 * EXACT * spread)
    return problem.offer(formula(model, problem.names), how)


def reductions(problem: Problem) -> Iterator[Problem]:
    """Smaller problems that are equivalent if a hint is right, the most telling first."""
    x, y = problem.x, problem.y
    n = len(problem.active)
    if n < 2:
        return
    positive = bool((x[:, problem.active] > 0).all())
    one_sign = bool((y > 0).all() or (y < 0).all())
    few = torch.linspace(0, len(x) - 1, min(4 * SAMPLE, len(x))).long()
    z = x[few][:, problem.active]
    if positive and one_sign:
        yield from _by_powers(problem, z, y[few].abs().log())
    kinds = list(transformed(y[few]))[:5]
    fits = [(surrogate(z, t), t) for _, t, _ in kinds]
    best = min(fits, key=lambda pair: pair[0].error)[0]
    if best.error < 0.02:
        gradient = best.gradient(z[:400])
        for pair in combinations(gradient, 10 * best.error)[:2]:
            yield _joined(problem, pair)


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
    """Problems of one input u = Π xᵢ^qᵢ for y / (Π xᵢ^pᵢ u^m), for several m."""
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
    for m in (0, 1, -1, 2, -2):
        yield Problem(
            u.unsqueeze(1),
            problem.y / scale * u**m,
            ["u"],
            problem.deadline,
            problem,
            lambda e, m=m: scale_text * u_text ** (-m) * e.xreplace({t: u_text}),
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


def _monomial(problem: Problem) -> None:
    """C Π xᵢ^pᵢ, by least squares on logarithms."""
    x, y = problem.x[:, problem.active], problem.y
    if not ((x > 0).all() and ((y > 0).all() or (y < 0).all())):
        return
    A = torch.cat([x.log(), torch.ones_like(x[:, :1])], dim=1)
    target = y.abs().log().unsqueeze(1)
    solution = torch.linalg.lstsq(A, target, driver="gelsd").solution[:, 0]
    sign = 1 if (y > 0).all() else -1
    parts = [sympy.Float(sign * math.exp(float(solution[-1])), 17)]
    for i, p in zip(problem.active, solution.tolist(), strict=False):
        exact = sympy.Rational(p).limit_denominator(12)
        close = abs(float(exact) - p) < 1e-7
        parts.append(problem.symbols[i] ** (exact if close else sympy.Float(p, 17)))
    if not problem.offer(sympy.Mul(*parts), "monomial") and problem.depth == 0:
        problem.offer(_rounded_monomial(problem, solution), "monomial")


def _rounded_monomial(problem: Problem, solution: Tensor) -> sympy.Expr:
    """With exponents that are halves, for data with noise."""
    value, product = torch.ones_like(problem.y), sympy.Integer(1)
    for i, p in zip(problem.active, solution.tolist(), strict=False):
        half = sympy.Rational(round(2 * p), 2)
        value = value * problem.x[:, i] ** float(half)
        product *= problem.symbols[i] ** half
    return sympy.Float(float(value @ problem.y / (value @ value)), 17) * product


def _sums(problem: Problem, search: Callable) -> None:
    """Sums of few terms under a transform."""
    x = problem.few_x[:, problem.active]
    names = [problem.symbols[i] for i in problem.active]
    limit = min(problem.deadline, time.process_time() + 0.25 * _left(problem))
    for found in search(x, problem.few_y, names, limit):
        if problem.offer(found.expression, f"{found.terms} terms"):
            return


def _left(problem: Problem) -> float:
    return max(0.0, problem.deadline - time.process_time())


def _net(
    problem: Problem,
    shape: Shape,
    functions: list[Function],
    seed: int,
    start: int,
    transform: int = 0,
) -> None:
    """One start of one shape: train, read, offer."""
    kinds = list(transformed(problem.few_y))
    if transform >= len(kinds):
        return
    kind, t, sign = kinds[transform]
    low, high = problem.few_x.amin(0), problem.few_x.amax(0)
    half = ((high - low) / 2).clamp(min=1e-300)
    u = (problem.few_x - (low + high) / 2) / half
    mean, spread = t.mean(), t.std()
    target = ((t - mean) / spread).unsqueeze(1)
    grid_size = (6, 6, 10, 24)[start % 4]
    source = generator(seed, "discover", str(shape), start)
    warm = start % 2 == 0 and len(shape.layers[0]) == 1 and len(shape.layers[0][0]) == 1
    model, error = train(shape, u, target, source, grid_size, warm=warm)
    problem.least = min(problem.least, error)
    # With noise no network is exact; once each shape was tried, the best are worth reading.
    noisy = problem.depth == 0 and start > 0 and error < min(0.5, 1.2 * problem.least)
    if not (error < 3e-3 or noisy):
        return
    found = read_network(model, u, target, functions)
    if found is None:
        return
    model = found.model
    if found.error < 1e3 * EXACT:
        # What an exact formula has too much is next to nothing.
        allowed = max(EXACT, 2 * mean_squared_error(model, u, target))
        model, _ = without_edges(model, Trial(u, target, allowed, 15), highest=1e-3)
    unfolded = unfold(model, (low + high) / 2, half, mean, spread)
    inner = formula(unfolded, problem.names)
    how = f"{kind.name}: {describe(shape)}"
    problem.offer(_undone(kind, inner, sign), how)


def _undone(kind: Transform, inner: sympy.Expr, sign: int) -> sympy.Expr:
    return kind.inverse(inner, sign)


def describe(shape: Shape) -> str:
    """A shape in words, such as [2, (2), 1] for one product of two.

    Example:
        >>> describe(Shape.product_of((0, 1)))
        '[(2), 1]'

    """
    layers = [
        ", ".join(f"({len(node)})" if len(node) > 1 else "1" for node in nodes)
        for nodes in shape.layers
    ]
    return f"[{' | '.join(layers)}]".replace(" | 1]", ", 1]")


@torch.no_grad()
def unfold(
    model: SymbolicKAN, middle: Tensor, half: Tensor, mean: Tensor, spread: Tensor
) -> SymbolicKAN:
    """The network for inputs and targets as they were before they were scaled, in place.

    The last layer must be one of sums.
    """
    first, last = model.layers[0], model.layers[-1]
    a = first.a / half[first.ins]
    first.b.sub_(a * middle[first.ins])
    first.a.copy_(a)
    for k, edge in enumerate(first.edges):
        if edge.function.name == "x":
            first.bias[edge.out] += first.c[k] * first.b[k]
            first.c[k] *= first.a[k]
            first.a[k], first.b[k] = 1.0, 0.0
    last.c.mul_(spread)
    last.bias.mul_(spread).add_(mean)
    return model
