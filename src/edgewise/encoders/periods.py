"""Where to look for rhythm: evenly spaced periods, and the peaks of the data's own spectrum."""

import math

import torch
from jaxtyping import Bool, Float
from scipy.special import gammainccinv
from torch import Tensor


def log_spaced_omega(count: int, steps: float) -> Float[Tensor, " count"]:
    """Angular frequencies whose periods run, evenly in the logarithm, over what data can show.

    Args:
        count: How many.
        steps: How many typical gaps the span holds.

    Returns:
        Radians per unit of τ, float64, falling: from a period of two gaps to one of two spans.

    Example:
        >>> (log_spaced_omega(3, steps=8.0) / torch.pi).round(decimals=3).tolist()
        [8.0, 2.828, 1.0]

    """
    steps = max(steps, 1.0)
    exponent = torch.linspace(1, 0, count, dtype=torch.float64)
    return math.pi * steps**exponent


def spectral_omega(
    tau: Float[Tensor, "S L"],
    mask: Bool[Tensor, "S L"],
    count: int,
    steps: float,
    *,
    bins: int = 8192,
    sequences: int = 512,
    threshold: float = 3.0,
) -> Float[Tensor, " found"]:
    r"""The strongest rhythms of event streams, by the mean periodogram of their events.

    .. math::
        P(f) = \frac{1}{S} \sum_s \frac{1}{n_s} \Bigl| \sum_{k=1}^{n_s} e^{-2πi f τ_{sk}} \Bigr|^2

    (Bartlett 1963.) Events without rhythm have P = 1 at all f. A peak is a local maximum above
    ``threshold`` times the median of its neighbourhood, and above what the highest of as many
    frequencies without rhythm exceeds once in a hundred data sets: P is then a Gamma variable of
    shape S and mean 1. The spectrum is smooth below 2 cycles, where the outline of the streams
    lies, so the search starts there.

    Args:
        tau: Times on the encoder's clock, 0 to 1.
        mask: Which of them are events.
        count: At most so many peaks, the strongest first.
        steps: How many typical gaps the span holds; frequencies above steps/2 are not looked at.
        bins: The resolution of the spectrum.
        sequences: At most so many streams, evenly chosen, are looked at.
        threshold: How far a peak must stand out.

    Returns:
        Radians per unit of τ, float64; fewer than ``count`` where fewer stand out.

    Example:
        >>> tau = torch.arange(0, 1, 1 / 50, dtype=torch.float64).expand(4, -1)
        >>> found = spectral_omega(tau, torch.ones_like(tau, dtype=torch.bool), 1, steps=400)
        >>> round(float(found / (2 * torch.pi)))
        50

    """
    tau, mask = tau.reshape(-1, tau.shape[-1]), mask.reshape(-1, mask.shape[-1])
    chosen = torch.linspace(0, len(tau) - 1, min(sequences, len(tau))).long()
    tau, mask = tau[chosen], mask[chosen]
    power = _periodogram(tau, mask, bins)
    low, high = 2, min(int(steps / 2), bins // 4)
    if high - low < 8:
        return torch.empty(0, dtype=torch.float64)
    floor = _running_median(power, width=15).clamp(min=1.0)
    peak = power / floor
    is_peak = torch.zeros_like(peak, dtype=torch.bool)
    is_peak[1:-1] = (power[1:-1] >= power[:-2]) & (power[1:-1] > power[2:])
    is_peak[:low] = False
    is_peak[high + 1 :] = False
    streams = max(1, int(mask.any(-1).sum()))
    by_chance = float(gammainccinv(streams, 0.01 / (high - low)) / streams)
    candidates = (is_peak & (peak > max(threshold, by_chance))).nonzero().flatten()
    best = candidates[power[candidates].argsort(descending=True)[:count]]
    return 2 * math.pi * _refine(power, best)


def fundamentals(
    omega: Float[Tensor, " found"], count: int, steps: float
) -> Float[Tensor, " count"]:
    """The strongest rhythms that are no harmonics of a stronger one, in cycles per unit of τ.

    A rhythm of 28 steps shows at 28, 14, 9.3, … steps; the first says all. Where fewer than
    ``count`` are found, the clock is divided instead as a ruler is, into ever finer equal parts.

    Args:
        omega: Angular frequencies, the strongest first, as of :func:`spectral_omega`.
        count: How many rhythms.
        steps: How many typical gaps the span holds.

    Example:
        >>> harmonics = 2 * torch.pi * torch.tensor([28.0, 56.0, 84.1, 10.0])
        >>> fundamentals(harmonics, 2, steps=784).round().tolist()
        [28.0, 10.0]
    """
    chosen: list[float] = []
    for nu in (omega / (2 * math.pi)).tolist():
        ratios = [nu / stronger for stronger in chosen]
        # Wide enough for a smeared peak: a twentieth of a cycle of the stronger rhythm.
        if len(chosen) < count and all(r < 1.5 or abs(r - round(r)) > 0.05 for r in ratios):
            chosen.append(nu)
    missing = count - len(chosen)
    parts = [max(steps, 2.0) ** ((i + 1) / (missing + 1)) for i in range(missing)]
    return torch.tensor(chosen + parts, dtype=torch.float64)


def _periodogram(tau: Tensor, mask: Tensor, bins: int) -> Tensor:
    """Mean over streams of |Σ exp(-2πi f τ)|² / n at f = 0, 1, 2, … cycles per unit of τ."""
    row = torch.arange(len(tau), device=tau.device).unsqueeze(-1).expand_as(tau)
    column = (tau * bins).long().clamp(0, bins - 1)
    histogram = torch.zeros(len(tau), bins, dtype=torch.float64, device=tau.device)
    histogram.index_put_((row[mask], column[mask]), tau.new_ones(()), accumulate=True)
    events = mask.sum(-1).clamp(min=1).unsqueeze(-1)
    return (torch.fft.rfft(histogram).abs().square() / events).mean(0).cpu()


def _running_median(power: Tensor, width: int) -> Tensor:
    padded = torch.cat([power[:width].flip(0), power, power[-width:].flip(0)])
    return padded.unfold(0, 2 * width + 1, 1).median(-1).values


def _refine(power: Tensor, index: Tensor) -> Tensor:
    """The top of the parabola through a peak and its two neighbours, in the logarithm."""
    left, middle, right = (power[index + d].clamp(min=1e-12).log() for d in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = torch.where(bend < 0, 0.5 * (left - right) / bend, torch.zeros_like(bend))
    return index.double() + shift.clamp(-0.5, 0.5)
