"""Second derivatives as linear operators, and what can be learned from their products."""

from edgewise.curvature.closed_form import ClosedForm
from edgewise.curvature.density import Density, spectral_density
from edgewise.curvature.diagonal import Diagonal, diagonal
from edgewise.curvature.edges import obstacle
from edgewise.curvature.eigenpairs import Eigenpairs, extreme_eigenpairs
from edgewise.curvature.estimate import Estimate
from edgewise.curvature.functional import Functional
from edgewise.curvature.gauge import Gauge
from edgewise.curvature.jacobian import JacobianOperator
from edgewise.curvature.lanczos import Lanczos, lanczos
from edgewise.curvature.operator import HessianOperator, Operator
from edgewise.curvature.parameters import Flat
from edgewise.curvature.stream import Chunk, Stream
from edgewise.curvature.trace import trace
