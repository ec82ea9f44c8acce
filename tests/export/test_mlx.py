"""Models that go to MLX and come back."""

import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import edgewise as ew
from edgewise import models
from edgewise.core import InputError, MissingExtraError
from edgewise.export.mlx import from_mlx, mlx, to_mlx
from edgewise.models import vision

CASES = {
    "dense": (lambda: models.KAN([9, 6, 4]), (20, 9)),
    "dense, learned basis": (
        lambda: models.KAN([4, 3], ew.bases.Fourier(3, learnable=True)),
        (20, 4),
    ),
    "dense, knots that follow data": (
        lambda: models.KAN([4, 3], ew.bases.BSpline().adapted(torch.randn(50, 4))),
        (20, 4),
    ),
    "convolutional": (lambda: vision.ConvKAN((1, 8, 8), 3, channels=(4, 6)), (6, 1, 8, 8)),
    "plain": (lambda: vision.CNN((1, 8, 8), 3, channels=(4, 6)), (6, 1, 8, 8)),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    make, shape = request.param
    model = make()
    # Away from what a new model has, so that a file that is not read would show.
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "basis" not in name and tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return model.eval(), torch.randn(shape)


def test_a_model_comes_back_from_its_file(case, tmp_path):
    model, x = case
    again = from_mlx(mlx(model, tmp_path / "deep" / "model_mlx.safetensors")).eval()
    assert type(again) is type(model)
    torch.testing.assert_close(again(x), model(x), rtol=1e-6, atol=1e-6)


def test_the_twin_says_the_same_and_reads_the_file(case, tmp_path):
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed: pip install 'edgewise[mlx]'")
    model, x = case
    path = mlx(model, tmp_path / "model_mlx.safetensors")
    array = mx.array(x.numpy())
    twin = to_mlx(model)
    said = torch.tensor(twin(array).tolist())
    torch.testing.assert_close(said, model(x), rtol=1e-4, atol=1e-4)
    other = to_mlx(from_mlx(path))
    other.load_weights(str(path))
    assert mx.allclose(other(array), twin(array), atol=1e-6)


def test_weights_trained_in_mlx_come_back(case, tmp_path):
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed: pip install 'edgewise[mlx]'")
    from mlx.utils import tree_map

    model, x = case
    twin = to_mlx(model)
    twin.update(tree_map(lambda w: 0.9 * w + 0.01, twin.trainable_parameters()))
    path = tmp_path / "trained.safetensors"
    twin.save_weights(str(path))
    back = from_mlx(path, like=model)
    said = torch.tensor(twin(mx.array(x.numpy())).tolist())
    torch.testing.assert_close(back.eval()(x), said, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(model(x), said, atol=1e-3)
    with pytest.raises(InputError) as caught:
        from_mlx(path)
    assert str(caught.value) == (
        f"{path} was not written by edgewise.export.mlx: give a model of the same make, "
        f"from_mlx(path, like=model)"
    )


def test_the_file_is_float32_with_mlx_axes_and_a_recipe(tmp_path):
    path = mlx(ew.layers.KANLinear(3, 2, "gaussian").double(), tmp_path / "m.safetensors")
    arrays = load_file(path)
    assert {name: tuple(a.shape) for name, a in arrays.items()} == {
        "coefficients": (3, 8, 2),
        "base_weight": (3, 2),
        "basis.mu": (8,),
        "basis.sigma": (8,),
    }
    assert {a.dtype for a in arrays.values()} == {torch.float32}
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        metadata = json.loads(file.read(size))["__metadata__"]
    assert json.loads(metadata["edgewise"])["recipe"]["class"] == "edgewise.layers.linear:KANLinear"


def test_bad_files_are_refused(tmp_path):
    model = ew.layers.KANLinear(3, 2)
    absent, torn, foreign = (tmp_path / name for name in ("absent", "torn", "foreign"))
    whole = mlx(model, tmp_path / "whole").read_bytes()
    torn.write_bytes(whole[:-5])
    save_file({"a": torch.zeros(2)}, foreign)
    for path, message in (
        (absent, f"there is no file {absent}"),
        (foreign, f"{foreign} was not written by edgewise.export.mlx: give a model of the same "),
        (torn, f"{torn} is damaged or no safetensors file: "),
        (ew.save(model, tmp_path / "torch"), f"{tmp_path / 'torch'} was not written by edgewise."),
    ):
        with pytest.raises(InputError) as caught:
            from_mlx(path)
        assert str(caught.value).startswith(message)


def test_a_file_of_another_model_is_refused(tmp_path):
    path = mlx(ew.layers.KANLinear(3, 2), tmp_path / "m")
    for like, message in (
        (
            ew.layers.KANLinear(3, 4),
            "size mismatch for base_weight: copying a param with shape torch.Size([3, 2]) from "
            "checkpoint, the shape in current model is torch.Size([3, 4])",
        ),
        (ew.layers.KANLinear(3, 2, bias=True), "the file lacks 'bias'"),
        (ew.layers.KANLinear(3, 2, base=None), "the model lacks 'base_weight'"),
    ):
        with pytest.raises(InputError) as caught:
            from_mlx(path, like=like)
        assert str(caught.value) == f"{path} does not fit the model: {message}"


def test_a_model_that_does_not_remember_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^Linear does not remember how it was made"):
        mlx(nn.Linear(2, 2), tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_without_mlx_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mlx.core", None)
    with pytest.raises(MissingExtraError) as caught:
        to_mlx(ew.layers.KANLinear(2, 2))
    assert str(caught.value) == "this needs the package 'mlx': pip install 'edgewise[mlx]'"
