"""The studies in examples/ are studies: three seeds, an equal budget that every model can meet."""

from pathlib import Path

import pytest

from edgewise.core import read_json
from edgewise.models import count_parameters
from edgewise.studies import make_study
from edgewise.studies.running.trial import make_trial
from edgewise.studies.running.trial_model import build_model

EXAMPLES = Path(__file__).parents[2] / "examples"
KINDS = ("images", "text", "functions", "tabular")
FILES = sorted(path for kind in KINDS for path in EXAMPLES.glob(f"{kind}_*.json"))


def test_there_is_one_of_each_kind():
    assert {path.stem.partition("_")[0] for path in FILES} == set(KINDS)
    names = {"images_mnist", "images_fashion", "text_rt_polarity", "text_imdb"}
    assert names < {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_a_study_of_three_seeds(path):
    values = read_json(path)
    study = make_study(values)
    assert (study.kind, study.seeds) == (path.stem.partition("_")[0], 3)
    assert study.parameters > 0
    assert study.workers > 0, "as many as there are cores"


class Shapes:
    """What a model has to know of the data, in place of the data."""

    def __init__(self, *sizes):
        self.sizes = sizes


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("images_mnist", ((1, 28, 28), 10)),
        ("text_rt_polarity", (8000, 2)),
        ("functions_friedman", (10, 1)),
        ("tabular_adult", (14, 2)),
    ],
)
def test_each_model_comes_close_to_the_budget(name, sizes, monkeypatch):
    study = make_study(read_json(EXAMPLES / f"{name}.json"))
    monkeypatch.setattr(type(study), "sizes", lambda self, dataset: dataset.sizes)
    for variant in study.variants():
        model = build_model(make_trial(study, variant, 0), Shapes(*sizes))
        assert abs(count_parameters(model) / study.parameters - 1) < 0.1, variant.name
