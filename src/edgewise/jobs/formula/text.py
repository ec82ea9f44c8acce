"""Formulas and what is known about them, as words, tables and code."""

import math
import re
from collections.abc import Sequence

import numpy as np
import sympy
from rich.box import SIMPLE_HEAD
from rich.table import Table
from sympy.core.alphabets import greeks
from sympy.printing.mathml import mathml
from sympy.printing.str import StrPrinter

from edgewise.jobs.formula.errors import Constant
from edgewise.jobs.formula.job import Formulas, Found, Score
from edgewise.symbolic import to_function, to_python
from edgewise.symbolic.formula import complexity

_LONG = 60
"""Expressions of this many signs are put together as they are, without SymPy's rewriting."""


TRIED = 4000
"""Points at which a formula is tried within its ranges."""


def rounded(expression: sympy.Expr, digits: int = 6) -> sympy.Expr:
    """The formula with fewer digits, for the eye.

    Example:
        >>> rounded(sympy.sympify("3.123456789*x/2"))
        1.56173*x

    """
    return _exchanged(
        expression, {n: sympy.Float(n, digits) for n in expression.atoms(sympy.Float)}
    )


class _Text(StrPrinter):
    """Decimals with the fewest digits that read back as the same float64."""

    def _print_Float(self, number: sympy.Float) -> str:
        return repr(float(number))


def as_text(expression: sympy.Expr) -> str:
    """The formula in SymPy's words, which ``sympy.sympify`` reads back.

    Example:
        >>> as_text(sympy.Float(0.1, 17) * sympy.Symbol("x") / 2)
        '0.05*x'

    """
    return _Text().doprint(expression)


def as_mathml(expression: sympy.Expr, symbol: str) -> str:
    """The equation as an HTML element; browsers draw it without help.

    Example:
        >>> as_mathml(sympy.Symbol("r") ** 2, "y")[:60]
        '<math display="block"><mrow><mi>y</mi><mo>=</mo><msup><mi>r<'

    """
    expression, left = rounded(expression), sympy.Symbol(symbol)
    words = {s for s in (*expression.free_symbols, left) if _is_word(s.name)}
    # Letters alone are not taken apart by SymPy, and give way to the names in the end.
    stand_ins = {s: sympy.Symbol(f"word{chr(97 + k)}") for k, s in enumerate(words)}
    parts = (_exchanged(part, stand_ins) for part in (left, expression))
    left, right = (mathml(part, printer="presentation") for part in parts)
    text = f'<math display="block"><mrow>{left}<mo>=</mo>{right}</mrow></math>'
    for s, stand_in in stand_ins.items():
        text = text.replace(f"<mi>{stand_in.name}</mi>", f"<mi>{s.name}</mi>")
    return text


def as_latex(formulas: Formulas) -> str:
    """All equations as LaTeX, constants rounded to six digits."""
    lines = [
        f"  {latex(sympy.Symbol(f.symbol))} &= {latex(rounded(f.expression))}"
        for f in formulas.found
    ]
    note = "% Constants are rounded to six digits; formula.json has all of them.\n"
    body = " \\\\\n".join(lines)
    return f"{note}\\begin{{align}}\n{body}\n\\end{{align}}\n"


def latex(expression: sympy.Expr) -> str:
    r"""The expression as LaTeX, with names that are words upright and whole.

    Example:
        >>> print(latex(sympy.Symbol("body_mass") / sympy.Symbol("m_1")))
        \frac{\mathrm{body\_mass}}{m_{1}}

    """
    words = {s: s.name.replace("_", r"\_") for s in expression.free_symbols if _is_word(s.name)}
    names = {s: rf"\mathrm{{{word}}}" for s, word in words.items()}
    return sympy.latex(expression, symbol_names=names)


def _is_word(name: str) -> bool:
    """Whether a name is no letter, with an index or without; SymPy would take it apart."""
    letter = rf"([^\W\d_]|{'|'.join(greeks)})"
    return not re.fullmatch(rf"{letter}(_?\d+|_[^\W_]+)?", name)


def _exchanged(expression: sympy.Expr, exchange: dict) -> sympy.Expr:
    with sympy.evaluate(complexity(expression) < _LONG):
        return expression.xreplace(exchange)


def as_python(formulas: Formulas) -> str:
    """A module with a function for each target; it needs NumPy only."""
    imports: set[str] = set()
    functions = []
    for found in formulas.found:
        head, _, body = to_python(found.expression, formulas.names, found.symbol).partition(
            "\n\n\n"
        )
        imports |= set(head.splitlines())
        functions.append(body)
    notes = [f'"""Formulas found by Edgewise in {_plain(formulas.job.data)}.', ""]
    notes += [
        f"{f.symbol}: relative error {short(f.test.relative)} on rows held out."
        for f in formulas.found
    ]
    notes += ["", "Found for"]
    notes += [f"    {name} from {low:.6g} to {high:.6g}" for name, low, high in ranges(formulas)]
    return "\n".join([*notes, '"""', "", *sorted(imports), "", "", "\n\n".join(functions)])


def ranges(formulas: Formulas) -> list[tuple[str, float, float]]:
    """For each input its symbol, and the least and largest value that formulas were found on."""
    x = formulas.table.x[formulas.train]
    return list(zip(formulas.names, x.min(0).tolist(), x.max(0).tolist(), strict=True))


def outside(formulas: Formulas) -> list[str]:
    """For each target a warning, if its formula breaks down between the rows it was found on."""
    names, lows, highs = zip(*ranges(formulas), strict=True)
    u = np.random.default_rng(0).random((TRIED, len(names)))
    x = np.array(lows) + u * (np.array(highs) - np.array(lows))
    lines = []
    for found in formulas.found:
        y = to_function(found.expression, names)(x)
        broken = float(np.mean(~np.isfinite(y)))
        if broken:
            lines.append(
                f"{found.symbol} has no real value for {percent(broken)} of points drawn evenly "
                f"from these ranges: it was found on rows that lie elsewhere."
            )
    return lines


def verdict(found: Found) -> str:
    """How far the formula can be believed, in a sentence."""
    rows = "rows it was never shown"
    if found.exact:
        return f"Exact: it also gives all {rows} to rounding."
    test, train = found.test, found.train
    if not math.isfinite(test.relative):
        return f"Of no use: it is not a real number on some of the {rows}."
    if test.relative > 2 * train.relative:
        return (
            f"Over-fitted: off by {short(train.relative)} standard deviations on the rows it was "
            f"found on, but by {short(test.relative)} on {rows}."
        )
    return (
        f"Approximate: it explains {percent(test.r2)} of the variance on {rows}; what is left is "
        f"noise, or a formula that was not found."
    )


def tables(formulas: Formulas) -> list[Table]:
    """The formulas and, for each target, the front, for a terminal."""
    title = f"Judged on {len(formulas.test)} held-out rows of {len(formulas.table.x)}"
    table = _table(title, ["target"], ["error", "relative", "R²", "exact", "length", "CPU-s"])
    for f in formulas.found:
        exact = "yes" if f.exact else "no"
        seconds = f"{f.discovery.seconds:.1f}"
        table.add_row(f.symbol, *score_words(f.test), exact, str(f.complexity), seconds)
    return [table, *(_front_table(found) for found in formulas.found)]


def _front_table(found: Found) -> Table:
    title = f"Shorter and longer formulas of {found.symbol}"
    table = _table(title, [], ["length", "relative", "R²"])
    table.add_column("formula", overflow="fold")
    for candidate, score in found.front:
        text = str(rounded(candidate.expression, 4))
        table.add_row(str(candidate.complexity), *score_words(score)[1:], text)
    return table


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for heading in left:
        table.add_column(heading, no_wrap=True)
    for heading in right:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def score_words(score: Score) -> tuple[str, str, str]:
    """Error, relative error and R² as text."""
    return short(score.error), short(score.relative), r_squared(score.r2)


def short(value: float) -> str:
    """Three digits.

    Example:
        >>> short(0.012345), short(1.5e-16), short(float("inf"))
        ('0.0123', '1.5e-16', '∞')

    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    return f"{value:.3g}"


def r_squared(value: float) -> str:
    """R² with as many nines as there are.

    Example:
        >>> r_squared(0.123456), r_squared(0.99999321), r_squared(1 - 1e-15), r_squared(1.0)
        ('0.1235', '0.99999321', '1 − 1e-15', '1')

    """
    left = 1 - value
    if not math.isfinite(value):
        return "−∞"
    if left <= 0:
        return "1"
    if left < 1e-9:
        return f"1 − {left:.0e}"
    return f"{value:.{max(4, 2 - math.floor(math.log10(left)))}f}"


def percent(share: float) -> str:
    """A share of the variance in percent; never 100 where it is less."""
    return f"{math.floor(1e4 * share) / 100:g} %"


def constant_words(constant: Constant, rows: int) -> dict[str, str]:
    """A row of the table of constants."""
    if constant.simple:
        return {"constant": constant.text, "standard error": "a simple number, taken as known"}
    if math.isnan(constant.error):
        error, told = "–", f"{rows} rows are too few to tell"
    elif math.isinf(constant.error):
        error, told = "∞", "the data leave it open: another constant can make up for it"
    else:
        near = abs(constant.value) < 2 * constant.error
        error, told = short(constant.error), "it may be 0" if near else ""
    digits = 15
    if constant.error > 0 and math.isfinite(constant.error):
        size = math.log10(max(abs(constant.value), 1e-300) / constant.error)
        digits = int(np.clip(math.ceil(size) + 2, 2, 15))
    return {"constant": f"{constant.value:.{digits}g}", "standard error": error, "": told}


def _plain(text: str) -> str:
    """Text that can stand in a docstring."""
    return text.replace("\\", "/").replace('"""', "'''")
