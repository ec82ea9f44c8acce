"""Data whose formula is looked for, and the candidates so far."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import sympy
import torch
from torch import Tensor

from edgewise.core import InputError
from edgewise.symbolic.compile import from_expression
from edgewise.symbolic.deadline import Deadline
from edgewise.symbolic.formula import complexity, formula, symbols, to_function
from edgewise.symbolic.network import SymbolicKAN
from edgewise.symbolic.polish import polish
from edgewise.symbolic.reading import EXACT
from edgewise.symbolic.spare import spare
from edgewise.symbolic.surrogate import is_noisy, is_structureless
from edgewise.symbolic.tidy import tidy

SAMPLE = 1000
"""How many rows the search looks at; all of them judge what it finds."""

EXACT_ERROR = 1e-9
"""A relative error that is rounding."""


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
        return self.best.error < EXACT_ERROR

    @property
    def model(self) -> SymbolicKAN:
        """The best formula as a network, in float64."""
        return from_expression(self.best.expression, self.names)


class Problem:
    """Data and the candidates so far; or a part of such a problem, whose formulas lead back to it.

    Args:
        x: Inputs (N, I).
        y: The target (N,).
        names: What the inputs are called.
        deadline: When to stop.
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
        deadline: Deadline,
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
        self.solved, self.least, self.least_error = False, math.inf, math.inf
        self.depth: int = 0 if parent is None else parent.depth + 1
        z = self.x[:, self.active]
        self.noisy: bool = is_noisy(z, y) if parent is None else parent.noisy

    def offer(self, expression: sympy.Expr, how: str) -> bool:
        """Judges an expression on all rows of the whole problem; whether it settles it."""
        if self.parent is not None:
            self.solved = self.parent.offer(self.restore(expression), how) or self.solved
            return self.solved
        error = self._error(expression)
        if not error < math.inf:
            return self.solved
        # A poor formula is not worth the time.
        if error < 1e-4:
            expression = tidy(expression, self.names, self.x.numpy(), self.y.numpy())
        elif error < min(0.3, 1.02 * self.least_error) and self._is_noisy(expression):
            expression = spare(expression, self.names, self.x.numpy(), self.y.numpy())
        error = self._error(expression)
        self.candidates.append(Candidate(expression, error, complexity(expression), how))
        settled = error < 1.02 * self.least_error and self._settles(expression, error)
        self.least_error = min(self.least_error, error)
        self.solved = self.solved or error < EXACT_ERROR or settled
        return self.solved

    def _is_noisy(self, expression: sympy.Expr) -> bool:
        """Whether there is noise, be it only because of this formula nothing else is left."""
        self.noisy = self.noisy or self._settles(expression, self._error(expression))
        return self.noisy

    def _error(self, expression: sympy.Expr) -> float:
        if expression.has(sympy.nan, sympy.zoo, sympy.oo, sympy.I):
            return math.inf
        error = relative_error(expression, self.names, self.x.numpy(), self.y.numpy())
        return error if math.isfinite(error) else math.inf

    def _settles(self, expression: sympy.Expr, error: float) -> bool:
        """Whether only noise is left."""
        # Far below any noise it is the formula that is not exact.
        if not 1e-5 < error < 0.3:
            return False
        values = to_function(expression, self.names)(self.x.numpy())
        return is_structureless(self.x[:, self.active], self.y - torch.from_numpy(values))

    def result(self, seconds: float) -> Discovery:
        """The best candidate and the front."""
        mean = sympy.Float(float(self.y.mean()), 17)
        front = [Candidate(mean, 1.0, 1, "mean")]
        for candidate in sorted(self.candidates, key=lambda c: (c.complexity, c.error)):
            if candidate.error < 0.999 * front[-1].error:
                front.append(candidate)
        exact = [c for c in front if c.error < EXACT_ERROR]
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

    @property
    def exact(self) -> bool:
        """Whether the target is known to all digits, but for noise."""
        return self.tolerance < 1e-8

    @property
    def left(self) -> float:
        """The CPU-seconds that are left."""
        return self.deadline.left


class Part(Problem):
    """One group's part, known as well as the polynomial fits; it keeps what it finds."""

    def __init__(self, problem: Problem, inputs: list[int], part: Tensor, known: float) -> None:
        names = [problem.names[i] for i in inputs]
        x = problem.few_x[:, inputs]
        super().__init__(x, part, names, problem.deadline, tolerance=known)
        self.depth, self.found = problem.depth + 1, sympy.Integer(0)

    def offer(self, expression: sympy.Expr, how: str) -> bool:
        """Keeps an expression that is as good as the part is known."""
        x, y = self.x.numpy(), self.y.numpy()
        error = relative_error(expression, self.names, x, y) ** 2
        if error < self.tolerance:
            self.found, self.solved = expression, True
        return self.solved


def refine(problem: Problem, expression: sympy.Expr, how: str) -> bool:
    """Polishes the constants of an expression on the data and offers it."""
    found = fitted(expression, problem.names, problem.few_x, problem.few_y)
    return found is not None and problem.offer(found, how)


def fitted(expression: sympy.Expr, names: Sequence[str], x: Tensor, y: Tensor) -> sympy.Expr | None:
    """The expression with its constants polished, or None if no network can be made of it."""
    try:
        model = from_expression(expression, names)
    except InputError:
        return None
    target = 1e-9 * EXACT * float(y.var())
    polish(model, x, y.unsqueeze(1), steps=60, patience=8, target=target)
    try:
        return formula(model, names)
    except InputError:
        return None


def relative_error(
    expression: sympy.Expr, names: Sequence[str], x: np.ndarray, y: np.ndarray
) -> float:
    """The root mean square error in units of the spread; NaN where the formula is not real."""
    residual = to_function(expression, names)(x) - y
    return float(np.sqrt(np.mean(residual**2) / np.var(y)))
