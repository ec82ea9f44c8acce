import random

import numpy as np
import pytest
import torch

from edgewise.core import InputError, generator, seeded, stream


def test_a_stream_is_a_function_of_seed_and_purpose():
    # Written down: studies are reproduced by these numbers.
    assert stream(0) == 6197007067532723406
    assert stream(7, "shuffle", 3) == 830447236532710532
    assert stream(np.int64(7), np.str_("shuffle"), np.int32(3)) == stream(7, "shuffle", 3)


def test_every_purpose_has_a_stream_of_its_own():
    purposes = [
        *[(seed, name, n) for seed in range(20) for name in ("a", "b") for n in range(20)],
        *[(seed,) for seed in range(20)],
        *[(seed, 0) for seed in range(20)],
        *[(seed, "a") for seed in range(20)],
        (0, "0"),
        (0, "a0"),
        (0, "a', 'b"),
        (0, "a", "b"),
        (-1,),
        (2**32,),
        (0, 1),
        (2**64, "a"),
    ]
    seeds = [stream(*purpose) for purpose in purposes]
    assert len(set(seeds)) == len(set(purposes))
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_streams_of_neighbours_do_not_correlate():
    drawn = torch.stack([torch.randn(2000, generator=generator(0, "x", n)) for n in range(8)])
    correlation = torch.corrcoef(drawn) - torch.eye(8)
    assert correlation.abs().max() < 0.1


def test_a_seed_is_a_whole_number():
    with pytest.raises(InputError) as caught:
        stream(0.5)
    assert str(caught.value) == "a seed must be a whole number, got 0.5"
    with pytest.raises(InputError, match="got None"):
        generator(0, None)


def numpy_state():
    # The global one is meant.
    return np.random.get_state()[1].tolist()  # noqa: NPY002


def test_seeded_reproduces_and_leaves_no_trace():
    states = torch.random.get_rng_state(), numpy_state(), random.getstate()
    with seeded(3, "init"):
        first = torch.rand(5)
    with seeded(3, "init"):
        assert torch.equal(torch.rand(5), first)
    with seeded(4, "init"):
        assert not torch.equal(torch.rand(5), first)
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert numpy_state() == states[1]
    assert random.getstate() == states[2]


def test_seeded_restores_after_an_error_and_nests():
    state = torch.random.get_rng_state()
    with pytest.raises(RuntimeError), seeded(0):
        torch.rand(2) @ torch.rand(3)
    assert torch.equal(torch.random.get_rng_state(), state)
    with seeded(0):
        whole = torch.rand(4)
    with seeded(0):
        first = torch.rand(2)
        with seeded(1):
            torch.rand(7)
        assert torch.equal(torch.cat([first, torch.rand(2)]), whole)
