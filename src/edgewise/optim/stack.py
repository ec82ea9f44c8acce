r"""A stack of KAN layers in closed form: its outputs, gradient and Jacobian.

A layer is linear in its parameters: with the features A(z) = (B₁(z₁) … B_K(z_I), a(z₁) … a(z_I), 1)
of its inputs z, and its parameters as one matrix W,

.. math::
    z^{l+1} = A_l(z^l)\, W_l, \qquad y = z^L .

Let :math:`G^m_l = ∂z^m / ∂z^{l+1}`, a product of the slopes of the layers between. Then the
Jacobian is an outer product,

.. math::
    \frac{∂y_q}{∂W_{l,fo}} = A_{l,f}\, G^L_{l,oq},

which costs no more than writing it down.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.kernels.spline import ClosedForm, closed_form
from edgewise.layers import KANLinear
from edgewise.optim.cells import Cells


@dataclass
class Trace:
    """What one forward pass leaves of a layer."""

    layer: KANLinear
    z: Tensor  # (N, I), the inputs
    A: Tensor  # (N, F), the features
    W: Tensor  # (F, O)
    cells: Cells | None  # where z lies, for cubic splines on equal cells

    def output(self) -> Float[Tensor, "N O"]:
        """A W."""
        # The long side last: the other way round a narrow W is several times slower.
        return (self.W.T @ self.A.T).T.contiguous()

    def pull(self, p: Float[Tensor, "N O"], order: int = 1) -> Float[Tensor, "N I"]:
        """Each input's Σ_o φ'_oi p_o, or with φ''."""
        return self._dot(p @ self.W.T, order)

    def slopes(self, order: int = 1) -> Float[Tensor, "N I O"]:
        """φ'_oi, or φ''_oi."""
        if self.W.shape[1] == 1:
            return self._dot(self.W.T.expand(len(self.z), -1), order).unsqueeze(2)
        dA = features(self.layer, self.z, order, self.cells)
        # One product for each input.
        shape = (-1, self.z.shape[1])
        dA, W = dA.unflatten(1, shape), self.W[: dA.shape[1]].unflatten(0, shape)
        return torch.bmm(dA.permute(2, 0, 1), W.transpose(0, 1)).transpose(0, 1)

    def _dot(self, v: Float[Tensor, "N F"], order: int) -> Float[Tensor, "N I"]:
        """The derivatives of the features times v, summed over those of each input."""
        I = self.z.shape[1]
        if self.cells is None:
            dA = features(self.layer, self.z, order)
            return dA.mul_(v[:, : dA.shape[1]]).unflatten(1, (-1, I)).sum(1)
        found = self.cells.dot(self.cells.weights(order), v)
        if self.layer.base_weight is None:
            return found
        K = self.cells.spline.size
        return found.addcmul_(self.layer.activation(self.z, order), v[:, K * I : (K + 1) * I])


class Stack:
    """KAN layers on top of each other, read as :math:`A_L(… A_1(x) W_1 …) W_L`.

    Args:
        layers: The layers, without parameters in their bases and without normalisation.

    Example:
        >>> layers = [ew.layers.KANLinear(2, 3), ew.layers.KANLinear(3, 1, bias=True)]
        >>> stack, x = Stack(layers), torch.rand(7, 2)
        >>> torch.allclose(stack.forward(x), layers[1](layers[0](x)), atol=1e-6)
        True

    """

    def __init__(self, layers: Sequence[KANLinear]) -> None:
        self.layers = list(layers)
        self._kept: tuple[list, list[Trace]] = ([], [])

    def parameters(self) -> list[nn.Parameter]:
        """The parameters in the order of the Jacobian's columns."""
        return [p for layer in self.layers for p in _parameters(layer)]

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "N I"]) -> Float[Tensor, "N O"]:
        """The outputs."""
        trace = self.trace(x)
        return trace[-1].output()

    @torch.no_grad()
    def jacobian(
        self, x: Float[Tensor, "N I"]
    ) -> tuple[Float[Tensor, "N O"], Float[Tensor, "N O n"]]:
        """The outputs and their derivatives with respect to all parameters."""
        trace = self.trace(x)
        y = trace[-1].output()
        G = self.sensitivities(trace, len(trace))
        sizes = [t.W.numel() for t in trace]
        J = y.new_empty(*y.shape, sum(sizes))
        for t, G_l, block in zip(trace, G, J.split(sizes, dim=-1), strict=True):
            outer = block.unflatten(-1, t.W.shape)
            torch.mul(t.A[:, None, :, None], G_l.transpose(1, 2).unsqueeze(2), out=outer)
        return y, J

    @torch.no_grad()
    def gradient(self, x: Float[Tensor, "N I"], p: Float[Tensor, "N O"]) -> Float[Tensor, " n"]:
        """The gradient of a loss whose derivative with respect to the outputs is p."""
        return torch.cat([(t.A.T @ q).reshape(-1) for t, q in self.adjoints(self.trace(x), p)])

    def adjoints(self, trace: list[Trace], p: Tensor) -> list[tuple[Trace, Tensor]]:
        """Each layer with p = ∂f/∂(its output)."""
        found = []
        for l in reversed(range(len(trace))):
            found.append((trace[l], p))
            if l:
                p = trace[l].pull(p)
        return found[::-1]

    def trace(self, x: Tensor) -> list[Trace]:
        """The forward pass, as far as it is not that of the last call.

        A step asks for the loss, then for its derivatives in the same place; and the first layer's
        features change only with the data or the knots.
        """
        # Identities are compared and values copied: version counters do not see p.data.add_(1).
        about = [(x, x._version), *((layer.basis, _buffers(layer)) for layer in self.layers)]
        W = [_matrix(layer) for layer in self.layers]
        known, kept = self._kept
        here = bool(kept) and all(_same(a, b) for a, b in zip(about, known, strict=True))
        if here and all(torch.equal(t.W, w) for t, w in zip(kept, W, strict=True)):
            return kept
        trace = []
        for l, (layer, w) in enumerate(zip(self.layers, W, strict=True)):
            z = x if l == 0 else trace[-1].output()
            if l == 0 and here:
                trace.append(replace(kept[0], W=w))
            else:
                cells = cells_of(layer, z)
                trace.append(Trace(layer, z, features(layer, z, 0, cells, layer.bias is not None), w, cells))
        self._kept = ([(thing, _copied(state)) for thing, state in about], trace)
        return trace

    def sensitivities(
        self, trace: list[Trace], m: int, slopes: list[Tensor | None] | None = None
    ) -> list[Float[Tensor, "N O Q"]]:
        """G_l = ∂z^m/∂z^(l+1) of each layer l below m."""
        width = self.layers[m - 1].out_features
        G = torch.eye(width, dtype=trace[0].W.dtype, device=trace[0].W.device)
        found = [G.expand(len(trace[0].z), width, width)]
        for l in range(m - 1, 0, -1):
            slope = trace[l].slopes() if slopes is None else slopes[l]
            found.append(slope if l == m - 1 else slope @ found[-1])
        return found[::-1]


def stack_of(model: nn.Module) -> Stack | None:
    """The model as a stack of KAN layers, or None if it is something else.

    A `KANLinear`, a `torch.nn.Sequential` of them, or a module whose ``layers`` are nothing else;
    of the last kind the caller must make sure that it does with them what a stack does.

    Example:
        >>> stack_of(torch.nn.Linear(2, 1)) is None
        True

    """
    if isinstance(model, KANLinear):
        layers = [model]
    elif isinstance(model, nn.Sequential):
        layers = list(model)
    else:
        layers = getattr(model, "layers", None)
        layers = list(layers) if isinstance(layers, nn.ModuleList) else []
    plain = layers and all(_is_plain(layer) for layer in layers) and not _drops(model)
    return Stack(layers) if plain else None


def _is_plain(layer: nn.Module) -> bool:
    return type(layer) is KANLinear and not list(layer.basis.parameters()) and layer.norm is None


def _drops(model: nn.Module) -> bool:
    return any(isinstance(m, nn.Dropout) and m.p > 0 for m in model.modules())


def _parameters(layer: KANLinear) -> list[nn.Parameter]:
    return [p for p in (layer.coefficients, layer.base_weight, layer.bias) if p is not None]


def cells_of(layer: KANLinear, z: Tensor) -> Cells | None:
    """Where z lies, if the layer's functions are cubic splines on equal cells."""
    spline = layer.basis.spline
    return Cells(spline, z) if spline is not None and Cells.serve(spline) else None


def features(
    layer: KANLinear, z: Tensor, order: int, cells: Cells | None = None, bias: bool = False
) -> Float[Tensor, "N F"]:
    """The basis, the base as one more function and, if asked for, 1: function by function."""
    N, I = z.shape
    F = (layer.basis.size + (layer.base_weight is not None)) * I + bias
    A = z.new_zeros(N, F, dtype=layer.coefficients.dtype)
    split = layer.basis.size * I
    if cells is not None:
        cells.put(cells.weights(order), A)
    else:
        A[:, :split].unflatten(1, (-1, I)).copy_(_basis(layer, z, order))
    if layer.base_weight is not None:
        A[:, split : split + I] = layer.activation(z, order)
    if bias:
        A[:, -1] = 1
    return A


def _basis(layer: KANLinear, z: Tensor, order: int) -> Float[Tensor, "N K I"]:
    spline = layer.basis.spline
    if spline is not None and order < 2 and closed_form(spline):
        return ClosedForm(spline)(z, order)
    return layer.basis.derivative(z, order).transpose(1, 2)


def _matrix(layer: KANLinear) -> Float[Tensor, "F O"]:
    return torch.cat([p.reshape(-1, layer.out_features) for p in _parameters(layer)])


def _copied(state: int | list[Tensor]) -> int | list[Tensor]:
    return state if isinstance(state, int) else [buffer.clone() for buffer in state]


def _buffers(layer: KANLinear) -> list[Tensor]:
    return list(layer.basis.buffers())


def _same(a: tuple, b: tuple) -> bool:
    """The same object in the same version, or with the same buffers."""
    if a[0] is not b[0]:
        return False
    if isinstance(a[1], int):
        return a[1] == b[1]
    return len(a[1]) == len(b[1]) and all(map(torch.equal, a[1], b[1]))
