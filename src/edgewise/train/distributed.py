"""Several processes that train one model: who is who, and each one's part of every batch."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.train.source import Batch, Source

T = TypeVar("T")


def world() -> tuple[int, int]:
    """This process's rank and how many processes train together; (0, 1) for one alone.

    Example:
        >>> world()
        (0, 1)

    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def is_first() -> bool:
    """Whether this is the process that writes files and speaks."""
    return world()[0] == 0


class Part(NamedTuple):
    """One process's examples of a batch.

    ``weight`` is 0 where a batch has fewer examples than there are processes: those left over
    compute an example whose gradient counts for nothing. ``whole`` are the items of all parts.
    """

    inputs: tuple[Tensor, ...]
    target: Tensor
    items: Tensor
    whole: Tensor
    weight: int = 1

    def to(self, device: torch.device) -> "Part":
        """The same part on another device."""
        inputs = tuple(x.to(device) for x in self.inputs)
        return self._replace(inputs=inputs, target=self.target.to(device))


class Shared:
    """Batches of which each process takes its part: together, the batch of one process alone.

    Args:
        train: The batches, the same for all processes.
        rank: This process.
        size: How many there are.

    Example:
        >>> rows = ew.data.Rows(torch.eye(5), torch.zeros(5, 1))
        >>> batches = ew.data.RowBatches(rows, 5, shuffle=False)
        >>> [next(iter(Shared(batches, rank, 2).epoch(1))).items.tolist() for rank in (0, 1)]
        [[0, 1, 2], [3, 4]]

    """

    def __init__(self, train: Source, rank: int, size: int) -> None:
        self.train, self.rank, self.size = train, rank, size

    def __len__(self) -> int:
        return len(self.train)

    def epoch(self, number: int) -> Iterator[Part]:
        """This process's part of each batch of the epoch."""
        return (part_of(batch, self.rank, self.size) for batch in self.train.epoch(number))


def part_of(batch: Batch, rank: int, size: int) -> Part:
    """The examples of one of ``size`` processes.

    Raises:
        InputError: If the model's inputs don't have the examples in their first dimension.

    """
    count = len(batch.items)
    for tensor in (*batch.inputs, batch.target):
        if tensor.ndim == 0 or len(tensor) != count:
            raise InputError(
                f"a batch of {count} examples has a tensor of shape {tuple(tensor.shape)}: to "
                f"train on several devices all must have the examples in their first dimension"
            )
    rows = torch.tensor_split(torch.arange(count), size)[rank]
    weight = int(len(rows) > 0)
    # Nobody may stay away: gradients are averaged over all.
    rows = rows if weight else torch.arange(1)
    inputs = tuple(tensor[rows.to(tensor.device)] for tensor in batch.inputs)
    target, items = batch.target[rows.to(batch.target.device)], batch.items
    return Part(inputs, target, items[rows.to(items.device)], items, weight)


def sizes_of(batch: Batch) -> tuple[int, int]:
    """How many examples count here, and in all processes together."""
    if isinstance(batch, Part):
        return len(batch.items) * batch.weight, len(batch.whole)
    return len(batch.items), len(batch.items)


def items_of(batch: Batch) -> Tensor:
    """The items of the whole batch, for a message."""
    return batch.whole if isinstance(batch, Part) else batch.items


def summed(values: Tensor) -> Tensor:
    """The sum over all processes; the same tensor for one alone."""
    if world()[1] > 1:
        dist.all_reduce(values)
    return values


def agree(model: nn.Module) -> None:
    """Gives all processes the buffers of the first, running means for instance."""
    if world()[1] > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def gathered(tensor: Tensor) -> Tensor:
    """The rows of all processes, one after the other; they may have different numbers of them."""
    rank, size = world()
    if size == 1:
        return tensor
    counts = torch.zeros(size, dtype=torch.int64, device=tensor.device)
    counts[rank] = len(tensor)
    dist.all_reduce(counts)
    padded = tensor.new_zeros(int(counts.max()), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    parts = [torch.empty_like(padded) for _ in range(size)]
    dist.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, counts.tolist(), strict=True)])


def same_everywhere(value: int, what: str) -> None:
    """Refuses to begin where the processes found different things.

    Raises:
        InputError: With ``what`` differs.

    """
    rank, size = world()
    if size == 1:
        return
    found = torch.zeros(size, dtype=torch.int64)
    found[rank] = value
    if dist.get_backend() == "nccl":
        found = found.cuda()
    dist.all_reduce(found)
    if len(set(found.tolist())) > 1:
        raise InputError(
            f"the processes found different {what} ({', '.join(map(str, found.tolist()))}): all "
            f"must see the same folder"
        )


def first_then_all(call: Callable[[], T]) -> T:
    """The first process's call is over before the others make theirs."""
    rank, size = world()
    if size == 1:
        return call()
    if rank == 0:
        value = call()
        dist.barrier()
        return value
    dist.barrier()
    return call()


@contextmanager
def joined() -> Iterator[tuple[int, int]]:
    """Inside, the processes that ``torchrun`` started train together; alone it changes nothing.

    Joins by the environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT): gloo on the
    CPU, nccl where every process has a GPU of its own. A group that exists already is left as it
    is.

    Example:
        >>> with joined() as (rank, size):
        ...     print(rank, size)
        0 1

    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or world()[1] > 1:
        yield world()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    gpus = torch.cuda.device_count()
    on_gpu = local < gpus and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= gpus
    if on_gpu:
        torch.cuda.set_device(local)
    # Both, so that what lives on the CPU (counts, random states) can be agreed on, too.
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield world()
    finally:
        dist.destroy_process_group()
