"""Less memory: what is made on the way is made again in the backward pass, not kept."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.utils.checkpoint import checkpoint


def must_be_plain(*tensors: Tensor) -> bool:
    """Whether something else follows the operations themselves, so that none may be hidden.

    That is so in ``torch.compile`` and ``torch.export``, in ``torch.func`` transforms, and in
    forward-mode differentiation.

    Example:
        >>> must_be_plain(torch.zeros(1))
        False

    """
    return (
        torch.compiler.is_compiling()
        # No public name says so; torch.autograd.Function asks the same.
        or torch._C._are_functorch_transforms_active()
        or any(unpack_dual(tensor).tangent is not None for tensor in tensors)
    )


def recomputed(f: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """f(*tensors), keeping nothing but the tensors for the backward pass.

    ``f`` may use other tensors that require gradients, and the result can be differentiated again.

    Example:
        >>> x = torch.ones(3, requires_grad=True)
        >>> recomputed(lambda x: x.square().square().sum(), x).backward()
        >>> x.grad
        tensor([4., 4., 4.])

    """
    if not torch.is_grad_enabled() or must_be_plain(*tensors):
        return f(*tensors)
    return checkpoint(f, *tensors, use_reentrant=False, preserve_rng_state=False)


def in_chunks(f: Callable[..., Tensor], rows: int, x: Tensor, *others: Tensor) -> Tensor:
    """f(x, *others), so many rows of x at once (at least one), each made again when needed.

    Example:
        >>> x, w = torch.randn(5, 3), torch.randn(3)
        >>> torch.equal(in_chunks(torch.mul, 2, x, w), x * w)
        True

    """
    if must_be_plain(x, *others):
        return f(x, *others)
    return torch.cat([recomputed(f, part, *others) for part in x.split(max(1, rows))])
