"""The fast paths of layers, and the plain ones that they are held to."""

from edgewise.kernels.choose import apply, basis_linear, chosen, use
from edgewise.kernels.spline import Spline
from edgewise.kernels.way import Way
