"""A model as an ONNX file, checked with onnxruntime before it is reported done."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from edgewise.core import InputError, RunError, require, write_atomically
from edgewise.export.example import Axes, Inputs, inputs_for
from edgewise.export.program import Say, first_line, quiet, traced
from edgewise.export.same import check_same

OPSETS = range(18, 24)
"""Versions of the operator set that can be asked for."""

LARGEST = 2**31 - 2**20
"""Bytes of weights: protobuf ends at 2 GiB."""


def onnx(
    model: nn.Module,
    path: str | Path,
    example: Tensor | Sequence[Tensor] | None = None,
    *,
    axes: Sequence[Axes] | None = None,
    opset: int = 20,
    on_step: Say | None = None,
) -> Path:
    """Writes a model for ONNX: any number of samples, and of steps where it reads sequences.

    The file is one that `onnx.checker` accepts, and onnxruntime gives the model's numbers with it
    to 1e-5 of the largest, on the example, on one sample, and on more samples and steps; only then
    does it appear. Layers take the plain path of `edgewise.kernels`, so that the file needs no
    operation of Edgewise's own. Inputs are no longer looked at: a length or a token out of range is
    not refused.

    Args:
        model: The model, in float32 or float64; it stays as it is.
        path: The file to write, usually ``….onnx``.
        example: Its inputs, two samples at least; None takes a made-up one where the class is
            known.
        axes: As for `program`; the names are the file's.
        opset: The version of the operator set, 18 to 23, which the file records.
        on_step: Is told what is being done.

    Returns:
        The path.

    Raises:
        InputError: If the example, the axes, the opset or the model's precision do not fit.
        RunError: If the model can't be traced or translated, or the file says something else.
        MissingExtraError: If onnx, onnxscript or onnxruntime is absent.

    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, extra="export")
    inputs, say = inputs_for(model, example, axes), on_step or (lambda step: None)
    _check(model, opset)
    graph = traced(model, inputs, say)
    say("translating to ONNX")
    made = _translated(graph, inputs, opset, type(model).__name__)
    say("comparing with onnxruntime")
    check_same(_runtime(made), model, inputs, "the ONNX file")
    return write_atomically(path, made)


def _check(model: nn.Module, opset: int) -> None:
    if opset not in OPSETS:
        raise InputError(f"opset must lie between {OPSETS[0]} and {OPSETS[-1]}, got {opset!r}")
    state = model.state_dict().values()
    for tensor in state:
        if tensor.dtype in (torch.float16, torch.bfloat16):
            raise InputError(
                f"ONNX is written in float32 or float64, got {tensor.dtype}: use .float()"
            )
    size = sum(tensor.nbytes for tensor in state)
    if size > LARGEST:
        raise InputError(f"the weights are {size} bytes, an ONNX file holds at most {LARGEST}")


def _translated(graph: ExportedProgram, inputs: Inputs, opset: int, name: str) -> bytes:
    """The bytes of the file, looked at by the checker."""
    import onnx as library  # heavy

    try:
        with quiet(), _hushed("torch.onnx", "onnxscript", "onnx_ir"):
            made = torch.onnx.export(
                graph,
                dynamo=True,
                verbose=False,
                dynamic_shapes=inputs.axes,
                input_names=list(inputs.names),
                opset_version=opset,
                custom_translation_table={torch.ops.aten.squeeze.dim: _squeeze},
            )
        proto = made.model_proto
        library.checker.check_model(proto, full_check=True)
    # The translator and the checker fail in many ways; all of them mean that there is no file.
    except Exception as error:
        raise RunError(f"{name} can't be translated to ONNX: {first_line(error)}") from error
    own = {entry.domain: entry.version for entry in proto.opset_import}
    if own[""] != opset:
        raise RunError(f"{name} can't be written in opset {opset}, only in {own['']}")
    proto.producer_name, proto.graph.name = "edgewise", name
    note = {"class": name, "opset": opset, "inputs": inputs.names, "axes": inputs.axes}
    library.helper.set_model_props(proto, {"edgewise": json.dumps(note)})
    return proto.SerializeToString()


def _squeeze(x: Any, dim: int) -> Any:
    """An axis that is longer than 1 stays; torch's own translation takes it away all the same."""
    from onnxscript import opset18 as op

    size = x.shape[dim]
    if isinstance(size, int) and size != 1:
        return op.Identity(x)
    return op.Squeeze(x, op.Constant(value_ints=[dim]))


def _runtime(made: bytes) -> Callable[[tuple[Tensor, ...]], list[Tensor]]:
    """What onnxruntime makes of the file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Errors only: it warns of constants that it finds no use for.
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(made, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RunError(f"onnxruntime can't load the ONNX file: {first_line(error)}") from error
    names = [entry.name for entry in session.get_inputs()]

    def run(tensors: tuple[Tensor, ...]) -> list[Tensor]:
        feed = {name: t.numpy() for name, t in zip(names, tensors, strict=True)}
        return [torch.from_numpy(y) for y in session.run(None, feed)]

    return run


@contextmanager
def _hushed(*names: str) -> Iterator[None]:
    """Loggers that tell errors only: the exporter tells everybody that torchvision is absent."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
