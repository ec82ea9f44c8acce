"""A table in, formulas out: what is asked for, and what was found."""

import keyword
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import sympy
from jaxtyping import Float

from edgewise.core import InputError, check_count, generator
from edgewise.data.numeric_table import NumericTable, load_numbers
from edgewise.jobs.formula.errors import Constant, constants, refit
from edgewise.symbolic import Candidate, Discovery, discover, to_function
from edgewise.symbolic.formula import complexity
from edgewise.symbolic.functions import choose_functions

FEWEST = 10
"""Rows that a formula is looked for on; with fewer almost anything fits."""

EXACT = 1e-8
"""A relative error below this is rounding."""


@dataclass(frozen=True)
class FormulaJob:
    """What to find.

    Attributes:
        data: A table ending in .csv, .tsv, .csv.gz, .tsv.gz or .parquet.
        targets: The columns to find formulas for.
        features: The columns they may depend on; None is all others.
        functions: What edges of networks are compared with; None is a set that rarely misleads.
        budget: CPU-seconds for each target; of each process, if there are several.
        seed: Of the rows that are held out, and of the search.
        test_fraction: The share of rows that is held out, to judge.
        workers: How many processes search.

    """

    data: str
    targets: tuple[str, ...]
    features: tuple[str, ...] | None = None
    functions: tuple[str, ...] | None = None
    budget: float = 60.0
    seed: int = 0
    test_fraction: float = 0.2
    workers: int = 1

    def __post_init__(self) -> None:
        check_count("workers", self.workers)
        choose_functions(self.functions)
        if not 0 < self.budget < float("inf"):
            raise InputError(
                f"budget must be a positive number of CPU-seconds, got {self.budget!r}"
            )
        if not 0 < self.test_fraction < 1:
            raise InputError(f"test_fraction must lie between 0 and 1, got {self.test_fraction!r}")

    def as_dict(self) -> dict[str, Any]:
        """The job as JSON can hold it."""
        return asdict(self)


class Score(NamedTuple):
    """How good a formula is on some rows.

    Attributes:
        error: The root mean square error.
        relative: The same in units of the target's standard deviation there.
        r2: The share of the variance that it explains.

    """

    error: float
    relative: float
    r2: float


class Found(NamedTuple):
    """The formula of one target.

    Attributes:
        target: The column.
        symbol: What the target is called in formulas.
        discovery: What the search gave.
        expression: Its best formula, with the constants at the optimum of all training rows.
        train: Its score on the rows it was found on.
        test: Its score on the rows that were held out.
        front: The best formula of each length, and its score on the rows that were held out.
        constants: Its constants with their standard errors.

    """

    target: str
    symbol: str
    discovery: Discovery
    expression: sympy.Expr
    train: Score
    test: Score
    front: list[tuple[Candidate, Score]]
    constants: list[Constant]

    @property
    def exact(self) -> bool:
        """Whether it gives all rows, the held-out ones too, to rounding."""
        return self.train.relative < EXACT and self.test.relative < EXACT

    @property
    def complexity(self) -> int:
        """With how many signs it is written."""
        return complexity(self.expression)


class Formulas(NamedTuple):
    """What a job found.

    Attributes:
        job: The job.
        table: Its data.
        symbols: What each column is called in formulas: its name, made fit for Python.
        train: Rows that formulas were found on.
        test: Rows that were held out.
        found: A formula for each target.
        seconds: CPU-seconds in all.

    """

    job: FormulaJob
    table: NumericTable
    symbols: dict[str, str]
    train: np.ndarray
    test: np.ndarray
    found: list[Found]
    seconds: float

    @property
    def names(self) -> list[str]:
        """The inputs' symbols."""
        return [self.symbols[name] for name in self.table.features]


def find_formulas(
    job: FormulaJob, on_target: Callable[[str], None] = lambda target: None
) -> Formulas:
    r"""Looks for a formula of each target; rows that are held out judge it.

    Args:
        job: What to find.
        on_target: Called with each target before its search.

    Raises:
        InputError: If the table does not fit (:func:`~edgewise.data.numeric_table.load_numbers`),
            has too few rows, or nothing about a target can be told from the features.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "fall.csv"
        >>> rows = [f"{m},{r},{3 * m / r**2}" for m in range(1, 6) for r in range(1, 6)]
        >>> _ = file.write_text("\n".join(["m,r,F", *rows]))
        >>> found = find_formulas(FormulaJob(str(file), ("F",), budget=5.0)).found[0]
        >>> found.expression, found.exact
        (3*m/r**2, True)

    """
    start = time.process_time()
    table = load_numbers(job.data, job.targets, job.features)
    train, test = _divided(job, len(table.x))
    symbols = identifiers([*table.features, *table.targets])
    names = [symbols[name] for name in table.features]
    found = []
    for k, target in enumerate(table.targets):
        on_target(target)
        x, y = table.x, table.y[:, k]
        try:
            discovery = discover(
                x[train],
                y[train],
                names,
                functions=job.functions,
                budget=job.budget,
                seed=job.seed,
                workers=job.workers,
            )
        except InputError as error:
            raise InputError(f"no formula of {target!r} in {job.data}: {error}") from None
        found.append(_judged(target, symbols[target], discovery, x, y, train, test))
    seconds = time.process_time() - start
    return Formulas(job, table, symbols, train, test, found, seconds)


def _divided(job: FormulaJob, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to search on and rows to judge by, each in the order of the table."""
    held = max(2, round(rows * job.test_fraction))
    if rows - held < FEWEST:
        raise InputError(
            f"{job.data} has {rows} rows, of which {min(held, rows)} are held out to judge: a "
            f"formula needs at least {FEWEST} others to be found on"
        )
    import torch  # not at the top: `edgewise formula --help` does without

    order = torch.randperm(rows, generator=generator(job.seed, "held-out rows")).numpy()
    return np.sort(order[held:]), np.sort(order[:held])


def _judged(
    target: str,
    symbol: str,
    discovery: Discovery,
    x: np.ndarray,
    y: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
) -> Found:
    names, expression = discovery.names, discovery.expression
    if not discovery.exact:
        expression = refit(expression, names, x[train], y[train])
    return Found(
        target,
        symbol,
        discovery,
        expression,
        score(expression, names, x[train], y[train]),
        score(expression, names, x[test], y[test]),
        [(c, score(c.expression, names, x[test], y[test])) for c in discovery.front],
        constants(expression, names, x[train], y[train]),
    )


def score(
    expression: sympy.Expr, names: Sequence[str], x: Float[np.ndarray, "N I"], y: np.ndarray
) -> Score:
    """How good a formula is; infinite errors where it is not a real number on some row.

    Example:
        >>> x = np.array([[0.0], [1.0], [2.0]])
        >>> score(sympy.Symbol("t"), ["t"], x, np.array([0.0, 1.0, 4.0])).r2
        0.53846...

    """
    square = float(np.mean((to_function(expression, names)(x) - y) ** 2))
    if not np.isfinite(square):
        return Score(float("inf"), float("inf"), float("-inf"))
    variance = float(np.var(y))
    share = square / variance if variance > 0 else float("inf") if square > 0 else 0.0
    return Score(square**0.5, share**0.5, 1 - share)


def identifiers(names: Sequence[str]) -> dict[str, str]:
    """A Python name for each column, as much like it as can be, no two the same.

    Example:
        >>> identifiers(["m", "body mass", "lambda", "2nd", "body_mass"])
        {'m': 'm', 'body mass': 'body_mass_2', 'lambda': 'lambda_', '2nd': 'x_2nd', 'body_mass': 'body_mass'}

    """  # noqa: E501
    # Names that are fit as they are come first: nobody else gets them.
    found = {name: name for name in names if _fit(name)}
    for name in names:
        if name not in found:
            word = "".join(ch if ch.isalnum() or ch == "_" else "_" for ch in name) or "x"
            word = word if not word[0].isdigit() else f"x_{word}"
            word = word if _fit(word) else f"{word}_"
            free = [word, *(f"{word}_{k}" for k in range(2, len(names) + 2))]
            found[name] = next(w for w in free if w not in found.values())
    return {name: found[name] for name in names}


def _fit(name: str) -> bool:
    reserved = keyword.iskeyword(name) or name in ("numpy", "scipy")
    return name.isidentifier() and not reserved
