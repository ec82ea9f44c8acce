"""A dense layer whose edges all bend one function, each in its own way."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError, check_count, remembers
from edgewise.layers.edge_sum import edge_sum
from edgewise.layers.functions import Function, built_in, derivative, find_function, unit_gain


@remembers
class KernelActivation(nn.Module):
    r"""A dense layer whose edges are one function f, each stretched and raised in its own way.

    .. math::
        y_o = \sum_i φ_{oi}(x_i), \qquad φ_{oi}(x) = a_{oi}\, f(b_{oi} w_{oi}\, x) + c_{oi}

    Only the product b w and the sum of the c of an output can be told from data. So by default the
    layer holds what can: w stands for b w, and there is one c for each output, which
    :meth:`curves` spreads evenly over its inputs: 2 O I + O numbers. With ``redundant`` it holds
    all four for each edge, 4 O I numbers for the same functions; then a, b, w and c can be given
    learning rates of their own.

    An odd f such as tanh makes every edge odd about its c, so that one layer can't be x²; two can,
    and one with ``shift``, :math:`a f(b w x + d) + c`, nearly. With relu, a and w are one number
    for each sign of w.

    The (batch, O, I) values of the edges are never held; see `edgewise.layers.edge_sum`.

    Args:
        in_features: The number of inputs, I.
        out_features: The number of outputs, O.
        function: f: ``"tanh"``, ``"sigmoid"``, ``"relu"``, ``"gaussian"`` (exp(-z²)), ``"sin"``,
            ``"silu"``, ``"module:name"``, or a callable that gives one number for each number.
            A layer made with a callable works but can't be saved: a file can only hold its name.
        redundant: Whether each edge has a b and a c of its own.
        shift: Whether each edge has a shift d.

    Attributes:
        f: The function itself.
        a: The heights, [O, I].
        w: The slopes, [O, I].
        b: The factors of the slopes, [O, I]; None unless ``redundant``.
        c: The offsets, [O]; [O, I] if ``redundant``.
        d: The shifts, [O, I]; None without ``shift``.

    Shape:
        ``(..., I)`` to ``(..., O)``.

    Raises:
        InputError: If a size or the function makes no sense, or x has other features.

    Example:
        >>> layer = KernelActivation(3, 2, "sin")
        >>> x = torch.randn(4, 3)
        >>> explicit = (layer.a * torch.sin(layer.w * x[:, None, :])).sum(-1) + layer.c
        >>> torch.allclose(layer(x), explicit, atol=1e-6)
        True

    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        function: str | Function = "tanh",
        *,
        redundant: bool = False,
        shift: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            check_count(name, value)
        self.in_features, self.out_features = in_features, out_features
        self.function = function if isinstance(function, str) else None
        self.f = find_function(function)
        edges = (out_features, in_features)
        self.a = nn.Parameter(torch.empty(edges))
        self.w = nn.Parameter(torch.empty(edges))
        self.b = nn.Parameter(torch.empty(edges)) if redundant else None
        self.c = nn.Parameter(torch.empty(edges if redundant else out_features))
        self.d = nn.Parameter(torch.empty(edges)) if shift else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Slopes of deviation 1, shifts of 1/2, and heights that give outputs of mean square 1.

        That is for independent inputs of mean 0 and variance 1, as is each output; b starts at 1
        and c at 0. Draws from torch's default generator.
        """
        spread = 0.0 if self.d is None else 0.5
        self.w.normal_()
        gain = unit_gain(self.f, 1.0, spread)
        self.a.normal_(std=gain / math.sqrt(self.in_features))
        self.c.zero_()
        if self.b is not None:
            self.b.fill_(1)
        if self.d is not None:
            self.d.normal_(std=spread)

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """The sum of the edges' values."""
        self._check(x)
        rows = x.reshape(-1, self.in_features).to(self.a.dtype)
        name = self.function if built_in(self.function) else None
        y = edge_sum(name, self.f, rows, self.a, self._slopes(), self.d)
        c = self.c if self.b is None else self.c.sum(-1)
        return (y + c).reshape(*x.shape[:-1], self.out_features)

    def curves(self, x: Float[Tensor, "*batch I"], order: int = 0) -> Float[Tensor, "*batch O I"]:
        """Each edge's value φ_oi(x_i), or its derivative of order 1 or 2."""
        self._check(x)
        if order not in (0, 1, 2):
            raise InputError(f"derivatives are known up to order 2, got order={order!r}")
        w = self._slopes()
        z = x.to(w.dtype).unsqueeze(-2) * w
        z = z if self.d is None else z + self.d
        y = self.a * w**order * derivative(self.function, self.f, z, order)
        if order:
            return y
        return y + (self.c.unsqueeze(-1) / self.in_features if self.b is None else self.c)

    def _slopes(self) -> Tensor:
        return self.w if self.b is None else self.b * self.w

    def _check(self, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise InputError(
                f"KernelActivation takes {self.in_features} features on the last axis, "
                f"got x of shape {tuple(x.shape)}"
            )

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, function={self.function!r}"
