"""The graphs of one chunk at one point, built once and used for many products."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from edgewise.curvature.differentiable import differentiate, second_order
from edgewise.curvature.stream import Chunk

Predict = Callable[[Tensor, Chunk], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


class GradientGraph:
    """The gradient g(θ) of one chunk's loss, with the graph that leads from θ to it.

    A product H v is one backward pass: H is symmetric, so the pullback of v through g is H v.
    """

    def __init__(self, theta: Tensor, value: Callable[[Tensor], Tensor]) -> None:
        self.theta = theta.detach().requires_grad_()
        with second_order():
            self.value = value(self.theta)
            (self.gradient,) = differentiate(self.value, [self.theta], create=True)

    def product(self, v: Tensor) -> Tensor:
        with torch.enable_grad():
            return differentiate(self.gradient, [self.theta], v, retain=True)[0]


class PredictionGraph:
    """The predictions y(θ) of one chunk, with products by their Jacobian J = ∂y/∂θ.

    J v is the pullback of v through u ↦ Jᵀu, which is linear: no forward-mode rules are needed,
    which several of torch's operations lack.
    """

    def __init__(self, theta: Tensor, predict: Callable[[Tensor], Tensor]) -> None:
        self.theta = theta.detach().requires_grad_()
        with second_order():
            self.y = predict(self.theta)
            self.u = torch.zeros_like(self.y, requires_grad=True)
            (self.pulled,) = differentiate(self.y, [self.theta], self.u, create=True)

    def push(self, v: Tensor) -> Tensor:
        """J v, in the shape of y."""
        with torch.enable_grad():
            return differentiate(self.pulled, [self.u], v, retain=True)[0]

    def pull(self, u: Tensor) -> Tensor:
        """Jᵀ u, flat."""
        with torch.enable_grad():
            return differentiate(self.y, [self.theta], u, retain=True)[0]


class LossGraph:
    """The loss of one chunk in its predictions y: gradient r and products by ∂²ℓ/∂y²."""

    def __init__(self, y: Tensor, loss: Callable[[Tensor], Tensor]) -> None:
        self.y = y.detach().requires_grad_()
        with second_order():
            self.value = loss(self.y)
            (self.gradient,) = differentiate(self.value, [self.y], create=True)

    def product(self, w: Tensor) -> Tensor:
        with torch.enable_grad():
            return differentiate(self.gradient, [self.y], w, retain=True)[0]


class Kept:
    """One graph for each chunk, kept between products as long as they fit in ``budget`` bytes.

    What a graph saves for its backward passes is counted on a few examples. Those graphs that do
    not fit are built for each product.
    """

    def __init__(self, make: Callable[[Chunk], Any], chunks: list[Chunk], budget: float) -> None:
        self.make, self.chunks = make, chunks
        self.graphs: dict[int, Any] = {}
        self.room = budget

    def __iter__(self) -> Iterator[tuple[Chunk, Any]]:
        for i, chunk in enumerate(self.chunks):
            if i not in self.graphs:
                graph = self.make(chunk)
                self._keep(i, chunk, graph)
            else:
                graph = self.graphs[i]
            yield chunk, graph

    def _keep(self, i: int, chunk: Chunk, graph: Any) -> None:
        if self.room > 0:
            self.room -= self._bytes(chunk)
            if self.room >= 0:
                self.graphs[i] = graph

    def _bytes(self, chunk: Chunk) -> float:
        """What the chunk's graph holds: a constant, and so much for each example."""
        n, few = len(chunk.target), min(8, len(chunk.target) // 2)
        if not few:
            return self._count(chunk, n)
        small, larger = self._count(chunk, few), self._count(chunk, 2 * few)
        return small + (larger - small) / few * (n - few)

    def _count(self, chunk: Chunk, n: int) -> int:
        seen: dict[int, int] = {}

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor.detach()

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            self.make(chunk.first(n))
        return sum(seen.values())
