"""From the states of a sequence to logits."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from edgewise.bases import Gaussian
from edgewise.core import InputError, check_count, did_you_mean
from edgewise.layers.linear import KANLinear
from edgewise.models.sizes import check_dropout

POOLS = ("mean", "last", "max")
HEADS = ("linear", "kan")


class PooledHead(nn.Module):
    r"""The mean, last or largest of the real states, then a linear or a KAN layer.

    The KAN head is a linear one beside functions, five Gaussians on [-2, 2]:
    :math:`φ_{oi}(x) = w_{oi} x + \sum_k c_{kio} B_k(x)`.

    Args:
        hidden_dim: The size of the states, H.
        num_classes: The number of classes, C.
        pool: ``"mean"``, ``"last"`` (the last real step) or ``"max"`` (of each unit).
        head: ``"linear"`` or ``"kan"``.
        dropout: The probability of dropping a unit before the head.

    Shape:
        states ``(B, L, H)``, mask ``(B, L)`` to ``(B, C)``; a sequence without a real step counts
        as a state of zeros.

    Raises:
        InputError: If an argument makes no sense.

    Example:
        >>> head, states = PooledHead(4, 2), torch.randn(1, 5, 4)
        >>> mask = torch.tensor([[True, True, False, False, False]])
        >>> torch.allclose(head(states, mask), head.layer(states[:, :2].mean(1)), atol=1e-6)
        True

    """

    def __init__(
        self,
        hidden_dim: int,
        num_classes: int,
        pool: str = "mean",
        head: str = "linear",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_count("num_classes", num_classes)
        for what, word, known in (("pool", pool, POOLS), ("head", head, HEADS)):
            if word not in known:
                raise InputError(f"unknown {what} {word!r}: {did_you_mean(word, known)}")
        self.pool = pool
        self.dropout = nn.Dropout(check_dropout(dropout))
        if head == "linear":
            self.layer = nn.Linear(hidden_dim, num_classes)
        else:
            basis = Gaussian(5, (-2.0, 2.0))
            self.layer = KANLinear(hidden_dim, num_classes, basis, base="identity", bias=True)

    def forward(
        self, states: Float[Tensor, "B L H"], mask: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B C"]:
        """Logits of the classes."""
        return self.layer(self.dropout(self._pooled(states, mask.unsqueeze(-1))))

    def _pooled(self, states: Tensor, real: Tensor) -> Tensor:
        if self.pool == "mean":
            total = states.masked_fill(~real, 0.0).sum(1)
            return total / real.sum(1).clamp(min=1)
        if self.pool == "max":
            most = states.masked_fill(~real, -torch.inf).amax(1)
            return most.masked_fill(~real.any(1), 0.0)
        steps = torch.arange(states.shape[1], device=states.device).unsqueeze(-1)
        last = (steps * real).amax(1, keepdim=True)
        state = states.gather(1, last.expand(-1, -1, states.shape[-1])).squeeze(1)
        return state.masked_fill(~real.any(1), 0.0)

    def extra_repr(self) -> str:
        return f"pool={self.pool!r}"


def mask_of(lengths: Tensor, steps: int) -> Bool[Tensor, "B L"]:
    """Which steps are real, where padding is on the right.

    Example:
        >>> mask_of(torch.tensor([2, 0]), 3).tolist()
        [[True, True, False], [False, False, False]]

    """
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(-1)


def check_lengths(lengths: Tensor, batch: int, steps: int, what: str) -> None:
    """Refuses lengths that don't fit, and sequences that are nothing but padding.

    In a compiled or exported model the values are not looked at: there a sequence without a step
    counts as a state of zeros.

    Args:
        lengths: The lengths.
        batch: How many sequences there are.
        steps: How long they are, padding included.
        what: What a step is, for the message.

    Raises:
        InputError: If they don't fit.

    """
    if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise InputError(
            f"lengths must be {batch} whole numbers, one for each sequence, got {lengths.dtype} "
            f"of shape {tuple(lengths.shape)}"
        )
    if torch.compiler.is_compiling() or not len(lengths):
        return
    low, high = int(lengths.min()), int(lengths.max())
    if low < 0 or high > steps:
        raise InputError(
            f"lengths must lie between 1 and {steps}, the padded length, got {low} to {high}"
        )
    if low == 0:
        raise InputError(
            f"sequence {int(lengths.argmin())} of the batch has no {what}, only padding: leave it "
            f"out"
        )
