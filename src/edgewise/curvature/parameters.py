"""The parameters that curvature is taken in, seen as one flat vector."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from edgewise.core import InputError, did_you_mean


class Flat:
    """The trainable parameters of a model as one vector θ; shared ones are in it once.

    Args:
        model: The model.
        params: What to take: None is all; names or their beginnings (``"layers.0"``) or the
            parameters themselves choose some. Frozen parameters are left out.

    Raises:
        InputError: If nothing is left, a name is unknown, or the parameters differ in dtype
            or device.

    Example:
        >>> flat = Flat(torch.nn.Linear(2, 1), ["bias"])
        >>> flat.slices
        {'bias': slice(0, 1, None)}

    """

    def __init__(
        self, model: nn.Module, params: Iterable[str] | Iterable[Tensor] | None = None
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        self.parameters = _select(model, params)
        self.slices: dict[str, slice] = {}
        self.size = 0
        for name, parameter in self.parameters.items():
            self.slices[name] = slice(self.size, self.size + parameter.numel())
            self.size += parameter.numel()
        _check_alike(self.parameters)

    @property
    def dtype(self) -> torch.dtype:
        return next(iter(self.parameters.values())).dtype

    @property
    def device(self) -> torch.device:
        return next(iter(self.parameters.values())).device

    def vector(self, dtype: torch.dtype | None = None) -> Tensor:
        """A copy of the parameters as they are now, (n,)."""
        parts = [p.detach().reshape(-1) for p in self.parameters.values()]
        return torch.cat(parts).to(dtype or self.dtype)

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of a flat vector in the parameters' shapes, by name."""
        parts = vector.split([p.numel() for p in self.parameters.values()])
        shapes = zip(self.parameters.items(), parts, strict=True)
        return {name: part.view(p.shape) for (name, p), part in shapes}

    def join(self, tensors: dict[str, Tensor]) -> Tensor:
        """The flat vector of tensors by name, such as a state dict; other names are ignored.

        Raises:
            InputError: If one is missing or of another shape.

        """
        for name, p in self.parameters.items():
            if name not in tensors:
                raise InputError(f"the state has no {name!r}: {did_you_mean(name, tensors)}")
            if tensors[name].shape != p.shape:
                raise InputError(
                    f"{name!r} has the shape {tuple(tensors[name].shape)} in the state and "
                    f"{tuple(p.shape)} in the model"
                )
        found = [tensors[name].detach().reshape(-1) for name in self.parameters]
        return torch.cat([part.to(self.device) for part in found])

    def assign(self, vector: Tensor) -> None:
        """Writes a flat vector into the model's parameters, in place."""
        self.check(vector)
        with torch.no_grad():
            for name, part in self.split(vector).items():
                self.parameters[name].copy_(part)

    def check(self, vector: Tensor) -> None:
        """Raises an :class:`InputError` unless the vector has one entry for each parameter."""
        if vector.shape != (self.size,):
            raise InputError(
                f"a vector over {self.size} parameters must have the shape ({self.size},), "
                f"got {tuple(vector.shape)}"
            )


def _select(model: nn.Module, params: Iterable | None) -> dict[str, nn.Parameter]:
    named = dict(model.named_parameters())  # shared ones come once
    trainable = {name: p for name, p in named.items() if p.requires_grad}
    if isinstance(params, (str, Tensor)):
        params = [params]
    if params is not None:
        asked = list(params)
        trainable = {name: p for name, p in trainable.items() if _is_asked(name, p, asked)}
        _check_known(named, asked)
    if not trainable:
        raise InputError(
            "there is no trainable parameter to take curvature in; set requires_grad or "
            "choose other params"
        )
    return trainable


def _is_asked(name: str, parameter: Tensor, asked: list) -> bool:
    return any(
        f"{name}.".startswith(f"{a}.") if isinstance(a, str) else a is parameter for a in asked
    )


def _check_known(named: dict[str, nn.Parameter], asked: list) -> None:
    for a in asked:
        if isinstance(a, str):
            if not any(f"{name}.".startswith(f"{a}.") for name in named):
                raise InputError(f"unknown parameter {a!r}: {did_you_mean(a, named)}")
        elif not any(a is p for p in named.values()):
            kind = f"a tensor of shape {tuple(a.shape)}" if isinstance(a, Tensor) else repr(a)
            raise InputError(f"params holds {kind}, which is no parameter of the model")


def _check_alike(parameters: dict[str, nn.Parameter]) -> None:
    for what in ("dtype", "device"):
        kinds = sorted({str(getattr(p, what)) for p in parameters.values()})
        if len(kinds) > 1:
            raise InputError(
                f"the parameters must have one {what}, they have {' and '.join(kinds)}"
            )
    if not next(iter(parameters.values())).is_floating_point():
        raise InputError(f"the parameters must be real numbers, they are {kinds[0]}")
