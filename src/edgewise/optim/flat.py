"""What the second-order optimisers share: all parameters as one vector."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from edgewise.core import InputError, RunError

PRECISIONS = (torch.float32, torch.float64)
"""Half precision can't hold the small differences that these methods live on."""


class FlatOptimizer(Optimizer):
    r"""An optimiser that sees its parameters θ as one vector z, in units of each group's ``scale``.

    .. math::
        θ_i = s_i z_i

    so a group with a small scale s moves little, and every method here keeps its guarantee. A
    parameter that needs no gradient is left out; this is looked up at every step, so that layers
    can be frozen and freed on the way. What a method remembers lies in the state of the first
    parameter, under one name for each thing, and so goes through ``state_dict``.

    Args:
        params: Parameters, or groups of them, all of one precision and on one device.
        defaults: What a group may set for itself.

    Raises:
        InputError: If a parameter is neither float32 nor float64, the parameters differ in dtype
            or device, or a scale is not positive.

    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any] | None = None) -> None:
        super().__init__(params, {"scale": 1.0, **(defaults or {})})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group after a look at its parameters; see :class:`torch.optim.Optimizer`."""
        super().add_param_group(param_group)
        try:
            self._check_groups()
        except InputError:
            self.param_groups.pop()
            raise

    def _check_groups(self) -> None:
        name = type(self).__name__
        everything = [p for group in self.param_groups for p in group["params"]]
        for p in everything:
            if p.dtype not in PRECISIONS:
                raise InputError(
                    f"{name} needs float64, or float32 at least, got a parameter of {p.dtype}; "
                    f"use model.double()"
                )
        kinds = {(p.dtype, p.device) for p in everything}
        if len(kinds) > 1:
            listing = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise InputError(
                f"{name} joins all parameters into one vector, but they are of several kinds "
                f"({listing}); use model.to(dtype=..., device=...) first"
            )
        for group in self.param_groups:
            if not (isinstance(group["scale"], (int, float)) and 0 < group["scale"] < float("inf")):
                raise InputError(f"scale must be a positive number, got {group['scale']!r}")

    def free_parameters(self) -> list[Tensor]:
        """The parameters that need a gradient, in the order of the vector.

        Raises:
            InputError: If there are none.

        """
        free = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        if not free:
            raise InputError(
                f"{type(self).__name__} has nothing to train: no parameter requires a gradient"
            )
        return free

    def _memory(self) -> dict[str, Any]:
        """What this method remembers between steps."""
        return self.state[self.param_groups[0]["params"][0]]

    def _scales(self) -> Tensor | None:
        """S for each entry of the vector, or None where all are 1."""
        if all(group["scale"] == 1 for group in self.param_groups):
            return None
        parts = [
            torch.full((p.numel(),), float(group["scale"]), dtype=p.dtype, device=p.device)
            for group in self.param_groups
            for p in group["params"]
            if p.requires_grad
        ]
        return torch.cat(parts)

    def _values(self) -> Float[Tensor, " n"]:
        """A copy of θ as one vector."""
        return flatten(self.free_parameters()).detach().clone()

    def _assign(self, values: Float[Tensor, " n"]) -> None:
        """Puts θ into the parameters."""
        place(self.free_parameters(), values)

    @contextmanager
    def _put_back_on_error(self, start: Float[Tensor, " n"]) -> Iterator[None]:
        """Where the closure fails at a trial, the parameters are those before the step again."""
        try:
            yield
        except BaseException:
            self._assign(start)
            raise

    def _value_and_gradient(
        self, closure: Callable[[], Tensor], twice: bool = False
    ) -> tuple[Tensor, Float[Tensor, " n"]]:
        """The loss and its gradient with respect to θ.

        The closure returns the loss, and may have called ``backward`` as torch's L-BFGS wants it,
        unless it is going to be differentiated ``twice``.
        """
        free = self.free_parameters()
        if hasattr(closure, "value_and_gradient"):
            return closure.value_and_gradient(free)
        for p in free:
            p.grad = None
        with torch.enable_grad():
            loss = closure()
        name = type(self).__name__
        check_loss(loss, f"{name}'s closure")
        if any(p.grad is not None for p in free):
            if twice:
                raise InputError(
                    f"{name} differentiates the loss twice: the closure must return the loss "
                    f"without calling backward()"
                )
            return loss.detach(), flatten(_gradients(free))
        if not loss.requires_grad:
            raise InputError(
                "the closure's loss does not depend on the parameters: it has no graph; compute it "
                "from the model, without torch.no_grad() or detach()"
            )
        return loss.detach(), flatten(torch.autograd.grad(loss, free, materialize_grads=True))


def _gradients(params: list[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in params]


def value_of(closure: Callable[[], Tensor]) -> Tensor:
    """The loss of a plain closure, or of one that knows more, such as `LeastSquares`."""
    return closure.value() if hasattr(closure, "value") else closure()


def check_loss(loss: Any, name: str) -> None:
    """Raises an :class:`InputError` unless ``loss`` is a tensor of one number."""
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(f"{name} must give one number as a tensor, got {shape}")


def require_finite(value: Tensor, what: str) -> None:
    """Raises a :class:`RunError` if ``value`` holds NaN or infinity."""
    if not torch.isfinite(value).all():
        raise RunError(
            f"{what} is not finite at the present parameters; check the data for NaN and the model "
            f"for poles, or go back to earlier parameters"
        )


def flatten(parts: Iterable[Tensor]) -> Float[Tensor, " n"]:
    """The tensors one after the other.

    Example:
        >>> flatten([torch.ones(1, 2), torch.zeros(1)])
        tensor([1., 1., 0.])

    """
    return torch.cat([part.reshape(-1) for part in parts])


@torch.no_grad()
def place(parts: Iterable[Tensor], values: Float[Tensor, " n"]) -> None:
    """Copies a vector into the tensors, in their order."""
    start = 0
    for part in parts:
        part.copy_(values[start : start + part.numel()].view_as(part))
        start += part.numel()
