"""One of two processes that train one model; writes what it saw. Arguments: its folder."""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from train_toys import Toys, network

from edgewise.core import RunError, seeded
from edgewise.layers import MixtureOfExperts
from edgewise.train import Settings, fit, joined, world


class Mixture(nn.Module):
    """A network with experts, to see whether all processes route alike."""

    def __init__(self):
        super().__init__()
        experts = [nn.Linear(2, 8) for _ in range(3)]
        self.mixture = MixtureOfExperts(experts, nn.Linear(2, 3), top_k=2)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.mixture(x).tanh())


def mixture():
    with seeded(0, "mixture"):
        return Mixture()


def usage(row, model):
    if isinstance(model, Mixture):
        with torch.no_grad():
            model.mixture(Toys(seed=1).x)
        row["usage"] = model.mixture.routing.load().tolist()


def weights(model):
    return 0.01 * sum(p.square().sum() for p in model.parameters())


# n=65 in batches of 16: the last batch has one example, and one process none.
CASES = {
    "plain": (network, Toys(n=63), {}, None),
    "one left over": (network, Toys(n=65), {"clip": 0.1}, None),
    "accumulation": (network, Toys(n=65), {"accumulation": 3}, weights),
    "experts": (mixture, Toys(n=64), {}, weights),
    "unfrozen later": (network, Toys(n=63), {"unfreeze": {"0.*": 2}}, None),
    "early stop": (network, Toys(n=63), {"patience": 1, "learning_rate": 0.5, "epochs": 9}, None),
    "plateau": (network, Toys(n=63), {"schedule": "plateau", "plateau_patience": 0}, None),
}


def train(name, folder=None):
    make, data, changes, penalty = CASES[name]
    values = {"epochs": 3, "learning_rate": 0.05} | changes
    model, settings = make(), Settings(**values)
    # Their weights differ before; the first process's count.
    with torch.no_grad():
        model[0].bias.add_(world()[0]) if isinstance(model, nn.Sequential) else None
    check = Toys(n=63, seed=1)
    options = {"penalty": penalty, "on_epoch": [usage], "folder": folder}
    return fit(model, data, check, settings, seed=7, **options), model


def broken():
    """A target that spoils the loss of one process only."""
    data = Toys(n=64, regress=True, shuffle=False)
    data.y[15] = float("nan")
    settings = Settings(epochs=1, select="loss")
    try:
        mean = lambda p, t: (p - t).square().mean()  # noqa: E731
        fit(network(out=1), data, data, settings, seed=0, loss=mean)
    except RunError as error:
        return str(error)
    return "nothing"


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with joined() as (rank, _):
        said = {}
        for name in CASES:
            run, model = train(name, folder / name)
            state = {key: value.tolist() for key, value in model.state_dict().items()}
            said[name] = {"history": run.history, "state": state, "epochs": run.epochs}
        said["broken"] = broken()
    (folder / f"{rank}.json").write_text(json.dumps(said))
