import json
import re
import runpy

import numpy as np
import pytest
import sympy
from formula_tables import two_outputs

from edgewise.core import InputError
from edgewise.drawing import svg
from edgewise.jobs.formula.figures import fit, front
from edgewise.jobs.formula.job import FormulaJob, find_formulas
from edgewise.jobs.formula.network import network
from edgewise.jobs.formula.report import check_folder, write_formulas
from edgewise.jobs.formula.text import as_mathml, latex, outside, tables, verdict


@pytest.fixture(scope="module")
def formulas(tmp_path_factory):
    path = two_outputs(tmp_path_factory.mktemp("tables") / "a.csv")
    return find_formulas(FormulaJob(str(path), ("area", "lambda"), budget=1.0))


@pytest.fixture(scope="module")
def folder(formulas, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "new"
    write_formulas(formulas, path)
    return path


def test_all_files_are_there(folder):
    pictures = {f"{s}_{p}.png" for s in ("area", "lambda_") for p in ("fit", "front", "diagram")}
    texts = {"formula.json", "formula.py", "formula.tex", "report.html"}
    assert {path.name for path in folder.iterdir()} == pictures | texts


def test_the_texts_in_the_json_read_back_as_the_formulas(formulas, folder):
    kept = json.loads((folder / "formula.json").read_text())
    local = {name: sympy.Symbol(name, real=True) for name in kept["symbols"].values()}
    for row, found in zip(kept["formulas"], formulas.found, strict=True):
        read_back = sympy.sympify(row["formula"], locals=local)
        assert read_back.free_symbols == found.expression.free_symbols
        read = sympy.lambdify([local[n] for n in formulas.names], read_back, "numpy")
        x = formulas.table.x
        mine = sympy.lambdify([local[n] for n in formulas.names], found.expression, "numpy")
        np.testing.assert_array_equal(read(*x.T), mine(*x.T))
        assert row["test"]["r2"] == found.test.r2
        assert row["exact"] == found.exact
    assert kept["config"]["targets"] == ["area", "lambda"]
    assert kept["symbols"] == {
        "body <mass>": "body__mass_",
        "E": "E",
        "area": "area",
        "lambda": "lambda_",
    }


def test_the_python_file_computes_the_formulas(formulas, folder):
    module = runpy.run_path(str(folder / "formula.py"))
    x = formulas.table.x[formulas.test]
    for k, found in enumerate(formulas.found):
        y = formulas.table.y[formulas.test, k]
        error = np.sqrt(np.mean((module[found.symbol](*x.T) - y) ** 2))
        assert error == pytest.approx(found.test.error, rel=1e-6, abs=1e-14)
    assert "body__mass_ from 1.0" in module["__doc__"]


def test_the_latex_has_a_line_for_each_formula(folder):
    text = (folder / "formula.tex").read_text()
    assert r"\mathrm{area} &= 2 E \mathrm{body\_\_mass\_}^{2} \\" in text
    assert r"\mathrm{lambda\_} &= 0.69" in text


def test_the_report_is_one_page_that_opens_without_a_network(folder):
    page = (folder / "report.html").read_text()
    assert "http" not in page
    # No source but fragments of the page itself, and pictures within it.
    for target in re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", page):
        assert target.startswith(("#", "data:image/"))
    for word in (
        "area: an exact formula",
        "<math",
        "<svg",
        "Where it holds",
        "Constants",
        "runner-up",
    ):
        assert word in page
    assert page.count('<figure id="') == 6
    assert len(re.findall(r'\bid="([^"]+)"', page)) == len(set(re.findall(r'\bid="([^"]+)"', page)))


def test_the_same_formulas_give_the_same_pictures(formulas):
    found = formulas.found[1]
    assert svg(front(found), "a") == svg(front(found), "a")
    assert svg(fit(formulas, found), "a") == svg(fit(formulas, found), "a")


def test_names_are_kept_whole():
    symbols = dict.fromkeys(("m", "x1", "m_1", "alpha"), False)
    symbols |= dict.fromkeys(("mass", "body__mass_", "x_2nd_"), True)
    for name, word in symbols.items():
        assert (f"<mi>{name}</mi>" in as_mathml(sympy.Symbol(name) ** 2, "y")) == (
            word or name == "m"
        )
        assert latex(sympy.Symbol(name)).startswith(r"\mathrm") == word


def test_a_column_can_not_write_into_the_page(folder):
    page = (folder / "report.html").read_text()
    assert "<mass>" not in page
    assert "body &lt;mass&gt;" in page


def test_the_terminal_s_tables(formulas):
    first, *fronts = tables(formulas)
    assert first.row_count == 2
    assert [table.row_count for table in fronts] == [len(f.front) for f in formulas.found]
    assert list(first.columns[4].cells) == ["yes", "no"]


def test_words_about_how_good_a_formula_is(formulas):
    exact, noisy = formulas.found
    assert verdict(exact) == "Exact: it also gives all rows it was never shown to rounding."
    assert verdict(noisy).startswith("Approximate: it explains 99.")
    train = noisy.train
    worse = noisy._replace(test=train._replace(relative=3 * train.relative))
    assert verdict(worse).startswith("Over-fitted: off by ")
    lost = noisy._replace(test=train._replace(relative=float("inf")))
    assert verdict(lost).startswith("Of no use: it is not a real number on some ")


def test_a_formula_that_breaks_down_between_its_rows_is_told(formulas):
    assert outside(formulas) == []
    E = sympy.Symbol("E", real=True)
    broken = formulas.found[0]._replace(expression=sympy.sqrt(E - 1))
    (line,) = outside(formulas._replace(found=[broken]))
    share = float(re.search(r"for ([\d.]+) %", line).group(1))
    # E runs from 0.5 to 2.
    assert 30 < share < 37


def test_the_network_names_its_edges(formulas):
    made = network(formulas, formulas.found[0])
    assert {row["edge"].split(" → ")[0] for row in made.edges} >= {"body__mass_", "E"}
    assert any(row["function"] == "x^2" for row in made.edges)
    assert made.inputs[0] > 0.5 * made.inputs[1]


def test_a_formula_that_is_no_network_is_told(formulas):
    mass = sympy.Symbol("body__mass_", real=True)
    odd = formulas.found[0]._replace(expression=sympy.gamma(mass))
    made = network(formulas, odd)
    assert made.figure is None
    assert made.reason.startswith("It can't be drawn as a network: the library has no function")


def test_the_figures_say_what_they_show(formulas):
    found = formulas.found[1]
    figure = fit(formulas, found)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "lambda, in the table",
        "lambda minus formula",
    ]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["96 rows it was found on", "24 held-out rows", "equal"]
    (axes,) = front(found).axes
    assert axes.get_yscale() == "log"
    train = axes.lines[0].get_ydata()
    np.testing.assert_allclose(train, [candidate.error for candidate, _ in found.front])


def test_folders_that_are_refused(formulas, folder, tmp_path):
    job = FormulaJob("a.csv", ("area", "lambda"))
    assert check_folder(folder, job) == folder
    with pytest.raises(InputError) as raised:
        check_folder(folder, FormulaJob("a.csv", ("area",)))
    assert str(raised.value) == (
        f"--out {folder} holds formulas of area, lambda: choose a new folder"
    )
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError) as raised:
        check_folder(tmp_path, job)
    assert str(raised.value) == f"--out {tmp_path} holds something else: choose a new folder"
    with pytest.raises(InputError) as raised:
        check_folder(tmp_path / "thesis.tex", job)
    assert str(raised.value) == f"--out {tmp_path / 'thesis.tex'} is a file: name a folder"
