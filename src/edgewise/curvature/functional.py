"""Model, loss and data as one function of a flat vector, with all its derivatives."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from edgewise.curvature.checks import check_mean, check_second, check_settled, check_value
from edgewise.curvature.differentiable import differentiate
from edgewise.curvature.graphs import GradientGraph, Kept, LossGraph, PredictionGraph
from edgewise.curvature.jacobian import JacobianOperator
from edgewise.curvature.operator import Operator
from edgewise.curvature.parameters import Flat
from edgewise.curvature.stream import Chunk, Stream


class Functional:
    r"""The mean loss over a stream of batches as a function of the parameters, f(θ).

    .. math::
        f(θ) = \sum_c \frac{n_c}{N}\, ℓ(\text{model}_θ(x_c),\, y_c)

    The sum runs over chunks c in the data's order, so that batching, order, chunk size and device
    change results only in rounding. Everything is flat: θ, gradients and the vectors of products
    have ``size`` numbers, in the order of ``slices``.

    Args:
        model: The model, in evaluation mode where that matters. It is called as ``model(*x)``.
        loss: ``loss(prediction, target)``, the mean over the batch's examples.
        data: An iterable of ``(x, y)`` batches, or one such pair. They are held.
        params: Which parameters, see :class:`Flat`; None is all that are trainable.
        dtype: Compute in this dtype; None is the parameters' own.
        chunk_size: The most examples that go through the model at once; None is whole batches.
        keep: Graphs are kept between products up to this many bytes.

    Raises:
        InputError: If the data are empty, nothing is trainable, or the model is random or
            changes as it is called (dropout, batch normalisation in training mode).

    Example:
        >>> from edgewise.curvature import Functional
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> x, y = torch.randn(10, 2), torch.zeros(10, 1)
        >>> f = Functional(model, torch.nn.functional.mse_loss, [(x, y)])
        >>> torch.allclose(f.hessian().dense(), 2 * x.T @ x / 10, atol=1e-6)
        True

    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Any], Tensor],
        data: Iterable[Any],
        params: Iterable[str] | Iterable[Tensor] | None = None,
        dtype: torch.dtype | None = None,
        *,
        chunk_size: int | None = None,
        keep: float = 2**30,
    ) -> None:
        self.flat = Flat(model, params)
        check_settled(model)
        self.model, self.loss = model, loss
        self.stream = Stream(data, chunk_size)
        self._cast = dtype
        self.dtype, self.device = dtype or self.flat.dtype, self.flat.device
        self.keep = keep
        self._unchecked = {chunk.place for chunk in self.stream}
        self._checked_twice = False

    @property
    def size(self) -> int:
        """The number of parameters, n."""
        return self.flat.size

    @property
    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in a flat vector, by name."""
        return self.flat.slices

    @property
    def examples(self) -> int:
        """The number of examples, N."""
        return self.stream.examples

    def point(self) -> Tensor:
        """θ as the model has it now, a copy."""
        return self.flat.vector(self.dtype)

    def assign(self, theta: Tensor) -> None:
        """Writes θ into the model."""
        self.flat.assign(theta)

    def predict(self, theta: Tensor, chunk: Chunk) -> Tensor:
        """The model's predictions for a chunk at θ, with a graph where θ has one."""
        state = self.flat.split(theta)
        if self._cast is not None:
            tensors = (*self.model.named_parameters(), *self.model.named_buffers())
            others = {k: t.to(self._cast) for k, t in tensors if t.is_floating_point()}
            state = others | state
        return functional_call(self.model, state, chunk.inputs)

    @torch.no_grad()
    def value(self, theta: Tensor | None = None) -> Tensor:
        """f(θ), a scalar tensor."""
        theta = self._theta(theta)
        return sum(self._value(theta, chunk) for chunk in self.chunks())

    def value_and_gradient(self, theta: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """f(θ) and its gradient, (n,)."""
        leaf = self._theta(theta).requires_grad_()
        value, gradient = leaf.new_zeros(()), torch.zeros_like(leaf, requires_grad=False)
        for chunk in self.chunks():
            with torch.enable_grad():
                part = self._value(leaf, chunk)
            gradient += differentiate(part, [leaf])[0]
            value += part.detach()
        return value, gradient

    def gradient(self, theta: Tensor | None = None) -> Tensor:
        """The gradient of f at θ, (n,)."""
        return self.value_and_gradient(theta)[1]

    def hessian(self, theta: Tensor | None = None) -> Operator:
        """∂²f/∂θ² at θ, or at the model's parameters as they are now.

        Raises:
            InputError: If an operation has no second derivative; the message names it.

        """
        theta = self.second(theta)
        graphs = self._kept(lambda c: GradientGraph(theta, lambda t: self._value(t, c)))
        return self._operator(lambda v: sum(graph.product(v) for _, graph in graphs))

    def gauss_newton(self, theta: Tensor | None = None) -> Operator:
        r"""Σ_c Jᵀ (∂²ℓ/∂y²) J at θ: what the Hessian would be if the model were linear in θ.

        Where ℓ is the negative log-likelihood of an exponential family in its natural parameters
        (cross-entropy of logits, squares), it is the Fisher information (Martens 2020, §9.2).
        """
        return self._sandwich(theta, lambda loss, chunk: loss.product)

    def empirical_fisher(self, theta: Tensor | None = None) -> Operator:
        r"""The mean over examples of :math:`∇ℓ_i ∇ℓ_i^\top` at θ.

        The model's examples must not see each other.
        """

        def middle(loss: LossGraph, chunk: Chunk) -> Callable[[Tensor], Tensor]:
            n = len(loss.y)
            # The chunk's loss is weighted by n/N; each example's own gradient is N times its part.
            r = loss.gradient.detach() * (n / chunk.share)

            def product(w: Tensor) -> Tensor:
                along = (r * w).flatten(1).sum(1) if w.ndim > 1 else r * w
                return r * along.view(n, *[1] * (w.ndim - 1)) * (chunk.share / n)

            return product

        return self._sandwich(theta, middle)

    def jacobian(self, theta: Tensor | None = None) -> JacobianOperator:
        """∂y/∂θ at θ of all predictions, flattened in the data's order."""
        theta = self._theta(theta)
        make = lambda c: PredictionGraph(theta, lambda t: self.predict(t, c))  # noqa: E731
        graphs = self._kept(make, looked_at=False)
        return JacobianOperator(graphs, self, theta)

    def chunks(self) -> Iterable[Chunk]:
        """The chunks on the parameters' device, floating-point numbers in the dtype asked for."""
        return (chunk.to(self.device, self._cast) for chunk in self.stream)

    def _theta(self, theta: Tensor | None) -> Tensor:
        if theta is None:
            return self.point()
        self.flat.check(theta)
        return theta.detach().to(self.device, self.dtype, copy=True)

    def second(self, theta: Tensor | None = None) -> Tensor:
        """θ, or the model's own, once it is sure that the loss can be differentiated twice."""
        theta = self._theta(theta)
        if not self._checked_twice:
            check_second(self, theta)
            self._checked_twice = True
        return theta

    def _value(self, theta: Tensor, chunk: Chunk) -> Tensor:
        return self.loss_of(self.predict(theta, chunk), chunk)

    def loss_of(self, y: Tensor, chunk: Chunk) -> Tensor:
        """The chunk's part of f for predictions y: (n_c / N) ℓ; looked at when it is first seen."""
        value = self.loss(y, chunk.target)
        if chunk.place in self._unchecked:
            check_value(value, y, chunk)
            if chunk.place == self.stream.chunks[0].place:
                check_mean(self.loss, value, y, chunk.target)
            self._unchecked.discard(chunk.place)
        return value * chunk.share

    def _kept(self, make: Callable[[Chunk], Any], looked_at: bool = True) -> Kept:
        moved = lambda chunk: make(chunk.to(self.device, self._cast))  # noqa: E731
        kept = Kept(moved, self.stream.chunks, self.keep)
        if looked_at and self._unchecked:
            for _ in kept:  # what is wrong with any of the data shows now
                pass
        return kept

    def _sandwich(self, theta: Tensor | None, middle: Callable) -> Operator:
        theta = self.second(theta)

        def make(chunk: Chunk) -> tuple[PredictionGraph, Callable]:
            outer = PredictionGraph(theta, lambda t: self.predict(t, chunk))
            inner = LossGraph(outer.y, lambda y: self.loss_of(y, chunk))
            return outer, middle(inner, chunk)

        graphs = self._kept(make)
        return self._operator(
            lambda v: sum(outer.pull(inner(outer.push(v))) for _, (outer, inner) in graphs)
        )

    def _operator(self, product: Callable[[Tensor], Tensor]) -> Operator:
        return Operator(product, self.size, self.dtype, self.device)
