"""Learning rates of single parameters."""

import pytest
import torch
from torch.nn.functional import mse_loss

import edgewise as ew
from edgewise.core import InputError, seeded
from edgewise.data import RowBatches, Rows
from edgewise.train import Settings, fit
from edgewise.train.parameter_names import matching


def moved(rates):
    """How far each parameter goes in the first step of AdamW, which is the learning rate."""
    with seeded(0, "rates"):
        model = ew.models.KAN([2, 3, 1])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    x = torch.linspace(0, 1, 32).view(16, 2)
    source = RowBatches(Rows(x, x.prod(1, keepdim=True)), 16)
    settings = Settings(
        epochs=1, learning_rate=1e-3, weight_decay=0.0, schedule="constant", select="loss",
        clip=0.0, rates=rates,
    )  # fmt: skip
    fit(model, source, source, settings, seed=0, loss=mse_loss)
    return {n: float((p.detach() - before[n]).abs().max()) for n, p in model.named_parameters()}


def test_a_factor_scales_the_step_of_what_it_fits_and_nothing_else():
    plain, scaled = moved({}), moved({"activations": 0.1, "layers.1.bias": 3.0})
    assert plain.keys() == scaled.keys()
    for name, distance in plain.items():
        factor = 3.0 if name == "layers.1.bias" else 0.1 if "coefficients" in name else 1.0
        assert scaled[name] == pytest.approx(factor * distance, rel=2e-2), name


def test_a_name_that_fits_nothing_is_refused():
    with pytest.raises(InputError, match="no parameter fits 'activation' in rates: did you mean"):
        moved({"activation": 0.1})


def test_a_model_that_learns_no_functions_is_named_as_such():
    with pytest.raises(InputError) as error:
        matching(ew.models.MLP([2, 1]), {"activations": 0.1}, "rates")
    assert str(error.value) == (
        "no parameter fits 'activations' in rates: the model learns no functions; give names or "
        "patterns of layers.0.weight, layers.0.bias"
    )
