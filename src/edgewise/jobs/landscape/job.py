"""The landscape job: what is asked about the loss around a saved model. Flat, frozen data."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from edgewise.core import InputError, did_you_mean

LOSSES = ("cross_entropy", "mse", "huber")
SPLITS = ("train", "test")
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class LandscapeJob:
    """What is computed, and on which data.

    Attributes:
        dataset: mnist, fashion_mnist, digits or module:function; for sequence models also an event
            table; with --target a table of numbers. By default what the model's file names.
        target: The column to predict, where the dataset is a table of numbers.
        standardize: Bring a table's columns to mean 0 and deviation 1 over its training rows.
        dataset_options: Options of an event data set, name=value and commas; by default those of
            the study that the model lies in.
        loss: cross_entropy, mse or huber; by default cross_entropy for classes, mse for numbers.
        samples: At most so many rows, images or sequences of each split; 0 is all.
        split: train or test: where curvature is computed. The path shows both.
        top: How many of the largest eigenvalues.
        steps: Lanczos steps for each probe of the density.
        probes: Probes of the density.
        products: Products with the Hessian for the trace.
        alphas: Where on the path, START:END:COUNT.
        eigenvalues_along: Find the smallest eigenvalue at each point of the path, too.
        by_layer: Largest eigenvalue and trace of each layer's block, too.
        slice: The loss on a plane of two random directions, too.
        slice_points: Points on each axis of the plane, an odd number.
        seed: Of which rows are taken, probes, the fresh model and the plane.
        split_seed: Of the split into training and test rows, where the data come without one.
        dtype: float32 or float64: what is computed in; by default the model's own.
        data_dir: Where data sets lie; by default $EDGEWISE_DATA, else the user's cache.

    Raises:
        InputError: If a value makes no sense, in one sentence.

    Example:
        >>> LandscapeJob(alphas="0:1:3").points
        (0.0, 0.5, 1.0)
        >>> LandscapeJob(loss="mes")
        Traceback (most recent call last):
        edgewise.core.errors.InputError: unknown loss 'mes': did you mean 'mse'? ...

    """

    dataset: str | None = None
    target: str | None = None
    standardize: bool = False
    dataset_options: str = ""
    loss: str | None = None
    samples: int = 2048
    split: str = "train"
    top: int = 5
    steps: int = 60
    probes: int = 10
    products: int = 100
    alphas: str = "-1.5:2:50"
    eigenvalues_along: bool = False
    by_layer: bool = False
    slice: bool = False
    slice_points: int = 25
    seed: int = 0
    split_seed: int = 0
    dtype: str | None = None
    data_dir: str | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("loss", self.loss, LOSSES),
            ("split", self.split, SPLITS),
            ("dtype", self.dtype, tuple(PRECISIONS)),
        ):
            if value is not None and value not in known:
                raise InputError(f"unknown {name} {value!r}: {did_you_mean(value, known)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} must be a whole number of at least {least}, got {value}")
        if self.slice_points % 2 == 0:
            raise InputError(f"slice_points must be odd, got {self.slice_points}")
        if self.target is not None and self.dataset is None:
            raise InputError("target names a column of a table: give the table as --dataset")
        if self.standardize and self.target is None:
            raise InputError("standardize goes with a table of numbers: give its --target, too")
        _ = self.points

    @property
    def points(self) -> tuple[float, ...]:
        """The α of the path."""
        try:
            start, end, count = self.alphas.split(":")
            low, high, n = float(start), float(end), int(count)
        except ValueError:
            raise InputError(f"alphas must read START:END:COUNT, got {self.alphas!r}") from None
        if not (-1e6 < low < high < 1e6 and n >= 3):
            raise InputError(
                f"alphas must go up from START to END in at least 3 points, got {self.alphas!r}"
            )
        # Not by steps that add up: the ends are exact.
        return tuple(low + (high - low) * (i / (n - 1)) for i in range(n))

    @property
    def precision(self) -> torch.dtype | None:
        """What is computed in; None is the model's own."""
        return PRECISIONS.get(self.dtype or "")

    def as_dict(self) -> dict[str, Any]:
        """The job as JSON can hold it."""
        return asdict(self)


_LEAST = {
    "samples": 0,
    "top": 1,
    "steps": 1,
    "probes": 2,
    "products": 12,
    "slice_points": 3,
    "seed": 0,
    "split_seed": 0,
}
