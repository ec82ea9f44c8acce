import torch
from format_cases import streams

from edgewise.export.traceable import traceable
from edgewise.layers import MixtureOfExperts


def test_the_model_stays_as_it_is():
    model = streams("kan-mammote", "mamba").train()
    before = {name: type(module) for name, module in model.named_modules()}
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    twin = traceable(model)
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert not twin.training
    assert not any(p.requires_grad for p in twin.parameters())
    assert all(torch.equal(model.state_dict()[k], v) for k, v in state.items())


def test_a_form_is_still_what_it_was():
    model = traceable(streams("kmote", "lstm"))
    mixture = model.encoder.mixture
    assert isinstance(mixture, MixtureOfExperts)
    assert type(mixture).__name__ == "MixtureOfExperts"
    assert list(model.state_dict()) == list(streams("kmote", "lstm").state_dict())
