import math

import pytest
import sympy
import torch

from edgewise.symbolic.deadline import Deadline
from edgewise.symbolic.formula import to_function
from edgewise.symbolic.problem import Problem
from edgewise.symbolic.reduce import reductions


def problem(f, ranges):
    source = torch.Generator().manual_seed(0)
    u = torch.rand(3000, len(ranges), generator=source, dtype=torch.float64)
    low, high = torch.tensor(ranges, dtype=torch.float64).T
    x = low + (high - low) * u
    return Problem(x, f(*x.T), None, Deadline.after(math.inf))


CASES = {
    "factors": (lambda a, b, c: a**2 / b * (1 + c), [(1, 3)] * 3, 1),
    "a factor of what changes its sign": (
        lambda a, b, c: a * torch.sin(3 * b + c),
        [(1, 2)] * 3,
        2,
    ),
    "one number": (lambda a, b, c: torch.exp(-a * b / c), [(1, 2)] * 3, 1),
    "a fast wave": (lambda a, b, c: torch.sin(30 * a * b / c), [(1, 2)] * 3, 1),
    "a difference": (lambda a, b, c: torch.cos(a - b) * c, [(-1, 1)] * 3, 2),
    "an idle input": (lambda a, b, c: torch.exp(a) + b**2 + 0 * c, [(-1, 1)] * 3, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_each_smaller_problem_leads_back_to_the_whole(name):
    f, ranges, fewest = CASES[name]
    whole = problem(f, ranges)
    smaller = list(reductions(whole))
    assert min(len(s.active) for s in smaller) == fewest
    for part in smaller:
        assert len(part.active) < len(whole.active)
        inner = 1 + sympy.Add(*[s**2 for s in part.symbols])
        inside = torch.from_numpy(to_function(inner, part.names)(part.x.numpy()))
        outside = to_function(part.restore(inner), whole.names)(whole.x.numpy())
        # The same factor lies between the formulas as between the targets.
        torch.testing.assert_close(torch.from_numpy(outside) * part.y, inside * whole.y)
