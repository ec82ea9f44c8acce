import pytest
import torch

from edgewise.core import InputError
from edgewise.export.bounded import Bounded

HUGE = 10**12
MESSAGE = "it asks for a model much larger than its weights"


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(HUGE),
        lambda: torch.zeros(10**6, 10**6),
        lambda: torch.ones((10**6, 10**6)),
        lambda: torch.empty(size=(HUGE,)),
        lambda: torch.full((HUGE,), 1.0),
        lambda: torch.randn(HUGE),
        lambda: torch.arange(HUGE),
        lambda: torch.linspace(0.0, 1.0, HUGE),
        lambda: torch.eye(HUGE),
        lambda: torch.zeros(2).new_zeros(HUGE),
        lambda: torch.nn.Linear(10**6, 10**6),
        lambda: torch.nn.Embedding(HUGE, 1),
        lambda: torch.zeros(4000, 1) * torch.zeros(1, 4000),
        lambda: [torch.zeros(900) for _ in range(20)],
    ],
)
def test_too_many_numbers_are_refused_before_they_are_made(make):
    with Bounded(10_000, "it"), pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == MESSAGE


def test_what_lies_within_is_made():
    with Bounded(10_000, "it") as bound:
        x = torch.ones(50, 1) * torch.ones(1, 50) @ torch.ones(50, 2)
        torch.full((10,), 7_000_000)
    assert x.shape == (50, 2)
    assert bound.left == 10_000 - 50 - 50 - 100 - 10


def test_a_size_that_torch_never_sees_is_refused_too():
    bound = Bounded(1000, "it")
    bound.check_numbers({"a": 1000, "b": [10**9, 2.0], "c": {"d": 1e30, "e": True, "f": "x"}})
    with pytest.raises(InputError) as caught:
        bound.check_numbers({"a": {"b": 1001}})
    assert str(caught.value) == MESSAGE
