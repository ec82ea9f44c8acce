"""Damped least-squares steps, by Cholesky where that is safe and by SVD where it is not."""

import torch
from jaxtyping import Float
from torch import Tensor


class DampedSystem:
    r"""The steps :math:`p(λ) = \arg\min_p \|r + J p\|^2 + λ \|p\|^2` for one J and many λ.

    The normal equations :math:`(J^\top J + λ I) p = -J^\top r` cost little, but know singular
    values only down to :math:`\sqrt{ε}`: below :math:`λ = 10^5 ε\, \max_i (J^\top J)_{ii}` rounding
    would drive the parameters along directions in which the residuals don't change, of which a KAN
    has many. There the SVD of J is taken, with singular values below ``cutoff`` times the largest
    left out, so that the step is the shortest one. With fewer residuals than parameters, the small
    matrix is :math:`J J^\top`.

    Args:
        J: The Jacobian.
        r: The residuals.
        cutoff: The smallest singular value that counts, relative to the largest; None is 8 ε n.

    Example:
        >>> J = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
        >>> system = DampedSystem(J, torch.tensor([-2.0, 5.0], dtype=torch.float64))
        >>> torch.allclose(system.step(0.0)[0], torch.ones(2, dtype=torch.float64))
        True

    """

    def __init__(
        self, J: Float[Tensor, "m n"], r: Float[Tensor, " m"], cutoff: float | None = None
    ) -> None:
        self.J, self.r = J, r
        self.wide = J.shape[0] < J.shape[1]
        self.gradient = J.T @ r
        self._gram = J @ J.T if self.wide else J.T @ J
        eps = torch.finfo(J.dtype).eps
        self.size = (
            float(J.square().sum(0).max()) if self.wide else float(self._gram.diagonal().max())
        )
        self.cutoff = 8 * eps * J.shape[1] if cutoff is None else cutoff
        self._safe = 1e5 * eps * self.size
        self._factor: tuple[float, Tensor] | None = None
        self._parts: tuple[Tensor, Tensor, Tensor] | None = None

    def step(self, damping: float) -> tuple[Float[Tensor, " n"], float]:
        """The step p, and by how much it lowers ‖r‖² if the residuals are linear."""
        p = self.solve(self.r, damping)
        # ‖r‖² - ‖r + Jp‖² without the cancellation.
        return p, float(damping * (p @ p) - self.gradient @ p)

    def solve(self, r: Float[Tensor, " m"], damping: float) -> Float[Tensor, " n"]:
        """The same with other residuals r."""
        L = self._cholesky(damping) if damping > self._safe else None
        if L is None:
            V, sigma, U = self._svd()
            return -(V @ (sigma / (sigma.square() + damping) * (U.T @ r)))
        if self.wide:
            return -(self.J.T @ torch.cholesky_solve(r.unsqueeze(1), L).squeeze(1))
        g = self.gradient if r is self.r else self.J.T @ r
        return -torch.cholesky_solve(g.unsqueeze(1), L).squeeze(1)

    def _cholesky(self, damping: float) -> Tensor | None:
        """The factor of the damped Gram matrix, or None where rounding made it indefinite."""
        if self._factor is None or self._factor[0] != damping:
            A = self._gram.clone()
            A.diagonal().add_(damping)
            L, failed = torch.linalg.cholesky_ex(A)
            self._factor = (damping, None if failed else L)
        return self._factor[1]

    def _svd(self) -> tuple[Tensor, Tensor, Tensor]:
        """V, σ, U of the part of J that counts; by way of R where J is tall."""
        if self._parts is None:
            if self.wide:
                U, sigma, Vt = torch.linalg.svd(self.J, full_matrices=False)
            else:
                Q, R = torch.linalg.qr(self.J)
                U, sigma, Vt = torch.linalg.svd(R)
                U = Q @ U
            keep = int((sigma > self.cutoff * sigma[:1]).sum())
            self._parts = (Vt[:keep].T, sigma[:keep], U[:, :keep])
        return self._parts
