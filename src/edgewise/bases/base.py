"""What a basis is, and the promises it may make about itself."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError, Registry
from edgewise.kernels.polynomials import Polynomials
from edgewise.kernels.spline import Spline

BASES: Registry = Registry("basis")


class AbstractBasis(nn.Module, ABC):
    r"""A family of functions of one number, :math:`x \mapsto (B_1(x), \dots, B_K(x))`.

    Subclasses are final: they set :attr:`size`, write :meth:`derivative`, and declare the promises
    that hold for them; the contract test (``tests/bases/test_basis_contract.py``) holds them to it.
    """

    size: int
    """The number of functions, K."""

    sums_to_one: bool = False
    """Promise: the functions sum to one everywhere, also outside the domain."""

    exact_degree: int = -1
    """Promise: polynomials up to this degree are reproduced exactly on the domain; -1 is none."""

    period: float | None = None
    """Promise: B(x + period) = B(x)."""

    domain: tuple[float, float] = (-1.0, 1.0)
    """Where the functions are meant to be used."""

    spline: Spline | None = None
    """Where the functions are B-splines: which, for the kernels that have a faster way for them."""

    polynomials: Polynomials | None = None
    """Where they are Chebyshev's polynomials of tanh: which, likewise."""

    @property
    def known(self) -> Spline | Polynomials | None:
        """Which functions the kernels know these as; None where they don't."""
        return self.spline or self.polynomials

    def forward(self, x: Float[Tensor, "*batch"], order: int = 0) -> Float[Tensor, "*batch K"]:
        """The values B(x), in the dtype and on the device of ``x``; or :meth:`derivative`."""
        return self.derivative(x, order)

    @abstractmethod
    def derivative(self, x: Float[Tensor, "*batch"], order: int = 1) -> Float[Tensor, "*batch K"]:
        """The derivatives of order 0 (the values), 1 or 2 at ``x``, in closed form.

        Args:
            x: Any shape.
            order: 0, 1 or 2.

        Raises:
            InputError: For another order, or where x is not of a floating-point dtype.

        """

    def place(self, x: Float[Tensor, " n"]) -> None:
        """Moves what can be moved (such as centres) to where the sample ``x`` lies, in place."""

    def reach(self) -> Float[Tensor, "*I 2"]:
        """Where the domain begins and ends, in float64: for all inputs, or for each."""
        return torch.tensor(self.domain, dtype=torch.float64)

    def refined(self, grid_size: int) -> "tuple[AbstractBasis, Float[Tensor, 'K2 K']]":
        """A finer basis that spans all that this one does, and how coefficients go over to it.

        Returns:
            The finer basis B' and T, in float64, with ``B'(x) T = B(x)``: the coefficients
            c and c' = T c are the same function.

        Raises:
            InputError: If ``grid_size`` is smaller than now, or these functions are not nested.

        """
        raise InputError(
            f"{type(self).__name__} can't be refined: its functions are not among those of a finer "
            "one; bspline, chebyshev, fourier, wavelet and rational can"
        )

    def adapted(self, x: Float[Tensor, "n I"]) -> "AbstractBasis":
        """A basis of the same size whose knots or centres follow the sample, for each input i.

        Raises:
            InputError: If these functions have nothing that could follow data.

        """
        raise InputError(
            f"{type(self).__name__} has no knots that could follow the data; "
            "bspline and gaussian have"
        )


def check_call(x: Tensor, order: int) -> None:
    """Raises an :class:`InputError` unless x is floating-point and ``order`` is 0, 1 or 2."""
    if not x.is_floating_point():
        raise InputError(f"a basis takes floating-point numbers, got {x.dtype}; use x.double()")
    if order not in (0, 1, 2):
        raise InputError(f"derivatives are known up to order 2, got order={order!r}")


def check_domain(domain: tuple[float, float]) -> tuple[float, float]:
    """The domain as two floats, or an :class:`InputError`."""
    try:
        low, high = map(float, domain)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise InputError(f"domain must be (low, high) with low < high, got {domain!r}")
    return low, high


def make_basis(basis: "str | AbstractBasis", **options: Any) -> AbstractBasis:
    """A basis from its name (``"bspline"``, ``"module:Class"``) and options, or the object itself.

    Raises:
        InputError: If the name is unknown, an option does not fit, or options come with an object.

    Example:
        >>> make_basis("bspline", grid_size=4, degree=2).size
        6

    """
    if isinstance(basis, AbstractBasis):
        if options:
            raise InputError(f"options {sorted(options)} go with a basis name, not with an object")
        return basis
    kind = BASES.resolve(basis)
    try:
        return kind(**options)
    except TypeError as error:
        raise InputError(f"basis {basis!r} can't be made: {error}") from error
