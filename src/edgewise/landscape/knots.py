"""States brought to one knot vector, so that a path between them is smooth."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.curvature import Functional
from edgewise.layers import KANLinear

State = Tensor | Mapping[str, Tensor] | nn.Module


def flat_state(functional: Functional, state: State) -> tuple[Tensor, float]:
    """A state as a flat vector at the knots of the functional's model, and the error of moving it.

    A flat vector is taken as it is. Of a state dict or a model, the parameters are taken; where a
    KAN layer's basis differs from the model's (its knots moved), the layer's curves are fitted
    anew in the model's basis, in least squares at the inputs that the layer has on the data.

    Returns:
        θ (n,), and the largest relative residual of these fits, 0.0 where there was none.

    Raises:
        InputError: If the state does not fit the model.

    """
    if isinstance(state, Tensor):
        functional.flat.check(state)
        return state.detach().to(functional.device, functional.dtype), 0.0
    own, tensors = functional.model, _tensors(state)
    source = _source(own, state, tensors)
    moved = dict(tensors)
    worst = 0.0
    for name, layer in own.named_modules():
        if isinstance(layer, KANLinear) and not _same_basis(layer, source.get_submodule(name)):
            coefficients, residual = _refit(functional, source, name, layer)
            moved[f"{name}.coefficients"] = coefficients
            worst = max(worst, residual)
    return functional.flat.join(moved).to(functional.dtype), worst


def _tensors(state: Mapping[str, Tensor] | nn.Module) -> dict[str, Tensor]:
    if isinstance(state, nn.Module):
        return dict(state.state_dict())
    if isinstance(state, Mapping):
        return dict(state)
    raise InputError(
        f"a state is a flat vector, a state dict or a model, got {type(state).__name__}"
    )


def _source(own: nn.Module, state: State, tensors: dict[str, Tensor]) -> nn.Module:
    """A model that has the state, with its own knots."""
    if isinstance(state, nn.Module):
        return state
    source = copy.deepcopy(own)
    try:
        source.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            "the state does not fit the model: "
            f"{' '.join(str(error).split())}; pass the model that it is of in its place"
        ) from None
    return source


def _same_basis(a: KANLinear, b: KANLinear) -> bool:
    first, second = (dict(layer.basis.named_buffers()) for layer in (a, b))
    return (
        a.basis.size == b.basis.size
        and a.basis.domain == b.basis.domain
        and first.keys() == second.keys()
        and all(torch.equal(first[k], second[k]) for k in first)
    )


@torch.no_grad()
def _refit(
    functional: Functional, source: nn.Module, name: str, layer: KANLinear
) -> tuple[Tensor, float]:
    """Coefficients (K, I, O) in the layer's basis for the curves of the source's layer."""
    old = source.get_submodule(name)
    if (old.in_features, old.out_features, old.base) != (
        layer.in_features,
        layer.out_features,
        layer.base,
    ):
        raise InputError(f"layer {name!r} is {old} in the state and {layer} in the model")
    if layer.norm is not None:
        raise InputError(
            f"layer {name!r} normalises its inputs and its knots differ from the state's: "
            "bring both to the same knots first"
        )
    z = _inputs(functional, source, old).to(old.coefficients.dtype)
    curves = torch.einsum("nik,kio->nio", old.basis(z), old.coefficients).double()
    B = layer.basis(z).double()
    found = torch.linalg.lstsq(
        B.transpose(0, 1).cpu(), curves.transpose(0, 1).cpu(), driver="gelsd"
    )
    c = found.solution.to(B.device)
    off = B.transpose(0, 1) @ c - curves.transpose(0, 1)
    residual = float(off.norm() / curves.norm().clamp(min=1e-300))
    return c.transpose(0, 1).to(old.coefficients.dtype), residual


def _inputs(functional: Functional, source: nn.Module, layer: KANLinear) -> Tensor:
    """What the layer gets on the data, and even steps between the ends of each input."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        for chunk in functional.chunks():
            source(*chunk.inputs)
    finally:
        hook.remove()
    z = torch.cat([part.reshape(-1, layer.in_features) for part in seen])
    low, high = z.amin(0), z.amax(0)
    steps = torch.linspace(0, 1, 20 * layer.basis.size, dtype=z.dtype, device=z.device)
    return torch.cat([z, low + steps.unsqueeze(1) * (high - low)])
