import json

import pytest
import torch
from torch.nn.functional import cross_entropy

import edgewise as ew
from edgewise.core import InputError
from edgewise.data import load_images
from edgewise.jobs.images import backends
from edgewise.jobs.images.backends import BACKENDS, train_with
from edgewise.jobs.images.evaluation import evaluate_images
from edgewise.jobs.images.job import ImageJob, make_image_job
from edgewise.jobs.images.recipes import KINDS, RECIPES, basis_of, hidden_within, make_network
from edgewise.jobs.images.run import make_batches, make_model, train_images
from edgewise.losses.sparsity import sparsity
from edgewise.models import count_parameters
from edgewise.train import Settings

SMALL = {"dataset": "digits", "limit": 200, "num_epochs": 2, "hidden_dim": 8, "cpu": True}


def small(tmp_path, **changes):
    return ImageJob(**SMALL | {"save_path": str(tmp_path / "m.safetensors")} | changes)


def weights(result):
    return result.model.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    "which",
    [
        {},
        {"use_kan_convolution": True},
        {"use_kan_convolution": True, "form": "expanded"},
        {"model": "mlp"},
        {"model": "cnn"},
    ],
    ids=["kan", "bottleneck", "expanded", "mlp", "cnn"],
)
def test_every_network_learns_the_digits(which, tmp_path):
    path = tmp_path / "m.safetensors"
    convolutional = "use_kan_convolution" in which or which.get("model") == "cnn"
    size = {"num_epochs": 8 if convolutional else 15}
    job = ImageJob(dataset="digits", cpu=True, save_path=str(path), **size, **which)
    said = []
    result = train_images(job, said.append)
    assert result.run.best["validation_accuracy"] >= 0.95
    assert result.test.accuracy >= 0.95
    assert said[-1] == (
        f"kept epoch {result.run.best_epoch}; test: loss {result.test.loss:.4f}, "
        f"accuracy {100 * result.test.accuracy:.2f} % of 360 images"
    )
    again = evaluate_images(path, "digits")
    assert (again.loss, again.accuracy) == (result.test.loss, result.test.accuracy)


def test_what_is_left_behind(tmp_path):
    result = train_images(small(tmp_path))
    names = {"m.safetensors", "m_history.json", "m_learning_curves.png", "m_confusion.png"}
    assert {p.name for p in tmp_path.iterdir()} == names == {p.name for p in result.files}
    kept = json.loads((tmp_path / "m_history.json").read_text())
    assert kept["history"] == result.run.history
    assert kept["parameters"] == count_parameters(result.model)
    assert kept["test"]["accuracy"] == result.test.accuracy
    assert kept["job"]["learning_rate"] == RECIPES["kan", "digits"].learning_rate
    assert make_image_job(kept["job"]) == small(tmp_path).resolved()
    notes = ew.export.bundle.read_notes(tmp_path / "m.safetensors")["image job"]
    assert tuple(notes["standard"]) == load_images("digits", limit=200).train.standard()


@pytest.mark.parametrize("changes", [{"shift": 1, "dropout": 0.3}, {"model": "cnn"}])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, changes):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = train_images(small(tmp_path / "a", num_epochs=3, **changes))

    def kill(step):
        if step.epoch == 3:
            raise KeyboardInterrupt

    job = small(tmp_path / "b", num_epochs=3, **changes)
    with pytest.raises(KeyboardInterrupt):
        train_images(job, on_batch=[kill])
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["m_run"]
    epochs = []
    resumed = train_images(job, on_batch=[lambda step: epochs.append(step.epoch)])
    assert set(epochs) == {3}
    assert same(weights(whole), weights(resumed))
    assert whole.run.history == resumed.run.history
    assert not (tmp_path / "b" / "m_run").exists()


def test_another_job_does_not_go_on_with_the_run(tmp_path):
    def kill(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_images(small(tmp_path), on_batch=[kill])
    with pytest.raises(InputError) as caught:
        train_images(small(tmp_path, dropout=0.5))
    assert str(caught.value) == (
        f"{tmp_path / 'm_run'} holds an unfinished run with dropout = 0.0, here it is 0.5: "
        f"run that one to its end, or delete the folder"
    )
    # How often it reports is free.
    train_images(small(tmp_path, eval_report_count=1))


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    mine = tmp_path / "m_run" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(InputError) as caught:
        train_images(small(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path / 'm_run'} holds something else: move it away, or choose another path"
    )
    assert mine.read_text() == "mine"


def test_a_refusal_by_the_backend_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_, **options):
        raise InputError("not with me")

    monkeypatch.setitem(BACKENDS._entries, "mine", refuse)
    with pytest.raises(InputError, match="not with me"):
        train_images(small(tmp_path, backend="mine"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("count", "reports"), [(0, 0), (1, 1), (2, 2), (3, 3), (10, 3)])
def test_so_many_lines_of_progress(count, reports, tmp_path):
    said = []
    train_images(small(tmp_path, num_epochs=3, eval_report_count=count), said.append)
    lines = [line for line in said if line.startswith("epoch ")]
    assert len(lines) == reports
    assert not lines or lines[-1].startswith("epoch 3/3: training loss ")


def test_the_seed_decides_and_nothing_else(tmp_path):
    torch.manual_seed(1)
    one = train_images(small(tmp_path))
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    two = train_images(small(tmp_path))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(train_images(small(tmp_path, seed=1))))


def test_sparsity_makes_edges_smaller_and_fewer(tmp_path):
    x = load_images("digits").validation.pixels.flatten(1).float() / 16
    plain = train_images(small(tmp_path))
    sparse = train_images(small(tmp_path, sparsity=0.1))
    assert sparse.run.history[0]["penalty"] > 0
    assert plain.run.history[0]["penalty"] == 0
    assert sparsity(sparse.model, x) < sparsity(plain.model, x)


@pytest.mark.skipif(
    not hasattr(ew.layers.KANLinear, "update_grid"), reason="KANLinear has no update_grid yet"
)
def test_knots_follow_the_data_and_a_killed_run_still_goes_on(tmp_path):
    changes = {"num_epochs": 3, "grid_update_epochs": 2}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = train_images(small(tmp_path / "a", **changes))

    def kill(step):
        if step.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_images(small(tmp_path / "b", **changes), on_batch=[kill])
    resumed = train_images(small(tmp_path / "b", **changes))
    assert same(weights(whole), weights(resumed))
    assert not same(weights(whole), weights(train_images(small(tmp_path / "b", num_epochs=3))))
    evaluate_images(tmp_path / "a" / "m.safetensors", "digits")


def test_augmentation_is_on_training_images_only():
    data = load_images("digits", limit=64)
    job = ImageJob(dataset="digits", shift=1, mirror=True).resolved()
    train, validation, test = make_batches(job, data, flat=False)
    assert (train.shift, train.flip) == (1, True)
    assert (validation.shift, validation.flip, test.shift, test.flip) == (0, False, 0, False)
    assert train.standard == validation.standard == test.standard == data.train.standard()


def test_the_example_of_the_contract_is_784_64_10(tmp_path):
    model = make_network("kan", (1, 28, 28), 10, num_layers=2, hidden_dim=64)
    assert model.widths == [784, 64, 10]
    assert count_parameters(model) <= 460_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "digits"])
def test_every_recipe_makes_its_network_within_its_size(kind, dataset):
    recipe = RECIPES[kind, dataset]
    options = {"num_layers": recipe.num_layers, "hidden_dim": recipe.hidden_dim}
    extra = {"form": recipe.form, "grid_size": recipe.grid_size} if "kan" in kind else {}
    model = make_network(kind, (1, 28, 28), 10, **options, **extra)
    most = 460_000 if kind in ("kan", "mlp") else 100_000
    assert count_parameters(model) <= most


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_network_within_a_size(kind):
    shape, options = (1, 8, 8), {"num_layers": 3}
    hidden = hidden_within(5000, kind, shape, 10, **options)
    sizes = [
        count_parameters(make_network(kind, shape, 10, hidden_dim=h, **options))
        for h in (hidden, hidden + 1)
    ]
    assert sizes[0] <= 5000 < sizes[1]


def test_parameters_choose_the_width(tmp_path):
    job = ImageJob(**SMALL | {"hidden_dim": None}, model="mlp", parameters=5000).resolved()
    model = make_model(job, load_images("digits"))
    assert model.widths == [64, 66, 10]


def test_layers_may_be_normalised():
    made = [
        make_model(ImageJob(**SMALL, normalize=n).resolved(), load_images("digits"))
        for n in (True, False, None)
    ]
    assert [[layer.norm is not None for layer in model.layers] for model in made] == [
        [True, True],
        [False, False],
        [False, False],
    ]
    assert ImageJob(dataset="mnist").resolved().normalize is True
    assert ImageJob(dataset="mnist", model="mlp").resolved().normalize is None


@pytest.mark.parametrize(("batch_size", "limit"), [(33, 100), (1, 100)])
def test_one_image_can_not_be_normalised(tmp_path, batch_size, limit):
    job = small(tmp_path, batch_size=batch_size, limit=limit, normalize=True)
    with pytest.raises(InputError, match=f"^the last of {limit} training images would be a batch"):
        train_images(job)
    assert not list(tmp_path.iterdir())
    train_images(small(tmp_path, batch_size=33, limit=100, num_epochs=1))


@pytest.mark.parametrize(
    ("name", "size"),
    [("bspline", 7), ("gaussian", 4), ("wavelet", 4), ("chebyshev", 4), ("rational", 5)],
)
def test_the_grid_size_of_a_basis(name, size):
    assert basis_of(name, 4).size == size


def test_smoothing_is_for_training_only():
    loss = backends.SmoothedCrossEntropy(0.2)
    logits, target = torch.randn(5, 3, requires_grad=True), torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(loss(logits, target), cross_entropy(logits, target, label_smoothing=0.2))
    with torch.no_grad():
        assert torch.equal(loss(logits, target), cross_entropy(logits, target))


def test_the_backends_stand_in_one_table():
    assert "torch" in BACKENDS
    with pytest.raises(InputError, match=r"^unknown backend 'torhc': did you mean 'torch'\?"):
        train_with("torhc", None, None, None, Settings(), seed=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "kam"}, "unknown model 'kam': did you mean 'kan'? (known: kan, mlp, cnn)"),
        ({"form": "x"}, "unknown form 'x': known: expanded, bottleneck"),
        ({"basis": "bsplin"}, "unknown basis 'bsplin': did you mean 'bspline'? (known: "),
        ({"dataset": "mnis"}, "unknown image data set 'mnis': did you mean 'mnist'? (known: "),
        (
            {"backend": "troch"},
            "unknown backend 'troch': did you mean 'torch'? (known: mlx, torch)",
        ),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"eval_report_count": -1}, "eval_report_count must be at least 0, got -1"),
        ({"dropout": 1.0}, "dropout must lie in [0, 1), got 1.0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: give a number above 0"),
        (
            {"model": "mlp", "use_kan_convolution": True},
            "use_kan_convolution goes with model=kan only: leave it out",
        ),
        ({"form": "expanded"}, "form goes with use_kan_convolution only: leave it out"),
        (
            {"model": "mlp", "normalize": True},
            "normalize goes with a dense KAN only: leave it out",
        ),
        (
            {"use_kan_convolution": True, "grid_update_epochs": 1},
            "grid_update_epochs goes with a dense KAN only: leave it out",
        ),
        (
            {"backend": "mlx", "grid_update_epochs": 1},
            "grid_update_epochs goes with backend=torch only: leave it out",
        ),
        ({"model": "cnn", "sparsity": 0.1}, "sparsity goes with model=kan only: leave it out"),
        (
            {"parameters": 9, "hidden_dim": 3},
            "parameters goes with hidden_dim left out only: leave it out",
        ),
        ({"hidden": 3}, "here has an unknown key 'hidden': did you mean 'hidden_dim'? (known: "),
        ({"num_epochs": "3"}, "here: num_epochs must be a whole number, got '3'"),
        ({"num_epochs": True}, "here: num_epochs must be a whole number, got True"),
        ({"dropout": "x"}, "here: dropout must be a number, got 'x'"),
        ({"cpu": 1}, "here: cpu must be true or false, got 1"),
    ],
)
def test_what_makes_no_job(values, message):
    with pytest.raises(InputError) as caught:
        make_image_job(values, "here")
    assert str(caught.value).startswith(message)


def test_a_convolutional_network_needs_a_stage():
    with pytest.raises(InputError, match="needs num_layers of at least 2, got 1: stages and the l"):
        make_network("cnn", (1, 8, 8), 10, num_layers=1, hidden_dim=8)
