import math

import pytest
from format_cases import made
from torch import nn

import edgewise as ew
from edgewise.core import InputError, remembers

JOB = {"image job": {"dataset": "digits", "test": {"accuracy": 0.5, "loss": 1.25}}}


@remembers
class Own(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.words = words


def card(model=None, name="me/it", *rest, **options):
    return ew.export.model_card(model or ew.models.KAN([2, 3, 1]), name, *rest, **options)


def test_it_says_what_the_model_is():
    text = card(None, "me/it", {"seed": 3}, metrics={"rmse": 0.25}, dataset="mine", licence="mit")
    for line in (
        'license: "mit"',
        '- "mine"',
        "A KAN with 85 parameters, made with",
        'model = ew.export.from_pretrained("me/it").eval()',
        "# x: float32, (batch, 2)",
        "| class | `edgewise.models.kan:KAN` |",
        "| widths | `[2, 3, 1]` |",
        "Trained on `mine`.",
        "| rmse | 0.25 |",
        '  "seed": 3',
    ):
        assert line in text.splitlines(), line


def test_what_nobody_said_is_said_so():
    text = card()
    assert "license:" not in text
    assert "model-index" not in text
    assert "## Notes" not in text
    assert "The authors named none: ask them before you use it." in text
    assert "The authors did not say what it was trained on." in text
    assert "The authors gave none." in text


@pytest.mark.parametrize(
    "notes",
    [JOB, {"dataset": "digits", "metrics": {"accuracy": 0.5, "loss": 1.25}}],
)
def test_metrics_and_data_are_found_in_the_notes(notes):
    text = card(None, "me/it", notes)
    assert "Trained on `digits`." in text
    assert "| accuracy | 0.5 |\n| loss | 1.25 |" in text
    assert "| rmse | 1 |" in card(None, "me/it", notes, metrics={"rmse": 1})


def test_the_hub_reads_its_header():
    hub = pytest.importorskip("huggingface_hub", reason="pip install 'edgewise[hub]'")
    data = hub.ModelCard(card(None, 'me/a: "b"', JOB, licence="apache-2.0")).data
    assert data.license == "apache-2.0"
    assert data.library_name == "edgewise"
    assert data.datasets == ["digits"]
    assert data.model_name == 'me/a: "b"'
    assert [(r.metric_type, r.metric_value) for r in data.eval_results] == [
        ("accuracy", 0.5),
        ("loss", 1.25),
    ]


def test_a_class_of_the_users_says_whom_to_trust():
    text = card(Own("a|b"))
    assert f'pass `trust=("{Own.__module__}",)` if you trust that package' in text
    assert '| words | `"a\\|b"` |' in text
    assert "trust=" not in card()


@pytest.mark.parametrize("row", ["SequenceClassifier", "CNN"])
def test_every_input_is_named(row):
    variant = {"SequenceClassifier": "kmote-gru-features", "CNN": "plain"}[row]
    text = card(made(row, variant))
    names = {"SequenceClassifier": "times, lengths, features", "CNN": "x"}[row]
    assert f"y = model({names})" in text


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.9", True])
def test_a_metric_is_a_number(value):
    with pytest.raises(InputError) as caught:
        card(metrics={"accuracy": value})
    assert str(caught.value) == f"the metric 'accuracy' must be a finite number, got {value!r}"
