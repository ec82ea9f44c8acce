"""How large a network is, and the largest one of a family that stays within a size."""

from collections.abc import Callable, Sequence

from torch import nn

from edgewise.core import InputError, check_count, seeded


def check_widths(widths: Sequence[int]) -> list[int]:
    """The widths of a dense network as a list, or an :class:`InputError`.

    Example:
        >>> check_widths((784, 64, 10))
        [784, 64, 10]

    """
    if isinstance(widths, str) or not isinstance(widths, Sequence) or len(widths) < 2:
        raise InputError(f"widths must be at least two numbers, such as [2, 5, 1], got {widths!r}")
    return [check_count(f"widths[{place}]", width) for place, width in enumerate(widths)]


def check_dropout(dropout: float) -> float:
    """A probability below 1, or an :class:`InputError`."""
    number = isinstance(dropout, (int, float)) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout < 1:
        raise InputError(f"dropout must lie in [0, 1), got {dropout!r}")
    return dropout


def count_parameters(model: nn.Module) -> int:
    """How many numbers a training may change.

    Example:
        >>> count_parameters(ew.models.MLP([2, 64, 1])) == 2 * 64 + 64 + 64 + 1
        True

    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def largest(make: Callable[[int], nn.Module], parameters: int, most: int = 1 << 16) -> int:
    """The largest size n for which ``make(n)`` has at most so many parameters.

    It is how a baseline gets the size of the network it stands beside: ``make`` gives, for
    instance, an MLP of n hidden units, or a CNN whose channels are multiples of n. The caller's
    random state is left as it was.

    Args:
        make: From a size of at least 1 to a network; more parameters the larger the size.
        parameters: How many there may be.
        most: Where the search ends.

    Raises:
        InputError: If even size 1 has more.

    Example:
        >>> n = largest(lambda n: ew.models.MLP([784, n, 10]), parameters=50_890)
        >>> n, count_parameters(ew.models.MLP([784, n, 10]))
        (64, 50890)

    """
    check_count("parameters", parameters)

    def fits(size: int) -> bool:
        with seeded(0, "size"):
            return count_parameters(make(size)) <= parameters

    if not fits(1):
        raise InputError(
            f"no size fits in {parameters} parameters: the smallest network of this kind has more"
        )
    low, high = 1, 2
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
