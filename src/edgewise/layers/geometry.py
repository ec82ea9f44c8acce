"""What input a kernel takes, and how it moves over it."""

from typing import NamedTuple

from torch import Tensor

from edgewise.core import InputError


class Geometry(NamedTuple):
    """Sizes of a convolution, one number for each axis that the kernel moves along."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    """Zeros before and after."""
    dilation: tuple[int, ...]

    @property
    def span(self) -> tuple[int, ...]:
        """How far the kernel reaches: dilation · (kernel_size - 1) + 1."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))

    @property
    def pads(self) -> tuple[int, ...]:
        """The padding in the order of ``F.pad``: the last axis first."""
        return tuple(side for pair in self.padding[::-1] for side in pair)

    def padded(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of an input of these sizes with its padding."""
        return tuple(n + sum(pair) for n, pair in zip(sizes, self.padding, strict=True))


def make_geometry(
    dims: int,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...] | str,
    dilation: int | tuple[int, ...],
) -> Geometry:
    """The geometry from numbers that may be one for all ``dims`` axes, or one for each.

    ``padding="same"`` keeps the size; where the sum is odd, one more zero goes behind, as in torch.

    Raises:
        InputError: If a number is not whole or too small, there are too few or too many, or the
            size can't be kept because of a stride.

    Example:
        >>> make_geometry(2, (3, 4), 1, "same", 1).padding
        ((1, 1), (1, 2))

    """
    free = Geometry(
        _per_axis("kernel_size", kernel_size, dims),
        _per_axis("stride", stride, dims),
        ((0, 0),) * dims,
        _per_axis("dilation", dilation, dims),
    )
    if not isinstance(padding, str):
        sides = _per_axis("padding", padding, dims, least=0)
        return free._replace(padding=tuple((n, n) for n in sides))
    if padding != "same":
        raise InputError(f"padding must be 'same' or whole numbers of at least 0, got {padding!r}")
    if max(free.stride) > 1:
        raise InputError(f"padding='same' needs stride=1, got stride={stride!r}")
    return free._replace(padding=tuple(((n - 1) // 2, n // 2) for n in free.span))


def check_input(name: str, x: Tensor, channels: int, weight: Tensor) -> None:
    """Raises an :class:`InputError` unless x suits a layer with this weight (O, C, *kernel)."""
    if x.ndim != weight.ndim or x.shape[1] != channels:
        axes = {3: "L", 4: "H, W", 5: "D, H, W"}[weight.ndim]
        raise InputError(f"{name} takes x of shape (N, {channels}, {axes}), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise InputError(f"{name} takes floating-point numbers, got {x.dtype}; use x.float()")
    if x.device != weight.device:
        raise InputError(f"{name} is on {weight.device} and x on {x.device}: move one with .to()")


def check_reach(name: str, x: Tensor, geometry: Geometry) -> None:
    """Raises an :class:`InputError` where the kernel has no place in the padded x."""
    sizes = geometry.padded(tuple(x.shape[2:]))
    if any(n < span for n, span in zip(sizes, geometry.span, strict=True)):
        raise InputError(
            f"the kernel of {name} reaches over {geometry.span} pixels, and x with its padding "
            f"has {sizes}: use a smaller kernel or more padding"
        )


def _per_axis(name: str, value: object, dims: int, least: int = 1) -> tuple[int, ...]:
    """One number for each axis."""
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= least for n in numbers)
    if len(numbers) != dims or not whole:
        one = "or a tuple of it" if dims == 1 else f"or {dims} of them"
        raise InputError(f"{name} must be a whole number of at least {least} {one}, got {value!r}")
    return numbers
