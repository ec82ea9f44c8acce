import json

import pytest
import torch
import torch.nn.functional as F

import edgewise as ew
from edgewise.core import InputError
from edgewise.curvature import Functional
from edgewise.jobs.landscape import run as landscape_run
from edgewise.jobs.landscape.data import load_examples
from edgewise.jobs.landscape.job import LandscapeJob
from edgewise.jobs.landscape.run import run_landscape

SMALL = {"samples": 40, "alphas": "0:1:3", "top": 3, "probes": 2, "steps": 5, "products": 12}
MODULE = """
import torch
from edgewise.data import load_dataset, load_images

def pairs(split_seed):
    x = torch.linspace(-1, 1, 30).view(10, 3)
    return {"train": (x, x[:, :1]), "test": [(x[:4], x[:4, 1:2]), (x[4:], x[4:, 1:2])]}

def images(data_dir):
    return load_images("digits", data_dir)

def nothing():
    return 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_landscape_data.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "my_landscape_data"


@pytest.fixture
def kan(tmp_path):
    torch.manual_seed(0)
    return ew.save(ew.models.KAN([3, 2, 1]), tmp_path / "kan.safetensors")


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing takes most of the time, and other tests look at it."""
    monkeypatch.setattr(landscape_run, "write_landscape_report", lambda out, *found: out)


@pytest.mark.usefixtures("no_figures")
def test_numbers_are_those_of_the_dense_hessian(kan, module, tmp_path):
    job = LandscapeJob(dataset=f"{module}:pairs", dtype="float64", by_layer=True, **SMALL)
    run_landscape(kan, tmp_path / "out", job)
    found = json.loads((tmp_path / "out" / "landscape.json").read_text())
    model = ew.load(kan)
    data = load_examples(kan, model, {}, job).train
    H = Functional(model, F.mse_loss, data, dtype=torch.float64).hessian().dense()
    values = torch.linalg.eigvalsh(H)
    eigenvalues = found["eigenvalues"]
    assert eigenvalues["largest"] == pytest.approx(values[-3:].flip(0).tolist(), rel=1e-8)
    assert eigenvalues["smallest"] == pytest.approx(float(values[0]), abs=1e-9)
    assert found["trace"]["value"] == pytest.approx(float(values.sum()))
    assert found["density"]["moments"]["2"]["value"] == pytest.approx(float(values.square().mean()))
    assert [row["name"] for row in found["layers"]] == ["layers.0", "layers.1", "all"]
    assert found["path"]["losses"]["train"][-1] == pytest.approx(found["loss"])
    assert found["gauge_directions"] > 0


def test_what_was_interrupted_goes_on_and_parts_can_be_added(kan, module, tmp_path, monkeypatch):
    job = LandscapeJob(dataset=f"{module}:pairs", **SMALL)
    out = tmp_path / "out"
    told = []

    def stop(part, done, total):
        told.append(part)
        if part == "path" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_landscape(kan, out, job, tell=stop)
    assert not (out / "report.html").exists()
    assert set(told) == {"eigenvalues", "trace", "density", "path"}
    told.clear()
    tell = lambda part, done, total: told.append((part, done))  # noqa: E731
    run_landscape(kan, out, job, tell=tell)
    assert told == [("path", i) for i in (1, 2, 3)]
    first = (out / "landscape.json").read_bytes()
    more = LandscapeJob(dataset=f"{module}:pairs", slice=True, slice_points=3, **SMALL)
    report = run_landscape(kan, out, more)
    assert (out / "slice.png").exists()
    assert "On a plane" in report.read_text()
    monkeypatch.setattr(landscape_run, "write_landscape_report", lambda out, *found: out)
    run_landscape(kan, tmp_path / "again", job)
    assert (tmp_path / "again" / "landscape.json").read_bytes() == first


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"top": 4}, "there top is 3, here it is 4"),
        ({"seed": 1}, "there seed is 0, here it is 1"),
        ({"loss": "huber"}, "there loss is 'mse', here it is 'huber'"),
    ],
)
def test_a_folder_keeps_one_landscape(changed, message, kan, module, tmp_path):
    out, dataset = tmp_path / "out", f"{module}:pairs"
    run_landscape(kan, out, LandscapeJob(dataset=dataset, **SMALL))
    with pytest.raises(InputError) as raised:
        run_landscape(kan, out, LandscapeJob(dataset=dataset, **(SMALL | changed)))
    assert str(raised.value) == (
        f"{out} holds another landscape: {message}; choose another folder for --out"
    )


def test_an_image_network_says_itself_what_it_was_trained_on(tmp_path):
    torch.manual_seed(0)
    standard = [0.3, 0.4]
    notes = {"image job": {"dataset": "digits", "standard": standard}}
    path = ew.save(ew.models.MLP([64, 4, 10]), tmp_path / "m.safetensors", notes)
    model = ew.load(path)
    examples = load_examples(path, model, notes, LandscapeJob(samples=50))
    x, y = examples.train[0]
    assert (x.shape, y.dtype, examples.classes) == ((50, 64), torch.int64, 10)
    assert float(x.min()) == pytest.approx(-0.3 / 0.4)
    assert examples.size("test") == 50


def test_a_sequence_model_is_asked_about_the_data_of_its_study(tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "trials" / "lete" / "seed-0"
    folder.mkdir(parents=True)
    study = {"dataset": "digits", "dataset_options": {"threshold": 0.5}, "split_seed": 0}
    (folder / "trial.json").write_text(json.dumps({"study": study}))
    model = ew.models.SequenceClassifier("lete", num_classes=10, hidden_dim=2, dim=4)
    path = ew.save(model, folder / "best.safetensors")
    examples = load_examples(path, ew.load(path), {}, LandscapeJob(samples=12))
    assert (examples.name, examples.size("train"), examples.size("test")) == ("digits", 12, 12)
    # Curvature of such a model, padding and all.
    H = Functional(model.eval(), F.cross_entropy, examples.train).hessian()
    assert bool((H @ torch.ones(H.size)).isfinite().all())
    other = load_examples(
        path, model, {}, LandscapeJob(samples=12, dataset_options="threshold=0.9")
    )
    assert other.train[0][0][1].sum() < examples.train[0][0][1].sum()  # fewer events


def test_data_sets_of_ones_own(kan, module, tmp_path):
    model = ew.load(kan)
    with pytest.raises(InputError) as raised:
        load_examples(kan, model, {}, LandscapeJob(dataset=f"{module}:nothing"))
    assert str(raised.value) == (
        f"{module}:nothing must return an ImageDataset, an EventDataset, or a dictionary with "
        f"(x, y) batches as 'train' and as 'test', got int"
    )
    flat = ew.save(ew.models.MLP([64, 10]), tmp_path / "flat.safetensors")
    job = LandscapeJob(dataset=f"{module}:images", samples=7)
    assert load_examples(flat, ew.load(flat), {}, job).size("train") == 7
    with pytest.raises(InputError) as raised:
        load_examples(flat, ew.load(flat), {}, LandscapeJob(dataset=f"{module}:pairs"))
    assert str(raised.value).startswith(
        f"the model in {flat} does not take the examples of '{module}:pairs': "
    )


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("name", ["cross_entropy", "mse", "huber"])
def test_every_loss_works_with_classes(name, tmp_path):
    torch.manual_seed(0)
    path = ew.save(ew.models.KAN([64, 10], "chebyshev"), tmp_path / "m.safetensors")
    small = SMALL | {"samples": 20, "top": 1}
    run_landscape(path, tmp_path / name, LandscapeJob(dataset="digits", loss=name, **small))
    found = json.loads((tmp_path / name / "landscape.json").read_text())
    # One layer is linear in its weights, so each of these losses is convex in them.
    assert found["eigenvalues"]["smallest"] > -1e-4 * found["eigenvalues"]["largest"][0]
    assert found["path"]["verdict"].startswith("no violation of convexity")
