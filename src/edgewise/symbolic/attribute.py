"""What each edge, node and input does to the outputs."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.symbolic.edges import check_inputs
from edgewise.symbolic.jacobian import sensitivities
from edgewise.symbolic.network import as_symbolic


class Attribution(NamedTuple):
    """Shares of the outputs' spread.

    Attributes:
        edges: For each layer (S, I): what each edge's function does.
        nodes: For each layer (I,): what its inputs do; the first are the network's.
        inputs: What each of the network's inputs does.

    """

    edges: list[Float[Tensor, "S I"]]
    nodes: list[Float[Tensor, " I"]]

    @property
    def inputs(self) -> Float[Tensor, " I"]:
        """What each of the network's inputs does."""
        return self.nodes[0]


@torch.no_grad()
def attribute(model: nn.Module, x: Float[Tensor, "N I"]) -> Attribution:
    r"""How much of the outputs would be lost without an edge, a node or an input, to first order.

    With the mean of an edge's values left in its place,

    .. math::
        s = \sqrt{\operatorname{mean}_q \frac
            {E[(\partial y_q / \partial s_j \cdot (φ - E φ))^2]}{\operatorname{Var} y_q}},

    so 1 is about all of the outputs' spread and 0 is nothing.

    Args:
        model: A KAN or a symbolic one.
        x: Inputs that are typical.

    Example:
        >>> model = ew.symbolic.from_expression("3*x1 + 0.1*x2**2", ["x1", "x2"])
        >>> x = torch.rand(100, 2, dtype=torch.float64)
        >>> scores = attribute(model, x).inputs
        >>> bool(scores[0] > 10 * scores[1])
        True

    """
    model = as_symbolic(model)
    x = check_inputs(model, x)
    spread = model(x).var(0, correction=0).clamp(min=torch.finfo(x.dtype).tiny)
    edges, nodes = [], []
    for layer, found in zip(model.layers, sensitivities(model, x), strict=True):
        curves = layer.curves(found.inputs)
        centred = (curves - curves.mean(0)).unsqueeze(1)
        effect = (found.to_sums.unsqueeze(-1) * centred).square().mean(0)
        edges.append((effect / spread[:, None, None]).mean(0).sqrt())
        deviation = (found.inputs - found.inputs.mean(0)).unsqueeze(1)
        effect = (found.to_inputs * deviation).square().mean(0)
        nodes.append((effect / spread[:, None]).mean(0).sqrt())
    return Attribution(edges, nodes)
