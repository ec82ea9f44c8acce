"""Studies of models of rows: tables, and functions to approximate."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from edgewise.bases import AbstractBasis, make_basis
from edgewise.core import Registry
from edgewise.data import RowBatches, RowDataset, load_function, load_tabular
from edgewise.models import KAN, MLP, Hybrid
from edgewise.studies.kinds.metric import CLASSES, NUMBERS
from edgewise.studies.kinds.model_study import AbstractModelStudy

DENSE_MODELS: Registry = Registry("model of rows")
"""Functions ``(inputs, outputs, width, *, num_layers, dropout, …)`` to a model."""

# Where standardised inputs and hidden sums lie.
_RANGE = (-3.0, 3.0)
_BASES: dict[str, dict[str, Any]] = {
    "bspline": {"grid_size": 5, "domain": _RANGE},
    "gaussian": {"centers": 8, "domain": _RANGE},
    "fourier": {"harmonics": 4},
    "wavelet": {"count": 8},
    "chebyshev": {"degree": 5, "domain": _RANGE},
    "rational": {},
}


def _widths(inputs: int, outputs: int, width: int, num_layers: int) -> list[int]:
    return [inputs, *[width] * num_layers, outputs]


@DENSE_MODELS.register("mlp")
def _mlp(
    inputs: int, outputs: int, width: int, *, num_layers: int, dropout: float, **options: Any
) -> nn.Module:
    return MLP(_widths(inputs, outputs, width, num_layers), dropout=dropout, **options)


def _kan(name: str) -> Any:
    def make(
        inputs: int,
        outputs: int,
        width: int,
        *,
        num_layers: int,
        dropout: float,
        normalize: str | None = None,
        **options: Any,
    ) -> nn.Module:
        basis: AbstractBasis = make_basis(name, **(_BASES[name] | options))
        widths = _widths(inputs, outputs, width, num_layers)
        return KAN(widths, basis, dropout=dropout, normalize=normalize)

    return make


DENSE_MODELS.register("kan")(_kan("bspline"))
for _name in ("gaussian", "fourier", "wavelet", "chebyshev", "rational"):
    DENSE_MODELS.register(f"kan-{_name}")(_kan(_name))


def _stack(kind: str) -> Any:
    """Linear layers below, one layer of functions on top; or functions throughout."""

    def make(
        inputs: int, outputs: int, width: int, *, num_layers: int, dropout: float, **options: Any
    ) -> nn.Module:
        kinds = ["linear"] * num_layers + ["kan"] if kind == "hybrid" else [kind] * (num_layers + 1)
        widths = _widths(inputs, outputs, width, num_layers)
        return Hybrid(widths, options.pop("kinds", kinds), dropout=dropout, **options)

    return make


DENSE_MODELS.register("hybrid")(_stack("hybrid"))
DENSE_MODELS.register("kernel")(_stack("kernel"))


@dataclass(frozen=True)
class _RowStudy(AbstractModelStudy):
    shelf: ClassVar[Registry] = DENSE_MODELS

    models: tuple[str, ...] = ("mlp", "kan", "kan-fourier", "hybrid", "kernel")
    hidden_dim: int = 64
    dropout: float = 0.0
    batch_size: int = 128
    learning_rate: float = 5e-3

    def sizes(self, dataset: RowDataset) -> tuple[int, int]:
        """Columns, and classes or 1."""
        return dataset.train.inputs.shape[1], len(dataset.classes) or 1

    def batches(self, dataset: RowDataset, part: str, seed: int | None = None) -> RowBatches:
        rows = getattr(dataset, part)
        return RowBatches(rows, self.batch_size, seed=seed or 0, shuffle=seed is not None)

    def task(self, dataset: RowDataset) -> str:
        return CLASSES if dataset.classes else NUMBERS


@dataclass(frozen=True)
class TabularStudy(_RowStudy):
    """Models × seeds on a table: classes or numbers, everything else equal.

    Attributes:
        dataset: A bundled table (breast_cancer, diabetes, iris, wine), a PMLB table in the data
            folder (adult, 537_houses, …), a file (with dataset_options target=…), or
            module:function.

    """

    kind: ClassVar[str] = "tabular"

    dataset: str = "breast_cancer"
    epochs: int = 30
    parameters: int = 5000

    def load(self) -> RowDataset:
        return load_tabular(
            self.dataset,
            self.data_dir,
            self.split_seed,
            self.limit or None,
            **self.dataset_options,
        )


@dataclass(frozen=True)
class FunctionStudy(_RowStudy):
    """Models × seeds on the values of a function: with noise, and outside of where they learned.

    Attributes:
        dataset: sum, product, ripples, runge, jump, friedman, or module:function to a TestFunction;
            dataset_options points=1000, noise=0.1 and stretch=1.25.

    """

    kind: ClassVar[str] = "functions"

    dataset: str = "sum"
    epochs: int = 100
    num_layers: int = 2
    parameters: int = 2000
    learning_rate: float = 1e-2
    batch_size: int = 64

    def load(self) -> RowDataset:
        return load_function(
            self.dataset, self.split_seed, self.limit or None, **self.dataset_options
        )
