"""Small files in the formats of the real ones, and the real ones' folder if there is one."""

import gzip
import os
import struct

import numpy as np
import pytest
import torch

from edgewise.data import EventStreams

REAL = os.environ.get("EDGEWISE_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="EDGEWISE_DATA is not set: no real data here")


def idx_bytes(values: np.ndarray, code: int = 8) -> bytes:
    head = bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


def write_image_files(folder, train=40, test=10, size=5):
    """Four IDX files of random pixels with labels 0..9 in turn."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        images = random.integers(0, 256, (count, size, size)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(values)))
    return folder


def random_streams(count, seed=0, features=0, longest=12, classes=3, dtype=torch.int64):
    """Streams of 0 to ``longest`` events; stream 0 has none."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, longest + 1, (count,), generator=random)
    lengths[0] = 0
    pieces = [torch.randint(0, 99, (n,), generator=random).sort().values for n in lengths.tolist()]
    total = int(lengths.sum())
    return EventStreams(
        times=torch.cat(pieces).to(dtype),
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        labels=torch.randint(0, classes, (count,), generator=random),
        classes=tuple("abcdefgh"[:classes]),
        features=torch.rand(total, features, generator=random) if features else None,
        feature_names=tuple("uvwxyz"[:features]),
        name="random",
    )
