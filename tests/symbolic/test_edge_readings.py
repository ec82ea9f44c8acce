import pytest
import torch

import edgewise as ew
from edgewise.core import InputError
from edgewise.symbolic import fix, from_expression, suggest, unfix
from edgewise.symbolic.curves import fit_curves
from edgewise.symbolic.functions import choose_functions

CURVES = {
    "sin": lambda x: torch.sin(3 * x + 1),
    "x^2": lambda x: (x - 0.3) ** 2,
    "1/x": lambda x: 2 / x - 1,
    "log": lambda x: torch.log(x + 0.2),
    "exp": lambda x: torch.exp(-1.3 * x),
    "tanh": lambda x: torch.tanh(2 * x - 3),
    "gaussian": lambda x: torch.exp(-((x - 1) ** 2)),
    "arctanh": lambda x: torch.atanh(0.35 * x),
    "x": lambda x: 3 * x,
    "sqrt": lambda x: torch.sqrt(3 - x),
    "tan": lambda x: torch.tan(0.5 * x),
    "1/sqrt": lambda x: 1 / torch.sqrt(x + 1),
    "x^3": lambda x: (x - 1) ** 3,
}


def test_every_curve_is_recognised_and_its_constants_found():
    x = torch.linspace(0.5, 2.5, 97, dtype=torch.float64)
    values = torch.stack([f(x) for f in CURVES.values()])
    ends = torch.ones(len(values), dtype=torch.float64)
    fits = fit_curves(0.5 * ends, 2.5 * ends, values, choose_functions())
    names = [f.name for f in fits.functions]
    for k, name in enumerate(CURVES):
        j = names.index(name)
        assert fits.unexplained[k, j] < 1e-18, name
        f = fits.functions[j]
        again = fits.c[k, j] * f(fits.a[k, j] * x + fits.b[k, j]) + fits.d[k, j]
        torch.testing.assert_close(again, values[k])


def test_functions_stay_in_their_domain_over_the_whole_range():
    x = torch.linspace(-1, 1, 97, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    values = (x**3 + 0.2 * torch.sin(9 * x))[None]
    fits = fit_curves(-one, one, values, choose_functions(["log", "sqrt", "1/x", "arcsin"]))
    for j, f in enumerate(fits.functions):
        assert torch.isfinite(f(fits.a[0, j] * x + fits.b[0, j])).all(), f.name


def test_scale_and_offset_do_not_matter():
    x = torch.linspace(-1, 1, 97, dtype=torch.float64)
    one = torch.ones(3, dtype=torch.float64)
    base = torch.sin(2 * x) + 0.3 * x
    values = torch.stack([base, 1e-6 * base + 5, 1e6 * base])
    left = fit_curves(-one, one, values, choose_functions()).unexplained
    torch.testing.assert_close(left[0], left[1], rtol=0.02, atol=1e-6)
    torch.testing.assert_close(left[0], left[2], rtol=0.02, atol=1e-6)


def test_suggest_ranks_the_simplest_of_equals_first():
    model = from_expression("2*a", ["a"])
    x = torch.rand(30, 1, dtype=torch.float64)
    assert suggest(model, x, (0, 0, 0), top=3)[0].function == "x"


def test_fix_and_unfix_give_new_networks():
    torch.manual_seed(0)
    model = ew.models.KAN([2, 3, 1]).double()
    x = torch.rand(200, 2, dtype=torch.float64) * 2 - 1
    before = model(x)
    fixed = fix(model, (0, 1, 0), "sin", x)
    assert fixed.layers[0].functions[1] == ["sin", "spline"]
    assert torch.equal(model(x), before)
    back = unfix(fixed, (0, 1, 0), x)
    assert back.layers[0].functions[1] == ["spline", "spline"]
    assert (back(x) - fixed(x)).abs().max() < 1e-2
    removed = fix(model, (0, 1, 0), "0", x)
    assert removed.layers[0].functions[1] == ["0", "spline"]


@pytest.mark.parametrize(
    ("edge", "function", "message"),
    [
        ((5, 0, 0), "sin", "there is no layer 5; the network has layers 0 to 1"),
        (
            (0, 0, 2),
            "sin",
            "there is no edge (0, 0, 2): layer 0 has 3 sums and 2 inputs, counted from 0",
        ),
        ("ab", "sin", "an edge is (layer, output, input), got 'ab'"),
        ((0, 0, 0), "sinn", "unknown function 'sinn': did you mean 'sin'?"),
    ],
)
def test_errors(edge, function, message):
    model = ew.models.KAN([2, 3, 1]).double()
    with pytest.raises(InputError) as error:
        fix(model, edge, function)
    assert str(error.value).startswith(message)


def test_what_is_a_spline_can_t_be_unfixed():
    with pytest.raises(InputError, match=r"^the edge \(0, 0, 0\) is a spline already$"):
        unfix(ew.models.KAN([2, 1]).double(), (0, 0, 0))
