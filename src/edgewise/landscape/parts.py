"""The Hessian's blocks, layer by layer."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from edgewise.curvature import Estimate
from edgewise.landscape.operators import Data, Loss
from edgewise.landscape.spectrum import top_eigenvalues, trace


@dataclass(frozen=True)
class Part:
    """One layer's own block, or all: size n, largest eigenvalue, trace, and that of Gauss-Newton.

    The trace of the residual, what is left of H without Gauss-Newton, is the difference; only it
    can bring negative eigenvalues where the loss is convex in the prediction.
    """

    name: str
    size: int
    largest: float
    trace: Estimate
    gauss_newton: Estimate

    @property
    def residual(self) -> float:
        """The trace of H - G."""
        return self.trace.value - self.gauss_newton.value


def by_layer(
    model: nn.Module, loss: Loss, data: Data, *, products: int = 100, seed: int = 0, **options: Any
) -> list[Part]:
    """The blocks of the Hessian that belong to each module's own parameters, then the whole.

    Args:
        model: The model, in evaluation mode where that matters.
        loss: ``loss(prediction, target)``, the mean over examples.
        data: ``(x, y)`` batches, or one such pair; it is gone through several times.
        products: Products for each trace.
        seed: Of all random vectors.
        options: As in :func:`top_eigenvalues`, without ``params``.

    """
    data = data if isinstance(data, (tuple, list)) else list(data)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    groups = {name.rpartition(".")[0] for name in trainable}
    parts = []
    for name in sorted(groups, key=lambda g: next(i for i, t in enumerate(trainable) if _of(t, g))):
        chosen = [t for t in trainable if t.rpartition(".")[0] == name]
        parts.append(
            _part(name or type(model).__name__, model, loss, data, chosen, products, seed, options)
        )
    whole = _part("all", model, loss, data, None, products, seed, options)
    return [*parts, whole]


def _of(name: str, group: str) -> bool:
    return name.rpartition(".")[0] == group


def _part(
    name: str,
    model: nn.Module,
    loss: Loss,
    data: Data,
    chosen: list[str] | None,
    products: int,
    seed: int,
    options: dict[str, Any],
) -> Part:
    options = options | {"params": chosen, "seed": seed}
    largest = top_eigenvalues(model, loss, data, 1, **options)
    traces = (
        trace(model, loss, data, matrix=matrix, products=products, **options)
        for matrix in ("hessian", "gauss-newton")
    )
    return Part(name, largest.vectors.shape[0], largest[0], *traces)
