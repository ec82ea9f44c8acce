import torch

from edgewise.bases import Gaussian


def test_values_are_the_formula():
    basis = Gaussian(centers=[-1.0, 0.2, 3.0], domain=(-1.0, 3.0), width=0.7)
    x = torch.linspace(-2, 4, 63, dtype=torch.float64)
    for k, mu in enumerate((-1.0, 0.2, 3.0)):
        expected = torch.exp(-0.5 * ((x - mu) / 0.7) ** 2)
        torch.testing.assert_close(basis(x)[:, k], expected, rtol=1e-12, atol=1e-30)


def test_even_centres_run_from_end_to_end_as_wide_as_they_are_apart():
    basis = Gaussian(centers=5, domain=(0.0, 2.0))
    torch.testing.assert_close(basis.mu, torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0]).double())
    torch.testing.assert_close(basis.sigma, torch.full((5,), 0.5).double())
    one = Gaussian(centers=1, domain=(0.0, 2.0))
    assert (one.mu.item(), one.sigma.item()) == (1.0, 1.0)


def test_uneven_centres_are_as_wide_as_their_neighbours_are_far():
    basis = Gaussian(centers=[0.0, 1.0, 4.0], domain=(0.0, 4.0))
    torch.testing.assert_close(basis.sigma, torch.tensor([1.0, 2.0, 3.0]).double())


def test_place_puts_centres_on_quantiles():
    basis = Gaussian(centers=9, domain=(0.0, 1.0))
    x = torch.rand(20_001).double() ** 3
    basis.place(x[torch.randperm(len(x))])
    below = (x[:, None] <= basis.mu).double().mean(0)
    torch.testing.assert_close(below, torch.arange(1, 10).double() / 10, rtol=0, atol=1e-3)
    gaps = basis.mu.diff()
    middle = (gaps[1:] + gaps[:-1]) / 2
    torch.testing.assert_close(basis.sigma[1:-1], middle.clamp(min=1 / 72), rtol=1e-12, atol=0)


def test_place_with_heavy_repeats_keeps_widths_apart_from_zero():
    basis = Gaussian(centers=8, domain=(0.0, 1.0))
    x = torch.cat([torch.full((1000,), 0.5), torch.rand(10)]).double()
    basis.place(x)
    assert (basis.sigma >= 1 / 64 - 1e-15).all()
    assert basis(x).isfinite().all()


def test_place_takes_more_than_quantile_does():
    basis = Gaussian(centers=3, domain=(0.0, 1.0))
    basis.place(torch.linspace(0, 1, 2_000_003)[torch.randperm(2_000_003)])
    torch.testing.assert_close(
        basis.mu, torch.tensor([0.25, 0.5, 0.75]).double(), rtol=0, atol=1e-5
    )


def test_no_value_is_subnormal():
    basis = Gaussian(centers=8)
    values = basis(torch.linspace(-100, 100, 20_001))
    smallest = torch.finfo(torch.float32).tiny
    assert ((values == 0) | (values >= smallest)).all()
    assert values[0].max() < 1e-30, "decays"
