"""Batches of examples, held and cut into chunks, so that every product sees the same function."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edgewise.core import InputError, check_count


class Chunk(NamedTuple):
    """Some examples: what the model takes, what it should answer, and the share of all, n_c / N."""

    inputs: tuple[Tensor, ...]
    target: Any
    share: float
    place: str

    def first(self, n: int) -> "Chunk":
        """The first n of its examples; they keep the share of all, and have no place."""
        inputs = tuple(x[:n] for x in self.inputs)
        return self._replace(inputs=inputs, target=self.target[:n], place="")

    def to(self, device: torch.device, dtype: torch.dtype | None) -> "Chunk":
        """The same examples there; floating-point numbers in ``dtype`` where it is given."""
        inputs = tuple(_move(tensor, device, dtype) for tensor in self.inputs)
        return self._replace(inputs=inputs, target=_move(self.target, device, dtype))


class Stream:
    """The batches of ``data``, in their order; what they hold is not copied.

    Args:
        data: ``(x, y)`` batches, or one such pair of tensors. x is a tensor or a tuple of
            tensors, all with the examples first; entries after y are ignored.
        chunk_size: Batches with more examples are cut; None leaves them whole.

    Raises:
        InputError: If there are no examples or a batch is no such pair.

    Example:
        >>> stream = Stream((torch.zeros(5, 2), torch.zeros(5)), chunk_size=2)
        >>> [chunk.share for chunk in stream]
        [0.4, 0.4, 0.2]

    """

    def __init__(self, data: Iterable[Any], chunk_size: int | None = None) -> None:
        if chunk_size is not None:
            check_count("chunk_size", chunk_size)
        pieces = [
            piece
            for number, batch in enumerate(_batches(data))
            for piece in _cut(number, batch, chunk_size)
        ]
        self.examples = sum(size for *_, size in pieces)
        if not self.examples:
            raise InputError("the data are empty: curvature needs at least one example")
        self.chunks = [
            Chunk(inputs, target, size / self.examples, place)
            for inputs, target, place, size in pieces
        ]

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self.chunks)

    def __len__(self) -> int:
        return len(self.chunks)


def _batches(data: Iterable[Any]) -> Iterator[Any]:
    is_pair = isinstance(data, (tuple, list)) and len(data) >= 2
    if is_pair and isinstance(data[1], Tensor) and _is_input(data[0]):
        return iter([data])
    try:
        return iter(data)
    except TypeError:
        raise InputError(
            f"data must be (x, y) batches or one such pair, got {type(data).__name__}"
        ) from None


def _is_input(x: Any) -> bool:
    """Whether x is a tensor or a tuple of tensors."""
    return isinstance(x, Tensor) or (
        isinstance(x, tuple) and all(isinstance(part, Tensor) for part in x)
    )


def _cut(number: int, batch: Any, chunk_size: int | None) -> Iterator[tuple]:
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise InputError(f"batch {number} must be a pair (x, y), got {type(batch).__name__}")
    x, target = batch[0], batch[1]
    inputs = x if isinstance(x, tuple) else tuple(x) if isinstance(x, list) else (x,)
    if not all(isinstance(tensor, Tensor) and tensor.ndim for tensor in (*inputs, target)):
        raise InputError(f"batch {number} must hold tensors with the examples on the first axis")
    sizes = {len(tensor) for tensor in (*inputs, target)}
    if len(sizes) > 1:
        raise InputError(
            f"batch {number} has {' and '.join(map(str, sorted(sizes)))} examples: "
            "inputs and target must agree"
        )
    for start in range(0, len(target), chunk_size or max(1, len(target))):
        end = min(start + (chunk_size or len(target)), len(target))
        place = f"batch {number}" + (f", examples {start} to {end - 1}" if chunk_size else "")
        yield tuple(t[start:end] for t in inputs), target[start:end], place, end - start


def _move(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else None)
