"""A number that was estimated, with how far off it may be."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from scipy.special import stdtrit


@dataclass(frozen=True)
class Estimate:
    """A mean over probes; it unpacks as ``value, standard_error``.

    Example:
        >>> estimate = Estimate(10.0, 0.5, 16, 30)
        >>> low, high = estimate.interval(0.95)
        >>> round(low, 2), round(high, 2)
        (8.93, 11.07)

    """

    value: float
    standard_error: float
    samples: int
    """Independent probes behind the error; 0 where the value is exact up to rounding."""
    products: int
    """Products with the operator."""

    def __float__(self) -> float:
        return float(self.value)

    def __iter__(self) -> Iterator[float]:
        return iter((self.value, self.standard_error))

    def margin(self, level: float = 0.99) -> float:
        """Half the width of the interval at this level, by Student's t; see also `error`."""
        if not self.samples:
            return self.standard_error
        quantile = float(stdtrit(max(1, self.samples - 1), (1 + level) / 2))
        return quantile * self.standard_error

    def interval(self, level: float = 0.99) -> tuple[float, float]:
        """Where the true value lies in this share of cases."""
        margin = self.margin(level)
        return self.value - margin, self.value + margin

    @property
    def error(self) -> float:
        """The stated error: the true value is further off in no more than 5 of 100 cases.

        It is the margin at 99.9 %: where few eigenvalues rule, samples are skewed like χ² and
        Student's t says too little (measured: 99 % then holds in 94 of 100).
        """
        return self.margin(0.999)


def mean_of(samples: list[float], products: int) -> Estimate:
    """The mean of independent samples with its standard error."""
    m = len(samples)
    mean = math.fsum(samples) / m
    variance = math.fsum((s - mean) ** 2 for s in samples) / (m - 1) if m > 1 else math.inf
    return Estimate(mean, math.sqrt(variance / m), m, products)
