"""A dense layer whose edges are functions."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.bases import AbstractBasis, make_basis
from edgewise.core import InputError, check_count, remembers
from edgewise.kernels import basis_linear
from edgewise.layers.activation import BASE_ACTIVATIONS, check_base
from edgewise.layers.regrid import carry_over, in_new, put, refit
from edgewise.layers.variance import SMALL, mean_square


@remembers
class KANLinear(nn.Module):
    r"""A dense layer whose edges are functions of one number (Liu et al. 2024, arXiv 2404.19756).

    .. math::
        y_o = b_o + \sum_i φ_{oi}(x_i), \qquad
        φ_{oi}(x) = w_{oi}\, a(x) + \sum_{k=1}^K c_{kio}\, B_k(x)

    Between the forward and the backward pass only x and the parameters are kept, whatever the size
    of the basis. :mod:`edgewise.kernels` chooses the path: B-splines have faster ones.

    Args:
        in_features: The number of inputs, I.
        out_features: The number of outputs, O.
        basis: The functions B: a name, ``"module:Class"`` or a basis object.
        base: The activation a: ``"silu"``, ``"tanh"``, ``"identity"``, or None for no such term.
        bias: Whether there is a bias b.
        normalize: ``"batch"`` brings each input to mean 0 and variance 1 before the functions
            (BatchNorm without scale and shift); None leaves it as it is.

    Shape:
        ``(..., I)`` to ``(..., O)``.

    Attributes:
        coefficients: c, of shape (K, I, O).
        base_weight: w, of shape (I, O), or None.
        bias: b, of shape (O,), or None.

    Raises:
        InputError: If an argument does not fit; and in a call on a CPU if x does not fit or holds a
            number that is not finite (on a GPU such a number passes on, as looking would wait).

    Example:
        >>> layer = KANLinear(3, 2)
        >>> x = torch.randn(4, 3)
        >>> torch.allclose(layer(x), layer.curves(x).sum(-1), atol=1e-6)
        True

    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        basis: str | AbstractBasis = "bspline",
        *,
        base: str | None = "silu",
        bias: bool = False,
        normalize: str | None = None,
    ) -> None:
        super().__init__()
        check_count("in_features", in_features)
        check_count("out_features", out_features)
        check_base(base)
        if normalize not in (None, "batch"):
            raise InputError(f"normalize must be None or 'batch', got {normalize!r}")
        self.in_features, self.out_features, self.base = in_features, out_features, base
        self.basis = make_basis(basis)
        # K first: (K·I, O) is then one matrix without a copy.
        self.coefficients = nn.Parameter(torch.empty(self.basis.size, in_features, out_features))
        self.base_weight = nn.Parameter(torch.empty(in_features, out_features)) if base else None
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.norm = nn.BatchNorm1d(in_features, affine=False) if normalize else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws values that hand the variance of a standard normal input on from layer to layer.

        Where there is a base term it carries the signal, and the functions start at a tenth of it:
        large random functions would multiply the gradient in every layer. Draws from torch's
        default generator.
        """
        device = self.coefficients.device
        share = 1.0 if self.base is None else SMALL
        power = self.basis.size * mean_square(self.basis, self.in_features, device)
        self.coefficients.normal_().mul_(share * (self.in_features * power).rsqrt())
        if self.base_weight is not None:
            power = mean_square(self.activation, 1, device)
            self.base_weight.normal_().mul_((self.in_features * power).rsqrt())
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """The sum of the edges' values."""
        rows = self._normalized(self._rows(x))
        y = basis_linear(
            rows,
            self.coefficients,
            self.basis,
            functions=self.basis.known,
            W=self.base_weight,
            base=self.base,
        )
        if self.bias is not None:
            y = y + self.bias
        return y.view(*x.shape[:-1], self.out_features)

    def curves(self, x: Float[Tensor, "*batch I"], order: int = 0) -> Float[Tensor, "*batch O I"]:
        """Each edge's value φ_oi(x_i), or its derivative of order 1 or 2 in what the edge sees.

        The bias is spread evenly over the inputs, so that the values sum to the layer's output.
        """
        rows = self._normalized(self._rows(x), keep=True)
        # A place on a grid has more digits than a number in half precision.
        wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
        features = self.basis.derivative(wide, order).to(self.coefficients.dtype)
        y = torch.einsum("nik,kio->noi", features, self.coefficients)
        if self.base_weight is not None:
            y = y + self.activation(rows, order).unsqueeze(-2) * self.base_weight.T
        if self.bias is not None and order == 0:
            y = y + self.bias.unsqueeze(-1) / self.in_features
        return y.view(*x.shape[:-1], self.out_features, self.in_features)

    def activation(self, x: Tensor, order: int = 0) -> Tensor:
        """The base activation a(x), or its derivative of order 1 or 2."""
        return BASE_ACTIVATIONS[self.base](x.to(self.base_weight.dtype), order)

    @torch.no_grad()
    def refine(self, grid_size: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Gives the layer a finer basis, in place; every function stays what it is.

        Args:
            grid_size: The new size, not smaller than now: cells of B-splines, harmonics, degree.
            optimizer: One that trains this layer; its state is carried over to the coefficients'
                new shape (without it, the optimiser refuses its next step).

        Raises:
            InputError: If the basis can't be refined or is finer already, or the optimiser keeps
                what can't be carried over.

        """
        basis, T = self.basis.refined(grid_size)
        carry_over(optimizer, self.coefficients, T)
        self._change(basis, T)

    @torch.no_grad()
    def update_grid(
        self,
        x: Float[Tensor, "*batch I"],
        optimizer: torch.optim.Optimizer | None = None,
        bound: float = 0.1,
    ) -> float:
        r"""Lets knots (or centres) follow the inputs, in place; functions are fitted again.

        Args:
            x: A sample of the layer's inputs.
            optimizer: One that trains this layer; its state is carried over.
            bound: The relative residual above which all is left as it is. A residual r raises a
                mean squared error of relative size e² by about r² / e²: late in training take less.

        Returns:
            The relative residual of the least-squares fit, over the sample and all edges,
            :math:`\sqrt{\sum (φ' - φ)^2 / \sum φ^2}` with φ the part of the basis.

        Raises:
            InputError: If the basis has nothing that could follow data, or x does not fit, is empty
                or holds a number that is not finite.

        """
        rows = self._normalized(self._rows(x), keep=True)
        basis = self.basis.adapted(rows)
        T, residual = refit(self.basis, basis, rows, self.coefficients)
        if residual <= bound:
            carry_over(optimizer, self.coefficients, T)
            self._change(basis, T)
        return residual

    def _change(self, basis: AbstractBasis, T: Tensor) -> None:
        """Another basis, and the coefficients that T makes for it."""
        c = self.coefficients
        put(in_new(T.to(c.device), c.data), c)
        self.basis = basis
        if "_arguments" in vars(self):
            self._arguments["basis"] = basis

    def _rows(self, x: Tensor) -> Tensor:
        """The inputs as (N, I)."""
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise InputError(
                f"KANLinear takes {self.in_features} features on the last axis, "
                f"got x of shape {tuple(x.shape)}"
            )
        if not x.is_floating_point():
            raise InputError(
                f"KANLinear takes floating-point numbers, got {x.dtype}; use x.float()"
            )
        if x.device != self.coefficients.device:
            raise InputError(
                f"KANLinear is on {self.coefficients.device} but x is on {x.device}; "
                f"use x.to({str(self.coefficients.device)!r})"
            )
        return x.reshape(-1, self.in_features)

    def _normalized(self, rows: Tensor, keep: bool = False) -> Tensor:
        """What the functions see; with ``keep`` the running statistics stay as they are."""
        if self.norm is None:
            return rows
        rows = rows.to(self.norm.running_mean.dtype)
        if not (keep and self.norm.training):
            return self.norm(rows)
        return nn.functional.batch_norm(rows, None, None, training=True, eps=self.norm.eps)

    def _load_from_state_dict(self, state: dict, prefix: str, *rest) -> None:
        # A refined or adapted layer's knots come with its weights, and may be more.
        coefficients = state.get(f"{prefix}coefficients")
        if coefficients is not None and f"{prefix}basis.breaks" in state:
            put(self.coefficients.data.new_empty(coefficients.shape), self.coefficients)
        super()._load_from_state_dict(state, prefix, *rest)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, base={self.base!r}"
