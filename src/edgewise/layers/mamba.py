"""Mamba-2 in plain PyTorch: a sequence layer that chooses, step by step, what to keep.

Legend, as in ``scan.py`` (Dao & Gu 2024, arXiv 2405.21060): z is the gate, x the input of the
recurrence, B and C its directions of writing and reading, Δ its step, A its rate of decay and D
the weight of the direct path. The inner width is heads × P = expand × dim.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.kernels import Way, apply, native_sequences
from edgewise.layers.scan import selective_scan

_LARGEST_DEFAULT_HEAD = 16
_DECAY_RATES = (1.0, 16.0)
_GAP_STD = 0.02


class MambaState(NamedTuple):
    """All that ``Mamba`` remembers of a sequence: its size does not depend on the length.

    Attributes:
        window: The last ``conv_width - 1`` inputs of the convolution.
        memory: The state H of the recurrence.

    """

    window: Float[Tensor, "batch window channels"]
    memory: Float[Tensor, "batch heads P N"]


class Mamba(nn.Module):
    """The selective state-space layer of Mamba-2 (Dao & Gu 2024, arXiv 2405.21060, section 7).

    For an input w of shape (batch, length, dim), with σ = SiLU:

        z, x, B, C, r = W_in w
        x, B, C       = σ(causal depthwise convolution of (x, B, C))
        Δ             = softplus(r + b_Δ + W_t gap)
        y             = scan(x, Δ, A, B, C) + D x,   A < 0 and D one number for each head
        output        = W_out RMSNorm(y σ(z))

    The output of step k depends on the inputs up to k only. There is **no residual connection and
    no normalisation of the input inside**: the caller writes ``h + mamba(norm(h))``.

    ``gap_dim`` features of the time since the last step can drive Δ, and Δ A is what a state
    decays by: a long gap can forget more than a short one. Their weights W_t start small (standard
    deviation 0.02), so that the layer starts close to one that does not know the time.

    At the start the rates -A are spread evenly from 1 to 16 over the heads, D is 1, and b_Δ is
    drawn so that softplus(b_Δ) is log-uniform in ``delta_range``: a head then remembers about
    1 / (-Δ A) steps, from one to a thousand. Draws come from torch's default generator; wrap the
    construction in ``edgewise.core.seeded`` to reproduce it.

    Args:
        dim: Width of the input and the output.
        state_dim: N, how many directions each head's state has.
        expand: The inner width is ``expand * dim``.
        head_dim: P, the width of a head; it divides the inner width. Each head decays at a pace of
            its own. When left out, the largest divisor up to 16.
        conv_width: How many steps the convolution sees.
        chunk: The largest number of steps in a chunk of the scan; it changes the speed only.
        delta_range: Smallest and largest Δ at the start.
        gap_dim: Number of time-gap features that drive Δ; 0 for none.

    Raises:
        InputError: If an argument is out of its range or ``head_dim`` does not divide the width.

    Example:
        Reading step by step gives what reading at once gives:

        >>> mamba, w = Mamba(8), torch.randn(2, 5, 8)
        >>> state, outputs = mamba.initial_state(2), []
        >>> for k in range(5):
        ...     y, state = mamba.step(w[:, k], state)
        ...     outputs.append(y)
        >>> torch.allclose(mamba(w), torch.stack(outputs, dim=1), atol=1e-5)
        True

    """

    def __init__(
        self,
        dim: int,
        state_dim: int = 16,
        *,
        expand: int = 2,
        head_dim: int | None = None,
        conv_width: int = 4,
        chunk: int = 24,
        delta_range: tuple[float, float] = (1e-3, 1e-1),
        gap_dim: int = 0,
    ) -> None:
        super().__init__()
        _check_sizes(1, dim=dim, state_dim=state_dim, expand=expand)
        _check_sizes(1, conv_width=conv_width, chunk=chunk)
        _check_sizes(0, gap_dim=gap_dim)
        low, high = delta_range
        if not 0 < low <= high < math.inf:
            raise InputError(f"delta_range is {delta_range}: it must be 0 < low ≤ high < ∞")
        inner = expand * dim
        self.head_dim = _head_dim(inner, head_dim)
        self.dim, self.state_dim, self.inner = dim, state_dim, inner
        self.heads = inner // self.head_dim
        self.conv_width, self.chunk, self.gap_dim = conv_width, chunk, gap_dim

        self._channels = inner + 2 * state_dim
        self.in_proj = nn.Linear(dim, inner + self._channels + self.heads, bias=False)
        self.conv_weight = nn.Parameter(torch.empty(self._channels, conv_width))
        self.conv_bias = nn.Parameter(torch.empty(self._channels))
        self.delta_bias = nn.Parameter(torch.empty(self.heads))
        self.gap_proj = nn.Linear(gap_dim, self.heads, bias=False) if gap_dim else None
        self.log_rate = nn.Parameter(torch.empty(self.heads))
        self.D = nn.Parameter(torch.empty(self.heads))
        self.norm = nn.RMSNorm(inner, eps=1e-5)
        self.out_proj = nn.Linear(inner, dim, bias=False)
        self._start(low, high)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        mask: Bool[Tensor, "batch length"] | None = None,
        gap: Float[Tensor, "batch length gap_dim"] | None = None,
    ) -> Float[Tensor, "batch length dim"]:
        """Reads whole sequences.

        Args:
            x: The sequences, padded on the right.
            mask: True at real steps. The others freeze the state and give exact zeros; what ``x``
                and ``gap`` hold there reaches neither an output nor a gradient.
            gap: Time-gap features, if and only if the layer was made with ``gap_dim``.

        Raises:
            InputError: If a shape does not fit.

        """
        self._check_input(x, mask, gap)
        if mask is not None:
            padding = ~mask[..., None]
            # W_in has no bias, so a step of zeros has a closed gate σ(z) = 0: its output is 0.
            x = x.masked_fill(padding, 0.0)
            gap = None if gap is None else gap.masked_fill(padding, 0.0)
        y, _ = self._read(x, mask, gap, self.initial_state(len(x), x.dtype))
        return y

    def step(
        self,
        x: Float[Tensor, "batch dim"],
        state: MambaState,
        gap: Float[Tensor, "batch gap_dim"] | None = None,
    ) -> tuple[Float[Tensor, "batch dim"], MambaState]:
        """Reads one more step of sequences that arrive as a stream.

        Args:
            x: The step.
            state: What ``initial_state`` or the last call returned.
            gap: Time-gap features of the step, if the layer was made with ``gap_dim``.

        Returns:
            The output of the step, and the state to go on with.

        Raises:
            InputError: If a shape does not fit.

        """
        if x.ndim != 2:
            raise InputError(
                f"x has shape {tuple(x.shape)}: a step must be (batch, {self.dim}); "
                f"call the layer itself for whole sequences"
            )
        gap = None if gap is None else gap[:, None]
        self._check_input(x[:, None], None, gap)
        if len(state.memory) != len(x):
            raise InputError(
                f"the state is of {len(state.memory)} sequences and x of {len(x)}: "
                f"start with initial_state({len(x)})"
            )
        y, state = self._read(x[:, None], None, gap, state)
        return y[:, 0], state

    def initial_state(self, batch: int, dtype: torch.dtype | None = None) -> MambaState:
        """The state before the first step, all zero, on the layer's device.

        Args:
            batch: How many sequences.
            dtype: Of the steps to come; the weights' when left out.

        """
        window = self.conv_weight.new_zeros(batch, self.conv_width - 1, self._channels, dtype=dtype)
        memory = window.new_zeros(batch, self.heads, self.head_dim, self.state_dim)
        return MambaState(window, memory)

    def _read(
        self, w: Tensor, mask: Tensor | None, gap: Tensor | None, state: MambaState
    ) -> tuple[Tensor, MambaState]:
        """The layer's formula from a given state on: a sequence, or one step as a sequence of 1."""
        z, xBC, r = self.in_proj(w).split([self.inner, self._channels, self.heads], dim=-1)
        xBC, window = self._convolve(xBC, state.window)
        x, B, C = xBC.split([self.inner, self.state_dim, self.state_dim], dim=-1)
        x = x.unflatten(-1, (self.heads, self.head_dim))
        delta = self._delta(r, gap, mask)
        y, memory = selective_scan(
            x, delta, -self.log_rate.exp(), B, C, state.memory, chunk=self.chunk
        )
        y = y + self.D[:, None] * x
        y = self.norm(y.flatten(-2) * F.silu(z))
        return self.out_proj(y), MambaState(window, memory)

    def _convolve(self, xBC: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        """σ(Σ_i weight_i xBC_{k - width + 1 + i} + bias), and the window for the next step."""
        length = xBC.shape[1]
        xBC = torch.cat([window.to(xBC.dtype), xBC], dim=1)
        (y,) = apply(_CONVOLUTION, xBC, self.conv_weight, self.conv_bias)
        return y, xBC[:, length:]

    def _delta(self, r: Tensor, gap: Tensor | None, mask: Tensor | None) -> Tensor:
        """Δ = softplus(r + b_Δ + W_t gap), and 0 at padding, where time stands still."""
        r = r + self.delta_bias
        if self.gap_proj is not None:
            r = r + self.gap_proj(gap)
        delta = F.softplus(r)
        return delta if mask is None else delta.masked_fill(~mask[..., None], 0.0)

    @torch.no_grad()
    def _start(self, low: float, high: float) -> None:
        """Draws the initial values the class docstring describes."""
        bound = 1 / math.sqrt(self.conv_width)
        self.conv_weight.uniform_(-bound, bound)
        self.conv_bias.uniform_(-bound, bound)
        delta = self.delta_bias.uniform_(math.log(low), math.log(high)).exp()
        self.delta_bias.copy_(delta + torch.log(-torch.expm1(-delta)))  # softplus⁻¹(Δ)
        self.log_rate.copy_(torch.linspace(*_DECAY_RATES, self.heads).log())
        self.D.fill_(1.0)
        if self.gap_proj is not None:
            self.gap_proj.weight.normal_(std=_GAP_STD)

    def _check_input(self, x: Tensor, mask: Tensor | None, gap: Tensor | None) -> None:
        """Refuses what does not fit the layer or the sequences."""
        if x.ndim != 3 or x.shape[-1] != self.dim or x.shape[1] == 0:
            raise InputError(
                f"x has shape {tuple(x.shape)}: this layer reads (batch, length, {self.dim}) "
                f"with length ≥ 1"
            )
        if mask is not None and (mask.dtype != torch.bool or mask.shape != x.shape[:2]):
            raise InputError(
                f"mask is {mask.dtype} of shape {tuple(mask.shape)}: it must be torch.bool of "
                f"shape {tuple(x.shape[:2])}, True at real steps"
            )
        if (gap is None) == bool(self.gap_dim):
            given = "missing" if gap is None else "given"
            raise InputError(f"gap is {given}: this layer was made with gap_dim={self.gap_dim}")
        if gap is not None and gap.shape != (*x.shape[:2], self.gap_dim):
            raise InputError(
                f"gap has shape {tuple(gap.shape)}: beside x {tuple(x.shape)} it must be "
                f"{(*x.shape[:2], self.gap_dim)}"
            )


def _by_slices(xBC: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor]:
    """The convolution as a sum of shifted slices.

    On a CPU it took half the time of ``conv1d``, which wants the channels first.
    """
    width = weight.shape[1]
    length = xBC.shape[1] - width + 1
    total = bias
    for i in range(width):
        total = torch.addcmul(total, xBC[:, i : i + length], weight[:, i])
    return (F.silu(total),)


_CONVOLUTION = Way(
    native_sequences.causal_convolution, native_sequences.causal_convolution_back, _by_slices
)


def _check_sizes(least: int, **sizes: int) -> None:
    """Each size is a whole number and not below ``least``."""
    for name, size in sizes.items():
        if not isinstance(size, int) or size < least:
            raise InputError(f"{name} is {size}: it must be a whole number of at least {least}")


def _head_dim(inner: int, head_dim: int | None) -> int:
    """The given width of a head if it divides the inner width, or the largest divisor up to 16."""
    if head_dim is None:
        return max(P for P in range(1, _LARGEST_DEFAULT_HEAD + 1) if inner % P == 0)
    _check_sizes(1, head_dim=head_dim)
    if inner % head_dim:
        raise InputError(
            f"head_dim is {head_dim}: it must divide the inner width expand * dim = {inner}"
        )
    return head_dim
