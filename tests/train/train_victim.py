"""A run to be killed: says when an epoch is done, then dawdles. Arguments: its folder."""

import sys
import time

from train_toys import Toys, network

from edgewise.train import Settings, fit

SETTINGS = Settings(epochs=4, learning_rate=0.05)


def model():
    return network(dropout=0.3, norm=True)


def run(folder, **callbacks):
    victim = model()
    return fit(victim, Toys(), Toys(seed=1), SETTINGS, seed=7, folder=folder, **callbacks), victim


def dawdle(step):
    if step.epoch == 3:
        print("in epoch 3", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    run(sys.argv[1], on_batch=[dawdle])
