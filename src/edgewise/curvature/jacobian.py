"""The Jacobian of all predictions, as products and as a matrix."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from edgewise.core import InputError
from edgewise.curvature.graphs import Kept
from edgewise.curvature.stream import Chunk

if TYPE_CHECKING:
    from edgewise.curvature.functional import Functional


class JacobianOperator:
    """J = ∂y/∂θ, (N·O, n), for predictions y of shape (N, O) flattened in the data's order.

    ``J @ v`` is J v, ``J.T(u)`` is Jᵀ u, :meth:`dense` the matrix.
    """

    def __init__(self, graphs: Kept, functional: "Functional", theta: Tensor) -> None:
        self._graphs, self._functional, self._theta = graphs, functional, theta

    def __matmul__(self, v: Tensor) -> Tensor:
        """J v, (N·O,)."""
        self._functional.flat.check(v)
        v = v.to(self._theta)
        return torch.cat([graph.push(v).reshape(-1) for _, graph in self._graphs])

    def T(self, u: Tensor) -> Tensor:
        """Jᵀ u, (n,)."""
        u = u.to(self._theta).reshape(-1)
        total, start = torch.zeros_like(self._theta), 0
        for _, graph in self._graphs:
            part = u[start : start + graph.y.numel()]
            if part.numel() < graph.y.numel():
                break
            total += graph.pull(part.view_as(graph.y))
            start += graph.y.numel()
        else:
            if start == u.numel():
                return total
        raise InputError(
            f"u must have one number for each of the predictions' entries, got {u.numel()}"
        )

    def dense(self) -> Tensor:
        """The matrix, (N·O, n), from one backward pass for each output, vectorised over examples.

        Examples must not see each other in the model, as in a batch they do not.
        """

        def predict_one(theta: Tensor, *inputs: Tensor) -> Tensor:
            chunk = Chunk(tuple(x.unsqueeze(0) for x in inputs), None, 1.0, "")
            return self._functional.predict(theta, chunk).reshape(-1)

        rows = [
            vmap(jacrev(predict_one), (None, *[0] * len(chunk.inputs)))(self._theta, *chunk.inputs)
            for chunk in self._functional.chunks()
        ]
        return torch.cat([part.flatten(0, 1) for part in rows])
