"""Curvature as training goes by."""

from typing import Any

from torch import Tensor, nn

from edgewise.core import check_count, generator
from edgewise.curvature import Functional, Operator, extreme_eigenpairs
from edgewise.curvature.krylov import random_like
from edgewise.landscape.operators import Data, Evaluating, Loss, operator


class Watch:
    """Finds the largest eigenvalue of the Hessian at an epoch's end, for `train.fit(on_epoch=…)`.

    At the edge of stability (Cohen et al. 2021) it hovers at 2 / η, for a learning rate η of
    gradient descent. Each search begins at the last eigenvector, so it takes few products.

    Args:
        loss: ``loss(prediction, target)``, the mean over examples.
        data: ``(x, y)`` batches, or one such pair; always the same examples.
        every: Look at each so many epochs.
        tol: Relative accuracy of the eigenvalue.
        seed: Of the first start vector.
        options: As in :class:`edgewise.curvature.Functional`.

    Attributes:
        rows: What was found: ``epoch``, ``sharpness``, ``products``.

    Raises:
        InputError: If ``every`` is no whole number of at least 1.

    Example:
        >>> from edgewise.landscape import Watch
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> watch = Watch(torch.nn.functional.mse_loss, (x, x[:, :1]))
        >>> row = {"epoch": 1}
        >>> watch(row, torch.nn.Linear(2, 1, bias=False))
        >>> round(row["sharpness"], 5)
        4.0

    """

    def __init__(
        self,
        loss: Loss,
        data: Data,
        *,
        every: int = 1,
        tol: float = 1e-4,
        seed: int = 0,
        **options: Any,
    ) -> None:
        check_count("every", every)
        self.loss, self.every, self.tol, self.seed = loss, every, tol, seed
        self.data = data if isinstance(data, (tuple, list)) else list(data)
        self.options = options
        self.rows: list[dict[str, Any]] = []
        self._last: Tensor | None = None

    def __call__(self, row: dict[str, Any], model: nn.Module) -> None:
        """Adds ``sharpness`` to the row of an epoch."""
        if row["epoch"] % self.every:
            return
        with Evaluating(model):
            functional = Functional(model, self.loss, self.data, **self.options)
            H = operator(functional)
            start = self._start(H)
            found = extreme_eigenpairs(
                H,
                H.size,
                1,
                tol=self.tol,
                values_only=True,
                start=start,
                generator=generator(self.seed, "watch"),
            )
        self._last = found.vectors[:, 0]
        row["sharpness"] = float(found.values[0])
        self.rows.append(
            {"epoch": row["epoch"], "sharpness": row["sharpness"], "products": H.products}
        )

    def _start(self, H: Operator) -> Tensor | None:
        """The last eigenvector and a tenth of noise, for one that has overtaken it."""
        if self._last is None or len(self._last) != H.size:
            return None
        last = self._last.to(H.device, H.dtype)
        noise = random_like(last, generator(self.seed, "watch", len(self.rows)))
        return last + 0.1 * noise / noise.norm()
