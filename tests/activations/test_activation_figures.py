"""Figures of learned functions: what is drawn is what was collected."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from edgewise.activations.figures import MAX_LAYERS, draw_functions, function_figure
from edgewise.activations.learned import learned_functions
from edgewise.core import InputError
from edgewise.drawing import png
from edgewise.models import KAN, MLP, Hybrid


def panels(figure):
    return [[axes for axes in part.axes if axes.axison] for part in figure.subfigs]


def test_a_panel_shows_both_curves_and_where_the_inputs_are():
    model, x = KAN([3, 2, 1]), torch.randn(80, 3)
    before = copy.deepcopy(model)
    with torch.no_grad():
        model.layers[0].coefficients.mul_(3)
    figure = draw_functions(model, x, before)
    found = learned_functions(model, [(x,)], before)
    rows = panels(figure)
    assert [len(row) for row in rows] == [6, 2]
    axes = rows[0][0]
    dashed, solid = axes.lines
    for line, values in ((solid, found[0].after[0]), (dashed, found[0].before[0])):
        assert line.get_xdata() == pytest.approx(found[0].x[0])
        shift = values - line.get_ydata()
        assert np.ptp(shift) < 1e-5, "drawn without its mean, and nothing else"
    assert dashed.get_linestyle() == "--"
    assert dashed.get_color() != solid.get_color()
    assert axes.get_title() == f"{found[0].labels[0]}\nspread {found[0].spread[0]:.2g}"
    heights = axes.patches[0].get_data().values - axes.patches[0].get_data().baseline
    roots = np.sqrt(found[0].density[0] / found[0].density[0].max())
    assert heights / heights.max() == pytest.approx(roots)
    # One scale for the row, and the curves within it.
    assert len({axes.get_ylim() for axes in rows[0]}) == 1
    assert all(
        axes.get_ylim()[0] < y <= axes.get_ylim()[1]
        for axes in rows[0]
        for line in axes.lines
        for y in line.get_ydata()
    )
    told = figure.subfigs[0].get_suptitle()
    assert told == (
        f"layers.0: KANLinear, 3 → 2\nall that it has; half of the variance is in "
        f"{found[0].half} of 6"
    )
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        "after training",
        "before training",
        "its inputs: how many lie where (root scale), middle 99 %",
    ]


def test_edges_are_drawn_without_their_means_and_neurons_as_they_are():
    model, x = Hybrid([2, 3, 1], ["kaf", "kan"]), torch.randn(400, 2)
    neurons, edges = panels(draw_functions(model, x))
    found = learned_functions(model, [(x,)])
    assert neurons[0].lines[0].get_ydata() == pytest.approx(found[0].after[0])
    assert neurons[0].get_ylabel() == "value"
    assert edges[0].get_ylabel() == "value − mean"
    weight = np.repeat(found[1].density[0], 5)[::2]
    drawn = edges[0].lines[0].get_ydata()
    assert abs((weight * drawn).sum() / weight.sum()) < 0.05 * np.ptp(drawn)


def test_the_headline_says_how_much_is_shown():
    figure = draw_functions(KAN([9, 4, 1]), torch.randn(50, 9))
    (found, _) = learned_functions(figure_model(), [(torch.randn(50, 9),)], most=6)
    assert found.count == 36
    first, second = figure.subfigs[0].get_suptitle().splitlines()
    assert first == "layers.0: KANLinear, 9 → 4"
    assert second.startswith("the 6 of 36 edges with the largest spread: ")
    assert " % of the variance; half of it is in " in second


def figure_model():
    return KAN([9, 4, 1])


def test_a_layer_that_does_not_vary_is_said_to():
    model = KAN([2, 1])
    with torch.no_grad():
        model.layers[0].coefficients.zero_()
        model.layers[0].base_weight.zero_()
    told = draw_functions(model, torch.randn(9, 2)).subfigs[0].get_suptitle()
    assert told.splitlines()[1] == "none of its 2 functions varies on the data"


def test_more_layers_than_fit_are_said_to_be_left_out():
    figure = draw_functions(KAN([2] * (MAX_LAYERS + 3)), torch.randn(9, 2))
    assert len(figure.subfigs) == MAX_LAYERS
    assert figure.get_suptitle() == "Learned functions of KAN (the first 8 of 10 layers)"


def test_the_same_figure_has_the_same_bytes():
    functions = learned_functions(KAN([2, 1]), [(torch.randn(9, 2),)])
    first, again = (png(function_figure(functions, "one"), dpi=50) for _ in range(2))
    assert first == again


class Bypass(nn.Module):
    def __init__(self):
        super().__init__()
        self.idle = KAN([2, 1])

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            MLP([2, 3, 1]),
            "MLP has no layer of learned functions, such as KANLinear: there is nothing to draw",
        ),
        (
            Bypass(),
            "Bypass gave none of its layers of learned functions a number when it was called on "
            "x: there is nothing to draw",
        ),
    ],
)
def test_a_model_with_nothing_to_draw_is_refused(model, message):
    with pytest.raises(InputError) as error:
        draw_functions(model, torch.rand(5, 2))
    assert str(error.value) == message
