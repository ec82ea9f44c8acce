"""The Lanczos recurrence, step by step."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from edgewise.core import check_count
from edgewise.curvature.krylov import Krylov


class Lanczos(NamedTuple):
    """The tridiagonal matrix and its basis.

    ``alpha`` (m,) and ``beta`` (m - 1,) in float64, the columns of ``Q`` (n, m), and ``rest``, the
    norm β_m of what the last product left outside the basis.
    """

    alpha: Tensor
    beta: Tensor
    Q: Tensor
    rest: float

    def matrix(self) -> Tensor:
        """T, (m, m)."""
        T = torch.diag(self.alpha)
        i = range(len(self.beta))
        T[i, [j + 1 for j in i]] = T[[j + 1 for j in i], i] = self.beta
        return T

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Ritz values ascending, and the coordinates of their vectors in Q as columns."""
        return tuple(torch.linalg.eigh(self.matrix()))


def lanczos(
    matvec: Callable[[Tensor], Tensor],
    v0: Tensor,
    steps: int,
    *,
    generator: torch.Generator | None = None,
) -> Lanczos:
    r"""Lanczos with full re-orthogonalisation (Golub & Van Loan 2013, §10.3).

    .. math::
        β_j q_{j+1} = A q_j - α_j q_j - β_{j-1} q_{j-1}, \qquad q_1 = v_0 / ‖v_0‖

    Where the space is exhausted (β_j = 0), it stops there and gives fewer steps.

    Args:
        matvec: v ↦ A v, A symmetric; an :class:`Operator` is one.
        v0: The start, (n,); its dtype and device are those of the basis.
        steps: m; no more than n are made.
        generator: Not needed for the recurrence; for the vector after an exhausted space.

    Raises:
        InputError: If the start is zero or there are no steps to make.

    Example:
        >>> A = torch.diag(torch.arange(1.0, 6.0, dtype=torch.float64))
        >>> T = lanczos(lambda v: A @ v, torch.ones(5, dtype=torch.float64), 5)
        >>> torch.allclose(T.Q @ T.matrix() @ T.Q.T, A)
        True

    """
    check_count("steps", steps)
    krylov = Krylov(matvec, v0, steps, generator)
    beta = []
    while krylov.size < krylov.limit:
        krylov.extend()
        beta.append(krylov.beta)
        if not krylov.beta:
            break
    m = krylov.size
    alpha = krylov.T.diagonal()[:m].clone()
    between = torch.tensor(beta[:-1], dtype=torch.float64)
    return Lanczos(alpha, between, krylov.Q[:m].T, beta[-1])
