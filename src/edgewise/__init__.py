"""Edgewise: Kolmogorov-Arnold networks, from functions on edges to evidence.

The rooms, from the ground up: ``core``, ``kernels``, ``curvature``, ``bases``, ``layers``,
``encoders``, ``models``, ``optim``, ``losses``, ``data``, ``train``, ``landscape``, ``symbolic``,
``activations``, ``export``, ``jobs``, ``studies``. They are imported when they are first asked
for, so that ``import edgewise`` and ``edgewise --help`` answer at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgewise import activations as activations
    from edgewise import bases as bases
    from edgewise import core as core
    from edgewise import curvature as curvature
    from edgewise import data as data
    from edgewise import encoders as encoders
    from edgewise import export as export
    from edgewise import jobs as jobs
    from edgewise import kernels as kernels
    from edgewise import landscape as landscape
    from edgewise import layers as layers
    from edgewise import losses as losses
    from edgewise import models as models
    from edgewise import optim as optim
    from edgewise import studies as studies
    from edgewise import symbolic as symbolic
    from edgewise import train as train
    from edgewise.export import load as load
    from edgewise.export import save as save
    from edgewise.symbolic import KANClassifier as KANClassifier
    from edgewise.symbolic import KANRegressor as KANRegressor

__version__ = "0.1.0"

_ROOMS = (
    *("core", "kernels", "curvature", "bases", "layers", "encoders", "models"),
    *("optim", "losses", "data", "train", "landscape", "symbolic", "activations", "export"),
    *("jobs", "studies"),
)
_NAMES = {
    "save": "export",
    "load": "export",
    "KANRegressor": "symbolic",
    "KANClassifier": "symbolic",
}


def __getattr__(name: str) -> Any:
    """Imports a room, or the room that a name lives in."""
    if name in _ROOMS:
        return importlib.import_module(f"edgewise.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"edgewise.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'edgewise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS, *_NAMES])
