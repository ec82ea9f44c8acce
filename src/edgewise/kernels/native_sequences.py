"""Sequences by the native library: the selective scan, and a convolution with the steps before."""

import torch
from jaxtyping import Float
from torch import Tensor

from edgewise.kernels import native


def why_not(*tensors: Tensor) -> str | None:
    """Why the native library can't take these; None where it can."""
    for tensor in tensors:
        if tensor.device.type != "cpu":
            return f"the native kernel is for the CPU, a tensor is on {tensor.device}"
    dtypes = dict.fromkeys(tensor.dtype for tensor in tensors)
    if len(dtypes) > 1 or tensors[0].dtype not in native.DTYPES:
        return f"the native kernel is for float32 or float64, got {', '.join(map(str, dtypes))}"
    return native.why_no_library()


def scan(
    x: Float[Tensor, "S L H P"],
    delta: Float[Tensor, "S L H"],
    A: Float[Tensor, " H"],
    B: Float[Tensor, "S L N"],
    C: Float[Tensor, "S L N"],
    state: Float[Tensor, "S H P N"],
) -> tuple[Float[Tensor, "S L H P"], Float[Tensor, "S H P N"]]:
    """The recurrence of `edgewise.layers.scan`: the outputs, and the state after the last step."""
    given = [t.contiguous() for t in (x, delta, A, B, C, state)]
    y, last = torch.empty_like(given[0]), torch.empty_like(given[5])
    native.run("scan", *given, y, last, sizes=(*x.shape, B.shape[-1]))
    return y, last


def scan_back(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    dy: Float[Tensor, "S L H P"],
    dlast: Float[Tensor, "S H P N"],
) -> tuple[Tensor, ...]:
    """The gradients of the six inputs of `scan`; of states it keeps some, and finds the rest."""
    given = [t.contiguous() for t in (x, delta, A, B, C, state, dy, dlast)]
    found = [torch.empty_like(t) for t in given[:6]]
    found[2] = A.new_empty(len(x), len(A))  # each sequence's share
    native.run("scan_back", *given, *found, sizes=(*x.shape, B.shape[-1]))
    found[2] = found[2].sum(0)
    return tuple(found)


def causal_convolution(
    x: Float[Tensor, "S L1 C"], weight: Float[Tensor, "C width"], bias: Float[Tensor, " C"]
) -> tuple[Float[Tensor, "S L C"]]:
    """SiLU of each channel's convolution with the steps before, of which x holds width - 1."""
    given, sizes = _windows(x, weight, bias)
    y = x.new_empty(sizes[:3])
    native.run("causal_convolution", *given, y, sizes=sizes)
    return (y,)


def causal_convolution_back(
    x: Tensor, weight: Tensor, bias: Tensor, dy: Float[Tensor, "S L C"]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the three inputs of `causal_convolution`."""
    given, sizes = _windows(x, weight, bias)
    dx = torch.empty_like(given[0])
    dweight, dbias = x.new_empty(len(x), *given[1].shape), x.new_empty(len(x), len(bias))
    native.run("causal_convolution_back", *given, dy.contiguous(), dx, dweight, dbias, sizes=sizes)
    return dx, dweight.sum(0).T, dbias.sum(0)


def _windows(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[list[Tensor], tuple[int, ...]]:
    """The tensors as the library reads them, and its sizes: sequences, steps, channels, width."""
    channels, width = weight.shape
    sizes = (len(x), x.shape[1] - width + 1, channels, width)
    return [x.contiguous(), weight.T.contiguous(), bias.contiguous()], sizes
