"""The load of experts, kept even."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edgewise.core import InputError
from edgewise.layers import MixtureOfExperts


def load_balance(model: nn.Module) -> Float[Tensor, ""]:
    r"""How unevenly the experts were used in the last forward pass, padding left out.

    .. math::  \frac{1}{M} \sum_m \left( E_m \sum_e f_e P_e - 1 \right)

    over the M mixtures in the model: f_e is the share of choices that fell on expert e, P_e its
    mean probability, which carries the gradient (Fedus et al. 2021, arXiv 2101.03961, eq. 4, less
    its value 1 for an even load).

    Args:
        model: A model that was just called.

    Raises:
        InputError: If the model has no mixture of experts, or was not called yet.

    Example:
        >>> encoder = ew.encoders.KMOTE(8)
        >>> _ = encoder(torch.rand(2, 5))
        >>> load_balance(encoder).requires_grad
        True

    """
    mixtures = [m for m in model.modules() if isinstance(m, MixtureOfExperts)]
    if not mixtures:
        raise InputError("load_balance needs a model with a mixture of experts, found none in it")
    if any(m.routing is None for m in mixtures):
        raise InputError("load_balance is of the last forward pass; call the model first")
    return torch.stack([m.routing.balance() - 1 for m in mixtures]).mean()
