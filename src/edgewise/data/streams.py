"""Labelled event streams of unequal length, kept flat: all times, and where each stream begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from edgewise.core import InputError


@dataclass(frozen=True, eq=False)
class EventStreams:
    """S labelled streams with N events in all; stream s is ``times[offsets[s]:offsets[s + 1]]``.

    Args:
        times: (N,) int64 or float64, finite, not decreasing within a stream; in ``time_unit``.
        offsets: (S + 1,) int64, from 0 to N, not decreasing; a stream without events is allowed.
        labels: (S,) int64 in 0..C-1.
        classes: The C class names.
        features: (N, F) float32, finite, what comes with each event; None if only times do.
        feature_names: The F names; empty without features.
        name: What to call the streams in messages and reports.
        time_unit: The unit of ``times``, for reports.

    Raises:
        InputError: If a promise above does not hold, naming the stream and the position.

    Example:
        >>> streams = EventStreams(
        ...     times=torch.tensor([1, 4, 9, 2]), offsets=torch.tensor([0, 3, 4]),
        ...     labels=torch.tensor([0, 1]), classes=("many", "one"))
        >>> times, lengths, features = streams.batch([1, 0])
        >>> times.tolist(), lengths.tolist(), features
        ([[2, 0, 0], [1, 4, 9]], [1, 3], None)

    """

    times: Tensor
    offsets: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    features: Tensor | None = None
    feature_names: tuple[str, ...] = ()
    name: str = ""
    time_unit: str = ""

    def __post_init__(self) -> None:
        self._check_kinds()
        self._check_offsets()
        self._check_labels()
        self._check_times()
        self._check_features()

    @property
    def lengths(self) -> Tensor:
        """(S,) int64, the number of events of each stream."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def num_classes(self) -> int:
        """C, the number of classes, whether or not each occurs."""
        return len(self.classes)

    @property
    def empty(self) -> int:
        """The number of streams without events."""
        return int((self.lengths == 0).sum())

    def __len__(self) -> int:
        return self.labels.numel()

    def subset(self, indices: Tensor | Sequence[int]) -> "EventStreams":
        """The streams at ``indices``, in that order; an index may repeat.

        Raises:
            InputError: If an index is not in 0..S-1.

        Example:
            >>> streams = EventStreams(torch.tensor([1., 4., 2.]).double(),
            ...     torch.tensor([0, 2, 3]), torch.tensor([0, 1]), ("a", "b"))
            >>> streams.subset([1, 0]).times.tolist()
            [2.0, 1.0, 4.0]

        """
        indices = self._indices(indices)
        lengths = self.lengths[indices]
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        shift = torch.repeat_interleave(self.offsets[indices] - offsets[:-1], lengths)
        events = torch.arange(shift.numel(), device=shift.device) + shift
        return EventStreams(
            times=self.times[events],
            offsets=offsets,
            labels=self.labels[indices],
            classes=self.classes,
            features=None if self.features is None else self.features[events],
            feature_names=self.feature_names,
            name=self.name,
            time_unit=self.time_unit,
        )

    def batch(self, indices: Tensor | Sequence[int]) -> tuple[Tensor, Tensor, Tensor | None]:
        """The streams at ``indices`` as rectangles, padded on the right with zeros.

        Returns:
            Times (B, L) in their own dtype, lengths (B,) int64, and features (B, L, F) or None.
            L is the longest length, and at least 1.

        Raises:
            InputError: If an index is not in 0..S-1.

        """
        indices = self._indices(indices)
        lengths = self.lengths[indices]
        longest = max(1, int(lengths.max())) if lengths.numel() else 1
        steps = torch.arange(longest, device=self.times.device)
        real = steps < lengths[:, None]
        events = (self.offsets[indices][:, None] + steps)[real]
        times = self.times.new_zeros(real.shape)
        times[real] = self.times[events]
        if self.features is None:
            return times, lengths, None
        features = self.features.new_zeros(*real.shape, self.features.shape[1])
        features[real] = self.features[events]
        return times, lengths, features

    def _indices(self, indices: Tensor | Sequence[int]) -> Tensor:
        indices = torch.as_tensor(indices, device=self.times.device)
        if indices.numel() == 0:
            return indices.reshape(0).to(torch.int64)
        if indices.ndim != 1 or indices.dtype not in (torch.int32, torch.int64):
            raise InputError(
                f"indices must be one row of integers, not {indices.dtype} "
                f"of shape {tuple(indices.shape)}"
            )
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= len(self):
            wrong = low if low < 0 else high
            raise InputError(
                f"there is no stream {wrong} in {self._called}: "
                f"its {len(self)} streams are numbered from 0"
            )
        return indices.to(torch.int64)

    @property
    def _called(self) -> str:
        return f"the streams {self.name!r}" if self.name else "the streams"

    def _refuse(self, fault: str) -> NoReturn:
        raise InputError(f"{self._called}: {fault}")

    def _check_kinds(self) -> None:
        wanted = {
            "times": (1, (torch.int64, torch.float64)),
            "offsets": (1, (torch.int64,)),
            "labels": (1, (torch.int64,)),
            "features": (2, (torch.float32,)),
        }
        for field, (ndim, dtypes) in wanted.items():
            value = getattr(self, field)
            if field == "features" and value is None:
                continue
            if not isinstance(value, Tensor) or value.ndim != ndim or value.dtype not in dtypes:
                kinds = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
                self._refuse(
                    f"{field} must be a tensor of {ndim} dimension{'s' * (ndim > 1)} "
                    f"and dtype {kinds}, not {_kind(value)}"
                )

    def _check_offsets(self) -> None:
        streams, events = self.labels.numel(), self.times.numel()
        if self.offsets.numel() != streams + 1:
            self._refuse(f"{streams} labels need {streams + 1} offsets, not {self.offsets.numel()}")
        first, last = int(self.offsets[0]), int(self.offsets[-1])
        if (first, last) != (0, events):
            self._refuse(
                f"offsets must go from 0 to the {events} events, not from {first} to {last}"
            )
        at = _first(self.lengths < 0)
        if at is not None:
            a, b = self.offsets[at : at + 2].tolist()
            self._refuse(f"offsets must not decrease, but go from {a} to {b} at stream {at}")

    def _check_labels(self) -> None:
        if not self.classes or len(set(self.classes)) != self.num_classes:
            self._refuse(f"classes must be one or more different names, not {self.classes!r}")
        at = _first((self.labels < 0) | (self.labels >= self.num_classes))
        if at is not None:
            self._refuse(
                f"the label of stream {at} is {int(self.labels[at])}, "
                f"but labels go from 0 to {self.num_classes - 1}"
            )

    def _check_times(self) -> None:
        if self.times.is_floating_point():
            at = _first(~self.times.isfinite())
            if at is not None:
                stream, position = self._place(at)
                self._refuse(
                    f"the time of event {position} of stream {stream} is {float(self.times[at])}"
                )
        falls = self.times[1:] < self.times[:-1]
        inner = self.offsets[(self.offsets > 0) & (self.offsets < self.times.numel())]
        falls[inner - 1] = False  # from one stream to the next, time may start again
        at = _first(falls)
        if at is not None:
            stream, position = self._place(at + 1)
            a, b = self.times[at : at + 2].tolist()
            self._refuse(
                f"times must not decrease, but event {position} of stream {stream} "
                f"is at {b}, after {a}"
            )

    def _check_features(self) -> None:
        width = 0 if self.features is None else self.features.shape[1]
        if len(self.feature_names) != width:
            self._refuse(f"{width} features need as many names, not {len(self.feature_names)}")
        if self.features is None:
            return
        if self.features.shape[0] != self.times.numel():
            self._refuse(
                f"features must have a row for each of the {self.times.numel()} events, "
                f"not {self.features.shape[0]} rows"
            )
        at = _first(~self.features.isfinite().reshape(-1))
        if at is not None:
            stream, position = self._place(at // width)
            self._refuse(
                f"the feature {self.feature_names[at % width]!r} of event {position} of stream "
                f"{stream} is {float(self.features.reshape(-1)[at])}"
            )

    def _place(self, event: int) -> tuple[int, int]:
        """The stream an event is in and its position there."""
        stream = int(torch.searchsorted(self.offsets, event, right=True)) - 1
        return stream, event - int(self.offsets[stream])


def _first(wrong: Tensor) -> int | None:
    """The first place where ``wrong`` (M,) is true."""
    return int(wrong.to(torch.uint8).argmax()) if bool(wrong.any()) else None


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return type(value).__name__
