import pytest
import torch
from optim_problems import kan, mlp, samples, sequence

from edgewise.bases import BSpline, Chebyshev, Fourier, Gaussian
from edgewise.core import seeded
from edgewise.kernels import use
from edgewise.layers import KANLinear
from edgewise.optim import LeastSquares, jacobian_of_model, stack_of
from edgewise.optim.objective import verified_stack

MODELS = {
    "2-layer": lambda: kan(2, 5, 1),
    "3-layer": lambda: kan(3, 2, 4, 2),
    "deep": lambda: kan(1, 1, 3, 2, 1),
    "one": lambda: kan(3, 2),
    "no bias": lambda: kan(2, 3, 1, bias=False),
    "no base": lambda: kan(2, 3, 1, base=None),
    "tanh": lambda: kan(2, 3, 1, base="tanh"),
    "gaussian": lambda: kan(2, 3, 2, basis=Gaussian(4)),
    "chebyshev": lambda: kan(2, 3, 2, basis=Chebyshev(3)),
    "degree 2, zero outside": lambda: kan(2, 3, 1, basis=BSpline(4, 2, outside="zero")),
    "sequence": lambda: sequence(2, 3, 1),
    "layer": lambda: KANLinear(3, 2).double(),
    "quartic": lambda: kan(2, 3, 2, basis=BSpline(4, 4)),
    "own knots": lambda: adapted(kan(2, 3, 1)),
    "one set of knots": lambda: kan(2, 3, 1, basis=BSpline(3).with_breaks(KNOTS)),
}
KNOTS = torch.tensor([-1.0, -0.2, 0.5, 1.0])


def adapted(model):
    """Each input with knots of its own."""
    model.update_grid(samples(63, 2, 1)[0] ** 3)
    assert model.layers[0].basis.breaks.ndim == 2
    return model


def inputs_of(model):
    layer = next(m for m in model.modules() if isinstance(m, KANLinear))
    # Beyond the domain too.
    return 1.5 * samples(63, layer.in_features, 1)[0]


@pytest.mark.parametrize("name", MODELS)
def test_the_jacobian_is_that_of_automatic_differentiation(name):
    model = MODELS[name]()
    x = inputs_of(model)
    stack = stack_of(model)
    y, J = stack.jacobian(x)
    truth, slow = jacobian_of_model(model, x, list(model.parameters()))
    torch.testing.assert_close(y, model(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(stack.forward(x), model(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(truth, model(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(J, slow, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_is_that_of_automatic_differentiation(name):
    model = MODELS[name]()
    x = inputs_of(model)
    y = model(x)
    p = torch.randn_like(y)
    slow = torch.autograd.grad((y * p).sum(), list(model.parameters()))
    fast = stack_of(model).gradient(x, p)
    torch.testing.assert_close(fast, torch.cat([g.reshape(-1) for g in slow]))


def test_what_it_keeps_is_made_again_when_anything_changes():
    model = kan(2, 3, 1)
    stack, x = stack_of(model), samples(20, 2, 1)[0]

    def check():
        torch.testing.assert_close(stack.forward(x), model(x), rtol=1e-12, atol=1e-12)

    check()
    # Past autograd's version counters.
    model.layers[1].coefficients.data.add_(0.1)
    check()
    x.mul_(0.5)
    check()
    model.refine(6)
    check()
    model.update_grid(x)
    check()
    model.layers[0].basis.breaks.mul_(1.1)
    model.layers[0].basis._take(model.layers[0].basis.breaks)
    check()
    before = stack.trace(x)
    assert stack.trace(x) is before


@pytest.mark.parametrize("name", MODELS)
def test_with_and_without_the_native_kernel(name):
    """Gradient, Jacobian and Hessian; on a machine without a compiler both are the plain path."""
    model = MODELS[name]()
    x = inputs_of(model)
    y = samples(len(x), 1, model(x).shape[1])[1]
    found = []
    for path in ("auto", "plain"):
        with use(path):
            problem = LeastSquares(model, x, y)
            params = list(model.parameters())
            value, g = problem.value_and_gradient(params)
            found.append([value, g, *problem.linearise(params), problem.hessian(params)])
    for fast, plain in zip(*found, strict=True):
        size = max(1.0, float(plain.abs().max()))
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12 * size)


def test_single_precision():
    model = kan(2, 5, 1).float()
    x = inputs_of(model).float()
    stack, p = stack_of(model), torch.randn(len(x), 1)
    fast = stack.gradient(x, p), stack.jacobian(x)[1]
    model, stack = model.double(), stack_of(model.double())
    slow = stack.gradient(x.double(), p.double()), stack.jacobian(x.double())[1]
    for a, b in zip(fast, slow, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


def test_a_trial_that_goes_astray_gives_no_number_and_no_error():
    """The native kernel refuses what is not finite, but an optimiser must be able to look."""
    model, x = kan(2, 3, 1), samples(20, 2, 1)[0]
    stack = stack_of(model)
    for wrong in (float("nan"), float("inf")):
        model.layers[0].coefficients.data.fill_(wrong)
        assert not torch.isfinite(stack.forward(x)).any()


def test_what_callers_do_with_the_outputs_is_theirs():
    model, x = kan(2, 3, 1), samples(20, 2, 1)[0]
    stack = stack_of(model)
    first = stack.forward(x).clone()
    stack.forward(x).zero_()
    stack.jacobian(x)[0].zero_()
    assert torch.equal(stack.forward(x), first)


def test_the_same_parameters_give_the_same_loss_to_the_last_digit():
    model, (x, y) = kan(2, 5, 1), samples(200, 2, 1)
    problem, params = LeastSquares(model, x, y), list(model.parameters())
    with torch.no_grad():
        before = problem.value()
        kept = params[0].clone()
        params[0].add_(1)
        problem.linearise(params)
        params[0].copy_(kept)
        problem.hessian(params)
        assert torch.equal(problem.value(), before)
        assert torch.equal(problem.value_and_gradient(params)[0], before)


def test_what_is_no_stack_of_plain_layers_is_left_to_automatic_differentiation():
    with seeded(0):
        learned = KANLinear(2, 1, Fourier(2, learnable=True)).double()
        normal = KANLinear(2, 1, normalize="batch").double()
    for model in (mlp(2, 3, 1), learned, normal, kan(2, 3, 1, dropout=0.1), torch.nn.Sequential()):
        assert stack_of(model) is None


def test_a_model_that_does_more_with_its_layers_is_found_out():
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([KANLinear(2, 1).double()])

        def forward(self, x):
            return 2 * self.layers[0](x)

    model, x = Twice(), samples(9, 2, 1)[0]
    assert stack_of(model) is not None
    assert verified_stack(model, x) is None
    assert verified_stack(model.layers[0], x) is not None
