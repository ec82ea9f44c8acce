"""How a run is trained: a few numbers and words, checked when they are written down."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgewise.core import InputError, did_you_mean

SCHEDULES = ("cosine", "plateau", "constant")
PRECISIONS = ("float32", "bfloat16", "float16")
SELECTIONS = ("accuracy", "loss")


@dataclass(frozen=True)
class Settings:
    """What one run is trained with; everything but the model, the data and the seed.

    Args:
        epochs: Passes over the training set, at most.
        learning_rate: AdamW's step size, at its highest.
        weight_decay: AdamW's decay of matrices; vectors and scalars are never decayed.
        schedule: ``"cosine"`` (warm-up, then half a cosine, every step), ``"plateau"`` (cut when
            the validation loss stalls, every epoch) or ``"constant"``; see
            `edgewise.train.schedule`.
        warmup: Fraction of all steps over which the cosine schedule climbs, in [0, 1).
        plateau_factor: What the plateau schedule multiplies the learning rate with, in (0, 1).
        plateau_patience: Epochs without a lower validation loss that it forgives.
        clip: Largest norm of the whole gradient; 0 leaves gradients as they are.
        accumulation: Batches to one optimiser step.
        precision: ``"float32"`` computes in the model's own type; ``"bfloat16"`` and
            ``"float16"`` run the forward pass under autocast, float16 with loss scaling.
        patience: Epochs without a better validation after which training stops; 0 is never.
        select: What "better" means on the validation set: ``"accuracy"`` or ``"loss"``.
        rates: For names of parameters, a factor on the learning rate; see
            `edgewise.train.matching` for the names.
        unfreeze: For names of parameters, the first epoch in which they learn; see
            `edgewise.train.Unfreezing`.

    Raises:
        InputError: If a value makes no sense.

    Example:
        >>> Settings(epochs=3).schedule
        'cosine'
        >>> Settings(schedule="cosin")
        Traceback (most recent call last):
        edgewise.core.errors.InputError: unknown schedule 'cosin': did you mean 'cosine'? ...

    """

    epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    warmup: float = 0.1
    plateau_factor: float = 0.5
    plateau_patience: int = 2
    clip: float = 1.0
    accumulation: int = 1
    precision: str = "float32"
    patience: int = 0
    select: str = "accuracy"
    rates: Mapping[str, float] = field(default_factory=dict)
    unfreeze: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in _WHOLE.items():
            _check_whole(name, getattr(self, name), least)
        for name, (inside, wanted) in _REAL.items():
            _check_real(name, getattr(self, name), inside, wanted)
        for name, known in _WORDS.items():
            value = getattr(self, name)
            if value not in known:
                raise InputError(f"unknown {name} {value!r}: {did_you_mean(value, known)}")
        for pattern, factor in self.rates.items():
            _check_real(f"rates[{pattern!r}]", factor, lambda x: x > 0, "a factor above 0")
        for pattern, epoch in self.unfreeze.items():
            _check_whole(f"unfreeze[{pattern!r}]", epoch, 1)


_WHOLE = {"epochs": 1, "plateau_patience": 0, "accumulation": 1, "patience": 0}
_REAL = {
    "learning_rate": (lambda x: x > 0, "a number above 0"),
    "weight_decay": (lambda x: x >= 0, "a number of at least 0"),
    "warmup": (lambda x: 0 <= x < 1, "a fraction of at least 0 and below 1"),
    "plateau_factor": (lambda x: 0 < x < 1, "a factor between 0 and 1"),
    "clip": (lambda x: x >= 0, "a number of at least 0 (0 clips nothing)"),
}
_WORDS = {"schedule": SCHEDULES, "precision": PRECISIONS, "select": SELECTIONS}


def _check_whole(name: str, value: object, least: int) -> None:
    # True is an int to Python, but `epochs=True` is a slip of the pen.
    if type(value) is not int or value < least:
        raise InputError(f"{name} is {value!r}: give a whole number of at least {least}")


def _check_real(name: str, value: object, inside, wanted: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not inside(value):
        raise InputError(f"{name} is {value!r}: give {wanted}")
