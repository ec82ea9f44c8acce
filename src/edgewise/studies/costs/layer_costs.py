"""What KAN layers cost: training steps of ours, of plain networks and of peers, timed in turns."""

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from edgewise.bases import BSpline
from edgewise.core import InputError, did_you_mean, generator, seeded
from edgewise.kernels import chosen, use
from edgewise.layers import KernelActivation
from edgewise.models import KAN, MLP, count_parameters

OURS = "edgewise"
"""The network that others are set against: ours, on the path that is chosen for it."""

PLAIN = "edgewise (plain path)"

WARM = 3
"""Training steps at the beginning of a turn: after them a step takes what it does in training."""


@dataclass(frozen=True)
class LayerCost:
    """One network's cost.

    Attributes:
        name: Which network.
        parameters: Its size.
        forward: Median seconds of a forward pass without gradients.
        step: Median seconds of forward and backward; inputs need a gradient where asked.
        ratio: Of its median step to that of ours, from the same rounds.
        train: Median seconds of a whole training step: gradients cleared, forward, backward and
            `torch.optim.Adam` with ``fused=True``.
        train_ratio: Of that median to that of ours.
        peak: Bytes that torch's allocator held at most during a step beyond what was there before
            and the gradients of parameters.
        saved: Bytes kept from forward to backward, parameters left out.
        roofline: Share of the step that matrix products of the same arithmetic take at the rate
            measured beside it; for a B-spline network the degree + 1 functions and the base that
            are not zero count, so that a dense one can't reach 1. The function of a
            `KernelActivation` does not count.

    """

    name: str
    parameters: int
    forward: float
    step: float
    ratio: float
    train: float
    train_ratio: float
    peak: int
    saved: int
    roofline: float


def layer_costs(
    widths: Sequence[int] = (784, 64, 10),
    *,
    batch: int = 256,
    grid_size: int = 5,
    degree: int = 3,
    input_gradient: bool = False,
    rounds: int = 15,
    only: Sequence[str] = (),
) -> list[LayerCost]:
    """Times networks of the same widths, round by round, all in turns.

    A network's turn begins with three whole training steps that are not timed, so that the caches
    hold what they hold while it trains and not what another network left there.

    Ours on its chosen path and on the plain one, a stack of linear layers, an MLP of as many
    parameters, a stack of `KernelActivation` layers (tanh), and efficient-kan, fast-kan,
    faster-kan and ChebyKAN where they can be imported.

    Args:
        widths: The units of each layer.
        batch: Rows of a batch.
        grid_size: Cells of B-splines; peers get as many functions.
        degree: The degree of B-splines.
        input_gradient: Whether the first layer hands a gradient on, as within a deeper network.
        rounds: How often each is timed, after one round that is not counted.
        only: The peers and plain networks to be timed beside ours, by name; empty is all.

    Raises:
        InputError: If one of `only` is not known, or can't be imported.

    Example:
        >>> costs = layer_costs((3, 2), batch=4, rounds=1)
        >>> costs[0].name, costs[0].ratio
        ('edgewise', 1.0)

    """
    x = torch.rand(batch, widths[0], generator=generator(0, "x")) * 1.8 - 0.9
    x.requires_grad_(input_gradient)
    down = torch.randn(batch, widths[-1], generator=generator(0, "dy"))
    networks = _networks(list(widths), grid_size, degree, only)
    calls = {name: _Call(network, x, down, path) for name, (network, path) in networks.items()}
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in calls}
    rates = []
    for turn in range(rounds + 1):
        rate = _gemm_rate()
        for name, call in calls.items():
            for _ in range(WARM):
                call.train()
            seconds = tuple(_seconds(part) for part in (call.train, call.step, call.forward))
            if turn:
                taken[name].append(seconds)
        rates.append(rate)
    medians = {
        n: [statistics.median(column) for column in zip(*v, strict=True)] for n, v in taken.items()
    }
    rate = statistics.median(rates)
    costs = []
    for name, call in calls.items():
        train, step, forward = medians[name]
        work = _arithmetic(name, call, widths, batch, degree, input_gradient)
        costs.append(
            LayerCost(
                name,
                count_parameters(call.network),
                forward=forward,
                step=step,
                ratio=step / medians[OURS][1],
                train=train,
                train_ratio=train / medians[OURS][0],
                peak=call.peak(),
                saved=call.saved(),
                roofline=work / rate / step,
            )
        )
    return costs


def path_of(widths: Sequence[int], batch: int, grid_size: int = 5, degree: int = 3) -> str:
    """The path that a layer of these sizes takes here, and why."""
    with seeded(0, "init"):
        layer = KAN(widths[:2], BSpline(grid_size, degree)).layers[0]
    path, reason = chosen(torch.zeros(batch, widths[0]), layer.coefficients, layer.basis.known)
    return f"{path}: {reason}"


def _networks(
    widths: list[int], grid_size: int, degree: int, only: Sequence[str] = ()
) -> dict[str, tuple[nn.Module, str]]:
    """Name to network and the path that ours shall take; only some, or all that can be made."""
    with seeded(0, "init"):
        ours = KAN(widths, BSpline(grid_size, degree), bias=False)
    makers: dict[str, Callable[[], nn.Module]] = {
        OURS: lambda: ours,
        PLAIN: lambda: ours,
        "linear": lambda: MLP(widths),
        "MLP of equal parameters": lambda: _equal(widths, count_parameters(ours)),
        "KernelActivation": lambda: _kernel_activations(widths),
    } | {name: partial(make, widths, grid_size, degree) for name, make in _PEERS.items()}
    for name in only:
        if name not in makers:
            raise InputError(f"unknown network {name!r}: {did_you_mean(name, list(makers))}")
    found = {}
    for name, make in makers.items():
        if only and name not in (OURS, *only):
            continue
        try:
            with seeded(0, "init"):
                found[name] = (make(), "plain" if name == PLAIN else "auto")
        except ImportError as error:
            if name in only:
                raise InputError(f"{name} can't be imported here: {error}") from error
    return found


def _equal(widths: list[int], parameters: int) -> nn.Module:
    """An MLP with one hidden layer, of about as many parameters."""
    hidden = max(1, parameters // (widths[0] + widths[-1] + 1))
    return MLP([widths[0], hidden, widths[-1]])


def _kernel_activations(widths: list[int]) -> nn.Module:
    return nn.Sequential(*(KernelActivation(i, o) for i, o in pairwise(widths)))


def _efficient_kan(widths: list[int], grid_size: int, degree: int) -> nn.Module:
    module = importlib.import_module("efficient_kan")
    return module.KAN(widths, grid_size=grid_size, spline_order=degree)


def _fast_kan(widths: list[int], grid_size: int, degree: int) -> nn.Module:
    return importlib.import_module("fastkan").FastKAN(widths, num_grids=grid_size + degree)


def _faster_kan(widths: list[int], grid_size: int, degree: int) -> nn.Module:
    return importlib.import_module("fasterkan").FasterKAN(widths, num_grids=grid_size + degree)


def _cheby_kan(widths: list[int], grid_size: int, degree: int) -> nn.Module:
    layer = importlib.import_module("ChebyKANLayer").ChebyKANLayer
    size = grid_size + degree - 1
    return nn.Sequential(*(layer(i, o, size) for i, o in pairwise(widths)))


_PEERS: dict[str, Callable[[list[int], int, int], nn.Module]] = {
    "efficient-kan": _efficient_kan,
    "fast-kan": _fast_kan,
    "faster-kan": _faster_kan,
    "ChebyKAN": _cheby_kan,
}


class _Call:
    """A network with what it is called with."""

    def __init__(self, network: nn.Module, x: Tensor, down: Tensor, path: str) -> None:
        self.network, self.x, self.down, self.path = network, x, down, path
        # A rate of zero costs as much as any other, and every round times the same network.
        self.adam = torch.optim.Adam(network.parameters(), lr=0.0, fused=True)

    def forward(self) -> None:
        with use(self.path), torch.no_grad():
            self.network(self.x)

    def step(self) -> None:
        self.network.zero_grad(set_to_none=True)
        self.x.grad = None
        with use(self.path):
            self.network(self.x).backward(self.down)

    def train(self) -> None:
        self.step()
        self.adam.step()

    def saved(self) -> int:
        own = {p.untyped_storage().data_ptr() for p in (*self.network.parameters(), self.x)}
        kept: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with use(self.path), saved_tensors_hooks(pack, lambda tensor: tensor):
            self.network(self.x)
        return sum(kept.values())

    def peak(self) -> int:
        self.network.zero_grad(set_to_none=True)
        self.x.grad = None
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            self.step()
        events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
        held = most = 0
        for event in sorted(events, key=lambda e: e.start_ns()):
            held += event.nbytes()
            most = max(most, held)
        gradients = (p.grad for p in self.network.parameters() if p.grad is not None)
        return most - sum(g.nbytes for g in gradients)


def _arithmetic(
    name: str, call: _Call, widths: Sequence[int], batch: int, degree: int, input_gradient: bool
) -> float:
    """Floating-point operations of a step's products: forward, and back to weights and inputs."""
    if name.startswith(OURS):
        sizes = [i * o * (degree + 2) for i, o in pairwise(widths)]
    else:
        sizes = [p.numel() for p in call.network.parameters() if p.ndim > 1]
    ways = [3 if input_gradient or i else 2 for i in range(len(sizes))]
    return sum(2.0 * batch * size * way for size, way in zip(sizes, ways, strict=True))


def _gemm_rate() -> float:
    """Floating-point operations a second of a product of two 1024 × 1024 matrices."""
    a = torch.ones(1024, 1024)
    return 2 * 1024**3 / _seconds(lambda: a @ a)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
