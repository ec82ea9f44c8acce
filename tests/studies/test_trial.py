"""The width that an equal budget asks for."""

import pytest
from torch import nn

from edgewise.core import InputError
from edgewise.models import count_parameters
from edgewise.studies import make_study
from edgewise.studies.running.trial import make_trial
from edgewise.studies.running.trial_model import build_model

ROWS = {"study": "tabular", "dataset": "iris", "num_layers": 1}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A trial of a model of one's own, whose code is given."""

    def make(body, **values):
        text = "import torch\nfrom torch import nn\nfrom edgewise.core import InputError\n" + body
        (tmp_path / "width_models.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(__import__("sys").modules, "width_models", raising=False)
        study = make_study(ROWS | {"models": ["width_models:net"]} | values)
        return make_trial(study, study.variants()[0], 0), study.load()

    return make


HEADS = """
def net(inputs, outputs, width, *, num_layers, dropout):
    if width % 4:
        raise InputError(f"dim is {width}: it must be a multiple of heads=4")
    return nn.Linear(inputs, width, bias=False)
"""


@pytest.mark.parametrize(("budget", "width"), [(16, 4), (30, 8), (41, 12), (1000, 248)])
def test_a_model_with_heads_gets_a_multiple_of_them(made, budget, width):
    # 4 inputs: 4 parameters a unit of width.
    model = build_model(*made(HEADS, parameters=budget))
    assert isinstance(model, nn.Linear)
    assert model.out_features == width
    assert count_parameters(model) == 4 * width


@pytest.mark.parametrize(
    ("body", "budget", "message"),
    [
        (
            HEADS,
            15,
            "parameters=15 is too small a budget for width_models:net: with a width of 4 it has 16",
        ),
        (
            "def net(inputs, outputs, width, *, num_layers, dropout):\n"
            "    return nn.Linear(inputs, outputs)\n",
            100,
            "parameters=100 can't be reached by width_models:net: its width does not change how "
            "many it has",
        ),
        (
            "def net(inputs, outputs, width, *, num_layers, dropout):\n"
            "    raise InputError(f'no layers at width {width}')\n",
            100,
            "no layers at width 1",
        ),
    ],
)
def test_a_budget_that_can_not_be_met_is_refused(made, body, budget, message):
    with pytest.raises(InputError) as error:
        build_model(*made(body, parameters=budget))
    assert str(error.value) == message


def test_transformers_meet_a_budget(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    (tmp_path / "width_texts.py").write_text(
        "import torch\n"
        "from edgewise.data import TextDataset, Texts\n"
        "def few(data_dir=None, split_seed=0):\n"
        "    texts = Texts(('good film', 'bad film') * 5, torch.arange(10) % 2, ('bad', 'good'))\n"
        "    return TextDataset(texts, texts, texts, name='few', card={})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    values = {"study": "text", "models": ["transformer", "kan-transformer"]}
    study = make_study(values | {"dataset": "width_texts:few", "parameters": 9000})
    dataset = study.load()
    for variant in study.variants():
        model = build_model(make_trial(study, variant, 0), dataset)
        assert abs(count_parameters(model) - 9000) < 2500
