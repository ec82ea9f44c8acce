"""Random networks for the tests of this folder."""

import torch

from edgewise.symbolic import SymbolicKAN, SymbolicLayer

SMOOTH = ("x", "x^2", "x^3", "exp", "sin", "cos", "tanh", "gaussian", "arctan", "0")


def random_network(seed, inputs=3, outputs=2, depth=2):
    """Sums and products of any arity, with functions that are smooth everywhere."""
    source = torch.Generator().manual_seed(seed)

    def draw(count):
        return int(torch.randint(count, (), generator=source))

    layers, below = [], inputs
    for k in range(depth):
        nodes = outputs if k == depth - 1 else 1 + draw(3)
        arities = [1 + draw(3) for _ in range(nodes)]
        table = [[SMOOTH[draw(len(SMOOTH))] for _ in range(below)] for _ in range(sum(arities))]
        layer = SymbolicLayer(below, table, arities).double()
        for p in layer.parameters():
            noise = torch.randn(p.shape, generator=source, dtype=torch.float64)
            p.data.copy_(0.7 * noise)
        for n, edge in enumerate(layer.edges):
            # As everywhere: what c takes up is not there.
            if "a" not in edge.function.free:
                layer.a.data[n] = 1
            if "b" not in edge.function.free:
                layer.b.data[n] = 0
        layers.append(layer)
        below = nodes
    return SymbolicKAN(layers)
