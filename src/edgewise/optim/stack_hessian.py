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

from edgewise.optim.stack import Stack, Trace, features


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
    adjoints = [q for _, q in stack.adjoints(trace, p)]
    later = range(1, len(trace))
    slopes = [None, *(trace[m].slopes() for m in later)]
    paths = {m: stack.sensitivities(trace, m, slopes) for m in (*later, len(trace))}
    bends = {m: trace[m].pull(adjoints[m], order=2) for m in later}
    sizes = [t.W.numel() for t in trace]
    H = trace[0].W.new_zeros(sum(sizes), sum(sizes))
    rows = [part.split(sizes, dim=1) for part in H.split(sizes, dim=0)]
    for l in range(len(trace)):
        for k in range(l, len(trace)):
            block = _gram(trace[l].A, trace[k].A, _weights(paths, bends, f2, l, k))
            if l < k:
                block += _cross(
                    trace[l].A,
                    paths[k][l],
                    features(trace[k].layer, trace[k].z, 1, trace[k].cells).unflatten(1, (-1, trace[k].z.shape[1])),
                    trace[k],
                    adjoints[k],
                )
            rows[l][k].copy_(block)
            rows[k][l].copy_(block.T)
    return H


def _weights(paths: dict, bends: dict, f2: Tensor, l: int, k: int) -> Float[Tensor, "N O Q"]:
    """What multiplies A_l A_k."""
    last = paths[max(paths)]
    W = last[l] @ f2 @ last[k].transpose(1, 2)
    for m in range(k + 1, max(paths)):
        W += (paths[m][l] * bends[m].unsqueeze(1)) @ paths[m][k].transpose(1, 2)
    return W


def _gram(A: Tensor, B: Tensor, weights: Tensor) -> Tensor:
    """Σ_n weights[n, o, q] A[n, f] B[n, g] as the matrix of (f, o) by (g, q)."""
    N, O, Q = weights.shape
    F, G = A.shape[1], B.shape[1]
    weights = weights.reshape(N, O * Q)
    # The smaller of two products of all samples decides how long it takes.
    if G < O * Q:
        product = (A.unsqueeze(2) * B.unsqueeze(1)).view(N, F * G).T @ weights
        return product.view(F, G, O, Q).permute(0, 2, 1, 3).reshape(F * O, G * Q)
    product = (A.unsqueeze(2) * weights.unsqueeze(1)).view(N, -1).T @ B
    return product.view(F, O, Q, G).permute(0, 1, 3, 2).reshape(F * O, G * Q)


def _cross(A: Tensor, G: Tensor, dA: Tensor, later: Trace, p: Tensor) -> Tensor:
    """How a layer moves the inputs, and so the features, of a later one; not its bias."""
    F, O, moved = A.shape[1], G.shape[1], dA[0].numel()
    inner = torch.einsum("noi,nki,nq->nokiq", G, dA, p).flatten(1)
    block = A.new_zeros(F, O, *later.W.shape)
    block[:, :, :moved] = (A.T @ inner).view(F, O, moved, -1)
    return block.reshape(F * O, later.W.numel())
