"""The parts of a landscape, each kept in a file of its own as soon as it is finished."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edgewise.core import InputError, read_json, write_json
from edgewise.curvature import Density, Estimate


class Parts:
    """Results by name in a folder; one that is there is read, one that is not is made and written.

    Args:
        folder: Where.
        common: What all of them depend on.

    Raises:
        InputError: If the folder holds results of something else, naming what differs.

    Example:
        >>> import tempfile
        >>> parts = Parts(Path(tempfile.mkdtemp()), {"model": "a"})
        >>> parts.keep("trace", {"products": 10}, lambda: {"value": 3.0})
        {'value': 3.0}
        >>> parts.keep("trace", {"products": 10}, lambda: {"value": 4.0})
        {'value': 3.0}

    """

    def __init__(self, folder: Path, common: dict[str, Any]) -> None:
        if folder.parent.is_file() or folder.is_file():
            raise InputError(f"--out {folder.parent} is a file: name a folder")
        self.folder = folder
        file = folder / "common.json"
        if file.exists():
            self._refuse_others(read_json(file), common)
        else:
            write_json(file, common)

    def keep(
        self, name: str, settings: dict[str, Any], make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """The result called ``name``, made with these settings."""
        file = self.folder / f"{name}.json"
        if file.exists():
            found = read_json(file)
            self._refuse_others(found["settings"], settings)
            return found["result"]
        write_json(file, {"settings": settings, "result": make()})
        # Read back, so that the first call and those after it give the same.
        return read_json(file)["result"]

    def _refuse_others(self, kept: dict[str, Any], wanted: dict[str, Any]) -> None:
        for key, value in wanted.items():
            if kept.get(key) != value:
                raise InputError(
                    f"{self.folder.parent} holds another landscape: there {key} is "
                    f"{kept.get(key)!r}, here it is {value!r}; choose another folder for --out"
                )


def checksum(path: Path) -> str:
    """A hash of a file's content."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def pack_density(density: Density) -> dict[str, Any]:
    """A density as JSON can hold it."""
    return {
        "size": density.size,
        "outliers": density.outliers.tolist(),
        "nodes": density.nodes.tolist(),
        "weights": density.weights.tolist(),
        "products": density.products,
        "dtype": str(density.dtype).removeprefix("torch."),
    }


def unpack_density(packed: dict[str, Any]) -> Density:
    """The density again.

    Example:
        >>> A = torch.diag(torch.arange(9.0, dtype=torch.float64))
        >>> density = ew.curvature.spectral_density(lambda v: A @ v, 9, 2, 2, outliers=1, exact=0)
        >>> unpack_density(pack_density(density)).moment(2) == density.moment(2)
        True

    """
    as_tensor = {
        key: torch.tensor(packed[key], dtype=torch.float64)
        for key in ("outliers", "nodes", "weights")
    }
    if not packed["nodes"]:
        as_tensor |= {key: torch.empty(0, 1, dtype=torch.float64) for key in ("nodes", "weights")}
    dtype = getattr(torch, packed["dtype"])
    return Density(packed["size"], **as_tensor, products=packed["products"], dtype=dtype)


def pack_estimate(estimate: Estimate) -> dict[str, Any]:
    """An estimate with its stated error as JSON can hold it."""
    return {**vars(estimate), "error": estimate.error}
