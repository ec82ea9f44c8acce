"""The way back for those who differentiate again: by autograd, through operations of torch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def partials(
    f: Callable[..., tuple[Tensor, ...]],
    tensors: Sequence[Tensor | None],
    needs: Sequence[bool],
    downs: Sequence[Tensor],
) -> list[Tensor | None]:
    """The gradients of f's inputs where they are needed, as a graph where gradients are enabled.

    Each for itself, also where one of the inputs was made of another.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> made = 2 * x
        >>> with torch.no_grad():
        ...     partials(lambda a, b: (a * b,), [x, made], [True, True], [torch.ones(())])
        [tensor(6.), tensor(3.)]

    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Other names for them: what leads from one input to another is not between the names.
        names = [None if t is None else t.view_as(t) for t in tensors]
        wanted = [name for name, need in zip(names, needs, strict=True) if need]
        found = torch.autograd.grad(f(*names), wanted, downs, create_graph=again, allow_unused=True)
    each = iter(found)
    return [next(each) if need else None for need in needs]
