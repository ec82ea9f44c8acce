import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import edgewise as ew
from edgewise.core import InputError, recipe_of, remembers, seeded
from edgewise.encoders import ENCODERS, make_encoder
from edgewise.export.bundle import read_notes
from edgewise.models import SequenceClassifier
from edgewise.models.sequence import BACKBONES

TIMES = (1.7e9 + torch.arange(24.0, dtype=torch.float64).view(4, 6) ** 2).contiguous()
LENGTHS = torch.tensor([6, 4, 1, 0])
DATA = Path(__file__).parent / "data"


def make(encoder="kmote", backbone="lstm", **options):
    with seeded(0, "bundle"):
        made = make_encoder(encoder, 8).fit_scale(TIMES)
        return SequenceClassifier(made, 3, hidden_dim=4, backbone=backbone, **options).eval()


@remembers
class Own(nn.Module):
    def __init__(self, width, basis="bspline"):
        super().__init__()
        self.layer = ew.layers.KANLinear(width, 1, basis)

    def forward(self, x):
        return self.layer(x)


class Forgetful(nn.Module):
    pass


HERE = Own.__module__


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "model.safetensors"


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_model_comes_back_bit_for_bit(path, encoder, backbone):
    model = make(encoder, backbone, num_layers=2)
    assert ew.save(model, path) == path
    again = ew.load(path).eval()
    assert type(again) is SequenceClassifier
    assert torch.equal(again(TIMES, LENGTHS), model(TIMES, LENGTHS))
    state = again.state_dict()
    assert list(state) == list(model.state_dict())
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert recipe_of(again) == recipe_of(model)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_alone_comes_back_too(path, encoder):
    model = make(encoder).encoder
    assert torch.equal(ew.load(ew.save(model, path))(TIMES), model(TIMES))


def test_a_model_that_was_named_its_encoder_comes_back(path):
    model = SequenceClassifier("lete", 3, hidden_dim=4, dim=8).eval()
    model.encoder.fit_scale(TIMES)
    assert torch.equal(ew.load(ew.save(model, path)).eval()(TIMES, LENGTHS), model(TIMES, LENGTHS))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_precision_comes_back(path, dtype):
    model = make("kmote", "gru").to(dtype)
    again = ew.load(ew.save(model, path)).eval()
    assert again.head.weight.dtype == dtype
    assert torch.equal(again(TIMES, LENGTHS), model(TIMES, LENGTHS))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_loaded_model_can_be_trained_on(path, encoder):
    model = ew.load(ew.save(make(encoder), path)).eval()
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())
    before = model(TIMES, LENGTHS).square().sum()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    before.backward()
    optimiser.step()
    assert model(TIMES, LENGTHS).square().sum() < before


def test_saving_changes_nothing_and_loading_leaves_no_trace_in_the_model(path):
    model = make()
    y = model(TIMES, LENGTHS)
    ew.save(model, path)
    assert torch.equal(model(TIMES, LENGTHS), y)
    ew.load(path)
    assert torch.equal(ew.load(path).eval()(TIMES, LENGTHS), y)


def test_what_is_shared_can_be_saved(path):
    basis = ew.bases.Gaussian(4, domain=(0.0, 1.0))
    model = ew.encoders.KMOTE(8, [basis, basis]).fit_scale(TIMES)
    assert torch.equal(ew.load(ew.save(model, path))(TIMES), model(TIMES))


def test_a_class_of_the_users_comes_back_where_it_is_trusted(path):
    model = Own(3, ew.bases.Fourier(2))
    x = torch.rand(5, 3)
    ew.save(model, path)
    with pytest.raises(InputError) as caught:
        ew.load(path)
    assert str(caught.value) == (
        f"the recipe asks for '{HERE}:Own', and importing runs that package's code; "
        f"if you trust it, pass trust=('{HERE}',)"
    )
    assert torch.equal(ew.load(path, trust=(HERE,))(x), model(x))


@pytest.mark.parametrize(
    "recipe",
    [
        {"class": "os:system", "arguments": {"command": "exit 1"}},
        {
            "class": "edgewise.models.sequence:SequenceClassifier",
            "arguments": {"encoder": "os:system", "dim": "exit 1"},
        },
        {
            "class": "edgewise.layers.linear:KANLinear",
            "arguments": {"in_features": 1, "out_features": 1, "basis": "os:cpu_count"},
        },
    ],
)
def test_a_file_can_not_make_us_run_anything(path, monkeypatch, recipe):
    def ran(*arguments):
        raise AssertionError("the file ran something")

    monkeypatch.setattr("os.system", ran)
    monkeypatch.setattr("os.cpu_count", ran)
    written(path, {"format": "edgewise-1", "recipe": recipe, "notes": {}})
    with pytest.raises(InputError, match="importing runs that package's code"):
        ew.load(path)


def test_notes_are_kept_beside_the_recipe(path):
    notes = {"accuracy": 0.9, "classes": ["a", "ü"], "seed": None}
    ew.save(make(), path, notes)
    assert read_notes(path) == notes
    ew.save(make(), path)
    assert read_notes(path) == {}


def test_a_refused_model_leaves_the_old_file(path):
    ew.save(make(), path)
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        ew.save(Forgetful(), path)
    assert str(caught.value) == (
        "Forgetful does not remember how it was made; decorate the class with "
        "edgewise.core.remembers"
    )
    with pytest.raises(InputError) as caught:
        ew.save(make(), path, notes={"model": object})
    assert str(caught.value) == (
        "notes must be what JSON can hold: Object of type type is not JSON serializable"
    )
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# Files that are not what they should be


def written(path, header, state=None):
    path.parent.mkdir(exist_ok=True)
    metadata = None if header is None else {"edgewise": header}
    if isinstance(header, dict):
        metadata = {"edgewise": json.dumps(header)}
    save_file({"x": torch.zeros(2)} if state is None else state, path, metadata)


@pytest.mark.parametrize("read", [ew.load, read_notes])
def test_a_missing_file_is_named(tmp_path, read):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value) == f"there is no file {path}"


@pytest.mark.parametrize("read", [ew.load, read_notes])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"more",
        lambda data: b"PK\x03\x04" + data,
        lambda data: struct.pack("<Q", 2**60) + data[8:],
        lambda data: data[:8] + b"x" + data[9:],
    ],
)
def test_a_damaged_file_is_named(path, read, damage):
    ew.save(make("raw"), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} is damaged or no safetensors file: ")


@pytest.mark.parametrize("read", [ew.load, read_notes])
@pytest.mark.parametrize("header", [None, "no json", "[]", "3", {}, {"format": "edgewise-1"}])
def test_a_file_of_another_program_is_named(path, read, header):
    written(path, header)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{path} was not written by edgewise.save: it has no recipe"


def test_a_file_of_a_later_version_is_named(path):
    written(path, {"format": "edgewise-2", "recipe": {}, "notes": {}})
    with pytest.raises(InputError) as caught:
        ew.load(path)
    assert str(caught.value) == (
        f"{path} has the format 'edgewise-2'; this version reads 'edgewise-1': update edgewise"
    )


def without_one(state):
    return dict(list(state.items())[1:])


def with_one_more(state):
    return {**state, "more": torch.zeros(1)}


def with_another_shape(state):
    return {name: value[..., :1].contiguous() for name, value in state.items()}


@pytest.mark.parametrize("change", [without_one, with_one_more, with_another_shape])
def test_weights_that_do_not_fit_are_refused(path, change):
    model = make("raw")
    header = {"format": "edgewise-1", "recipe": recipe_of(model), "notes": {}}
    written(path, header, change(dict(model.state_dict())))
    with pytest.raises(InputError) as caught:
        ew.load(path)
    assert str(caught.value) == f"{path} holds weights that do not fit its own recipe"


@pytest.mark.parametrize("recipe", [{}, [], "x", {"class": "edgewise.models"}])
def test_a_malformed_recipe_is_refused(path, recipe):
    written(path, {"format": "edgewise-1", "recipe": recipe, "notes": {}})
    with pytest.raises(InputError, match="the recipe must have a 'class' and its 'arguments'"):
        ew.load(path)


def test_a_flipped_bit_is_noticed(path):
    ew.save(ew.models.KAN([2, 3, 1]), path)
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError) as caught:
        ew.load(path)
    assert str(caught.value) == f"{path} is damaged: its weights are not those that were saved"


def test_a_digit_of_the_recipe_that_changed_is_noticed(path):
    ew.save(ew.models.KAN([2, 3, 1], ew.bases.BSpline(domain=(0.0, 4.0))), path, {"rmse": 0.5})
    whole = path.read_bytes()
    for old, new in ((b"4.0", b"5.0"), (b"0.5", b"0.4")):
        path.write_bytes(whole.replace(old, new, 1))
        for read in (ew.load, read_notes):
            with pytest.raises(InputError) as caught:
                read(path)
            assert str(caught.value) == (
                f"{path} is damaged: its recipe or notes are not those that were saved"
            )


def test_any_flipped_bit_is_noticed_or_changes_nothing(path):
    model, x = ew.models.KAN([1, 2]), torch.rand(3, 1)
    expected = model(x)
    ew.save(model, path, {"seed": 1})
    whole = path.read_bytes()
    draw = torch.Generator().manual_seed(0)
    for bit in torch.randperm(8 * len(whole), generator=draw)[:400].tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            again = ew.load(path)
        except InputError:
            continue
        assert torch.equal(again(x), expected), bit


@pytest.mark.parametrize("name", ["kan-0.1", "kan-edgewise-1"])
def test_files_of_earlier_versions_open(name):
    known = json.loads((DATA / "kan.json").read_text())
    model = ew.load(DATA / f"{name}.safetensors")
    assert type(model) is ew.models.KAN
    torch.testing.assert_close(model(torch.tensor(known["x"])), torch.tensor(known["y"]))
    assert read_notes(DATA / f"{name}.safetensors") == {"from": "tests"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("models.kan:KAN", {"widths": [10**6, 10**6]}),
        ("models.text:TextClassifier", {"vocabulary": 10**12}),
        ("models.series:SeriesClassifier", {"feature_dim": 2, "num_layers": 10**9}),
        ("layers.kaf:KAF", {"features": 1, "size": 10**5}),
        ("bases.wavelet:Wavelet", {"count": 10**11}),
        ("encoders.kmote:KMOTE", {"dim": 8, "rhythms": 10**10}),
    ],
)
def test_a_small_file_can_not_ask_for_a_large_model(path, name, arguments):
    recipe = {"class": f"edgewise.{name}", "arguments": arguments}
    written(path, {"format": "edgewise-1", "recipe": recipe, "notes": {}})
    with pytest.raises(InputError) as caught:
        ew.load(path)
    assert str(caught.value) == f"{path} asks for a model much larger than its weights"


def test_what_is_no_module_is_refused(path):
    with pytest.raises(InputError) as caught:
        ew.save(ew.KANRegressor(), path)
    assert str(caught.value) == (
        "a model is a torch.nn.Module, got KANRegressor: give the model_ of a fitted estimator, or "
        "use save_pipeline"
    )
    assert not path.parent.exists()
