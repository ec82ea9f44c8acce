import numpy as np
import pytest
import sympy
from formula_tables import gravity, two_outputs, write_csv

from edgewise.core import InputError
from edgewise.jobs.formula.job import FormulaJob, find_formulas, identifiers, score


def test_a_formula_is_judged_on_rows_it_never_saw(tmp_path):
    seen = []
    path = gravity(tmp_path / "a.csv")
    found = find_formulas(FormulaJob(str(path), ("F",), budget=5.0), seen.append)
    assert seen == ["F"]
    assert (len(found.train), len(found.test)) == (48, 12)
    assert set(found.train) | set(found.test) == set(range(60))
    m, r = sympy.symbols("m r", real=True)
    assert found.found[0].expression == 3 * m / r**2
    assert found.found[0].exact
    assert found.found[0].test.relative < 1e-14
    assert found.found[0].complexity == 6


def test_the_seed_chooses_the_rows(tmp_path):
    path = str(gravity(tmp_path / "a.csv"))
    a, b, c = (
        find_formulas(FormulaJob(path, ("F",), budget=5.0, seed=seed)).test for seed in (0, 0, 1)
    )
    assert (a == b).all()
    assert (a != c).any()


def test_several_targets_and_names_that_python_would_not_take(tmp_path):
    path = two_outputs(tmp_path / "a.csv")
    job = FormulaJob(str(path), ("area", "lambda"), budget=1.0)
    found = find_formulas(job)
    assert found.names == ["body__mass_", "E"]
    mass, E = (sympy.Symbol(name, real=True) for name in ("body__mass_", "E"))
    exact, noisy = found.found
    assert exact.expression == 2 * mass**2 * E
    assert noisy.symbol == "lambda_"
    assert not noisy.exact
    assert 0.9 < noisy.test.r2 < 1
    # The noise is 0.02, and no formula of one constant can do much better than it.
    assert 0.01 < noisy.test.error < 0.04
    c = next(c for c in noisy.constants if abs(c.value - 0.7) < 0.05)
    assert 0 < c.error < 0.02


def test_features_may_be_chosen(tmp_path):
    source = np.random.default_rng(0)
    a, b = source.uniform(1, 2, (2, 50))
    path = write_csv(tmp_path / "a.csv", a=a, junk=b, y=5 * a**2)
    found = find_formulas(FormulaJob(str(path), ("y",), ("a",), budget=5.0))
    assert found.names == ["a"]
    assert str(found.found[0].expression) == "5*a**2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0.0}, "budget must be a positive number of CPU-seconds, got 0.0"),
        ({"budget": float("nan")}, "budget must be a positive number of CPU-seconds, got nan"),
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"test_fraction": 1.0}, "test_fraction must lie between 0 and 1, got 1.0"),
        ({"test_fraction": 0.0}, "test_fraction must lie between 0 and 1, got 0.0"),
        ({"functions": ("x", "sinn")}, "unknown function 'sinn': did you mean 'sin'?"),
    ],
)
def test_what_a_job_refuses(options, message):
    with pytest.raises(InputError) as raised:
        FormulaJob("a.csv", ("y",), **options)
    assert str(raised.value).startswith(message)


def test_too_few_rows(tmp_path):
    path = gravity(tmp_path / "a.csv", rows=11)
    with pytest.raises(InputError) as raised:
        find_formulas(FormulaJob(str(path), ("F",)))
    assert str(raised.value) == (
        f"{path} has 11 rows, of which 2 are held out to judge: a formula needs at least 10 "
        f"others to be found on"
    )


def test_no_function_of_the_inputs(tmp_path):
    source = np.random.default_rng(0)
    path = write_csv(tmp_path / "a.csv", a=source.random(300), y=source.standard_normal(300))
    with pytest.raises(InputError) as raised:
        find_formulas(FormulaJob(str(path), ("y",), budget=1.0))
    start = f"no formula of 'y' in {path}: nothing about y can be told from x"
    assert str(raised.value).startswith(start)


def test_a_formula_that_is_not_real_somewhere_has_no_finite_error():
    x = np.array([[-1.0], [1.0]])
    found = score(sympy.sqrt(sympy.Symbol("t")), ["t"], x, np.array([0.0, 1.0]))
    assert found == (float("inf"), float("inf"), float("-inf"))


def test_identifiers_are_different_and_keep_what_is_fit():
    names = ["a b", "a_b", "a-b", "numpy", "θ", "", "class"]
    found = identifiers(names)
    assert list(found) == names
    assert found == {
        "a b": "a_b_2",
        "a_b": "a_b",
        "a-b": "a_b_3",
        "numpy": "numpy_",
        "θ": "θ",
        "": "x",
        "class": "class_",
    }
