import pytest
import torch

from edgewise.core import generator
from edgewise.optim.damped import DampedSystem


def matrix(m, n, rank=None, seed=0):
    draw = generator(seed, "J")
    rank = rank or min(m, n)
    left = torch.randn(m, rank, generator=draw, dtype=torch.float64)
    return left @ torch.randn(rank, n, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(63, 10), (10, 63), (7, 7), (1, 5), (5, 1)])
@pytest.mark.parametrize("damping", [1e3, 1.0, 1e-6, 1e-14])
def test_it_is_the_damped_least_squares_step(shape, damping):
    J = matrix(*shape)
    r = matrix(shape[0], 1, seed=1).squeeze(1)
    p, foreseen = DampedSystem(J, r).step(damping)
    # The truth: least squares with the damping as more rows.
    more = torch.cat([J, damping**0.5 * torch.eye(shape[1], dtype=J.dtype)])
    right = torch.cat([-r, r.new_zeros(shape[1])])
    truth = torch.linalg.lstsq(more, right.unsqueeze(1), driver="gelsd").solution.squeeze(1)
    torch.testing.assert_close(p, truth, rtol=1e-7, atol=1e-9)
    fell = float(r @ r - (r + J @ p) @ (r + J @ p))
    assert foreseen == pytest.approx(fell, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("shape", [(63, 10), (10, 63)])
def test_without_damping_a_deficient_system_has_the_shortest_step(shape):
    J = matrix(*shape, rank=4)
    r = matrix(shape[0], 1, seed=1).squeeze(1)
    p, _ = DampedSystem(J, r).step(0.0)
    torch.testing.assert_close(p, -torch.linalg.pinv(J, rtol=1e-10) @ r, rtol=1e-8, atol=1e-10)


def test_directions_without_effect_stay_still_at_every_damping():
    J = matrix(63, 10, rank=4)
    r = matrix(63, 1, seed=1).squeeze(1)
    null = torch.linalg.svd(J).Vh[4:]
    system = DampedSystem(J, r)
    for damping in (1.0, 1e-6, 3e-11, 1e-11, 1e-16, 0.0):
        p, _ = system.step(damping * system.size)
        assert (null @ p).norm() < 1e-4 * p.norm()


def test_small_singular_values_beyond_the_gram_matrix_are_resolved():
    """σ = 1e-10 of the largest: its square is below the digits of JᵀJ."""
    U = torch.linalg.qr(matrix(20, 3)).Q
    J = U * torch.tensor([1.0, 1e-5, 1e-10], dtype=torch.float64)
    wanted = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    p, _ = DampedSystem(J, -J @ wanted).step(1e-26)
    torch.testing.assert_close(p, wanted, rtol=1e-4, atol=0)
    # And cut off where that is asked for.
    cut, _ = DampedSystem(J, -J @ wanted, cutoff=1e-8).step(1e-26)
    assert cut[2].abs() < 1e-6


def test_other_right_hand_sides():
    J, r, other = matrix(20, 3), matrix(20, 1).squeeze(1), matrix(20, 1, seed=2).squeeze(1)
    for damping in (1.0, 0.0):
        first = DampedSystem(J, r).solve(other, damping)
        torch.testing.assert_close(first, DampedSystem(J, other).step(damping)[0])
