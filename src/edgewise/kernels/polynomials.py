"""Which of Chebyshev's polynomials a layer has, for the kernels."""

from typing import NamedTuple


class Polynomials(NamedTuple):
    r"""T_n(tanh u) for n from ``first`` to ``degree``, where u = (x - middle) · per_unit.

    Attributes:
        first: The lowest degree: 0, or 1 without the constant.
        degree: The highest.
        middle: Where u is 0.
        per_unit: du / dx.

    Example:
        >>> Polynomials(first=1, degree=3, middle=0.0, per_unit=1.0).size
        3

    """

    first: int
    degree: int
    middle: float
    per_unit: float

    @property
    def size(self) -> int:
        """How many there are, K."""
        return self.degree + 1 - self.first
