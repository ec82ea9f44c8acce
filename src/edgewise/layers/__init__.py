"""Functions on edges, as modules."""

from edgewise.layers.experts import MixtureOfExperts, Router, Routing
from edgewise.layers.linear import KANLinear
from edgewise.layers.mamba import Mamba, MambaState
from edgewise.layers.scan import selective_scan, selective_scan_sequential
