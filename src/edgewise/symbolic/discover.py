"""From a table to a formula: ever larger families of networks, until one is exact."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from edgewise.core import InputError, check_count
from edgewise.symbolic.attempts import attempts, run_attempts
from edgewise.symbolic.deadline import Clock, Deadline
from edgewise.symbolic.functions import choose_functions
from edgewise.symbolic.parallel import search_on_cores
from edgewise.symbolic.problem import Candidate, Discovery, Problem

__all__ = ["Candidate", "Discovery", "discover"]


def discover(
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    names: Sequence[str] | None = None,
    *,
    functions: Sequence[str] | None = None,
    budget: float = 60.0,
    seed: int = 0,
    workers: int = 1,
) -> Discovery:
    """Looks for the formula of a target.

    In turn: monomials; sums of few products of simple functions and quotients of such sums, also of
    1/y, y², log y and so on; hints that make the problem smaller (factors, ratios, differences,
    parts that only add up); networks of splines of ever larger shapes, sums and product nodes,
    trained by Levenberg–Marquardt from several starts and read as formulas. The first that is exact
    ends it, or that leaves nothing but noise. Columns that are constant are left out.

    Args:
        x: Inputs (N, I).
        y: The target (N,).
        names: What the inputs are called; by default a data frame's columns, or x1, x2, ...
        functions: What the splines of networks are compared with; by default those that rarely
            mislead.
        budget: CPU-seconds; of each process, if there are several.
        seed: Of the starts.
        workers: How many processes try at a time what is not found in the first two seconds. An
            exact formula does not depend on their number; with noise, one process weighs what it
            tried before, several do not.

    Raises:
        InputError: If there are fewer than ten rows, something is no number or not finite, y or all
            of x is constant, the names do not fit, a function is not known, or nothing about y can
            be told from x.
        RunError: If one of several processes is lost.

    Example:
        >>> x = torch.rand(200, 2, dtype=torch.float64) + 0.5
        >>> discover(x, 3 * x[:, 0] / x[:, 1] ** 2, names=["m", "r"]).expression
        3*m/r**2

    """
    start = time.process_time()
    if not budget > 0:
        raise InputError(f"budget must be a positive number of CPU-seconds, got {budget!r}")
    check_count("workers", workers)
    chosen = choose_functions(functions)
    if names is None and hasattr(x, "columns"):
        names = [str(name) for name in x.columns]
    x, y = _numbers("x", x), _numbers("y", y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    _check(x, y)
    problem = Problem(x, y, names, Deadline(start + budget, Clock()))
    elsewhere = 0.0
    if workers > 1:
        problem.candidates, elsewhere = search_on_cores(problem, chosen, seed, workers)
    else:
        run_attempts(problem, attempts(problem, chosen, seed))
    return problem.result(time.process_time() - start + elsewhere)


def _numbers(what: str, values: Tensor | np.ndarray) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().to("cpu", torch.float64)
    try:
        # A copy: torch warns of arrays that may not be written.
        return torch.from_numpy(np.array(values, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{what} must hold numbers only ({error}); leave text columns out or encode them"
        ) from error


def _check(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise InputError(
            f"x must be (N, I) and y (N,), got {tuple(x.shape)} and {tuple(y.shape)}; "
            f"search one output at a time"
        )
    if len(x) < 10:
        raise InputError(f"a formula needs at least 10 rows, got {len(x)}")
    for name, value in (("x", x), ("y", y)):
        if not torch.isfinite(value).all():
            raise InputError(f"{name} holds NaN or infinity; drop or fill those rows first")
    if float(y.std()) <= 1e-14 * float(y.abs().max()):
        raise InputError(f"y is constant: it is {float(y[0]):.6g} in every row")
    if not x.shape[1] or float(x.std(0).max()) == 0:
        raise InputError("every column of x is constant: y can't be told from them")
