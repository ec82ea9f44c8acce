"""Triton's splines beside Cox–de Boor in float64: interpreted here, and on a GPU where one is.

Run as a script it prints, as JSON, how far each case is off; the tests run it so, because Triton
decides once, when it is imported, whether it interprets.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgewise.core import InputError
from edgewise.kernels import spline_triton
from edgewise.kernels.spline_triton import spline_backward, spline_forward, why_not

LO, HI = -1.0, 1.5
# degree, G, N, I, O, x's dtype, C's dtype
CASES = {
    "cubic": (3, 3, 100, 63, 10, "float32", "float32"),
    "quadratic": (2, 2, 63, 100, 1, "float32", "float32"),
    "linear": (1, 5, 63, 10, 100, "float32", "float32"),
    "one of each": (3, 5, 1, 1, 1, "float32", "float32"),
    "one cell": (3, 1, 63, 10, 10, "float32", "float32"),
    "one cell, linear": (1, 1, 10, 3, 4, "float32", "float32"),
    "finer grid": (3, 20, 63, 3, 10, "float32", "float32"),
    "shared batch": (2, 1, 1100, 2, 10, "float32", "float32"),
    "several tiles": (1, 1, 130, 66, 144, "float32", "float32"),
    "bf16": (3, 5, 100, 48, 16, "bfloat16", "bfloat16"),
    "bf16, odd": (2, 5, 63, 10, 10, "bfloat16", "bfloat16"),
    "bf16 coefficients": (3, 5, 100, 48, 16, "float32", "bfloat16"),
    "bf16 inputs": (1, 5, 63, 10, 10, "bfloat16", "float32"),
}
TOLERANCES = {"y": 1e-6, "dx": 1e-5, "dC": 1e-5}


def cox_de_boor(x: Tensor, degree: int, cells: int) -> Tensor:
    """The basis by its recursion, tangents outside: (..., K) in float64."""
    h = (HI - LO) / cells
    knots = LO + h * torch.arange(-degree, cells + degree + 1, dtype=torch.float64)

    def basis(at: Tensor, d: int) -> Tensor:
        at = at.unsqueeze(-1)
        b = ((at >= knots[:-1]) & (at < knots[1:])).double()
        # The last cell holds its right end.
        b[..., degree + cells - 1] += (at == knots[degree + cells]).double()[..., 0]
        b[..., degree + cells] -= (at == knots[degree + cells]).double()[..., 0]
        for e in range(1, d + 1):
            left = (at - knots[: -e - 1]) / (knots[e:-1] - knots[: -e - 1])
            right = (knots[e + 1 :] - at) / (knots[e + 1 :] - knots[1:-e])
            b = left * b[..., :-1] + right * b[..., 1:]
        return b

    inside = x.clamp(knots[degree], knots[degree + cells])
    lower = basis(inside.detach(), degree - 1)
    tangent = (lower[..., :-1] - lower[..., 1:]) / h
    return basis(inside, degree) + (x - inside).unsqueeze(-1) * tangent


def off(ours: Tensor, truth: Tensor) -> float:
    return float((ours.cpu().double() - truth).abs().max() / truth.abs().max())


def measured(name: str, device: str) -> dict[str, float]:
    """The relative errors of one case, and whether doing it again gives the same bits."""
    degree, cells, N, I, O, x_dtype, C_dtype = CASES[name]
    draw = torch.Generator().manual_seed(0)
    # A third lies outside the grid.
    x = torch.empty(N, I).uniform_(LO - 0.6, HI + 0.6, generator=draw)
    C = torch.empty(cells + degree, I, O).normal_(generator=draw)
    dy = torch.empty(N, O).normal_(generator=draw)
    x, C, dy = (
        t.to(device, getattr(torch, d)) for t, d in ((x, x_dtype), (C, C_dtype), (dy, C_dtype))
    )
    # On the CPU: cuBLAS refuses to be deterministic unless the environment says how.
    x64, C64 = (t.cpu().double().requires_grad_() for t in (x, C))
    y64 = torch.einsum("nik,kio->no", cox_de_boor(x64, degree, cells), C64)
    dx64, dC64 = torch.autograd.grad(y64, (x64, C64), dy.cpu().double())

    how = {"lo": LO, "inv_h": cells / (HI - LO), "degree": degree}
    y = spline_forward(x, C, **how)
    dx, dC = spline_backward(x, C, dy, **how, need_dx=True, need_dC=True)
    # Strides must not matter, nor which of the gradients is asked for.
    strided = x.T.contiguous().T, C.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    again = [
        spline_forward(*strided, **how),
        spline_backward(*strided, dy, **how, need_dx=True, need_dC=False)[0],
        spline_backward(*strided, dy, **how, need_dx=False, need_dC=True)[1],
    ]
    return {
        "y": off(y, y64.detach()),
        "dx": off(dx, dx64),
        "dC": off(dC, dC64),
        "same": all(torch.equal(a, b) for a, b in zip(again, (y, dx, dC), strict=True)),
        "dtypes": (y.dtype, dx.dtype, dC.dtype) == (C.dtype, x.dtype, C.dtype),
    }


def special(device: str) -> dict[str, bool]:
    """What is not a number stays so, in its own row and column; knots, ends and nothing work."""
    x = torch.tensor([[0.1, 0.2], [float("nan"), 0.2], [0.3, 0.4]], device=device)
    C, dy = torch.ones(6, 2, 3, device=device), torch.ones(3, 3, device=device)
    y = spline_forward(x, C, -1.0, 2.0, 2)
    dx, dC = spline_backward(x, C, dy, -1.0, 2.0, 2, True, True)
    knots = torch.tensor([[-2.0], [-1.0], [0.0], [1.0], [2.0]], device=device)
    ramp = torch.arange(3.0, device=device).reshape(3, 1, 1) ** 2
    line = spline_forward(knots, ramp, -1.0, 1.0, 1)
    slope = spline_backward(knots, ramp, torch.ones_like(line), -1.0, 1.0, 1, True, False)[0]
    none = spline_forward(x[:0], C, -1.0, 2.0, 2)
    zero = spline_backward(x[:0], C, dy[:0], -1.0, 2.0, 2, True, True)
    return {
        "y keeps NaN": y.isnan().tolist() == [[False] * 3, [True] * 3, [False] * 3],
        "dx keeps NaN": dx.isnan().tolist() == [[False] * 2, [True, False], [False] * 2],
        "dC keeps NaN": dC.isnan().all(dim=(0, 2)).tolist() == [True, False],
        "knots": line.flatten().tolist() == [-1.0, 0.0, 1.0, 4.0, 7.0],
        "slopes at knots": slope.flatten().tolist() == [1.0, 1.0, 3.0, 3.0, 3.0],
        "no rows": none.shape == (0, 3) and zero[0].shape == (0, 2) and not zero[1].any(),
    }


def let_the_interpreter_multiply_bf16() -> None:
    """It would multiply the bits of bfloat16 as whole numbers."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder

    plain = InterpreterBuilder.create_dot

    def create_dot(self, a, b, *rest):
        a, b = (self.cast_impl(t, tl.float32) if t.dtype == tl.bfloat16 else t for t in (a, b))
        return plain(self, a, b, *rest)

    InterpreterBuilder.create_dot = create_dot


if __name__ == "__main__":
    let_the_interpreter_multiply_bf16()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.set_num_threads(1)
    print(json.dumps({name: measured(name, "cpu") for name in CASES} | {"": special("cpu")}))
    sys.exit()


def tolerance(name: str, what: str) -> float:
    return 1e-2 if "bf16" in name else TOLERANCES[what]


def hold(name: str, found: dict[str, float]) -> None:
    assert found["same"]
    assert found["dtypes"]
    for what in TOLERANCES:
        assert found[what] <= tolerance(name, what), what


@pytest.fixture(scope="module")
def interpreted() -> dict:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not importable")
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_the_interpreter_agrees_with_cox_de_boor(name: str, interpreted: dict) -> None:
    hold(name, interpreted[name])


def test_the_interpreter_keeps_nan_and_takes_knots_and_nothing(interpreted: dict) -> None:
    assert [what for what, held in interpreted[""].items() if not held] == []


X, C = torch.zeros(4, 3), torch.zeros(8, 3, 2)


@pytest.mark.parametrize(
    ("x", "C", "degree", "uniform", "reason"),
    [
        (X, C, 3, False, "the knots are not uniform, and the Triton kernels are for equal cells"),
        (X, C, 4, True, "the degree is 4, and the Triton kernels are for 1, 2 and 3"),
        (X, C, 0, True, "the degree is 0, and the Triton kernels are for 1, 2 and 3"),
        (
            X[0],
            C,
            3,
            True,
            "x of shape (3,) and coefficients of shape (8, 3, 2) are not [N, I] and [K, I, O] "
            "with K > 3",
        ),
        (
            X,
            C[:3],
            3,
            True,
            "x of shape (4, 3) and coefficients of shape (3, 3, 2) are not [N, I] and [K, I, O] "
            "with K > 3",
        ),
        (
            X[:, :2],
            C,
            3,
            True,
            "x of shape (4, 2) and coefficients of shape (8, 3, 2) are not [N, I] and [K, I, O] "
            "with K > 3",
        ),
        (
            X.double(),
            C,
            3,
            True,
            "x is torch.float64 and the coefficients are torch.float32, and the Triton kernels "
            "are for float32 and bfloat16",
        ),
        (X, C.to("meta"), 3, True, "x is on cpu and the coefficients are on meta"),
        (X, C, 3, True, "x is on cpu, and the Triton kernels are for CUDA"),
    ],
)
def test_the_reason_why_not(
    x: Tensor, C: Tensor, degree: int, uniform: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert why_not(x, C, degree, uniform) == reason


def test_without_triton_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    reason = "triton is not installed; it comes with torch's CUDA builds on Linux"
    assert why_not(X, C, 3, True) == reason


@pytest.mark.parametrize(
    ("caller", "rest"), [(spline_forward, ()), (spline_backward, (True, True))]
)
def test_what_cannot_be_served_is_refused(
    caller: Callable, rest: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    dy = (torch.zeros(4, 2),) if rest else ()
    with pytest.raises(InputError) as error:
        caller(X, C, *dy, -1.0, 2.5, 3, *rest)
    assert str(error.value) == (
        f"{caller.__name__} can't serve this: x is on cpu, and the Triton kernels are for CUDA; "
        "use the plain path"
    )


def test_a_foreign_gradient_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spline_triton, "_why_not_on", lambda device: None)
    with pytest.raises(InputError) as error:
        spline_backward(X, C, torch.zeros(4, 3), -1.0, 2.5, 3, True, True)
    assert str(error.value) == (
        "dy must be torch.float32 of shape (4, 2) on cpu, as the values were, "
        "got torch.float32 of shape (4, 3) on cpu"
    )


def test_triton_stays_out_of_the_import() -> None:
    code = "import sys, edgewise.kernels.spline_triton; print('triton' in sys.modules)"
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "kind"), spline_triton._TILES)
def test_nothing_spills_on_sm_90(kernel: str, kind: str, tmp_path: Path) -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = spline_triton._compiled()[kernel]
    tile = spline_triton._TILES[kernel, kind]
    data = "bf16" if kind == "bf16" else "fp32"
    place = {name: (index,) for index, name in enumerate(function.arg_names)}
    types = {"x": "*" + data, "c": "*" + data, "y": "*" + data, "dx": "*" + data, "dy": "*" + data}
    types |= {"dc": "*" + data, "lo": "fp32", "inv_h": "fp32"}
    constants = {
        "DEGREE": 3,
        "FACTORIAL": 6,
        "PRECISION": "ieee" if kind == "ieee" else "tf32",
        "BLOCK_N": tile.rows,
        "BLOCK_I": tile.inputs,
        "BLOCK_O": tile.outputs,
    }
    signature = {n: "constexpr" if n in constants else types.get(n, "i32") for n in place}
    aligned = {"x", "c", "y", "dx", "dy", "dc"}
    aligned |= {"n_in", "n_out", "plane", "rows"} if kind != "odd" else set()
    source = ASTSource(
        function,
        signature,
        {place[n]: value for n, value in constants.items()},
        {place[n]: [["tt.divisibility", 16]] for n in aligned & place.keys()},
    )
    options = {"num_warps": spline_triton._WARPS, "num_stages": tile.stages}
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    binary = tmp_path / "kernel.cubin"
    binary.write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    usage = subprocess.run([tool, "-res-usage", binary], capture_output=True, text=True, check=True)
    assert " STACK:0 " in usage.stdout
    assert " LOCAL:0 " in usage.stdout
    # 99 KB is what a program may have on the smallest GPUs served.
    assert made.metadata.shared <= 99 * 1024


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@on_a_gpu
@pytest.mark.parametrize("name", CASES)
def test_the_gpu_agrees_with_cox_de_boor(name: str) -> None:
    hold(name, measured(name, "cuda"))


@on_a_gpu
def test_the_gpu_keeps_nan_and_takes_knots_and_nothing() -> None:
    assert [what for what, held in special("cuda").items() if not held] == []


@on_a_gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_large_layers_on_the_gpu(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CASES, "bf16 or tf32", (3, 5, 1000, 512, 512, dtype, dtype))
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    hold("bf16 or tf32", measured("bf16 or tf32", "cuda"))
