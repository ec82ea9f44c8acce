"""Derivatives of derivatives, and which operation stands in their way."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import Node
from torch.nn.attention import SDPBackend, sdpa_kernel

from edgewise.core import InputError

# Their derivatives jump: where nothing else bends, the second derivative is zero or a spike.
KINKS = (
    *("Abs", "Sign", "Sgn", "Relu", "LeakyRelu", "Threshold", "Hardtanh", "Clamp", "ClampMin"),
    *("ClampMax", "Max", "Min", "Maximum", "Minimum", "Amax", "Amin", "Round", "Floor", "Ceil"),
)


def differentiate(
    outputs: Tensor,
    inputs: Sequence[Tensor],
    cotangent: Tensor | None = None,
    *,
    create: bool = False,
    retain: bool = False,
) -> tuple[Tensor, ...]:
    """``torch.autograd.grad`` with zeros for what has no influence.

    Raises:
        InputError: If an operation has no derivative of this order; the message names it.

    """
    if not outputs.requires_grad:
        return tuple(torch.zeros_like(tensor) for tensor in inputs)
    try:
        return torch.autograd.grad(
            outputs,
            inputs,
            cotangent,
            create_graph=create,
            retain_graph=create or retain,
            materialize_grads=True,
        )
    except RuntimeError as error:
        found = re.search(r"derivative for aten::(\w+) is not implemented", str(error))
        if not found:
            raise
        raise InputError(
            f"the loss is not twice differentiable: the operation {_forward_name(found[1])!r} "
            "has no second derivative in torch; replace it"
        ) from error


@contextmanager
def second_order() -> Iterator[None]:
    """Inside, gradients are on, and graphs are made of what can be differentiated twice.

    The fused kernels of attention and cuDNN's recurrent ones can't. Layers with kernels of their
    own can, but by working out their truth again for each product; inside a level of forward-mode
    differentiation they show the truth itself, whose graph is then kept.
    """
    with ExitStack() as stack:
        if forward_ad._current_level < 0:  # levels do not nest
            stack.enter_context(forward_ad.dual_level())
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield


def check_backward_of_backward(output: Tensor) -> None:
    """Refuses a graph with a function marked ``once_differentiable``.

    Autograd itself says nothing: it takes their gradient for a constant, and the Hessian is wrong.
    """
    for node in nodes(output):
        backward = getattr(getattr(node, "_forward_cls", None), "backward", None)
        if backward is not None and hasattr(backward, "__wrapped__"):
            raise InputError(
                "the loss is not twice differentiable: the operation "
                f"{node.name().removesuffix('Backward')!r} is marked once_differentiable; "
                "replace it"
            )


def kink(output: Tensor) -> str | None:
    """The first operation with a kink among those that made ``output``, in lower case."""
    for node in nodes(output):
        name = re.sub(r"Backward\d*$", "", node.name())
        if name in KINKS:
            return name.lower()
    return None


def nodes(output: Tensor) -> Iterator[Node]:
    """Every operation that made ``output``, from the last to the first."""
    waiting, seen = [output.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting.extend(following for following, _ in node.next_functions)


def _forward_name(backward: str) -> str:
    """_ctc_loss_backward → ctc_loss."""
    return re.sub(r"_backward$", "", backward).strip("_")
