"""Exact edge norms by Gram matrices, beside the naive way through each edge's value.

    OMP_NUM_THREADS=1 python benchmarks/edge_norms.py

One layer 784 -> 64, batch 256, float32: what a penalty on the norms adds to a training step
(forward and backward to the coefficients; with a gradient for x as a hidden layer has it, and
without). Both ways take turns; medians of processor time (of one thread), so that neighbours on
the machine count less. Peak memory is the largest sum of what torch's allocator handed out and
had not got back, on top of what was there before.
"""

import statistics
import time

import torch
from torch.profiler import ProfilerActivity, profile

from edgewise.core import generator, seeded
from edgewise.layers import KANLinear
from edgewise.layers.norms import edge_norms

IN, OUT, BATCH, TURNS = 784, 64, 256, 9


def naive(layer, x):
    return layer.curves(x).square().mean(0).sqrt()


def step(norms, layer, x):
    layer.zero_grad(set_to_none=True)
    x.grad = None
    norms(layer, x).sum().backward()


def seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def peak_bytes(call):
    """The height of the allocations and releases that the profiler saw, in order of time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    level = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        level += event.nbytes()
        peak = max(peak, level)
    return peak


def main():
    torch.set_num_threads(1)
    with seeded(0):
        layer = KANLinear(IN, OUT)
    ways = {"naive (N, O, I)": naive, "Gram matrices": edge_norms}
    print(f"{IN} -> {OUT}, batch {BATCH}, torch {torch.__version__}, 1 thread, float32")
    print(f"{'':>28}{'ms':>10}{'ratio':>8}{'peak MiB':>10}{'ratio':>8}")
    for case in ("forward", "step, x is data", "step, x is hidden"):
        x = torch.randn(BATCH, IN, generator=generator(0)).requires_grad_(case.endswith("hidden"))

        def call(way, case=case, x=x):
            if case != "forward":
                return step(ways[way], layer, x)
            with torch.no_grad():
                return ways[way](layer, x)

        exact, found = [way(layer, x).detach() for way in ways.values()]
        torch.testing.assert_close(found, exact, rtol=1e-5, atol=0)
        turns = {way: [] for way in ways}
        for _ in range(TURNS):
            for way, times in turns.items():
                times.append(seconds(lambda way=way: call(way)))
        times = {way: 1e3 * statistics.median(t) for way, t in turns.items()}
        peaks = {way: peak_bytes(lambda way=way: call(way)) / 2**20 for way in ways}
        slow, big = times["naive (N, O, I)"], peaks["naive (N, O, I)"]
        print(case)
        for way in ways:
            print(
                f"{way:>28}{times[way]:>10.1f}{slow / times[way]:>7.1f}x"
                f"{peaks[way]:>10.1f}{big / peaks[way]:>7.1f}x"
            )


if __name__ == "__main__":
    main()
