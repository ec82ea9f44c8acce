"""Where each tensor of a torch model lies in its MLX twin, and in which order of axes.

MLX keeps channels, and the functions of a basis, on the last axis, so that what is summed over is
contiguous. Names are torch's own, but for ``nn.Sequential``, whose members MLX calls ``layers``.
This file needs torch only: a model can be written for MLX where MLX is not installed.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.layers.conv import KANConv1d, KANConv2d, KANConv3d
from edgewise.layers.linear import KANLinear

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_KAN_CONVS = (KANConv1d, KANConv2d, KANConv3d)


class Entry(NamedTuple):
    """One tensor: its name in torch and in MLX, and the axes of torch's in the order of MLX's."""

    name: str
    array: str
    axes: tuple[int, ...]
    tensor: Tensor

    def arranged(self) -> Tensor:
        """The tensor with its axes in the order of MLX's."""
        return self.tensor.detach().permute(self.axes)

    def restored(self, array: Tensor) -> Tensor:
        """What MLX holds, with its axes in the order of torch's."""
        return _undone(array, self.axes)

    @property
    def changes(self) -> bool:
        """Whether training changes it; knots and the like stay, in torch's own precision."""
        running = self.name.rpartition(".")[2] in ("running_mean", "running_var")
        return running or isinstance(self.tensor, nn.Parameter)


def entries(model: nn.Module) -> list[Entry]:
    """Every parameter and persistent buffer but BatchNorm's count of batches, which MLX lacks.

    Raises:
        InputError: If modules share a parameter: their twins would be trained apart.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Conv1d(2, 3, kernel_size=5, bias=False))
        >>> [(e.name, e.array, tuple(e.arranged().shape)) for e in entries(model)]
        [('0.weight', 'layers.0.weight', (3, 5, 2))]

    """
    found = []
    for name, array, module in _places(model):
        for key, tensor in module.state_dict(keep_vars=True).items():
            # Own tensors only: those of children come with their own module's rule.
            if "." not in key and key != "num_batches_tracked":
                axes = _axes(module, key, tensor.ndim)
                found.append(Entry(name + key, array + key, axes, tensor))
    owners: dict[int, str] = {}
    for entry in found:
        first = owners.setdefault(id(entry.tensor), entry.name)
        if first != entry.name and isinstance(entry.tensor, nn.Parameter):
            raise InputError(
                f"{first!r} and {entry.name!r} are one parameter, which MLX would train as two; "
                f"give each module its own"
            )
    return found


def torch_state(model: nn.Module, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The arrays under their names in torch, with their axes in torch's order.

    Arrays that the model does not have yet, such as knots that followed data, are among them.

    Raises:
        InputError: If an array is of a module that the model does not have.

    """
    places = {array: (name, module) for name, array, module in _places(model)}
    state = {}
    for array, tensor in arrays.items():
        head, dot, key = array.rpartition(".")
        if head + dot not in places:
            raise InputError(f"the model lacks {array!r}")
        name, module = places[head + dot]
        state[name + key] = _undone(tensor, _axes(module, key, tensor.ndim))
    return state


def _places(
    module: nn.Module, name: str = "", array: str = ""
) -> Iterator[tuple[str, str, nn.Module]]:
    """Every module with what its tensors' names begin with, in torch and in MLX."""
    yield name, array, module
    inner = "layers." if isinstance(module, nn.Sequential) else ""
    # Not named_children(), which leaves out a module that comes twice.
    for key, child in module._modules.items():
        if child is not None:
            yield from _places(child, f"{name}{key}.", f"{array}{inner}{key}.")


def _undone(array: Tensor, axes: tuple[int, ...]) -> Tensor:
    return array.permute([axes.index(axis) for axis in range(len(axes))])


def _axes(module: nn.Module, key: str, ndim: int) -> tuple[int, ...]:
    spatial = tuple(range(2, ndim))
    if isinstance(module, KANLinear) and key == "coefficients":
        return 1, 0, 2  # (K, I, O) to (I, K, O)
    if isinstance(module, _KAN_CONVS) and key == "coefficients":
        return 1, *spatial[1:], 2, 0  # (K, O, C, *S) to (O, *S, C, K)
    if (isinstance(module, _CONVS) and key == "weight") or (
        isinstance(module, _KAN_CONVS) and key == "base_weight"
    ):
        return 0, *spatial, 1  # (O, C, *S) to (O, *S, C)
    return tuple(range(ndim))
