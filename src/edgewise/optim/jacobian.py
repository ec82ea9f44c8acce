"""Jacobians by automatic differentiation, for any model: slow, and the truth of `stack`."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from edgewise.core import InputError

ROWS = 256
"""Derivatives that are carried at once."""


def jacobian_of_graph(
    residuals: Float[Tensor, " m"], params: Sequence[Tensor]
) -> Float[Tensor, "m n"]:
    r"""The Jacobian of ``residuals`` with respect to ``params``, from their graph.

    By rows, :math:`u^\top J` for unit vectors u, or by columns, :math:`J v` as the derivative of
    the linear map :math:`u \mapsto u^\top J`, whichever are fewer; many at a time.

    Example:
        >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> jacobian_of_graph(torch.stack([w.prod(), w[0], w.sum()]), [w])
        tensor([[2., 1.],
                [1., 0.],
                [1., 1.]])

    """
    if len(residuals) <= sum(p.numel() for p in params):
        return _rows(residuals, params)
    u = torch.zeros_like(residuals, requires_grad=True)
    pulled = torch.autograd.grad(
        residuals, params, u, create_graph=True, retain_graph=True, materialize_grads=True
    )
    flat = torch.cat([part.reshape(-1) for part in pulled])
    # A map that is zero, or linear in the parameters, can have lost its way back to u.
    if not flat.requires_grad:
        return residuals.new_zeros(len(residuals), len(flat))
    return _rows(flat, [u]).T.contiguous()


def _rows(outputs: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """D outputs / d inputs, ROWS outputs at a time."""
    unit = torch.eye(len(outputs), dtype=outputs.dtype, device=outputs.device)
    blocks = []
    for directions in unit.split(ROWS):
        parts = torch.autograd.grad(
            outputs,
            inputs,
            directions,
            is_grads_batched=True,
            retain_graph=True,
            materialize_grads=True,
        )
        blocks.append(torch.cat([part.flatten(1) for part in parts], dim=1))
    return torch.cat(blocks).detach()


def jacobian_of_model(
    model: nn.Module, x: Float[Tensor, "N ..."], params: Sequence[Tensor]
) -> tuple[Float[Tensor, "N O"], Float[Tensor, "N O n"]]:
    """The outputs of a model and their derivatives, each sample by itself.

    Args:
        model: A model that looks at each sample by itself: (N, ...) to (N, ...).
        x: The samples.
        params: Parameters of the model; their entries are the columns, in this order.

    Raises:
        InputError: If one of ``params`` is none of the model's.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> y, J = jacobian_of_model(model, torch.tensor([[3.0, 4.0]]), list(model.parameters()))
        >>> J
        tensor([[[3., 4., 1.]]])

    """
    names = parameter_names(model, params)
    wanted = {name: p.detach() for name, p in zip(names, params, strict=True)}

    def one(wanted: dict[str, Tensor], sample: Tensor) -> tuple[Tensor, Tensor]:
        y = functional_call(model, wanted, (sample.unsqueeze(0),)).reshape(-1)
        return y, y

    derivative = vmap(jacrev(one, has_aux=True), in_dims=(None, 0), chunk_size=ROWS)
    with torch.no_grad():
        parts, y = derivative(wanted, x)
    return y, torch.cat([parts[name].flatten(2) for name in names], dim=2)


def parameter_names(model: nn.Module, params: Sequence[Tensor]) -> list[str]:
    """What the model calls these parameters.

    Raises:
        InputError: If one is none of the model's.

    """
    known = {id(p): name for name, p in model.named_parameters()}
    for p in params:
        if id(p) not in known:
            raise _foreign(p, type(model).__name__)
    return [known[id(p)] for p in params]


def columns_of(wanted: Sequence[Tensor], known: Sequence[Tensor], owner: str) -> Tensor | None:
    """Where the entries of ``wanted`` lie in the vector of ``known``; None if they are the same.

    Raises:
        InputError: If one of ``wanted`` is not known to the ``owner``.

    """
    if len(wanted) == len(known) and all(p is q for p, q in zip(wanted, known, strict=True)):
        return None
    starts, start = {}, 0
    for p in known:
        starts[id(p)] = start
        start += p.numel()
    for p in wanted:
        if id(p) not in starts:
            raise _foreign(p, owner)
    places = [torch.arange(p.numel(), device=p.device) + starts[id(p)] for p in wanted]
    return torch.cat(places)


def _foreign(parameter: Tensor, owner: str) -> InputError:
    return InputError(
        f"the optimiser trains a parameter of shape {tuple(parameter.shape)} that {owner} does not "
        f"have; give both the same model"
    )
