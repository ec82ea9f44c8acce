"""Functions on the line: x ↦ (B₁(x), …, B_K(x))."""

from edgewise.bases.base import BASES, AbstractBasis, make_basis
from edgewise.bases.bspline import BSpline
from edgewise.bases.chebyshev import Chebyshev
from edgewise.bases.fourier import Fourier
from edgewise.bases.gaussian import Gaussian
from edgewise.bases.rational import Rational
from edgewise.bases.wavelet import Wavelet
