"""From a trained network to a formula."""

from edgewise.symbolic.attribute import Attribution, attribute
from edgewise.symbolic.classifier import KANClassifier
from edgewise.symbolic.compile import from_expression
from edgewise.symbolic.discover import Candidate, Discovery, discover
from edgewise.symbolic.edges import Reading, fix, suggest, unfix
from edgewise.symbolic.formula import formula, to_function, to_python
from edgewise.symbolic.functions import FUNCTIONS, Function, add_function
from edgewise.symbolic.interactions import interactions
from edgewise.symbolic.layer import SymbolicLayer
from edgewise.symbolic.network import SymbolicKAN, as_symbolic
from edgewise.symbolic.plot import plot
from edgewise.symbolic.polish import polish
from edgewise.symbolic.prune import PruneReport, prune
from edgewise.symbolic.regressor import KANRegressor
from edgewise.symbolic.snap import SnapRow, snap
from edgewise.symbolic.tidy import tidy
