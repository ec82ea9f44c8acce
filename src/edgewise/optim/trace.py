"""What one forward pass leaves of a KAN layer, and what can be asked of it."""

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.kernels import chosen, native
from edgewise.kernels.spline import ClosedForm, Spline, closed_form
from edgewise.layers import KANLinear


class Trace:
    """A layer at one place: its inputs z, its parameters W and, once asked for, its features A.

    Where the native kernel serves, products with A go by it, without A; not where A is kept from
    step to step. Which way is taken does not change from call to call: the same parameters give the
    same loss to the last digit.

    Args:
        layer: The layer.
        z: Its inputs.
        W: Its parameters as one matrix: coefficients, base weights, bias.
        fixed: Whether the inputs stay from step to step, so that A is worth keeping.

    Example:
        >>> layer, z = ew.layers.KANLinear(2, 3), torch.rand(5, 2)
        >>> trace = Trace(layer, z, matrix(layer))
        >>> torch.allclose(trace.A.T @ trace.W, layer(z), atol=1e-6)
        True

    """

    def __init__(
        self,
        layer: KANLinear,
        z: Float[Tensor, "N I"],
        W: Float[Tensor, "F O"],
        fixed: bool = False,
    ) -> None:
        self.layer, self.z, self.W, self.fixed = layer, z, W, fixed
        self.spline = layer.basis.spline
        K, I = layer.basis.size, z.shape[1]
        self._C = W[: K * I].view(K, I, -1)
        self._w = None if layer.base_weight is None else W[K * I : (K + 1) * I]
        self._b = None if layer.bias is None else W[-1]

    @cached_property
    def _is_native(self) -> bool:
        return _is_native(self.z, self.W, self.spline)

    @cached_property
    def A(self) -> Float[Tensor, "F N"]:
        """The features: the functions, the base and, with a bias, 1.

        A row holds all samples: products of features, of which the Jacobian and the Hessian are
        made, are several times faster so.
        """
        A = features(self.layer, self.z, 0, self._is_native).T
        return torch.cat([A, A.new_ones((int(self.layer.bias is not None), len(self.z)))])

    def moved(self, W: Float[Tensor, "F O"]) -> "Trace":
        """The same inputs with other parameters; the features stay."""
        other = Trace(self.layer, self.z, W, self.fixed)
        other.A = self.A
        return other

    @cached_property
    def output(self) -> Float[Tensor, "N O"]:
        """Aᵀ W."""
        return self._by_kernel() if self._is_native and not self.fixed else self._by_features()

    def _by_features(self) -> Tensor:
        return (self.W.T @ self.A).T.contiguous()

    def _by_kernel(self) -> Tensor:
        y = native.forward(self.z, self._C, None, None, self.spline)
        if self._w is not None:
            y.addmm_(self._a, self._w)
        return y if self._b is None else y.add_(self._b)

    def gradient(self, p: Float[Tensor, "N O"]) -> Float[Tensor, "F O"]:
        """A p."""
        return self.A @ p

    def pull(self, p: Float[Tensor, "N O"], order: int = 1) -> Float[Tensor, "N I"]:
        """Σ_o φ'_oi p_o for each input, or with φ''."""
        if self._is_native and (order == 1 or self.spline.knots is None):
            found = _slopes(self.z, self._C, p, self.spline, order)
            return self._with_base(found, p, order)
        dA = features(self.layer, self.z, order)
        return dA.mul_(p @ self.W[: dA.shape[1]].T).unflatten(1, (-1, self.z.shape[1])).sum(1)

    def back(self, p: Float[Tensor, "N O"]) -> tuple[Float[Tensor, "N I"], Float[Tensor, "F O"]]:
        """Both :meth:`pull` and :meth:`gradient`."""
        if not self._is_native:
            return self.pull(p), self.gradient(p)
        q, dC, _ = native.backward(self.z, self._C, None, p, None, self.spline, True, True)
        parts = [dC.flatten(0, 1)]
        if self._w is not None:
            parts.append(self._a.T @ p)
        if self._b is not None:
            parts.append(p.sum(0, keepdim=True))
        return self._with_base(q, p, 1), torch.cat(parts)

    def slopes(self) -> Float[Tensor, "N I O"]:
        """φ'_oi."""
        if self.W.shape[1] == 1:
            return self.pull(self.W.new_ones(len(self.z), 1)).unsqueeze(2)
        shape = (-1, self.z.shape[1])
        dA = features(self.layer, self.z, 1)
        W, dA = self.W[: dA.shape[1]].unflatten(0, shape), dA.unflatten(1, shape)
        # One product for each input.
        return torch.bmm(dA.permute(2, 0, 1), W.transpose(0, 1)).transpose(0, 1)

    @cached_property
    def _a(self) -> Tensor:
        """The base."""
        return self.layer.activation(self.z)

    def _with_base(self, q: Tensor, p: Tensor, order: int) -> Tensor:
        """Adds what the base does to :meth:`pull`."""
        if self._w is None:
            return q
        return q.addcmul_(self.layer.activation(self.z, order), p @ self._w.T)


def matrix(layer: KANLinear) -> Float[Tensor, "F O"]:
    """A layer's parameters, one row for each feature."""
    return torch.cat([p.reshape(-1, layer.out_features) for p in parameters(layer)])


def parameters(layer: KANLinear) -> list[torch.nn.Parameter]:
    """A layer's parameters in the order of the matrix."""
    return [p for p in (layer.coefficients, layer.base_weight, layer.bias) if p is not None]


def features(
    layer: KANLinear, z: Float[Tensor, "N I"], order: int, is_native: bool = False
) -> Float[Tensor, "N KI"]:
    """The basis, and the base as one more function: function by function."""
    spline = layer.basis.spline
    if is_native and order == 0:
        B = _functions(z, spline)
    elif spline is not None and order < 2 and closed_form(spline):
        B = ClosedForm(spline)(z, order)
    else:
        B = layer.basis.derivative(z, order).transpose(1, 2)
    B = B.to(layer.coefficients.dtype)
    if layer.base_weight is not None:
        B = torch.cat([B, layer.activation(z, order).unsqueeze(1)], dim=1)
    return B.flatten(1)


def _functions(z: Tensor, spline: Spline) -> Float[Tensor, "N K I"]:
    """By the native kernel: a function is a spline with one coefficient."""
    unit = torch.eye(spline.size, dtype=z.dtype).unsqueeze(1)
    if spline.knots is None or len(spline.knots) == 1:
        B = native.forward(z.reshape(-1, 1), unit, None, None, spline)
        return B.unflatten(0, (-1, z.shape[1])).transpose(1, 2)
    own = [spline._replace(knots=row.unsqueeze(0)) for row in spline.knots]
    columns = [
        native.forward(x.unsqueeze(1), unit, None, None, one)
        for x, one in zip(z.T, own, strict=True)
    ]
    return torch.stack(columns, dim=2)


def _is_native(z: Tensor, W: Tensor, spline: Spline | None) -> bool:
    if chosen(z, W, spline)[0] != "native":
        return False
    # The kernel refuses what is not finite, but a trial of an optimiser may go astray.
    return bool(z.sum().isfinite())


def _slopes(z: Tensor, C: Tensor, p: Tensor, spline: Spline, order: int) -> Tensor:
    """Σ_o φ'_oi p_o of the splines, or with φ''; by the native kernel."""
    if order == 1:
        return native.backward(z, C, None, p, None, spline, True, False)[0]
    # φ' is a spline of a degree less; but it is even outside, where φ is a line.
    low, per_unit, cells = spline.low, spline.per_unit, spline.cells
    lower = Spline(spline.degree - 1, cells, low, per_unit)
    found = native.backward(z, C.diff(dim=0) * per_unit, None, p, None, lower, True, False)[0]
    place = (z - low) * per_unit
    return found.mul_((place >= 0) & (place <= cells))
