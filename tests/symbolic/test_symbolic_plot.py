import itertools

import pytest
import torch

import edgewise as ew
from edgewise.core import InputError
from edgewise.symbolic import from_expression, plot


@pytest.mark.parametrize("widths", [[1, 1], [2, 5, 1], [10, 8, 3]])
def test_every_edge_is_drawn_in_one_pair_of_axes(widths, tmp_path):
    model = ew.models.KAN(widths).double()
    x = torch.rand(63, widths[0], dtype=torch.float64) * 2 - 1
    figure = plot(model, x, title="before")
    (axes,) = figure.axes
    edges = sum(a * b for a, b in itertools.pairwise(widths))
    wires, frames, curves = axes.collections[:3]
    assert len(wires.get_paths()) == 2 * edges
    assert len(frames.get_paths()) == len(curves.get_paths()) == edges
    assert list(tmp_path.iterdir()) == []
    figure.savefig(tmp_path / "kan.png", dpi=40)


def test_symbols_names_and_products_are_written():
    model = from_expression("m*exp(t)", ["m", "t"])
    figure = plot(model, torch.rand(20, 2, dtype=torch.float64), names=["m", "t"], outputs=["E"])
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"m", "t", "E", "x", "exp", "×"} <= texts


def test_unimportant_edges_are_faint():
    model = from_expression("a + 0.001*sin(b)", ["a", "b"])
    figure = plot(model, torch.rand(50, 2, dtype=torch.float64))
    strengths = figure.axes[0].collections[2].get_colors()[:, 3]
    assert strengths.max() > 0.9
    assert strengths.min() < 0.2


def test_errors():
    model = from_expression("a + b", ["a", "b"])
    with pytest.raises(InputError, match=r"^names must be 2, one for each, got \['a'\]$"):
        plot(model, torch.rand(5, 2, dtype=torch.float64), names=["a"])
