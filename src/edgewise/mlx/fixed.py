"""Arrays that belong to a module but are not learned."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn


class Fixed(nn.Module):
    """A module some of whose arrays belong to its state but are never trained, such as knots.

    To MLX every array among a module's attributes is a parameter. These are frozen, and stay so
    when a network around them is unfrozen; `mlx.nn.BatchNorm` treats running statistics so too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._fixed: list[str] = []

    def fix(self, **arrays: mx.array) -> None:
        """Adds arrays that are not trained."""
        for name, array in arrays.items():
            self[name] = array
            self._fixed.append(name)
        self.freeze(keys=self._fixed, recurse=False)

    def unfreeze(self, *args: Any, **kwargs: Any) -> nn.Module:
        super().unfreeze(*args, **kwargs)
        self.freeze(keys=self._fixed, recurse=False)
        return self
