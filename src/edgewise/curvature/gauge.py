"""Directions in which a KAN's parameters can move and its outputs can not."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edgewise.core import InputError
from edgewise.curvature.edges import EdgeLayer, Edges

if TYPE_CHECKING:
    from edgewise.curvature.functional import Functional


class Gauge:
    r"""The gauge directions of a KAN on its data: each keeps every prediction, to all orders.

    Where the basis holds the constants, c can be added to one edge of a node and taken from
    another, or from the bias: for each layer of I inputs and O outputs
    :math:`O (I - 1)` directions, :math:`O I` with a bias. And the weights of a function that no
    sample touches are free: O for each function (k, i) that is zero on all samples. So this
    many eigenvalues of any Hessian on these data are exactly zero.

    Args:
        functional: With a model as :class:`ClosedForm` takes it.
        theta: Where the samples' hidden values are taken; None is the model's own parameters.

    Attributes:
        constants: Directions from constants, of each layer.
        untouched: Directions from functions without samples, of each layer.

    Raises:
        InputError: If the model is no plain stack of edge layers.

    Example:
        >>> from edgewise.curvature import Functional
        >>> x = 2 * torch.rand(500, 2) - 1
        >>> kan = ew.models.KAN([2, 5, 1], bias=False)
        >>> f = Functional(kan, torch.nn.functional.mse_loss, (x, x[:, :1]))
        >>> Gauge(f).constants
        [5, 4]

    """

    def __init__(self, functional: "Functional", theta: Tensor | None = None) -> None:
        self.functional = functional
        self.edges = Edges(functional)
        self.constants: list[int] = []
        self.untouched: list[int] = []
        self._bases: list[Tensor] = []
        theta = functional.point() if theta is None else theta
        for edge, features in zip(self.edges.layers, self._features(theta), strict=True):
            self._add(edge, features)

    @property
    def count(self) -> int:
        """How many independent directions there are."""
        return sum(self.constants) + sum(self.untouched)

    def project(self, v: Tensor) -> Tensor:
        """The vector v (n,) without its part along the gauge directions."""
        out = v.clone()
        for edge, basis in zip(self.edges.layers, self._bases, strict=True):
            places = _places(edge).to(v.device)
            basis = basis.to(v)
            part = torch.where(places >= 0, v[places.clamp(min=0)], 0)
            part = part - basis @ (basis.T @ part)
            out[places[places >= 0]] = part[places >= 0]
        return out

    def vectors(self) -> Tensor:
        """The directions as orthonormal columns, (n, count)."""
        found = []
        for edge, basis in zip(self.edges.layers, self._bases, strict=True):
            places = _places(edge)
            for column in basis.T:
                for o in range(places.shape[1]):
                    v = torch.zeros(self.functional.size, dtype=torch.float64)
                    held = places[:, o] >= 0
                    v[places[held, o]] = column[held]
                    found.append(v)
        blank = torch.empty(self.functional.size, 0, dtype=torch.float64)
        return torch.stack(found, dim=1) if found else blank

    @torch.no_grad()
    def _features(self, theta: Tensor) -> list[Tensor]:
        """Each layer's features on all samples, (N, K', I) in float64."""
        state = {k: t.double() for k, t in self.edges.state(theta).items()}
        z = torch.cat([x for x, *_ in self.edges.pieces(1 << 20)]).double()
        found = []
        for edge in self.edges.layers:
            W, b = edge.weights(state)
            A = edge.features(z, state)
            found.append(A)
            z = torch.einsum("nki,kio->no", A, W)
            z = z if b is None else z + b
        return found

    def _add(self, edge: EdgeLayer, features: Tensor) -> None:
        """The directions of one layer, the same for each output."""
        free = (edge.rows >= 0).any(-1)
        if bool((edge.rows[free] < 0).any()):
            raise InputError("a layer's gauge needs its weights all trained or all frozen")
        dead = (features == 0).all(0) & free
        shifts = _constants(features, free & ~dead)
        if edge.bias is not None and bool((edge.bias >= 0).all()):
            shifts = [_with_bias(shift, -1.0) for shift in shifts]
        elif edge.bias is not None:
            shifts = [_with_bias(s - shifts[0], 0.0) for s in shifts[1:]]
        else:
            shifts = [(s - shifts[0]).reshape(-1) for s in shifts[1:]]
        length = edge.rows[..., 0].numel() + (edge.bias is not None)
        basis = _orthonormal(shifts, dead, length)
        outputs = edge.rows.shape[2]
        self.constants.append(len(shifts) * outputs)
        self.untouched.append(int(dead.sum()) * outputs)
        self._bases.append(basis)


def _constants(features: Tensor, free: Tensor) -> list[Tensor]:
    """For each input i whose functions hold the constant 1 on the samples, its weights (K', I)."""
    found = []
    for i in range(features.shape[2]):
        A = features[:, free[:, i], i]
        if not A.shape[1]:
            continue
        one = torch.ones(len(A), 1, dtype=A.dtype, device=A.device)
        c = torch.linalg.lstsq(A.cpu(), one.cpu(), driver="gelsd").solution
        if float((A.cpu() @ c - one.cpu()).abs().max()) < 1e-9:
            shift = torch.zeros(features.shape[1:], dtype=torch.float64)
            shift[free[:, i].cpu(), i] = c[:, 0]
            found.append(shift)
    return found


def _with_bias(shift: Tensor, bias: float) -> Tensor:
    return torch.cat([shift.reshape(-1), torch.tensor([bias], dtype=torch.float64)])


def _orthonormal(shifts: list[Tensor], dead: Tensor, length: int) -> Tensor:
    columns = list(shifts)
    for place in dead.reshape(-1).nonzero()[:, 0].tolist():
        column = torch.zeros(length, dtype=torch.float64)
        column[place] = 1
        columns.append(column)
    if not columns:
        return torch.empty(length, 0, dtype=torch.float64)
    return torch.linalg.qr(torch.stack(columns, dim=1)).Q


def _places(edge: EdgeLayer) -> Tensor:
    """Where the weights of each output lie in the flat vector, (K'·I [+ 1], O)."""
    places = edge.rows.flatten(0, 1)
    return places if edge.bias is None else torch.cat([places, edge.bias.unsqueeze(0)])
