"""Weights and buffers, from a torch model to its twin and back."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch
from mlx.utils import tree_flatten

from edgewise.mlx.layout import entries


def give(model: torch.nn.Module, network: nn.Module) -> None:
    """Copies what the torch model holds to its twin, in float32."""
    network.load_weights([(e.array, to_array(e.arranged())) for e in entries(model)])
    mx.eval(network.parameters())


def take(model: torch.nn.Module, network: nn.Module) -> None:
    """Copies weights and running statistics of the twin to the torch model, in place."""
    arrays = tree_flatten(network.parameters(), destination={})
    with torch.no_grad():
        for entry in filter(lambda e: e.changes, entries(model)):
            entry.tensor.copy_(entry.restored(to_tensor(arrays[entry.array])))


def to_array(tensor: torch.Tensor) -> mx.array:
    """A copy in MLX; whole numbers stay what they are, all else is float32."""
    if tensor.is_floating_point():
        tensor = tensor.float()
    return mx.array(tensor.detach().cpu().contiguous().numpy())


def to_tensor(array: mx.array) -> torch.Tensor:
    """A copy in torch, on the CPU."""
    return torch.from_numpy(np.array(array))
