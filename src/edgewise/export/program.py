"""A model as a graph of torch operations that needs no class of Edgewise: `torch.export`."""

import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from edgewise import kernels
from edgewise.core import InputError, RunError, write_atomically
from edgewise.export.example import Axes, Inputs, inputs_for
from edgewise.export.same import check_same
from edgewise.export.traceable import traceable

Say = Callable[[str], None]


def program(
    model: nn.Module,
    example: Tensor | Sequence[Tensor] | None = None,
    path: str | Path | None = None,
    *,
    axes: Sequence[Axes] | None = None,
    on_step: Say | None = None,
) -> ExportedProgram:
    """The model as a `torch.export.ExportedProgram`, for inference on a CPU.

    The graph holds operations of torch only (layers take the plain path of `edgewise.kernels`), any
    number of samples, and for models of sequences any number of steps. It is compared with the
    model, on the example and at two other sizes, before it is handed over. Inputs are no longer
    looked at: a length or a token out of range is not refused.

    Args:
        model: The model; it stays as it is.
        example: Its inputs, two samples at least; None takes a made-up one where the class is
            known.
        path: Where to save it, ``….pt2``; torch's own format: load it with ``torch.export.load``,
            from sources that you trust only.
        axes: For each input the axes that may have any size, such as ``{0: "batch"}``; None takes
            those of a known class, and else the first axis of each input.
        on_step: Is told what is being done.

    Raises:
        InputError: If the example, the axes or the path do not fit.
        RunError: If the model can't be traced, or the graph says something else than the model.

    Example:
        >>> model, x = ew.models.KAN([2, 3, 1]).eval(), torch.rand(5, 2)
        >>> graph = program(model).module()
        >>> torch.allclose(graph(x), model(x), atol=1e-5)
        True

    """
    say = on_step or _silent
    if path is not None and Path(path).suffix != ".pt2":
        raise InputError(f"the file of a traced program ends in .pt2, got {path}")
    found = traced(model, inputs_for(model, example, axes), say)
    if path is not None:
        say("writing")
        write_atomically(path, lambda temporary: _save(found, temporary))
    return found


def traced(model: nn.Module, inputs: Inputs, say: Say) -> ExportedProgram:
    """The graph, compared with the model."""
    say("tracing")
    shapes = tuple(dict.fromkeys(own, Dim.DYNAMIC) for own in inputs.axes)
    try:
        # Once as it is: in a trace its messages would tell of sizes by symbols.
        with torch.no_grad():
            copy.deepcopy(model).cpu().eval()(*inputs.tensors)
        with kernels.use("plain"), quiet():
            found = torch.export.export(
                traceable(model), inputs.tensors, dynamic_shapes=shapes, strict=False
            )
            graph = found.module()
    except InputError:
        # The model's own, of an example that does not suit it.
        raise
    # What a model of the user's does can fail in any way.
    except Exception as error:
        raise RunError(f"{type(model).__name__} can't be traced: {first_line(error)}") from error
    say("comparing with the model")
    check_same(lambda t: pytree.tree_leaves(graph(*t)), model, inputs, "the traced graph")
    return found


def first_line(error: BaseException) -> str:
    """The first line, of perhaps a hundred, of what went wrong in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def quiet() -> warnings.catch_warnings:
    """Within it the exporters' warnings about their own code are not shown."""
    return warnings.catch_warnings(action="ignore")


def _save(found: ExportedProgram, path: Path) -> None:
    with quiet():
        torch.export.save(found, path)


def _silent(step: str) -> None:
    """Nothing."""
