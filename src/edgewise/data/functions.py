"""Functions to approximate: noisy values to learn from, the truth to be tested on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgewise.core import InputError, Registry, generator
from edgewise.data.rows import RowDataset, Rows

HELD_OUT = 2000
"""Points of the test sets; their values are free of noise."""


@dataclass(frozen=True)
class TestFunction:
    """A function of I numbers on a box.

    Attributes:
        f: From (n, I) to (n,).
        inputs: I.
        low: The lower end of each side of the box.
        high: The upper end.
        about: One line about it.

    """

    __test__ = False  # pytest would take it for a test

    f: Callable[[Tensor], Tensor]
    inputs: int
    low: float = -1.0
    high: float = 1.0
    about: str = ""


def _jump(x: Tensor) -> Tensor:
    return torch.where(x[:, 0] > 0.2, 1.0, -0.5) + torch.sin(3 * x[:, 1])


FUNCTIONS: Registry[Callable[[], TestFunction]] = Registry("function")
"""Functions to approximate, by name."""

for _name, _function in {
    "sum": TestFunction(
        lambda x: torch.exp(torch.sin(math.pi * x[:, 0]) + x[:, 1] ** 2),
        2,
        about="exp(sin(πx₁) + x₂²): a sum inside one function",
    ),
    "product": TestFunction(lambda x: x[:, 0] * x[:, 1], 2, about="x₁x₂: no sum of functions"),
    "ripples": TestFunction(
        lambda x: torch.sin(12 * x[:, 0]) * torch.cos(9 * x[:, 1]) + 0.5 * torch.sin(25 * x[:, 0]),
        2,
        about="sin(12x₁)cos(9x₂) + sin(25x₁)/2: high frequencies",
    ),
    "runge": TestFunction(
        lambda x: 1 / (1 + 25 * (x**2).sum(1)), 2, about="1/(1 + 25|x|²): Runge's peak"
    ),
    "jump": TestFunction(_jump, 2, about="a jump at x₁ = 0.2, beside sin(3x₂)"),
    "friedman": TestFunction(
        lambda x: (
            10 * torch.sin(math.pi * x[:, 0] * x[:, 1])
            + 20 * (x[:, 2] - 0.5) ** 2
            + 10 * x[:, 3]
            + 5 * x[:, 4]
        ),
        10,
        0.0,
        1.0,
        "Friedman's first (1991): five inputs that matter and five that do not",
    ),
}.items():
    FUNCTIONS.register(_name)(lambda function=_function: function)


def load_function(
    name: str,
    split_seed: int = 0,
    limit: int | None = None,
    *,
    points: int = 1000,
    noise: float = 0.0,
    stretch: float = 1.25,
) -> RowDataset:
    r"""Points of a function, uniform on its box.

    Training and validation values are :math:`f(x) + σ\,\mathrm{std}(f)\,ε` with normal ε, test
    values :math:`f(x)` itself. ``extrapolation`` is a second test set, on the box stretched about
    its middle, without the box. Inputs are scaled so that the box is [-1, 1], and values are
    standardised.

    Args:
        name: One of `FUNCTIONS`, or ``module:function`` of no arguments to a `TestFunction`.
        split_seed: Of the points and the noise.
        limit: So many training points; None is ``points``.
        points: Training points; a quarter as many are for validation.
        noise: σ, in standard deviations of the function.
        stretch: How many times as long the sides of the larger box are.

    Raises:
        InputError: If there is no such function, or a number makes no sense.

    Example:
        >>> data = load_function("product", points=100)
        >>> sorted(data.extra), len(data.validation)
        (['extrapolation'], 25)
        >>> bool((data.extra["extrapolation"].inputs.abs().amax(1) > 1).all())
        True

    """
    chosen = FUNCTIONS.resolve(name)()
    if not isinstance(chosen, TestFunction):
        raise InputError(f"the function {name!r} must give a TestFunction, got {chosen!r}")
    count = points if limit is None else limit
    for word, value, least in (("points", count, 8), ("noise", noise, 0)):
        if not value >= least:
            raise InputError(f"{word} must be at least {least}, got {value!r}")
    if not stretch > 1:
        raise InputError(f"stretch must be above 1, got {stretch!r}")
    sizes = {"train": count, "validation": max(2, count // 4), "test": HELD_OUT}
    random = generator(split_seed, "points")
    box = {part: 2 * _uniform(n, chosen.inputs, random) - 1 for part, n in sizes.items()}
    values = {part: _values(chosen, x, name) for part, x in box.items()}
    spread = values["train"].std(correction=0)
    if not spread > 0:
        raise InputError(f"the function {name!r} is constant on its box")
    mean = values["train"].mean()
    outside = _outside(chosen.inputs, stretch, random)
    extra = _rows(outside, (_values(chosen, outside, name) - mean) / spread)
    rows = {}
    for part, x in box.items():
        y = (values[part] - mean) / spread
        if part != "test":
            y = y + noise * torch.randn(len(y), generator=random, dtype=torch.float64)
        rows[part] = _rows(x, y)
    card: dict[str, Any] = {
        "name": name,
        "function": chosen.about,
        "inputs": chosen.inputs,
        "box": [chosen.low, chosen.high],
        "noise, standard deviations": noise,
        "sizes": sizes | {"extrapolation": HELD_OUT},
    }
    return RowDataset(**rows, name=name, card=card, extra={"extrapolation": extra})


def _uniform(rows: int, columns: int, random: torch.Generator) -> Tensor:
    return torch.rand(rows, columns, generator=random, dtype=torch.float64)


def _values(function: TestFunction, box: Tensor, name: str) -> Tensor:
    """The function at points of which the box is [-1, 1]."""
    x = function.low + (function.high - function.low) * (box + 1) / 2
    y = function.f(x)
    if y.shape != x.shape[:1] or not y.isfinite().all():
        raise InputError(
            f"the function {name!r} must give a finite number for each row, got "
            f"{tuple(y.shape)} for {tuple(x.shape)}"
        )
    return y


def _outside(inputs: int, stretch: float, random: torch.Generator) -> Tensor:
    """Points of the stretched box that are not in the box."""
    found: list[Tensor] = []
    while sum(map(len, found)) < HELD_OUT:
        x = stretch * (2 * _uniform(HELD_OUT, inputs, random) - 1)
        found.append(x[x.abs().amax(1) > 1])
    return torch.cat(found)[:HELD_OUT]


def _rows(x: Tensor, y: Tensor) -> Rows:
    return Rows(x.float(), y.float().unsqueeze(-1))
