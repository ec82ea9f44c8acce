"""KANs as scikit-learn estimators, with a formula on demand."""

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor
from torch.nn import functional as F

from edgewise.bases import BSpline
from edgewise.core import InputError, generator
from edgewise.symbolic.discover import Discovery, discover
from edgewise.symbolic.formula import to_python
from edgewise.symbolic.functions import choose_functions
from edgewise.symbolic.jacobian import Coordinates
from edgewise.symbolic.layer import SPLINE, SymbolicLayer, blank_splines
from edgewise.symbolic.network import SymbolicKAN
from edgewise.symbolic.polish import polish

_LAST_STEPS = 5
"""Steps on all rows once the smoothness is chosen."""
_MOST_FOR_LM = 1500
"""Networks with more constants are trained by L-BFGS."""


class _KANEstimator(BaseEstimator):
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
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.grid_size = grid_size
        self.smoothness = smoothness
        self.validation_fraction = validation_fraction
        self.max_iter = max_iter
        self.functions = functions
        self.budget = budget
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
        choose_functions(self.functions)

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


class KANRegressor(RegressorMixin, _KANEstimator):
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
        budget: CPU-seconds for the search of a formula.
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
        keeper = _Keeper(
            model, lambda: _squared(model, x[held], t[held], None if w is None else w[held])
        )
        if len(Coordinates(model).read()) <= _MOST_FOR_LM:
            part = (x[rows], t[rows], None if w is None else w[rows])
            for keeper.strength in map(float, self.smoothness):
                _by_lm(model, *part, keeper.strength, self.max_iter, keeper.look)
                if keeper.since > 2 * self.max_iter:
                    break
            best = keeper.best()
            if len(rows) < len(x):
                # The rows that chose the smoothness have not been learned from.
                _by_lm(best, x, t, w, keeper.chosen, _LAST_STEPS, lambda: False)
        else:
            loss = lambda: _squared(model, x[rows], t[rows], None if w is None else w[rows])  # noqa: E731
            _by_lbfgs(model, loss, self.smoothness, self.max_iter, keeper)
            best = keeper.best()
        self.n_iter_ = keeper.looks
        return best

    def predict(self, X: Any) -> np.ndarray:
        """What the network gives for each row."""
        y = self._outputs(X).numpy() * self._spread + self._mean
        return y[:, 0] if self._flat else y

    def _formula_data(self) -> tuple[np.ndarray, np.ndarray]:
        return self._data


class KANClassifier(ClassifierMixin, _KANEstimator):
    """A KAN for tables with a class to predict.

    Trained on cross-entropy, as :class:`KANRegressor` otherwise. ``formula_`` is of the log-odds
    of the second class if there are two, and a list of each class's log-odds against their mean if
    there are more; it follows the network, not single rows.

    Args:
        hidden: Units of each hidden layer.
        grid_size: Cells of each spline.
        smoothness: Weights of the penalty on second differences, in the order they are tried.
        validation_fraction: The share of rows that choose; with fewer than 5 of them all do.
        max_iter: Rounds of L-BFGS (20 steps each at most) for each weight.
        functions: The functions that formulas are made of; by default those that rarely mislead.
        budget: CPU-seconds for the search of a formula.
        random_state: Of the start and of the held-out rows.

    Attributes:
        classes_: The classes.
        model_: The network, from scaled inputs to log-odds.
        n_iter_: The number of rounds.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> inside = (X**2).sum(1) < 1
        >>> estimator = KANClassifier(hidden=(2,), smoothness=(1e-3,), random_state=0)
        >>> estimator.fit(X, inside).score(X, inside) > 0.97
        True

    """

    def __init__(
        self,
        hidden: Sequence[int] = (16,),
        *,
        grid_size: int = 5,
        smoothness: Sequence[float] = (1e-2, 1e-3, 1e-4, 1e-5),
        validation_fraction: float = 0.15,
        max_iter: int = 3,
        functions: Sequence[str] | None = None,
        budget: float = 30.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            hidden,
            grid_size=grid_size,
            smoothness=smoothness,
            validation_fraction=validation_fraction,
            max_iter=max_iter,
            functions=functions,
            budget=budget,
            random_state=random_state,
        )

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "KANClassifier":
        """Trains the network.

        Args:
            X: A table (N, I).
            y: A class for each row (N,).
            sample_weight: A weight for each row.

        """
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        encoder = LabelEncoder().fit(y)
        self.classes_ = encoder.classes_
        if len(self.classes_) < 2:
            raise ValueError(
                f"KANClassifier needs samples of at least 2 classes, got one class: "
                f"{self.classes_[0]!r}"
            )
        source = check_random_state(self.random_state)
        self._seed = int(source.randint(2**31 - 1))
        self._data, self._found = X, None
        labels = encoder.transform(y)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        keep = weight > 0
        X, labels, weight = X[keep], labels[keep], weight[keep]
        self._scale_inputs(X, weight)
        x, t = self._scaled(X), torch.from_numpy(labels)
        w = torch.from_numpy(weight / weight.mean())
        self.model_ = self._train(x, t, w, source)
        return self

    def _train(self, x: Tensor, t: Tensor, w: Tensor, source: np.random.RandomState) -> SymbolicKAN:
        rows, held = self._split(len(x), source)
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        model = self._build(x.shape[1], outputs, self._seed)
        keeper = _Keeper(model, lambda: _cross_entropy(model(x[held]), t[held], w[held]))
        loss = lambda: _cross_entropy(model(x[rows]), t[rows], w[rows])  # noqa: E731
        _by_lbfgs(model, loss, self.smoothness, self.max_iter, keeper)
        self.n_iter_ = keeper.looks
        return keeper.best()

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds: of the second class (N,), or of each class against their mean (N, C)."""
        found = self._outputs(X)
        if found.shape[1] == 1:
            return found[:, 0].numpy()
        return (found - found.mean(1, keepdim=True)).numpy()

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class (N, C)."""
        found = self._outputs(X)
        if found.shape[1] == 1:
            found = torch.cat([torch.zeros_like(found), found], dim=1)
        return found.softmax(1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each row."""
        likeliest = self.predict_proba(X).argmax(1)
        return self.classes_[likeliest]

    def _formula_data(self) -> tuple[np.ndarray, np.ndarray]:
        scores = self.decision_function(self._data)
        return self._data, scores.reshape(len(scores), -1)


def _quantiles(X: np.ndarray, weight: np.ndarray, shares: Sequence[float]) -> list[np.ndarray]:
    """Of each column the value below which these shares of the weight lie."""
    order = X.argsort(axis=0, kind="stable")
    below = weight[order].cumsum(axis=0) / weight.sum()
    rows = [(below < share - 1e-12).sum(axis=0).clip(max=len(X) - 1) for share in shares]
    ordered = np.take_along_axis(X, order, axis=0)
    return [ordered[row, np.arange(X.shape[1])] for row in rows]


class _Keeper:
    """Keeps the best state of a network, by the loss on held-out rows."""

    def __init__(self, model: SymbolicKAN, loss: Callable[[], Tensor]) -> None:
        self.model, self.loss, self.since, self.looks = model, loss, 0, 0
        self.least, self.strength, self.chosen = math.inf, 0.0, 0.0
        self.state = copy.deepcopy(model.state_dict())

    @torch.no_grad()
    def look(self) -> bool:
        """Looks at the network as it is now; always false, so that training goes on."""
        loss = float(self.loss())
        self.since += 1
        self.looks += 1
        if loss < self.least:
            self.least, self.since, self.chosen = loss, 0, self.strength
            self.state = copy.deepcopy(self.model.state_dict())
        return False

    def best(self) -> SymbolicKAN:
        """The network in its best state."""
        self.model.load_state_dict(self.state)
        return self.model


def _squared(model: SymbolicKAN, x: Tensor, t: Tensor, w: Tensor | None) -> Tensor:
    error = (model(x) - t).square().mean(1)
    return error.mean() if w is None else (w * error).mean()


def _cross_entropy(scores: Tensor, t: Tensor, w: Tensor) -> Tensor:
    if scores.shape[1] == 1:
        found = F.binary_cross_entropy_with_logits(scores[:, 0], t.to(scores), reduction="none")
    else:
        found = F.cross_entropy(scores, t, reduction="none")
    return (w * found).mean()


def _roughness(model: SymbolicKAN) -> list[Tensor]:
    """For each layer the second differences of its splines' numbers."""
    return [layer.splines.coefficients.diff(n=2, dim=0) for layer in model.layers]


def _smooth(model: SymbolicKAN, strength: float) -> Callable[[Tensor], Tensor]:
    """The penalty as a matrix: second differences, and a little of everything."""
    blocks = []
    for layer in model.layers:
        sums, K = len(layer.functions), layer.splines.basis.size
        D = torch.eye(K, dtype=torch.float64).diff(n=2, dim=0)
        one = D.T @ D + 1e-2 * torch.eye(K, dtype=torch.float64)
        blocks.append(torch.zeros(sums, sums, dtype=torch.float64))
        # The numbers stand as (input, function, sum).
        block = torch.kron(one, torch.eye(sums, dtype=torch.float64))
        blocks += [block] * layer.in_features
    Q = strength * torch.block_diag(*blocks) / len(model.layers)
    return lambda theta: Q


def _by_lm(
    model: SymbolicKAN,
    x: Tensor,
    t: Tensor,
    w: Tensor | None,
    strength: float,
    steps: int,
    look: Callable[[], bool],
) -> None:
    """Trains by Levenberg–Marquardt at one strength of the penalty, watched after each step."""
    penalty = _smooth(model, strength)
    options = {"steps": steps, "patience": 3, "penalty": penalty, "weight": w}
    polish(model, x, t, **options, give_up=lambda *_: look())


def _by_lbfgs(
    model: SymbolicKAN,
    loss: Callable[[], Tensor],
    smoothness: Sequence[float],
    rounds: int,
    keeper: _Keeper,
) -> None:
    """Trains by L-BFGS while the penalty is relaxed, and looks at the held-out rows in between."""
    parameters = [p for layer in model.layers for p in (layer.bias, layer.splines.coefficients)]
    for strength in smoothness:
        optimiser = torch.optim.LBFGS(parameters, max_iter=20, line_search_fn="strong_wolfe")

        def objective(optimiser=optimiser, strength=strength) -> Tensor:
            optimiser.zero_grad()
            rough = sum(d.square().sum() for d in _roughness(model))
            small = sum(layer.splines.coefficients.square().sum() for layer in model.layers)
            value = loss() + float(strength) * (rough + 1e-2 * small) / len(model.layers)
            value.backward()
            return value

        for _ in range(rounds):
            optimiser.step(objective)
            keeper.look()
        if keeper.since > 2 * rounds:
            break
    for p in parameters:
        p.grad = None
