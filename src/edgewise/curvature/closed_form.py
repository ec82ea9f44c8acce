"""Jacobian and exact Hessian of a KAN without automatic differentiation in its parameters."""

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.curvature.edges import EdgeLayer, Edges
from edgewise.curvature.graphs import LossGraph

if TYPE_CHECKING:
    from edgewise.curvature.functional import Functional

ENTRIES = 1 << 23
"""The most numbers in one intermediate: 64 MiB in float64."""


class Layer(NamedTuple):
    """What the forward pass leaves of layer l with inputs z (N, I) and outputs (N, O)."""

    number: int
    edge: EdgeLayer
    W: Tensor  # (K', I, O)
    z: Tensor  # the inputs
    A: Tensor  # A_l, (N, a): the features (k, i), and 1 for a bias
    A1: Tensor | None  # their derivatives, (N, K', I); not needed of the first layer
    slope: Tensor  # ∂z_l/∂z = φ'_oi(z_i), (N, O, I), or (N, O, 0) of the first layer
    S: Tensor  # ∂z/∂(z_1, …, z_{l-1}), (N, I, D)

    @property
    def outputs(self) -> int:
        return self.W.shape[2]


class ClosedForm:
    r"""The derivatives of a stack of edge layers, as weighted Gram matrices of its features.

    A layer :math:`z_l = W_l^\top A_l(z_{l-1})` is linear in its weights, with as many features as
    weights for each output, so that all is known from second derivatives in the few nodes z: with
    :math:`Q_{lm} = ∂^2 ℓ / ∂z_l ∂z_m`, :math:`δ_l = ∂ℓ/∂z_l` and :math:`S_{lm} = ∂z_l/∂z_m`,

    .. math::
        \frac{∂y_p}{∂W_{m,ao}} = S_{Lm,po}\, A_{m,a}, \qquad
        \frac{∂^2 ℓ}{∂W_{l,ao}\, ∂W_{m,bq}} = Q_{lm,oq}\, A_{l,a} A_{m,b}
            + \underbrace{δ_{l,o} A'_{l,a} S_{l-1,m,i(a)\,q}\, A_{m,b}}_{m < l}

    where feature a = (k, i) looks at input i(a), and

    .. math::
        Q = S_L^\top \frac{∂^2 ℓ}{∂y^2} S_L
            + \sum_l S_{l-1}^\top \operatorname{diag}\Big(\sum_o δ_{l,o} φ''_{l,oi}\Big) S_{l-1} .

    The whole Hessian of a small KAN costs about as much as one product by automatic
    differentiation. Memory grows with n²; examples are taken in pieces.

    Args:
        functional: With a model whose ``layers`` have ``curves``, ``coefficients``,
            ``base_weight`` and ``bias``, such as `models.KAN`, trained in nothing but these.

    Raises:
        InputError: If the model is none; the message says what stands in the way.

    """

    def __init__(self, functional: "Functional") -> None:
        self.edges, self.functional = Edges(functional), functional
        shapes = [edge.rows.shape for edge in self.edges.layers]
        nodes = sum(shape[2] for shape in shapes)
        features = max(size * inputs + 1 for size, inputs, _ in shapes)
        # Of an example: Q, the features times a row of it, and the Jacobian.
        largest = max(nodes * nodes, features * nodes, shapes[-1][2] * functional.size)
        self.most = max(1, ENTRIES // largest)

    @torch.no_grad()
    def jacobian(self, theta: Tensor | None = None) -> Float[Tensor, "N O n"]:
        """∂y/∂θ of every example, in the data's order."""
        state = self.edges.state(self.functional.point() if theta is None else theta)
        found = []
        for x, *_ in self.edges.pieces(self.most):
            layers, _, S = self._forward(x, state)
            parts = zip(layers, S.split([layer.outputs for layer in layers], dim=2), strict=True)
            blocks = [(layer.A[:, None, :, None] * s.unsqueeze(2)).flatten(2) for layer, s in parts]
            found.append(self._to_flat(torch.cat(blocks, dim=2)))
        return torch.cat(found)

    def gauss_newton(self, theta: Tensor | None = None) -> Float[Tensor, "n n"]:
        """Σ Jᵀ (∂²ℓ/∂y²) J."""
        return self._sum(theta, bends=False)

    def hessian(self, theta: Tensor | None = None) -> Float[Tensor, "n n"]:
        """The exact Hessian of the functional."""
        return self._sum(theta, bends=True)

    @torch.no_grad()
    def _sum(self, theta: Tensor | None, bends: bool) -> Tensor:
        theta = self.functional.second(theta)
        state = self.edges.state(theta)
        H = None
        for x, target, share in self.edges.pieces(self.most):
            layers, y, S = self._forward(x, state)
            if H is None:
                H = _Blocks(layers)
            loss = LossGraph(y, lambda y, t=target, s=share: self.functional.loss(y, t) * s)
            Q = S.mT @ _bend_of_loss(loss) @ S
            if bends:
                delta = loss.gradient.detach()
                for layer in reversed(layers[1:]):
                    _add_bend(Q, layer, delta, state)
                    H.add_cross(layer, layers[: layer.number], delta)
                    delta = torch.einsum("no,noi->ni", delta, layer.slope)
            H.add_gram(Q, layers)
        return self._to_flat(self._to_flat(H.mirrored()).T)

    def _forward(self, x: Tensor, state: dict) -> tuple[list[Layer], Tensor, Tensor]:
        """All layers, the predictions y (N, O), and S_L = ∂y/∂(z_1, …, z_L)."""
        z, S, layers = x, x.new_zeros(len(x), 0, 0), []
        for edge in self.edges.layers:
            W, b = edge.weights(state)
            A = edge.features(z, state).flatten(1)
            y = A @ W.flatten(0, 1)
            # Nothing is trained before the first layer.
            A1 = edge.features(z, state, 1) if layers else None
            slope = torch.einsum("nki,kio->noi", A1, W) if layers else y.new_zeros(*y.shape, 0)
            if b is not None:
                A, y = torch.cat([A, torch.ones_like(A[:, :1])], dim=1), y + b
            layers.append(Layer(len(layers), edge, W, z, A, A1, slope, S))
            eye = torch.eye(y.shape[1], dtype=y.dtype, device=y.device).expand(len(y), -1, -1)
            z, S = y, torch.cat([slope @ S, eye], dim=2)
        return layers, z, S

    def _to_flat(self, M: Tensor) -> Tensor:
        """The columns of the trained weights, in the order of the flat vector."""
        parts = [part for edge in self.edges.layers for part in (edge.rows, edge.bias)]
        places = torch.cat([part.reshape(-1) for part in parts if part is not None]).to(M.device)
        flat = M.new_empty(*M.shape[:-1], self.functional.size)
        flat[..., places[places >= 0]] = M[..., places >= 0]
        return flat


class _Blocks:
    """The Hessian in the order layer, feature a, output o; blocks (l, m) with m ≤ l are summed."""

    def __init__(self, layers: list[Layer]) -> None:
        self.nodes = _slices([layer.outputs for layer in layers])
        widths = [layer.A.shape[1] * layer.outputs for layer in layers]
        self.rows = _slices(widths)
        self.matrix = layers[0].A.new_zeros(sum(widths), sum(widths))

    def block(self, l: Layer, m: Layer) -> Tensor:
        """A view of one block, (a, O, b, P)."""
        shape = (l.A.shape[1], l.outputs, m.A.shape[1], m.outputs)
        part = self.matrix[self.rows[l.number], self.rows[m.number]]
        return part.unflatten(1, shape[2:]).unflatten(0, shape[:2])

    def add_gram(self, Q: Tensor, layers: list[Layer]) -> None:
        """Σ_n Q_oq A_a A_b, for each o one product of matrices over the examples."""
        for l in layers:
            for m in layers[: l.number + 1]:
                block, weights = self.block(l, m), Q[:, self.nodes[l.number], self.nodes[m.number]]
                for o in range(l.outputs):
                    first = o if l is m else 0  # a diagonal block is symmetric in o and q
                    right = (m.A.unsqueeze(2) * weights[:, None, o, first:]).flatten(1)
                    part = (l.A.T @ right).unflatten(1, (m.A.shape[1], -1))
                    block[:, o, :, first:] += part
                    if l is m:
                        block[:, o + 1 :, :, o] += part[:, :, 1:].transpose(1, 2)

    def add_cross(self, l: Layer, before: list[Layer], delta: Tensor) -> None:
        """Σ_n δ_o A'_ki S_iq A_b, for each input i one product of matrices over the examples."""
        size, width = l.A1.shape[1:]
        for i in range(width):
            left = (l.A1[:, :, i, None] * delta.unsqueeze(1)).flatten(1).T
            for m in before:
                block = self.block(l, m)[: size * width].unflatten(0, (size, width))[:, i]
                if m.number == l.number - 1:  # S is the identity
                    block[..., i] += (left @ m.A).unflatten(0, (size, -1))
                else:
                    s = l.S[:, i, None, self.nodes[m.number]]
                    part = left @ (m.A.unsqueeze(2) * s).flatten(1)
                    block += part.unflatten(1, (m.A.shape[1], -1)).unflatten(0, (size, -1))

    def mirrored(self) -> Tensor:
        """The whole matrix."""
        for l in range(len(self.rows)):
            for m in range(l):
                here, there = self.rows[l], self.rows[m]
                self.matrix[there, here] = self.matrix[here, there].T
        return self.matrix


def _add_bend(Q: Tensor, layer: Layer, delta: Tensor, state: dict) -> None:
    """S_{l-1}ᵀ diag(Σ_o δ_o φ''_oi) S_{l-1}."""
    A2 = layer.edge.features(layer.z, state, 2)
    c = torch.einsum("no,noi->ni", delta, torch.einsum("nki,kio->noi", A2, layer.W))
    D = layer.S.shape[2]
    Q[:, :D, :D] += layer.S.mT @ (c.unsqueeze(2) * layer.S)


def _bend_of_loss(loss: LossGraph) -> Tensor:
    """∂²ℓ/∂y² of each example, (N, O, O)."""
    columns = []
    for o in range(loss.y.shape[1]):
        one = torch.zeros_like(loss.y)
        one[:, o] = 1
        columns.append(loss.product(one))
    return torch.stack(columns, dim=2)


def _slices(sizes: list[int]) -> list[slice]:
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    return [slice(a, b) for a, b in pairwise(ends)]
