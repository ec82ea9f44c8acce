"""Training under a penalty that is relaxed step by step, watched on held-out rows."""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from edgewise.symbolic.network import SymbolicKAN
from edgewise.symbolic.polish import polish


class Keeper:
    """Keeps the best state of a network, by the loss on held-out rows."""

    def __init__(self, model: SymbolicKAN, loss: Callable[[], Tensor]) -> None:
        self.model, self.loss, self.since, self.looks = model, loss, 0, 0
        self.least, self.strength, self.chosen = math.inf, 0.0, 0.0
        self.state = copy.deepcopy(model.state_dict())

    @torch.no_grad()
    def look(self) -> bool:
        """Looks at the network as it is now; always false, so that training goes on."""
        loss = float(self.loss())
        self.since += 1
        self.looks += 1
        if loss < self.least:
            self.least, self.since, self.chosen = loss, 0, self.strength
            self.state = copy.deepcopy(self.model.state_dict())
        return False

    def best(self) -> SymbolicKAN:
        """The network in its best state."""
        self.model.load_state_dict(self.state)
        return self.model


def roughness(model: SymbolicKAN) -> list[Tensor]:
    """For each layer the second differences of its splines' numbers."""
    return [layer.splines.coefficients.diff(n=2, dim=0) for layer in model.layers]


def penalty_matrix(model: SymbolicKAN, strength: float) -> Callable[[Tensor], Tensor]:
    """The penalty as a matrix: second differences, and a little of everything."""
    blocks = []
    for layer in model.layers:
        sums, K = len(layer.functions), layer.splines.basis.size
        D = torch.eye(K, dtype=torch.float64).diff(n=2, dim=0)
        one = D.T @ D + 1e-2 * torch.eye(K, dtype=torch.float64)
        blocks.append(torch.zeros(sums, sums, dtype=torch.float64))
        # The numbers stand as (input, function, sum).
        block = torch.kron(one, torch.eye(sums, dtype=torch.float64))
        blocks += [block] * layer.in_features
    Q = strength * torch.block_diag(*blocks) / len(model.layers)
    return lambda theta: Q


def by_levenberg_marquardt(
    model: SymbolicKAN,
    x: Tensor,
    t: Tensor,
    w: Tensor | None,
    strength: float,
    steps: int,
    look: Callable[[], bool],
) -> None:
    """Trains by Levenberg–Marquardt at one strength of the penalty, watched after each step."""
    penalty = penalty_matrix(model, strength)
    options = {"steps": steps, "patience": 3, "penalty": penalty, "weight": w}
    polish(model, x, t, **options, give_up=lambda *_: look())


def by_lbfgs(
    model: SymbolicKAN,
    loss: Callable[[], Tensor],
    smoothness: Sequence[float],
    rounds: int,
    keeper: Keeper,
) -> None:
    """Trains by L-BFGS while the penalty is relaxed, and looks at the held-out rows in between."""
    parameters = [p for layer in model.layers for p in (layer.bias, layer.splines.coefficients)]
    for strength in smoothness:
        optimiser = torch.optim.LBFGS(parameters, max_iter=20, line_search_fn="strong_wolfe")

        def objective(optimiser=optimiser, strength=strength) -> Tensor:
            optimiser.zero_grad()
            rough = sum(d.square().sum() for d in roughness(model))
            small = sum(layer.splines.coefficients.square().sum() for layer in model.layers)
            value = loss() + float(strength) * (rough + 1e-2 * small) / len(model.layers)
            value.backward()
            return value

        for _ in range(rounds):
            optimiser.step(objective)
            keeper.look()
        if keeper.since > 2 * rounds:
            break
    for p in parameters:
        p.grad = None
