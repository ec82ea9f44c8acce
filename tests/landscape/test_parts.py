import pytest
import torch
import torch.nn.functional as F

from edgewise.curvature import Functional
from edgewise.landscape import by_layer
from edgewise.models import KAN


def test_layers_are_blocks_and_the_rest_of_gauss_newton_is_told():
    model, loss = KAN([2, 5, 1]).double(), F.mse_loss
    x = 2 * torch.rand(100, 2, dtype=torch.float64) - 1
    data = (x, x.prod(1, keepdim=True))
    parts = by_layer(model, loss, data)
    assert [part.name for part in parts] == ["layers.0", "layers.1", "all"]
    assert [part.size for part in parts] == [95, 46, 141]
    f = Functional(model, loss, data)
    H, G = f.hessian().dense(), f.gauss_newton().dense()
    assert parts[0].trace.value == pytest.approx(float(H[:95, :95].trace()), rel=1e-9)
    assert parts[1].largest == pytest.approx(float(torch.linalg.eigvalsh(H[95:, 95:])[-1]))
    assert parts[2].residual == pytest.approx(float((H - G).trace()), abs=1e-9)
    # The last layer is linear in its weights: there the Hessian is Gauss-Newton.
    assert abs(parts[1].residual) < 1e-10
