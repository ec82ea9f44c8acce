"""A KAN for tables with a class to predict, as a scikit-learn estimator."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data
from torch import Tensor
from torch.nn import functional as F

from edgewise.symbolic.estimator import AbstractKANEstimator
from edgewise.symbolic.network import SymbolicKAN
from edgewise.symbolic.smoothing import Keeper, by_lbfgs


class KANClassifier(ClassifierMixin, AbstractKANEstimator):
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
        budget: CPU-seconds for the search of a formula; of each process, if there are several.
        n_jobs: How many processes look for the formula; -1 is one for each core.
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
        n_jobs: int | None = None,
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
            n_jobs=n_jobs,
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
        keeper = Keeper(model, lambda: _cross_entropy(model(x[held]), t[held], w[held]))
        loss = lambda: _cross_entropy(model(x[rows]), t[rows], w[rows])  # noqa: E731
        by_lbfgs(model, loss, self.smoothness, self.max_iter, keeper)
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


def _cross_entropy(scores: Tensor, t: Tensor, w: Tensor) -> Tensor:
    if scores.shape[1] == 1:
        found = F.binary_cross_entropy_with_logits(scores[:, 0], t.to(scores), reduction="none")
    else:
        found = F.cross_entropy(scores, t, reduction="none")
    return (w * found).mean()
