"""A train step of one spline layer on a GPU: Triton's kernels, the layer, efficient-kan, one GEMM.

python benchmarks/gpu_layers.py [--inputs 1024] [--outputs 1024] [--batch 8192] [--grid 5]

The GEMM has the arithmetic of the dense form, K · I inputs in place of I, and no basis to compute:
it is the floor. A step is forward and backward, with the gradients of inputs and coefficients;
milliseconds are medians between CUDA events. Memory is the peak above what stood before the step.
KANLinear and efficient-kan have a SiLU term besides. The kernels are compared with the plain basis
in float64 first, and nothing is timed where they disagree.
"""

import argparse
import importlib.util
import statistics
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from edgewise.bases import BSpline
from edgewise.kernels.spline_triton import spline_backward, spline_forward, why_not
from edgewise.layers import KANLinear

DEGREE = 3
# Of the largest value: float32 in full, TF32 (10 bits) and bfloat16 (7 bits).
TOLERANCES = {"float32": 1e-5, "tf32": 5e-3, "bf16": 2e-2}


def main() -> None:
    options = arguments()
    if not torch.cuda.is_available():
        sys.exit("gpu_layers can't run here: torch sees no CUDA device")
    x, C = tensors(options, torch.float32)
    reason = why_not(x, C, DEGREE, uniform=True)
    if reason is not None:
        sys.exit(f"gpu_layers can't run here: {reason}")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options}")
    for precision in TOLERANCES:
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        error = disagreement(options, dtype)
        if error > TOLERANCES[precision]:
            sys.exit(f"{precision}: the kernels are off by {error:.1e} of the largest value")
        table(precision, error, rows(options, dtype), options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("inputs", 1024), ("outputs", 1024), ("batch", 8192), ("grid", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def tensors(options: argparse.Namespace, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Inputs within the grid, and coefficients; the same each time."""
    draw = torch.Generator("cuda").manual_seed(0)
    x = torch.rand(options.batch, options.inputs, generator=draw, device="cuda") * 2 - 1
    size = (options.grid + DEGREE, options.inputs, options.outputs)
    return x.to(dtype), torch.randn(size, generator=draw, device="cuda").to(dtype)


def disagreement(options: argparse.Namespace, dtype: torch.dtype) -> float:
    """The largest error, of the largest value, of y, dx and dC over the first rows."""
    x, C = tensors(options, dtype)
    x = x[:256]
    dy = torch.randn(256, options.outputs, device="cuda").to(dtype)
    how = (-1.0, options.grid / 2, DEGREE)
    ours = spline_forward(x, C, *how), *spline_backward(x, C, dy, *how, True, True)
    x64, C64 = x.double().requires_grad_(), C.double().requires_grad_()
    y = torch.einsum("nik,kio->no", BSpline(options.grid, DEGREE)(x64), C64)
    truth = y.detach(), *torch.autograd.grad(y, (x64, C64), dy.double())
    pairs = zip(ours, truth, strict=True)
    return max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in pairs)


def rows(options: argparse.Namespace, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """Name to one train step."""
    x, C = tensors(options, dtype)
    dy = torch.randn(options.batch, options.outputs, device="cuda").to(dtype)
    how = (-1.0, options.grid / 2, DEGREE)

    def kernels() -> None:
        spline_forward(x, C, *how)
        spline_backward(x, C, dy, *how, True, True)

    layer = KANLinear(options.inputs, options.outputs, BSpline(options.grid, DEGREE))
    steps = {"Triton kernels, spline alone": kernels, "KANLinear": step(layer, x, dy)}
    # It has no bfloat16: its grid is not of that precision.
    if importlib.util.find_spec("efficient_kan") and dtype == torch.float32:
        from efficient_kan import KANLinear as EfficientKANLinear

        peer = EfficientKANLinear(options.inputs, options.outputs, grid_size=options.grid)
        steps["efficient-kan"] = step(peer, x, dy)
    wide = torch.rand(options.batch, len(C) * options.inputs, device="cuda").to(dtype)
    gemm = torch.nn.Linear(wide.shape[1], options.outputs, bias=False)
    steps["GEMM of equal arithmetic"] = step(gemm, wide, dy)
    return steps


def step(module: torch.nn.Module, x: Tensor, dy: Tensor) -> Callable[[], object]:
    """Forward and backward; gradients are written anew, as after ``zero_grad``."""
    module = module.to("cuda", x.dtype)
    x = x.detach().requires_grad_()

    def run() -> None:
        x.grad = None
        module.zero_grad()
        module(x).backward(dy)

    return run


def table(
    precision: str, error: float, steps: dict[str, Callable], options: argparse.Namespace
) -> None:
    size = options.grid + DEGREE
    flops = 6 * options.batch * options.inputs * options.outputs * size
    print(f"\n{precision} (kernels off by {error:.1e} of the largest value)")
    print(f"{'':30}{'ms':>10}{'TFLOP/s':>10}{'extra MB':>10}")
    for name, run in steps.items():
        seconds, extra = timed(run)
        line = f"{seconds * 1e3:10.3f}{flops / seconds / 1e12:10.1f}{extra / 1e6:10.0f}"
        print(f"{name:30}{line}")


def timed(run: Callable[[], object], repeats: int = 20) -> tuple[float, int]:
    """The median seconds of a step, and the bytes that it takes at its peak."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times), torch.cuda.max_memory_allocated() - before


if __name__ == "__main__":
    main()
