"""What KANs as scikit-learn estimators share: their options, scaling, start and formula."""

import itertools
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from edgewise.bases import BSpline
from edgewise.core import InputError, generator
from edgewise.symbolic.discover import Discovery, discover
from edgewise.symbolic.formula import to_python
from edgewise.symbolic.functions import choose_functions
from edgewise.symbolic.layer import SPLINE, SymbolicLayer, blank_splines
from edgewise.symbolic.network import SymbolicKAN


class AbstractKANEstimator(BaseEstimator):
    """What both estimators share."""

    def __init__(
        self,
        hidden: Sequence[int] = (5,),
        *,
        grid_size: int = 5,
        smoothness: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7),
        validation_fraction: float = 0.15,
        max_iter: int = 8,
        functions: Sequence[str] | None = None,
        budget: float = 30.0,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.grid_size = grid_size
        self.smoothness = smoothness
        self.validation_fraction = validation_fraction
        self.max_iter = max_iter
        self.functions = functions
        self.budget = budget
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _check_parameters(self) -> None:
        if not all(isinstance(n, (int, np.integer)) and n > 0 for n in self.hidden):
            raise InputError(f"hidden must be whole numbers of at least 1, got {self.hidden!r}")
        if not 0 <= self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction must be at least 0 and below 1, got "
                f"{self.validation_fraction!r}"
            )
        if not len(self.smoothness) or not all(s >= 0 for s in self.smoothness):
            raise InputError(
                f"smoothness must be numbers that are not negative, got {self.smoothness!r}"
            )
        if not self.max_iter >= 1:
            raise InputError(f"max_iter must be at least 1, got {self.max_iter!r}")
        if not self.budget > 0:
            raise InputError(
                f"budget must be a positive number of CPU-seconds, got {self.budget!r}"
            )
        self._workers()
        choose_functions(self.functions)

    def _workers(self) -> int:
        """How many processes look for the formula."""
        if self.n_jobs is None:
            return 1
        if self.n_jobs == -1:
            return os.cpu_count() or 1
        if not isinstance(self.n_jobs, (int, np.integer)) or self.n_jobs < 1:
            raise InputError(
                f"n_jobs must be None, -1 for all cores, or at least 1, got {self.n_jobs!r}"
            )
        return int(self.n_jobs)

    def _scale_inputs(self, X: np.ndarray, weight: np.ndarray | None) -> None:
        """Where the inputs lie: the middle and half of their central 98 %."""
        weight = np.ones(len(X)) if weight is None else weight
        low, high = _quantiles(X, weight, (0.01, 0.99))
        half = (high - low) / 2
        # A rare value of a column that is otherwise constant is still a value.
        half = np.where(half > 0, half, np.ptp(X, axis=0) / 2)
        self._middle = (high + low) / 2
        self._half = np.where(half > 1e-12 * np.abs(X).max(axis=0), half, 1.0)

    def _scaled(self, X: np.ndarray) -> Tensor:
        # Far outside, straight lines would go on for ever.
        u = np.clip((X - self._middle) / self._half, -3.0, 3.0)
        return torch.from_numpy(u)

    def _split(self, samples: int, source: np.random.RandomState) -> tuple[Tensor, Tensor]:
        """Rows to train on and rows to choose by; with few rows all do both."""
        held = int(samples * self.validation_fraction)
        order = torch.from_numpy(source.permutation(samples))
        return (order, order) if held < 5 else (order[held:], order[:held])

    def _build(self, inputs: int, outputs: int, seed: int) -> SymbolicKAN:
        source = generator(seed, "estimator")
        widths = [inputs, *(int(n) for n in self.hidden), outputs]
        layers = []
        for below, above in itertools.pairwise(widths):
            basis = BSpline(int(self.grid_size), domain=(-1.2, 1.2))
            splines = blank_splines(below, above, basis).double()
            K = basis.size
            ramp = torch.linspace(-1.2, 1.2, K, dtype=torch.float64)[:, None, None]
            slope = torch.randn(1, below, above, generator=source, dtype=torch.float64)
            wiggle = torch.randn(K, below, above, generator=source, dtype=torch.float64)
            start = (slope * ramp + 0.1 * wiggle) / (1.5 * math.sqrt(below))
            splines.coefficients.data.copy_(start)
            table = [[SPLINE] * below for _ in range(above)]
            layers.append(SymbolicLayer(below, table, splines=splines).double())
        return SymbolicKAN(layers)

    def _outputs(self, X: Any) -> Tensor:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        with torch.no_grad():
            return self.model_(self._scaled(X))

    def _names(self) -> list[str]:
        found = getattr(self, "feature_names_in_", None)
        if found is None:
            return [f"x{k + 1}" for k in range(self.n_features_in_)]
        return [str(name) for name in found]

    @property
    def formula_(self) -> sympy.Expr | list[sympy.Expr]:
        """The formula, a SymPy expression in the columns' names, or a list for several outputs.

        It is looked for when it is first asked for, for at most ``budget`` CPU-seconds each.

        Raises:
            InputError: If nothing about the target can be told from the columns.

        """
        found = [discovery.expression for discovery in self.discoveries_]
        return found[0] if len(found) == 1 else found

    @property
    def discoveries_(self) -> list[Discovery]:
        """For each output the formulas that were found, each with its error and length."""
        check_is_fitted(self)
        if self._found is None:
            x, targets = self._formula_data()
            self._found = [
                discover(
                    x,
                    t,
                    self._names(),
                    functions=self.functions,
                    budget=self.budget,
                    seed=self._seed,
                    workers=self._workers(),
                )
                for t in targets.T
            ]
        return self._found

    def to_latex(self) -> str:
        """The formula as LaTeX, one line for each output."""
        return "\n".join(sympy.latex(d.expression) for d in self.discoveries_)

    def to_python(self) -> str:
        """A Python function of the columns for each output, as text; it needs NumPy only."""
        found = self.discoveries_
        labels = ["formula"] if len(found) == 1 else [f"formula_{k + 1}" for k in range(len(found))]
        texts = [
            to_python(d.expression, self._names(), label)
            for d, label in zip(found, labels, strict=True)
        ]
        return "\n\n".join(texts)


def _quantiles(X: np.ndarray, weight: np.ndarray, shares: Sequence[float]) -> list[np.ndarray]:
    """Of each column the value below which these shares of the weight lie."""
    order = X.argsort(axis=0, kind="stable")
    below = weight[order].cumsum(axis=0) / weight.sum()
    rows = [(below < share - 1e-12).sum(axis=0).clip(max=len(X) - 1) for share in shares]
    ordered = np.take_along_axis(X, order, axis=0)
    return [ordered[row, np.arange(X.shape[1])] for row in rows]
