"""The functions an edge can be read as, and how to add one."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edgewise.core import InputError, Registry, did_you_mean

if TYPE_CHECKING:
    import sympy

FUNCTIONS: Registry = Registry("function")

ABSENT = "0"
"""The name of the function of an edge that is not there."""


@dataclass(frozen=True)
class Function:
    r"""A function f that edges :math:`c\,f(a x + b) + d` are made of.

    Attributes:
        name: Its name.
        value: x ↦ f(x), on tensors.
        slope: x ↦ f'(x), on tensors.
        text: f in SymPy's words, of the variable ``x``.
        complexity: How far from simple; a line has 1.
        free: Which of a and b matter. ``"b"``: c takes up a's size, as :math:`(a x)^2 = a^2 x^2`.
            ``"a"``: c takes up b, as :math:`e^{x+b} = e^b e^x`. ``""``: c and d take up both.
        domain: An open interval on which f is smooth.

    """

    name: str
    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    text: str
    complexity: int
    free: str = "ab"
    domain: tuple[float, float] = (-math.inf, math.inf)

    def __call__(self, x: Tensor) -> Tensor:
        """f(x), differentiable by ``slope`` where torch does not know the derivative."""
        if x.requires_grad and torch.is_grad_enabled():
            return _WithSlope.apply(x, self)
        return self.value(x)

    def __reduce__(self) -> tuple:
        # By name: models can be pickled, whatever functions they hold.
        return find_function, (self.name,)

    def expression(self, argument: "sympy.Expr") -> "sympy.Expr":
        """F of a SymPy expression."""
        import sympy  # a second of import, for formulas only

        x = sympy.Dummy("x", real=True)
        with sympy.evaluate(True):
            pattern = sympy.sympify(self.text, locals={"x": x})
        return pattern.xreplace({x: argument})


class _WithSlope(torch.autograd.Function):
    """f with its slope as derivative; differentiable again if the slope is."""

    @staticmethod
    def forward(ctx, x: Tensor, function: Function) -> Tensor:
        ctx.save_for_backward(x)
        ctx.function = function
        return function.value(x)

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return g * ctx.function.slope(x), None


def add_function(
    name: str,
    value: Callable[[Tensor], Tensor],
    text: "str | sympy.Expr",
    *,
    slope: Callable[[Tensor], Tensor] | None = None,
    complexity: int = 4,
    free: str = "ab",
    domain: tuple[float, float] = (-math.inf, math.inf),
) -> Function:
    """Adds a function to the library.

    Args:
        name: Its name, by which models and files know it.
        value: f on tensors.
        text: f in SymPy's words, of the variable ``x``.
        slope: f'; by default torch differentiates ``value``.
        complexity: How far from simple; ``x`` has 1, ``x^2`` 2, ``sin`` and ``exp`` 3.
        free: Which of a and b matter in c f(a x + b) + d, see :class:`Function`.
        domain: An open interval on which f is smooth.

    Returns:
        The function.

    Raises:
        InputError: If the name is taken by one of the library's own, torch can't differentiate
            ``value`` and there is no ``slope``, or SymPy can't read ``text``.

    Example:
        >>> f = add_function("J0", torch.special.bessel_j0, "besselj(0, x)",
        ...                  slope=lambda x: -torch.special.bessel_j1(x))
        >>> f(torch.zeros(1))
        tensor([1.])

    """
    if name in _OWN or name in ALIASES:
        raise InputError(f"the library has a function {name!r} of its own; give yours another name")
    if free not in ("", "a", "b", "ab"):
        raise InputError(f"free must be '', 'a', 'b' or 'ab', got {free!r}")
    slope = slope or _slope_by_autograd(name, value, domain)
    function = Function(name, value, slope, _checked_text(name, text), complexity, free, domain)
    return FUNCTIONS.register(name)(function)


def find_function(name: str) -> Function:
    """The function of that name; pykan's second names (``x^0.5``, ``1/x^0.5``) are known too.

    Raises:
        InputError: If there is none, with the nearest name.

    Example:
        >>> find_function("x^0.5").name
        'sqrt'

    """
    return FUNCTIONS.resolve(ALIASES.get(name, name) if isinstance(name, str) else name)


def choose_functions(names: Iterable[str] | None = None) -> list[Function]:
    """The functions of these names, each once, or a set that rarely misleads if ``names`` is None.

    Raises:
        InputError: If a name is not known or there is none.

    """
    if isinstance(names, str):
        raise InputError(f"functions must be a list of names, got the single text {names!r}")
    wanted = list(USUAL if names is None else names)
    for name in wanted:
        if not isinstance(name, str) or (name not in FUNCTIONS and name not in ALIASES):
            if isinstance(name, str) and ":" in name:
                continue
            known = [*FUNCTIONS, *ALIASES]
            raise InputError(f"unknown function {name!r}: {did_you_mean(name, known)}")
    found = {function.name: function for function in map(find_function, wanted)}
    found.pop(ABSENT, None)
    if not found:
        raise InputError("functions must name at least one function beside '0', e.g. ['x', 'sin']")
    return list(found.values())


def is_own(name: str) -> bool:
    """Whether a function is the user's, and not the library's."""
    return name not in _OWN


def _slope_by_autograd(
    name: str, value: Callable[[Tensor], Tensor], domain: tuple[float, float]
) -> Callable[[Tensor], Tensor]:
    def slope(x: Tensor) -> Tensor:
        with torch.enable_grad():
            again = x.requires_grad
            x = x if again else x.detach().requires_grad_()
            (g,) = torch.autograd.grad(value(x).sum(), x, create_graph=again)
        return g

    low, high = max(domain[0], -1.0), min(domain[1], 1.0)
    if low >= high:
        low, high = (domain[0], domain[0] + 1) if domain[0] > 0 else (domain[1] - 1, domain[1])
    try:
        slope(torch.tensor([0.3 * low + 0.7 * high], dtype=torch.float64))
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"torch can't differentiate the function {name!r}: pass its derivative as slope="
        ) from error
    return slope


def _checked_text(name: str, text: "str | sympy.Expr") -> str:
    import sympy  # as above

    try:
        expression = sympy.sympify(str(text))
        symbols = {str(s) for s in expression.free_symbols}
    except (sympy.SympifyError, AttributeError, TypeError, SyntaxError) as error:
        raise InputError(f"SymPy can't read {str(text)!r}, the text of {name!r}") from error
    if not symbols <= {"x"}:
        raise InputError(f"the text of {name!r} must be of the variable x, got {str(text)!r}")
    return str(text)


def _power(name: str, n: float, text: str, complexity: int) -> Function:
    whole = n == int(n) and n > 0
    return Function(
        name,
        (lambda x: x**n),
        (lambda x: n * x ** (n - 1)),
        text,
        complexity,
        "b",
        (-math.inf, math.inf) if whole else (0.0, math.inf),
    )


def _zero(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def _gauss(x: Tensor) -> Tensor:
    return torch.exp(-x * x)


_HALF, _UNIT, _ARC = (0.0, math.inf), (-1.0, 1.0), (-math.pi / 2, math.pi / 2)
_LIBRARY = (
    Function(ABSENT, _zero, _zero, "0", 0, ""),
    Function("x", lambda x: x, torch.ones_like, "x", 1, ""),
    _power("x^2", 2, "x**2", 2),
    _power("x^3", 3, "x**3", 3),
    _power("x^4", 4, "x**4", 4),
    _power("x^5", 5, "x**5", 5),
    Function("1/x", lambda x: 1 / x, lambda x: -1 / (x * x), "1/x", 2, "b", _HALF),
    _power("1/x^2", -2, "1/x**2", 3),
    _power("1/x^3", -3, "1/x**3", 4),
    _power("1/x^4", -4, "1/x**4", 5),
    _power("1/x^5", -5, "1/x**5", 6),
    Function("sqrt", torch.sqrt, lambda x: 0.5 * x.rsqrt(), "sqrt(x)", 2, "b", _HALF),
    _power("x^1.5", 1.5, "x**Rational(3, 2)", 4),
    Function("1/sqrt", torch.rsqrt, lambda x: -0.5 * x**-1.5, "1/sqrt(x)", 3, "b", _HALF),
    Function("exp", torch.exp, torch.exp, "exp(x)", 2, "a"),
    Function("log", torch.log, lambda x: 1 / x, "log(x)", 2, "b", _HALF),
    Function("abs", torch.abs, torch.sign, "Abs(x)", 3, "b"),
    Function("sin", torch.sin, torch.cos, "sin(x)", 3),
    Function("cos", torch.cos, lambda x: -x.sin(), "cos(x)", 3),
    Function("tan", torch.tan, lambda x: 1 + x.tan() ** 2, "tan(x)", 4, "ab", _ARC),
    Function("tanh", torch.tanh, lambda x: 1 - x.tanh() ** 2, "tanh(x)", 4),
    Function("sgn", torch.sign, _zero, "sign(x)", 4, "b"),
    Function("arcsin", torch.asin, lambda x: (1 - x * x).rsqrt(), "asin(x)", 4, "ab", _UNIT),
    Function("arccos", torch.acos, lambda x: -(1 - x * x).rsqrt(), "acos(x)", 4, "ab", _UNIT),
    Function("arctan", torch.atan, lambda x: 1 / (1 + x * x), "atan(x)", 4),
    Function("arctanh", torch.atanh, lambda x: 1 / (1 - x * x), "atanh(x)", 4, "ab", _UNIT),
    Function("gaussian", _gauss, lambda x: -2 * x * _gauss(x), "exp(-x**2)", 4),
    Function("sinh", torch.sinh, torch.cosh, "sinh(x)", 4),
    Function("cosh", torch.cosh, torch.sinh, "cosh(x)", 4),
    Function(
        "sigmoid", torch.sigmoid, lambda x: x.sigmoid() * (-x).sigmoid(), "1/(1 + exp(-x))", 4
    ),
)
for _function in _LIBRARY:
    FUNCTIONS.register(_function.name)(_function)
_OWN = frozenset(function.name for function in _LIBRARY)

ALIASES = {"x^0.5": "sqrt", "1/x^0.5": "1/sqrt", "asin": "arcsin"} | {
    name.replace("arc", "a"): name for name in ("arccos", "arctan", "arctanh")
}
"""Second names."""

USUAL = (
    *("x", "x^2", "x^3", "x^4", "1/x", "1/x^2", "1/x^3", "sqrt", "1/sqrt", "exp", "log"),
    *("sin", "tan", "tanh", "arctanh", "arcsin", "arctan", "gaussian", "abs"),
)
"""What edges are compared with unless told otherwise; ``cos`` is ``sin`` with another phase."""
