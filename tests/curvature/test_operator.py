import torch

from edgewise.curvature import HessianOperator, Operator


def rosenbrock(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def test_a_closure_gives_its_hessian_and_gradient():
    p = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    H = HessianOperator(lambda: rosenbrock(p), [p])
    assert torch.allclose(H.dense(), torch.tensor([[1330.0, 480.0], [480.0, 200.0]]).double())
    assert torch.allclose(H.gradient, torch.tensor([-215.6, -88.0]).double())
    assert H.products == 2


def test_a_closure_may_give_the_gradient():
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    b = torch.tensor([[3.0]], requires_grad=True)

    def gradient():
        return torch.autograd.grad(a.prod() * b.sum() ** 2, [a, b], create_graph=True)

    as_list = HessianOperator(gradient, [a, b]).dense()
    flat = HessianOperator(lambda: torch.cat([g.flatten() for g in gradient()]), [a, b]).dense()
    expected = torch.tensor([[0.0, 9.0, 12.0], [9.0, 0.0, 6.0], [12.0, 6.0, 4.0]])
    assert torch.equal(as_list, expected)
    assert torch.equal(flat, expected)


def test_what_has_no_curvature_has_the_hessian_zero():
    p = torch.ones(3, requires_grad=True)
    unused = torch.ones(2, requires_grad=True)
    assert not HessianOperator(lambda: p.sum(), [p, unused]).dense().any()


def test_frozen_parameters_are_left_out():
    p, frozen = torch.ones(3, requires_grad=True), torch.ones(2)
    assert HessianOperator(lambda: (p**2).sum() * frozen.sum(), [p, frozen]).size == 3


def test_projection_acts_on_both_sides():
    A = torch.arange(9.0).view(3, 3)
    A = A + A.T
    P = torch.diag(torch.tensor([1.0, 0.0, 1.0]))
    operator = Operator(lambda v: A @ v, 3).projected(lambda v: P @ v)
    assert torch.equal(operator.dense(), P @ A @ P)
    assert torch.equal(operator(torch.ones(3)), P @ A @ P @ torch.ones(3))
    assert operator.shape == (3, 3)
