"""An expression compiled into a network, to refine it with data, draw it or train it further."""

from collections.abc import Sequence
from typing import NamedTuple

import sympy
import torch

from edgewise.core import InputError
from edgewise.symbolic.formula import symbols
from edgewise.symbolic.functions import ABSENT, FUNCTIONS
from edgewise.symbolic.layer import SymbolicLayer
from edgewise.symbolic.network import SymbolicKAN

_POWERS = {
    **{sympy.Integer(n): f"x^{n}" for n in range(2, 6)},
    **{sympy.Integer(-n): f"1/x^{n}" for n in range(2, 6)},
    sympy.Integer(-1): "1/x",
    sympy.Rational(1, 2): "sqrt",
    sympy.Rational(3, 2): "x^1.5",
    sympy.Rational(-1, 2): "1/sqrt",
}


class _Term(NamedTuple):
    """c f(a z + b) of a node z."""

    function: str
    node: int
    a: float
    b: float
    c: float


class _Sum(NamedTuple):
    terms: tuple[_Term, ...]
    bias: float


class _Node(NamedTuple):
    """A product of sums at a level, or an input (level 0, no factors)."""

    level: int
    factors: tuple[_Sum, ...]


def from_expression(
    expression: "str | sympy.Expr | Sequence[str | sympy.Expr]", names: Sequence[str]
) -> SymbolicKAN:
    """A network that computes an expression, in float64.

    Sums become sums, products product nodes, functions of one argument edges; a value that a later
    layer needs is handed on by edges that do nothing.

    Args:
        expression: SymPy's or its text; several make several outputs.
        names: What the inputs are called, in their order.

    Raises:
        InputError: If SymPy can't read it, it has other variables, or a function that is not in
            the library.

    Example:
        >>> model = from_expression("a*exp(-b**2/2)", ["a", "b"])
        >>> model.widths
        [2, 2, 1]
        >>> model(torch.tensor([[2.0, 0.0]], dtype=torch.float64)).item()
        2.0

    """
    inputs = symbols(names, len(names))
    several = isinstance(expression, Sequence) and not isinstance(expression, str)
    texts = list(expression) if several else [expression]
    compiler = _Compiler(inputs)
    outputs = [compiler.node(_parsed(text, inputs)) for text in texts]
    return compiler.network(outputs)


def _parsed(text: "str | sympy.Expr", inputs: list[sympy.Symbol]) -> sympy.Expr:
    try:
        expression = sympy.sympify(text, locals={s.name: s for s in inputs})
        by_name = {s.name: s for s in inputs}
        expression = expression.xreplace(
            {s: by_name[s.name] for s in expression.free_symbols if s.name in by_name}
        )
    except (sympy.SympifyError, SyntaxError, TypeError, AttributeError) as error:
        raise InputError(f"SymPy can't read the expression {text!r}") from error
    unknown = sorted(s.name for s in expression.free_symbols - set(inputs))
    if unknown:
        raise InputError(
            f"the expression has variables that are not named: {unknown}; "
            f"named are {[s.name for s in inputs]}"
        )
    return expression


class _Compiler:
    """Collects the nodes, each once."""

    def __init__(self, inputs: list[sympy.Symbol]) -> None:
        self.nodes = [_Node(0, ()) for _ in inputs]
        self.known: dict[sympy.Expr, int] = {s: k for k, s in enumerate(inputs)}
        self.alone: dict[_Term, int] = {}

    def node(self, expression: sympy.Expr) -> int:
        """The node that computes an expression."""
        if expression not in self.known:
            parts = sympy.Mul.make_args(expression)
            factors = [f for f in parts if not f.is_number]
            scale = _real(sympy.Mul(*[f for f in parts if f.is_number]))
            sums = [self.sum(f) for f in self._unfolded(factors)]
            sums[0] = _Sum(
                tuple(t._replace(c=t.c * scale) for t in sums[0].terms), sums[0].bias * scale
            )
            level = 1 + max((self.nodes[t.node].level for s in sums for t in s.terms), default=0)
            self.nodes.append(_Node(level, tuple(sums)))
            self.known[expression] = len(self.nodes) - 1
        return self.known[expression]

    @staticmethod
    def _unfolded(factors: list[sympy.Expr]) -> list[sympy.Expr]:
        """Whole powers of more than 5 as several factors."""
        found: list[sympy.Expr] = []
        for factor in factors:
            base, n = factor.as_base_exp()
            while n.is_Integer and abs(n) > 5 and base is not sympy.E:
                step = 5 * sympy.sign(n)
                found.append(base**step)
                n -= step
            found.append(base**n if n != 0 else sympy.Integer(1))
        return [f for f in found if f != 1] or [sympy.Integer(1)]

    def sum(self, expression: sympy.Expr) -> _Sum:
        """An expression as a sum of functions of nodes."""
        bias, terms = 0.0, []
        for part in sympy.Add.make_args(expression):
            if part.is_number:
                bias += _real(part)
                continue
            c, rest = part.as_independent(*part.free_symbols, as_Add=False)
            term = self.term(rest)._replace(c=_real(c))
            if any(term.node == other.node for other in terms):
                # An edge holds one function: the second goes through a node of its own.
                term = _Term("x", self._alone(term._replace(c=1.0)), 1.0, 0.0, term.c)
            terms.append(term)
        return _Sum(tuple(terms), bias)

    def _alone(self, term: _Term) -> int:
        """A node that is this term and nothing else."""
        if term not in self.alone:
            level = 1 + self.nodes[term.node].level
            self.nodes.append(_Node(level, (_Sum((term,), 0.0),)))
            self.alone[term] = len(self.nodes) - 1
        return self.alone[term]

    def term(self, expression: sympy.Expr) -> _Term:
        """One function of one node."""
        if expression in self.known or expression.is_Mul or expression.is_Add:
            return _Term("x", self.node(expression), 1.0, 0.0, 1.0)
        name, argument = self._function(expression)
        b, rest = argument.as_independent(*argument.free_symbols, as_Add=True)
        a, rest = rest.as_independent(*rest.free_symbols, as_Add=False)
        return _Term(name, self.node(rest), _real(a), _real(b), 1.0)

    def _function(self, expression: sympy.Expr) -> tuple[str, sympy.Expr]:
        """The library's name for the outermost function, and its argument."""
        if expression.is_Pow and expression.base is not sympy.E:
            base, n = expression.base, expression.exp
            n = sympy.nsimplify(n, rational=True) if n.is_number else n
            if n in _POWERS:
                return _POWERS[n], base
            if n.is_Integer:
                return "x", sympy.Mul(base**5, base ** (n - 5), evaluate=False)
            return "exp", n * sympy.log(base)
        for name in FUNCTIONS:
            argument = _argument(name, expression)
            if argument is not None:
                return name, argument
        raise InputError(
            f"the library has no function for {expression}: add it with add_function()"
        )

    def network(self, outputs: list[int]) -> SymbolicKAN:
        """Levels as layers; what is needed later is handed on."""
        depth = max(1, *(self.nodes[n].level for n in outputs))
        needed: list[list[int]] = [[] for _ in range(depth + 1)]
        needed[depth] = list(outputs)
        for level in range(depth, 0, -1):
            for n in needed[level]:
                node = self.nodes[n]
                below = [t.node for s in node.factors for t in s.terms]
                wanted = below if node.level == level else [n]
                needed[level - 1] += [
                    w for w in dict.fromkeys(wanted) if w not in needed[level - 1]
                ]
        needed[0] = [k for k, node in enumerate(self.nodes) if not node.level]
        return SymbolicKAN(
            [self._layer(level, needed[level - 1], needed[level]) for level in range(1, depth + 1)]
        )

    def _layer(self, level: int, below: list[int], here: list[int]) -> SymbolicLayer:
        sums, arities = [], []
        for n in here:
            node = self.nodes[n]
            factors = node.factors
            if node.level != level:
                factors = (_Sum((_Term("x", n, 1.0, 0.0, 1.0),), 0.0),)
            sums += factors
            arities.append(len(factors))
        table = [[ABSENT] * len(below) for _ in sums]
        for row, s in zip(table, sums, strict=True):
            for t in s.terms:
                row[below.index(t.node)] = t.function
        layer = SymbolicLayer(len(below), table, arities).double()
        with torch.no_grad():
            layer.bias.copy_(torch.tensor([s.bias for s in sums]))
            for out, s in enumerate(sums):
                for t in s.terms:
                    k = layer.edge_index(out, below.index(t.node))
                    layer.a[k], layer.b[k], layer.c[k] = t.a, t.b, t.c
        return layer


def _argument(name: str, expression: sympy.Expr) -> sympy.Expr | None:
    """What f is of, if the expression is f of something."""
    x = sympy.Dummy("x", real=True)
    pattern = FUNCTIONS.resolve(name).expression(x)
    if pattern.func is not expression.func or pattern.is_Pow or not pattern.args:
        return None
    for mine, theirs in zip(pattern.args, expression.args, strict=False):
        if mine == x:
            found = theirs
        elif mine != theirs:
            return None
    return found if x in pattern.args else None


def _real(value: sympy.Expr) -> float:
    number = complex(value)
    if number.imag:
        raise InputError(f"the expression has the constant {value}, which is not real")
    return number.real
