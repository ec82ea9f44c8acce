"""What every time encoder is: its clock, and the contract."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from edgewise.core import InputError, Registry, check_count

ENCODERS: Registry = Registry("encoder")


class AbstractTimeEncoder(nn.Module, ABC):
    r"""Times to vectors.

    A time t is first put on the encoder's own clock,

    .. math::  τ = (t - \text{origin}) / \text{span}

    in float64, so that unix seconds at 1.7e9 lose nothing. :meth:`fit_scale` sets the clock from
    training times, τ then runs from 0 to 1 over them; before that origin is 0 and span is 1.
    Encoders that look at one time at a time subclass
    :class:`~edgewise.encoders.pointwise.AbstractPointwiseEncoder` instead.

    Shape:
        times ``(B, L)``, mask ``(B, L)`` (True where valid), features ``(B, L, F)``
        to ``(B, L, dim)``; any other leading shape in place of ``(B, L)`` works too.
    """

    dim: int
    """The size of the vectors."""

    feature_dim: int = 0
    """How many event features the encoder looks at; 0 is none, and they are then left alone."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = check_count("dim", dim)
        # The bits of four float64: as integers they survive .to(float32), .half() and autocast. The
        # fourth is what the origin lost to rounding.
        clock = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
        self.register_buffer("clock_bits", clock.view(torch.int64))
        # Empty: it only follows .to(dtype), for encoders without parameters.
        self.register_buffer("_like", torch.empty(0), persistent=False)

    @property
    def origin(self) -> Float[Tensor, ""]:
        """The time at which τ = 0, in the user's unit; float64."""
        return self.clock_bits.view(torch.float64)[0]

    @property
    def span(self) -> Float[Tensor, ""]:
        """How long τ takes from 0 to 1, in the user's unit; float64."""
        return self.clock_bits.view(torch.float64)[1]

    @property
    def gap(self) -> Float[Tensor, ""]:
        """The typical (median) time between neighbouring events, in the user's unit; float64."""
        return self.clock_bits.view(torch.float64)[2]

    @property
    def steps(self) -> float:
        """How many typical gaps the span holds."""
        return float(self.span / self.gap)

    def fit_scale(
        self, times: Num[Tensor, "*batch L"], mask: Bool[Tensor, "*batch L"] | None = None
    ) -> "AbstractTimeEncoder":
        """Sets the clock from training times; call it once, before training.

        Args:
            times: Padded sequences of times, or one sequence.
            mask: Which of them are events; all by default.

        Returns:
            The encoder itself.

        Raises:
            InputError: If there is no event, a time is not finite or the mask does not fit.

        """
        times = times.to(self.clock_bits.device)
        mask = self._check_mask(times, None if mask is None else mask.to(times.device))
        valid = times[mask]
        if not valid.numel():
            raise InputError("fit_scale needs at least one valid time, got none")
        if valid.is_floating_point() and not bool(valid.isfinite().all()):
            raise InputError(
                "fit_scale needs finite times, got NaN or infinity among the valid ones"
            )
        origin = valid.min().double()
        rest = _since(valid.min(), origin)
        after = _since(valid.max(), origin) - rest
        span = torch.where(after > 0, after, torch.ones_like(after))
        gaps = _since(times, origin).diff(dim=-1)[mask[..., 1:] & mask[..., :-1]]
        gaps = gaps[gaps > 0]
        gap = gaps.median() if gaps.numel() else span
        clock = torch.stack([origin, span, gap, rest])
        self.clock_bits.copy_(clock.view(torch.int64))
        with torch.no_grad():
            self._fit(self.normalise(times), mask)
        return self

    def _fit(self, tau: Float[Tensor, "*batch L"], mask: Bool[Tensor, "*batch L"]) -> None:
        """Places what depends on the data (frequencies, centres); tau is on the clock already."""

    def normalise(self, times: Num[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Times on the encoder's clock, τ; float64."""
        rest = self.clock_bits.view(torch.float64)[3]
        return (_since(times, self.origin) - rest) / self.span

    @abstractmethod
    def forward(
        self,
        times: Num[Tensor, "*batch"],
        mask: Bool[Tensor, "*batch"] | None = None,
        features: Float[Tensor, "*batch F"] | None = None,
    ) -> Float[Tensor, "*batch dim"]:
        """Encodes times; exactly zero where ``mask`` is False."""

    @abstractmethod
    def curves(self, times: Num[Tensor, " T"]) -> dict[str, Float[Tensor, "T d"]]:
        """The learned functions of time, by name."""

    def _check(self, times: Tensor, mask: Tensor | None, features: Tensor | None) -> Tensor:
        """The mask, after a look at the shapes."""
        expected = (*times.shape, self.feature_dim)
        if self.feature_dim and (features is None or features.shape != expected):
            got = "none" if features is None else f"shape {tuple(features.shape)}"
            raise InputError(
                f"{type(self).__name__} was made for {self.feature_dim} event features and takes "
                f"them in the shape {expected}, got {got}"
            )
        return self._check_mask(times, mask)

    @staticmethod
    def _check_mask(times: Tensor, mask: Tensor | None) -> Tensor:
        """The mask, all True where there is none."""
        if mask is None:
            return torch.ones_like(times, dtype=torch.bool)
        # A mask of numbers would be taken for indices.
        if mask.dtype != torch.bool or mask.shape != times.shape:
            raise InputError(
                f"mask must be torch.bool in the shape of times, {tuple(times.shape)}, got "
                f"{mask.dtype} of shape {tuple(mask.shape)}"
            )
        return mask

    @property
    def _dtype(self) -> torch.dtype:
        """The dtype of what the encoder returns: that of its parameters."""
        return next((p.dtype for p in self.parameters()), self._like.dtype)


def _since(times: Tensor, origin: Tensor) -> Tensor:
    """The time since the origin; float64."""
    if times.is_floating_point():
        return times.double() - origin
    # Whole numbers are subtracted as such: nanoseconds since 1970 do not fit float64.
    whole = origin.round().long()
    return (times.long() - whole).double() + (whole.double() - origin)


def make_encoder(
    encoder: str | AbstractTimeEncoder, dim: int = 32, **options: Any
) -> AbstractTimeEncoder:
    """An encoder from its name (``"kmote"``, ``"module:Class"``) and options, or the object itself.

    An object has its ``dim`` already; the one given here is for names.

    Raises:
        InputError: If the name is unknown, an option does not fit or comes with an object, or what
            is there is no time encoder.

    Example:
        >>> make_encoder("kmote", dim=16).dim
        16

    """
    if isinstance(encoder, AbstractTimeEncoder):
        if options:
            raise InputError(f"options {sorted(options)} go with an encoder name, not an object")
        return encoder
    if not isinstance(encoder, str):
        raise InputError(f"encoder must be a name or a time encoder, got {encoder!r}")
    kind = ENCODERS.resolve(encoder)
    try:
        made = kind(check_count("dim", dim), **options)
    except TypeError as error:
        raise InputError(f"encoder {encoder!r} can't be made: {error}") from error
    if not isinstance(made, AbstractTimeEncoder):
        raise InputError(
            f"encoder {encoder!r} must be a subclass of AbstractTimeEncoder, it made a "
            f"{type(made).__name__}"
        )
    return made
