import pytest
import torch

from edgewise.core import InputError
from edgewise.models import KAN, MLP, count_parameters, largest


@pytest.mark.parametrize("wanted", [805, 5_000, 457_418])
def test_the_largest_is_within_and_one_more_is_not(wanted):
    n = largest(lambda n: MLP([784, n, 10]), wanted)
    assert count_parameters(MLP([784, n, 10])) <= wanted < count_parameters(MLP([784, n + 1, 10]))


def test_the_search_ends():
    assert largest(lambda n: MLP([1, n]), 10**9, most=100) == 100
    assert largest(lambda n: MLP([1, n]), 10**9, most=64) == 64


def test_the_search_leaves_no_trace_in_the_random_state():
    before = torch.random.get_rng_state()
    largest(lambda n: KAN([2, n, 1]), 500)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_frozen_parameters_do_not_count():
    model = MLP([2, 3])
    model.layers[0].bias.requires_grad_(False)
    assert count_parameters(model) == 6


def test_nothing_fits():
    with pytest.raises(InputError) as caught:
        largest(lambda n: MLP([784, n, 10]), 100)
    assert str(caught.value) == (
        "no size fits in 100 parameters: the smallest network of this kind has more"
    )
