"""A stack of dense layers whose edges are functions."""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases import AbstractBasis, make_basis
from edgewise.core import InputError, remembers
from edgewise.layers import KANLinear
from edgewise.models.sizes import check_dropout, check_widths


@remembers
class KAN(nn.Module):
    r"""A Kolmogorov-Arnold network (Liu et al. 2024, arXiv 2404.19756, eq. 2.7).

    .. math::
        x^{l+1} = Φ_l(x^l), \qquad Φ_l(x)_o = b_o + \sum_i φ_{l,oi}(x_i)

    Args:
        widths: Inputs, hidden units of each layer, outputs: at least two numbers.
        basis: What the functions are made of: a name, a basis (each layer has a copy of its own),
            or a list with one of these for each layer.
        base: The activation beside the basis, as in `KANLinear`.
        bias: Whether the layers have a bias b.
        normalize: How each layer's inputs are normalised, as in `KANLinear`.
        dropout: The probability of dropping a unit between layers.

    Attributes:
        widths: The widths.
        layers: The layers, each a `KANLinear`.

    Shape:
        ``(..., widths[0])`` to ``(..., widths[-1])``.

    Raises:
        InputError: If there are fewer than two widths, one is no whole number of at least 1, or the
            list of bases has not one for each layer.

    Example:
        >>> model = KAN([2, 5, 1])
        >>> x = torch.rand(7, 2)
        >>> torch.allclose(model(x), model.curves(x)[-1].sum(-1), atol=1e-6)
        True

    """

    def __init__(
        self,
        widths: Sequence[int],
        basis: str | AbstractBasis | Sequence[str | AbstractBasis] = "bspline",
        *,
        base: str | None = "silu",
        bias: bool = True,
        normalize: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.widths = check_widths(widths)
        bases = _one_each(basis, len(self.widths) - 1)
        self.layers = nn.ModuleList(
            KANLinear(i, o, own, base=base, bias=bias, normalize=normalize)
            for i, o, own in zip(self.widths[:-1], self.widths[1:], bases, strict=True)
        )
        self.dropout = nn.Dropout(check_dropout(dropout))

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """The last layer's sums."""
        first, *rest = self.layers
        x = first(x)
        for layer in rest:
            x = layer(self.dropout(x) if self.dropout.p else x)
        return x

    def curves(self, x: Float[Tensor, "*batch I"]) -> list[Float[Tensor, "*batch O2 I2"]]:
        """Each layer's edge values where ``x`` takes them, without dropout.

        Returns:
            For each layer (..., out, in); the sum over ``in`` is what the next layer gets.

        """
        found = []
        for layer in self.layers:
            found.append(layer.curves(x))
            x = found[-1].sum(-1)
        return found

    def refine(self, grid_size: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Gives every layer a finer basis; the function stays, see `KANLinear.refine`.

        Args:
            grid_size: The new size, not smaller than now.
            optimizer: One that trains this network; its state is carried over.

        """
        for layer in self.layers:
            layer.refine(grid_size, optimizer)

    @torch.no_grad()
    def update_grid(
        self, x: Float[Tensor, "*batch I"], optimizer: torch.optim.Optimizer | None = None
    ) -> list[float]:
        """Moves every layer's knots to where its inputs lie, see `KANLinear.update_grid`.

        Layer after layer, each on what the layers before it, already updated, give; dropout is off.

        Args:
            x: A sample of the network's inputs.
            optimizer: One that trains this network; its state is carried over.

        Returns:
            Each layer's relative residual of the fit.

        """
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            residuals = []
            for layer in self.layers:
                residuals.append(layer.update_grid(x, optimizer))
                x = layer(x)
        finally:
            for module, mode in modes.items():
                module.training = mode
        return residuals

    def arguments_now(self) -> dict[str, list[AbstractBasis]]:
        """The bases as they are now: a layer may have been refined."""
        bases = [layer.basis for layer in self.layers]
        return {"basis": bases} if all("_arguments" in vars(b) for b in bases) else {}


def _one_each(
    basis: str | AbstractBasis | Sequence[str | AbstractBasis], layers: int
) -> list[AbstractBasis]:
    """A basis of its own for each layer: a shared one would be trained and refined by all."""
    several = isinstance(basis, Sequence) and not isinstance(basis, str)
    if several and len(basis) != layers:
        raise InputError(
            f"basis is a list of {len(basis)}, but there are {layers} layers: give one for each"
        )
    return [copy.deepcopy(make_basis(own)) for own in (basis if several else [basis] * layers)]
