"""The basis that Lanczos builds, fully orthogonal, and the operator seen in it."""

from collections.abc import Callable

import torch
from torch import Tensor

from edgewise.core import InputError, RunError


class Krylov:
    r"""An orthonormal basis Q and T = Qᵀ A Q, grown by one product at a time.

    .. math::
        A Q_m = Q_m T_m + β_m\, q_{m+1} e_m^\top

    After the three-term recurrence, every new vector is made orthogonal to all before it, again
    where that cancels digits (Daniel, Gragg, Kaufman & Stewart 1976): without it, converged
    eigenvalues come again as ghosts.
    No ε is added anywhere. Where A leaves span(Q) invariant, β = 0 and the basis goes on with a
    random vector, so that repeated eigenvalues can be found.

    Args:
        matvec: v ↦ A v, A symmetric.
        start: The first vector, (n,), not zero.
        limit: The most vectors that are held, but no more than n.
        generator: Where random vectors come from.

    Raises:
        InputError: If the start is zero or not finite.

    """

    def __init__(
        self,
        matvec: Callable[[Tensor], Tensor],
        start: Tensor,
        limit: int,
        generator: torch.Generator | None = None,
    ) -> None:
        self.matvec, self.generator = matvec, generator
        start = start.detach()
        norm = float(start.norm())
        if not 0 < norm < float("inf"):
            raise InputError(
                f"Lanczos needs a finite start vector that is not zero, its norm is {norm}"
            )
        self.limit = min(limit, len(start))
        self.Q = start.new_empty(self.limit + 1, len(start))
        self.Q[0] = start / norm
        self.T = torch.zeros(self.limit, self.limit, dtype=torch.float64)
        self.size = self.products = self.restarts = 0
        self.beta = 0.0
        self.first = 0  # since the last thick restart
        self.scale = 0.0  # the largest entry of T so far, the size of A

    @property
    def is_complete(self) -> bool:
        """Whether the basis spans the whole space."""
        return self.size == self.Q.shape[1]

    def extend(self) -> None:
        """One product: T grows by a row and a column, Q by the vector after it."""
        j = self.size
        w = self.matvec(self.Q[j]).to(self.Q)
        self.products += 1
        before = float(w.norm())
        if not before < float("inf"):
            raise RunError("a product A v is not finite: look for NaN in the data or parameters")
        w, near = self._without_neighbours(w, j)
        w, h = self._orthogonal(w, j + 1)
        h = h + near
        self.T[j, : j + 1] = self.T[: j + 1, j] = h.cpu().double()
        self.scale = max(self.scale, before)
        self.size += 1
        self.beta = float(w.norm())
        if self.beta <= 10 * torch.finfo(w.dtype).eps * self.scale or self.is_complete:
            self.beta = 0.0
        if self.beta:
            self.Q[j + 1] = w / self.beta
        elif not self.is_complete:
            self.restart_randomly()

    def restart_randomly(self) -> None:
        """The next vector becomes a random one orthogonal to the basis."""
        self.restarts += 1
        self.beta = 0.0
        w = random_like(self.Q[0], self.generator)
        for _ in range(2):
            w, _ = self._orthogonal(w / w.norm(), self.size)
        self.Q[self.size] = w / w.norm()

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ritz values θ ascending, their coordinates S in Q, and residuals ‖A x − θ x‖."""
        theta, S = torch.linalg.eigh(self.T[: self.size, : self.size])
        return theta, S, (self.beta * S[-1]).abs()

    def vectors(self, S: Tensor) -> Tensor:
        """The Ritz vectors of these coordinates, as columns (n, k)."""
        return self.Q[: self.size].T @ S.to(self.Q)

    def shrink(self, theta: Tensor, S: Tensor) -> None:
        """Thick restart: the basis becomes these Ritz vectors and the vector that came next."""
        k = len(theta)
        following = self.Q[self.size].clone()
        self.Q[:k] = S.T.to(self.Q) @ self.Q[: self.size]
        self.Q[k] = following
        self.T.zero_()
        self.T[range(k), range(k)] = theta
        self.size = self.first = k

    def _without_neighbours(self, w: Tensor, j: int) -> tuple[Tensor, Tensor]:
        """What the recurrence takes away, β_{j-1} q_{j-1} and α_j q_j, and these coefficients."""
        h = w.new_zeros(j + 1)
        if j > self.first and self.beta:
            h[j - 1] = self.beta
            w = w - self.beta * self.Q[j - 1]
        h[j] = self.Q[j] @ w
        return w - h[j] * self.Q[j], h

    def _orthogonal(self, w: Tensor, count: int) -> tuple[Tensor, Tensor]:
        Q = self.Q[:count]
        before, h = w.norm(), Q @ w
        w = w - h @ Q
        if float(w.norm()) < 0.7071 * float(before):
            more = Q @ w
            w, h = w - more @ Q, h + more
        return w, h


def random_like(vector: Tensor, generator: torch.Generator | None) -> Tensor:
    """Normal numbers like ``vector``, drawn on the generator's device so that all devices agree."""
    where = generator.device if generator is not None else torch.device("cpu")
    draw = torch.randn(vector.shape, generator=generator, dtype=torch.float64, device=where)
    return draw.to(vector)


def signs_like(vector: Tensor, generator: torch.Generator | None) -> Tensor:
    """Signs ±1 with equal chance, like ``vector``."""
    where = generator.device if generator is not None else torch.device("cpu")
    draw = torch.randint(0, 2, vector.shape, generator=generator, device=where)
    return draw.to(vector) * 2 - 1
