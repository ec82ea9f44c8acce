"""Functions on edges, as modules."""

from edgewise.layers.bottleneck import KANBottleneck
from edgewise.layers.conv import KANConv1d, KANConv2d, KANConv3d
from edgewise.layers.experts import MixtureOfExperts, Router, Routing
from edgewise.layers.group_rational import GroupRational
from edgewise.layers.kaf import KAF
from edgewise.layers.kernel_activation import KernelActivation
from edgewise.layers.linear import KANLinear
from edgewise.layers.mamba import Mamba, MambaState
from edgewise.layers.norms import KANLayer, edge_moments, edge_norms
from edgewise.layers.recurrent import KANGRU, KANLSTM, KANRNN
from edgewise.layers.scan import selective_scan, selective_scan_sequential
from edgewise.layers.transformer import SelfAttention, TransformerBlock
