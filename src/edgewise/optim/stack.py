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

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.layers import KANLinear
from edgewise.optim.trace import Trace, matrix, parameters


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
        return [p for layer in self.layers for p in parameters(layer)]

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "N I"]) -> Float[Tensor, "N O"]:
        """The outputs."""
        # What a trace keeps is not for callers to change.
        return self.trace(x)[-1].output.clone()

    @torch.no_grad()
    def jacobian(
        self, x: Float[Tensor, "N I"]
    ) -> tuple[Float[Tensor, "N O"], Float[Tensor, "N O n"]]:
        """The outputs and their derivatives with respect to all parameters."""
        trace = self.trace(x)
        y = trace[-1].output.clone()
        G = self.sensitivities(trace, len(trace))
        sizes = [t.W.numel() for t in trace]
        # All samples of a column lie together, see Trace.A.
        J = y.new_empty(sum(sizes), *y.shape)
        for t, G_l, block in zip(trace, G, J.split(sizes), strict=True):
            outer = block.unflatten(0, t.W.shape)
            torch.mul(t.A[:, None, :, None], G_l.transpose(0, 1).contiguous(), out=outer)
        J = J.permute(1, 2, 0)
        return y, J

    @torch.no_grad()
    def gradient(self, x: Float[Tensor, "N I"], p: Float[Tensor, "N O"]) -> Float[Tensor, " n"]:
        """The gradient of a loss whose derivative with respect to the outputs is p."""
        return self.gradient_at(self.trace(x), p)

    @torch.no_grad()
    def gradient_at(self, trace: list[Trace], p: Float[Tensor, "N O"]) -> Float[Tensor, " n"]:
        """The same after a forward pass."""
        parts = []
        for t in reversed(trace[1:]):
            p, dW = t.back(p)
            parts.append(dW)
        parts.append(trace[0].gradient(p))
        return torch.cat([dW.reshape(-1) for dW in reversed(parts)])

    def adjoints(self, trace: list[Trace], p: Tensor) -> list[Float[Tensor, "N O"]]:
        """∂f/∂(its output) for each layer."""
        found = [p]
        for t in reversed(trace[1:]):
            found.append(t.pull(found[-1]))
        return found[::-1]

    @torch.no_grad()
    def trace(self, x: Tensor) -> list[Trace]:
        """The forward pass, as far as it is not that of the last call.

        A step asks for the loss, then for its derivatives in the same place; and the first layer's
        features change only with the data or the knots.
        """
        # Identities are compared and values copied: version counters do not see p.data.add_(1).
        about = [(x, x._version), *((layer.basis, _buffers(layer)) for layer in self.layers)]
        W = [matrix(layer) for layer in self.layers]
        known, kept = self._kept
        here = bool(kept) and all(_same(a, b) for a, b in zip(about, known, strict=True))
        if here and all(torch.equal(t.W, w) for t, w in zip(kept, W, strict=True)):
            return kept
        trace = []
        for l, (layer, w) in enumerate(zip(self.layers, W, strict=True)):
            if l == 0 and here:
                trace.append(kept[0].moved(w))
            else:
                trace.append(Trace(layer, x if l == 0 else trace[-1].output, w, fixed=l == 0))
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
