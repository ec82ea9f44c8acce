"""How strongly a step is held back, learned from how well the last one was foreseen."""

from dataclasses import dataclass


@dataclass
class Damping:
    r"""A damping λ that follows the gain ratio ρ = actual decrease / decrease of the model.

    Nielsen's rule (1999, IMM-REP-1999-05, eq. 2.18) goes down smoothly and up ever faster:

    .. math::
        λ \leftarrow λ \max(\tfrac13, 1 - (2ρ - 1)^3),\; ν \leftarrow 2
        \qquad\text{or, refused,}\qquad λ \leftarrow λ ν,\; ν \leftarrow 2 ν

    Args:
        value: λ.
        growth: ν.
        floor: The smallest λ.
        ceiling: The largest λ.

    Example:
        >>> damping = Damping(1.0)
        >>> damping.refuse(), damping.refuse(), damping.accept(1.0)
        (2.0, 8.0, 2.6666666666666665)

    """

    value: float
    growth: float = 2.0
    floor: float = 1e-20
    ceiling: float = 1e12

    def accept(self, ratio: float) -> float:
        """The λ after a step with gain ``ratio``."""
        # The cube overflows for a model that promised nothing.
        ratio = min(max(ratio, 0.0), 2.0)
        self.value = max(self.floor, self.value * max(1 / 3, 1 - (2 * ratio - 1) ** 3))
        self.growth = 2.0
        return self.value

    def refuse(self) -> float:
        """The λ after a step that did not lower the loss."""
        self.value = min(self.ceiling, self.value * self.growth)
        self.growth *= 2
        return self.value
