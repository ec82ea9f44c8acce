import math

import pytest
import sympy
import torch

from edgewise.symbolic.atoms import LINE, ONE, power
from edgewise.symbolic.deadline import Deadline
from edgewise.symbolic.formula import to_function
from edgewise.symbolic.relations import columns_of, search_relations

A, B, C = sympy.symbols("a b c", real=True)


def inputs(count=300, columns=3):
    source = torch.Generator().manual_seed(0)
    return 1 + 2 * torch.rand(count, columns, generator=source, dtype=torch.float64)


QUOTIENTS = {
    "a quotient of sums": (A * B + C) / (A + B),
    "a sum alone": A * B + 3 * C,
    "relativistic": A / sympy.sqrt(1 - B**2 / (10 * C) ** 2),
    "a wave": A * (1 - sympy.cos(B)) / (2 + sympy.sin(B)),
    "exponentials": A / (sympy.exp(B) + sympy.exp(-B)),
}


@pytest.mark.parametrize("name", QUOTIENTS)
def test_quotients_are_found_to_rounding(name):
    x, truth = inputs(), to_function(QUOTIENTS[name], "abc")
    y = torch.from_numpy(truth(x.numpy()))
    found = next(iter(search_relations(x, y, [A, B, C], Deadline.after(20.0))))
    fresh = inputs(50) + 0.01
    theirs, ours = truth(fresh.numpy()), to_function(found.expression, "abc")(fresh.numpy())
    assert abs(theirs - ours).max() < 1e-9 * abs(theirs).max()


def test_nothing_is_found_where_there_is_nothing():
    x = inputs()
    y = torch.special.bessel_j0(x[:, 0] * x[:, 1] + x[:, 2])
    assert list(search_relations(x, y, [A, B, C], Deadline.after(math.inf), most=40)) == []


def test_columns_come_in_the_order_of_their_length():
    columns = columns_of(inputs(columns=2), (ONE, LINE, power("2")), 9)
    assert [str(c.expression([A, B])) for c in columns[:3]] == ["1", "b", "a"]
    costs = [c.cost for c in columns]
    assert costs == sorted(costs)
    assert len({c.atoms for c in columns}) == 9
