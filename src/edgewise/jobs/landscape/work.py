"""What a landscape job computes, part by part, each as plain data or as a result to draw."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgewise.core import InputError, build, recipe_of, seeded
from edgewise.curvature import Functional, Gauge, obstacle
from edgewise.export import load
from edgewise.jobs.landscape.data import Examples
from edgewise.jobs.landscape.job import LandscapeJob
from edgewise.jobs.landscape.losses import Loss
from edgewise.jobs.landscape.parts import checksum, pack_density, pack_estimate
from edgewise.landscape import Path as Line
from edgewise.landscape import Slice, by_layer, interpolate, slices, spectrum, top_eigenvalues
from edgewise.landscape import trace as trace_of

Tell = Callable[[str, int, int], None]
"""Called with the name of a part, how much of it is done, and of how much."""


@dataclass(frozen=True, eq=False)
class Work:
    """A model, its examples and what is asked."""

    path: Path
    model: nn.Module
    examples: Examples
    loss_name: str
    loss: Loss
    job: LandscapeJob
    tell: Tell

    def identity(self) -> dict[str, Any]:
        """What every part depends on."""
        return {
            "model": checksum(self.path),
            "dataset": self.examples.name,
            "loss": self.loss_name,
            "split": self.job.split,
            "samples": self.job.samples,
            "standardize": self.job.standardize,
            "split_seed": self.job.split_seed,
            "seed": self.job.seed,
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in."""
        return self.job.precision or next(self.model.parameters()).dtype

    def options(self) -> dict[str, Any]:
        """What the rooms below are given."""
        own = next(self.model.parameters()).dtype
        # The model's own precision is no cast: it would round the clock of event times.
        return {"dtype": None if self.dtype == own else self.dtype}

    @property
    def data(self) -> list:
        """The examples that curvature is computed on."""
        return getattr(self.examples, self.job.split)

    def functional(self) -> Functional:
        """The loss as a function of the parameters."""
        return Functional(self.model, self.loss, self.data, **self.options())

    def first(self, start: str | Path | None) -> nn.Module:
        """The model at the path's first state.

        Raises:
            InputError: If it is another model.

        """
        if start is None:
            with seeded(self.job.seed, "init"):
                return build(recipe_of(self.model))
        found = load(start)
        ours, theirs = (
            {name: tuple(p.shape) for name, p in m.named_parameters()} for m in (self.model, found)
        )
        if type(found) is not type(self.model) or ours != theirs:
            raise InputError(
                f"{start} holds another model than {self.path}: a path joins two states of one"
            )
        return found

    def about(self, functional: Functional) -> dict[str, Any]:
        """What the model and its data are, and the loss there."""
        why_not = obstacle(functional)
        value, gradient = functional.value_and_gradient()
        return {
            "model": type(self.model).__name__,
            "file": self.path.name,
            "parameters": functional.size,
            "gauge_directions": Gauge(functional).count if why_not is None else None,
            "dataset": self.examples.name,
            "split": self.job.split,
            "examples": {split: self.examples.size(split) for split in ("train", "test")},
            "loss_name": self.loss_name,
            "loss": float(value),
            "gradient_norm": float(gradient.norm()),
            "dtype": str(self.dtype).removeprefix("torch."),
            "job": self.job.as_dict(),
        }

    def eigenvalues(self) -> dict[str, Any]:
        """The largest and the smallest."""
        self.tell("eigenvalues", 0, 2)
        given = (self.model, self.loss, self.data)
        options = self.options() | {"seed": self.job.seed}
        top = top_eigenvalues(*given, self.job.top, **options)
        self.tell("eigenvalues", 1, 2)
        low = top_eigenvalues(*given, 1, which="smallest", **options)
        self.tell("eigenvalues", 2, 2)
        return {
            "largest": top.values.tolist(),
            "residuals": top.residuals.tolist(),
            "smallest": low[0],
            "smallest_residual": float(low.residuals[0]),
            "products": top.products + low.products,
        }

    def trace(self) -> dict[str, Any]:
        """The trace with its stated error."""
        self.tell("trace", 0, 1)
        found = trace_of(
            self.model,
            self.loss,
            self.data,
            products=self.job.products,
            seed=self.job.seed,
            **self.options(),
        )
        self.tell("trace", 1, 1)
        return pack_estimate(found)

    def density(self) -> dict[str, Any]:
        """The spectrum."""
        self.tell("density", 0, self.job.probes)
        found = spectrum(
            self.model,
            self.loss,
            self.data,
            steps=self.job.steps,
            probes=self.job.probes,
            seed=self.job.seed,
            progress=lambda done, total: self.tell("density", done, total),
            **self.options(),
        )
        self.tell("density", self.job.probes, self.job.probes)
        return pack_density(found)

    def layers(self) -> dict[str, Any]:
        """Each layer's block."""
        self.tell("layers", 0, 1)
        found = by_layer(
            self.model,
            self.loss,
            self.data,
            products=self.job.products,
            seed=self.job.seed,
            **self.options(),
        )
        self.tell("layers", 1, 1)
        rows = [
            {
                "name": part.name,
                "parameters": part.size,
                "largest": part.largest,
                "trace": pack_estimate(part.trace),
                "gauss_newton_trace": pack_estimate(part.gauss_newton),
            }
            for part in found
        ]
        return {"layers": rows}

    def line(self, folder: Path, first: nn.Module) -> Line:
        """The path, its points kept in the folder."""
        other = "test" if self.job.split == "train" else "train"
        return interpolate(
            self.model,
            first,
            # A copy: the line's second state is the model as it is.
            copy.deepcopy(self.model),
            self.loss,
            {self.job.split: self.data, other: getattr(self.examples, other)},
            self.job.points,
            eigenvalues=self.job.eigenvalues_along,
            seed=self.job.seed,
            folder=folder,
            progress=lambda done, total: self.tell("path", done, total),
            **self.options(),
        )

    def plane(self, folder: Path) -> Slice:
        """The loss around the model."""
        return slices(
            self.model,
            self.loss,
            self.data,
            points=self.job.slice_points,
            seed=self.job.seed,
            folder=folder,
            progress=lambda done, total: self.tell("plane", done, total),
            **self.options(),
        )
