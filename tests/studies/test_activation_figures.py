"""Figures of learned functions: what is drawn is what was collected; a study keeps and shows it."""

import copy

import numpy as np
import pytest
import torch
from small_study import small_study
from torch import nn

from edgewise.core import InputError, read_json
from edgewise.models import KAN, MLP, Hybrid
from edgewise.studies import make_study, run_study, write_report
from edgewise.studies.activation_figures import MAX_LAYERS, draw_functions, function_figure
from edgewise.studies.figure_style import png
from edgewise.studies.learned_functions import learned_functions
from edgewise.studies.records import read_study

STUDY = {
    "study": "functions",
    "models": ["mlp", "kan"],
    "dataset_options": {"points": 64},
    "parameters": 150,
    "num_layers": 1,
    "seeds": 2,
    "epochs": 2,
    "workers": 0,
}


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


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("functions")
    write_report(run_study(make_study(STUDY), root))
    return root


def test_a_study_keeps_and_shows_what_was_learned(study):
    trials = {(t.variant, t.seed): t for t in read_study(study).trials}
    assert trials["mlp", 0].functions() == ()
    functions = trials["kan", 1].functions()
    assert [f.name for f in functions] == ["layers.0", "layers.1"]
    assert all(f.before is not None for f in functions)
    assert (trials["kan", 1].folder / "functions.npz").stat().st_size < 50_000
    page = (study / "report.html").read_text(encoding="utf-8")
    assert '<a href="#functions">Learned functions</a>' in page
    assert page.count('<figure id="learned_functions_kan">') == 1
    assert "learned_functions_mlp" not in page
    assert (study / "learned_functions_kan.png").stat().st_size > 10_000
    told = (study / "analysis_report.md").read_text(encoding="utf-8")
    assert "![learned functions kan](learned_functions_kan.png)" in told


def test_the_kept_functions_are_those_of_the_chosen_epoch_and_of_the_first_weights(study):
    import edgewise as ew
    from edgewise.studies.trial import build_model, make_trial

    made = make_study(STUDY)
    trial = next(t for t in read_study(study).trials if (t.variant, t.seed) == ("kan", 1))
    model = ew.load(trial.folder / "best.safetensors")
    before = build_model(make_trial(made, made.variants()[1], 1), made.load())
    kept = trial.functions()[0]
    at = torch.zeros(100, 2)
    into, out = (int(word) for word in kept.labels[0].split(" → "))
    at[:, into] = torch.from_numpy(kept.x[0])
    for values, net in ((kept.after, model), (kept.before, before)):
        with torch.no_grad():
            wanted = net.layers[0].curves(at)[:, out, into]
        assert values[0] == pytest.approx(wanted.numpy(), abs=1e-5)


def test_a_study_again_keeps_the_same_bytes(study, tmp_path):
    run_study(make_study(STUDY | {"seeds": 1}), tmp_path)
    name = "trials/kan/seed-0/functions.npz"
    assert (tmp_path / name).read_bytes() == (study / name).read_bytes()


def test_encoders_are_shown_as_functions_of_time_instead(tmp_path):
    run_study(small_study(encoders=("kmote",), seeds=1, epochs=1), tmp_path)
    assert (tmp_path / "trials/kmote/seed-0/curves.npz").exists()
    assert not (tmp_path / "trials/kmote/seed-0/functions.npz").exists()


@pytest.mark.parametrize("fault", ["missing", "torn", "short"])
def test_damaged_functions_are_named(study, tmp_path, fault):
    import shutil

    shutil.copytree(study, tmp_path / "copy")
    path = tmp_path / "copy/trials/kan/seed-0/functions.npz"
    if fault == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        with np.load(path) as file:
            kept = {name: file[name] for name in file.files if name != "0:after"}
            if fault == "short":
                kept |= {"0:after": file["0:after"], "about": file["about"][:1]}
        np.savez(path, **kept)
    trial = next(
        t for t in read_study(tmp_path / "copy").trials if (t.variant, t.seed) == ("kan", 0)
    )
    with pytest.raises(InputError) as error:
        trial.functions()
    assert str(error.value).startswith(f"{path} is damaged (")
    assert ("it has no '0:after'" in str(error.value)) == (fault == "missing")
    assert ("its arrays disagree: index 1 is out of bounds" in str(error.value)) == (
        fault == "short"
    )


def test_texts_are_looked_at_without_their_padding(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    (tmp_path / "two_lengths.py").write_text(
        "import torch\n"
        "from edgewise.data import TextDataset, Texts\n"
        "def few(data_dir=None, split_seed=0):\n"
        "    def texts(n):\n"
        "        rows = [('good film ' * (1 + 9 * (i % 2))).strip() for i in range(n)]\n"
        "        return Texts(tuple(rows), torch.arange(n) % 2, ('bad', 'good'))\n"
        "    return TextDataset(texts(40), texts(10), texts(12), name='few', card={})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    values = {"study": "text", "models": ["kan-rnn"], "dataset": "two_lengths:few"}
    values |= {"seeds": 1, "epochs": 1, "workers": 0, "hidden_dim": 2, "dropout": 0.0}
    root = run_study(make_study(values | {"batch_size": 40}), tmp_path / "study")
    assert not list(root.rglob("failure.json")), read_json(next(root.rglob("failure.json")))
    (trial,) = read_study(root).trials
    inputs = next(f for f in trial.functions() if ".U." in f.name)
    # 20 texts of 2 words, 20 of 20; padded there would be 800.
    assert int(inputs.density[0].sum()) == 440
