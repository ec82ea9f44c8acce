import pytest
import torch
from torch import nn

import edgewise as ew
from edgewise.bases import Gaussian
from edgewise.core import InputError
from edgewise.layers.conv import KANConv2d
from edgewise.models.vision import CNN, ConvKAN

MAKERS = [
    pytest.param(lambda **o: ConvKAN(form="expanded", **o), id="expanded"),
    pytest.param(lambda **o: ConvKAN(form="bottleneck", **o), id="bottleneck"),
    pytest.param(CNN, id="cnn"),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9), (2, 1, 1)])
def test_shapes_gradients_and_independence_of_the_batch(make, shape):
    model = make(image_shape=shape, num_classes=7, channels=(4, 5, 6))
    x = torch.randn(3, *shape)
    model(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    assert model(x).shape == (3, 7)
    assert torch.allclose(model(x)[:1], model(x[:1]), atol=1e-5)


@pytest.mark.parametrize("make", MAKERS)
def test_it_is_saved_and_loaded(make, tmp_path):
    model = make(image_shape=(1, 8, 8), channels=(4, 6), dropout=0.2)
    model.train()(torch.randn(9, 1, 8, 8))
    model.eval()
    again = ew.load(ew.save(model, tmp_path / "m.safetensors")).eval()
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(model(x), again(x))


def test_pooling_stops_where_pixels_run_out():
    model = CNN((1, 8, 8), channels=(2, 2, 2, 2, 2))
    assert sum(isinstance(m, nn.MaxPool2d) for m in model.stages) == 2
    model = CNN((1, 28, 28), channels=(2, 2))
    assert sum(isinstance(m, nn.MaxPool2d) for m in model.stages) == 1


def test_how_channels_lie_in_training_changes_no_value():
    model = CNN((1, 8, 8), channels=(3, 5, 4)).double()
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    found = []
    for call in (model, lambda x: model.head(model.stages(x).mean((-2, -1)))):
        model.zero_grad()
        x.grad = None
        y = call(x)
        y.square().sum().backward()
        found.append([y.detach(), x.grad, *(p.grad.clone() for p in model.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert all(p.is_contiguous() for p in model.parameters())


def test_each_layer_has_a_copy_of_the_basis():
    basis = Gaussian(5)
    model = ConvKAN((1, 8, 8), channels=(3, 4), form="expanded", basis=basis)
    convs = [m for m in model.stages if isinstance(m, KANConv2d)]
    bases = [basis, *(m.basis for m in convs), model.head.basis]
    assert len({id(b) for b in bases}) == 4
    assert {b.size for b in bases} == {5}


def test_the_expanded_form_is_convolution_and_norm_then_a_head():
    model = ConvKAN((1, 4, 4), channels=(3,), form="expanded").eval()
    x = torch.randn(2, 1, 4, 4)
    conv, norm = model.stages
    pixels = norm(conv(x)).flatten(2).mT
    each = torch.stack([model.head(pixels[:, p]) for p in range(16)])
    assert torch.allclose(model(x), each.mean(0), atol=1e-6)


def test_where_things_stand_matters_to_a_single_stage():
    model = ConvKAN((1, 6, 6), channels=(3,), form="expanded").eval()
    x = torch.zeros(1, 1, 6, 6)
    near, far = x.clone(), x.clone()
    near[..., 2, 2:4] = far[..., 2, [1, 4]] = 1
    assert (model(near) - model(far)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (
            ConvKAN,
            {"form": "expandet"},
            "unknown form 'expandet': did you mean 'expanded'? (known: expanded, bottleneck)",
        ),
        (CNN, {"channels": ()}, "channels must be one number for each stage, got ()"),
        (CNN, {"channels": 3}, "channels must be one number for each stage, got 3"),
        (CNN, {"channels": (4, 0)}, "channels[1] must be a whole number of at least 1, got 0"),
        (
            CNN,
            {"image_shape": (28, 28)},
            "image_shape must be (channels, height, width), got (28, 28)",
        ),
        (
            CNN,
            {"image_shape": (1, 28, 0)},
            "image_shape[2] must be a whole number of at least 1, got 0",
        ),
        (ConvKAN, {"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
        (CNN, {"dropout": 1}, "dropout must lie in [0, 1), got 1"),
    ],
)
def test_what_makes_no_network(kind, arguments, message):
    with pytest.raises(InputError) as caught:
        kind(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", [CNN, ConvKAN])
def test_images_of_another_shape(kind):
    with pytest.raises(InputError) as caught:
        kind((1, 8, 8), channels=(2,))(torch.zeros(2, 1, 9, 8))
    assert str(caught.value) == (
        f"{kind.__name__} takes images of shape (n, 1, 8, 8), got x of shape (2, 1, 9, 8)"
    )
