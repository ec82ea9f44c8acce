"""N-MNIST: what an event camera saw of MNIST's digits while it moved (Orchard and others 2015)."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgewise.core import InputError
from edgewise.data.arrays import read_arrays
from edgewise.data.catalogue import SOURCES, locate
from edgewise.data.catalogue import data_dir as find_data_dir
from edgewise.data.datasets import DATASETS
from edgewise.data.splits import EventDataset, stratified_split
from edgewise.data.streams import EventStreams

_ARCHIVE = "nmnist_1k_100.npz"
_LAST_PIXEL = 33
_OVERFLOW_ROW = 240


class Recording(NamedTuple):
    """The events of a recording: times (n,) int64 in µs; pixels x, y and polarity p (n,) uint8."""

    times: Tensor
    x: Tensor
    y: Tensor
    p: Tensor


@DATASETS.register("nmnist")
def nmnist(
    *,
    data_dir: str | Path | None = None,
    split_seed: int = 0,
    max_events: int | None = 256,
    bin_us: int | None = None,
    validation: float = 0.2,
) -> EventDataset:
    """N-MNIST with times in µs and the features x / 33, y / 33 and polarity (0 or 1).

    Reads the original recordings if ``<data-dir>/nmnist`` has the folders ``Train`` and ``Test``
    with one folder a digit, and else ``nmnist_1k_100.npz``, 1000 and 100 of them.

    A recording has about 4133 events in three jerks of the camera. The first 256 (31 ms) are
    enough: logistic regression on how many events each pixel had gets 0.85 from them, 0.87 from
    512, 0.90 from 1024 and 0.83 from all, which blur each other (800 recordings to learn from, 100
    to test, so give or take 0.04). One event a millisecond, over the whole recording, gets 0.65.

    Args:
        data_dir: The folder that has ``nmnist/``; None takes EDGEWISE_DATA or the user's cache.
        split_seed: Which training recordings are held out for validation.
        max_events: Keeps so many events from the beginning of each recording; None keeps all.
        bin_us: Keeps only the first event in every so many µs, before ``max_events`` counts.
        validation: What fraction of the training recordings is held out.

    Raises:
        InputError: If an option is out of range, or a file is missing or not what it should be.

    """
    for option, value in (("max_events", max_events), ("bin_us", bin_us)):
        if value is not None and value < 1:
            raise InputError(f"{option} must be at least 1 or None, not {value}")
    if not 0 < validation < 1:
        raise InputError(f"validation must be a fraction between 0 and 1, not {validation}")
    folder = find_data_dir(data_dir) / "nmnist"
    if (folder / "Train").is_dir():
        train, test = _original(folder / "Train"), _original(folder / "Test")
    else:
        train, test = _archived(locate("nmnist", _ARCHIVE, data_dir))
    whole, test_streams = (_streams(part, max_events, bin_us) for part in (train, test))
    parts = stratified_split(whole.labels, (1.0 - validation, float(validation)), split_seed)
    facts = SOURCES["nmnist"].card | {
        "options": {
            "split_seed": split_seed,
            "max_events": max_events,
            "bin_us": bin_us,
            "validation": validation,
        }
    }
    return EventDataset.described("nmnist", [*map(whole.subset, parts), test_streams], facts)


def read_recording(path: str | Path) -> Recording:
    """Reads a recording in the original format of N-MNIST and N-Caltech101.

    Five bytes an event: x, y, then one bit of polarity and 23 bits of time in µs, big-endian. A row
    of 240 is no event: it says that the timer has overflowed, and adds 2¹³ µs to all that follows.

    Raises:
        InputError: If the file is missing or empty, or ends within an event.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "00001.bin"
        >>> _ = file.write_bytes(bytes([3, 4, 0x80, 1, 0,  5, 6, 0, 1, 2]))
        >>> read_recording(file).times.tolist(), read_recording(file).p.tolist()
        ([256, 258], [1, 0])

    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    content = path.read_bytes()
    if not content or len(content) % 5:
        raise InputError(
            f"{path} has {len(content)} bytes, which is not a number of 5-byte events: "
            f"it is empty, truncated or no N-MNIST recording"
        )
    x, y, high, middle, low = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, 5).T
    times = (high.long() & 127) << 16 | middle.long() << 8 | low.long()
    overflow = y == _OVERFLOW_ROW
    times = times + (overflow.cumsum(0) << 13)
    real = ~overflow
    return Recording(times[real], x[real], y[real], high[real] >> 7)


def _original(folder: Path) -> Iterator[tuple[str, int, Recording]]:
    """Name, digit and events of every recording in ``folder/<digit>/``."""
    files = sorted(folder.glob("[0-9]/*.bin"))
    if not files:
        raise InputError(
            f"{folder} has no recordings: they belong in {folder / '0'} to 9, as *.bin"
        )
    return ((str(file), int(file.parent.name), read_recording(file)) for file in files)


def _archived(path: Path) -> list[Iterator[tuple[str, int, Recording]]]:
    """The same for the parts train and test of an archive."""
    arrays = read_arrays(path)
    return [_unpack(path, part, arrays) for part in ("train", "test")]


def _unpack(
    path: Path, part: str, arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, int, Recording]]:
    t, x, y, p, offsets, labels = (
        _column(path, f"{part}_{key}", arrays)
        for key in ("t_us", "x", "y", "p", "offsets", "label")
    )
    lengths = (offsets[1:] - offsets[:-1]).tolist()
    sizes = {len(column) for column in (t, x, y, p)} | {sum(lengths)}
    if len(sizes) > 1 or len(lengths) != len(labels) or min(lengths, default=0) < 0:
        raise InputError(f"{path} is not an N-MNIST archive: the arrays of {part!r} disagree")
    columns = (column.split(lengths) for column in (t.long(), x, y, p))
    recordings = map(Recording, *columns)
    names = (f"recording {i} of {part} in {path}" for i in range(len(labels)))
    return zip(names, labels.tolist(), recordings, strict=True)


def _column(path: Path, name: str, arrays: Mapping[str, np.ndarray]) -> Tensor:
    """One of the archive's columns of whole numbers."""
    if name not in arrays:
        raise InputError(f"{path} is not an N-MNIST archive: it has no {name!r}")
    column = arrays[name]
    if column.ndim != 1 or column.dtype.kind not in "iu":
        raise InputError(
            f"{path} is not an N-MNIST archive: {name!r} must be a row of whole numbers, got "
            f"{column.dtype} of shape {column.shape}"
        )
    # Of unsigned numbers torch can do little with any but these.
    small = column.dtype == np.uint8
    return torch.from_numpy(column if small else column.astype(np.int64))


def _streams(
    recordings: Iterable[tuple[str, int, Recording]], max_events: int | None, bin_us: int | None
) -> EventStreams:
    times, features, labels = [], [], []
    for name, label, recording in recordings:
        kept = _thinned(_checked(name, recording), max_events, bin_us)
        times.append(kept.times)
        features.append(torch.stack([kept.x / _LAST_PIXEL, kept.y / _LAST_PIXEL, kept.p], 1))
        labels.append(label)
    lengths = torch.tensor([0, *map(len, times)])
    return EventStreams(
        times=torch.cat(times),
        offsets=lengths.cumsum(0),
        labels=torch.tensor(labels),
        classes=tuple("0123456789"),
        features=torch.cat(features).to(torch.float32),
        feature_names=("x", "y", "polarity"),
        name="nmnist",
        time_unit="µs",
    )


def _checked(name: str, recording: Recording) -> Recording:
    """Before thinning, which would hide what it drops."""
    if bool((recording.times[1:] < recording.times[:-1]).any()):
        raise InputError(f"{name}: its times decrease")
    for axis in ("x", "y"):
        values = getattr(recording, axis)
        if len(values) and int(values.max()) > _LAST_PIXEL:
            raise InputError(
                f"{name}: {axis} goes to {int(values.max())}, but the camera has 34 × 34 pixels"
            )
    return recording


def _thinned(recording: Recording, max_events: int | None, bin_us: int | None) -> Recording:
    if bin_us is not None:
        bins = recording.times // bin_us
        first = torch.ones_like(bins, dtype=torch.bool)
        first[1:] = bins[1:] != bins[:-1]
        recording = Recording(*(column[first] for column in recording))
    return Recording(*(column[:max_events] for column in recording))
