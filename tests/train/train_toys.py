"""Small data and models for the tests of this room."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgewise.core import generator, seeded


class ToyBatch(NamedTuple):
    inputs: tuple[Tensor, ...]
    target: Tensor
    items: Tensor

    def to(self, device):
        return ToyBatch(
            tuple(x.to(device) for x in self.inputs), self.target.to(device), self.items
        )


class Toys:
    """Points in the plane, labelled by the nearest of three corners; shuffled by epoch."""

    def __init__(self, n=63, size=16, seed=0, shuffle=True, dtype=torch.float32, regress=False):
        draw = generator(seed, "toys")
        self.x = torch.randn(n, 2, generator=draw, dtype=torch.float64).to(dtype)
        corners = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=dtype)
        self.y = torch.cdist(self.x, corners).argmin(1)
        if regress:
            self.y = self.x.sum(1, keepdim=True)
        self.size, self.seed, self.shuffle = size, seed, shuffle

    def __len__(self):
        return -(-len(self.x) // self.size)

    def epoch(self, number):
        order = torch.arange(len(self.x))
        if self.shuffle:
            order = torch.randperm(len(self.x), generator=generator(self.seed, "order", number))
        for items in order.split(self.size):
            yield ToyBatch((self.x[items],), self.y[items], items)


def network(dtype=torch.float32, out=3, dropout=0.0, norm=False):
    """A small network with the same weights each time."""
    with seeded(0, "network"):
        middle = [nn.BatchNorm1d(8)] if norm else []
        layers = [nn.Linear(2, 8), *middle, nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, out)]
        return nn.Sequential(*layers).to(dtype)


def same_state(a, b):
    """True when two state dictionaries are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
