from fractions import Fraction

import pytest
import torch

from edgewise.symbolic.sorted_line import best_line, ratio_along


def inputs(columns=3):
    source = torch.Generator().manual_seed(0)
    return 1 + torch.rand(4000, columns, generator=source, dtype=torch.float64)


def test_a_fast_function_of_one_product_of_powers():
    x = inputs()
    y = torch.sin(40 * x[:, 0] * x[:, 1] / x[:, 2] ** 2)
    line = best_line(x.log(), y)
    assert line.q == (Fraction(1), Fraction(1), Fraction(-2))


def test_a_function_of_a_difference():
    x = inputs(2)
    assert best_line(x, torch.sin(20 * (x[:, 0] - x[:, 1]))).q == (Fraction(1), Fraction(-1))


@pytest.mark.parametrize("small", [1.0, 0.3])
def test_where_another_input_matters_too_there_is_no_line(small):
    x = inputs(2)
    assert best_line(x.log(), x[:, 0] ** 2 + small * x[:, 1].sin()) is None


def test_noise_of_a_known_size_is_forgiven():
    x = inputs(2)
    y = x[:, 0] * x[:, 1]
    source = torch.Generator().manual_seed(1)
    y = y + 0.01 * y.std() * torch.randn(4000, generator=source, dtype=torch.float64)
    assert best_line(x.log(), y) is None
    assert best_line(x.log(), y, noise=1e-4).q == (Fraction(1), Fraction(1))


def test_the_ratio_is_one_for_noise():
    source = torch.Generator().manual_seed(1)
    u, y = torch.randn(2, 20_000, generator=source, dtype=torch.float64)
    assert abs(ratio_along(u, y) - 1) < 0.05
