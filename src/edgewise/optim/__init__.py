"""Optimisers that use curvature, with PyTorch's interface."""

from edgewise.optim.hsodm import HSODM, bordered_eigenpair
from edgewise.optim.in_a_row import LMThenBroyden
from edgewise.optim.jacobian import jacobian_of_graph, jacobian_of_model
from edgewise.optim.least_squares import LeastSquares
from edgewise.optim.levenberg_marquardt import LevenbergMarquardt
from edgewise.optim.objective import Objective
from edgewise.optim.sfn import SFN
from edgewise.optim.ss_broyden import SSBroyden
from edgewise.optim.stack import Stack, stack_of
from edgewise.optim.stack_hessian import stack_hessian
