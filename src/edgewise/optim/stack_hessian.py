r"""The exact Hessian of a stack of KAN layers, for less than a few of the products it replaces.

In the letters of `stack`, with the adjoint :math:`p^m = ∂f/∂z^m` of a loss f(y) and the bends
:math:`c^m_i = \sum_o φ''_{oi}(z^m_i)\, p^{m+1}_o`, it is a weighted Gram matrix of the features
plus what a layer does to the features of a later one,

.. math::
    H_{(l,f,o),(k,g,q)} = \sum_n A_{l,f} A_{k,g} \Big(
        \sum_{st} G^L_{l,os}\, f''_{st}\, G^L_{k,qt}
        + \sum_{m>k} \sum_i G^m_{l,oi}\, c^m_i\, G^m_{k,qi} \Big)
        + [l < k] \sum_n A_{l,f}\, G^k_{l,o\,i(g)}\, A'_{k,g}\, p^{k+1}_q ,
    \qquad l \le k,

where i(g) is the input that feature g is of.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.optim.stack import Stack
from edgewise.optim.trace import Trace, features


@torch.no_grad()
def stack_hessian(
    stack: Stack, x: Float[Tensor, "N I"], p: Float[Tensor, "N O"], f2: Float[Tensor, "N O O"]
) -> Float[Tensor, "n n"]:
    """The Hessian with respect to all parameters of the stack.

    Args:
        stack: The stack.
        x: Its inputs.
        p: The derivative of the loss with respect to the outputs of each sample.
        f2: The second derivatives; samples don't meet before the loss's mean.

    Example:
        >>> stack, x = Stack([ew.layers.KANLinear(1, 1, base=None)]), torch.rand(9, 1)
        >>> H = stack_hessian(stack, x, torch.zeros(9, 1), torch.ones(9, 1, 1))
        >>> J = stack.jacobian(x)[1].squeeze(1)
        >>> torch.allclose(H, J.T @ J)
        True

    """
    trace = stack.trace(x)
    known = _Known(stack, trace, stack.adjoints(trace, p), f2)
    sizes = [t.W.numel() for t in trace]
    H = trace[0].W.new_zeros(sum(sizes), sum(sizes))
    rows = [part.split(sizes, dim=1) for part in H.split(sizes, dim=0)]
    for l in range(len(trace)):
        for k in range(l, len(trace)):
            block = known.block(l, k)
            rows[l][k].copy_(block)
            if l < k:
                rows[k][l].copy_(block.T)
    return H


class _Known:
    """What the blocks are made of: the paths G, the bends c and the moves A' of each layer."""

    def __init__(
        self, stack: Stack, trace: list[Trace], adjoints: list[Tensor], f2: Tensor
    ) -> None:
        later = range(1, len(trace))
        slopes = [None, *(trace[m].slopes() for m in later)]
        self.trace, self.adjoints, self.f2 = trace, adjoints, f2
        self.paths = {m: stack.sensitivities(trace, m, slopes) for m in (*later, len(trace))}
        self.bends = {m: trace[m].pull(adjoints[m], order=2) for m in later}
        self.moves = {m: features(trace[m].layer, trace[m].z, 1).T for m in later}
        self.jacobians = self.sign = None
        if f2.shape[1] == 1:
            self._join(trace, f2[:, 0, 0])

    def _join(self, trace: list[Trace], f2: Float[Tensor, " N"]) -> None:
        """With one output, J is an outer product, and one matrix product of its blocks does it."""
        root = f2.abs().sqrt()
        last = self.paths[len(trace)]
        self.jacobians = [
            _outer(t.A, G[:, :, 0].T * root) for t, G in zip(trace, last, strict=True)
        ]
        self.sign = None if bool((f2 >= 0).all()) else f2.sign()

    def block(self, l: int, k: int) -> Tensor:
        """The second derivatives by layers l ≤ k."""
        A, B = self.trace[l].A, self.trace[k].A
        weights = self._weights(l, k)
        block = 0 if weights is None else _gram(A, B, weights)
        if self.jacobians is not None:
            left = self.jacobians[l] if self.sign is None else self.jacobians[l] * self.sign
            block = block + left @ self.jacobians[k].T
        if l < k:
            p, G = self.adjoints[k], None if l == k - 1 else self.paths[k][l]
            return _add_cross(block, A, G, self.moves[k], self.trace[k], p)
        bend = self.bends.get(k + 1)
        return block if bend is None else _add_bends(block, A, bend)

    def _weights(self, l: int, k: int) -> Float[Tensor, "N O Q"] | None:
        """What multiplies A_l A_k, without what has shorter ways; None where nothing is left."""
        found = None
        if self.jacobians is None:
            last = self.paths[len(self.trace)]
            found = last[l] @ self.f2 @ last[k].transpose(1, 2)
        # A layer's own outputs bend by themselves, see _add_bends.
        for m in range(k + 1 + (l == k), len(self.trace)):
            bent = self.paths[m][l] * self.bends[m].unsqueeze(1)
            part = bent @ self.paths[m][k].transpose(1, 2)
            found = part if found is None else found + part
        return found


def _outer(A: Float[Tensor, "F N"], B: Float[Tensor, "G N"]) -> Float[Tensor, "FG N"]:
    # Else the product takes B's strides, and is many times slower.
    return (A.contiguous().unsqueeze(1) * B.contiguous().unsqueeze(0)).flatten(0, 1)


def _add_bends(block: Tensor, A: Float[Tensor, "F N"], bend: Float[Tensor, "N O"]) -> Tensor:
    """Adds Σ_n A_f A_g c_o where both are of output o."""
    F, O = len(A), bend.shape[1]
    part = (_outer(A, bend.T) @ A.T).view(F, O, F)
    block.view(F, O, F, O).diagonal(dim1=1, dim2=3).add_(part.transpose(1, 2))
    return block


def _gram(A: Float[Tensor, "F N"], B: Float[Tensor, "G N"], weights: Tensor) -> Tensor:
    """Σ_n weights[n, o, q] A[f, n] B[g, n] as the matrix of (f, o) by (g, q)."""
    N, O, Q = weights.shape
    F, G = len(A), len(B)
    weights = weights.reshape(N, O * Q).T
    # The smaller of two products of all samples decides how long it takes.
    if G < O * Q:
        product = _outer(A, B) @ weights.T
        return product.view(F, G, O, Q).permute(0, 2, 1, 3).reshape(F * O, G * Q)
    product = _outer(A, weights) @ B.T
    return product.view(F, O, Q, G).permute(0, 1, 3, 2).reshape(F * O, G * Q)


def _add_cross(
    block: Tensor,
    A: Float[Tensor, "F N"],
    G: Tensor | None,
    dA: Float[Tensor, "KI N"],
    later: Trace,
    p: Float[Tensor, "N Q"],
) -> Tensor:
    """Adds how a layer moves the inputs, and so the features, of a later one; not its bias.

    G is None for the layer just before: an output is an input.
    """
    F, I, moved = len(A), later.z.shape[1], len(dA)
    O = block.shape[0] // F
    into = block.view(F, O, *later.W.shape)[:, :, :moved]
    if G is None:
        part = (A @ _outer(dA, p.T).T).view(F, -1, I, p.shape[1])
        into.unflatten(2, (-1, I)).diagonal(dim1=1, dim2=3).add_(part.permute(0, 1, 3, 2))
        return block
    inner = torch.einsum("noi,kin,nq->nokiq", G, dA.unflatten(0, (-1, I)), p).flatten(1)
    into.add_((A @ inner).view(F, O, moved, -1))
    return block
