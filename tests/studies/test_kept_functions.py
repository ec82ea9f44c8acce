"""A study keeps its models' learned functions and shows them."""

import numpy as np
import pytest
import torch
from small_study import small_study

from edgewise.core import InputError, read_json
from edgewise.studies import make_study, run_study, write_report
from edgewise.studies.records.records import read_study

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
    from edgewise.studies.running.trial import make_trial
    from edgewise.studies.running.trial_model import build_model

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
        # As one of an older version, which sealed no arrays.
        path.with_name("seal.json").unlink()
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
