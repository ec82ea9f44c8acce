"""Studies of images, texts, tables and functions go through the runner and the report."""

import json
import textwrap

import numpy as np
import pytest
import torch

from edgewise.core import InputError, read_json
from edgewise.studies import STUDIES, make_study, run_study, write_report
from edgewise.studies.records.records import read_study
from edgewise.studies.report.equal_time import equal_time
from edgewise.studies.running.trial import make_trial
from edgewise.studies.running.trial_model import build_model
from edgewise.train import fit

FEW = {"seeds": 2, "epochs": 2, "workers": 0, "batch_size": 32}
TEXTS = {
    "study": "text",
    "models": ["bag", "kan-rnn"],
    "hidden_dim": 4,
    "vocabulary": 300,
    "dataset": "few_texts:few",
    "model_options": {"kan-rnn": {"dim": 4}, "bag": {"dim": 4}},
}
STUDIED = {
    "functions": {"study": "functions", "dataset_options": {"points": 64, "noise": 0.1}}
    | {"models": ["mlp", "kan", "hybrid", "kernel"], "parameters": 150, "num_layers": 1},
    "classes": {"study": "tabular", "dataset": "iris", "models": ["mlp", "kan-fourier"]}
    | {"parameters": 120},
    "numbers": {"study": "tabular", "dataset": "diabetes", "models": ["mlp", "kan-rational"]}
    | {"parameters": 200},
    "images": {"study": "images", "models": ["cnn", "conv-kan", "mlp", "kan"], "limit": 60}
    | {"parameters": 900, "shift": 1},
    "text": TEXTS,
}


@pytest.fixture
def few_texts(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    (tmp_path / "few_texts.py").write_text(
        textwrap.dedent(
            """
            import torch
            from edgewise.data import TextDataset, Texts

            def texts(n):
                rows = [("a good film " * (1 + i % 3), "a bad film")[i % 2] for i in range(n)]
                return Texts(tuple(rows), torch.arange(n) % 2, ("bad", "good"))

            def few(data_dir=None, split_seed=0):
                return TextDataset(texts(40), texts(10), texts(12), name="few", card={})
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("name", STUDIED)
@pytest.mark.usefixtures("few_texts")
def test_each_kind_runs_and_reports(name, tmp_path):
    root = tmp_path / "study"
    study = make_study(STUDIED[name] | FEW)
    run_study(study, root)
    failures = [read_json(p)["traceback"] for p in root.rglob("failure.json")]
    assert not failures, failures[0]
    page = write_report(root).read_text(encoding="utf-8")
    analysis = read_json(root / "detailed_analysis.json")
    assert sorted(analysis["ranking"]) == sorted(STUDIED[name]["models"])
    metric = "explained variance" if name in ("functions", "numbers") else "accuracy"
    assert f"highest mean test {metric} on" in page
    assert "Equal time: after the " in page
    assert ("Equal parameters: " in page) == bool(study.parameters)
    assert (root / "confusion_matrices.png").exists() == (metric == "accuracy")
    assert (root / "temporal_patterns.png").exists() == (name == "text")
    assert ('<h2 id="time">Length</h2>' in page) == (name == "text")
    if study.parameters:
        sizes = [entry["parameters"] for entry in analysis["variants"].values()]
        assert max(sizes) < 1.35 * study.parameters
    for variant in study.variants():
        if name != "text":
            assert (root / f"{variant.slug}_best.safetensors").exists()


def test_of_numbers_the_score_is_the_explained_variance(tmp_path):
    run_study(make_study(STUDIED["numbers"] | FEW), tmp_path)
    records = read_study(tmp_path)
    for trial in records.trials:
        found = trial.predictions()
        missed = np.mean((found["label"] - found["predicted"]) ** 2) / np.var(found["label"])
        assert trial.score("test") == pytest.approx(1 - missed, abs=1e-6)
        row = trial.history[0]
        assert row["validation_explained"] <= 1
        assert row["validation_accuracy"] is None
    name = records.trials[0].variant
    scores = records.predictions.scores(name)
    means = [t.score("test") for t in records.by_variant[name]]
    assert scores.mean(1) == pytest.approx(means, abs=1e-6)


def test_functions_are_tested_outside_of_their_box_too(tmp_path):
    run_study(make_study(STUDIED["functions"] | FEW | {"seeds": 1}), tmp_path)
    write_report(tmp_path)
    analysis = read_json(tmp_path / "detailed_analysis.json")
    extra = analysis["variants"]["mlp"]["extra"]["extrapolation"]["mean"]
    record = read_json(tmp_path / "trials" / "mlp" / "seed-0" / "record.json")
    assert record["extra"]["extrapolation"]["explained"] == extra
    assert "extrapolation %" in (tmp_path / "analysis_report.md").read_text(encoding="utf-8")


def test_a_model_of_ones_own_joins_by_name(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(
        textwrap.dedent(
            """
            from torch import nn

            def net(inputs, outputs, width, *, num_layers, dropout, slope=0.1):
                return nn.Sequential(
                    nn.Linear(inputs, width), nn.LeakyReLU(slope), nn.Linear(width, outputs)
                )
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    values = STUDIED["classes"] | {
        "models": ["mlp", "own_models:net"],
        "model_options": {"own_models:net": {"slope": 0.3}},
    }
    root = run_study(make_study(values | FEW), tmp_path / "study")
    assert len(list(root.rglob("record.json"))) == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"study": "image"}, "unknown kind of study 'image': did you mean 'images'?"),
        (
            {"study": "text", "encoders": ["lete"]},
            "has an unknown key 'encoders' (of a study of text)",
        ),
        (
            {"study": "images", "models": ["cn"]},
            "unknown model of images 'cn': did you mean 'cnn'?",
        ),
        ({"study": "tabular", "models": []}, "models must name at least one model, got none"),
        ({"study": "tabular", "dropout": 1.0}, "dropout must lie in [0, 1), got 1.0"),
        (
            {"study": "tabular", "models": ["mlp"], "model_options": {"kan": {}}},
            "model_options has 'kan', which is not compared: known: mlp",
        ),
        (
            {"study": "tabular", "rates": {"activations": 0.0}},
            "rates['activations'] is 0.0: give a factor above 0",
        ),
        (
            {"study": "tabular", "unfreeze": {"activations": 0}},
            "unfreeze['activations'] is 0: give a whole number of at least 1",
        ),
    ],
)
def test_a_wrong_request_is_refused(values, message):
    with pytest.raises(InputError) as error:
        make_study(values)
    assert message in str(error.value)


def test_a_wrong_option_of_a_model_is_refused_before_work_starts(tmp_path):
    values = STUDIED["classes"] | {"model_options": {"mlp": {"activate": "relu"}}}
    with pytest.raises(InputError, match=r"the model 'mlp' can't be made: .*'activate'"):
        run_study(make_study(values | FEW), tmp_path / "study")
    assert not (tmp_path / "study" / "config.json").exists()


def test_a_folder_with_another_kind_is_refused(tmp_path):
    run_study(make_study(STUDIED["classes"] | FEW | {"seeds": 1}), tmp_path)
    with pytest.raises(InputError, match="there study is 'tabular', here it is 'functions'"):
        run_study(make_study(STUDIED["functions"] | FEW), tmp_path)


def test_sparsity_is_a_penalty_with_a_gradient():
    study = make_study(STUDIED["classes"] | {"models": ["kan", "mlp"], "sparsity": 0.1} | FEW)
    dataset = study.load()
    kan, mlp = (build_model(make_trial(study, v, 0), dataset) for v in study.variants())
    value = study.penalty(kan, dataset)(kan)
    value.backward()
    assert value > 0
    assert all(layer.coefficients.grad.abs().max() > 0 for layer in kan.layers)
    assert study.penalty(mlp, dataset) is None


def test_what_waits_does_not_change_by_a_bit_and_then_learns():
    study = make_study(
        STUDIED["classes"] | FEW | {"models": ["kan"], "epochs": 3, "unfreeze": {"activations": 3}}
    )
    dataset = study.load()
    model = build_model(make_trial(study, study.variants()[0], 0), dataset)
    seen = [model.layers[0].coefficients.detach().clone()]
    bases = [model.layers[0].base_weight.detach().clone()]

    def look(row, model):
        seen.append(model.layers[0].coefficients.detach().clone())
        bases.append(model.layers[0].base_weight.detach().clone())

    fit(
        model,
        study.batches(dataset, "train", 1),
        study.batches(dataset, "validation"),
        study.settings(),
        seed=0,
        on_epoch=[look],
    )
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[2], seen[3])
    assert not torch.equal(bases[0], bases[1])
    assert all(p.requires_grad for p in model.parameters())


def test_equal_time_gives_each_variant_the_epochs_that_fit():
    class Trial:
        def __init__(self, pace, scores):
            self.timing = {"seconds_per_epoch": [pace] * len(scores)}
            self.history, self.scores = scores, scores

        def learning(self, part):
            return self.scores

    found = equal_time(
        {
            "quick": [Trial(1.0, [0.5, 0.6, 0.7]), Trial(1.0, [0.5, 0.8, 0.7])],
            "slow": [Trial(1.4, [0.4, 0.9, 0.99])],
            "slower": [Trial(3.1, [0.9, 0.9])],
        }
    )
    assert found["seconds"] == 3.0
    assert found["scores"] == {"quick": pytest.approx(0.75), "slow": 0.9, "slower": None}


def test_a_resolved_configuration_is_accepted_back(tmp_path):
    study = make_study(STUDIED["classes"] | FEW | {"seeds": 1})
    run_study(study, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values.pop("data_card")
    assert make_study(values) == study
    assert set(STUDIES) == {"encoders", "images", "text", "functions", "tabular"}
