"""A KAN for tables with numbers to predict, as a scikit-learn estimator."""

from typing import Any

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, validate_data
from torch import Tensor

from edgewise.core import InputError
from edgewise.symbolic.estimator import AbstractKANEstimator
from edgewise.symbolic.jacobian import Coordinates
from edgewise.symbolic.network import SymbolicKAN
from edgewise.symbolic.smoothing import Keeper, by_lbfgs, by_levenberg_marquardt

_LAST_STEPS = 5
"""Steps on all rows once the smoothness is chosen."""
_MOST_FOR_LM = 1500
"""Networks with more constants are trained by L-BFGS."""


class KANRegressor(RegressorMixin, AbstractKANEstimator):
    """A KAN for tables with one or several numbers to predict.

    Splines are smoothed by a penalty on their second differences, which is relaxed step by step;
    the network that does best on held-out rows is kept, and with few parameters takes some last
    steps on all rows. ``formula_`` is looked for on demand.

    Args:
        hidden: Units of each hidden layer.
        grid_size: Cells of each spline.
        smoothness: Weights of the penalty, in the order in which they are tried.
        validation_fraction: The share of rows that choose; with fewer than 5 of them all do.
        max_iter: Steps of Levenberg–Marquardt for each weight.
        functions: The functions that formulas are made of; by default those that rarely mislead.
        budget: CPU-seconds for the search of a formula; of each process, if there are several.
        n_jobs: How many processes look for the formula; -1 is one for each core.
        random_state: Of the start and of the held-out rows.

    Attributes:
        model_: The network, of scaled inputs and outputs.
        n_iter_: The number of steps.
        formula_: The formula.
        discoveries_: All formulas that were found.

    Example:
        >>> X = np.random.default_rng(0).uniform(0.5, 2, (200, 2))
        >>> estimator = KANRegressor(random_state=0).fit(X, X[:, 0] / X[:, 1])
        >>> estimator.score(X, X[:, 0] / X[:, 1]) > 0.999
        True
        >>> estimator.formula_
        x1/x2

    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "KANRegressor":
        """Trains the network.

        Args:
            X: A table (N, I).
            y: One number (N,) or several (N, O) for each row.
            sample_weight: A weight for each row.

        """
        self._check_parameters()
        X, y = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        source = check_random_state(self.random_state)
        self._seed = int(source.randint(2**31 - 1))
        self._flat = y.ndim == 1
        target = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        self._data, self._found = (X, target), None
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
            keep = weight > 0
            if not keep.any():
                raise InputError("all sample weights are zero; at least one must be positive")
            X, target, weight = X[keep], target[keep], weight[keep]
        self._scale_inputs(X, weight)
        self._mean = np.average(target, axis=0, weights=weight)
        spread = np.sqrt(np.average((target - self._mean) ** 2, axis=0, weights=weight))
        self._spread = np.where(spread > 1e-12 * (np.abs(self._mean) + 1e-300), spread, 1.0)
        x, t = self._scaled(X), torch.from_numpy((target - self._mean) / self._spread)
        w = None if weight is None else torch.from_numpy(weight / weight.mean())
        self.model_ = self._train(x, t, w, source)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _train(
        self, x: Tensor, t: Tensor, w: Tensor | None, source: np.random.RandomState
    ) -> SymbolicKAN:
        rows, held = self._split(len(x), source)
        model = self._build(x.shape[1], t.shape[1], self._seed)
        keeper = Keeper(
            model, lambda: _squared(model, x[held], t[held], None if w is None else w[held])
        )
        if len(Coordinates(model).read()) <= _MOST_FOR_LM:
            part = (x[rows], t[rows], None if w is None else w[rows])
            for keeper.strength in map(float, self.smoothness):
                by_levenberg_marquardt(model, *part, keeper.strength, self.max_iter, keeper.look)
                if keeper.since > 2 * self.max_iter:
                    break
            best = keeper.best()
            if len(rows) < len(x):
                # The rows that chose the smoothness have not been learned from.
                by_levenberg_marquardt(best, x, t, w, keeper.chosen, _LAST_STEPS, lambda: False)
        else:
            loss = lambda: _squared(model, x[rows], t[rows], None if w is None else w[rows])  # noqa: E731
            by_lbfgs(model, loss, self.smoothness, self.max_iter, keeper)
            best = keeper.best()
        self.n_iter_ = keeper.looks
        return best

    def predict(self, X: Any) -> np.ndarray:
        """What the network gives for each row."""
        y = self._outputs(X).numpy() * self._spread + self._mean
        return y[:, 0] if self._flat else y

    def _formula_data(self) -> tuple[np.ndarray, np.ndarray]:
        return self._data


def _squared(model: SymbolicKAN, x: Tensor, t: Tensor, w: Tensor | None) -> Tensor:
    error = (model(x) - t).square().mean(1)
    return error.mean() if w is None else (w * error).mean()
